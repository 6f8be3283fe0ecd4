import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { adam, memoryUsage, mlp, parallel, valueAndGrad, vjp } from "symplectic-adjoint";
import { afterEach, beforeEach, expect, type Mock, test, vi } from "vitest";
import { collect, collectGarbage, turn } from "./helpers.js";

let warn: Mock<(text: string) => void>;
beforeEach(() => {
  warn = vi.spyOn(console, "warn").mockImplementation(() => {}) as typeof warn;
});
afterEach(() => warn.mockRestore());

// A solve of so many samples holds some 6 MiB.
const large = new Float32Array(320_000).fill(0.1);
const steps = { method: "euler", steps: 1, gradient: "symplectic" } as const;

test("solves that are not disposed of are told of once; those that are, never", () => {
  const field = mlp({ widths: [2, 2] });
  for (let i = 0; i < 120; i++) vjp(field, large, [0, 1], steps).dispose();
  const loss = (y: Float32Array) => ({ value: 0, cotangent: y });
  for (let i = 0; i < 120; i++) valueAndGrad(field, large, [0, 1], loss, steps);
  // Many small ones, or a hundred large ones, may be meant.
  const small = Array.from({ length: 500 }, () => vjp(field, Float32Array.of(1, 0), [0, 1]));
  for (const solve of small) solve.dispose();
  const kept = Array.from({ length: 100 }, () => vjp(field, large, [0, 1], steps));
  expect(memoryUsage().liveBytes).toBeGreaterThan(2 ** 29);
  expect(warn).not.toHaveBeenCalled();
  for (let i = 0; i < 10; i++) kept.push(vjp(field, large, [0, 1], steps));
  expect(warn).toHaveBeenCalledTimes(1);
  const [text] = warn.mock.calls[0] as [string];
  expect(text).toMatch(/101 recorded solves of vjp are alive and hold 6\d\d MiB/);
  expect(text).toMatch(/dispose\(\).*using.*valueAndGrad/);
  for (const solve of kept) solve.dispose();
});

test("fields and optimizers too", () => {
  const made = Array.from({ length: 110 }, () => mlp({ widths: [1000, 1400, 1], seed: 1 }));
  expect(warn.mock.calls.map(([text]) => text)).toEqual([
    expect.stringContaining("101 fields are alive and hold 535 MiB"),
  ]);
  const [field] = made as [(typeof made)[0]];
  for (const other of made.slice(1)) other.dispose();
  const optimizers = Array.from({ length: 110 }, () => adam(field));
  expect(warn).toHaveBeenCalledTimes(2);
  expect(warn.mock.calls[1]?.[0]).toMatch(/101 optimizers are alive/);
  for (const optimizer of optimizers) optimizer.dispose();
  field.dispose();
});

test("what is garbage is freed where the event loop has its turn", async () => {
  const field = mlp({ widths: [2, 8, 2] });
  await collectGarbage();
  const { liveBytes } = memoryUsage();
  let garbage: object[] | undefined = Array.from({ length: 20 }, () => vjp(field, large, [0, 1], steps));
  garbage.push(adam(mlp({ widths: [2, 100, 2] })));
  expect(memoryUsage().liveBytes).toBeGreaterThan(liveBytes);
  garbage = undefined;
  while (memoryUsage().liveBytes > liveBytes) {
    collect();
    await turn();
  }
  field.dispose();
});

test("a pool forgets solves that nobody can pull back, and tells of those that are kept", async () => {
  // One that keeps nothing, says that each solve takes 6 MiB, and counts what it is to forget.
  const script = `const { parentPort } = require("node:worker_threads");
    let released = 0;
    parentPort.on("message", ({ id, request: { kind, y0, times } }) => {
      if (kind === "release") released++;
      const stats = { peakBytes: { total: 6 * 2 ** 20 }, released };
      parentPort.postMessage({ id, value: { y: new Float32Array(times ? times.length * y0.length : 0), stats } });
    });`;
  const folder = mkdtempSync(join(tmpdir(), "alive-"));
  writeFileSync(join(folder, "worker.cjs"), script);
  const pool = await parallel({ workers: 1, workerUrl: pathToFileURL(join(folder, "worker.cjs")) });
  const field = mlp({ widths: [2, 2] });
  const y0 = Float32Array.of(1, 0);
  const released = async () =>
    ((await pool.odeint(field, y0, [0, 1])).stats as unknown as { released: number }).released;
  const forget = async () => {
    for (let i = 0; i < 20; i++) await pool.vjp(field, y0, [0, 1]);
  };
  await forget();
  while ((await released()) < 20) {
    collect();
    await turn();
  }
  const kept = [];
  for (let i = 0; i < 100; i++) kept.push(await pool.vjp(field, y0, [0, 1]));
  expect(warn).not.toHaveBeenCalled();
  for (let i = 0; i < 3; i++) kept.push(await pool.vjp(field, y0, [0, 1]));
  expect(warn).toHaveBeenCalledTimes(1);
  expect(warn.mock.calls[0]?.[0]).toMatch(/101 recorded solves of a pool's vjp are alive and hold 606 MiB/);
  for (const solve of kept) solve.dispose();
  expect(await released()).toBe(123);
  pool.close();
  rmSync(folder, { recursive: true });
});
