// What sweeps try, which trials go on, and what they refuse; trials of this process. Those over servers are in test/cluster.
import { haltonND } from "@thi.ng/lowdisc";
import { expect, test } from "vitest";
import { membersOf, readHalving, sizesOf } from "../../ts/cluster/halving.js";
import { pointsOf, type Sampler, type SamplerRequest } from "../../ts/cluster/sampler.js";
import { gridSize, readSpace, type SearchSpace, samplesOf } from "../../ts/cluster/space.js";
import { type SweepOptions, sweep, sweepRules } from "../../ts/cluster/sweep.js";
import type { SweepEvent } from "../../ts/cluster/sweep-result.js";
import { uniforms } from "../../ts/trace/random.js";

const draw = (space: SearchSpace, count: number, sampler: Sampler = "quasirandom", seed = 0) =>
  samplesOf(readSpace(space, sampler), sampler, seed, count);

test("samples follow from space, sampler and seed, and lie within their bounds", () => {
  const space: SearchSpace = {
    rate: { min: 1e-4, max: 1e-1 },
    width: { min: 3, max: 6, integer: true },
    depth: { min: 1, max: 100, integer: true },
    shift: { min: -2, max: 5 },
    name: ["tanh", "silu", true],
  };
  for (const sampler of ["quasirandom", "random"] as const) {
    const all = draw(space, 4000, sampler, 5);
    expect(draw(space, 4000, sampler, 5)).toEqual(all);
    // More trials begin with the same ones.
    expect(draw(space, 40, sampler, 5)).toEqual(all.slice(0, 40));
    expect(draw(space, 40, sampler, 6)).not.toEqual(all.slice(0, 40));
    const shares = (name: string) => {
      const counts = new Map<unknown, number>();
      for (const parameters of all) counts.set(parameters[name], (counts.get(parameters[name]) ?? 0) + 1);
      return counts;
    };
    const below = (name: string, bound: number) => all.filter((own) => (own[name] as number) < bound).length / 4000;
    for (const own of all) {
      expect(own.rate).toBeGreaterThanOrEqual(1e-4);
      expect(own.rate).toBeLessThanOrEqual(1e-1);
      expect(Number.isInteger(own.depth)).toBe(true);
    }
    // A range over decades is log-uniform, another one uniform; each integer and choice comes as often as the others.
    for (const [bound, share] of [
      [1e-3, 1 / 3],
      [1e-2, 2 / 3],
    ] as const)
      expect(below("rate", bound)).toBeCloseTo(share, 1);
    expect(below("shift", 1.5)).toBeCloseTo(0.5, 1);
    expect([...shares("width").keys()].sort()).toEqual([3, 4, 5, 6]);
    for (const count of shares("width").values()) expect(count / 4000).toBeCloseTo(0.25, 1);
    for (const count of shares("name").values()) expect(count / 4000).toBeCloseTo(1 / 3, 1);
    expect(below("depth", 10)).toBeCloseTo(0.5, 1);
  }
});

test("the quasirandom sampler fills the space more evenly than a random one", () => {
  // The star discrepancy over boxes at the origin, at points of a grid.
  const discrepancy = (points: readonly (readonly number[])[]) => {
    let most = 0;
    for (let i = 1; i <= 20; i++) {
      for (let j = 1; j <= 20; j++) {
        const inside = points.filter(([u, v]) => (u as number) < i / 20 && (v as number) < j / 20).length;
        most = Math.max(most, Math.abs(inside / points.length - (i * j) / 400));
      }
    }
    return most;
  };
  const space = { u: { min: 0, max: 1 }, v: { min: 0, max: 1 } };
  const of = (sampler: Sampler, seed: number) =>
    discrepancy(draw(space, 128, sampler, seed).map(({ u, v }) => [u as number, v as number]));
  const mean = (sampler: Sampler) =>
    Array.from({ length: 10 }, (_, seed) => of(sampler, seed)).reduce((a, b) => a + b) / 10;
  expect(mean("quasirandom")).toBeLessThan(0.5 * mean("random"));
});

