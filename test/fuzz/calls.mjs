// Calls of every public function with values that nobody means: each does its work, or throws an error of the package, or just
// what the caller's own code has thrown. Nothing is lost, and no memory kept.
import assert from "node:assert/strict";
import { runInNewContext } from "node:vm";
import * as typed from "../../dist/index.js";
import { GRADIENTS, METHODS } from "../../wasm/constants.js";
import { fuzz } from "./common.mjs";

/** The package to a caller without types. @type {any} */
const api = typed;

const [f32, f64] = [(...numbers) => Float32Array.of(...numbers), (...numbers) => Float64Array.of(...numbers)];

/** One case: its random choices, and what is alive in it. */
class Case {
  alive = [];
  depth = 0;

  constructor(random) {
    this.below = random.below;
    this.pick = random.pick;
    this.chance = random.chance;
    /** How much of what is handed over is something else. */
    this.share = this.pick([0.05, 0.2, 0.5]);
  }

  /** Throws as the caller's own code does. */
  fail() {
    const error = this.pick([() => new Error("mine"), () => Symbol("mine"), () => undefined, internal])();
    mine.add(error);
    throw error;
  }

  /** Has it disposed of when the case ends. */
  keep(result) {
    for (const one of [result, result?.field, result?.optimizer]) {
      if (typeof one?.dispose === "function") this.alive.push(one);
    }
    return result;
  }

  /** A call, which may be one within another. */
  attempt() {
    try {
      const result = this.keep(this.pick(CALLS)(this));
      if (this.chance(0.3)) this.use(result);
      return result;
    } catch (error) {
      return check(error);
    }
  }

  use(result) {
    if (result?.pullback) result.pullback(this.odd(result.solution.y.slice()));
    else if (result?.epoch) result.epoch();
    else if (result?.evaluate) result.evaluate(0, this.odd(arrayFor(result, 1)));
  }

  /** What the caller's code may do while a call is under way. */
  meddle() {
    if (this.depth === 2) return;
    this.depth++;
    if (this.chance(0.2)) this.pick([...this.alive, undefined])?.dispose();
    else this.attempt();
    this.depth--;
  }

  /** Some other value now and then, else this one. */
  odd(value, share = this.share / 2) {
    return this.chance(share) ? this.pick(ODD)(this, value) : value;
  }

  /** The same, and so for what is in plain objects and arrays. */
  spoiled(value, share = this.share) {
    const other = this.odd(value, share);
    if (other !== value || value === null || typeof value !== "object") return other;
    if (Array.isArray(value)) return value.map((element) => this.spoiled(element, share / 4));
    if (Object.getPrototypeOf(value) !== Object.prototype) return value;
    const entries = Object.entries(value).map(([name, own]) => [name, this.spoiled(own, share / 2)]);
    if (this.chance(0.05)) entries.push([this.pick(NAMES), this.odd(1, 0.5)]);
    const object = Object.fromEntries(entries);
    return this.chance(0.1) ? this.pick(WRAPPERS)(this, object) : object;
  }

  args(...values) {
    const all = values.map((value) => this.spoiled(value));
    if (this.chance(0.03)) all.length = this.below(all.length);
    return all;
  }

  field(kinds = FIELDS) {
    return this.keep(this.pick(kinds)(this));
  }

  solver() {
    const { chance, pick } = this;
    return {
      // A solve ends soon, whatever the rest.
      maxSteps: 50,
      ...(chance(0.5) && { method: pick(METHODS) }),
      ...(chance(0.3) && { steps: 2 }),
      ...(chance(0.3) && { rtol: 1e-3, atol: 1e-3 }),
      ...(chance(0.3) && { gradient: pick(GRADIENTS) }),
      ...(chance(0.1) && { memoryBudget: 1e5 }),
      ...(chance(0.1) && { adjoint: { rtol: 1e-3, norm: "seminorm" } }),
      ...(chance(0.1) && { timeGradients: chance(0.5) }),
      ...(chance(0.1) && { partial: true }),
    };
  }
}

