// The queue alone: tasks that mean nothing, over a real nats-server, with workers that die and stall.
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeAnnouncement, PROTOCOL } from "../../ts/cluster/messages.js";
import { fetchValue, putValue } from "../../ts/cluster/store.js";
import { buildWorker, bytesOf, cleanups, coordinate, worker as start, task, until } from "./processes.js";
import { cuttable } from "./proxy.mjs";
import { type Server, startServers } from "./server.mjs";

let server: Server;
beforeAll(async () => {
  buildWorker();
  [server] = (await startServers()) as [Server];
});
afterAll(() => server.remove());

const worker = (options: object) => start([server.url], options);

test("each task is done, with values and answers of any size", async () => {
  const { coordinator, prefix } = await coordinate([server.url]);
  await worker({ prefix });
  await worker({ prefix, threads: 2 });
  await until("two workers", () => coordinator.status.workers.length === 2);
  const value = coordinator.keep(new Uint8Array(3_500_000));
  const small = coordinator.keep(new Uint8Array(10));
  const values = [small, value];
  const all = await Promise.all(
    Array.from({ length: 40 }, (_, number) => coordinator.submit(task({ number }, { values }))),
  );
  expect(all.map(({ value }) => value.number)).toEqual(Array.from({ length: 40 }, (_, i) => i));
  expect(all.every(({ value }) => value.sum === 3_500_010)).toBe(true);
  // An answer and a body above the limit of a message.
  const large = await coordinator.submit({
    ...task({ ask: "bytes", number: 5_000_000 }),
    most: 5_000_000,
    read: (bytes: Uint8Array) => bytes.length,
  } as never);
  expect(large.value).toBe(5_000_000);
  const { value: padded } = await coordinator.submit(task({ number: 1, padding: "x".repeat(2_500_000) }));
  expect(padded).toMatchObject({ number: 1, sum: 0 });
  expect(coordinator.status).toMatchObject({ inFlight: 0, done: 42, rejected: 0 });
});

test("a task that fits a message, but not beside its headers, is done", async () => {
  const { coordinator, prefix } = await coordinate([server.url], { stallMs: 60_000 });
  await worker({ prefix });
  for (let length = 2 ** 20 - 400; length <= 2 ** 20; length += 40) {
    const { value } = await coordinator.submit(task({ number: length }, { body: () => padded(length) }));
    expect(value.number).toBe(length);
  }
  function padded(length: number): Uint8Array {
    const empty = bytesOf({ number: length, padding: "" }).length;
    return bytesOf({ number: length, padding: "x".repeat(length - empty) });
  }
});

test("a server that takes only tiny messages is refused, and one of small ones works", async () => {
  const [tiny] = (await startServers({ config: "max_payload: 4096" })) as [Server];
  cleanups.push(() => tiny.remove());
  await expect(coordinate([tiny.url])).rejects.toMatchObject({
    ...{ code: "CONNECTION", message: expect.stringContaining("max_payload of 8192 bytes or more, given one of 4096") },
  });
  const [small] = (await startServers({ config: "max_payload: 8192" })) as [Server];
  cleanups.push(() => small.remove());
  const { coordinator, prefix } = await coordinate([small.url]);
  await start([small.url], { prefix });
  const values = [coordinator.keep(new Uint8Array(100_000))];
  const { value } = await coordinator.submit(task({ number: 1, padding: "x".repeat(50_000) }, { values }));
  expect(value.sum).toBe(100_000);
  const large = {
    ...task({ ask: "bytes", number: 100_000 }),
    most: 100_000,
    read: (bytes: Uint8Array) => bytes.length,
  };
  expect((await coordinator.submit(large as never)).value).toBe(100_000);
});

