import { runInNewContext } from "node:vm";
import * as fc from "fast-check";
import {
  adam,
  custom,
  equations,
  init,
  loadTensors,
  meanSquaredError,
  memoryUsage,
  mlp,
  type OdeintOptions,
  odeint,
  saveTensors,
  series,
  valueAndGrad,
  vjp,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { numbers, testWasm, thrown } from "./helpers.js";

const y0 = () => Float32Array.of(1, 0, 0.5, -0.5);

test("a solution has a shape, statistics and memory of its own", () => {
  const field = mlp({ widths: [2, 8, 2] });
  const start = y0();
  const solution = odeint(field, start, [0, 0.5, 1]);
  expect(solution.shape).toEqual([3, 2, 2]);
  expect(solution.y).toHaveLength(12);
  expect([...solution.y.subarray(0, 4)]).toEqual([...start]);
  expect(solution.stats.accepted).toBeGreaterThan(0);
  expect(solution.stats.evaluations).toBeGreaterThan(solution.stats.accepted);
  const { total, ...parts } = solution.stats.peakBytes;
  expect(Object.values(parts).reduce((sum, bytes) => sum + bytes)).toBe(total);
  solution.y.fill(9);
  expect([...start]).toEqual([...y0()]);
  expect(odeint(field, start, [0, 1]).y[0]).toBe(1);
});

test("a series is one feature of one trajectory, by its name or index", () => {
  const field = equations("x' = v \n v' = -x", { dtype: "float64" });
  const start = Float64Array.of(1, 0, 0, 2, 3, 3);
  const times = [0, 0.5, 1, 1];
  const solution = odeint(field, start, times);
  for (let trajectory = 0; trajectory < 3; trajectory++) {
    for (const [feature, name] of (["x", "v"] as const).entries()) {
      const expected = times.map((_, k) => solution.y[6 * k + 2 * trajectory + feature]);
      expect([...series(field, solution, name, trajectory)]).toEqual(expected);
      expect(series(field, solution, feature, trajectory)).toEqual(Float64Array.from(expected as number[]));
    }
  }
  expect(series(field, solution, "x")).toEqual(series(field, solution, 0, 0));
  // Trajectories with times of their own end with these; what has failed, where it did.
  const own = odeint(field, start, [[0, 1], [0, 0.5, 1, 2], [0]]);
  expect([0, 1, 2].map((trajectory) => series(field, own, "v", trajectory).length)).toEqual([2, 4, 1]);
  expect(series(field, own, "v", 1)[3]).toBeCloseTo(2 * Math.cos(2), 4);
  const bursting = equations("x' = x * x", { dtype: "float64" });
  const failed = odeint(bursting, Float64Array.of(1, 0.1), [0, 0.5, 2], { onFailure: "mask" });
  expect(series(bursting, failed, "x", 0)).toHaveLength(2);
  expect(series(bursting, failed, "x", 1)).toHaveLength(3);
  const messages = [
    () => series(field, solution, "w" as "x"),
    () => series(field, solution, 2),
    () => series(field, solution, "x", 3),
    () => series(bursting, failed, "x", -1),
    () => series(field, undefined as never, "x"),
  ].map((wrong) => thrown("OPTION", wrong).message);
  expect(messages).toEqual([
    "w: there is no state of that name; the names are x, v",
    "state: expected a name or an index from 0 to 1, given 2",
    "trajectory: expected an index from 0 to 2, given 3",
    "trajectory: expected an index from 0 to 1, given -1",
    "solution: expected a solution, with y and shape, given undefined",
  ]);
  expect(thrown("SHAPE", () => series(bursting, solution, "x")).message).toBe(
    "solution: expected one of this field, with 1 features, given one with 2",
  );
});

test("parameters are named, readable, settable, and a live view", () => {
  const field = mlp({ widths: [2, 3, 2], time: "concatsquash", dtype: "float64", seed: 5 });
  expect(Object.keys(field.layers[0] ?? {})).toEqual(["weight", "bias", "gateWeight", "gateBias", "hyperBias"]);
  expect(field.layers[0]?.weight).toEqual({ offset: 0, shape: [3, 2] });
  expect(field.layers[1]?.weight).toEqual({ offset: 18, shape: [2, 3] });
  expect(field.parameters).toHaveLength(18 + 14);
  expect([...mlp({ widths: [2, 3, 2], time: "concatsquash", dtype: "float64", seed: 5 }).parameters]).toEqual([
    ...field.parameters,
  ]);
  const before = field.evaluate(0, Float64Array.of(1, 2));
  field.parameters[0] = 0.25;
  expect([...field.evaluate(0, Float64Array.of(1, 2))]).not.toEqual([...before]);
  const values = numbers("float64", 32);
  field.parameters = values;
  expect([...field.parameters]).toEqual([...values]);
  thrown("NON_FINITE", () => {
    field.parameters = new Float64Array(32).fill(Number.NaN);
  });
  expect([...field.parameters]).toEqual([...values]);
  expect(mlp({ widths: [2, 4, 2], time: "concat" }).layers[0]?.weight.shape).toEqual([4, 3]);
  expect(mlp({ widths: [2, 4, 2], bias: false }).parameters).toHaveLength(16);
});

test("initial weights keep to their limits", () => {
  for (const [activation, limit] of [
    ["tanh", Math.sqrt(6 / 72)],
    ["relu", Math.sqrt(6 / 8)],
  ] as const) {
    const field = mlp({ widths: [8, 64, 8], activation, seed: 3 });
    const { offset } = field.layers[0]?.weight ?? { offset: -1 };
    const weights = field.parameters.slice(offset, offset + 512);
    const largest = Math.max(...weights.map(Math.abs));
    expect(largest).toBeLessThanOrEqual(limit * (1 + 1e-6));
    expect(largest).toBeGreaterThan(0.95 * limit);
  }
});

testWasm("a view taken before memory grows is taken anew", () => {
  const field = mlp({ widths: [2, 8, 2] });
  const [first] = field.parameters;
  const before = memoryUsage().wasmBytes;
  const big = mlp({ widths: [1500, 1500, 1500], dtype: "float64" });
  expect(memoryUsage().wasmBytes).toBeGreaterThan(before);
  expect(field.parameters[0]).toBe(first);
  big.dispose();
});

test.each([
  ["SHAPE", "y0", { y0: new Float32Array(3) }],
  ["SHAPE", "y0", { y0: new Float32Array(0) }],
  ["DTYPE", "y0", { y0: new Float64Array(2) }],
  ["DTYPE", "y0", { y0: [1, 2] }],
  ["NON_FINITE", "y0", { y0: Float32Array.of(1, Number.NaN) }],
  ["SHAPE", "times", { times: [] }],
  ["OPTION", "times", { times: [0, 1, 1, 0.5] }],
  ["OPTION", "times", { times: [0, 1, 0] }],
  ["OPTION", "times", { times: [0, 1, 0.5] }],
  ["OPTION", "times", { times: [1, 0, 0.5] }],
  ["NON_FINITE", "times", { times: [0, Number.NaN] }],
  ["NON_FINITE", "times", { times: [0, Number.POSITIVE_INFINITY] }],
  ["OPTION", "times", { times: [0, "1"] }],
  ["OPTION", "tolerance", { options: { tolerance: 1 } }],
  ["OPTION", "method", { options: { method: "rk5" } }],
  ["OPTION", "rtol", { options: { rtol: -1 } }],
  ["OPTION", "rtol", { options: { rtol: Number.NaN } }],
  ["OPTION", "rtol", { options: { rtol: "1e-3" } }],
  ["OPTION", "atol", { options: { rtol: 0, atol: 0 } }],
  ["OPTION", "firstStep", { options: { firstStep: 0 } }],
  ["OPTION", "minStep", { options: { minStep: 2, maxStep: 1 } }],
  ["OPTION", "maxSteps", { options: { maxSteps: 1.5 } }],
  ["OPTION", "steps", { options: { steps: 0 } }],
  ["OPTION", "stepSize", { options: { stepSize: 0.1, steps: 2 } }],
  ["OPTION", "stepSize", { options: { stepSize: 1e-300 } }],
  ["OPTION", "steps", { options: { steps: 4 }, times: [1, 1 + 2e-16] }],
  ["OPTION", "times", { times: [-1e308, 1e308] }],
  ["SHAPE", "times", { times: { length: -1 } }],
  ["OPTION", "safety", { options: { safety: 2 } }],
  ["OPTION", "output", { options: { output: "dense" } }],
  ["OPTION", "gradient", { options: { gradient: "magic" } }],
  ["OPTION", "adjoint.rtol", { options: { gradient: "adjoint", adjoint: { rtol: -1 } } }],
  ["OPTION", "adjoint.norm", { options: { gradient: "adjoint", adjoint: { norm: "max" } } }],
  ["OPTION", "timeGradients", { options: { timeGradients: 0 } }],
  ["OPTION", "adjoint.output", { options: { gradient: "adjoint", adjoint: { output: "land" } } }],
])("%s for %s in %j", (code, argument, given) => {
  const field = mlp({ widths: [2, 4, 2] });
  const { y0 = Float32Array.of(1, 0), times = [0, 1], options = {} } = given as unknown as Record<string, never>;
  const error = thrown(code, () => vjp(field, y0, times, options));
  expect(error.argument).toBe(argument);
  expect(error.message).toContain(argument);
  // And the package goes on.
  expect(odeint(field, Float32Array.of(1, 0), [0, 1]).y).toHaveLength(4);
});

test.each([
  [{ widths: [2] }],
  [{ widths: [2, 0, 2] }],
  [{ widths: [2, 1.5, 2] }],
  [{ widths: [2, 2], activation: "step" }],
  [{ widths: [2, 2], time: "yes" }],
  [{ widths: [2, 2], dtype: "float16" }],
  [{ widths: [2, 2], seed: -1 }],
  [{ widths: [2, 2], hidden: 3 }],
  [{ widths: [2 ** 31 - 1, 2 ** 31 - 1] }],
])("mlp refuses %j", (options) => {
  thrown("OPTION", () => mlp(options as never));
});

test("cotangents and losses are checked", () => {
  const field = mlp({ widths: [2, 4, 2] });
  const solve = vjp(field, y0(), [0, 1]);
  thrown("SHAPE", () => solve.pullback(new Float32Array(4)));
  thrown("DTYPE", () => solve.pullback(new Float64Array(8) as never));
  thrown("NON_FINITE", () => solve.pullback(new Float32Array(8).fill(Number.NaN)));
  expect(solve.pullback(new Float32Array(8).fill(1)).y0).toHaveLength(4);
  solve.dispose();
  thrown("CALLBACK", () => valueAndGrad(field, y0(), [0, 1], (() => 1) as never));
  thrown("OPTION", () => valueAndGrad(field, y0(), [0, 1], null as never));
  const own = new Error("my own");
  const failing = () => {
    throw own;
  };
  expect(() => valueAndGrad(field, y0(), [0, 1], failing)).toThrow(own);
});

test("what is disposed says so, and a second time is harmless", () => {
  const field = mlp({ widths: [2, 4, 2] });
  const solve = vjp(field, y0(), [0, 1]);
  field.dispose();
  field.dispose();
  thrown("DISPOSED", () => field.parameters);
  thrown("DISPOSED", () => odeint(field, y0(), [0, 1]));
  expect(solve.pullback(new Float32Array(8).fill(1)).y0).toHaveLength(4);
  solve.pullback.dispose();
  solve.dispose();
  thrown("DISPOSED", () => solve.pullback(new Float32Array(8)));
  if (Symbol.dispose) expect(mlp({ widths: [2, 2] })[Symbol.dispose]).toBeTypeOf("function");
});

test("a gradient is that of the parameters at the time of the solve", () => {
  const field = mlp({ widths: [2, 4, 2] });
  const solve = vjp(field, y0(), [0, 1], { method: "rk4", steps: 3 });
  const before = solve.pullback(new Float32Array(8).fill(1));
  field.parameters.fill(0);
  expect(solve.pullback(new Float32Array(8).fill(1)).parameters).toEqual(before.parameters);
});

test("inputs of every kind are read, and left alone", () => {
  const field = mlp({ widths: [2, 4, 2] });
  const plain = odeint(field, Float32Array.of(1, 0), [0, 1]).y;
  const shared = new Float32Array(new SharedArrayBuffer(8));
  shared.set([1, 0]);
  const offset = Float32Array.of(7, 1, 0, 7).subarray(1, 3);
  for (const start of [shared, offset]) {
    expect(odeint(field, start as Float32Array<ArrayBuffer>, Float64Array.of(0, 1)).y).toEqual(plain);
    expect([...start]).toEqual([1, 0]);
  }
});

test("evaluate and vjp of a field, at its own parameters and at others", () => {
  const field = mlp({ widths: [3, 5, 2], dtype: "float64" });
  const y = numbers("float64", 6);
  const w = numbers("float64", 4, 2);
  const other = numbers("float64", field.parameters.length, 3);
  expect(field.evaluate(0, y)).toHaveLength(4);
  const pulled = field.vjp(0.5, y, w, other);
  const product = (e: number) =>
    field
      .evaluate(
        0.5,
        y.map((v) => v + e),
        other,
      )
      .reduce((sum, f, i) => sum + f * (w[i] ?? 0), 0);
  const difference = (product(1e-5) - product(-1e-5)) / 2e-5;
  expect(pulled.y.reduce((sum, v) => sum + v)).toBeCloseTo(difference, 8);
  expect(pulled.t).toBe(0);
  thrown("OPTION", () => odeint(field, y, [0, 1]));
  thrown("SHAPE", () => field.vjp(0, y, y));
  thrown("SHAPE", () => field.evaluate(0, y, new Float64Array(2)));
});

test("arrays of any class and realm are what they are, not what they say", () => {
  const field = mlp({ widths: [2, 4, 2] });
  const plain = odeint(field, Float32Array.of(1, 0), [0, 1]).y;
  class Named extends Float32Array {
    constructor(
      data: ArrayLike<number>,
      readonly label: string,
    ) {
      super(data);
    }
    override get length() {
      return 40;
    }
    override subarray(): never {
      throw new Error("not to be called");
    }
  }
  expect(odeint(field, new Named([1, 0], "y"), [0, 1]).y).toEqual(plain);
  const foreign = runInNewContext("Float32Array.of(1, 0)") as Float32Array;
  expect(odeint(field, foreign, [0, 1]).y).toEqual(plain);
  thrown("DTYPE", () => odeint(field, { [Symbol.toStringTag]: "Float32Array", length: 2 } as never, [0, 1]));
  for (const odd of [Object.create(Float32Array.prototype), Object.create(Float32Array.of(1, 0))]) {
    thrown("DTYPE", () => odeint(field, odd, [0, 1]));
  }
  const gone = Float32Array.of(1, 0);
  structuredClone(gone.buffer, { transfer: [gone.buffer] });
  thrown("SHAPE", () => odeint(field, gone, [0, 1]));
  expect(field.parameters).toHaveLength(22);
});

test("a view of the parameters may be handed in, even where memory grows", () => {
  const field = mlp({ widths: [2, 200_000, 2], dtype: "float64" });
  const optimizer = adam(field);
  optimizer.step(field.parameters);
  expect(optimizer.steps).toBe(1);
  optimizer.dispose();
  field.dispose();
});

test("options are read by name, and once", () => {
  const field = mlp({ widths: [2, 4, 2] });
  let reads = 0;
  const counted = Object.defineProperty({}, "steps", { enumerable: true, get: () => ++reads });
  expect(odeint(field, Float32Array.of(1, 0), [0, 1], counted).stats.accepted).toBe(1);
  expect(reads).toBe(1);
  const disposing = mlp({ widths: [2, 4, 2] });
  const trap = Object.defineProperty({}, "rtol", { enumerable: true, get: () => void disposing.dispose() });
  thrown("DISPOSED", () => odeint(disposing, Float32Array.of(1, 0), [0, 1], trap));
  thrown("OPTION", () => odeint(new Proxy(field, {}), Float32Array.of(1, 0), [0, 1]));
});

test("one options object serves solves and gradients", () => {
  const field = mlp({ widths: [2, 4, 2] });
  const options: OdeintOptions = { method: "rk4", steps: 2, gradient: "aca", partial: true };
  expect(odeint(field, Float32Array.of(1, 0), [0, 1], options).y).toEqual(
    vjp(field, Float32Array.of(1, 0), [0, 1], options).solution.y,
  );
});

test("an unknown option is told what may have been meant", () => {
  const field = mlp({ widths: [2, 4, 2] });
  const error = thrown("OPTION", () => odeint(field, Float32Array.of(1, 0), [0, 1], { rTol: 1e-3 } as never));
  expect(error.message).toMatch(/^rTol: .*did you mean rtol\?/);
  expect(thrown("OPTION", () => adam(field, { lr: 1 } as never)).message).toMatch(/did you mean learningRate\?/);
});

test("tensor files take arrays and texts only", () => {
  const data = Float32Array.of(1);
  for (const [tensors, metadata] of [
    [{}, { epoch: 1 }],
    [{}, null],
    [null, {}],
    [new Map(), {}],
    [{ a: null }, {}],
    [{ a: { shape: [1.5], data } }, {}],
    [{ a: { shape: [2 ** 32 + 1], data } }, {}],
    [{ a: { shape: { length: 2 ** 30 }, data } }, {}],
    [{ a: { shape: [1], data: [1] } }, {}],
    [{ __metadata__: { shape: [1], data } }, {}],
  ]) {
    expect(() => saveTensors(tensors as never, metadata as never)).toThrow(/expected/);
  }
  for (const bytes of [undefined, null, "text", new ArrayBuffer(8), { length: 5e9 }]) {
    thrown("DTYPE", () => loadTensors(bytes as never));
  }
  const many = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`t${i}`, { shape: [1], data }]));
  expect(loadTensors(saveTensors(many)).tensors.size).toBe(5000);
});

