import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { BroadcastChannel, Worker } from "node:worker_threads";
import {
  adam,
  custom,
  type GradientOptions,
  init,
  mlp,
  odeint,
  type Pool,
  parallel,
  type SymplecticAdjointError,
  simd,
  train,
  valueAndGrad,
  vjp,
} from "symplectic-adjoint";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { numbers, relative, testWasm } from "./helpers.js";

let pool: Pool;
beforeAll(async () => {
  pool = await parallel({ workers: 3 });
});
afterAll(() => pool.close());

async function rejected(code: string, promise: Promise<unknown>): Promise<SymplecticAdjointError> {
  const error = await promise.then(
    () => undefined,
    (error) => error,
  );
  expect(error?.code, error?.message).toBe(code);
  return error;
}

describe.each(["float32", "float64"] as const)("%s", (dtype) => {
  test.each<[string, number[], GradientOptions]>([
    ["steps by tolerance, interpolated", [0, 0.3, 0.31, 1], { method: "dopri5", rtol: 1e-5 }],
    ["steps by tolerance, landed on", [1, 0.4, 0], { method: "bosh3", rtol: 1e-4, output: "land" }],
    ["torchdiffeq's steps", [0, 0.5], { method: "dopri8", rtol: 1e-4, controller: "torchdiffeq" }],
    ["fixed steps", [0, 0.5, 1], { method: "rk4", steps: 5 }],
  ])("%s: the steps of one core, and its gradient", async (_, times, options) => {
    for (const batch of [1, 15, 40, 100, 257]) {
      const field = mlp({ widths: [3, 24, 3], time: "concat", dtype, seed: batch });
      const y0 = numbers(dtype, 3 * batch, 5);
      const w = numbers(dtype, 3 * batch * times.length, 6);
      const alone = vjp(field, y0, times, options);
      const expected = alone.pullback(w);
      const runs = [];
      for (const gradient of ["auto", "symplectic", "auto"] as const) {
        const shared = await pool.vjp(field, y0, times, { ...options, gradient });
        expect(shared.solution.y).toEqual(alone.solution.y);
        expect(shared.solution.shape).toEqual(alone.solution.shape);
        for (const key of ["accepted", "rejected", "firstStep", "lastStep", "evaluations"] as const) {
          expect(shared.solution.stats[key]).toBe(alone.solution.stats[key]);
        }
        expect(shared.solution.stats.workers).toBe(Math.min(3, Math.ceil(batch / (dtype === "float32" ? 16 : 8))));
        runs.push(await shared.pullback(w));
        shared.dispose();
      }
      const [first, ...others] = runs;
      for (const other of others) expect({ ...other, stats: 0 }).toEqual({ ...first, stats: 0 });
      // Cotangents of samples do not know of other samples.
      expect(first?.y0).toEqual(expected.y0);
      const rounding = dtype === "float32" ? 1e-6 : 1e-14;
      expect(relative(first?.parameters as never, expected.parameters as never)).toBeLessThan(rounding);
      expect(relative(first?.times as never, expected.times as never)).toBeLessThan(rounding * 100);
      alone.dispose();
      field.dispose();
    }
  });
});

test("a budget is that of all workers", async () => {
  const field = mlp({ widths: [4, 32, 4] });
  const y0 = numbers("float32", 4 * 96);
  const loss = (y: Float32Array) => ({ value: 0, cotangent: y.fill(1) });
  const options: GradientOptions = { method: "rk4", steps: 200 };
  const least = (await rejected("OPTION", pool.vjp(field, y0, [0, 1], { ...options, memoryBudget: 9 }))).bytes ?? 0;
  const exact = await pool.valueAndGrad(field, y0, [0, 1], loss, { ...options, gradient: "backprop" });
  for (const memoryBudget of [least, 2 * least, 8 * least, 32 * least]) {
    const { gradient } = await pool.valueAndGrad(field, y0, [0, 1], loss, { ...options, memoryBudget });
    expect(gradient.parameters).toEqual(exact.gradient.parameters);
    expect(gradient.stats.peakBytes.total).toBeLessThanOrEqual(memoryBudget);
  }
});

