// Fields with a network inside: flows, which carry a density along, and systems driven by an energy.
import type { Field as RustField } from "../wasm/bindings.js";
import { describe, refused } from "./errors.js";
import {
  type CnfRecipe,
  choice,
  type Field,
  type HamiltonianRecipe,
  type MlpOptions,
  mlp,
  type Noise,
  type Recipe,
  size,
  useField,
  WasmField,
} from "./fields.js";
import { fix } from "./frozen.js";
import { type ArrayOf, arrayOf, batchOf, copyOut, type Dtype, numbersOf, steady } from "./memory.js";
import { checked, checkNames, finite, numberOption } from "./options.js";
import { call, type Instance, release } from "./wasm.js";

/** What a continuous normalizing flow is made of. */
export interface CnfOptions<D extends Dtype = "float32"> {
  /** f(t, x): an mlp, whose parameters are copied, or the options of one; as many outputs as inputs. */
  network: MlpOptions<D> | Field<D>;
  /**
   * How d log p/dt = −tr(∂f/∂x) is had: `exact` (default), by as many directions as there are features, or by one of noise
   * (`hutchinson`), which is right on average.
   */
  trace?: "exact" | "hutchinson";
  /** The noise, one vector for each sample, held fixed over a solve: default `rademacher`, ±1. */
  noise?: "rademacher" | "gaussian";
  /** Of the noise; default 0. See `seedNoise`. */
  noiseSeed?: number;
  /** Whether the state carries ∫ ‖f‖² dt after log p (Finlay et al. 2020). */
  kinetic?: boolean;
  /** Whether it carries ∫ ‖∂f/∂x‖² dt last, the Frobenius norm, by the same directions as the trace. */
  jacobian?: boolean;
}

/** A continuous normalizing flow: the state is [x, log p, kinetic?, jacobian?]. */
export interface CnfField<D extends Dtype = Dtype> extends Field<D> {
  /** Features of x. */
  readonly features: number;
  /** Draws other noise for the solves that follow. */
  seedNoise(seed: number): void;
  /** Sets the noise for the solves that follow, `[batch, features]`, until `seedNoise`. */
  setNoise(noise: ArrayOf<D>): void;
}

export class WasmCnf<D extends Dtype> extends WasmField<D> implements CnfField<D> {
  readonly features: number;
  #noise: Noise<D>;

  constructor(wasm: Instance, rust: RustField, network: Field<D>, recipe: Recipe, seed: number) {
    super(wasm, rust, network.dtype, rust.stateSize, rust.stateSize, network.layers, recipe);
    this.features = network.stateSize;
    this.#noise = { seed };
    fix(this, ["features"]);
  }

  seedNoise(seed: number, firstSample = 0): void {
    const natural = (value: number) => Number.isSafeInteger(value) && value >= 0;
    const start = numberOption("seed", seed, 0, "an integer, zero or more", natural);
    const { rust, wasm } = this.use();
    call(wasm, () => rust.seedNoise(start, firstSample));
    this.#noise = { seed: start };
  }

  setNoise(noise: ArrayOf<D>): void {
    const { rust, wasm } = this.use();
    const values = steady(wasm, arrayOf("noise", noise, this.dtype));
    call(wasm, () => rust.setNoise(values));
    this.#noise = { values: values.slice() as ArrayOf<D> };
  }

  override noise(): Noise<D> {
    return this.#noise;
  }
}

/** The network of a model: what is to be disposed of after it was copied, if anything, and how another thread makes it. */
function networkOf<D extends Dtype>(argument: string, network: MlpOptions<D> | Field<D>) {
  const own = WasmField.is(network) ? undefined : mlp(network as MlpOptions<D>);
  const field = (own ?? network) as Field<D>;
  const { rust, wasm, recipe } = useField(field);
  if (recipe?.kind !== "mlp")
    throw refused("OPTION", argument, "a network, from mlp, or its options", describe(network));
  return { field, rust, wasm, options: recipe.options, dispose: () => own?.dispose() };
}