const mine = new Set();
const internal = () => new api.SymplecticAdjointError("INTERNAL", "mine");

function check(error) {
  if (mine.has(error) || (error instanceof api.SymplecticAdjointError && error.code !== "INTERNAL")) return;
  throw new Error("no error of the package", { cause: error });
}

const NUMBERS = [
  ...[0, -0, 1, -1, 2, 0.5, 1e-300, Number.MIN_VALUE, 1e308, 2 ** 32, 2 ** 53, -(2 ** 31)],
  ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
];
const TEXTS = ["", "0", "__proto__", "constructor", "float32", "rk4", "concat", "x".repeat(70), "\ud800"];
const NAMES = ["__proto__", "constructor", "toString", "length", "", "rtol", "steps", "seed", "adjoint", "then"];

/** Plain objects that are read otherwise than plain ones. */
const WRAPPERS = [
  (_, object) => Object.freeze(object),
  (_, object) => Object.create(object),
  (_, object) => Object.assign(Object.create(null), object),
  (_, object) => new Proxy(object, {}),
  (own, object) => new Proxy(object, { get: () => own.fail() }),
  (own, object) => new Proxy(object, { ownKeys: () => own.fail() }),
  (own, object) => new Proxy(object, { get: (target, name) => [target[name], own.meddle()][0] }),
  (own, object) => getter(own, object, () => own.fail()),
  (own, object) => getter(own, object, () => own.meddle()),
  (own, object) => getter(own, object, () => own.pick(ODD)(own)),
  (_, object) => revoked(object),
];

function revoked(object) {
  const { proxy, revoke } = Proxy.revocable(object, {});
  revoke();
  return proxy;
}

/** An object of which a property runs code, and gives something else if that does. */
function getter(own, object, body) {
  const name = own.pick([...Object.keys(object), "length"]);
  return Object.defineProperty({ ...object }, name, { enumerable: true, get: () => body() ?? object[name] });
}

class Long extends Float32Array {
  /** @override */
  get length() {
    return 1e9;
  }
}
class Foreign extends Float64Array {
  static get [Symbol.species]() {
    return String;
  }
}

const TYPED = [Float32Array, Float64Array];

/** Typed arrays of all makes, about as long as they should be. */
const ARRAYS = [
  (own, length) => new (own.pick(TYPED))(length).fill(own.pick([...NUMBERS, 0.1])),
  (own, length) => new (own.pick(TYPED))(own.pick([0, 1, length + 1, 2 * length])),
  (own, length) => new (own.pick([Long, Foreign, Uint8Array, BigInt64Array, Int32Array]))(length),
  (own, length) => new (own.pick(TYPED))(new SharedArrayBuffer(8 * length)),
  (own, length) => detached(new (own.pick(TYPED))(length)),
  (own, length) => {
    const buffer = new ArrayBuffer(8 * length, { maxByteLength: 16 * length });
    const array = new (own.pick(TYPED))(buffer, 0, own.pick([length, undefined]));
    buffer.resize(own.pick([0, 8 * length, 16 * length]));
    return array;
  },
  (own, length) => runInNewContext(`new ${own.pick(TYPED).name}(${length})`),
  (own, length) => Object.create(new (own.pick(TYPED))(length)),
  (own, length) => Object.setPrototypeOf(new (own.pick(TYPED))(length), null),
  (own, length) => new Proxy(new (own.pick(TYPED))(length), {}),
  (own) => own.field().parameters,
];