test("training goes as on one core", async () => {
  const losses = async (shared: Pool | undefined) => {
    const field = mlp({ widths: [2, 16, 2], dtype: "float64", seed: 1 });
    const y0 = numbers("float64", 2 * 64);
    const data = [{ y0, times: [0, 1], target: numbers("float64", 4 * 64, 3) }];
    const optimizer = adam(field, { learningRate: 0.01 });
    const all = [];
    for await (const { loss } of train({ field, optimizer, data, steps: 20, ...(shared && { pool: shared }) }))
      all.push(loss);
    return all;
  };
  const [one, many] = [await losses(undefined), await losses(pool)];
  expect(many.length).toBe(20);
  expect(relative(many, one)).toBeLessThan(1e-10);
});

test("what is wrong in one part ends all of them, with its reason", async () => {
  const field = mlp({ widths: [2, 8, 2], activation: "elu", seed: 1 });
  field.parameters.fill(3);
  const y0 = new Float32Array(2 * 96).fill(-1);
  // Only the last sample blows up.
  y0.fill(1e3, 2 * 95);
  const options = { method: "dopri5", maxSteps: 30 } as const;
  const alone = (() => {
    try {
      return odeint(field, y0, [0, 100], options);
    } catch (error) {
      return error as SymplecticAdjointError;
    }
  })() as SymplecticAdjointError;
  const error = await rejected(alone.code, pool.odeint(field, y0, [0, 100], options));
  expect([error.message, error.t, error.steps]).toEqual([alone.message, alone.t, alone.steps]);
  await rejected("NON_FINITE", pool.odeint(field, y0, [0, 100], { method: "euler", steps: 50 }));
  // Not finite at once, in one part alone.
  y0.fill(3e38, 2 * 95);
  await rejected("NON_FINITE", pool.odeint(field, y0, [0, 1]));
  expect((await pool.odeint(field, y0.fill(0.1), [0, 0.01])).shape).toEqual([2, 96, 2]);
});

test("what a pool cannot do is refused", async () => {
  const field = mlp({ widths: [2, 8, 2] });
  const y0 = Float32Array.of(1, 0);
  const own = custom({ stateSize: 2, evaluate: (_t, y) => y, vjp: (_t, _y, w) => ({ y: w }) });
  await rejected("OPTION", pool.odeint(own, y0, [0, 1]));
  await rejected("OPTION", pool.vjp(field, y0, [0, 1], { gradient: "adjoint" }));
  await rejected("SHAPE", pool.odeint(field, Float32Array.of(1), [0, 1]));
  await rejected("SHAPE", pool.odeint(field, y0, []));
  await rejected("OPTION", pool.odeint(field, y0, [0, 1], { methd: "rk4" } as object));
  for (const bad of [0, 1.5, -1, "2"]) await rejected("OPTION", parallel({ workers: bad as number }));
  await rejected("OPTION", parallel({ threads: 2 } as object));
  const solve = await pool.vjp(field, y0, [0, 1]);
  await rejected("SHAPE", solve.pullback(y0));
  solve.dispose();
  solve.dispose();
  await rejected("DISPOSED", solve.pullback(Float32Array.of(1, 1, 1, 1)));
  await expect(
    pool.valueAndGrad(field, y0, [0, 1], () => {
      throw new RangeError("mine");
    }),
  ).rejects.toThrow("mine");
  const lost = mlp({ widths: [2, 2] });
  lost.dispose();
  await rejected("DISPOSED", pool.odeint(lost, y0, [0, 1]));
});

test("many requests at a time are answered each", async () => {
  const field = mlp({ widths: [2, 8, 2] });
  const batches = [1, 40, 3, 200, 17].map((batch) => numbers("float32", 2 * batch, batch));
  const solved = await Promise.all(batches.map((y0) => pool.odeint(field, y0, [0, 1])));
  for (const [i, { y }] of solved.entries()) {
    expect(y).toEqual(odeint(field, batches[i] as Float32Array<ArrayBuffer>, [0, 1]).y);
  }
});