/**
 * A continuous normalizing flow: dx/dt = f(t, x), d log p/dt = −tr(∂f/∂x) (FFJORD, Grathwohl et al. 2019).
 *
 * @throws `OPTION`; `OUT_OF_MEMORY`.
 */
export function cnf<D extends Dtype = "float32">(options: CnfOptions<D>): CnfField<D> {
  checkNames(options, ["network", "trace", "noise", "noiseSeed", "kinetic", "jacobian"]);
  const { trace = "exact", noise = "rademacher", noiseSeed, kinetic = false, jacobian = false } = options;
  choice("trace", trace, ["exact", "hutchinson"]);
  choice("noise", noise, ["rademacher", "gaussian"]);
  const natural = (value: number) => Number.isSafeInteger(value) && value >= 0;
  const seed = numberOption("noiseSeed", noiseSeed, 0, "an integer, zero or more", natural);
  for (const [name, value] of Object.entries({ kinetic, jacobian })) {
    if (typeof value !== "boolean") throw refused("OPTION", name, "true or false", describe(value));
  }
  const network = networkOf("network", options.network);
  try {
    const { wasm, field } = network;
    const rust = call(wasm, () => wasm.bindings.Field.cnf(network.rust, trace, noise, kinetic, jacobian, seed));
    const recipe = { kind: "cnf", network: network.options, options: { trace, noise, kinetic, jacobian } } as const;
    return new WasmCnf(wasm, rust, field, recipe, seed);
  } finally {
    network.dispose();
  }
}

/** What a system driven by an energy is made of. */
export interface HamiltonianOptions<D extends Dtype = "float32"> {
  /**
   * H: an mlp with one output, whose parameters are copied, or the options of one. Of the whole state; or, with `points`, a
   * density: its inputs are a point of the grid and its neighbours, an odd number, and H = spacing · Σ h.
   */
  energy: MlpOptions<D> | Field<D>;
  /**
   * G in f = G ∇H: `canonical` [[0, I], [−I, 0]]; `dx`, the periodic central difference (x_{i+1} − x_{i−1}) / 2Δ;
   * `laplacian`, the periodic second difference / Δ²; a matrix `[state, state]`, row-major; or { J, R } for J − R, the
   * port-Hamiltonian form, J antisymmetric and R symmetric and positive.
   */
  structure:
    | "canonical"
    | "dx"
    | "laplacian"
    | ArrayLike<number>
    | {
        /** `[state, state]`, antisymmetric. */
        J: ArrayLike<number>;
        /** `[state, state]`, symmetric; nonnegative where the system is to dissipate. */
        R: ArrayLike<number>;
      };
  /** Points of a periodic grid, for an energy that is a density. */
  points?: number;
  /** Δ, the distance of grid points; default 1. With a density ∇H is the functional derivative, that of H / Δ. */
  spacing?: number;
}

/** A system driven by an energy. */
export interface HamiltonianField<D extends Dtype = Dtype> extends Field<D> {
  /** H of each state of `[batch, state]`, or of all of `[times, batch, state]`: its drift is that along a solution. */
  energy(y: ArrayOf<D>, t?: number, parameters?: ArrayOf<D>): ArrayOf<D>;
}

class WasmHamiltonian<D extends Dtype> extends WasmField<D> implements HamiltonianField<D> {
  constructor(wasm: Instance, rust: RustField, network: Field<D>, recipe: Recipe) {
    super(wasm, rust, network.dtype, rust.stateSize, rust.stateSize, network.layers, recipe);
  }

