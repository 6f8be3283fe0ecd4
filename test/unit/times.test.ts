// Times: repeated, alone, far from zero; their gradients, and doing without them.
import { custom, equations, type GradientOptions, mlp, odeint, vjp } from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { GRADIENTS, METHODS } from "../../wasm/constants.js";
import { EXACT, numbers, relative, thrown } from "./helpers.js";

const field = mlp({ widths: [2, 8, 2], dtype: "float64", time: "concat", seed: 3 });
const y0 = numbers("float64", 2 * 3, 5);
const SOLVES: GradientOptions[] = [
  ...METHODS.map((method) => ({ method, steps: 2 })),
  ...(["bosh3", "dopri5", "tsit5", "dopri8"] as const).flatMap((method) =>
    (["land", "interpolate"] as const).map((output) => ({ method, output, rtol: 1e-6 })),
  ),
];

describe.each(SOLVES)("%j", (options) => {
  const once = [0, 0.5, 1];
  const repeated = [0, 0, 0.5, 0.5, 0.5, 1, 1];
  const places = [0, 0, 1, 1, 1, 2, 2];

  test("a repeated time has the same state again", () => {
    const expected = odeint(field, y0, once, options).y;
    const { y, shape, stats } = odeint(field, y0, repeated, options);
    expect(shape).toEqual([7, 3, 2]);
    expect(stats.accepted).toBe(odeint(field, y0, once, options).stats.accepted);
    for (const [output, place] of places.entries()) {
      const [ours, theirs] = [y.slice(output * 6, output * 6 + 6), expected.slice(place * 6, place * 6 + 6)];
      // Between steps the extension is evaluated anew.
      expect(relative(ours, theirs)).toBeLessThan(1e-15);
    }
    expect(y.slice(0, 6)).toEqual(y0);
    expect(y.slice(6, 12)).toEqual(y0);
    expect(y.slice(30, 36)).toEqual(y.slice(36));
  });

  test.each(EXACT)(
    "its gradient is exact by %s: cotangents add up, times follow the limit of a short interval",
    (gradient) => {
      const w = numbers("float64", 6 * repeated.length, 7);
      const summed = new Float64Array(6 * 3);
      for (const [output, place] of places.entries()) {
        for (let i = 0; i < 6; i++) (summed[6 * place + i] as number) += w[6 * output + i] as number;
      }
      const all = { ...options, gradient };
      const ours = vjp(field, y0, repeated, all).pullback(w);
      const theirs = vjp(field, y0, once, all).pullback(summed);
      expect(relative(ours.y0, theirs.y0)).toBeLessThan(1e-13);
      expect(relative(ours.parameters, theirs.parameters)).toBeLessThan(1e-13);
      const times = ours.times as Float64Array;
      const product = (output: number) => {
        const y = odeint(field, y0, repeated, options).y.slice(output * 6, output * 6 + 6);
        const slope = field.evaluate(repeated[output] as number, y);
        return slope.reduce((sum, f, i) => sum + f * (w[6 * output + i] as number), 0);
      };
      // Within a group of three, the one in the middle moves nothing but its own state.
      expect(times[3]).toBeCloseTo(product(3), options.output === "interpolate" ? 4 : 12);
      const moved = [...places.keys()].reduce((sums, output) => {
        (sums[places[output] as number] as number) += times[output] as number;
        return sums;
      }, new Float64Array(3));
      expect(relative(moved, theirs.times as Float64Array)).toBeLessThan(1e-12);
    },
  );
});

test("one time alone, and times that are all the same, take no step", () => {
  for (const times of [[2], [2, 2, 2]]) {
    for (const gradient of GRADIENTS) {
      const { solution, pullback } = vjp(field, y0, times, { gradient });
      expect(solution.y).toEqual(Float64Array.from(times.flatMap(() => [...y0])));
      expect(solution.stats.accepted).toBe(0);
      const w = numbers("float64", 6 * times.length, 2);
      const pulled = pullback(w);
      const sums = y0.map((_, i) => times.reduce((sum, _, output) => sum + (w[6 * output + i] as number), 0));
      expect(relative(pulled.y0, sums)).toBeLessThan(1e-15);
      expect(pulled.parameters.every((value) => value === 0)).toBe(true);
      const slope = field.evaluate(2, y0);
      const rate = (output: number) => slope.reduce((sum, f, i) => sum + f * (w[6 * output + i] as number), 0);
      const expected = times.map((_, output) => rate(output));
      expected[0] = -expected.slice(1).reduce((sum, value) => sum + value, 0);
      for (const [output, value] of expected.entries()) expect(pulled.times?.[output]).toBeCloseTo(value, 12);
    }
  }
  thrown("SHAPE", () => odeint(field, y0, []));
});