test("a server without room for values or tasks, or without JetStream, is said to be so", async () => {
  const [narrow] = (await startServers({ storage: "max_mem: 2M, max_file: 2M" })) as [Server];
  cleanups.push(() => narrow.remove());
  const { coordinator, prefix } = await coordinate([narrow.url], { stallMs: 100 });
  await start([narrow.url], { prefix });
  const full = {
    code: "CONNECTION",
    message: expect.stringMatching(/insufficient resources; give JetStream more room/),
  };
  const values = [coordinator.keep(new Uint8Array(4_000_000))];
  await expect(coordinator.submit(task({ number: 1 }, { values }))).rejects.toMatchObject(full);
  await expect(coordinator.submit(task({ padding: "x".repeat(4_000_000) }))).rejects.toMatchObject(full);
  expect(coordinator.status.retries).toBe(0);
  const [plain] = (await startServers({ storage: null })) as [Server];
  cleanups.push(() => plain.remove());
  await expect(coordinate([plain.url])).rejects.toThrow(/is JetStream enabled there/);
  const [one] = (await startServers()) as [Server];
  cleanups.push(() => one.remove());
  await expect(coordinate([one.url], { replicas: 3 })).rejects.toThrow(/^(?!.*is JetStream enabled).*replicas/);
});

test("parts of a value go a few at a time, and only those that were lost go again", async () => {
  const parts = new Map<string, Uint8Array>();
  const asked: string[] = [];
  const lost = new Set(["put v.3", "get v.5"]);
  let [under, most] = [0, 0];
  const ask = async <T>(what: string, answer: () => T) => {
    asked.push(what);
    most = Math.max(most, ++under);
    // All that is asked at once is under way by the next turn.
    await new Promise((resolve) => setImmediate(resolve));
    under--;
    if (lost.delete(what)) throw new Error("timeout");
    return answer();
  };
  const store = {
    put: (key: string, bytes: Uint8Array) => ask(`put ${key}`, () => parts.set(key, bytes)),
    get: (key: string) => ask(`get ${key}`, () => ({ operation: "PUT", value: parts.get(key) })),
  };
  const open = async () => store;
  const client = {
    part: 10,
    connected: (request: unknown) => request,
    kv: {
      Kvm: class {
        open = open;
      },
    },
  } as never;
  const bytes = Uint8Array.from({ length: 95 }, (_, i) => i);
  const place = await putValue(client, "bucket", "v", bytes);
  expect(place).toEqual({ key: "v", chunks: 10, bytes: 95 });
  expect(await fetchValue(client, "bucket", place, 95)).toEqual(bytes);
  expect(most).toBeLessThanOrEqual(4);
  const counts = (kind: string) => asked.filter((what) => what.startsWith(kind)).length;
  expect([counts("put"), counts("get"), counts("put v.3"), counts("get v.5")]).toEqual([11, 11, 2, 2]);
});

test("a worker killed or stopped in the middle: another does its tasks, and each counts once", async () => {
  const { coordinator, prefix, events } = await coordinate([server.url]);
  const victims = [await worker({ prefix }), await worker({ prefix })] as const;
  await until("two workers", () => coordinator.status.workers.length === 2);
  let answers = 0;
  const all = Array.from({ length: 30 }, (_, number) =>
    coordinator.submit(task({ number, ms: 100 })).then((done) => {
      answers++;
      return done;
    }),
  );
  await until("some are done", () => answers > 2);
  victims[0].kill("SIGKILL");
  victims[1].kill("SIGSTOP");
  await worker({ prefix });
  const done = await Promise.all(all);
  expect(done.map(({ value }) => value.number)).toEqual(Array.from({ length: 30 }, (_, i) => i));
  await until("both are missed", () => events.filter(({ kind }) => kind === "lost").length === 2);
  victims[1].kill("SIGCONT");
  // It comes back, and what it has to say comes too late.
  await until("it is back", () => coordinator.status.workers.length === 2);
  expect(coordinator.status).toMatchObject({ done: 30, inFlight: 0 });
});

test("a worker cut off from the network: another does its tasks; when the network is whole again, it works on", async () => {
  const { coordinator, prefix, events } = await coordinate([server.url]);
  const network = await cuttable(server.url);
  cleanups.push(() => network.close());
  const { name } = await start([network.url], { prefix });
  await until("a worker", () => coordinator.status.workers.length === 1);
  let answers = 0;
  const all = Array.from({ length: 12 }, (_, number) =>
    coordinator.submit(task({ number, ms: 50 })).then((done) => {
      answers++;
      return done;
    }),
  );
  await until("some are done", () => answers > 2);
  network.cut();
  await until("it is missed", () => events.some(({ kind }) => kind === "lost"));
  const other = await worker({ prefix });
  const done = await Promise.all(all);
  expect(done.map(({ value }) => value.number)).toEqual(Array.from({ length: 12 }, (_, i) => i));
  network.heal();
  other.kill("SIGKILL");
  await until("it is back", () => coordinator.status.workers.some((known) => known.name === name));
  expect((await coordinator.submit(task({ number: 7 }))).value.number).toBe(7);
  expect(coordinator.status).toMatchObject({ done: 13, inFlight: 0, rejected: 0 });
});

