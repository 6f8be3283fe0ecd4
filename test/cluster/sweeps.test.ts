// Sweeps as they lie on a server: listed, read and removed, by the functions and by the command.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listSweeps, readSweep, removeSweep } from "symplectic-adjoint/cluster";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectClient } from "../../ts/cluster/client.js";
import { type SweepOptions, sweep } from "../../ts/cluster/sweep.js";
import type { SweepEvent } from "../../ts/cluster/sweep-result.js";
import { start as command } from "../command.mjs";
import { buildWorker, cleanups, freshPrefix, until, worker } from "./processes.js";
import { type Server, startServers } from "./server.mjs";

let server: Server;
const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-sweeps-"));
beforeAll(async () => {
  buildWorker("trial-worker.ts");
  [server] = (await startServers()) as [Server];
});
afterAll(async () => {
  await server.remove();
  rmSync(folder, { recursive: true, force: true });
});

const start = (prefix: string) => worker([server.url], { prefix }, "trial-worker.ts");
const halving = { least: 1, most: 9 };

function begin(prefix: string, options: Partial<SweepOptions>) {
  const events: SweepEvent[] = [];
  const done = sweep({
    ...{ run: "parabola", space: { x: { min: -3, max: 3 } }, trials: 9, halving },
    ...{ servers: server.url, prefix, stallTimeout: 1, onEvent: (event) => void events.push(event) },
    ...options,
  });
  done.catch(() => {});
  const waits = (count: number) =>
    until("trials wait", () => events.some((event) => event.kind === "queue" && event.open === count));
  return { events, done, waits };
}

test("sweeps are listed and read as they are, and removed with all that they have", async () => {
  const prefix = freshPrefix();
  const at = { servers: server.url, prefix };
  // Nobody has made anything there.
  expect(await listSweeps(at)).toEqual([]);
  await expect(readSweep("one", at)).rejects.toMatchObject({ code: "OPTION", argument: "name" });
  const before = Date.now();
  const child = await start(prefix);
  const space = { act: ["", "throw"], x: [1, 2, 3] };
  const one = await begin(prefix, { name: "one", space, sampler: "grid", trials: undefined }).done;
  child.kill("SIGKILL");
  // As it might leave one that it has not acknowledged: there is a result.
  const { connection, manager, names, streams, kv } = await connectClient({ ...at, name: "test" });
  cleanups.push(() => connection.close());
  const store = await new kv.Kvm(streams).open(names.sweepBucket);
  const { id } = JSON.parse((await store.get("definitions.one"))?.string() ?? "{}");
  await streams.publish(names.trialsFor("parabola", id, "0_0"), new Uint8Array()).catch(() => {});
  const two = begin(prefix, { name: "two", direction: "maximize" });
  await two.waits(9);
  const listed = await listSweeps(at);
  expect(listed).toEqual([
    // Six trials, two and one: but three failed.
    expect.objectContaining({ name: "one", task: "parabola", trials: 6, ended: 9, total: 9, failed: 3, waiting: 0 }),
    expect.objectContaining({ name: "two", trials: 9, ended: 0, total: 13, failed: 0, waiting: 9, last: undefined }),
  ]);
  for (const { begun, last = begun } of listed) {
    expect(begun.getTime()).toBeGreaterThan(before - 60_000);
    expect(last.getTime()).toBeGreaterThanOrEqual(begun.getTime());
  }
  // All that its own process had, without its options.
  expect(await readSweep("one", at)).toEqual(one);
  const open = await readSweep("two", at);
  expect([open.best, open.budgets]).toEqual([undefined, [1, 3, 9]]);
  expect(open.trials.map(({ status }) => status)).toEqual(Array(9).fill("open"));
  await expect(readSweep("three", at)).rejects.toMatchObject({
    ...{ code: "OPTION", argument: "name", expected: "one of the sweeps one, two" },
  });

  expect(await removeSweep("one", at)).toEqual({ results: 9, states: 1 });
  await expect(removeSweep("one", at)).rejects.toMatchObject({ argument: "name" });
  await expect(removeSweep("two", at)).rejects.toMatchObject({
    argument: "force",
    expected: expect.stringContaining("9"),
  });
  expect(await removeSweep("two", { ...at, force: true })).toEqual({ results: 0, states: 0 });
  await expect(two.done).rejects.toMatchObject({ code: "CONNECTION", message: "the sweep two was removed" });
  expect(await listSweeps(at)).toEqual([]);
  expect((await manager.streams.info(names.trialStream)).state.messages).toBe(0);
  // The markers of two names.
  expect((await manager.streams.info(names.sweepBucketStream)).state.messages).toBe(2);
  // The names are free again.
  await start(prefix);
  expect((await begin(prefix, { name: "two", existing: "resume", trials: 3 }).done).trials.length).toBe(3);
});

