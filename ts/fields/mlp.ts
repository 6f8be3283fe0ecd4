// The multilayer perceptron.
import { ACTIVATIONS, TIMES } from "../../wasm/constants.js";
import { type Dtype, dtypeRule } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import { anything, array, elements, fallback, flag, isRecord, natural, oneOf, options, size } from "../checks/rules.js";
import { call, ensureMemory } from "../engine/call.js";
import { instance } from "../engine/instance.js";
import { type Field, type FieldKind, type LayerEntries, WasmField } from "./field.js";

/**
 * The function after every layer of an mlp except the last. `gelu` is the exact one, x Φ(x); `elu` has α = 1; `identity` leaves a
 * linear network.
 */
export type Activation = (typeof ACTIVATIONS)[number];

/** A multilayer perceptron, to be a vector field or a part of one. */
export interface MlpOptions<D extends Dtype = "float32"> {
  /**
   * The number of features of the input, of every hidden layer, and of the output; a vector field has as many outputs
   * as inputs.
   */
  widths: readonly number[];
  /** The function after every layer except the last; default `tanh`. */
  activation?: Activation | undefined;
  /**
   * How the time enters: `none` (default), not at all; `concat`, as the first input of every layer; `concatsquash`, by gates: a layer is
   * `(W x + b) · sigmoid(gateWeight·t + gateBias) + hyperBias·t`.
   */
  time?: "none" | "concat" | "concatsquash" | undefined;
  /** Whether the layers have a bias; default true. */
  bias?: boolean | undefined;
  /** The number type of the parameters and of all arrays; default `float32`. */
  dtype?: D | undefined;
  /**
   * The seed of the initial parameters, an integer, zero or more; default 0. Weights are uniform in ±√(6 / (fan_in + fan_out))
   * (Glorot), or ±√(6 / fan_in) (He) before relu, elu, silu and gelu; gateWeight and hyperBias uniform in ±1; biases zero.
   */
  seed?: number | undefined;
}

/** More than Rust takes for a layer, its parameters not counted. */
const LAYER_BYTES = 2048;

export const widthsRule = array<number>("an array of at least two positive integers", 2);

const architecture = {
  widths: anything<readonly number[]>(),
  activation: fallback(oneOf(ACTIVATIONS), "tanh"),
  time: fallback(oneOf(TIMES), "none"),
  bias: fallback(flag, true),
  dtype: fallback(dtypeRule, "float32"),
};

/**
 * Makes a multilayer perceptron: layers W x + b, each but the last followed by the activation.
 *
 * @returns A field with parameters drawn with `seed`; dispose of it when done.
 * @throws `OPTION` for an unknown option or a value that an option does not take; `OUT_OF_MEMORY`; `UNSUPPORTED` if the runtime cannot
 * run WebAssembly.
 */
export function mlp<D extends Dtype = "float32">(options: MlpOptions<D>): Field<D> {
  return network(options) as WasmField<Dtype> as WasmField<D>;
}

/** `where` stands before the names of the options. */
function network(given: unknown, where = ""): WasmField<Dtype> {
  const { widths, seed, ...read } = options(given, { ...architecture, seed: fallback(natural, 0) }, where);
  const { dtype, activation, time, bias } = read;
  const sizes = Uint32Array.from(elements(`${where}widths`, widths, widthsRule, size));
  const engine = instance();
  ensureMemory(engine, LAYER_BYTES * sizes.length, "the layers");
  const rust = call(engine, () => engine.bindings.Field.mlp(dtype, sizes, activation, time, bias, seed));
  const [inputs = 0, outputs = 0] = [sizes.at(0), sizes.at(-1)];
  const recipe = { kind: "mlp", options: { widths: [...sizes], ...read } };
  return Object.preventExtensions(
    new WasmField(engine, rust, dtype, inputs, outputs, rust.layers as LayerEntries[], recipe),
  );
}

/** For the registry. */
export const mlpKind: FieldKind = { rules: architecture, make: ({ options }) => network(options) };

/** The network inside a field: an mlp, or one made of options, which is to be disposed of after it was copied. */
export function networkOf<D extends Dtype>(argument: string, given: MlpOptions<D> | Field<D>) {
  const isOptions = isRecord(given);
  const made = isOptions ? (network(given, `${argument}.`) as WasmField<Dtype> as WasmField<D>) : undefined;
  const field = made ?? (given as WasmField<D>);
  const recipe = WasmField.is(field) ? field.recipe : undefined;
  if (recipe?.kind !== "mlp") {
    const expected = "a network, from mlp, or its options, such as { widths: [2, 16, 1] }";
    throw refused("OPTION", argument, expected, describe(given));
  }
  return { field, ...field.use(), options: recipe.options, dispose: () => made?.dispose() };
}