test("quasirandom points are those of Roberts' sequence from a random point on", () => {
  for (const dimensions of [1, 2, 7, 64]) {
    // The one root above 1 of x^(d+1) = x + 1, by bisection.
    let [low, high] = [1, 2];
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (middle ** (dimensions + 1) < middle + 1) low = middle;
      else high = middle;
    }
    const uniform = uniforms(3);
    const starts = Array.from({ length: dimensions }, uniform);
    const points = pointsOf("quasirandom", { trials: 1000, dimensions, seed: 3 });
    for (const [at, place] of points.entries()) {
      const [trial, i] = [Math.floor(at / dimensions), at % dimensions];
      const exact = ((starts[i] as number) + (trial + 1) * low ** -(i + 1)) % 1;
      // Around the circle, where 0 and 1 are the same.
      const apart = Math.abs(place - exact);
      expect(Math.min(apart, 1 - apart)).toBeLessThan(1e-11);
    }
  }
});

test("a sampler of a library chooses the trials", async () => {
  const asked: SamplerRequest[] = [];
  const halton = (request: SamplerRequest) => {
    asked.push(request);
    const sequence = haltonND([2, 3, 5].slice(0, request.dimensions), request.seed);
    return Array.from({ length: request.trials }, () => sequence.next().value as number[]);
  };
  const space = {
    x: { min: 10, max: 20 },
    rate: { min: 1e-3, max: 1, scale: "log" },
    act: ["tanh", "silu", "elu"],
  } as const;
  const { trials } = await sweep({ run: () => 1, space, trials: 4, seed: 2, sampler: halton });
  expect(asked).toEqual([{ trials: 4, dimensions: 3, seed: 2 }]);
  // From the third point on: 3/4, 1/8, 5/8, 3/8 in base 2; 1/9, 4/9, 7/9, 2/9 in base 3; 3/5, 4/5, 1/25, 6/25 in base 5.
  const { trials: again } = await sweep({ run: () => 1, space, trials: 4, sampler: () => floats(trials.length) });
  const expected = [
    [3 / 4, 1 / 9, "silu"],
    [1 / 8, 4 / 9, "elu"],
    [5 / 8, 7 / 9, "tanh"],
    [3 / 8, 2 / 9, "tanh"],
  ] as const;
  for (const all of [trials, again]) {
    expect(all.map(({ parameters }) => parameters)).toEqual(
      expected.map(([x, rate, act]) => ({
        x: expect.closeTo(10 + 10 * x, 12),
        rate: expect.closeTo(1e-3 ** (1 - rate), 12),
        act,
      })),
    );
  }
  /** Rows that are typed arrays. */
  function floats(length: number) {
    const sequence = haltonND([2, 3, 5], 2);
    return Array.from({ length }, () => Float64Array.from(sequence.next().value as number[]));
  }
});

test("what a sampler must not return is refused, by place, before any trial runs", async () => {
  let runs = 0;
  const run = () => ++runs;
  const space = { x: { min: 0, max: 1 }, y: { min: 0, max: 1 } };
  const of = (sampler: unknown) => sweep({ run, space, trials: 2, sampler: sampler as never });
  const rows = "2 rows of 2 numbers from 0 to below 1";
  const wrong: [unknown, string, string, string][] = [
    [undefined, "sampler's result", rows, "undefined"],
    [Promise.resolve([]), "sampler's result", `${rows}, at once`, "a Promise: is it an async function?"],
    [[[0, 0]], "sampler's result", rows, "Array of length 1"],
    [Float64Array.of(0, 0, 0, 0), "sampler's result", rows, "Float64Array of length 4"],
    [haltonND([2, 3]), "sampler's result", rows, "a value of kind Generator"],
    [[[0, 0], [0]], "sampler's result[1]", "2 numbers from 0 to below 1", "Array of length 1"],
    [[[0, 0], "ab"], "sampler's result[1]", "2 numbers from 0 to below 1", '"ab"'],
    [[undefined, [0, 0]], "sampler's result[0]", "2 numbers from 0 to below 1", "undefined"],
    ...[Number.NaN, 1, -1e-300, "0", undefined].map((value): [unknown, string, string, string] => [
      [
        [0, 0.5],
        [0, value],
      ],
      "sampler's result[1][1]",
      "a number from 0 to below 1",
      typeof value === "string" ? JSON.stringify(value) : String(value),
    ]),
  ];
  for (const [result, argument, expected, given] of wrong) {
    await expect(of(() => result)).rejects.toMatchObject({ code: "CALLBACK", argument, expected, given });
  }
  const error = new Error("mine");
  await expect(
    of(() => {
      throw error;
    }),
  ).rejects.toBe(error);
  expect(runs).toBe(0);
  await of(() => [
    [-0, 0],
    [1 - 2 ** -53, 0],
  ]);
  expect(runs).toBe(2);
});

