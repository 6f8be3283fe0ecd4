// Sweeps over a real server: each trial has one result, whoever dies, comes back, or writes nonsense.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectClient } from "../../ts/cluster/client.js";
import { encode } from "../../ts/cluster/codec.js";
import { encodeAnnouncement, PROTOCOL } from "../../ts/cluster/messages.js";
import type { SamplerRequest } from "../../ts/cluster/sampler.js";
import { serveTrials } from "../../ts/cluster/serve-trials.js";
import { type SweepOptions, sweep } from "../../ts/cluster/sweep.js";
import type { SweepEvent } from "../../ts/cluster/sweep-result.js";
import { listSweeps, readSweep, removeSweep } from "../../ts/cluster/sweeps.js";
import { encodeReport, readJob, readReport } from "../../ts/cluster/trials.js";
import { uniforms } from "../../ts/trace/random.js";
import { buildWorker, cleanups, freshPrefix, scriptOf, until, worker } from "./processes.js";
import { type Server, startServers } from "./server.mjs";

const LONG = process.env.LONG === "1";
let server: Server;
let guarded: Server;
const guide = readFileSync(new URL("../../docs/cluster.md", import.meta.url), "utf8");
/** The configuration that the guide shows. */
const permissions = /```nginx\n(authorization[\s\S]*?)```/.exec(guide)?.[1] as string;
const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-sweep-"));

beforeAll(async () => {
  buildWorker("trial-worker.ts");
  buildWorker("sweep-coordinator.ts");
  [server] = (await startServers()) as [Server];
  [guarded] = (await startServers({ config: permissions })) as [Server];
});
afterAll(async () => {
  await server.remove();
  await guarded.remove();
  rmSync(folder, { recursive: true, force: true });
});

const start = (prefix: string, options: object = {}) => worker([server.url], { prefix, ...options }, "trial-worker.ts");

function begin(prefix: string, options: Partial<SweepOptions>) {
  const events: SweepEvent[] = [];
  const waiting = new Set<() => void>();
  /** Settles with the first event, of those that were or that come, for which something holds. */
  const seen = (holds: (event: SweepEvent) => boolean) =>
    new Promise<void>((resolve) => {
      const look = () => events.some(holds) && waiting.delete(look) && resolve();
      waiting.add(look);
      look();
    });
  const onEvent = (event: SweepEvent) => {
    events.push(event);
    for (const look of waiting) look();
  };
  const done = sweep({
    ...{ run: "parabola", space: { x: { min: -3, max: 3 } }, trials: 20 },
    ...{ servers: server.url, prefix, stallTimeout: 1, onEvent },
    ...options,
  });
  done.catch(() => {});
  return { events, done, seen };
}

/** What must not depend on who did what. */
const essence = ({ best, trials }: Awaited<ReturnType<typeof sweep>>) => ({
  best: best?.trial,
  trials: trials.map(({ ms: _, rungs, info, ...rest }) => ({ ...rest, rungs: rungs.map(({ value }) => value) })),
});

async function intruder(prefix: string) {
  const client = await connectClient({ servers: server.url, prefix, name: "intruder" });
  cleanups.push(() => client.connection.close());
  return client;
}

test("each trial is done once, with its parameters, by whoever is there", async () => {
  const prefix = freshPrefix();
  const log = join(folder, "each");
  const { done, events } = begin(prefix, { files: { data: new Uint8Array(2_000_000) }, settings: { ms: 5 } });
  await start(prefix, { log, parallel: 2 });
  await start(prefix, { log });
  const { best, trials, budgets } = await done;
  expect(budgets).toEqual([]);
  expect(trials.map(({ trial }) => trial)).toEqual(Array.from({ length: 20 }, (_, i) => i));
  for (const { status, value, parameters, rungs, info } of trials) {
    expect([status, value, rungs.length]).toEqual(["done", ((parameters.x as number) - 1) ** 2 + 1, 1]);
    expect((info as { file: number }).file).toBe(2_000_000);
  }
  expect(best?.value).toBe(Math.min(...trials.map(({ value }) => value)));
  expect(best?.state).toEqual(new TextEncoder().encode("[1]"));
  expect(new Set(trials.map(({ info }) => (info as { seed: number }).seed)).size).toBe(20);
  expect(readFileSync(log, "utf8").trim().split("\n").length).toBe(20);
  expect(events.filter(({ kind }) => kind === "trial").length).toBe(20);
});