/** y′ = rate (1 − y), with the number of its evaluations. */
function relaxation(rate: number, knowsTime = true) {
  const count = { evaluations: 0 };
  const made = custom({
    stateSize: 1,
    dtype: "float64",
    evaluate(_, y) {
      count.evaluations++;
      return y.map((value) => rate * (1 - value));
    },
    vjp: (_, _y, w) => ({ y: w.map((value) => -rate * value), ...(knowsTime && { t: 0 }) }),
  });
  return { field: made, count };
}

test.each([
  [1.7e12, 0],
  [-1.7e12, 0],
  [1.7e15, 0],
  [1.7e15, 0.5],
])("a first step below the resolution of t = %d, from %d", (start, from) => {
  const exact = 1 - (1 - from) * Math.exp(-1);
  for (const method of ["dopri5", "bosh3", "dopri8"] as const) {
    for (const controller of ["standard", "torchdiffeq"] as const) {
      for (const gradient of ["auto", "symplectic", "adjoint"] as const) {
        const options = { method, controller, gradient, rtol: 1e-8, atol: 1e-8 };
        const { solution, pullback } = vjp(
          relaxation(1e-3).field,
          Float64Array.of(from),
          [start, start + 1000],
          options,
        );
        expect(solution.y[1]).toBeCloseTo(exact, 7);
        expect(pullback(Float64Array.of(0, 1)).y0[0]).toBeCloseTo(Math.exp(-1), 6);
      }
    }
  }
});

test("a step that time can just resolve and that is too inexact still ends the solve", () => {
  const noise = custom({
    stateSize: 1,
    dtype: "float64",
    evaluate: (t, y) => y.map(() => 1e6 * Math.sin(1e9 * (t % 7))),
    vjp: (_, y) => ({ y: new Float64Array(y.length) }),
  });
  thrown("STEP_UNDERFLOW", () => odeint(noise, Float64Array.of(0), [1e12, 1e12 + 1], { rtol: 1e-12, atol: 1e-12 }));
});

test("torchdiffeq's controller takes a step of minStep whatever its error", () => {
  const { field } = relaxation(1);
  const options = { minStep: 0.25, rtol: 1e-12, atol: 1e-12, firstStep: 1e-3 };
  thrown("STEP_UNDERFLOW", () => odeint(field, Float64Array.of(0), [0, 1], { ...options, firstStep: 1 }));
  const { y, stats } = odeint(field, Float64Array.of(0), [0, 1], { ...options, controller: "torchdiffeq" });
  expect(stats).toMatchObject({ accepted: 4, rejected: 0, firstStep: 0.25, lastStep: 0.25 });
  expect(y[1]).toBeCloseTo(1 - Math.exp(-1), 6);
});

test("a tolerance out of reach is not the fault of the field", () => {
  const growth = custom({ stateSize: 1, dtype: "float64", evaluate: (_, y) => y, vjp: (_, _y, w) => ({ y: w }) });
  const error = thrown("STEP_UNDERFLOW", () => odeint(growth, Float64Array.of(1), [0, 1], { rtol: 1e-300, atol: 0 }));
  expect(error.message).toContain("loosen rtol and atol");
});

test("float32 is held to tolerances that it can meet", () => {
  const f = custom({
    stateSize: 1,
    evaluate: (t, y) => y.map((v) => (2 * v) / t + t ** 4 * Math.sin(2 * t) - t ** 2 + 4 * t ** 3),
    vjp: (t, _, w) => ({ y: w.map((v) => (2 * v) / t) }),
  });
  const solution = (t: number) =>
    -0.5 * t ** 4 * Math.cos(2 * t) +
    0.5 * t ** 3 * Math.sin(2 * t) +
    0.25 * t ** 2 * Math.cos(2 * t) -
    t ** 3 +
    2 * t ** 4 +
    (Math.PI - 0.25) * t ** 2;
  const times = Array.from({ length: 11 }, (_, i) => 1 + 0.7 * i);
  const { y, stats } = odeint(f, Float32Array.of(solution(1)), times, { method: "dopri5", rtol: 1e-7, atol: 1e-9 });
  expect(stats).toMatchObject({ rtolClamped: true, rtol: 2 * 2 ** -23 });
  const errors = times.map((t, i) => Math.abs((y[i] as number) / solution(t) - 1));
  expect(Math.max(...errors)).toBeLessThan(3e-6);
  // Without a tolerance of yours it is 100 ε.
  expect(odeint(f, Float32Array.of(solution(1)), times).stats.rtol).toBeCloseTo(100 * 2 ** -23, 12);
});

