// Layers of networks, to be parameters of a traced function.
import { checkSome } from "../checks/arrays.js";
import { isArray, refused } from "../checks/errors.js";
import { argument, fallback, flag, hinted, options, required, rule, size } from "../checks/rules.js";
import { activeGraph, type GraphNode } from "./graph.js";
import { indexOf, lift, Value } from "./value.js";

/** A parameter array of a module: its name in it, its shape, and its first numbers by a stream of numbers in [0, 1). */
interface ModuleArray {
  readonly name: string;
  readonly shape: readonly number[];
  initial(uniform: () => number): Iterable<number>;
}

/** A layer, or several: give it as a parameter, and call it in the traced function, as in `parameters.net(state)`. */
export class Module {
  /** The arrays of the module; `he` is set if relu, elu, silu or gelu follows. */
  readonly arrays: (he: boolean) => readonly ModuleArray[];
  /** Applies the module to a value, given its arrays by their names. */
  readonly apply: (x: Value, array: (name: string) => Value) => Value;
  /** Whether the module is relu, elu, silu or gelu, or begins with one. */
  readonly he: boolean;

  /** Modules come from the functions of `nn`. */
  constructor(arrays: Module["arrays"], apply: Module["apply"], he = false) {
    this.arrays = arrays;
    this.apply = apply;
    this.he = he;
    Object.freeze(this);
  }

  /** The name of the kind of object, for messages. */
  toString(): string {
    return "a module of nn";
  }
}

// @__NO_SIDE_EFFECTS__
function activation(
  name: "tanh" | "sigmoid" | "relu" | "softplus" | "silu" | "gelu" | "elu" | "sin",
  he = false,
): Module {
  return new Module(
    () => [],
    (x) => lift(`nn.${name}'s input`, x)[name](),
    he,
  );
}

/** Options of `nn.linear`; none is required. */
export interface LinearOptions {
  /** Whether the layer adds a bias; default true. */
  bias?: boolean | undefined;
}

function linear(inputs: number, outputs: number, given: LinearOptions = {}): Module {
  const columns = argument("inputs", inputs, required(size));
  const rows = argument("outputs", outputs, required(size));
  const { bias } = options(given, { bias: fallback(flag, true) });
  return new Module(
    (he) => {
      const limit = Math.sqrt(6 / (he ? columns : columns + rows));
      const weight: ModuleArray = {
        name: "weight",
        shape: [rows, columns],
        *initial(uniform) {
          for (let i = 0; i < rows * columns; i++) yield limit * (2 * uniform() - 1);
        },
      };
      return bias ? [weight, filled("bias", rows, 0)] : [weight];
    },
    (x, array) => {
      const input = sized("nn.linear's input", x, columns);
      const graph = activeGraph();
      const node: GraphNode = ["dense", indexOf("nn.linear", array("weight")), indexOf("nn.linear", input), 1];
      const uniform = graph.uniform[indexOf("nn.linear", input)] as boolean;
      const product = new Value(graph, graph.add(node, rows, uniform));
      return bias ? product.add(array("bias")) : product;
    },
  );
}

/** So far from zero the variance of features is held. */
const EPSILON = 1e-5;

function layerNorm(features: number): Module {
  const rows = argument("features", features, required(size));
  return new Module(
    () => [filled("weight", rows, 1), filled("bias", rows, 0)],
    (x, array) => {
      const input = sized("nn.layerNorm's input", x, rows);
      const centred = input.sub(input.mean());
      const deviation = centred.square().mean().add(EPSILON).sqrt();
      return centred.div(deviation).mul(array("weight")).add(array("bias"));
    },
  );
}

function residual(module: Module): Module {
  const inner = moduleOf("module", module);
  return new Module(inner.arrays, (x, array) => {
    const input = lift("nn.residual's input", x);
    const change = inner.apply(input, array);
    if (change.length === input.length) return input.add(change);
    throw refused("SHAPE", "nn.residual's module", `${input.length} outputs, as inputs`, String(change.length));
  });
}