test("a sweep over workers finds what one in this process finds", async () => {
  const prefix = freshPrefix();
  const halving = { least: 1, most: 27, factor: 3 };
  const { done, events } = begin(prefix, { trials: 30, halving });
  await start(prefix, { parallel: 3 });
  const result = await done;
  expect(result.budgets).toEqual([1, 3, 9, 27]);
  expect(result.trials.map(({ rungs }) => rungs.length).sort()).toEqual([
    ...Array(20).fill(1),
    ...Array(7).fill(2),
    ...Array(2).fill(3),
    4,
  ]);
  // Each went on from what it had left.
  expect(result.best?.info).toMatchObject({ before: [1, 3, 9] });
  expect(new TextDecoder().decode(result.best?.state)).toBe("[1,3,9,27]");
  expect(events.flatMap((event) => (event.kind === "rung" ? [event.trials] : []))).toEqual([30, 10, 3, 1]);
  const here = await sweep({
    run: ({ parameters, budget = 1 }) => ((parameters.x as number) - 1) ** 2 + 1 / budget,
    ...{ space: { x: { min: -3, max: 3 } }, trials: 30, halving, parallel: 4 },
  });
  expect(essence(here)).toEqual(essence(result));
  // States that nobody needs are gone.
  const { manager, names } = await intruder(prefix);
  const { state } = await manager.streams.info(names.sweepBucketStream, {
    subjects_filter: names.sweepKey("states.>"),
  });
  expect(Object.keys(state.subjects ?? {}).length).toBe(1);
});

test("sweeps of one task may have other stall timeouts", async () => {
  const prefix = freshPrefix();
  await start(prefix);
  for (const stallTimeout of [30, 2.0000001, 5]) {
    expect((await begin(prefix, { trials: 2, stallTimeout }).done).trials.length).toBe(2);
  }
});

test("what throws, is no number, takes too long or kills its workers has failed, and the rest goes on", async () => {
  const prefix = freshPrefix();
  const space = { act: ["", "throw", "nan", "hang", "exit"] };
  const { done } = begin(prefix, {
    space,
    trials: undefined,
    sampler: "grid",
    timeout: 1.5,
    attempts: 2,
    stallTimeout: 0.5,
  });
  let over = false;
  const keep = (async () => {
    while (!over) {
      const child = await start(prefix).catch(() => undefined);
      if (child && child.exitCode === null) await new Promise((resolve) => child.once("exit", resolve));
    }
  })();
  const { trials, best } = await done;
  over = true;
  for (const cleanup of cleanups.splice(0)) await cleanup();
  await keep;
  expect(best?.trial).toBe(0);
  expect(trials.map(({ status }) => status)).toEqual(["done", "failed", "failed", "failed", "failed"]);
  expect(trials.map(({ message }) => message)).toEqual([
    undefined,
    "no trial 1",
    "the trial's value is NaN",
    "the trial took more than 1.5 s",
    "2 workers were lost or left while running the trial",
  ]);
});

test("workers are killed at random, and each trial has one result", async () => {
  const prefix = freshPrefix();
  const trials = LONG ? 1000 : 80;
  const log = join(folder, "killed");
  const { done, events } = begin(prefix, { trials, settings: { ms: 60 }, stallTimeout: 0.5, attempts: 50 });
  let over = false;
  done.finally(() => {
    over = true;
  });
  const uniform = uniforms(LONG ? Date.now() : 7);
  const workers = await Promise.all([
    start(prefix, { log }),
    start(prefix, { log }),
    start(prefix, { log, parallel: 2 }),
  ]);
  let kills = 0;
  while (!over) {
    await Promise.race([new Promise((resolve) => setTimeout(resolve, 200 * uniform())), done]);
    if (over) break;
    const victim = Math.floor(workers.length * uniform());
    workers[victim]?.kill("SIGKILL");
    kills++;
    workers[victim] = await start(prefix, { log });
  }
  const result = await done;
  expect(kills).toBeGreaterThan(0);
  expect(result.trials.length).toBe(trials);
  expect(result.trials.every(({ status, rungs }) => status === "done" && rungs.length === 1)).toBe(true);
  const told = events.flatMap((event) => (event.kind === "trial" ? [event.result.trial] : []));
  expect(told.length).toBe(trials);
  expect(new Set(told).size).toBe(trials);
  const { manager, names } = await intruder(prefix);
  const { state } = await manager.streams.info(names.sweepBucketStream, {
    subjects_filter: names.sweepKey("results.>"),
  });
  expect(Object.values(state.subjects ?? {})).toEqual(Array(trials).fill(1));
  const queue = await manager.streams.info(names.trialStream);
  expect(queue.state.messages).toBe(0);
});