test("a pool that was closed says so, at once and to what waits", async () => {
  const short = await parallel({ workers: 2 });
  const field = mlp({ widths: [2, 64, 2] });
  const long = short.odeint(field, numbers("float32", 2000), [0, 1], { method: "rk4", steps: 100_000 });
  short.close();
  short.close();
  await rejected("DISPOSED", long);
  await rejected("DISPOSED", short.odeint(field, Float32Array.of(1, 0), [0, 1]));
});

test("a pool that is closed while a loss is waited for says so, whatever becomes of the loss", async () => {
  const field = mlp({ widths: [2, 8, 2] });
  for (const settle of [() => {}, (reject: (error: Error) => void) => reject(new Error("late"))]) {
    const own = await parallel({ workers: 1 });
    let called = () => {};
    let reject = (_: Error) => {};
    const begun = new Promise<void>((resolve) => {
      called = resolve;
    });
    const loss = () => {
      called();
      return new Promise<never>((_, end) => {
        reject = end;
      });
    };
    const waiting = own.valueAndGrad(field, Float32Array.of(1, 0), [0, 1], loss);
    await begun;
    own.close();
    settle(reject);
    await rejected("DISPOSED", waiting);
  }
  // From within the loss, too.
  const own = await parallel({ workers: 1 });
  const closing = (y: Float32Array) => {
    own.close();
    return { value: 0, cotangent: y };
  };
  await rejected("DISPOSED", own.valueAndGrad(field, Float32Array.of(1, 0), [0, 1], closing));
});

describe("a worker", () => {
  const folder = mkdtempSync(join(tmpdir(), "pool-"));
  const script = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return pathToFileURL(join(folder, name));
  };
  const field = mlp({ widths: [2, 8, 2] });
  const y0 = numbers("float32", 2 * 64);

  test("that dies is an error and not a hang", async () => {
    const mortal = script(
      "mortal.mjs",
      `import { parentPort } from "node:worker_threads";
       parentPort.on("message", ({ id, request }) => {
         if (request.kind === "start") parentPort.postMessage({ id, value: undefined });
         else if (request.part.first > 0) process.exit(3);
       });`,
    );
    const dying = await parallel({ workers: 2, workerUrl: mortal });
    const error = await rejected("WORKER", dying.odeint(field, y0, [0, 1]));
    expect(error.message).toContain("3");
    await rejected("WORKER", dying.odeint(field, y0, [0, 1]));
    dying.close();
  });

  test("that cannot be started is one too", async () => {
    await rejected("WORKER", parallel({ workerUrl: script("broken.mjs", "throw new Error('no')") }));
    await rejected("WORKER", parallel({ workerUrl: pathToFileURL(join(folder, "nowhere.mjs")) }));
    await rejected("OPTION", parallel({ workerUrl: "no url" }));
  });

  test("that has not come up is not terminated: Node may abort the process if its module fails meanwhile", async () => {
    const terminate = vi.spyOn(Worker.prototype, "terminate");
    // One fails; the other says its first word when it is told to.
    const half = script(
      "half.mjs",
      `import { BroadcastChannel, parentPort, threadId } from "node:worker_threads";
       if (threadId % 2) throw new Error("no");
       const channel = new BroadcastChannel("half");
       channel.onmessage = () => parentPort.postMessage({ id: 0, value: undefined });
       channel.postMessage("up");`,
    );
    const channel = new BroadcastChannel("half");
    const up = new Promise((resolve) => {
      channel.onmessage = resolve;
    });
    await rejected("WORKER", parallel({ workers: 2, workerUrl: half }));
    await up;
    expect(terminate).not.toHaveBeenCalled();
    channel.postMessage("speak");
    await expect.poll(() => terminate.mock.calls.length, { timeout: 60_000 }).toBe(1);
    channel.close();
    terminate.mockRestore();
  });

  test("may be the package's own file", async () => {
    const served = await parallel({ workers: 2, workerUrl: import.meta.resolve("symplectic-adjoint/worker.js") });
    expect((await served.odeint(field, y0, [0, 1])).y).toEqual(odeint(field, y0, [0, 1]).y);
    served.close();
  });
});