test("a grid has every combination once, the last parameter first", () => {
  const space: SearchSpace = {
    width: [16, 32],
    rate: { min: 1e-3, max: 1e-1, points: 3 },
    depth: { min: 1, max: 3, integer: true, points: 9 },
  };
  const dimensions = readSpace(space, "grid");
  expect(gridSize(dimensions)).toBe(18);
  const all = samplesOf(dimensions, "grid", 0, 18);
  expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(18);
  expect(all.slice(0, 4).map(({ rate, depth }) => [rate, depth])).toEqual([
    [1e-3, 1],
    [1e-3, 2],
    [1e-3, 3],
    [expect.closeTo(1e-2, 12), 1],
  ]);
  expect(all.at(-1)).toEqual({ width: 32, rate: 1e-1, depth: 3 });
});

test("the best of each rung go on, whoever ended first", () => {
  const rungs = readHalving({ least: 10, most: 300, factor: 3 });
  expect(rungs.budgets).toEqual([11, 33, 100, 300]);
  expect(sizesOf(rungs, 100)).toEqual([100, 33, 11, 3]);
  expect(readHalving({ least: 0.1, most: 0.9 }).budgets).toEqual([0.1, 0.9 / 3, 0.9]);
  expect(readHalving({ least: 0.1, most: 0.3 }).budgets).toEqual([0.1, 0.3]);
  const uniform = uniforms(3);
  const values = Array.from({ length: 100 }, () => (uniform() < 0.1 ? Number.NaN : Math.floor(20 * uniform())));
  const members = membersOf(rungs, 100, (trial) => values[trial]);
  expect(members.map(({ length }) => length)).toEqual([100, 33, 11, 3]);
  for (const [rung, own] of members.entries()) {
    if (rung === 0) continue;
    const before = members[rung - 1] as readonly number[];
    const worst = Math.max(...own.map((trial) => values[trial] as number));
    expect(own.every((trial) => before.includes(trial) && !Number.isNaN(values[trial]))).toBe(true);
    const better = before.filter((trial) => !own.includes(trial) && (values[trial] as number) < worst);
    expect(better).toEqual([]);
  }
  // Nothing begins before the rung below has ended, and where all have failed, nothing does.
  expect(membersOf(rungs, 9, (trial) => (trial === 4 ? undefined : trial)).length).toBe(1);
  expect(membersOf(rungs, 9, () => Number.NaN).length).toBe(1);
});

test("trials of this process: at most so many at a time, each once", async () => {
  let [now, most] = [0, 0];
  const seen: number[] = [];
  const events: SweepEvent[] = [];
  const { best, trials, budgets } = await sweep({
    async run({ trial, parameters: { x } }) {
      most = Math.max(most, ++now);
      seen.push(trial);
      await new Promise((resolve) => setTimeout(resolve, 1));
      now--;
      if (trial % 5 === 0) throw new Error(`no ${trial}`);
      return -((x as number) ** 2);
    },
    ...{ space: { x: { min: -1, max: 1 } }, trials: 30, parallel: 4, direction: "maximize" },
    onEvent: (event) => void events.push(event),
  });
  expect(most).toBe(4);
  expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, i) => i));
  const good = trials.filter(({ status }) => status === "done");
  expect(good.length).toBe(24);
  expect(trials[5]).toMatchObject({ status: "failed", value: Number.NaN, message: "no 5" });
  expect(best?.value).toBe(Math.max(...good.map(({ value }) => value)));
  expect(budgets).toEqual([]);
  const last = events.filter((event) => event.kind === "trial").at(-1);
  expect(last?.kind === "trial" && last.status).toMatchObject({ ended: 30, total: 30, failed: 6 });
});