test("what is no definition is no sweep, and holds nothing up", async () => {
  const prefix = freshPrefix();
  const at = { servers: server.url, prefix };
  await start(prefix);
  await begin(prefix, { name: "good", trials: 3 }).done;
  const { streams, kv, names, connection } = await connectClient({ ...at, name: "test" });
  cleanups.push(() => connection.close());
  const store = await new kv.Kvm(streams).open(names.sweepBucket);
  const { definition } = JSON.parse((await store.get("definitions.good"))?.string() ?? "{}");
  const changed = (change: object) =>
    JSON.stringify({ id: "x", shared: {}, definition: JSON.stringify({ ...JSON.parse(definition), ...change }) });
  const wrong = [
    ...["", "{", "{}", "null", '{"id":"x","definition":"{}"}', '{"id":"x","definition":"null"}'],
    ...[
      { run: null },
      { run: "a.b" },
      { trials: 1e9 },
      { trials: "9" },
      { sampler: "toString" },
      { space: {} },
      { space: [7] },
    ].map(changed),
    ...[{ halving: null }, { halving: { budgets: 7 } }].map(changed),
  ];
  for (const [index, text] of wrong.entries()) await store.put(`definitions.wrong${index}`, text);
  await store.put("results.x.0_0", new Uint8Array([1, 2, 3]));
  expect((await listSweeps(at)).map(({ name }) => name)).toEqual(["good"]);
  for (const [index] of wrong.entries()) {
    await expect(readSweep(`wrong${index}`, at)).rejects.toMatchObject({ argument: "name" });
  }
});

test("the command lists sweeps, shows one, and removes one", async () => {
  const prefix = freshPrefix();
  const child = await start(prefix);
  await begin(prefix, { name: "chaos", trials: 3 }).done;
  child.kill("SIGKILL");
  await begin(prefix, { name: "pendulum" }).waits(9);
  const run = async (...args: string[]) => {
    const all = ["sweeps", ...args, "--servers", server.url, "--prefix", prefix];
    const { code, out, err } = await command(all, { cwd: folder }).done;
    return [code, out, err] as const;
  };
  const [code, out] = await run();
  expect([code, out]).toEqual([
    0,
    expect.stringMatching(
      /^name +trials +runs +failed +waiting +begun +last result\nchaos +3 +5 of 5 +0 +0 +\d{4}-\d\d-\d\d \d\d:\d\d +\d+ (s|min) ago\npendulum +9 +0 of 13 +0 +9 .* none\n2 sweeps; each is kept for 30 days\n$/,
    ),
  ]);
  const [shown, trials] = await run("chaos", "--table", "trials.csv", "--report", "sweep.html", "--out", "best.bin");
  expect([shown, trials.split("\n").length]).toEqual([0, 5]);
  expect(readFileSync(join(folder, "trials.csv"), "utf8").trim().split("\n").length).toBe(4);
  expect(readFileSync(join(folder, "best.bin"), "utf8")).toBe("[1,3,9]");
  const result = JSON.parse((await run("chaos", "--json"))[1]);
  expect(result.trials.length).toBe(3);
  expect(JSON.parse((await run("--json"))[1])).toMatchObject([{ name: "chaos" }, { name: "pendulum", waiting: 9 }]);
  expect(await run("--remove", "pendulum")).toEqual([
    ...[2, ""],
    "error: pendulum has 9 trials that wait or run: --force removes it all the same\n",
  ]);
  expect(await run("--remove", "x")).toEqual([
    ...[2, ""],
    "error: no sweep named x on these servers; there are chaos, pendulum\n",
  ]);
  expect(await run("--remove", "chaos")).toEqual([0, "removed chaos: 5 results, 1 model\n", ""]);
  expect(await run("chaos")).toEqual([2, "", "error: no sweep named chaos on these servers; there is pendulum\n"]);
  const mistakes: [string[], RegExp][] = [
    [["--table", "x.csv"], /--table: expected the name of a sweep/],
    [["pendulum", "--remove", "pendulum"], /--remove: cannot be combined/],
    [["--force"], /--force: expected --remove/],
    [["--remove", "a b"], /expected the name of a sweep|no sweep named a b/],
    [["--password", "x"], /--password: expected --user/],
    [["--user", "x", "--creds", "no.creds"], /--creds: no.creds: no such file/],
  ];
  writeFileSync(join(folder, "empty.pem"), "nothing\n");
  for (const option of ["--creds", "--tls-ca"]) {
    mistakes.push([[option, "empty.pem"], new RegExp(`${option}: empty.pem: expected a file with a line BEGIN`)]);
  }
  for (const [args, message] of mistakes) {
    const [status, , err] = await run(...args);
    expect([status, err], args.join(" ")).toEqual([2, expect.stringMatching(message)]);
  }
});