function sequential(...modules: Module[]): Module {
  checkSome("modules", modules, "module", "OPTION");
  const all = modules.map((module, i) => moduleOf(`modules[${i}]`, module));
  return new Module(
    (he) =>
      all.flatMap((module, i) => {
        const arrays = module.arrays(all[i + 1]?.he ?? he);
        return arrays.map((array) => ({ ...array, name: `${i}.${array.name}` }));
      }),
    (x, array) => all.reduce((value, module, i) => module.apply(value, (name) => array(`${i}.${name}`)), x),
    all[0]?.he,
  );
}

function moduleOf(name: string, module: unknown): Module {
  return argument(name, module, moduleRule);
}

const moduleRule = required(
  hinted(
    rule<Module>("a module, from the functions of nn", (value) => value instanceof Module),
    (given) => {
      if (typeof given === "function") return "did you mean to call it, as in nn.linear(2, 32)?";
      return isArray(given) ? "pass the modules as separate arguments, not as a list" : undefined;
    },
  ),
);

/** An input with this number of rows. */
function sized(name: string, x: unknown, rows: number): Value {
  const value = lift(name, x);
  if (value.length !== rows) throw refused("SHAPE", name, `${rows} rows`, String(value.length));
  return value;
}

/** An array that begins with the same number everywhere. */
function filled(name: string, rows: number, value: number): ModuleArray {
  return { name, shape: [rows], initial: () => new Float64Array(rows).fill(value) };
}

/** Layers of networks, to be parameters of a traced function. */
export const nn = {
  /**
   * The layer W x + b, with `weight` `[outputs, inputs]` and `bias` `[outputs]`. Weights are drawn uniformly from
   * ±√(6 / (inputs + outputs)) (Glorot), or ±√(6 / inputs) (He) before relu, elu, silu and gelu; biases are zero.
   *
   * @throws `OPTION` for sizes that are not positive integers, or an unknown option; `SHAPE` if it is applied to a number of rows other
   * than `inputs`.
   */
  linear,
  /**
   * Features minus their mean, divided by their standard deviation, times `weight` `[features]`, plus `bias` `[features]`, which start at
   * 1 and 0 (Ba et al. 2016). The variance is that of all features, plus 1e-5.
   *
   * @throws `OPTION` for a number of features that is not a positive integer; `SHAPE` if it is applied to a number of rows other than
   * `features`.
   */
  layerNorm,
  /**
   * x + module(x), for a module with as many outputs as inputs (He et al. 2016).
   *
   * @throws `OPTION` for what is not a module of `nn`; `SHAPE` if it is applied and the module returns a different number of rows.
   */
  residual,
  /**
   * The modules one after the other. The arrays of the one at place i, from 0, are called `i.weight`, `i.bias` and so on, as in
   * PyTorch's nn.Sequential.
   *
   * @throws `OPTION` without any module, or for what is not a module of `nn`.
   */
  sequential,
  /** tanh(x) of each feature. */
  tanh: /* @__PURE__ */ activation("tanh"),
  /** 1 / (1 + e^−x) of each feature. */
  sigmoid: /* @__PURE__ */ activation("sigmoid"),
  /** max(x, 0) of each feature. */
  relu: /* @__PURE__ */ activation("relu", true),
  /** log(1 + e^x) of each feature. */
  softplus: /* @__PURE__ */ activation("softplus"),
  /** x · sigmoid(x) of each feature. */
  silu: /* @__PURE__ */ activation("silu", true),
  /** x · Φ(x) of each feature, with the standard normal distribution function Φ. */
  gelu: /* @__PURE__ */ activation("gelu", true),
  /** x where it is positive, else e^x − 1, of each feature. */
  elu: /* @__PURE__ */ activation("elu", true),
  /** sin(x) of each feature. */
  sin: /* @__PURE__ */ activation("sin"),
} as const;
