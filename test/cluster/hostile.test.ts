// Whoever may write into a cluster's subjects: garbage for workers, false answers for coordinators, and what permissions leave to do.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Assembly } from "../../ts/cluster/assembly.js";
import { type Client, connectClient } from "../../ts/cluster/client.js";
import { decode, encode } from "../../ts/cluster/codec.js";
import {
  encodeAnnouncement,
  encodeAnswer,
  encodeFailure,
  encodeTask,
  PROTOCOL,
  readTask,
} from "../../ts/cluster/messages.js";
import { pack, unpack } from "../../ts/cluster/pack.js";
import { buildWorker, bytesOf, cleanups, coordinate, worker as start, task, until } from "./processes.js";
import { type Server, startServers } from "./server.mjs";

let server: Server;
let guarded: Server;
const guide = readFileSync(new URL("../../docs/cluster.md", import.meta.url), "utf8");
/** The configuration that the guide shows. */
const permissions = /```nginx\n(authorization[\s\S]*?)```/.exec(guide)?.[1] as string;

beforeAll(async () => {
  buildWorker();
  [server] = (await startServers()) as [Server];
  [guarded] = (await startServers({ config: permissions })) as [Server];
});
afterAll(async () => {
  await server.remove();
  await guarded.remove();
});

async function intruder(prefix: string): Promise<Client> {
  const client = await connectClient({ servers: server.url, prefix, name: "intruder" });
  cleanups.push(() => client.connection.close());
  return client;
}

/** Bytes that claim to be much. */
const CLAIMS = {
  "an array of 2^32 - 1": Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff),
  "a map of 2^32 - 1": Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff),
  "2^32 - 1 bytes": Uint8Array.of(0xc6, 0xff, 0xff, 0xff, 0xff),
  "an extension of 2^32 - 1": Uint8Array.of(0xc9, 0xff, 0xff, 0xff, 0xff, 1),
  "text of 2^32 - 1": Uint8Array.of(0xdb, 0xff, 0xff, 0xff, 0xff),
  "maps in maps": new Uint8Array(1_000_000).fill(0x81),
  "arrays in arrays": new Uint8Array(1_000_000).fill(0x91),
  "a name with effects": encode({ ["__proto__"]: 1, id: "a" }),
  nothing: new Uint8Array(),
};

test("what is no message is read as none, and allocates nothing that it only claims", () => {
  global.gc?.();
  const before = process.memoryUsage();
  for (const [name, bytes] of Object.entries(CLAIMS)) {
    if (name !== "a name with effects") expect(decode(bytes), name).toBeUndefined();
    expect(readTask(bytes), name).toBeUndefined();
  }
  const after = process.memoryUsage();
  expect(after.rss - before.rss).toBeLessThan(2 ** 29);
  expect(({} as { id?: unknown }).id).toBeUndefined();
});

/** Packed data of which only the JSON is given. */
function packed(json: string, more = 0): Uint8Array {
  const text = new TextEncoder().encode(json);
  const bytes = new Uint8Array(8 * Math.ceil((4 + text.length) / 8) + more);
  new DataView(bytes.buffer).setUint32(0, text.length, true);
  bytes.set(text, 4);
  return bytes;
}

test("packed data comes back as it was, and without a prototype of its own", () => {
  const data = {
    a: [1, -0, Number.NaN, -Infinity, null, "x"],
    b: { c: Float64Array.of(1, 2), d: [new Float32Array(3), Uint8Array.of(1, 2, 3), Uint32Array.of(4)] },
  };
  expect(unpack(pack(data))).toEqual(data);
  // In the middle of a message, where numbers are not aligned, and in memory that threads share.
  const bytes = pack(data);
  const message = new Uint8Array(bytes.length + 20);
  message.set(bytes, 3);
  expect(unpack(message.subarray(3, 3 + bytes.length))).toEqual(data);
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  expect(unpack(shared)).toEqual(data);
  expect(Object.assign({}, unpack(packed('{"__proto__":{"batch":1},"a":2}')) as object)).toEqual({ a: 2 });
});