test("coordinators with the same workers may have other stall timeouts, and none that a server cannot keep", async () => {
  const { prefix } = await coordinate([server.url], { stallMs: 1000 });
  for (const stallMs of [5000, 1234.56789, 300]) {
    const { coordinator, client } = await coordinate([server.url], { prefix, stallMs });
    const { names, manager } = client;
    const { config } = await manager.consumers.info(names.stream, names.consumer("f1"));
    expect(config.ack_wait).toBe(Math.round(1e6 * stallMs));
    if (stallMs === 300) await worker({ prefix });
    if (stallMs === 300) expect((await coordinator.submit(task({ number: 3 }))).value.number).toBe(3);
  }
});

test("what a slow worker has, an idle one does as well, and it counts once", async () => {
  // None that would be given away for its silence.
  const { coordinator, prefix } = await coordinate([server.url], { stallMs: 3_600_000 });
  const slow = await worker({ prefix });
  await until("a worker", () => coordinator.status.workers.length === 1);
  const begun = new Promise<void>((resolve) => {
    slow.stdout?.on("data", (text) => String(text).includes("begun 7") && resolve());
  });
  const done = coordinator.submit(task({ number: 7, ms: 100, keep: "a" }));
  await begun;
  slow.kill("SIGSTOP");
  const quick = await worker({ prefix });
  expect((await done).worker).toBe(quick.name);
  slow.kill("SIGCONT");
  await until("its answer comes too late", () => coordinator.status.duplicates > 0);
  expect(coordinator.status).toMatchObject({ done: 1, rejected: 0 });
});

test("a worker that leaves ends what it has begun", async () => {
  const { coordinator, prefix, events } = await coordinate([server.url], { stallMs: 60_000 });
  const first = await worker({ prefix });
  await until("a worker", () => coordinator.status.workers.length === 1);
  const begun = new Promise<void>((resolve) => {
    first.stdout?.on("data", (text) => String(text).includes("begun 1") && resolve());
  });
  const done = coordinator.submit(task({ number: 1, ms: 1000 }));
  await begun;
  first.kill("SIGTERM");
  expect((await done).value.number).toBe(1);
  await until("it has left", () => events.some(({ kind }) => kind === "left"));
});

test("the server is killed and comes back with nothing in memory: work goes on", async () => {
  const { coordinator, prefix, events } = await coordinate([server.url]);
  await worker({ prefix });
  await until("a worker", () => coordinator.status.workers.length === 1);
  const value = coordinator.keep(new Uint8Array(1_500_000));
  let answers = 0;
  const all = Array.from({ length: 20 }, (_, number) =>
    coordinator.submit(task({ number, ms: 50 }, { values: [value] })).then((done) => {
      answers++;
      return done;
    }),
  );
  await until("some are done", () => answers > 2);
  await server.restart();
  const done = await Promise.all(all);
  expect(done.map(({ value }) => value.number)).toEqual(Array.from({ length: 20 }, (_, i) => i));
  expect(done.every(({ value }) => value.sum === 1_500_000)).toBe(true);
  expect(events.map(({ kind }) => kind)).toContain("disconnected");
  expect(coordinator.status.done).toBe(20);
});

test("a task follows its worker, and goes to another if that has forgotten or is gone", async () => {
  const { coordinator, prefix } = await coordinate([server.url]);
  const first = await worker({ prefix });
  await until("a worker", () => coordinator.status.workers.length === 1);
  const { worker: who } = await coordinator.submit(task({ keep: "a" }));
  expect(who).toBe(first.name);
  const follow = (from: string) =>
    coordinator.submit(task({ number: 1 }, { follows: { worker: who, body: () => bytesOf({ from }) } }));
  expect((await follow("a")).value.again).toBe(true);
  expect((await follow("unknown")).value.again).toBe(false);
  first.kill("SIGKILL");
  await worker({ prefix });
  expect((await follow("a")).value.again).toBe(false);
});