/** The package's worker with code before and after it. */
function wrapped(before: string, after = ""): URL {
  const file = join(mkdtempSync(join(tmpdir(), "pool-")), "worker.mjs");
  const worker = import.meta.resolve("symplectic-adjoint/worker.js");
  writeFileSync(file, `${before}\nawait import("${worker}");\n${after}`);
  return pathToFileURL(file);
}

testWasm("a worker holds a few fields, however many architectures it has solved", async () => {
  const log = join(mkdtempSync(join(tmpdir(), "pool-")), "bytes");
  // WebAssembly memory never shrinks: how large it is tells of all that was held at a time.
  const counting = wrapped(
    `let memory;
    const { get } = Object.getOwnPropertyDescriptor(WebAssembly.Memory.prototype, "buffer");
    Object.defineProperty(WebAssembly.Memory.prototype, "buffer", {
      get() {
        memory = this;
        return get.call(this);
      },
    });`,
    `const { parentPort } = await import("node:worker_threads");
    const { writeFileSync } = await import("node:fs");
    parentPort.on("message", () => writeFileSync("${log}", String(memory ? get.call(memory).byteLength : 0)));`,
  );
  const own = await parallel({ workers: 1, workerUrl: counting });
  const y0 = numbers("float32", 2 * 16);
  const kept = await own.vjp(mlp({ widths: [2, 7, 2] }), y0, [0, 1], { method: "rk4" });
  const before = await kept.pullback(numbers("float32", 4 * 16));
  const expected = new Map<number, Float32Array>();
  // Half a megabyte each.
  for (let width = 330; width < 400; width++) {
    const field = mlp({ widths: [2, width, width, 2] });
    expected.set(width, odeint(field, y0, [0, 1], { method: "rk4" }).y);
    expect((await own.odeint(field, y0, [0, 1], { method: "rk4" })).y).toEqual(expected.get(width));
    field.dispose();
  }
  // One that was freed is made again, and what was recorded with one is still there.
  const again = mlp({ widths: [2, 330, 330, 2] });
  expect((await own.odeint(again, y0, [0, 1], { method: "rk4" })).y).toEqual(expected.get(330));
  expect((await kept.pullback(numbers("float32", 4 * 16))).parameters).toEqual(before.parameters);
  own.close();
  expect(Number(readFileSync(log, "utf8"))).toBeGreaterThan(2 ** 20);
  expect(Number(readFileSync(log, "utf8"))).toBeLessThan(16 * 2 ** 20);
});

testWasm("a worker that had a fault inside solves what comes next", async () => {
  const faulty = wrapped(`let faults = 1;
    const { subarray } = Float32Array.prototype;
    Float32Array.prototype.subarray = function (...range) {
      if (faults-- > 0) throw new WebAssembly.RuntimeError("unreachable");
      return subarray.apply(this, range);
    };`);
  const own = await parallel({ workers: 1, workerUrl: faulty });
  const field = mlp({ widths: [2, 8, 2] });
  const y0 = numbers("float32", 2 * 16);
  await rejected("INTERNAL", own.odeint(field, y0, [0, 1]));
  expect((await own.odeint(field, y0, [0, 1])).y).toEqual(odeint(field, y0, [0, 1]).y);
  own.close();
});

test("a forgotten pool does not keep the process alive", () => {
  const script = `import { mlp, parallel } from "symplectic-adjoint";
    const pool = await parallel({ workers: 2 });
    const { y } = await pool.odeint(mlp({ widths: [2, 2] }), new Float32Array(64), [0, 1]);
    console.log(y.length);`;
  const { stdout, status } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
    timeout: 20_000,
  });
  expect([stdout.trim(), status]).toEqual(["128", 0]);
});

test("workers run the build that is in use", async () => {
  await init();
  const field = mlp({ widths: [2, 64, 2], seed: 4 });
  const y0 = numbers("float32", 2 * 48);
  const { y } = await pool.odeint(field, y0, [0, 1], { method: "rk4", steps: 50 });
  // The builds round differently.
  expect(y, simd()).toEqual(odeint(field, y0, [0, 1], { method: "rk4", steps: 50 }).y);
  const loss = (all: Float32Array) => ({ value: 1, cotangent: all });
  expect(valueAndGrad(field, y0, [0, 1], loss).value).toBe(1);
});