test("where all trials of the last rungs fail, the best of the rung before is the best, with what it had there", async () => {
  const events: SweepEvent[] = [];
  const fails = new Set<string>();
  const options: SweepOptions = {
    run({ trial, budget = 0, state, parameters: { x } }) {
      if (fails.has("all") || fails.has(`${budget}`) || fails.has(`${trial} ${budget}`)) throw new Error("astray");
      return { value: Number(x) + 1 / budget, state: Uint8Array.of(...(state ?? []), budget), info: { budget } };
    },
    ...{ space: { x: [5, 3, 4, 1, 2, 9, 8, 7, 6] }, sampler: "grid", halving: { least: 1, most: 9 } },
    onEvent: (event) => void events.push(event),
  };
  fails.add("9");
  const { best, trials } = await sweep(options);
  expect(best).toMatchObject({ trial: 3, status: "failed", message: "astray", value: 1 + 1 / 3, info: { budget: 3 } });
  expect(best?.rungs.map(({ budget }) => budget)).toEqual([1, 3]);
  expect(best?.state).toEqual(Uint8Array.of(1, 3));
  expect(trials[3]).toMatchObject({ status: "failed", value: Number.NaN });
  const told = events.flatMap((event) => (event.kind === "trial" ? [event.status.best?.value] : []));
  expect(told.every(Number.isFinite)).toBe(true);
  fails.add("3");
  expect((await sweep(options)).best).toMatchObject({ trial: 3, value: 2, state: Uint8Array.of(1) });
  fails.add("all");
  expect((await sweep(options)).best).toBeUndefined();
  // The best of a rung fails at the next, before another or after it.
  for (const order of [1, -1]) {
    const space = { x: [1, 2, 3, 4].map((x) => order * x) };
    fails.clear();
    fails.add(order === 1 ? "0 2" : "3 2");
    const { best } = await sweep({ ...options, space, halving: { least: 1, most: 2, factor: 2 } });
    expect(best).toMatchObject({ trial: order === 1 ? 1 : 2, status: "done", state: Uint8Array.of(1, 2) });
  }
});

test("many trials at a time bring no warning", async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => void warnings.push(warning);
  process.on("warning", onWarning);
  let begun = 0;
  let release = () => {};
  const all = new Promise<void>((resolve) => {
    release = resolve;
  });
  const run = async () => {
    if (++begun === 20) release();
    await all;
    return 1;
  };
  await sweep({ run, space: { x: { min: 0, max: 1 } }, trials: 20, parallel: 20 });
  // Warnings come in a tick of their own.
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", onWarning);
  expect(warnings).toEqual([]);
});

test("a trial that takes too long has failed, and its signal says so", async () => {
  let reason: unknown;
  const { trials, best } = await sweep({
    run: ({ signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          reason = signal.reason;
          reject(reason);
        });
      }),
    ...{ space: { x: [1] }, sampler: "grid", timeout: 0.02 },
  });
  expect(trials[0]?.message).toBe("the trial took more than 0.02 s");
  expect((reason as Error).message).toContain("too long");
  expect(best).toBeUndefined();
});

test("a signal, or an error of yours, ends a sweep", async () => {
  const options = { run: () => 1, space: { x: [1, 2] }, sampler: "grid" } as const;
  await expect(sweep({ ...options, signal: AbortSignal.abort("no") })).rejects.toBe("no");
  const stop = new AbortController();
  const waiting = sweep({ ...options, run: () => new Promise(() => {}), signal: stop.signal });
  stop.abort("enough");
  await expect(waiting).rejects.toBe("enough");
  const error = new Error("mine");
  const throwing = () => {
    throw error;
  };
  await expect(sweep({ ...options, onEvent: throwing })).rejects.toBe(error);
});

