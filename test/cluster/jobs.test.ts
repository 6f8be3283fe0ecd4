// Jobs as nobody means them, for a real worker: it answers each, and lives.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { equations, mlp, odeint } from "symplectic-adjoint";
import { type Cluster, connect } from "symplectic-adjoint/cluster";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectClient } from "../../ts/cluster/client.js";
import { encodeTask, readAnswer, readFailure, readTask } from "../../ts/cluster/messages.js";
import { pack, unpack } from "../../ts/cluster/pack.js";
import { numbers } from "../unit/helpers.js";
import { cleanups, freshPrefix, until } from "./processes.js";
import { type Server, startServers } from "./server.mjs";

const command = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const independent = { batching: "independent" } as const;
const NOBODY = "0000000000000000";

let server: Server;
beforeAll(async () => {
  [server] = (await startServers()) as [Server];
});
afterAll(() => server.remove());

type Data = Record<string, unknown>;
const isData = (value: unknown): value is Data =>
  value !== null && typeof value === "object" && !ArrayBuffer.isView(value);

/** The paths of all values within a value. */
function* paths(value: unknown, path: string[] = []): Generator<string[]> {
  if (path.length > 0) yield path;
  // The nodes of a program are the crate's to check, and tested there.
  if (isData(value) && path.at(-1) !== "nodes") {
    for (const [name, inner] of Object.entries(value)) yield* paths(inner, [...path, name]);
  }
}

/** The same with another value at a path. */
function changed(value: unknown, [name, ...rest]: string[], to: unknown): unknown {
  if (name === undefined) return to;
  const copy = Array.isArray(value) ? [...value] : { ...(value as Data) };
  (copy as Data)[name] = changed((value as Data)[name], rest, to);
  return copy;
}

const WRONG = [
  undefined,
  null,
  true,
  -1,
  0,
  0.5,
  Number.NaN,
  2 ** 31,
  2 ** 53,
  "",
  "euler",
  [],
  {},
  [[[]]],
  { length: 2 ** 40 },
  new Float32Array(),
  new Float32Array(7),
  new Float64Array(100_000).fill(Number.NaN),
  new Uint32Array(3),
  { __proto__: null, kind: "mlp", options: { widths: [100_000, 100_000] } },
];

/** A task of a cluster that nobody works for. */
async function taken(prefix: string, begin: (cluster: Cluster) => Promise<unknown>): Promise<Data> {
  const cluster = await connect({ servers: server.url, prefix, arithmetic: NOBODY });
  const client = await connectClient({ servers: server.url, prefix, name: "test" });
  begin(cluster).catch(() => {});
  const { names, streams, kv } = client;
  const consumer = await streams.consumers.get(names.stream, names.consumer(NOBODY));
  const message = await consumer.next({ expires: 10_000 });
  const task = readTask(message?.data as Uint8Array);
  const store = await new kv.Kvm(streams).open(names.bucket);
  const bytes = await Promise.all(
    (task?.values ?? []).map(async (value) =>
      value instanceof Uint8Array ? value : (await store.get(`${value.key}.0`))?.value,
    ),
  );
  const { part, ...rest } = unpack(task?.body as Uint8Array) as Data;
  // The worker puts them together in this order.
  const parts = [...bytes.map((value) => unpack(value as Uint8Array)), part] as Data[];
  const problem = Object.assign({}, ...parts.map((part) => part.problem));
  cluster.close();
  await client.connection.close();
  return { ...rest, part: { ...Object.assign({}, ...parts), problem } };
}

test("each wrong value in each place of a job is answered", async () => {
  const prefix = freshPrefix();
  const args = ["worker", "--servers", server.url, "--prefix", prefix, "--threads", "1", "--quiet", "--memory", "256"];
  const child = spawn(process.execPath, [command, ...args], { stdio: ["ignore", "ignore", "inherit"] });
  cleanups.push(() => child.kill("SIGKILL"));
  const cluster = await connect({ servers: server.url, prefix });
  cleanups.push(() => cluster.close());
  await until("a worker", () => cluster.workers === 1);

  const network = mlp({ widths: [2, 4, 2], seed: 1 });
  const y0 = numbers("float32", 2 * 10);
  const ball = equations("height' = speed\nspeed' = -g * push", { parameters: { g: 9.81 }, arguments: ["push"] });
  const options = {
    arguments: { push: [1, 2] },
    jumps: [{ times: [0.1, 0.2], set: "speed = speed + kick", amounts: { kick: [0.1, 0.2] } }],
    events: [{ when: "height", direction: "falling", set: "speed = -0.9 * speed" }],
  } as never;
  const jobs = [
    await taken(prefix, (cluster) => cluster.odeint(network, y0, [0, 1])),
    await taken(prefix, (cluster) =>
      cluster.odeint(
        ball,
        Float32Array.of(1, 0, 2, 0),
        [
          [0, 1],
          [0, 0.5, 1],
        ],
        options,
      ),
    ),
  ];
  jobs.push(
    await taken(prefix, (cluster) => {
      const along = { y0: Float32Array.of(1, 0, 0, 1), arguments: { push: Float32Array.of(1, 2) }, times: [0, 1] };
      return cluster.jvp(ball, Float32Array.of(1, 0, 2, 0), [0, 1], along, options);
    }),
  );
  const client = await connectClient({ servers: server.url, prefix, name: "test" });
  cleanups.push(() => client.connection.close());
  const { connection, streams, names } = client;
  const answers = new Map<string, string>();
  connection.subscribe(names.answers("intruder"), {
    callback: (_, message) => {
      const answer = readAnswer(message.data);
      if (answer)
        answers.set(answer.id, answer.kind === "failed" ? (readFailure(answer.body)?.code ?? "none") : answer.kind);
      message.respond("taken");
    },
  });
  const sent: string[] = [];
  for (const [number, job] of jobs.entries()) {
    for (const path of paths(job)) {
      for (const [index, wrong] of WRONG.entries()) {
        const id = `${number}-${path.join("_").replaceAll(/[^\w-]/g, "")}-${index}`.slice(-64);
        sent.push(id);
        const body = pack(changed(job, path, wrong));
        await streams.publish(
          names.tasksFor(cluster.fingerprint, "intruder"),
          encodeTask({ id, session: "intruder", values: [], body }),
        );
      }
    }
  }
  await until("all are answered", () => sent.every((id) => answers.has(id)));
  const codes = [...answers.values()];
  // Most are errors; some are as good as what was there, such as another name of a parameter.
  expect(codes.filter((code) => !["done", "missing"].includes(code)).length).toBeGreaterThan(0.6 * sent.length);
  expect(codes.filter((code) => code === "INTERNAL" || code === "WORKER")).toEqual([]);
  expect(child.exitCode).toBeNull();
  expect((await cluster.odeint(network, y0, [0, 1])).y).toEqual(odeint(network, y0, [0, 1], independent).y);
});
