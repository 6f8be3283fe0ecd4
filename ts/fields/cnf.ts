// Continuous normalizing flows: a network that carries a density along.
import type { Field as RustField } from "../../wasm/bindings.js";
import { NOISES, TRACES } from "../../wasm/constants.js";
import { type ArrayOf, arrayOf, type Dtype } from "../checks/arrays.js";
import { fix } from "../checks/frozen.js";
import { anything, argument, fallback, flag, natural, oneOf, options, required } from "../checks/rules.js";
import { call, refuseReentry } from "../engine/call.js";
import type { Instance } from "../engine/engine.js";
import {
  type Field,
  type FieldKind,
  type FieldState,
  type Recipe,
  type StateNames,
  WasmField,
  wasmField,
} from "./field.js";
import { type MlpOptions, networkOf } from "./mlp.js";

/** The options of `cnf`. */
export interface CnfOptions<D extends Dtype = "float32"> {
  /** f(t, x): an mlp, whose parameters are copied, or the options of one; as many outputs as inputs. */
  network: MlpOptions<D> | Field<D>;
  /**
   * How d log p/dt = −tr(∂f/∂x) is computed: `exact` (default), with one direction per feature, or with one direction of noise
   * (`hutchinson`), which is right on average.
   */
  trace?: (typeof TRACES)[number] | undefined;
  /**
   * The noise of `trace: "hutchinson"`, one vector for each sample, held fixed over a solve: `rademacher`, ±1, the default, or
   * `gaussian`.
   */
  noise?: (typeof NOISES)[number] | undefined;
  /** The seed of the noise, an integer, zero or more; default 0. `seedNoise` draws other noise later. */
  noiseSeed?: number | undefined;
  /** Whether the state carries ∫ ‖f‖² dt after log p (Finlay et al. 2020); default false. */
  kinetic?: boolean | undefined;
  /** Whether the state carries ∫ ‖∂f/∂x‖² dt last, the Frobenius norm, with the same directions as the trace; default false. */
  jacobian?: boolean | undefined;
}

/** A continuous normalizing flow: the state is [x, log p, kinetic?, jacobian?]. */
export interface CnfField<D extends Dtype = Dtype> extends Field<D> {
  /** The number of features of x. */
  readonly features: number;
  /**
   * Draws other noise for the solves that follow.
   *
   * @throws `OPTION` for a seed that is not an integer, zero or more; `DISPOSED` if the flow was; `REENTRANT` inside a custom vector field
   * or a progress function.
   */
  seedNoise(seed: number): void;
  /**
   * Sets the noise for the solves that follow, `[batch, features]`, until `seedNoise`.
   *
   * @throws `OPTION` where the trace is exact; `DTYPE` or `SHAPE` for an array of another number type or length; `NON_FINITE` for one with
   * NaN or ±Infinity; `DISPOSED` if the flow was; `REENTRANT` inside a custom vector field or a progress function.
   */
  setNoise(noise: ArrayOf<D>): void;
}

class WasmCnf<D extends Dtype> extends WasmField<D> implements CnfField<D> {
  readonly features: number;
  #state: FieldState;

  constructor(engine: Instance, rust: RustField, network: Field<D>, recipe: Recipe, noiseSeed: number) {
    super(engine, rust, network.dtype, rust.stateSize, rust.stateSize, network.layers, recipe);
    this.features = network.stateSize;
    this.#state = { numbers: { noiseSeed }, arrays: {} };
    fix(this, ["features"]);
    Object.preventExtensions(this);
  }

  seedNoise(seed: number): void {
    refuseReentry(this.use().engine, "seedNoise");
    this.restore({ numbers: { noiseSeed: argument("seed", seed, fallback(natural, 0)) }, arrays: {} });
  }

  setNoise(noise: ArrayOf<D>): void {
    refuseReentry(this.use().engine, "setNoise");
    this.restore({ numbers: {}, arrays: { noise } });
  }

  override get stateNames(): StateNames {
    return { numbers: ["noiseSeed"], arrays: { noise: this.features } };
  }

  override get state(): FieldState {
    wasmField(this, "this");
    return this.#state;
  }

  override restore({ numbers, arrays }: FieldState, firstSample = 0): void {
    const { rust, engine } = this.use();
    if (numbers.noiseSeed !== undefined) {
      const noiseSeed = argument("noiseSeed", numbers.noiseSeed, required(natural));
      call(engine, () => rust.seedNoise(noiseSeed, firstSample));
      this.#state = { numbers: { noiseSeed }, arrays: {} };
    }
    if (arrays.noise !== undefined) {
      const noise = engine.steady(arrayOf("noise", arrays.noise, this.dtype));
      call(engine, () => rust.setNoise(noise));
      this.#state = { numbers: {}, arrays: { noise: noise.slice() } };
    }
  }
}

/** The recipe of a flow, without its network; the noise is its state. */
const settings = {
  trace: fallback(oneOf(TRACES), "exact"),
  noise: fallback(oneOf(NOISES), "rademacher"),
  kinetic: fallback(flag, false),
  jacobian: fallback(flag, false),
};

/**
 * Makes a continuous normalizing flow: dx/dt = f(t, x), d log p/dt = −tr(∂f/∂x) (FFJORD, Grathwohl et al. 2019).
 *
 * @returns A field with a copy of the network; dispose of it when done.
 * @throws `OPTION` for what is not a network with as many outputs as inputs, or an invalid option; `DISPOSED` if the network was;
 * `OUT_OF_MEMORY`.
 */
export function cnf<D extends Dtype = "float32">(options: CnfOptions<D>): CnfField<D> {
  return flow(options) as WasmCnf<Dtype> as WasmCnf<D>;
}

function flow(given: unknown): WasmCnf<Dtype> {
  const rules = { network: anything<MlpOptions<Dtype>>(), ...settings, noiseSeed: fallback(natural, 0) };
  const { network: inner, noiseSeed, ...read } = options(given, rules);
  const { trace, noise, kinetic, jacobian } = read;
  const network = networkOf("network", inner as MlpOptions<Dtype>);
  try {
    const { engine, field } = network;
    const rust = call(engine, () =>
      engine.bindings.Field.cnf(network.rust, trace, noise, kinetic, jacobian, noiseSeed),
    );
    return new WasmCnf(engine, rust, field, { kind: "cnf", network: network.options, options: read }, noiseSeed);
  } finally {
    network.dispose();
  }
}

/** For the registry. */
export const cnfKind: FieldKind = { rules: settings, make: ({ network, options }) => flow({ ...options, network }) };