test("packed data that is damaged or claims too much throws, and allocates nothing", () => {
  const places = ["7", "[2]", "[4,0,0]", "[-1,0,0]", '["at",0,0]', "[2,0,5]", "[2,2,1]", "[3,8,2]", "[3,-8,1]"];
  const arrays = [...places, "[0,0,null]", "[0,1e300,1]", "[0,0,1e15]", "[2,0.5,1]"].map(
    (place) => `{"$array":${place}}`,
  );
  const deep = `${'{"a":'.repeat(5000)}1${"}".repeat(5000)}`;
  for (const json of ["{", deep, ...arrays]) expect(() => unpack(packed(json, 16)), json.slice(0, 40)).toThrow(Error);
  // One inside another: a sum in place would change both.
  const overlapping = '[{"$array":[0,0,16]},{"$array":[0,8,8]}]';
  expect(() => unpack(packed(overlapping, 16))).toThrow("missing");
  const whole = pack({ a: new Float64Array(8) });
  for (let length = 0; length < whole.length; length++) expect(() => unpack(whole.slice(0, length))).toThrow(Error);
});

test("partial answers keep no more than their bytes, and cannot be without", () => {
  const assembly = new Assembly();
  const buffer = () => new Uint8Array(1_000_000);
  const parts = 200;
  global.gc?.();
  const before = process.memoryUsage().arrayBuffers;
  for (let part = 0; part < parts - 1; part++) {
    expect(assembly.add("w", { part, parts, body: buffer().subarray(5, 6) }, 65_536)).toBe("next");
  }
  global.gc?.();
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100e6);
  expect(assembly.add("w", { part: parts - 1, parts, body: buffer().subarray(0, 1) }, 65_536)).toHaveLength(parts);
  expect(assembly.add("v", { part: 0, parts, body: new Uint8Array() }, 65_536)).toBe("large");
  expect(assembly.add("v", { part: 0, parts: 1, body: new Uint8Array() }, 65_536)).toHaveLength(0);
});

test("a worker that is sent garbage goes on", async () => {
  const { coordinator, prefix } = await coordinate([server.url]);
  const { name } = await start([server.url], { prefix });
  const { connection, streams, names } = await intruder(prefix);
  const body = bytesOf({ number: 1 });
  const good = { id: "a", session: "b", values: [], body };
  const far = { key: "nobody.1", chunks: 1, bytes: 5 };
  const tasks = [
    ...Object.values(CLAIMS),
    encodeTask(good),
    encodeTask({ ...good, session: "b.>" }),
    encodeTask({ ...good, id: "x".repeat(1000) }),
    // Values that are not there, and that would be too many.
    encodeTask({ ...good, values: [far] }),
    encodeTask({ ...good, values: [{ ...far, chunks: 2 ** 40, bytes: 2 ** 50 }] }),
    encodeTask({ ...good, values: [{ ...far, key: "../../$SYS.>" }] }),
    encodeTask({ ...good, values: Array(1000).fill(far) }),
    encodeTask({ ...good, body: bytesOf({ number: 1 }).subarray(0, 5) }),
  ];
  for (const bytes of tasks) {
    await streams.publish(names.tasksFor("f1", "nobody"), bytes);
    connection.publish(names.follow(name), bytes);
  }
  const { value } = await coordinator.submit(task({ number: 5 }));
  expect(value.number).toBe(5);
  await until("the worker is there", () => coordinator.status.workers.some((worker) => worker.name === name));
});

test("false answers are refused, and the task is done by somebody else", async () => {
  const { coordinator, prefix, client, events } = await coordinate([server.url], { stallMs: 60_000 });
  const { connection, names, streams } = await intruder(prefix);
  let result: number | undefined;
  const reading = {
    read: (bytes: Uint8Array) => {
      const value = JSON.parse(new TextDecoder().decode(bytes));
      if (!Number.isFinite(value.number)) throw new Error("its number is not finite");
      return value;
    },
  };
  coordinator.submit(task({ number: 7 }, reading)).then(({ value }) => {
    result = value.number;
  });
  // The intruder takes the task as a worker would.
  const consumer = await streams.consumers.get(names.stream, names.consumer("f1"));
  const message = await consumer.next({ expires: 5000 });
  const { id, session } = readTask(message?.data as Uint8Array) ?? { id: "", session: "" };
  const head = { id, worker: "intruder", kind: "done", part: 0, parts: 1 } as const;
  const said = async (bytes: Uint8Array) =>
    (await connection.request(names.answers(session), bytes, { timeout: 5000 })).string();
  expect(await said(Uint8Array.of(1, 2, 3))).toBe("refused");
  expect(await said(encodeAnswer({ ...head, id: "another", body: bytesOf({ number: 1 }) }))).toBe("unknown");
  expect(await said(encodeAnswer({ ...head, part: 3, parts: 9, body: bytesOf({}) }))).toBe("again");
  expect(await said(encodeAnswer({ ...head, body: bytesOf({ number: null }) }))).toBe("refused");
  expect(await said(encodeAnswer({ ...head, body: new Uint8Array(500_000) }))).toBe("refused");
  expect(await said(encodeAnswer({ ...head, kind: "failed", body: Uint8Array.of(1) }))).toBe("refused");
  expect(result).toBeUndefined();
  expect(coordinator.status.rejected).toBe(4);
  expect(events.filter(({ kind }) => kind === "rejected").length).toBe(4);
  // Announcements of nobody and of too much.
  for (const bytes of Object.values(CLAIMS)) connection.publish(names.announcement("x"), bytes);
  const announcement = {
    protocol: PROTOCOL,
    trials: [],
    fingerprint: "f1",
    engine: "x",
    version: "x",
    threads: 1,
    tasks: [id],
    done: 0,
    leaving: false,
  };
  for (let i = 0; i < 10_500; i++) {
    connection.publish(
      names.announcement("x"),
      encodeAnnouncement({ ...announcement, worker: `w${i}`, fingerprint: "f2" }),
    );
  }
  await connection.flush();
  await start([server.url], { prefix });
  await until("it is done", () => result === 7);
  expect(coordinator.status.different).toBeLessThanOrEqual(10_000);
  // What comes after it counts for nothing.
  expect(await said(encodeAnswer({ ...head, body: bytesOf({ number: 8 }) }))).toBe("unknown");
  expect(
    await said(
      encodeAnswer({ ...head, kind: "failed", body: encodeFailure({ code: "SHAPE", message: "", details: {} }) }),
    ),
  ).toBe("unknown");
  expect(result).toBe(7);
  expect(client.connection.isClosed()).toBe(false);
});

