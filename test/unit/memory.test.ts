import {
  adam,
  type GradientOptions,
  meanSquaredError,
  memoryUsage,
  mlp,
  odeint,
  valueAndGrad,
  vjp,
} from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { symplecticPeak } from "../memory-formula.mjs";
import { type EXACT, thrown } from "./helpers.js";

test.each(["float32", "float64"] as const)(
  "the peak of the symplectic adjoint is the documented formula, %s",
  (dtype) => {
    const array = dtype === "float32" ? Float32Array : Float64Array;
    const check = (
      width: number,
      steps: number,
      batch: number,
      activation: "tanh" | "silu",
      method: "rk4" | "dopri5",
    ) => {
      const widths = [3, width, width, 3];
      const field = mlp({ widths, activation, dtype });
      const y0 = new array(3 * batch).fill(0.1);
      const solve = vjp(field, y0 as never, [0, 0.5, 1], { method, steps: steps / 2, gradient: "symplectic" });
      const { stats } = solve.pullback(new array(9 * batch).fill(1) as never);
      const network = { widths, batch, dtype, keepsDerivative: activation === "silu" };
      const stages = method === "rk4" ? 4 : 6;
      expect(stats.peakBytes.total).toBe(symplecticPeak(network, { steps, outputs: 3, stages }));
      solve.dispose();
      field.dispose();
    };
    for (const width of [16, 64, 256]) {
      for (const steps of [10, 100, 1000]) check(width, steps, 1, "tanh", "rk4");
      for (const batch of [17, 100]) check(width, 10, batch, "silu", "dopri5");
    }
  },
);

test("what each method retains: uses plus network, not times", () => {
  const field = mlp({ widths: [4, 64, 64, 4] });
  const y0 = new Float32Array(4 * 256).fill(0.1);
  const peak = (gradient: (typeof EXACT)[number], steps: number) => {
    const solve = vjp(field, y0, [0, 1], { method: "rk4", steps, gradient });
    const { stats } = solve.pullback(new Float32Array(8 * 256).fill(1));
    solve.dispose();
    return stats.peakBytes;
  };
  const [state, tape] = [4 * 4 * 256, 4 * 128 * 256];
  for (const [gradient, perStep] of [
    ["symplectic", state + 16],
    ["aca", state + 16],
    ["baseline", 16 + 4 * (state + tape)],
    ["backprop", 16 + 4 * (state + tape)],
  ] as const) {
    // Per step, up to what backprop need not allocate to recompute.
    const slope = (peak(gradient, 232).total - peak(gradient, 32).total) / 200;
    expect(Math.abs(slope - perStep) / perStep, gradient).toBeLessThan(0.02);
  }
  expect(peak("aca", 32).tape).toBe(4 * tape + tape / 4);
  expect(peak("symplectic", 32).tape).toBe(tape / 4);
});

test("1e5 steps in one solve", () => {
  const field = mlp({ widths: [2, 8, 2] });
  const solve = vjp(field, Float32Array.of(1, 0), [0, 10], { method: "rk4", steps: 100_000, gradient: "symplectic" });
  const { stats } = solve.pullback(Float32Array.of(0, 0, 1, 1));
  const network = { widths: [2, 8, 2], batch: 1, dtype: "float32" as const };
  expect(stats.peakBytes.total).toBe(symplecticPeak(network, { steps: 100_000, outputs: 2, stages: 4 }));
  solve.dispose();
});

describe("a memory budget", () => {
  const field = mlp({ widths: [4, 32, 4], seed: 2 });
  const y0 = new Float32Array(4 * 64).map((_, i) => Math.sin(i));
  const w = new Float32Array(8 * 64).fill(1);
  const run = (options: GradientOptions) => {
    const solve = vjp(field, y0, [0, 1], options);
    const { stats, parameters } = solve.pullback(w);
    const again = solve.pullback(w);
    solve.dispose();
    expect(again.parameters).toEqual(parameters);
    return { stats, parameters, steps: solve.solution.stats.accepted };
  };

  test.each([
    ["fixed steps", { method: "rk4", steps: 200 }],
    ["steps by tolerance", { method: "bosh3", rtol: 2e-5, atol: 1e-9 }],
  ] as const)("%s: the same gradient under all budgets, within them", (_, options) => {
    const exact = run({ ...options, gradient: "symplectic" });
    const { bytes: least = 0 } = thrown("OPTION", () => run({ ...options, memoryBudget: 1 }));
    const kinds = new Set<string>();
    for (let budget = least; budget < 40e6; budget *= 1.2) {
      const { stats, parameters, steps } = run({ ...options, memoryBudget: Math.ceil(budget) });
      expect(parameters).toEqual(exact.parameters);
      expect(stats.peakBytes.total).toBeLessThanOrEqual(Math.ceil(budget));
      const { tapes, stages, states, checkpoints } = stats.retention;
      if (checkpoints === 0 && tapes + states > 0) expect(tapes + stages + states).toBe(steps);
      for (const [kind, count] of Object.entries(stats.retention)) if (count) kinds.add(kind);
    }
    expect([...kinds].sort()).toEqual(["checkpoints", "stages", "states", "stepTapes", "tapes"]);
    expect(run(options).stats.retention).toEqual({
      tapes: exact.steps,
      stages: 0,
      states: 0,
      checkpoints: 0,
      stepTapes: false,
    });
  });

  test("is for the gradient that heeds it", () => {
    thrown("OPTION", () => run({ gradient: "symplectic", memoryBudget: 1e9 }));
    for (const bad of [0, -1, Number.NaN, "1 GB"]) thrown("OPTION", () => run({ memoryBudget: bad as number }));
    expect(run({ memoryBudget: Number.POSITIVE_INFINITY }).stats.retention.tapes).toBeGreaterThan(0);
  });
});

test("a training loop of 10,000 gradients does not grow", () => {
  const field = mlp({ widths: [2, 8, 2] });
  const optimizer = adam(field);
  const target = Float32Array.of(1, 0, 0.5, 0.5);
  const loop = (steps: number) => {
    for (let i = 0; i < steps; i++) {
      const loss = (y: Float32Array) => meanSquaredError(y, target);
      optimizer.step(valueAndGrad(field, Float32Array.of(1, 0), [0, 1], loss, { rtol: 1e-3 }).gradient);
      if (i % 10 === 0) odeint(field, Float32Array.of(1, 0), [0, 1]);
    }
  };
  loop(10);
  const before = memoryUsage();
  loop(10_000);
  expect(memoryUsage()).toEqual(before);
  optimizer.dispose();
  field.dispose();
});