test("a coordinator is killed; workers go on without it, and another one has the whole result", async () => {
  const prefix = freshPrefix();
  const halving = { least: 1, most: 9, factor: 3 };
  const options = { name: "pendulum", trials: 27, halving, settings: { ms: 20 } };
  const common = { run: "parabola", space: { x: { min: -3, max: 3 } }, servers: server.url, prefix, stallTimeout: 1 };
  await start(prefix);
  const coordinate = (existing: string) =>
    spawn(process.execPath, [scriptOf("sweep-coordinator.ts"), JSON.stringify({ ...common, ...options, existing })]);
  for (const [existing, least] of [
    ["error", 5],
    ["resume", 12],
    ["resume", 20],
  ] as const) {
    const child = coordinate(existing);
    cleanups.push(() => child.kill("SIGKILL"));
    let said = "";
    await new Promise<void>((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`it ended with ${code}: ${said}`)));
      child.stderr.on("data", (text) => (said += text));
      child.stdout.on("data", (text) => {
        said += text;
        const ended = [...said.matchAll(/ended (\d+)/g)].map((match) => Number(match[1]));
        if (Math.max(0, ...ended) >= least) resolve();
      });
    });
    child.removeAllListeners("exit");
    child.kill("SIGKILL");
  }
  await expect(begin(prefix, options).done).rejects.toMatchObject({ code: "OPTION", argument: "name" });
  await expect(begin(prefix, { ...options, existing: "resume", seed: 4 }).done).rejects.toMatchObject({
    argument: "seed",
  });
  const { done, events } = begin(prefix, { ...options, existing: "resume" });
  const result = await done;
  const resumed = events.find(({ kind }) => kind === "resumed") as Extract<SweepEvent, { kind: "resumed" }>;
  expect(resumed.status.ended).toBeGreaterThanOrEqual(20);
  const fresh = await begin(prefix, { ...options, name: "other" }).done;
  expect(essence(result)).toEqual(essence(fresh));
  expect(result.best?.state).toEqual(fresh.best?.state);
  // Once it is finished, it is only read again; and it can be replaced.
  const again = await begin(prefix, { ...options, existing: "resume" }).done;
  expect(essence(again)).toEqual(essence(result));
  const other = await begin(prefix, { ...options, existing: "replace", seed: 9, settings: null }).done;
  expect(other.trials[0]?.parameters).not.toEqual(result.trials[0]?.parameters);
});

