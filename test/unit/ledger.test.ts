// In a file, and so a process, of its own: memory that other tests have freed would be used again.
import { memoryUsage, mlp, vjp } from "symplectic-adjoint";
import { expect } from "vitest";
import { testWasm } from "./helpers.js";

testWasm("the ledger accounts for the growth of WebAssembly memory", () => {
  const field = mlp({ widths: [8, 128, 128, 8] });
  const y0 = new Float32Array(8 * 512).fill(0.1);
  const before = memoryUsage();
  const solve = vjp(field, y0, [0, 1], { method: "rk4", steps: 200, gradient: "backprop" });
  const { total } = solve.solution.stats.peakBytes;
  const growth = memoryUsage().wasmBytes - before.wasmBytes;
  expect(total).toBeGreaterThan(400e6);
  // Pages, a stated twentieth for what the allocator puts between blocks, and the sixteenth by which memory grows ahead.
  expect(growth).toBeLessThan(total * 1.05 * (17 / 16) + 65_536);
  expect(growth).toBeGreaterThan(total * 0.9);
  solve.dispose();
  expect(memoryUsage().liveBytes).toBe(before.liveBytes);
});