test("init after the first use keeps the build", async () => {
  await init();
  await expect(init({ simd: "avx" as never })).rejects.toMatchObject({ code: "OPTION" });
  await expect(init({ wasm: 1 } as never)).rejects.toMatchObject({ code: "OPTION" });
});

test("mean squared error, masked", () => {
  const loss = meanSquaredError(Float64Array.of(1, 2, 3), Float64Array.of(0, Number.NaN, 1), [1, 0, 1]);
  expect(loss.value).toBe(2.5);
  expect([...loss.cotangent]).toEqual([1, 0, 2]);
  const large = meanSquaredError(new Float32Array(1000).fill(2e38), new Float32Array(1000));
  expect((large.cotangent[0] ?? 0) / 4e35).toBeCloseTo(1, 6);
  thrown("DTYPE", () => meanSquaredError([1] as never, [1] as never));
  thrown("SHAPE", () => meanSquaredError(Float64Array.of(1), Float64Array.of(1, 2)));
});

test("whatever is thrown at it, nothing but typed errors come back", () => {
  const anything = fc.anything();
  fc.assert(
    fc.property(anything, anything, anything, (a, b, c) => {
      const field = mlp({ widths: [2, 2] });
      const calls = [
        () => mlp(a as never),
        () => custom(a as never),
        () => odeint(field, a as never, b as never, c as never),
        () => vjp(field, Float32Array.of(1, 2), [0, 1], a as never).dispose(),
        () => odeint(a as never, Float32Array.of(1, 2), [0, 1]),
        () => field.evaluate(a as never, b as never, c as never),
      ];
      for (const body of calls) {
        try {
          body();
        } catch (error) {
          expect(error).toMatchObject({ name: "SymplecticAdjointError" });
          expect((error as { code: string }).code).not.toBe("INTERNAL");
        }
      }
      field.dispose();
    }),
    { numRuns: 300 },
  );
});