test("a function chooses the trials: a sweep goes on with the same points alone, and is read without the function", async () => {
  const prefix = freshPrefix();
  const at = { servers: server.url, prefix };
  const child = await start(prefix);
  let calls = 0;
  /** Other points for each shift. */
  const shifted =
    (shift: number) =>
    ({ trials }: SamplerRequest) => {
      calls++;
      return Array.from({ length: trials }, (_, i) => [(i + shift) / trials]);
    };
  const options = { name: "own", trials: 8 };
  const first = await begin(prefix, { ...options, sampler: shifted(0) }).done;
  expect(first.trials.map(({ parameters }) => parameters.x)).toEqual(
    Array.from({ length: 8 }, (_, i) => -3 + 0.75 * i),
  );
  expect(await readSweep("own", at)).toEqual(first);
  child.kill("SIGKILL");
  for (const sampler of [shifted(0.5), "quasirandom", "random"] as const) {
    await expect(begin(prefix, { ...options, existing: "resume", sampler }).done).rejects.toMatchObject({
      ...{
        code: "OPTION",
        argument: "sampler",
        expected: expect.stringMatching(/^points [0-9a-f]{64}, which the sweep/),
      },
      given: typeof sampler === "string" ? sampler : expect.stringMatching(/^points [0-9a-f]{64}$/),
    });
  }
  expect(await begin(prefix, { ...options, existing: "resume", sampler: shifted(0) }).done).toEqual(first);
  expect(calls).toBe(3);
  expect(await listSweeps(at)).toMatchObject([{ name: "own", trials: 8, ended: 8 }]);
  const { manager, names } = await intruder(prefix);
  const keys = async () => {
    const subjects_filter = names.sweepKey("points.>");
    return Object.keys((await manager.streams.info(names.sweepBucketStream, { subjects_filter })).state.subjects ?? {});
  };
  expect((await keys()).length).toBe(1);
  await manager.streams.purge(names.sweepBucketStream, { filter: names.sweepKey("points.>") });
  await expect(readSweep("own", at)).rejects.toMatchObject({
    ...{ code: "CONNECTION", message: "the points of the sweep own are no longer on the servers" },
  });
  const second = begin(prefix, { ...options, existing: "replace", sampler: shifted(0) });
  await start(prefix);
  await second.done;
  await removeSweep("own", at);
  expect(await keys()).toEqual([]);
});

test("a sweep that its signal stops leaves nothing in the queue, and goes on from its results", async () => {
  const prefix = freshPrefix();
  const stop = new AbortController();
  const reason = new Error("enough");
  const options = { name: "stopped", trials: 30, settings: { ms: 30 } };
  await start(prefix);
  const { done } = begin(prefix, {
    ...options,
    signal: stop.signal,
    onEvent: (event) => void (event.kind === "trial" && event.status.ended === 4 && stop.abort(reason)),
  });
  await expect(done).rejects.toBe(reason);
  const { manager, names } = await intruder(prefix);
  expect((await manager.streams.info(names.trialStream)).state.messages).toBeLessThanOrEqual(1);
  const { trials } = await begin(prefix, { ...options, existing: "resume" }).done;
  expect(trials.every(({ status }) => status === "done")).toBe(true);
});

test("a server that restarts, with what is on its disk, holds a sweep up and no more", async () => {
  const prefix = freshPrefix();
  const { done, events, seen } = begin(prefix, {
    trials: 40,
    settings: { ms: 30 },
    client: { reconnectTimeWait: 100 },
  });
  await start(prefix);
  await start(prefix);
  const ended = () => events.filter(({ kind }) => kind === "trial").length;
  await seen(() => ended() >= 5);
  await server.restart();
  const { trials } = await done;
  expect(trials.every(({ status }) => status === "done")).toBe(true);
  expect(ended()).toBe(40);
});

test("trials that a server has lost are put in again", async () => {
  const prefix = freshPrefix();
  const { done, seen } = begin(prefix, { trials: 10, settings: { ms: 5 } });
  const { manager, names } = await intruder(prefix);
  await seen((event) => event.kind === "queue" && event.open === 10);
  await manager.streams.delete(names.trialStream);
  await manager.streams.delete(names.sweepBucketStream);
  await start(prefix);
  expect((await done).trials.every(({ status }) => status === "done")).toBe(true);
});

test("a sweep that another one replaces ends", async () => {
  const prefix = freshPrefix();
  const first = begin(prefix, { name: "one" });
  await first.seen(({ kind }) => kind === "queue");
  const second = begin(prefix, { name: "one", existing: "replace", trials: 4 });
  await expect(first.done).rejects.toThrow(/replaced by another one/);
  await start(prefix);
  expect((await second.done).trials.length).toBe(4);
});