test("a failure of one worker is tried elsewhere, and ends after a while", async () => {
  const { coordinator, prefix } = await coordinate([server.url]);
  await worker({ prefix });
  await until("a worker", () => coordinator.status.workers.length === 1);
  const failed = coordinator.submit(task({ error: "no luck" }));
  await expect(failed).rejects.toMatchObject({ code: "WORKER", message: expect.stringContaining("no luck") });
});

test("shards do not wait in silence for workers of another version, nor for those that take none", async () => {
  const own = { fingerprint: "f1", engine: "x", version: "9.8.7", threads: 1, tasks: [], done: 0, leaving: false };
  const announced = async (protocol: number) => {
    const { coordinator, prefix, events, client } = await coordinate([server.url], { stallMs: 60_000 });
    const { connection, names } = client;
    const bytes = encodeAnnouncement({ ...own, worker: "ghost", protocol, trials: [] });
    const announcing = setInterval(() => connection.publish(names.announcement("ghost"), bytes), 200);
    cleanups.push(() => clearInterval(announcing));
    const waiting = coordinator.submit(task({ number: 3 }));
    const reasons = () => events.flatMap(({ kind, reason }) => (kind === "waiting" ? [reason] : []));
    await until("it is told", () => reasons().length > 0);
    const pid = (await worker({ prefix })).pid;
    expect((await waiting).value.process).toBe(pid);
    return [reasons(), events.flatMap(({ kind, reason }) => (kind === "different" ? [reason] : []))];
  };
  const [other, idle] = await Promise.all([announced(PROTOCOL + 1), announced(PROTOCOL)]);
  const version = `symplectic-adjoint 9.8.7 speaks protocol ${PROTOCOL + 1}; install the same version everywhere`;
  expect(other).toEqual([
    [`1 worker is connected, but not with protocol ${PROTOCOL} of this version: ${version}`],
    [version],
  ]);
  expect(idle).toEqual([[expect.stringMatching(/^1 worker is idle and does not take shards from the queue/)], []]);
});

test("workers of another arithmetic get nothing, unless any will do", async () => {
  const { coordinator, prefix, events } = await coordinate([server.url]);
  await worker({ prefix, fingerprint: "f2" });
  await until("it is known", () => coordinator.status.different === 1);
  expect(events).toMatchObject([{ kind: "different", fingerprint: "f2" }]);
  const done = coordinator.submit(task({ number: 3 }));
  const waiting = () => events.filter(({ kind }) => kind === "waiting");
  await until("it is told", () => waiting().length > 0);
  const reason = expect.stringMatching(
    /^1 worker is connected, but not with the same arithmetic .*; theirs: none. To agree, set SYMPLECTIC_ADJOINT_/,
  );
  expect(waiting()).toEqual([{ kind: "waiting", reason }]);
  const { pid } = await worker({ prefix });
  expect((await done).value.process).toBe(pid);
  const any = await coordinate([server.url], { group: "any" });
  await worker({ prefix: any.prefix, fingerprint: "f2" });
  expect((await any.coordinator.submit(task({ number: 3 }))).value.number).toBe(3);
});

test("two servers, with the queue on both: a coordinator on one, workers on the other, and one server goes and comes", async () => {
  const pair = (await startServers({ count: 2 })) as [Server, Server];
  try {
    const urls = pair.map(({ url }) => url);
    // JetStream needs a moment to agree on a leader.
    const { coordinator, prefix } = await coordinate([pair[0].url], {
      replicas: 2,
      own: { ignoreClusterUpdates: true },
    });
    await start([pair[1].url], { prefix, client: { reconnectTimeWait: 100, ignoreClusterUpdates: true } });
    await start(urls, { prefix });
    await until("two workers", () => coordinator.status.workers.length === 2);
    const value = coordinator.keep(new Uint8Array(1_500_000));
    let answers = 0;
    const all = Array.from({ length: 40 }, (_, number) =>
      coordinator.submit(task({ number, ms: 50 }, { values: [value] })).then((done) => {
        answers++;
        return done;
      }),
    );
    await until("some are done", () => answers > 4);
    await pair[1].restart();
    const done = await Promise.all(all);
    expect(done.map(({ value }) => value.number)).toEqual(Array.from({ length: 40 }, (_, i) => i));
    expect(done.every(({ value }) => value.sum === 1_500_000)).toBe(true);
  } finally {
    for (const one of pair) await one.remove();
  }
});
