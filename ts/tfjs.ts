/**
 * TensorFlow.js: a solve as an operation with its exact gradient, and a neural ODE as a layer.
 *
 * @module symplectic-adjoint/tfjs
 */
import "./index.js";
import { refused } from "./checks/errors.js";
import { anything, argument, array, options as readOptions, required, withMethod } from "./checks/rules.js";
import { type Field, wasmField } from "./fields/field.js";
import { type MlpOptions, mlp } from "./fields/mlp.js";
import { vjp } from "./solve/gradient.js";
import { odeint } from "./solve/odeint.js";
import type { GradientOptions } from "./solve/options.js";

/** What is used of a tensor. */
interface TensorLike {
  readonly shape: number[];
  readonly dtype: string;
  dataSync(): unknown;
}

/**
 * The part of TensorFlow.js that is used: `tf`, as `import * as tf from "@tensorflow/tfjs"` gives it, of whatever version and
 * backend. You pass it, and the package does not import it, so there is never a second copy. Without `layers` there is no layer.
 */
export interface TensorFlow {
  /** `tf.tensor`. */
  // biome-ignore lint/suspicious/noExplicitAny: types that TensorFlow.js has, and whose generic parameters vary
  tensor(...args: any[]): any;
  /** `tf.customGrad`. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  customGrad(body: (...args: any[]) => any): (...args: any[]) => any;
  /** `tf.layers`. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  layers?: { Layer: abstract new (...args: any[]) => any };
  /** `tf.serialization`. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  serialization?: { registerClass(type: any): unknown };
}

type TensorOf<TF extends TensorFlow> = ReturnType<TF["tensor"]>;
type LayerOf<TF extends TensorFlow> = TF extends { layers: { Layer: abstract new (...args: never[]) => infer L } }
  ? L
  : never;

/** A layer whose vector field is an mlp; also what any layer of TensorFlow.js takes, such as `name` and `inputShape`. */
export interface NeuralOdeOptions extends Omit<MlpOptions<"float32">, "dtype"> {
  /** The output times; the state at the first one is the input. */
  times: readonly number[];
  /** Options of the solve and its gradient, as `odeint` and `vjp` take them. */
  solver?: GradientOptions | undefined;
  /** Whether the output is the state at all times, `[batch, times, state]`, or at the last one, `[batch, state]` (default). */
  returnSequences?: boolean | undefined;
  /** The name of the layer. */
  name?: string | undefined;
  /** Whether training changes the layer's weight; default true. */
  trainable?: boolean | undefined;
  /** The shape of a sample, `[state]`: for the first layer of a model. */
  inputShape?: readonly (number | null)[] | undefined;
  /** The shape of a batch, `[batch, state]`, instead of `inputShape`. */
  batchInputShape?: readonly (number | null)[] | undefined;
}

/** Options of a solve and its gradient, as `odeint` and `vjp` take them, with arguments that may be tensors. */
export interface TensorOptions<Tensor> extends Omit<GradientOptions, "arguments"> {
  /** For a field with arguments, the values by name: tensors `[batch]` or `[batch, length]`, or lists of numbers. */
  arguments?: Readonly<Record<string, ArrayLike<number> | Tensor>> | undefined;
}

/** What `bridge` adds to TensorFlow.js. */
export interface Bridge<TF extends TensorFlow> {
  /**
   * The solution `[times, batch, state]` from y0 `[batch, state]` with these parameters `[field.parameters.length]`, which take the place
   * of the field's own. Differentiable with respect to both and to the arguments that are tensors, once. Holds nothing between the solve
   * and its gradient, which solves again with bitwise the same result.
   */
  odeint(
    field: Field<"float32">,
    y0: TensorOf<TF>,
    parameters: TensorOf<TF>,
    times: readonly number[],
    options?: TensorOptions<TensorOf<TF>>,
  ): TensorOf<TF>;
  /** A layer, with which models can be saved and loaded too. Its one weight is `parameters`, all those of the mlp. */
  neuralODE(options: NeuralOdeOptions): LayerOf<TF>;
}

/** What the layer uses of the class that it extends. */
interface LayerBase {
  addWeight(name: string, shape: number[], dtype: string, initializer: object): { read(): TensorLike };
  build(shape: unknown): void;
  getConfig(): Record<string, unknown>;
  dispose(): unknown;
}

const NETWORK = ["widths", "activation", "time", "bias", "seed"] as const;
const OWN = [...NETWORK, "times", "solver", "returnSequences"] as const;
/** What a layer of TensorFlow.js takes itself. */
const LAYER = ["name", "trainable", "inputShape", "batchInputShape", "batchSize", "dtype", "inputDType", "weights"];

const tensorRule = required({
  ...withMethod<TensorLike>("a tensor of float32", "dataSync"),
  code: "DTYPE",
});
const layerRules = Object.fromEntries([...OWN, ...LAYER].map((name) => [name, anything<unknown>()]));

function pick<K extends string>(options: object, names: readonly K[]): Record<K, unknown> {
  const given = names.filter((name) => (options as Record<string, unknown>)[name] !== undefined);
  return Object.fromEntries(given.map((name) => [name, (options as Record<string, unknown>)[name]])) as never;
}

/** Joins the package to TensorFlow.js: `const { odeint, neuralODE } = bridge(tf)`. */
export function bridge<TF extends TensorFlow>(tf: TF): Bridge<TF> {
  argument("tf", tf, required(withMethod<TF>("TensorFlow.js, as import * as tf gives it", "customGrad")));

  function numbersOf(name: string, tensor: TensorLike, ranks: readonly number[]): Float32Array {
    argument(name, tensor, tensorRule);
    if (tensor.dtype !== "float32") throw refused("DTYPE", name, tensorRule.expected, `one of ${tensor.dtype}`);
    if (!ranks.includes(tensor.shape.length)) {
      throw refused("SHAPE", name, `a tensor of rank ${ranks.join(" or ")}`, `shape [${tensor.shape}]`);
    }
    return tensor.dataSync() as Float32Array;
  }

  function solve(
    field: Field<"float32">,
    y0: TensorLike,
    parameters: TensorLike,
    times: readonly number[],
    given: TensorOptions<TensorLike> = {},
  ): TensorLike {
    const { dtype } = wasmField(field);
    if (dtype !== "float32") throw refused("DTYPE", "field", "a field of float32", `one of ${dtype}`);
    const start = numbersOf("y0", y0, [1, 2]);
    if (y0.shape.at(-1) !== field.stateSize) {
      throw refused("SHAPE", "y0", `[batch, ${field.stateSize}]`, `shape [${y0.shape}]`);
    }
    const theta = numbersOf("parameters", parameters, [1]);
    const { tensors, options } = withArguments(given);
    field.parameters = theta;
    const op = tf.customGrad((y0: TensorLike, parameters: TensorLike) => {
      const { y, shape } = odeint(field, start, times, options);
      return {
        value: tf.tensor(y, [...shape]),
        gradFunc: (dy: TensorLike) => {
          field.parameters = theta;
          const { pullback } = vjp(field, start, times, options);
          try {
            const gradient = pullback(dy.dataSync() as Float32Array);
            const own = tensors.map(([name, { shape }]) => tf.tensor(gradient.arguments[name], shape));
            return [tf.tensor(gradient.y0, y0.shape), tf.tensor(gradient.parameters, parameters.shape), ...own];
          } finally {
            pullback.dispose();
          }
        },
      };
    });
    return op(y0, parameters, ...tensors.map(([, tensor]) => tensor)) as TensorLike;
  }

  /** Options with the numbers of arguments that are tensors, and these. */
  function withArguments(given: TensorOptions<TensorLike>) {
    const { arguments: own } = given;
    const isTensor = (value: unknown): value is TensorLike => tensorRule.valid(value);
    if (own === undefined || own === null || typeof own !== "object") {
      return { tensors: [], options: given as GradientOptions };
    }
    const entries = Object.entries(own);
    const tensors = entries.filter((entry): entry is [string, TensorLike] => isTensor(entry[1]));
    const numbers = entries.map(([name, value]) => [
      name,
      isTensor(value) ? numbersOf(`arguments.${name}`, value, [1, 2]) : value,
    ]);
    return { tensors, options: { ...given, arguments: Object.fromEntries(numbers) } as GradientOptions };
  }

  function layerClass({ layers, serialization }: TensorFlow) {
    if (!layers || !serialization) return undefined;
    const Base = layers.Layer as unknown as new (options: object) => LayerBase;
    class NeuralODE extends Base {
      static readonly className = "NeuralODE";
      readonly #options: NeuralOdeOptions;
      #field: Field<"float32"> | undefined;
      #parameters: { read(): TensorLike } | undefined;

      constructor(options: NeuralOdeOptions) {
        readOptions(options, layerRules);
        super(pick(options, LAYER));
        this.#options = options;
        // Refuses here what is wrong of the network.
        mlp(pick(options, NETWORK) as MlpOptions<"float32">).dispose();
        argument("times", options.times, required(array<number>("an array of numbers")));
      }

      /** Called with what `getConfig` gave, and something of the loader's. */
      static fromConfig(type: new (options: object) => NeuralODE, config: Record<string, unknown>): NeuralODE {
        const { customObjects, ...options } = config;
        return new type(options);
      }

      override build(shape: number[] | [number[]]): void {
        const { widths } = this.#options;
        const input = (Array.isArray(shape[0]) ? shape[0] : shape) as (number | null)[];
        if (input.length !== 2 || input[1] !== widths[0]) {
          throw refused("SHAPE", "input", `[batch, ${widths[0]}], by widths[0]`, `[${input}]`);
        }
        const field = mlp(pick(this.#options, NETWORK) as MlpOptions<"float32">);
        this.#field = field;
        const initial = { apply: () => tf.tensor(field.parameters.slice()) };
        this.#parameters = this.addWeight("parameters", [field.parameters.length], "float32", initial);
        super.build(shape);
      }

      computeOutputShape(shape: number[] | [number[]]): (number | null)[] {
        const [batch = null, state = null] = (Array.isArray(shape[0]) ? shape[0] : shape) as (number | null)[];
        return this.#options.returnSequences ? [batch, this.#options.times.length, state] : [batch, state];
      }

      call(inputs: TensorLike | TensorLike[]): TensorLike {
        const input = (Array.isArray(inputs) ? inputs[0] : inputs) as TensorLike;
        const { times, solver, returnSequences } = this.#options;
        const [field, parameters] = [this.#field, this.#parameters] as [Field<"float32">, { read(): TensorLike }];
        // biome-ignore lint/suspicious/noExplicitAny: a tensor of TensorFlow.js, with its methods
        const y = solve(field, input, parameters.read(), times, solver) as any;
        return returnSequences ? y.transpose([1, 0, 2]) : y.slice(times.length - 1, 1).squeeze([0]);
      }

      override getConfig(): Record<string, unknown> {
        return { ...super.getConfig(), ...pick(this.#options, OWN) };
      }

      override dispose(): unknown {
        this.#field?.dispose();
        return super.dispose();
      }
    }
    serialization.registerClass(NeuralODE);
    return NeuralODE as unknown as new (
      options: NeuralOdeOptions,
    ) => LayerOf<TF>;
  }

  // At once, so that models with it can be loaded.
  const Layer = layerClass(tf);
  return {
    odeint: solve as unknown as Bridge<TF>["odeint"],
    neuralODE(options) {
      if (Layer) return new Layer(options);
      throw refused("OPTION", "tf", "TensorFlow.js with its layers, as in @tensorflow/tfjs", "one without");
    },
  };
}