test("nonsense among the trials and the results counts for nothing", async () => {
  const prefix = freshPrefix();
  const child = await start(prefix);
  const { done, events, seen } = begin(prefix, { trials: 12, name: "hostile", settings: { ms: 100 } });
  await seen(({ kind }) => kind === "trial");
  const { streams, names, manager, kv } = await intruder(prefix);
  const store = await new kv.Kvm(streams).open(names.sweepBucket);
  const { id } = JSON.parse((await store.get("definitions.hostile"))?.string() ?? "{}");
  const good = { rung: 0, message: undefined, ms: 1, worker: "intruder", info: undefined, state: undefined };
  const results = {
    [`results.${id}.99_0`]: encodeReport({ ...good, trial: 99, value: -1 }),
    [`results.${id}.0_7`]: encodeReport({ ...good, trial: 0, rung: 7, value: -1 }),
    // The result of one trial under the name of another.
    [`results.${id}.0_1`]: encodeReport({ ...good, trial: 5, value: -1 }),
    [`results.${id}.x`]: encodeReport({ ...good, trial: 6, value: -1 }),
    [`results.${id}.0_2`]: new Uint8Array(1000).fill(0xdd),
    [`results.${id}.0_3`]: encode({ trial: 0, rung: 3, value: "much", ms: 1, worker: "x" }),
  };
  for (const [key, bytes] of Object.entries(results)) await store.put(key, bytes);
  // One that is there already is not taken twice.
  const known = events.find((event) => event.kind === "trial");
  const first = known?.kind === "trial" ? known.result.trial : 0;
  await store.put(`results.${id}.${first}_0`, encodeReport({ ...good, trial: first, value: -1 }));
  const jobs = [
    ...[new Uint8Array(), new Uint8Array(100_000).fill(0x81), Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff)],
    encode({
      id,
      name: "x",
      task: "parabola",
      trial: 0,
      rung: 0,
      seed: 0,
      attempts: 1,
      parameters: '{"x":{}}',
      shared: "{}",
    }),
    encode({
      id,
      name: "x",
      task: "toString",
      trial: 0,
      rung: 0,
      seed: 0,
      attempts: 1,
      parameters: "{}",
      shared: '{"chunks":1,"bytes":4}',
    }),
    // Files that are not there, and that would be too many.
    encode({
      id: "nobody",
      name: "x",
      task: "parabola",
      trial: 0,
      rung: 0,
      seed: 0,
      attempts: 1,
      parameters: "{}",
      shared: '{"chunks":1000000,"bytes":9000000000000}',
    }),
  ];
  for (const [index, bytes] of jobs.entries()) {
    expect(readJob(bytes)?.parameters.x).toBeUndefined();
    await streams.publish(names.trialsFor("parabola", "intruder", `${index}`), bytes);
  }
  const { trials, best } = await done;
  expect(trials.length).toBe(12);
  for (const { status, value, parameters, rungs } of trials) {
    expect([status, value]).toEqual(["done", ((parameters.x as number) - 1) ** 2 + 1]);
    expect(rungs[0]?.worker).toBe(child.name);
  }
  expect(best?.value).toBeGreaterThan(0);
  expect(events.filter(({ kind }) => kind === "rejected").length).toBeGreaterThanOrEqual(5);
  expect(child.exitCode).toBe(null);
  // What was no trial has been taken out.
  while ((await manager.streams.info(names.trialStream)).state.messages > 0) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});

test("a result that cannot be read, or was deleted, holds up nothing: its trial is run", async () => {
  const prefix = freshPrefix();
  const { streams, kv, names } = await intruder(prefix);
  const options = { name: "spoilt", trials: 4 };
  const { done, events, seen } = begin(prefix, options);
  await seen(({ kind }) => kind === "queue");
  const store = await new kv.Kvm(streams).open(names.sweepBucket);
  const { id } = JSON.parse((await store.get("definitions.spoilt"))?.string() ?? "{}");
  await store.put(`results.${id}.2_0`, new Uint8Array([1, 2, 3]));
  await start(prefix);
  const { trials } = await done;
  expect(trials.map(({ status }) => status)).toEqual(Array(4).fill("done"));
  expect(events.filter(({ kind }) => kind === "rejected").length).toBeGreaterThan(0);
  // Without a coordinator too, and by the next one; deleted in one way or another.
  await store.delete(`results.${id}.0_0`);
  await store.purge(`results.${id}.1_0`);
  await store.put(`results.${id}.3_0`, new Uint8Array([1, 2, 3]));
  const again = begin(prefix, { ...options, existing: "resume" });
  expect((await again.done).trials.map(({ status, value }) => [status, value])).toEqual(
    trials.map(({ value }) => ["done", value]),
  );
  expect(again.events.filter(({ kind }) => kind === "trial").length).toBe(3);
});