  energy(y: ArrayOf<D>, t = 0, parameters?: ArrayOf<D>): ArrayOf<D> {
    const { rust, wasm } = this.use();
    if (typeof t !== "number") throw refused("OPTION", "t", "a number", describe(t));
    const state = steady(wasm, arrayOf("y", y, this.dtype));
    const theta = parameters === undefined ? undefined : steady(wasm, arrayOf("parameters", parameters, this.dtype));
    const batch = batchOf("y", state, this.stateSize);
    const result = call(wasm, () => rust.energy(t, state, batch, theta));
    try {
      return copyOut(wasm, this.dtype, result.pointer, result.length);
    } finally {
      release(wasm, result);
    }
  }
}

/**
 * A system driven by an energy, dx/dt = G ∇H: conservative, dissipative, or a partial differential equation on a periodic
 * grid.
 *
 * @throws `OPTION`, `SHAPE`, `NON_FINITE`; `OUT_OF_MEMORY`.
 */
export function hamiltonian<D extends Dtype = "float32">(options: HamiltonianOptions<D>): HamiltonianField<D> {
  checkNames(options, ["energy", "structure", "points", "spacing"]);
  const { structure } = options;
  const points = options.points === undefined ? 0 : size("points", options.points);
  const spacing = checked("spacing", options.spacing, finite) ?? 1;
  const named = typeof structure === "string";
  if (named) choice<string>("structure", structure, ["canonical", "dx", "laplacian"]);
  const matrix = named ? new Float64Array() : matrixOf(structure);
  const network = networkOf("energy", options.energy);
  try {
    const { wasm, field } = network;
    const name = named ? structure : "";
    const rust = call(wasm, () => wasm.bindings.Field.hamiltonian(network.rust, name, matrix, points, spacing));
    const details = { structure: name, matrix: [...matrix], points, spacing };
    return new WasmHamiltonian(wasm, rust, field, { kind: "hamiltonian", network: network.options, options: details });
  } finally {
    network.dispose();
  }
}

/** The numbers of a matrix, or of J − R. */
function matrixOf(structure: unknown): Float64Array {
  const expected = "canonical, dx, laplacian, a matrix of numbers, or { J, R }";
  if (structure === null || typeof structure !== "object")
    throw refused("OPTION", "structure", expected, describe(structure));
  const { J, R } = structure as { J?: ArrayLike<number>; R?: ArrayLike<number> };
  if (J === undefined && R === undefined) return squareOf("structure", structure as ArrayLike<number>);
  const [j, r] = [squareOf("structure.J", J), squareOf("structure.R", R)];
  const side = Math.sqrt(j.length);
  if (r.length !== j.length) throw refused("SHAPE", "structure.R", `${j.length} numbers, as J`, String(r.length));
  for (let i = 0; i < j.length; i++) {
    const mirrored = (i % side) * side + Math.floor(i / side);
    if (j[i] !== -(j[mirrored] as number))
      throw refused("OPTION", "structure.J", "an antisymmetric matrix", `${j[i]} at ${i}`);
    if (r[i] !== r[mirrored]) throw refused("OPTION", "structure.R", "a symmetric matrix", `${r[i]} at ${i}`);
  }
  return j.map((value, i) => value - (r[i] as number));
}

/** The numbers of a square matrix. */
function squareOf(argument: string, values: ArrayLike<number> | undefined): Float64Array {
  const numbers = numbersOf(argument, values);
  const side = Math.sqrt(numbers.length);
  if (!Number.isInteger(side) || side === 0)
    throw refused("SHAPE", argument, "a square matrix", `${numbers.length} numbers`);
  return numbers;
}

/** A field by its recipe, as another thread makes it. */
export function make(recipe: Recipe): Field<Dtype> {
  if (recipe.kind === "mlp") return mlp(recipe.options);
  const network = recipe.network;
  if (recipe.kind === "cnf") return cnf({ ...(recipe.options satisfies CnfRecipe), network });
  const { structure, matrix, points, spacing }: HamiltonianRecipe = recipe.options;
  const given = structure === "" ? matrix : (structure as "canonical");
  return hamiltonian({ energy: network, structure: given, spacing, ...(points > 0 && { points }) });
}
