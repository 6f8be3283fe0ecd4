import {
  adam,
  cnf,
  engine,
  type GradientOptions,
  meanSquaredError,
  memoryUsage,
  mlp,
  odeint,
  valueAndGrad,
  vjp,
} from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { networkBytes, registerRows, symplecticPeak } from "../memory-formula.mjs";
import { collectGarbage, type EXACT, isNative, thrown } from "./helpers.js";

/** What the formula takes of the engine. */
const machine = { registerBits: engine().registerBits, pointer: isNative ? 8 : 4 };

/** Bytes of a gradient by the symplectic adjoint method, with two steps or more between three times. */
function peakOf(
  widths: number[],
  batch: number,
  dtype: "float32" | "float64",
  options: { activation: "tanh" | "silu"; method: "rk4" | "dopri5"; steps: number },
) {
  const { activation, method, steps } = options;
  const array = dtype === "float32" ? Float32Array : Float64Array;
  const field = mlp({ widths, activation, dtype });
  const features = widths[0] as number;
  const y0 = new array(features * batch).fill(0.1);
  const solve = vjp(field, y0 as never, [0, 0.5, 1], { method, steps: steps / 2, gradient: "symplectic" });
  const { stats } = solve.pullback(new array(3 * features * batch).fill(1) as never);
  solve.dispose();
  field.dispose();
  return stats.peakBytes;
}

test.each(["float32", "float64"] as const)(
  "the peak of the symplectic adjoint is the documented formula, %s",
  (dtype) => {
    for (const [width, activation] of [16, 64, 256].flatMap((width) => [
      [width, "tanh"] as const,
      [width, "silu"] as const,
    ])) {
      const widths = [3, width, width, 3];
      // What only the plan knows, from the shortest solve of one trajectory.
      const short = peakOf(widths, 1, dtype, { activation, method: "rk4", steps: 2 });
      const rows = registerRows({ widths, batch: 1, dtype, ...machine }, short.workspace);
      expect(Number.isInteger(rows), `${rows} rows`).toBe(true);
      const check = (steps: number, batch: number, method: "rk4" | "dopri5") => {
        const network = { widths, batch, dtype, rows, constants: 1, ...machine };
        const peak = peakOf(widths, batch, dtype, { activation, method, steps });
        expect(peak.tape).toBe(0);
        expect(peak.network).toBe(networkBytes(network, 1));
        expect(registerRows(network, peak.workspace)).toBe(rows);
        expect(peak.total).toBe(symplecticPeak(network, { steps, outputs: 3, stages: method === "rk4" ? 4 : 6 }));
      };
      for (const steps of [10, 100, 1000]) check(steps, 1, "rk4");
      for (const batch of [17, 64, 300]) check(10, batch, "dopri5");
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
  expect(peak("aca", 32).tape).toBe(4 * tape);
  expect(peak("symplectic", 32).tape).toBe(0);
});

test("a flow tapes two numbers for each hidden unit, and two for each feature", () => {
  for (const widths of [
    [2, 16, 2],
    [3, 16, 32, 3],
  ]) {
    const field = cnf({ network: { widths, time: "concatsquash" }, trace: "hutchinson" });
    const y0 = new Float32Array(field.stateSize * 64).fill(0.1);
    const solve = vjp(field, y0, [0, 1], { method: "rk4", steps: 4, gradient: "aca" });
    const { tape } = solve.pullback(new Float32Array(2 * y0.length).fill(1)).stats.peakBytes;
    const hidden = widths.slice(1, -1).reduce((sum, width) => sum + width, 0);
    expect(tape).toBe(4 * 64 * 4 * (2 * hidden + 2 * (widths[0] as number)));
    solve.dispose();
    field.dispose();
  }
});

test("1e5 steps in one solve", () => {
  const [widths, dtype] = [[2, 8, 2], "float32"] as const;
  const of = (steps: number) => peakOf([...widths], 1, dtype, { activation: "tanh", method: "rk4", steps });
  const network = { widths: [...widths], batch: 1, dtype, constants: 1, ...machine };
  const rows = registerRows(network, of(2).workspace);
  const solve = { steps: 100_000, outputs: 3, stages: 4 };
  expect(of(100_000).total).toBe(symplecticPeak({ ...network, rows }, solve));
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
    ["steps by tolerance", { method: "bosh3", rtol: 1e-6, atol: 1e-9 }],
  ] as const)("%s: the same gradient under all budgets, within them", (_, options) => {
    const exact = run({ ...options, gradient: "symplectic" });
    const { bytes: least = 0 } = thrown("OPTION", () => run({ ...options, memoryBudget: 1 }));
    const kinds = new Set<string>();
    for (let budget = least; budget < 40e6; budget *= 1.1) {
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

test("a training loop of 10,000 gradients does not grow", async () => {
  await collectGarbage();
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