test("what cannot be is refused, by name", async () => {
  const good: SweepOptions = { run: () => 1, space: { x: { min: 1, max: 2 } }, trials: 2 };
  const wrong: [Partial<Record<keyof SweepOptions, unknown>>, string][] = [
    [{ run: undefined }, "run"],
    [{ run: "a task" }, "run"],
    [{ space: undefined }, "space"],
    [{ space: {} }, "space"],
    [{ space: { x: [] } }, "space.x"],
    [{ space: { x: [Number.NaN] } }, "space.x[0]"],
    [{ space: { x: { min: 2, max: 1 } } }, "space.x.max"],
    [{ space: { x: { min: 0, max: 1, scale: "log" } } }, "space.x.min"],
    [{ space: { x: { min: 0.5, max: 3, integer: true } } }, "space.x"],
    [{ space: { x: { min: 1, max: 2, points: 3 } } }, "space.x.points"],
    [{ space: { x: { min: 1, max: 2, step: 3 } } }, "space.x.step"],
    [{ sampler: "grid" }, "space.x.points"],
    [{ sampler: "grid", space: { x: [1, 2, 3] } }, "trials"],
    [{ sampler: "sobol" }, "sampler"],
    [{ sampler: [[0.5]] }, "sampler"],
    [{ sampler: () => [[0.5], [0.5]], trials: undefined }, "trials"],
    [{ sampler: () => [[0.5], [0.5]], space: { x: { min: 1, max: 2, points: 3 } } }, "space.x.points"],
    [{ trials: 0 }, "trials"],
    [{ trials: undefined }, "trials"],
    [{ halving: { least: 5, most: 5 } }, "halving.least"],
    [{ halving: { least: 5, most: 14 } }, "halving.least"],
    [{ halving: { least: 5 } }, "halving.most"],
    [{ halving: { least: 5, most: 9, factor: 1 } }, "halving.factor"],
    [{ settings: () => 1 }, "settings"],
    [{ files: { data: "text" } }, "files"],
    [{ timeout: 0 }, "timeout"],
    [{ name: "a.b" }, "name"],
    [{ name: "mine" }, "name"],
    [{ servers: "nats://127.0.0.1:1" }, "servers"],
    [{ run: "task", parallel: 2 }, "parallel"],
    [{ existing: "keep" }, "existing"],
    [{ direction: "up" }, "direction"],
    [{ signal: {} }, "signal"],
    [{ tries: 3 } as never, "tries"],
  ];
  for (const [options, argument] of wrong) {
    const all = { ...good, ...options } as SweepOptions;
    await expect(sweep(all), JSON.stringify(options)).rejects.toMatchObject({ code: "OPTION", argument });
  }
});

test("every option is used or refused, wherever trials run", async () => {
  const here = { run: () => 1, space: { x: { min: 1, max: 2 } }, trials: 2 };
  const used = [
    "sampler",
    "seed",
    "direction",
    "halving",
    "settings",
    "files",
    "timeout",
    "parallel",
    "signal",
    "onEvent",
  ];
  const ofServers = {
    ...{
      servers: "nats://127.0.0.1:1",
      prefix: "x",
      client: { user: "me" },
      nats: { core: {}, jetstream: {}, kv: {} },
    },
    ...{ name: "mine", replicas: 1, stallTimeout: 3, attempts: 2, existing: "resume" },
  } as const;
  expect([...Object.keys(here), ...used, ...Object.keys(ofServers)].sort()).toEqual(Object.keys(sweepRules).sort());
  for (const [argument, value] of Object.entries(ofServers)) {
    const given = sweep({ ...here, [argument]: value });
    await expect(given, argument).rejects.toMatchObject({
      code: "OPTION",
      argument,
      given: expect.not.stringMatching("a value"),
    });
  }
});
