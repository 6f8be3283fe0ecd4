// Systems driven by an energy, which a network is.
import { STRUCTURES } from "../../wasm/constants.js";
import type { ArrayOf, Dtype } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import {
  anything,
  argument,
  array,
  fallback,
  finitePositive,
  natural,
  object,
  oneOf,
  options,
  required,
  size,
  text,
} from "../checks/rules.js";
import { call, release } from "../engine/call.js";
import { matrixNumbers } from "../trace/nested.js";
import { argumentsOf, type Field, type FieldKind, WasmField } from "./field.js";
import { type MlpOptions, networkOf } from "./mlp.js";

/** The options of `hamiltonian`. */
export interface HamiltonianOptions<D extends Dtype = "float32"> {
  /**
   * The energy H of the whole state: an mlp with one output, whose parameters are copied, or the options of one. With `points` it
   * is a density h: its inputs are a point of the grid and its neighbours, an odd number, and H = spacing · Σ h.
   */
  energy: MlpOptions<D> | Field<D>;
  /**
   * G in f = G ∇H: `canonical` [[0, I], [−I, 0]], the default; `dx`, the periodic central difference (x_{i+1} − x_{i−1}) / 2Δ;
   * `laplacian`, the periodic second difference / Δ²; a matrix `[state, state]`, row-major or as an array of rows; or { J, R } for J − R, the
   * port-Hamiltonian form, J antisymmetric and R symmetric and positive.
   */
  structure?:
    | (typeof STRUCTURES)[number]
    | ArrayLike<number>
    | readonly ArrayLike<number>[]
    | {
        /** The matrix J, `[state, state]`, row-major or as an array of rows; antisymmetric. */
        J: ArrayLike<number> | readonly ArrayLike<number>[];
        /**
         * The matrix R, `[state, state]`, row-major or as an array of rows; symmetric, and positive semidefinite if the system is to
         * dissipate.
         */
        R: ArrayLike<number> | readonly ArrayLike<number>[];
      }
    | undefined;
  /** The number of points of a periodic grid, for an energy that is a density. */
  points?: number | undefined;
  /** Δ, the distance between grid points; default 1. With a density ∇H is the functional derivative, that of H / Δ. */
  spacing?: number | undefined;
}

/** A system driven by an energy. */
export interface HamiltonianField<D extends Dtype = Dtype> extends Field<D> {
  /** The energy H of each state in `[batch, state]` or `[times, batch, state]`. How much it changes along a solution is the drift. */
  energy(y: ArrayOf<D>, t?: number, parameters?: ArrayOf<D>): ArrayOf<D>;
}

class WasmHamiltonian<D extends Dtype> extends WasmField<D> implements HamiltonianField<D> {
  energy(y: ArrayOf<D>, t = 0, parameters?: ArrayOf<D>): ArrayOf<D> {
    const { rust, engine, time, state, theta, batch } = argumentsOf(this, t, y, parameters);
    const result = call(engine, () => rust.energy(time, state, batch, theta));
    try {
      return engine.read(this.dtype, result.pointer, result.length);
    } finally {
      release(engine, result);
    }
  }
}

const named = oneOf(STRUCTURES);
const matrix = { ...object, expected: `${named.expected}, a matrix of numbers, or { J, R }` };
const spacing = fallback(finitePositive, 1);

/**
 * Makes a system driven by an energy, dx/dt = G ∇H: conservative, dissipative, or a partial differential equation on a
 * periodic grid.
 *
 * @returns A field with a copy of the network; dispose of it when done.
 * @throws `OPTION` for an energy that is not a network with one output, or does not fit the structure, and for matrices J that are not
 * antisymmetric or R that are not symmetric; `SHAPE` for a matrix of another size; `NON_FINITE` for one with NaN or ±Infinity;
 * `DISPOSED` if the network was; `OUT_OF_MEMORY`.
 */
export function hamiltonian<D extends Dtype = "float32">(given: HamiltonianOptions<D>): HamiltonianField<D> {
  const rules = {
    energy: anything<MlpOptions<D>>(),
    structure: fallback(anything<unknown>(), "canonical"),
    points: size,
    spacing,
  };
  const { energy, structure, points, ...read } = options(given, rules);
  const name = typeof structure === "string" ? argument("structure", structure, required(named)) : "";
  const numbers = name === "" ? matrixOf(structure) : new Float64Array();
  return system(energy as MlpOptions<D>, { structure: name, matrix: numbers, points: points ?? 0, ...read });
}

function system<D extends Dtype>(
  energy: MlpOptions<D> | Field<D>,
  { structure, matrix, points, spacing }: { structure: string; matrix: Float64Array; points: number; spacing: number },
): WasmHamiltonian<D> {
  const network = networkOf("energy", energy);
  try {
    const { engine, field } = network;
    const rust = call(engine, () =>
      engine.bindings.Field.hamiltonian(network.rust, structure, matrix, points, spacing),
    );
    const recipe = {
      kind: "hamiltonian",
      network: network.options,
      options: { structure, matrix: [...matrix], points, spacing },
    };
    const size = rust.stateSize;
    return Object.preventExtensions(new WasmHamiltonian(engine, rust, field.dtype, size, size, field.layers, recipe));
  } finally {
    network.dispose();
  }
}

/** The recipe of a system, without its network: no structure if there is a matrix, no points if there is no grid. */
const settings = {
  structure: required(text),
  matrix: required(array<number>("an array of numbers")),
  points: fallback(natural, 0),
  spacing,
};

/** For the registry. */
export const hamiltonianKind: FieldKind = {
  rules: settings,
  make({ network, options: given }) {
    const { structure, matrix, points, spacing } = options(given, settings);
    const energy = network as MlpOptions<Dtype>;
    const grid = points === 0 ? undefined : points;
    const made = hamiltonian({ energy, structure: (structure || matrix) as number[], spacing, points: grid });
    return made as WasmHamiltonian<Dtype>;
  },
};

/** The numbers of a matrix, or of J − R. */
function matrixOf(structure: unknown): Float64Array {
  const given = argument("structure", structure, required(matrix));
  const { J, R } = given as { J?: unknown; R?: unknown };
  if (J === undefined && R === undefined) return squareOf("structure", given);
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
function squareOf(argument: string, values: unknown): Float64Array {
  const { flat, rows } = matrixNumbers(argument, values);
  const side = Math.sqrt(flat.length);
  if (!Number.isInteger(side) || side === 0 || (rows ?? side) !== side) {
    const given = rows === undefined ? `${flat.length} numbers` : `[${rows}, ${flat.length / rows}] numbers`;
    throw refused("SHAPE", argument, "a square matrix", given);
  }
  return flat;
}
