import {
  custom,
  type Field,
  loadTensors,
  memoryUsage,
  mlp,
  odeint,
  type Solution,
  saveTensors,
  vjp,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { ADAPTIVE_METHODS } from "../../wasm/constants.js";
import { collectGarbage, EXACT, testWasm, thrown } from "./helpers.js";

/** A scalar field from a function of t and y. */
function scalar(f: (t: number, y: number) => number): Field<"float64"> {
  return custom({
    stateSize: 1,
    dtype: "float64",
    evaluate: (t, y) => y.map((value) => f(t, value)),
    vjp: (_, y) => ({ y: new Float64Array(y.length) }),
  });
}

const one = Float64Array.of(1);

test("a field that is not a number at the start", () => {
  const error = thrown("NON_FINITE", () =>
    odeint(
      scalar(() => Number.NaN),
      one,
      [2, 3],
    ),
  );
  expect(error).toMatchObject({ t: 2, steps: 0, evaluations: 1 });
});

test("not a number in a trial step only: the step is rejected and shrunk", () => {
  // Defined up to 1.5, where a long first step goes beyond; the solution stays below.
  const field = scalar((_, y) => (y > 1.5 ? Number.NaN : 1.4 - y));
  const { y, stats } = odeint(field, one, [0, 10], { firstStep: 8 });
  expect(stats.rejected).toBeGreaterThan(0);
  expect(y[1]).toBeCloseTo(1.4, 4);
});

test("not a number for good: a bounded number of tries", () => {
  const field = scalar((t) => (t > 1 ? Number.NaN : 1));
  const error = thrown("NON_FINITE", () => odeint(field, one, [0, 2]));
  expect(error.t).toBeCloseTo(1, 6);
  expect(error.evaluations).toBeLessThan(1000);
  const fixed = thrown("NON_FINITE", () => odeint(field, one, [0, 2], { method: "rk4", steps: 10 }));
  expect(fixed).toMatchObject({ steps: 5 });
});

test("far from zero, steps add up to the interval", () => {
  const from = 1e12;
  const options = { maxStep: 1.7e-4, rtol: 1e-10, atol: 1e-12 };
  const { y } = odeint(
    scalar(() => 1),
    Float64Array.of(0),
    [from, from + 0.051],
    options,
  );
  expect(y[1]).toBeCloseTo(from + 0.051 - from, 12);
  // Steps that the time cannot resolve are not taken.
  thrown("STEP_UNDERFLOW", () =>
    odeint(
      scalar(() => 1),
      one,
      [1, 2],
      { maxStep: 1e-18 },
    ),
  );
  expect(
    odeint(
      scalar((_, y) => -1e160 * y),
      one,
      [0, 1e-160],
    ).y[1],
  ).toBeCloseTo(Math.exp(-1), 5);
});

test("an infinite state is never accepted", () => {
  const growing = custom({ stateSize: 1, evaluate: (_, y) => y.map(() => 1e38), vjp: (_, y) => ({ y }) });
  for (const method of ADAPTIVE_METHODS) {
    expect(() => odeint(growing, Float32Array.of(3e38), [0, 1], { method, maxSteps: 1000 })).toThrow();
  }
  const hole = scalar((t) => (Math.abs(t - 0.5) < 0.01 ? Number.NaN : 1));
  const { y } = odeint(hole, one, [0, 0.45], { method: "fehlberg2", firstStep: 1 });
  expect(y[1]).toBeCloseTo(1.45, 12);
  // Shorter steps go past it.
  expect(odeint(hole, one, [0, 1], { method: "fehlberg2", firstStep: 1, maxStep: 1 }).y[1]).toBeCloseTo(2, 12);
});

test("a slope that only the extension uses is checked as well", () => {
  const field = scalar((t) => (t >= 1 ? Number.NaN : 1));
  for (const method of ["euler", "midpoint", "bosh3"] as const) {
    const options = { method, stepSize: 0.5, output: "interpolate" } as const;
    thrown("NON_FINITE", () => odeint(field, Float64Array.of(0), [0, 0.75, 1], options));
  }
});

test("components that are zero, with no absolute tolerance", () => {
  const field = custom({
    stateSize: 2,
    dtype: "float64",
    evaluate: (_, [a = 0]) => Float64Array.of(0, -a),
    vjp: (_, y) => ({ y }),
  });
  expect([...odeint(field, Float64Array.of(0, 1), [0, 1], { atol: 0 }).y.slice(2)]).toEqual([0, 1]);
});

test("very short times", () => {
  const options = { method: "rk4", stepSize: 1.3e-170, output: "interpolate" } as const;
  const { y } = odeint(
    scalar((_, y) => y * 1e170),
    one,
    [0, 1e-170, 2e-170, 3e-170],
    options,
  );
  for (const i of [1, 2, 3]) expect(Math.abs((y[i] ?? 0) / Math.exp(i) - 1)).toBeLessThan(0.02);
});

test("a step cut to land does not cut the next one", () => {
  const field = scalar((_, y) => -y);
  const times = [0, 1e-6, 1];
  const at = (controller: "standard" | "torchdiffeq") =>
    odeint(field, one, times, { controller, firstStep: 0.1, output: "land" }).stats.accepted;
  expect(at("standard")).toBeLessThan(at("torchdiffeq"));
  const rejected = { firstStep: 1, minStep: 0.5, rtol: 1e-12, atol: 1e-12 };
  thrown("STEP_UNDERFLOW", () => odeint(field, one, [0, 1], rejected));
});

test("blow-up ends with the last good time", () => {
  const error = thrown("STEP_UNDERFLOW", () =>
    odeint(
      scalar((_, y) => y * y),
      one,
      [0, 2],
    ),
  );
  expect(error.t).toBeCloseTo(1, 3);
  expect(error.h).toBeGreaterThan(0);
  expect(error.message).toMatch(/stiff|blow/);
});

test("too many steps, with the solution so far on request", () => {
  const field = scalar((t) => Math.cos(40 * t));
  const options = { maxSteps: 30, rtol: 1e-9, atol: 1e-9 };
  const error = thrown("MAX_STEPS", () => odeint(field, one, [0, 0.5, 1, 50], { ...options, partial: true }));
  const partial = error.partial as Solution<"float64">;
  expect(partial.shape[0]).toBeGreaterThan(0);
  expect(partial.shape[0]).toBeLessThan(4);
  expect(partial.y).toHaveLength(partial.shape[0]);
  expect(partial.y[0]).toBe(1);
  expect(thrown("MAX_STEPS", () => odeint(field, one, [0, 50], options)).partial).toBeUndefined();
  expect(thrown("MAX_STEPS", () => vjp(field, one, [0, 50], options)).steps).toBeGreaterThan(0);
});

test("stiff van der Pol by an explicit method ends, with a hint", () => {
  const mu = 1e4;
  const field = custom({
    stateSize: 2,
    dtype: "float64",
    evaluate: (_, [x = 0, v = 0]) => Float64Array.of(v, mu * (1 - x * x) * v - x),
    vjp: (_, y) => ({ y }),
  });
  const error = thrown("MAX_STEPS", () => odeint(field, Float64Array.of(2, 0), [0, 1e5], { maxSteps: 2000 }));
  expect(error.message).toMatch(/stiff/);
});

test("a field is never evaluated outside the interval", () => {
  for (const [from, to] of [
    [0, 1e-9],
    [1, 1 - 1e-9],
    [5, 6],
  ] as const) {
    for (const method of ["dopri5", "tsit5", "bosh3", "dopri8", "adaptive_heun", "rk4"] as const) {
      const seen: number[] = [];
      const field = scalar((t, y) => {
        seen.push(t);
        return -y;
      });
      odeint(field, one, [from, (from + to) / 2, to], { method });
      expect(Math.min(...seen)).toBeGreaterThanOrEqual(Math.min(from, to));
      expect(Math.max(...seen)).toBeLessThanOrEqual(Math.max(from, to));
    }
  }
});

test("a solution that stands still, and one that a polynomial describes", () => {
  expect(
    odeint(
      scalar(() => 0),
      one,
      [0, 1e6],
    ).y[1],
  ).toBe(1);
  expect(
    odeint(
      scalar(() => 2),
      one,
      [0, 3],
    ).y[1],
  ).toBeCloseTo(7, 12);
});

test("time stays float64 beside a float32 state", () => {
  const seen = new Set<number>();
  const field = custom({
    stateSize: 1,
    evaluate: (t, y) => {
      seen.add(t);
      return y.map((v) => -v);
    },
    vjp: (_, y) => ({ y }),
  });
  const { y } = odeint(field, Float32Array.of(1), [1e9, 1e9 + 1], { method: "rk4", steps: 64 });
  expect(seen.size).toBe(129);
  expect(y[1]).toBeCloseTo(Math.exp(-1), 6);
});

test("a float32 tolerance that float32 cannot hold is raised, and reported", () => {
  const field = mlp({ widths: [2, 4, 2] });
  const { stats } = odeint(field, Float32Array.of(1, 0), [0, 1], { rtol: 1e-12 });
  expect(stats).toMatchObject({ rtolClamped: true });
  expect(stats.rtol).toBe(2 * 2 ** -23);
  expect(odeint(field, Float32Array.of(1, 0), [0, 1], { rtol: 1e-3 }).stats.rtolClamped).toBe(false);
});

test("reversed time retraces", () => {
  const field = mlp({ widths: [2, 8, 2], dtype: "float64", time: "concat" });
  const there = odeint(field, Float64Array.of(1, 0), [0, 0.3, 2], { rtol: 1e-10, atol: 1e-10 });
  const back = odeint(field, there.y.slice(4), [2, 0.3, 0], { rtol: 1e-10, atol: 1e-10 });
  expect(back.y[4]).toBeCloseTo(1, 8);
  expect(back.y[5]).toBeCloseTo(0, 8);
});

testWasm("memory that cannot be had", async () => {
  await collectGarbage();
  const field = mlp({ widths: [2, 512, 2] });
  const { liveBytes } = memoryUsage();
  const y0 = new Float32Array(2 * 16_384).fill(0.1);
  // Some 13 GB of tapes.
  const options = { method: "rk4", steps: 100, gradient: "backprop" } as const;
  const error = thrown("OUT_OF_MEMORY", () => vjp(field, y0, [0, 1], options));
  expect(error.bytes).toBeGreaterThan(0);
  expect(memoryUsage().liveBytes).toBe(liveBytes);
  expect(odeint(field, y0.subarray(0, 2), [0, 1]).y).toHaveLength(4);
});

test("two interleaved solves and repeated pullbacks", () => {
  const field = mlp({ widths: [2, 6, 2], dtype: "float64" });
  for (const gradient of EXACT) {
    const alone = (y0: Float64Array, w: Float64Array) => vjp(field, y0, [0, 1], { gradient }).pullback(w).parameters;
    const [a, b] = [Float64Array.of(1, 0), Float64Array.of(0, 2, 3, 1)];
    const [wa, wb] = [Float64Array.of(1, 2, 3, 4), Float64Array.of(1, 0, 2, 0, 3, 0, 4, 0)];
    const [first, second] = [vjp(field, a, [0, 1], { gradient }), vjp(field, b, [0, 1], { gradient })];
    const again = [first.pullback(wa), second.pullback(wb), first.pullback(wa)].map((g) => g.parameters);
    expect(again).toEqual([alone(a, wa), alone(b, wb), alone(a, wa)]);
    first.dispose();
    expect(second.pullback(wb).parameters).toEqual(alone(b, wb));
    second.dispose();
  }
});

test("tensor files round-trip, and damaged ones are refused", () => {
  const tensors = {
    "0.weight": { shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
    __proto__x: { shape: [1], data: Float64Array.of(0.1) },
  };
  const bytes = saveTensors(tensors, { seed: "7" });
  const { tensors: read, metadata } = loadTensors(bytes);
  expect(read.get("0.weight")).toEqual(tensors["0.weight"]);
  expect(read.get("__proto__x")?.data).toEqual(Float64Array.of(0.1));
  expect(metadata.get("seed")).toBe("7");
  for (let end = 0; end < bytes.length; end += 7) thrown("FILE", () => loadTensors(bytes.subarray(0, end)));
  thrown("SHAPE", () => saveTensors({ a: { shape: [3], data: new Float32Array(2) } }));
});

testWasm("a fault inside gives a fresh instance to the next call", async () => {
  // A trap as a panic gives it, by way of an allocation that Rust does not expect to fail.
  const lost = mlp({ widths: [2, 4, 2] });
  const solve = vjp(lost, Float32Array.of(1, 0), [0, 1]);
  const original = Float32Array.prototype.subarray;
  Float32Array.prototype.subarray = () => {
    throw new WebAssembly.RuntimeError("unreachable");
  };
  try {
    thrown("INTERNAL", () => odeint(lost, Float32Array.of(1, 0), [0, 1]));
  } finally {
    Float32Array.prototype.subarray = original;
  }
  thrown("DISPOSED", () => lost.parameters);
  thrown("DISPOSED", () => solve.pullback(new Float32Array(4)));
  lost.dispose();
  solve.dispose();
  expect(odeint(mlp({ widths: [2, 4, 2] }), Float32Array.of(1, 0), [0, 1]).y).toHaveLength(4);
});

test.each([
  ["y", { y: Float64Array.of(Number.NaN), parameters: Float64Array.of(0), t: 0 }, "gradient.y0"],
  ["parameters", { y: one, parameters: Float64Array.of(Number.POSITIVE_INFINITY), t: 0 }, "gradient.parameters"],
  ["t", { y: one, parameters: Float64Array.of(0), t: Number.NaN }, "gradient.times"],
])("a custom vjp whose %s is not finite gives no gradient", (_, pulled, argument) => {
  const field = custom({
    stateSize: 1,
    dtype: "float64",
    parameters: Float64Array.of(1),
    evaluate: (_, y) => y,
    vjp: () => pulled,
  });
  for (const gradient of EXACT) {
    const { pullback, dispose } = vjp(field, one, [0, 1], { gradient, method: "rk4" });
    expect(thrown("NON_FINITE", () => pullback(Float64Array.of(0, 1))).argument).toBe(argument);
    dispose();
  }
  thrown("NON_FINITE", () => field.vjp(0, one, one));
  // The continuous adjoint's gradient of the times takes f alone.
  const { pullback } = vjp(field, one, [0, 1], { gradient: "adjoint" });
  if (argument !== "gradient.times") thrown("NON_FINITE", () => pullback(Float64Array.of(0, 1)));
});

test("a gradient that overflows float32 is an error, of a solve and of a field", () => {
  const field = mlp({ widths: [1, 1], activation: "identity", bias: false });
  field.parameters = Float32Array.of(60);
  const y0 = Float32Array.of(1e-30);
  for (const gradient of EXACT) {
    const solve = vjp(field, y0, [0, 1], { gradient, atol: 0 });
    expect(thrown("NON_FINITE", () => solve.pullback(Float32Array.of(0, 1e20))).argument).toBe("gradient.y0");
    // And nothing is wrong with the solve.
    expect(solve.pullback(Float32Array.of(0, 1)).y0[0]).toBeGreaterThan(1e25);
    solve.dispose();
  }
  expect(thrown("NON_FINITE", () => field.vjp(0, y0, Float32Array.of(1e38))).argument).toBe("y");
  expect(field.vjp(0, y0, Float32Array.of(1)).y[0]).toBe(60);
});