function detached(array) {
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

/**
 * Lists that are not what they seem.
 *
 * @type {((own: any, right?: any) => unknown)[]}
 */
const LISTS = [
  ...[[], [1], [1, 0], [0, 0], [0, Number.NaN], [null, undefined], ["0", "1"], [0n, 1n], [[0], [1]], [Symbol("0"), 1]],
  ...["01", new Set([0, 1]), new Map([[0, 1]]), new ArrayBuffer(16), new DataView(new ArrayBuffer(16)), [{}, {}]],
].map((list) => () => list);
LISTS.push(
  (own) => ({ length: own.pick([...NUMBERS, "2", null, 2n, Symbol("2"), { valueOf: () => 2 }]) }),
  (own) => getter(own, { length: 2, 0: 0, 1: 1 }, () => own.fail()),
  (own) => getter(own, { length: 2, 0: 0, 1: 1 }, () => own.meddle()),
  (own) => new Proxy([0, 1], { get: (list, name) => [list[name], own.meddle()][0] }),
  (own) => Object.assign([0, 1], { [Symbol.iterator]: own.pick([undefined, () => own.fail()]) }),
  (own) => {
    const sparse = [0, 1];
    sparse.length = own.pick([3, 2 ** 32 - 1]);
    return sparse;
  },
);

/** Functions that do what they must not. */
const FUNCTIONS = [
  (own) => () => own.fail(),
  (own) => async () => own.fail(),
  () => () => {},
  () => async () => ({ value: 1, cotangent: f32(0, 0, 0, 0) }),
  () => function* () {},
  () => class {},
  () => revoked(() => {}),
  (own) => () => own.pick(ODD)(own),
  (own) => (_, y) => [y, own.meddle()][0],
  (own) => (y) => ({ value: own.odd(0), cotangent: own.odd(y), and: own.meddle() }),
  (own) => (_t, y, w) => ({ y: own.odd(w ?? y), parameters: own.odd(undefined), t: own.odd(0), and: own.meddle() }),
  (own) => (y) => own.odd({ value: 1, cotangent: ArrayBuffer.isView(y) ? detached(y) : y }),
];

/** Values of all kinds, in the place of one that would be right. */
/** How many numbers a typed array has; anything else counts as so many. */
const lengthOf = (value, other) => (ArrayBuffer.isView(value) ? /** @type {any} */ (value).length : other);

const ODD = [
  () => undefined,
  () => null,
  () => true,
  () => 1n,
  () => Symbol("odd"),
  ({ pick }) => pick(NUMBERS),
  ({ pick }) => pick(NUMBERS),
  ({ pick }) => pick(TEXTS),
  () => new Date(0),
  () => ({}),
  () => JSON.parse('{ "__proto__": { "rtol": -1 }, "length": 2 }'),
  (own) => ({ valueOf: () => own.fail(), toString: () => own.fail() }),
  (own) => getter(own, { [Symbol.toStringTag]: "Float32Array" }, () => own.fail()),
  () => globalThis,
  (own, right) => own.pick(LISTS)(own, right),
  (own, right) => own.pick(LISTS)(own, right),
  (own, right) => own.pick(ARRAYS)(own, lengthOf(right, 2)),
  (own, right) => own.pick(ARRAYS)(own, lengthOf(right, 4)),
  (own) => own.pick(FUNCTIONS)(own),
  (own) => own.pick(FUNCTIONS)(own),
  (own, right) => own.pick(WRAPPERS)(own, Object(right) === right && !ArrayBuffer.isView(right) ? right : {}),
  (own) => own.field(),
];

const NETWORK = { widths: [2, 3, 2], dtype: "float64", seed: 1 };
const CUSTOM = {
  ...{ stateSize: 2, dtype: "float64", parameters: f64(1) },
  evaluate: (_t, y) => y.map((value) => -value),
  vjp: (_t, _y, w) => ({ y: w.map((value) => -value), parameters: f64(0), t: 0 }),
};
const JUMPS = [{ times: [[0.25], [0.5, 1]], set: ({ state }) => state.mul(0.5), amounts: { dose: [[1], [2, 3]] } }];
const TRAJECTORY = { times: [0, 0.5, 1], values: [1, 0, 0.5, 0.5, Number.NaN, 1] };
const ENERGY = { energy: { widths: [2, 3, 1], dtype: "float64" }, structure: { J: [0, 1, -1, 0], R: [0, 0, 0, 1] } };

const EQUATIONS = "param k = 0.5\nx' = -k * x * y\ny' = x < y ? sin(t) - y : x^2";
const SLOPE = { state: 2, parameters: { k: 1 }, slope: ({ state, parameters: { k } }) => state.mul(k).sin() };
const FUNCTION = {
  ...{ inputs: { x: 2 }, parameters: { k: 1 }, dtype: "float64" },
  apply: ({ inputs: { x }, parameters: { k } }) => x.square().sum().mul(k),
};
const LOSSES = [
  () => api.loss(({ y, target, mask }) => y.sub(target).square().mul(mask).sum()),
  () => api.absoluteLoss(),
  () => api.huberLoss({ delta: 0.5 }),
  () => api.gaussianLoss({ scale: 2 }),
  () => api.poissonLoss({ log: true }),
];

const FLOWS = [() => api.cnf({ network: NETWORK, trace: "hutchinson", kinetic: true, jacobian: true })];
const FIELDS = [
  () => api.mlp({ widths: [2, 3, 2] }),
  () => api.mlp(NETWORK),
  () => api.custom(CUSTOM),
  () => api.hamiltonian(ENERGY),
  (own) => api.driven(own.keep(api.hamiltonian(ENERGY)), { B: [0, 1], u: () => [1], du: () => [0] }),
  ...FLOWS,
  () => api.equations(EQUATIONS, { dtype: "float64" }),
];

/** A state that fits a field. */
function arrayFor({ dtype, stateSize }, batch) {
  return new (dtype === "float32" ? Float32Array : Float64Array)(batch * stateSize).fill(0.1);
}

const lossOf = (y) => ({ value: 0, cotangent: y });
const batchOf = (field) => ({
  ...{ y0: arrayFor(field, 2), times: [0, 1], target: arrayFor(field, 4) },
  mask: new Uint8Array(4 * field.stateSize).fill(1),
});

/** The names of what can be done with a value, and of the functions that do the same. */
const VALUE_METHODS = [];
api
  .vectorField({
    state: 1,
    slope({ state }) {
      const prototype = Object.getPrototypeOf(state);
      const isMethod = (name) => typeof Object.getOwnPropertyDescriptor(prototype, name)?.value === "function";
      VALUE_METHODS.push(
        ...Object.getOwnPropertyNames(prototype).filter((name) => name !== "constructor" && isMethod(name)),
      );
      return state;
    },
  })
  .dispose();
const OPERATIONS = VALUE_METHODS.filter((name) => typeof api[name] === "function");

/** What a function that is recorded may do with what it is given. */
const RECORDED = [
  (own, { state }) => state[own.pick(VALUE_METHODS)](...own.args(own.pick([state, 1, () => state]), state)),
  (own, { state }) => api[own.pick(OPERATIONS)](...own.args(state, own.pick([state, 2]))),
  (own, { state, parameters }) => api.formula(...own.args(["", " * ", ""], state, parameters.k)),
  (own, { state }) => api.formula`${own.odd(state, 0.9)} + 1`,
  (own, { state }) => api.grad(...own.args(state.square().sum(), state)),
  (own, { state }) => api.where(...own.args(state.less(1), state, 0)),
  (own, { state }) => api.concat(...own.args(state, 1)),
  (own, { state, parameters }) => parameters.net(own.odd(state, 0.9)),
  (own, { state }) => Object.assign(state, { [own.below(3)]: own.odd(1, 0.5) }),
  (own, { parameters }) => Object.assign(parameters, { [own.pick(["k", "net", ...NAMES])]: own.odd(1, 0.5) }),
];
const LAYERS = [
  (own) => api.nn.linear(...own.args(2, 2, { bias: true })),
  (own) => api.nn.sequential(...own.args(api.nn.linear(2, 3), api.nn.tanh, api.nn.linear(3, 2))),
];
const MEASURED = { times: [0, 0.5, 1], y: [1, 0, 0.5, 0.5, Number.NaN, 1], y0: [1, 0] };
const DIRECTION = { y0: f64(1, 0), parameters: f64(1) };

const CALLS = [
  (own) => {
    const slope = (inputs) => own.pick(RECORDED)(own, inputs);
    const parameters = { k: own.odd(1), net: own.chance(0.3) ? own.pick(LAYERS)(own) : api.nn.linear(2, 2) };
    return api.vectorField({ state: 2, parameters, slope });
  },
  (own) => own.pick(LAYERS)(own),
  (own) => {
    const residuals = own.chance(0.5)
      ? ({ a }) => ({ residuals: [a - 1, a], jacobian: own.odd([1, 1], 0.5) })
      : ({ a }) => [own.odd(a), a];
    return api
      .leastSquares(
        ...own.args({
          residuals,
          parameters: { a: { start: 2, upper: 9, scale: 1 } },
          loss: "huber",
          maxIterations: 3,
        }),
      )
      .profile(...own.args("a", { maxPoints: 3 }));
  },
  (own) => {
    const field = own.keep(api.equations(EQUATIONS, { dtype: "float64" }));
    const wanted = {
      parameters: { k: { start: 1, lower: 0 } },
      initial: { x: { shared: true }, y: true },
      error: "combined",
    };
    const more = { noise: 0.1, starts: 2, observe: ["x", "x + y"], maxIterations: 2, maxSteps: 50 };
    return api.leastSquares(
      ...own.args({
        field,
        data: own.chance(0.5) ? MEASURED : [MEASURED, MEASURED],
        ...wanted,
        ...(own.chance(0.3) && more),
      }),
    );
  },
  (own) => {
    const solver = own.keep(api.solver(...own.args(own.field(), f64(1, 0), 0, { maxSteps: 50 })));
    if (own.chance(0.5)) return solver[own.pick(["step", "stepTo"])](...own.args(1));
    const field = own.keep(api.equations(EQUATIONS, { dtype: "float64" }));
    const saved = own.keep(api.solver(field, f64(1, 0), 0, { norm: "max", events: [{ when: "x - 2" }] })).save();
    return own.keep(api.restoreSolver(...own.args(field, structuredClone(saved), { maxSteps: 50 })));
  },
  (own) => {
    const field = own.keep(api.equations(EQUATIONS, { dtype: "float64" }));
    return api.jvp(
      ...own.args(field, f64(1, 2), [0, 0.5], { ...DIRECTION, times: [0, 1], directions: 1 }, own.solver()),
    );
  },
  (own) => {
    const field = own.keep(api.equations(EQUATIONS, { dtype: "float64" }));
    const { timeGradients: _, ...options } = own.solver();
    return api.sensitivities(...own.args(field, f64(1, 2), [0, 0.5], { ...options, parameters: true, y0: true }));
  },
  (own) => {
    const field = own.keep(api.equations(EQUATIONS, { dtype: "float64" }));
    const loss = (y) => ({ value: 1, cotangent: y, curvature: own.odd(y.slice(), 0.5) });
    return api.hessianVectorProduct(...own.args(field, f64(1, 2), [0, 0.5], loss, DIRECTION, own.solver()));
  },
  (own) => {
    const field = own.field();
    const batching = own.pick(["together", "independent"]);
    const { y, shape, trajectories } = api.odeint(field, arrayFor(field, 2), [0, 0.5], { ...own.solver(), batching });
    return api.series(
      ...own.args(field, { y, shape, ...(trajectories && { trajectories: { reached: trajectories.reached } }) }, 0, 1),
    );
  },
  (own) => api.mlp(...own.args({ ...NETWORK, activation: "tanh", time: "concat", bias: true })),
  (own) => api.custom(...own.args(CUSTOM)),
  (own) => api.cnf(...own.args({ network: NETWORK, trace: "exact", noise: "gaussian", noiseSeed: 3, kinetic: true })),
  (own) => api.hamiltonian(...own.args(ENERGY)),
  (own) => api.hamiltonian(...own.args({ energy: { widths: [3, 3, 1] }, structure: "dx", points: 6, spacing: 0.5 })),
  (own) => api.driven(...own.args(own.field(), { B: [0, 1], u: () => [1], du: () => [0] })),
  (own) => {
    const field = own.field();
    return api.odeint(...own.args(field, arrayFor(field, 2), [0, 0.5, 1], own.solver()));
  },
  (own) => {
    const field = own.field();
    return api.vjp(...own.args(field, arrayFor(field, 2), [0, 0.5, 1], own.solver()));
  },
  (own) => {
    const field = own.field();
    return api.valueAndGrad(...own.args(field, arrayFor(field, 2), [0, 0.5, 1], lossOf, own.solver()));
  },
  (own) => {
    const field = own.field();
    return api.valueAndGrad(field, arrayFor(field, 2), [0, 0.5, 1], own.pick(FUNCTIONS)(own), own.solver());
  },
  (own) => {
    const odd = { [own.pick(["evaluate", "vjp"])]: own.pick(FUNCTIONS)(own) };
    const field = own.keep(api.custom({ ...CUSTOM, ...odd }));
    return own.keep(api.vjp(field, f64(1, 0), [0, 1], own.solver())).pullback(f64(0, 0, 1, 1));
  },
  (own) => {
    const odd = { [own.pick(["u", "du"])]: own.pick(FUNCTIONS)(own) };
    const field = own.keep(
      api.driven(own.field(FIELDS.slice(1, 4)), { B: [0, 1], u: () => [1], du: () => [0], ...odd }),
    );
    return api.valueAndGrad(field, f64(1, 0), [0, 1], lossOf, own.solver());
  },
  (own) => own.keep(api.vjp(own.field(FIELDS.slice(0, 4)), f64(1, 0), [0, 1])).pullback(own.odd(f64(0, 0, 1, 1), 0.9)),
  (own) => api.meanSquaredError(...own.args(f64(1, 2), f64(3, 4), [1, 0])),
  (own) => own.keep(own.pick(LOSSES)())(...own.args(f64(1, 2), { target: f64(3, 4), mask: [1, 0] }, [2, 1, 1])),
  (own) => {
    const field = own.field();
    const loss = own.keep(own.pick(LOSSES)());
    return api.valueAndGrad(field, arrayFor(field, 2), [0, 1], loss.of(...own.args(batchOf(field))), own.solver());
  },
  (own) =>
    own.keep(api.loss(...own.args(({ y }) => y.sum().square(), { inputs: { noise: 1 }, target: 2 })))(
      f64(1),
      { target: [1] },
      [1, 1, 1],
    ),
  (own) => api.huberLoss(...own.args({ delta: 1 })),
  (own) => api.gaussianLoss(...own.args({ scale: [1, 2] })),
  (own) => api.poissonLoss(...own.args({ log: true })),
  (own) =>
    api.equations(
      ...own.args(EQUATIONS, { parameters: { k: 2 }, arguments: ["w"], state: ["y", "x"], dtype: "float64" }),
    ),
  (own) => api.vectorField(...own.args({ ...SLOPE, arguments: { w: 2 }, dtype: "float64", seed: 3 })),
  (own) => own.keep(api.differentiable(...own.args({ ...FUNCTION, seed: 3 }))).evaluate({ x: f64(1, 2) }),
  (own) => {
    const method = own.pick(["jvp", "hessianProduct"]);
    return own.keep(api.differentiable(FUNCTION))[method](...own.args({ x: f64(1, 2) }, { x: f64(1, 2) }, f64(1)));
  },
  (own) => {
    const field = own.keep(api.equations(EQUATIONS, { dtype: "float64" }));
    return field.jvp(...own.args(0, f64(1, 2), { y: f64(1, 2), t: 1, parameters: f64(1), arguments: {} }, f64(1), {}));
  },
  (own) => {
    const field = own.keep(api.equations("x' = w * x", { arguments: ["w"] }));
    return api.odeint(field, f32(1, 2), [0, 1], { ...own.solver(), arguments: own.spoiled({ w: [1, 2] }) });
  },
  (own) => {
    const field = own.field();
    return field.evaluate(...own.args(0, arrayFor(field, 2), field.parameters));
  },
  (own) => {
    const field = own.field();
    return field.vjp(...own.args(0, arrayFor(field, 2), arrayFor(field, 2), field.parameters));
  },
  (own) => {
    const field = own.field();
    field.parameters = own.odd(field.parameters, 0.9);
  },
  (own) => own.keep(api.hamiltonian(ENERGY)).energy(...own.args(f64(1, 0), 0, undefined)),
  (own) => own.field(FLOWS).seedNoise(...own.args(1)),
  (own) => own.field(FLOWS).setNoise(...own.args(f64(1, 0, -1, 1))),
  (own) =>
    api.adam(...own.args(own.field(), { learningRate: 0.1, weightDecay: 0, beta1: 0.5, beta2: 0.5, epsilon: 1 })),
  (own) => api.sgd(...own.args(own.field(), { learningRate: 0.1, weightDecay: 0.1, momentum: 0.5 })),
  (own) => {
    const field = own.field();
    own.keep(api.sgd(field)).step(...own.args({ parameters: field.parameters }));
  },
  (own) => {
    const optimizer = own.keep(api.adam(own.field()));
    optimizer[own.pick(["learningRate", "steps"])] = own.odd(1, 0.9);
  },
  (own) => api.flow(...own.args({ blocks: [own.field(FLOWS), own.field(FLOWS)], time: 1 })),
  (own) => api.flow({ blocks: [own.field(FLOWS)] }).logDensity(...own.args(f64(1, 0), own.solver())),
  (own) => api.flow({ blocks: [own.field(FLOWS)] }).sample(...own.args(2, 1, own.solver())),
  (own) => {
    const options = { ...own.solver(), kineticWeight: 1, jacobianWeight: 1 };
    return api.flow({ blocks: [own.field(FLOWS)] }).valueAndGrad(...own.args(f64(1, 0, 0, 1), options));
  },
  (own) => {
    const options = { batch: 2, window: 2, stride: 1, relative: true, shuffle: true, seed: 1, dtype: "float64" };
    const changes = own.chance(0.5) ? { batching: "independent", jumps: JUMPS } : {};
    const trajectories = [TRAJECTORY, own.chance(0.5) ? TRAJECTORY : { ...TRAJECTORY, y0: [1, 2] }];
    return api.minibatches(...own.args({ trajectories, ...options, ...changes })).epoch();
  },
  (own) => {
    const data = api.minibatches({ trajectories: [TRAJECTORY] });
    if (own.chance(0.5)) return data.epoch(...own.args(1));
    data.state = own.spoiled({ epoch: 1, position: 0 });
    return data[Symbol.iterator]().next();
  },
  (own) => api.exponentialDecay(...own.args(1, { factor: 0.5, steps: 2, least: 0 }))(...own.args(3)),
  (own) => api.cosineDecay(...own.args(1, { steps: 2, least: 0 }))(...own.args(3)),
  (own) => api.warmUp(...own.args(2, () => 1))(...own.args(own.below(4))),
  (own) => api.kernelPeak(...own.args({ dtype: "float32", milliseconds: 1e-3 })),
  (own) => {
    const field = own.field(FIELDS.slice(0, 2));
    return api.save(...own.args(field, { optimizer: own.keep(api.adam(field)), metadata: { text: "ö" } }));
  },
  (own) => {
    const bytes = api.save(own.field(FIELDS.slice(0, 2)));
    if (own.chance(0.5)) bytes[own.below(bytes.length)] ^= 1 << own.below(8);
    return own.chance(0.5) ? api.load(...own.args(bytes, {})) : api.loadStateDict(...own.args(own.field(), bytes, {}));
  },
  (own) => api.saveTensors(...own.args({ a: { shape: [1, 2], data: f32(1, 2) } }, { text: "ö" })),
  (own) => api.loadTensors(...own.args(api.saveTensors({ a: { shape: [2], data: f64(1, 2) } }))),
];

/** Those that take time: calls of them are few. */
const SLOW = [
  async (own) => {
    const field = own.field();
    const ownTimes = (batch) =>
      own.chance(0.3)
        ? { ...batch, times: Array.from({ length: batch.y0.length / field.stateSize }, () => batch.times) }
        : batch;
    const data = [ownTimes(batchOf(field)), ownTimes(batchOf(field))].values();
    const common = { field, optimizer: own.keep(api.adam(field)), data, steps: 2, clipNorm: 1, schedule: () => 0.1 };
    const validation = { data: [batchOf(field)], every: 1, patience: 5, leastGain: 0, restoreBest: true };
    const [options] = own.args({
      ...common,
      validation,
      loss: own.pick(["mse", lossOf, own.keep(own.pick(LOSSES)())]),
      maxSteps: 50,
      pool: own.pick([undefined, pool]),
    });
    if (own.chance(0.5)) return api.fit(options);
    for await (const _ of api.train(options));
  },
  async (own) => {
    const field = own.field();
    const y0 = arrayFor(field, 2);
    const value = () =>
      api.valueAndGrad(field, y0, [0, 0.5], (y) => ({ value: y[0] ** 2, cotangent: y.map((v, i) => (i ? 0 : 2 * v)) }));
    return api.lbfgs(
      ...own.args({ field, value, maxIterations: 2, memory: 3, gradientTolerance: 0, costTolerance: 0 }),
    );
  },
  (own) => {
    const field = own.field();
    return pool.odeint(...own.args(field, arrayFor(field, 2), [0, 0.5, 1], own.solver()));
  },
  async (own) => {
    const residuals = async ({ a }) => [own.odd(a - 1, 0.1), a];
    const fit = await api.leastSquares(...own.args({ residuals, parameters: { a: 2 }, maxIterations: 3 }));
    return fit.profile(...own.args("a", { maxPoints: 3 }));
  },
  async (own) => {
    const field = own.keep(api.equations(EQUATIONS, { dtype: "float64" }));
    const more = { parameters: { k: { start: 1, lower: 0 } }, maxIterations: 2, maxSteps: 50 };
    const fit = await api.leastSquares(...own.args({ field, data: [MEASURED, MEASURED], ...more, pool }));
    return fit.profile(...own.args("k", { maxPoints: 3 }));
  },
  (own) => {
    const field = own.keep(api.equations(EQUATIONS, { dtype: "float64" }));
    const settings = { batching: "independent", maxSteps: 50 };
    return pool.jvp(...own.args(field, f64(1, 2), [0, 0.5], { ...DIRECTION, times: [0, 1], directions: 1 }, settings));
  },
  async (own) => {
    const field = own.field();
    const solve = own.keep(await pool.vjp(...own.args(field, arrayFor(field, 2), [0, 0.5, 1], own.solver())));
    return solve.pullback(own.odd(solve.solution.y.slice(), 0.5));
  },
  (own) => {
    const field = own.field();
    return pool.valueAndGrad(...own.args(field, arrayFor(field, 2), [0, 1], lossOf, own.solver()));
  },
  (own) => api.flow({ blocks: [own.field(FLOWS)] }).valueAndGradIn(...own.args(pool, f64(1, 0, 0, 1), own.solver())),
  (own) => api.init(...own.args({ simd: "simd128" })),
  async (own) => (await api.parallel(...own.args({ workers: 0.5, workerUrl: "file:///nowhere.mjs" }))).close(),
];

// A promise of the caller's own that fails where nobody looks at it.
process.on("unhandledRejection", check);
const pool = await api.parallel({ workers: 1 });
const canary = api.mlp(NETWORK);
const { liveBytes } = api.memoryUsage();
const isNative = api.engine().kind === "native";

const { count, seconds } = await fuzz(api, "calls", { count: 20_000, every: 500 }, async (random, index) => {
  const own = new Case(random);
  if (own.chance(0.97)) own.attempt();
  else await own.pick(SLOW)(own).catch(check);
  for (const object of own.alive) object.dispose();
  canary.evaluate(0, f64(1, 0));
  // Natively a worker's counts too, and what a view keeps until it is collected.
  if (!isNative) assert.equal(api.memoryUsage().liveBytes, liveBytes, "memory is still held");
  if ((index + 1) % 500 === 0) {
    await new Promise((resolve) => setImmediate(resolve));
    mine.clear();
  }
});
pool.close();
console.log(
  `${count} calls with odd values in ${seconds.toFixed(1)} s: none lost a field${isNative ? "" : ", none kept memory"}`,
);