test("a task that a worker takes and never answers is given to another", async () => {
  const { coordinator, prefix } = await coordinate([server.url], { stallMs: 500 });
  const { streams, names } = await intruder(prefix);
  const done = coordinator.submit(task({ number: 7 }));
  const consumer = await streams.consumers.get(names.stream, names.consumer("f1"));
  (await consumer.next({ expires: 5000 }))?.ack();
  await start([server.url], { prefix });
  expect((await done).value.number).toBe(7);
  expect(coordinator.status.retries).toBeGreaterThan(0);
});

test("with the permissions of the guide a worker can work, and nothing else", async () => {
  expect(permissions).toContain("authorization");
  const passwords = { user: "coordinator", pass: "change-me-too" };
  const { coordinator } = await coordinate([guarded.url], { prefix: "symplectic", own: passwords });
  const own = { user: "worker", pass: "change-me", inboxPrefix: "_INBOX_symplectic" };
  const { name } = await start([guarded.url], { prefix: "symplectic", client: own });
  await until("a worker", () => coordinator.status.workers.length === 1);
  const value = coordinator.keep(new Uint8Array(2_000_000));
  const values = [value];
  const { value: first, worker: who } = await coordinator.submit(task({ number: 1, keep: "a" }, { values }));
  expect([first.sum, who]).toEqual([2_000_000, name]);
  const follows = { worker: name, body: () => bytesOf({ from: "a" }) };
  expect((await coordinator.submit(task({ number: 2 }, { values, follows }))).value.again).toBe(true);

  const client = await connectClient({ servers: guarded.url, prefix: "symplectic", name: "thief", client: own });
  cleanups.push(() => client.connection.close());
  const { connection, manager, names, streams } = client;
  const forbidden = {
    "making a stream": () => manager.streams.add({ name: "mine", subjects: ["mine.>"] }),
    "deleting the queue": () => manager.streams.delete(names.stream),
    "purging the queue": () => manager.streams.purge(names.stream),
    "deleting a consumer": () => manager.consumers.delete(names.stream, names.consumer("f1")),
    "making a consumer": () =>
      manager.consumers.add(names.stream, { durable_name: "mine", ack_policy: "explicit" as never }),
    "putting tasks": () => streams.publish(names.tasksFor("f1", "x"), new Uint8Array(1)),
    "changing values": () => streams.publish(names.key("x.1.0"), new Uint8Array(1)),
    "asking others to do things": () => connection.request(names.follow(name), new Uint8Array(1)),
    "another subject": () => connection.request("somewhere.else", new Uint8Array(1)),
  };
  for (const [what, attempt] of Object.entries(forbidden)) {
    await expect(attempt(), what).rejects.toThrow(/permissions violation/i);
  }
  for (const subject of [names.answers("*"), "_INBOX.>", names.announcements, ">"]) {
    const denied = new Promise((resolve) => {
      connection.subscribe(subject, {
        callback: (error) => {
          if (error) resolve(error.message);
        },
      });
    });
    expect(await denied, subject).toMatch(/permissions violation/i);
  }
});
