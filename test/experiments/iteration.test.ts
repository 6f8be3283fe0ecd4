// In a file, and so a process, of its own: memory that other tests have freed would be used again.
import * as api from "symplectic-adjoint";
import { expect, test } from "vitest";
import { fitGaussian, negativeLogs, whiten } from "../../bench/experiments/cnf/gaussian.mjs";
import { iteration } from "../../bench/experiments/cnf/tabular.mjs";
import { identityFlow } from "../../bench/experiments/cnf/training.mjs";
import { table } from "../../bench/experiments/data/table.mjs";
import { numbers } from "../unit/helpers.js";

const { cnf, flow, memoryUsage, vjp } = api;
const widths = [6, 48, 48, 6];
const blockOf = () => cnf({ network: { widths, activation: "softplus", time: "concatsquash" }, trace: "hutchinson" });

test("the memory of an iteration over alike blocks follows from one block", () => {
  const [batch, count] = [256, 3];
  const options = { method: "dopri5", steps: 8, gradient: "backprop" } as const;
  const x = numbers("float32", batch * 6);
  const blocks = Array.from({ length: count }, blockOf);
  const before = memoryUsage();
  flow({ blocks }).valueAndGrad(x, options);
  const growth = memoryUsage().wasmBytes - before.wasmBytes;

  const y0 = numbers("float32", batch * 7);
  const live = memoryUsage().liveBytes;
  const { solution, pullback, dispose } = vjp(blocks[0] as (typeof blocks)[0], y0, [0, 1], options);
  const held = memoryUsage().liveBytes - live;
  const { peakBytes } = pullback(solution.y).stats;
  dispose();
  const measured = { accepted: 8, ms: 1, uses: 1, field: 0, growth: 0, held, peakBytes };
  const { bytes, fits, ms } = iteration(measured, count, { widths, batch }, "backprop", {}) as {
    bytes: number;
    fits: boolean;
    ms: number;
  };
  expect([fits, ms]).toEqual([true, count]);
  // As the ledger and WebAssembly memory agree: pages, and a twentieth.
  expect(growth).toBeLessThan(bytes * 1.05 + count * 65_536);
  expect(growth).toBeGreaterThan(bytes * 0.9);
});

test("the Gaussian's density and white samples", () => {
  const x = numbers("float64", 3 * 400).map((value, i, all) =>
    i % 3 === 2 ? value + 2 * (all[i - 1] as number) : value,
  );
  const gaussian = fitGaussian(table(x, 3), 0);
  const z = whiten(gaussian, x);
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 3; j++) {
      let sum = 0;
      for (let row = 0; row < 400; row++) sum += ((z[3 * row + i] as number) * (z[3 * row + j] as number)) / 400;
      expect(sum).toBeCloseTo(i === j ? 1 : 0, 10);
    }
  }
  // The mean of −log p of a Gaussian fitted to the same samples is its entropy.
  const entropy = 1.5 * (1 + Math.log(2 * Math.PI)) + gaussian.logDeterminant;
  const logs = negativeLogs(gaussian, x);
  expect(logs.reduce((sum, log) => sum + log / 400, 0)).toBeCloseTo(entropy, 10);
});

test("a flow begins as the identity", () => {
  const density = identityFlow(api, { widths: [2, 8, 2], activation: "tanh", blocks: 2, trace: "exact" });
  const x = numbers("float32", 2 * 20);
  const logs = density.logDensity(x);
  for (let i = 0; i < 20; i++) {
    const squares = (x[2 * i] as number) ** 2 + (x[2 * i + 1] as number) ** 2;
    expect(logs[i]).toBeCloseTo(-0.5 * squares - Math.log(2 * Math.PI), 5);
  }
});
