// The command `sweep`: on this machine, and over workers that are killed.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectClient } from "../../ts/cluster/client.js";
import { dropSweepKeys } from "../../ts/cluster/store.js";
import { sweep } from "../../ts/cluster/sweep.js";
import { start } from "../command.mjs";
import { cleanups, freshPrefix } from "./processes.js";
import { type Server, startServers } from "./server.mjs";

const pendulum = fileURLToPath(new URL("../../data/pendulum.csv", import.meta.url));
const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-sweep-"));
const file = (name: string) => join(folder, name);
let server: Server;

beforeAll(async () => {
  [server] = (await startServers()) as [Server];
});
afterAll(async () => {
  await server.remove();
  rmSync(folder, { recursive: true, force: true });
});

const run = async (args: string[]) => {
  const { code, out, err } = await start(args, { cwd: folder }).done;
  return { code, out, err };
};

/** A worker, once it is connected. */
async function work(prefix: string, ...args: string[]) {
  const all = [main, "worker", "--servers", server.url, "--prefix", prefix, "--threads", "1", "--trials", "2", ...args];
  const child = spawn(process.execPath, all, { stdio: ["ignore", "ignore", "pipe"] });
  cleanups.push(() => child.kill("SIGKILL"));
  let said = "";
  await new Promise<void>((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the worker ended with ${code}: ${said}`)));
    child.stderr.setEncoding("utf8").on("data", (text) => {
      said += text;
      if (said.includes("sweep tasks")) resolve();
    });
  });
  child.removeAllListeners("exit");
  return child;
}

const SMALL = ["--id", "trajectory", "--steps", "20", "--window", "4"];
const VARIED = ["--width", "4,8", "--learning-rate", "1e-3:1e-1"];

test("the best model of a sweep is the one that train makes of its settings", async () => {
  const outputs = ["--out", "best.safetensors", "--table", "trials.csv", "--report", "sweep.html"];
  const { code, out, err } = await run(["sweep", pendulum, ...SMALL, ...VARIED, "--trials", "3", ...outputs, "--json"]);
  expect([code, err]).toEqual([0, ""]);
  const { best, trials } = JSON.parse(out);
  expect(trials.map(({ status }: { status: string }) => status)).toEqual(Array(3).fill("done"));
  const { width, "learning-rate": rate } = best.parameters;
  const own = ["--hidden", `${width},${width}`, "--learning-rate", String(rate), "--out", "own.safetensors", "--json"];
  const trained = await run(["train", pendulum, ...SMALL, ...own]);
  expect(JSON.parse(trained.out).validation).toBe(best.value);
  expect(readFileSync(file("best.safetensors"))).toEqual(readFileSync(file("own.safetensors")));
  expect(readFileSync(file("trials.csv"), "utf8").trim().split("\n").length).toBe(4);
  expect(readFileSync(file("sweep.html"), "utf8")).toContain("log10 learning-rate");
});

test("progress counts the trials that run", async () => {
  const { code, err } = await run(["sweep", pendulum, ...SMALL, "--width", "4,8,16", "--grid", "--parallel", "2"]);
  const counts = [...err.matchAll(/^ {2}(\d of \d)(, \d running)? {3}best/gm)].map(
    ([, ended, runs = ""]) => ended + runs,
  );
  expect([code, counts]).toEqual([0, ["1 of 3, 2 running", "2 of 3, 1 running", "3 of 3"]]);
});

test("a sweep of this machine that is stopped leaves the best model so far", async () => {
  const first = start(
    ["sweep", pendulum, ...SMALL, "--width", "4:400", "--trials", "200", "--out", "so-far.safetensors"],
    {
      cwd: folder,
    },
  );
  await first.said((text: string) => /^ {2}\d+ of \d+.*best/m.exec(text) ?? undefined);
  first.child.kill("SIGINT");
  const { code, err } = await first.done;
  expect([code, err]).toEqual([
    130,
    expect.stringMatching(/stopped after \d+ of 200 runs; so-far.safetensors: the best so far/),
  ]);
  expect((await run(["info", "so-far.safetensors"])).code).toBe(0);
});

test("mistakes end it before anything is trained", async () => {
  const mistakes: [string[], RegExp][] = [
    [["--trials", "5"], /expected an option with several values/],
    [["--width", "4,x", "--trials", "5"], /positive integer/],
    [["--width", "8:4", "--trials", "5"], /Expected a range from the smaller to the larger number, such as 4:8/],
    [["--width", "4:x", "--trials", "5"], /Expected from:to/],
    [["--learning-rate", "0.01-0.1", "--trials", "5"], /the range is written 0.01:0.1/],
    [["--learning-rate", "fast", "--trials", "5"], /Expected a positive number, a list such as .*, or a range/],
    [["--hidden", "16,32", "--trials", "5"], /takes --width and --depth instead/],
    [["--rtol", "0:1", "--trials", "5"], /positive number/],
    [["--activation", "tanh,relu", "--trials", "5"], /choices/],
    [["--width", "4,8"], /--trials: expected the number of trials, or pass --grid/],
    [["--width", "4,8", "--steps", "5,50", "--trials", "4"], /--steps: expected 10 or more/],
    [
      ["--width", "4,8", "--trials", "9", "--steps", "50", "--halving", "--least-steps", "20"],
      /--least-steps: expected from 10/,
    ],
    [
      ["--width", "4,8", "--trials", "9", "--steps", "20", "--halving"],
      /--least-steps: expected from 10.*given --steps 20/,
    ],
    [["--width", "4:8", "--grid"], /--width: with --grid, a range needs a number of values, as in 4:8:5/],
    [["--width", "4,8", "--grid", "--trials", "3"], /expected no value with a grid, or its 2 trials/],
    [["--width", "4:8:2", "--trials", "3"], /--width: expected --grid/],
    [["--width", "4,8", "--trials", "3", "--resume"], /--resume: expected --servers/],
    [["--width", "4,8", "--trials", "3", "--creds", "x"], /--creds: expected --servers/],
    [["--width", "4,8", "--trials", "3", "--prefix", "a b"], /--prefix: expected --servers/],
    [["--width", "4,8", "--trials", "3", "--servers", ""], /addresses separated by commas/],
    [["--width", "4,8", "--trials", "3", "--servers", "a,,b"], /addresses separated by commas/],
    [["--width", "4,8", "--trials", "3", "--validation", "0"], /--validation/],
    [["--steps", "10:80", "--trials", "9", "--halving"], /--halving: expected one value of --steps/],
    [["--width", "4,8", "--trials", "3", "--time", "no-such"], /no-such/],
    [["--width", "4,8", "--trials", "3", "--model", "hamiltonian", "--delays", "2"], /hamiltonian/],
  ];
  for (const [args, message] of mistakes) {
    const { code, err } = await run(["sweep", pendulum, "--id", "trajectory", ...args]);
    expect([code, err], args.join(" ")).toEqual([2, expect.stringMatching(message)]);
  }
});

test("workers are killed and the command is stopped: the same one with --resume has what this machine alone has", async () => {
  const prefix = freshPrefix();
  const search = [
    "sweep",
    pendulum,
    ...SMALL,
    ...VARIED,
    "--trials",
    "6",
    "--steps",
    "30",
    "--halving",
    "--least-steps",
    "10",
    "--json",
  ];
  const alone = JSON.parse((await run([...search, "--out", "alone.safetensors"])).out);
  const remote = [...search.filter((arg) => arg !== "--json"), "--servers", server.url, "--prefix", prefix];
  const victim = await work(prefix);
  const first = start([...remote, "--out", "together.safetensors"], { cwd: folder });
  // Interrupted as soon as something has ended.
  await first.said((text: string) => /^ {2}\d+ of \d+/m.exec(text) ?? undefined);
  victim.kill("SIGKILL");
  first.child.kill("SIGINT");
  const { code, err } = await first.done;
  expect([code, err]).toEqual([130, expect.stringContaining("the same command with --resume continues")]);
  const nowhere = await run([...remote, "--name", "other", "--resume"]);
  expect([nowhere.code, nowhere.err]).toEqual([
    2,
    "error: --resume: no sweep named other on these servers; there is pendulum\n",
  ]);
  const again = await run([...remote, "--out", "together.safetensors"]);
  expect([again.code, again.err]).toEqual([2, expect.stringContaining("there is already a sweep named pendulum")]);
  const halved = remote.filter((arg) => !["--halving", "--least-steps", "10"].includes(arg));
  const whole = await run([...halved, "--resume"]);
  expect([whole.code, whole.err]).toEqual([
    2,
    expect.stringContaining("was started with --halving; give this one another"),
  ]);
  const other = await run([...remote, "--resume", "--seed", "5"]);
  expect([other.code, other.err]).toEqual([2, expect.stringContaining("was started with --seed 0, not 5")]);
  const [one] = await Promise.all([work(prefix), work(prefix)]);
  const second = start([...remote, "--resume", "--out", "together.safetensors", "--json"], { cwd: folder });
  one?.kill("SIGTERM");
  const { out, code: ended, err: told } = await second.done;
  expect([ended, told]).toEqual([0, ""]);
  const { best, trials } = JSON.parse(out);
  const essence = (all: typeof trials) =>
    all.map(({ trial, parameters, status, value }: Record<string, unknown>) => ({ trial, parameters, status, value }));
  expect(essence(trials)).toEqual(essence(alone.trials));
  expect(alone.budgets).toEqual([10, 30]);
  expect(trials.filter(({ status }: { status: string }) => status === "done").length).toBe(2);
  expect(best.trial).toBe(alone.best.trial);
  expect(readFileSync(file("together.safetensors"))).toEqual(readFileSync(file("alone.safetensors")));
});

test("a best model that the servers have lost is not said to be written", async () => {
  const prefix = freshPrefix();
  await work(prefix);
  const args = ["sweep", pendulum, ...SMALL, "--width", "4,8", "--grid", "--servers", server.url, "--prefix", prefix];
  expect((await run([...args, "--out", "kept.safetensors"])).code).toBe(0);
  const client = await connectClient({ servers: server.url, prefix, name: "test" });
  cleanups.push(() => client.connection.close());
  await dropSweepKeys(client, "states");
  const { code, out, err } = await run([...args, "--resume", "--out", "lost.safetensors"]);
  expect([code, out, err]).toEqual([1, "", expect.stringContaining("is no longer on the servers")]);
  expect(existsSync(file("lost.safetensors"))).toBe(false);
});

test("a worker does what its own modules have, and nothing else", async () => {
  const prefix = freshPrefix();
  writeFileSync(
    file("trials.mjs"),
    `export function parabola({ parameters: { x } }) {
  if (x > 2) while (true);
  if (x < -2) throw new Error("too small");
  if (x === 0) process.exit(4);
  return { value: (x - 1) ** 2, info: { x } };
}
export const number = 3;
`,
  );
  // Of a process that was killed; and one of this, which lives.
  const folderOf = (pid: number) =>
    join(tmpdir(), `symplectic-adjoint-trial-${hostname().replace(/\W/g, "_")}-${pid}-x`);
  const [left, own] = [folderOf(2_000_000_000), folderOf(process.pid)];
  for (const one of [left, own]) mkdirSync(one, { recursive: true });
  cleanups.push(() => rmSync(own, { recursive: true }));
  await work(prefix, "--module", file("trials.mjs"));
  expect([existsSync(left), existsSync(own)]).toEqual([false, true]);
  const { trials, best } = await sweep({
    ...{ run: "parabola", space: { x: [-3, -1, 0, 1, 3] }, sampler: "grid", timeout: 2 },
    ...{ servers: server.url, prefix },
  });
  expect(best?.info).toEqual({ x: 1 });
  expect(trials.map(({ message }) => message)).toEqual([
    "too small",
    undefined,
    "the thread of the trial ended with 4",
    undefined,
    "the trial took more than 2 s",
  ]);
  // Settings that would read or write a file of the worker's machine.
  const harmful: Record<string, string>[] = [
    { out: "/tmp/x" },
    { equations: "/etc/passwd" },
    { "time=x --out": "/tmp/x" },
    { doses: "/etc/passwd" },
  ];
  for (const settings of harmful) {
    const { trials } = await sweep({
      ...{ run: "train", space: { width: [4] }, sampler: "grid", settings, files: { data: readFileSync(pendulum) } },
      ...{ servers: server.url, prefix },
    });
    expect(trials[0]?.message).toMatch(/a sweep has no option named/);
  }
  const wrong = await run(["worker", "--servers", server.url, "--module", "nowhere.mjs"]);
  expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("--module nowhere.mjs")]);
});
