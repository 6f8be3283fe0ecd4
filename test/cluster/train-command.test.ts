// The command `train` over workers: the model of this machine alone, whoever computes it, and however often it is stopped.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { fileURLToPath } from "node:url";
import { type ClusterWorker, join } from "symplectic-adjoint/cluster";
import { afterAll, beforeAll, expect, test } from "vitest";
import { start, stepFrom } from "../command.mjs";
import { cleanups, freshPrefix } from "./processes.js";
import { freePort, type Server, startServers } from "./server.mjs";

const table = (name: string) => fileURLToPath(new URL(`../../data/${name}.csv`, import.meta.url));
const pendulum = ["train", table("pendulum"), "--id", "trajectory"];
const folder = mkdtempSync(joinPath(tmpdir(), "symplectic-adjoint-train-"));
const file = (name: string) => joinPath(folder, name);
const bytes = (name: string) => readFileSync(file(name));
/** A training of one stage, and what this machine makes of it alone: the file "whole". */
const brief = [...pendulum, "--steps", "60", "--window", "4"];
let server: Server;

beforeAll(async () => {
  [server] = (await startServers()) as [Server];
  const { code } = await start([...brief, "--out", "whole"], { cwd: folder }).done;
  expect(code).toBe(0);
});
afterAll(async () => {
  await server.remove();
  rmSync(folder, { recursive: true, force: true });
});

const begin = (args: string[]) => {
  const command = start(args, { cwd: folder });
  cleanups.push(() => command.child.kill("SIGKILL"));
  return command;
};
const run = async (args: string[]) => {
  const { code, out, err } = await begin(args).done;
  return { code, out, err };
};
const at = (prefix: string) => ["--servers", server.url, "--prefix", prefix];
const work = (prefix: string) => begin(["worker", ...at(prefix), "--threads", "1", "--quiet"]).child;
/** Waits until the command says something. */
const says = (command: ReturnType<typeof begin>, what: RegExp) =>
  command.said((text: string) => what.exec(text) ?? undefined);

test("networks and equations: the model of this machine alone, while a worker is killed and another one comes", async () => {
  const prefix = freshPrefix();
  const first = work(prefix);
  writeFileSync(
    file("prey.txt"),
    `param birth = 0.5
param hunt = 0.03
param feed = 0.02
param death = 0.8
hare_thousands' = hare_thousands * (birth - hunt * lynx_thousands)
lynx_thousands' = lynx_thousands * (feed * hare_thousands - death)
`,
  );
  const few = ["--steps", "40", "--out"];
  const trainings: [string, string[]][] = [
    ["delays", [...pendulum, "--batch", "256", "--delays", "1", "--extra", "1"]],
    ["prey", ["train", table("lynx-hare"), "--time", "year", "--equations", "prey.txt"]],
  ];
  for (const [name, args] of trainings) {
    expect(await run([...args, ...few, `${name}.here`])).toMatchObject({ code: 0 });
    const there = begin([...args, ...few, `${name}.there`, ...at(prefix)]);
    if (name === "delays") {
      await there.said(stepFrom(10));
      first.kill("SIGKILL");
      work(prefix);
    }
    const { code, err } = await there.done;
    expect([name, code]).toEqual([name, 0]);
    expect(bytes(`${name}.there`).equals(bytes(`${name}.here`)), name).toBe(true);
    expect(err).toMatch(
      / {2}step 40 of 40 {3}loss .* {3}held out .* {3}[12] workers?, [\d.]+ shards\/s, \d+ in flight/,
    );
    expect(err.includes("is one shard, which one thread computes"), name).toBe(name !== "delays");
  }
});

test("it is stopped, killed and resumed, over workers and here, at any moment: bitwise the same model", async () => {
  const prefix = freshPrefix();
  work(prefix);
  const part = [...brief, "--checkpoint", "0", "--out", "parts"];
  const remote = [...part, ...at(prefix)];
  for (const [signal, step, resume, own] of [
    ["SIGINT", 5, [], remote],
    ["SIGKILL", 15, ["--resume"], remote],
    ["SIGTERM", 30, ["--resume"], part],
  ] as const) {
    const command = begin([...own, ...resume]);
    await command.said(stepFrom(step));
    command.child.kill(signal);
    const { code, err } = await command.done;
    // One that is faster than its signal has come to its end.
    if (signal === "SIGINT" && code !== 0) {
      expect(code).toBe(130);
      expect(err).toMatch(/stopped at step \d+; continue with the same command and --resume\n$/);
    }
  }
  await run([...remote, "--resume"]);
  expect(bytes("parts").equals(bytes("whole"))).toBe(true);
});

test("without a worker it says how to start one; Ctrl-C ends it, even in the middle of a step that is judged", async () => {
  const prefix = freshPrefix();
  const remote = [...brief, ...at(prefix), "--out", "waiting"];
  const first = begin([...remote, "--json"]);
  await says(first, /\n/);
  const started = `npx symplectic-adjoint worker --servers ${server.url} --prefix ${prefix}`;
  first.child.kill("SIGINT");
  expect(await first.done).toMatchObject({
    ...{ code: 130, out: "" },
    err: `no worker takes part yet; start some with: ${started}\nstopped at step 0; continue with the same command and --resume\n`,
  });
  // A shard for the solve of each step and one for its gradient: it leaves when the tenth step is to be judged.
  let [done, worker] = [0, undefined as ClusterWorker | undefined];
  worker = await join({
    ...{ servers: server.url, prefix, threads: 1 },
    onEvent: ({ kind }) => void (kind === "done" && ++done === 20 && worker?.close()),
  });
  const second = begin([...remote, "--resume"]);
  await worker.closed;
  second.child.kill("SIGINT");
  const { code, err } = await second.done;
  expect([code, done]).toEqual([130, 20]);
  expect(err).toMatch(/stopped at step 9; continue/);
  work(prefix);
  expect(await run([...remote, "--resume"])).toMatchObject({ code: 0 });
  expect(bytes("waiting").equals(bytes("whole"))).toBe(true);
});

test("what cannot be is said before anything is written", async () => {
  const nowhere = `nats://me:secret@127.0.0.1:${await freePort()}`;
  const mistakes: [string[], number, RegExp][] = [
    [["--creds", "x"], 2, /--creds: expected --servers as well/],
    [["--servers", "http://localhost:1"], 2, /error: --servers: expected addresses that begin with nats/],
    [["--servers", server.url, "--prefix", "a b"], 2, /error: --prefix: expected 1 to 64 letters/],
    [["--servers", server.url, "--period", "3"], 2, /--servers: expected neither --with-time nor --period/],
    [
      ["--servers", nowhere],
      1,
      /^(?!.*secret).*no connection to nats:\/\/127.0.0.1:\d+.*is a nats-server running there/s,
    ],
  ];
  for (const [args, status, message] of mistakes) {
    const { code, err } = await run([...pendulum, "--out", "never", ...args]);
    expect([code, err], args.join(" ")).toEqual([status, expect.stringMatching(message)]);
  }
  expect(existsSync(file("never"))).toBe(false);
});