test("a worker writes over a result that cannot be read, where nobody else takes it away", async () => {
  const prefix = freshPrefix();
  const { streams, kv, names } = await intruder(prefix);
  const stop = new AbortController();
  const options = { name: "alone", trials: 3 };
  const { done, seen } = begin(prefix, { ...options, signal: stop.signal });
  await seen((event) => event.kind === "queue" && event.open === 3);
  const store = await new kv.Kvm(streams).open(names.sweepBucket);
  const { id } = JSON.parse((await store.get("definitions.alone"))?.string() ?? "{}");
  // As a coordinator that is killed, it leaves its trials where they are.
  const trials = [];
  const consumer = await streams.consumers.get(names.trialStream, names.trialConsumer("parabola"));
  for (let i = 0; i < 3; i++) trials.push((await consumer.next({ expires: 5000 }))?.data as Uint8Array);
  stop.abort();
  await expect(done).rejects.toThrow();
  await store.put(`results.${id}.1_0`, new Uint8Array([1, 2, 3]));
  for (const [index, trial] of trials.entries())
    await streams.publish(names.trialsFor("parabola", id, `${index}_0`), trial);
  await start(prefix);
  for await (const { value } of await store.watch({ key: `results.${id}.1_0` })) if (readReport(value)) break;
});

test("a worker with several tasks does not wait for empty queues while others have trials", async () => {
  const prefix = freshPrefix();
  // Both queues are there.
  const workers = await start(prefix);
  await begin(prefix, { trials: 1 }).done;
  workers.kill("SIGKILL");
  const { done, seen } = begin(prefix, { run: "other", trials: 20 });
  await seen((event) => event.kind === "queue" && event.open === 20);
  const client = await intruder(prefix);
  const { streams, names } = client;
  const waits: string[] = [];
  const consumers = {
    async get(stream: string, name: string) {
      const consumer = await streams.consumers.get(stream, name);
      return {
        info: () => consumer.info(),
        next(options: { expires: number }) {
          waits.push(name);
          return consumer.next(options);
        },
      };
    },
  };
  let ended = 0;
  const run = () => {
    // Of the last, the worker does not yet know that it is the last.
    if (++ended === 20) expect(waits).toEqual(Array(20).fill(names.trialConsumer("other")));
    return 1;
  };
  const served = serveTrials(
    { ...client, streams: Object.create(streams, { consumers: { value: consumers } }) } as never,
    {
      ...{
        name: "w",
        tasks: new Map([
          ["parabola", run],
          ["other", run],
        ]),
        parallel: 1,
        most: 2 ** 20,
      },
      onEvent: () => {},
    },
  );
  const { trials } = await done;
  await served.close();
  expect(trials.map(({ status, message }) => message ?? status)).toEqual(Array(20).fill("done"));
});

test("a sweep tells how many workers do its trials, and why the connected ones do not", async () => {
  const prefix = freshPrefix();
  const { connection, names } = await intruder(prefix);
  const { events } = begin(prefix, { trials: 2 });
  const own = { fingerprint: "f", engine: "x", version: "9.8.7", threads: 1, tasks: [], done: 0, leaving: false };
  const heard = async (protocol: number, trials: string[], holds: (event: SweepEvent) => boolean) => {
    const bytes = encodeAnnouncement({ ...own, worker: "ghost", protocol, trials });
    const before = events.length;
    await until("it is told", () => {
      connection.publish(names.announcement("ghost"), bytes);
      return events.slice(before).some(holds);
    });
  };
  const says = (what: RegExp) => (event: SweepEvent) =>
    event.kind === "queue" && event.workers === 0 && what.test(event.absence ?? "");
  await heard(
    PROTOCOL + 1,
    ["parabola"],
    says(/^this version speaks protocol \d+, and symplectic-adjoint 9\.8\.7 speaks/),
  );
  await heard(PROTOCOL, ["train", "other"], says(/^the connected workers run train, other, not parabola$/));
  await heard(PROTOCOL, [], says(/^the connected workers run no trials$/));
  const counts = (event: SweepEvent) =>
    event.kind === "queue" && event.workers === 1 && event.absence === undefined && event.retried === 0;
  await heard(PROTOCOL, ["train", "parabola"], counts);
});