test("gradients of times can be declined, and then cost nothing", () => {
  const times = [0, 0.5, 1];
  const w = Float64Array.of(0.1, 1, 1);
  for (const gradient of GRADIENTS) {
    const run = (knowsTime: boolean, timeGradients?: boolean) => {
      const { field, count } = relaxation(1, knowsTime);
      const options = {
        method: "rk4",
        steps: 3,
        gradient,
        ...(timeGradients !== undefined && { timeGradients }),
      } as const;
      const { pullback } = vjp(field, Float64Array.of(0.3), times, options);
      const before = count.evaluations;
      return { pulled: pullback(w), evaluations: count.evaluations - before };
    };
    const [wanted, declined, unknown] = [run(true), run(true, false), run(false)];
    expect(wanted.pulled.times).toHaveLength(3);
    expect(declined.pulled.times).toBeUndefined();
    expect(declined.pulled.y0).toEqual(wanted.pulled.y0);
    expect(declined.evaluations).toBeLessThan(wanted.evaluations);
    if (gradient !== "adjoint") expect(declined.evaluations).toBe(unknown.evaluations);
  }
  // On a network it changes no bit of the rest.
  const v = numbers("float64", 6 * 3, 9);
  const run = (timeGradients: boolean) => vjp(field, y0, times, { timeGradients }).pullback(v);
  expect(run(false)).toMatchObject({ y0: run(true).y0, parameters: run(true).parameters, times: undefined });
});

test("the seminorm does not follow the error of the parameters' gradient", () => {
  // x and λ are smooth, while ∂L/∂θ is the integral of λ cos 40t.
  const forced = custom({
    stateSize: 1,
    dtype: "float64",
    parameters: Float64Array.of(0),
    evaluate: (t, y, [force]) => y.map((v) => -v + (force as number) * Math.cos(40 * t)),
    vjp: (t, _, w) => ({ y: w.map((v) => -v), parameters: Float64Array.of(Math.cos(40 * t) * (w[0] as number)) }),
  });
  const run = (norm?: "full" | "seminorm") => {
    const adjoint = { rtol: 1e-7, atol: 1e-9, ...(norm && { norm }) };
    const { pullback } = vjp(forced, Float64Array.of(1), [0, 2], { gradient: "adjoint", adjoint });
    return pullback(Float64Array.of(0, 1));
  };
  const [usual, full, seminorm] = [run(), run("full"), run("seminorm")];
  expect(usual.stats.backwardSteps).toBe(full.stats.backwardSteps);
  expect(seminorm.stats.backwardSteps).toBeLessThan(full.stats.backwardSteps / 3);
  for (const { y0 } of [full, seminorm]) expect(y0[0]).toBeCloseTo(Math.exp(-2), 7);
  // ∫ e^(t − 2) cos 40t dt from 0 to 2
  const exact = (Math.cos(80) + 40 * Math.sin(80) - Math.exp(-2)) / 1601;
  expect(full.parameters[0]).toBeCloseTo(exact, 7);
});

test("a solve that fails has its last good state", () => {
  const blowUp = custom({
    stateSize: 1,
    dtype: "float64",
    evaluate: (_, y) => y.map((v) => v * v),
    vjp: (_, y, w) => ({ y: y.map((v, i) => 2 * v * (w[i] as number)) }),
  });
  const start = Float64Array.of(1);
  for (const output of ["land", "interpolate"] as const) {
    const error = thrown("MAX_STEPS", () =>
      odeint(blowUp, start, [0, 0.5, 2], { output, maxSteps: 40, partial: true }),
    );
    const { lastState, y, shape } = error.partial as NonNullable<typeof error.partial>;
    const t = error.t as number;
    expect(t).toBeGreaterThan(0.5);
    expect(shape).toEqual([2, 1, 1]);
    expect(y[1]).toBeCloseTo(2, 4);
    expect((lastState[0] as number) * (1 - t)).toBeCloseTo(1, 2);
    // The solve goes on from there.
    expect(odeint(blowUp, lastState as Float64Array, [t, t + (1 - t) / 2]).y[1]).toBeCloseTo(2 / (1 - t), -3);
  }
  const { partial } = thrown("NON_FINITE", () =>
    odeint(relaxation(Number.NaN).field, start, [0, 1], { partial: true }),
  );
  expect(partial).toMatchObject({ lastState: start, shape: [1, 1, 1] });
});

test("fixed steps are no longer than maxStep, unless they are counted", () => {
  const decay = equations("x' = -x", { dtype: "float64" });
  const y0 = Float64Array.of(1);
  const at = (options: object) => odeint(decay, y0, [0, 1, 10], { method: "rk4", ...options });
  expect(at({ maxStep: 0.1 })).toEqual(at({ stepSize: 0.1 }));
  expect(at({ maxStep: 0.1 }).stats.accepted).toBe(100);
  expect(at({ maxStep: 100 })).toEqual(at({ steps: 1 }));
  expect(at({ maxStep: 0.1, steps: 2 })).toEqual(at({ steps: 2 }));
  expect(at({ maxStep: 0.1, batching: "independent" }).y).toEqual(at({ maxStep: 0.1 }).y);
  expect(thrown("OPTION", () => at({ maxStep: 1e-17 })).message).toMatch(/^maxStep: expected steps that the times can/);
});