test("states that coordinators have left behind are dropped, and no others", async () => {
  const prefix = freshPrefix();
  const { streams, kv, names, manager } = await intruder(prefix);
  await start(prefix);
  const stop = new AbortController();
  const options = { name: "left", trials: 9, halving: { least: 1, most: 9 }, settings: { ms: 5 } };
  const first = begin(prefix, {
    ...{ ...options, signal: stop.signal },
    onEvent: (event) => void (event.kind === "trial" && event.status.ended === 11 && stop.abort()),
  });
  await expect(first.done).rejects.toThrow();
  const store = await new kv.Kvm(streams).open(names.sweepBucket);
  const { id } = JSON.parse((await store.get("definitions.left"))?.string() ?? "{}");
  for (const job of ["0_0", "5_0"]) await store.put(`states.${id}.${job}.left.0`, new Uint8Array(10));
  const { best } = await begin(prefix, { ...options, existing: "resume" }).done;
  expect(best?.info).toMatchObject({ before: [1, 3] });
  const subjects_filter = names.sweepKey("states.>");
  const { state } = await manager.streams.info(names.sweepBucketStream, { subjects_filter });
  expect(Object.keys(state.subjects ?? {})).toEqual([expect.stringContaining(`.${best?.trial}_2.`)]);
});

test("where the server has no room for a result, the sweep ends and says what helps", async () => {
  const [small] = (await startServers({ storage: "max_mem: 1M, max_file: 1M" })) as [Server];
  cleanups.push(() => small.remove());
  const prefix = freshPrefix();
  const client = await connectClient({ servers: small.url, prefix, name: "w" });
  const run = () => ({ value: 1, state: new Uint8Array(400_000) });
  const served = serveTrials(client, {
    ...{ name: "w", tasks: new Map([["parabola", run]]), parallel: 1, most: 2 ** 20 },
    onEvent: () => {},
  });
  cleanups.push(async () => {
    await served.close();
    await client.connection.close();
  });
  const { done } = begin(prefix, { servers: small.url, name: "full", trials: 4, halving: { least: 1, most: 3 } });
  await expect(done).rejects.toMatchObject({
    ...{ code: "CONNECTION", message: expect.stringMatching(/give JetStream more room there: max_mem and max_file/) },
  });
  // Trials are put in again when it goes on.
  expect((await client.manager.streams.info(client.names.trialStream)).state.messages).toBe(0);
});

test("with the permissions of the guide a worker can do trials, and nothing else", async () => {
  const own = { user: "worker", pass: "change-me", inboxPrefix: "_INBOX_symplectic" };
  const servers = guarded.url;
  await worker([servers], { prefix: "symplectic", client: own }, "trial-worker.ts");
  const { best } = await begin("symplectic", {
    ...{ servers, client: { user: "coordinator", pass: "change-me-too" }, name: "guarded" },
    ...{ trials: 9, halving: { least: 1, most: 9 }, files: { data: new Uint8Array(1_500_000) } },
  }).done;
  expect(best?.info).toMatchObject({ before: [1, 3], file: 1_500_000 });
  const client = await connectClient({ servers, prefix: "symplectic", name: "thief", client: own });
  cleanups.push(() => client.connection.close());
  const { manager, names, streams } = client;
  const forbidden = {
    "deleting trials": () => manager.streams.delete(names.trialStream),
    "purging results": () => manager.streams.purge(names.sweepBucketStream),
    "putting trials": () => streams.publish(names.trialsFor("parabola", "x", "0_0"), new Uint8Array(1)),
    "changing files": () => streams.publish(names.sweepKey("shared.x.0"), new Uint8Array(1)),
    "changing a sweep": () => streams.publish(names.sweepKey("definitions.guarded"), new Uint8Array(1)),
  };
  for (const [what, attempt] of Object.entries(forbidden)) {
    await expect(attempt(), what).rejects.toThrow(/permissions violation/i);
  }
});
