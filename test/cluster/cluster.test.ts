// Solves and gradients over a cluster of processes: the bits of one machine, whatever happens to workers, servers and coordinators.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { fileURLToPath } from "node:url";
import {
  adam,
  cnf,
  custom,
  equations,
  type Field,
  jvp,
  leastSquares,
  mlp,
  odeint,
  parallel,
  train,
  valueAndGrad,
  vjp,
} from "symplectic-adjoint";
import { type Cluster, type ClusterEvent, type ConnectOptions, connect, join } from "symplectic-adjoint/cluster";
import { afterAll, beforeAll, expect, test } from "vitest";
import { numbers, relative } from "../unit/helpers.js";
import { cleanups, freshPrefix, until } from "./processes.js";
import { freePort, type Server, startServers } from "./server.mjs";

const command = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const trainer = fileURLToPath(new URL("trainer.mjs", import.meta.url));
const folder = mkdtempSync(joinPath(tmpdir(), "symplectic-adjoint-cluster-"));

let server: Server;
beforeAll(async () => {
  [server] = (await startServers()) as [Server];
});
afterAll(async () => {
  await server.remove();
  rmSync(folder, { recursive: true });
});

/** Starts a worker with the command. */
function worker(prefix: string, args: string[] = []): ChildProcess {
  const all = [command, "worker", "--servers", server.url, "--prefix", prefix, "--threads", "1", "--quiet", ...args];
  const child = spawn(process.execPath, all, { stdio: ["ignore", "ignore", "inherit"] });
  cleanups.push(() => {
    child.kill("SIGCONT");
    child.kill("SIGKILL");
  });
  return child;
}

interface Own {
  readonly cluster: Cluster;
  readonly events: ClusterEvent[];
  readonly prefix: string;
  readonly workers: ChildProcess[];
}

/** A cluster of so many workers. */
async function clusterOf(count: number, options: ConnectOptions = {}): Promise<Own> {
  const prefix = freshPrefix();
  const workers = Array.from({ length: count }, () => worker(prefix));
  const events: ClusterEvent[] = [];
  const onEvent = (event: ClusterEvent) => void events.push(event);
  const cluster = await connect({ servers: server.url, prefix, stallTimeout: 1, onEvent, ...options });
  cleanups.push(() => cluster.close());
  await until(`${count} workers`, () => cluster.workers === count);
  return { cluster, events, prefix, workers };
}

const square = (y: Float32Array) => ({ value: y.reduce((sum, value) => sum + value * value, 0) / 2, cotangent: y });

/** What is compared: all but how it was done. */
function bits(of: object): object {
  return Object.fromEntries(
    Object.entries(of)
      .filter(([, value]) => typeof value !== "function" && value !== undefined)
      .map(([name, value]) => [name, name === "stats" ? 0 : value]),
  );
}

const independent = { batching: "independent" } as const;

test("a network: the bits of this process, with one worker and with three, and steps of other sizes", async () => {
  const field = mlp({ widths: [3, 24, 3], time: "concat", seed: 1 });
  const runs = [];
  for (const count of [1, 3]) {
    const { cluster } = await clusterOf(count);
    for (const batch of [1, 100, 700]) {
      const y0 = numbers("float32", 3 * batch, 5);
      for (const options of [{}, { method: "rk4", steps: 5 }, { gradient: "symplectic", rtol: 1e-3 }] as const) {
        const own = valueAndGrad(field, y0, [0, 0.3, 1], square, { ...options, ...independent });
        // Twice: by then the speed is known, and shards are of another size.
        for (let i = 0; i < 2; i++) {
          const there = await cluster.valueAndGrad(field, y0, [0, 0.3, 1], square, options);
          expect(there.value).toBe(own.value);
          expect(bits(there.gradient)).toEqual(bits(own.gradient));
          expect(bits(there.solution)).toEqual(bits(own.solution));
          expect(there.solution.stats.accepted).toBe(own.solution.stats.accepted);
        }
      }
      runs.push(await cluster.odeint(field, y0, [0, 1]));
    }
  }
  expect(runs.slice(0, 3).map(bits)).toEqual(runs.slice(3).map(bits));
});

test("the first solve is cut by a speed that is measured, however many workers are known by then", async () => {
  const { prefix } = await clusterOf(2);
  const cluster = await connect({ servers: server.url, prefix });
  cleanups.push(() => cluster.close());
  const field = mlp({ widths: [2, 8, 2], seed: 1 });
  const batch = 10_000;
  const y0 = numbers("float32", 2 * batch, 5);
  const fractions: number[] = [];
  const options = { progress: (fraction: number) => void fractions.push(fraction) };
  const there = await cluster.valueAndGrad(field, y0, [0, 1], square, options);
  // A leaf first, and then a shard of up to eight.
  const first = fractions[0] as number;
  expect(first).toBeLessThan(1 / 100);
  expect(fractions[1]).toBeLessThanOrEqual(9 * first + 1e-12);
  expect(fractions.at(-1)).toBe(1);
  const own = valueAndGrad(field, y0, [0, 1], square, independent);
  expect(bits(there.gradient)).toEqual(bits(own.gradient));
  expect(bits(there.solution)).toEqual(bits(own.solution));
});

test("times of their own, jumps, events, arguments, noise of a flow: as here", async () => {
  const { cluster } = await clusterOf(2);
  const batch = 600;
  const some = (seed: number) => Array.from(numbers("float64", batch, seed), (x) => 1.5 + x);
  const ball = equations("height' = speed\nspeed' = -g + push", {
    parameters: { g: 9.81 },
    arguments: ["push"],
    dtype: "float64",
  });
  const options = {
    arguments: { push: some(2) },
    jumps: [
      {
        times: some(3).map((t) => [0.1 * t, 0.5 + 0.1 * t]),
        set: "speed = speed + kick",
        amounts: { kick: some(6).map((k) => [k / 5, -k / 7]) },
      },
    ],
    events: [{ when: "height", direction: "falling", set: "speed = -0.9 * speed" }],
    timeGradients: true,
  } as never;
  const y0 = numbers("float64", 2 * batch, 1).map((x) => x + 2);
  const times = some(4).map((t) => (t > 1.4 ? [0, t] : [0, t / 2, t]));
  const own = vjp(ball, y0, times, options);
  const there = await cluster.vjp(ball, y0, times, options);
  expect(bits(there.solution)).toEqual(bits(own.solution));
  expect(own.solution.events.t.length).toBeGreaterThan(batch / 2);
  const w = own.solution.y.map((y, i) => (own.solution.mask?.[Math.floor(i / 2)] ? y : 0));
  const events = { times: own.solution.events.t.map((t) => t / 3), states: own.solution.events.y };
  const gradient = own.pullback(w, events);
  for (let i = 0; i < 2; i++) expect(bits(await there.pullback(w, events))).toEqual(bits(gradient));
  there.dispose();
  await expect(there.pullback(w)).rejects.toMatchObject({ code: "DISPOSED" });

  const flow = cnf({ network: { widths: [2, 16, 2], seed: 4 }, trace: "hutchinson" } as never) as Field<"float32">;
  const points = numbers("float32", 3 * 300, 7);
  expect(bits(await cluster.odeint(flow, points, [0, 1]))).toEqual(bits(odeint(flow, points, [0, 1], independent)));
});

test("derivatives along directions and fits: as here", async () => {
  const { cluster } = await clusterOf(2);
  const text = "x' = a * x - b * x * y\ny' = k * x * y - y";
  const made = () => equations(text, { parameters: { a: 0.9, b: 0.6 }, arguments: ["k"], dtype: "float64" });
  const batch = 100;
  const y0 = numbers("float64", 2 * batch, 1).map((x) => x + 2);
  const k = numbers("float64", batch, 2).map((x) => 1 + 0.2 * x);
  const directions = 2;
  const tangents = {
    directions,
    y0: numbers("float64", directions * 2 * batch, 3),
    parameters: numbers("float64", directions * 2, 4),
    arguments: { k: numbers("float64", directions * batch, 5) },
    times: numbers("float64", directions * 3, 6),
  };
  const events = [{ when: "x - 1.5", direction: "falling", set: "x = 0.9 * x" }] as const;
  const options = { arguments: { k }, events };
  const field = made();
  const own = jvp(field, y0, [0, 0.5, 1], tangents, { ...options, ...independent });
  // Twice: by then the speed is known, and shards are of another size.
  for (let i = 0; i < 2; i++) {
    const there = await cluster.jvp(field, y0, [0, 0.5, 1], tangents, options);
    expect(there.tangents).toEqual(own.tangents);
    expect(there.events).toEqual(own.events);
    expect(bits(there.solution)).toEqual(bits(own.solution));
  }
  const far = y0.slice();
  far[2 * 70] = 1e300;
  await expect(cluster.jvp(field, far, [0, 1], tangents, options)).rejects.toMatchObject({
    argument: "tangents.times",
  });
  // What the caller has in its arrays later makes no difference, nor to shards that are tried once more.
  const [start, moved] = [y0.slice(), { ...tangents, y0: tangents.y0.slice() }];
  const later = [
    cluster.jvp(field, start, [0, 0.5, 1], moved, options),
    cluster.odeint(field, start, [0, 0.5, 1], options),
  ];
  start.fill(9);
  moved.y0.fill(9);
  const [along, plain] = await Promise.all(later);
  expect((along as typeof own).tangents).toEqual(own.tangents);
  expect((plain as typeof own.solution).y).toEqual(own.solution.y);
  await expect(cluster.jvp(field, y0, [], tangents, options)).rejects.toMatchObject({ code: "SHAPE" });
  await expect(cluster.jvp.call({} as never, field, y0, [0], tangents)).rejects.toMatchObject({ argument: "this" });
  const { times: _, ...rest } = tangents;
  await expect(cluster.jvp(field, far, [0, 1], rest, options)).rejects.toMatchObject({ trajectory: 70 });

  const data = Array.from({ length: 40 }, (_, i) => {
    const start = y0.slice(2 * i, 2 * i + 2);
    const { y } = odeint(field, start, [0, 0.5, 1 + 0.01 * i], { rtol: 1e-9, arguments: { k: [k[i] as number] } });
    const noisy = y.map((value, j) => value * (1 + 0.01 * Math.sin(7 * i + 3 * j)));
    return { times: [0, 0.5, 1 + 0.01 * i], y: noisy, y0: start, arguments: { k: k[i] as number } };
  });
  const given = { data, ...independent, parameters: { a: 0.8, b: 0.5 } };
  const alone = leastSquares({ field: made(), ...given });
  const shared = await leastSquares({ field: made(), ...given, pool: cluster });
  expect(shared.values).toEqual(alone.values);
  expect(shared.covariance).toEqual(alone.covariance);
  expect(await shared.profile("a")).toEqual(alone.profile("a"));
});

test("workers killed and stopped in the middle of a gradient, and others that come: the same bits", async () => {
  const { cluster, events, prefix, workers } = await clusterOf(2);
  const field = mlp({ widths: [4, 64, 64, 4], seed: 1 });
  const y0 = numbers("float32", 4 * 4096, 5);
  const options = { rtol: 1e-5 };
  let told = 0;
  const progress = () => {
    told++;
    // After the first shards; the loss comes when all are solved, and then the other one is stopped.
    if (told === 3) workers[0]?.kill("SIGKILL");
    if (told === 3) worker(prefix);
  };
  const loss = (y: Float32Array) => {
    workers[1]?.kill("SIGSTOP");
    worker(prefix);
    return square(y);
  };
  const there = await cluster.valueAndGrad(field, y0, [0, 2], loss, { ...options, progress });
  const own = valueAndGrad(field, y0, [0, 2], square, { ...options, ...independent });
  expect(bits(there.gradient)).toEqual(bits(own.gradient));
  expect(there.value).toBe(own.value);
  await until("both are missed", () => events.filter(({ kind }) => kind === "lost").length >= 2);
  expect(cluster.status).toMatchObject({ inFlight: 0, rejected: 0 });
});

test("the server killed in the middle of a training: the same losses", async () => {
  const { cluster, events } = await clusterOf(2);
  const losses = async (pool?: Cluster) => {
    const field = mlp({ widths: [2, 32, 2], seed: 1 });
    const y0 = numbers("float32", 2 * 500);
    const data = [{ y0, times: [0, 1], target: numbers("float32", 4 * 500, 3) }];
    const all = [];
    const options = { field, optimizer: adam(field), data, steps: 12, ...independent };
    for await (const { loss } of train({ ...options, ...(pool && { pool }) })) {
      all.push(loss);
      if (pool && all.length === 5) await server.restart();
      // While the next step is under way.
      if (pool && all.length === 8) {
        const strike = () => void (pool.status.inFlight > 0 ? server.restart() : setImmediate(strike));
        setImmediate(strike);
      }
    }
    return all;
  };
  expect(await losses(cluster)).toEqual(await losses());
  expect(events.map(({ kind }) => kind)).toContain("disconnected");
});

test("a coordinator killed at any moment: training resumes from its checkpoint to bitwise the same model", async () => {
  const { prefix } = await clusterOf(2);
  const run = (options: object, killAt = Number.POSITIVE_INFINITY) =>
    new Promise<void>((resolve, reject) => {
      const all = JSON.stringify({ steps: 12, batch: 300, ...options });
      const child = spawn(process.execPath, [trainer, all], { stdio: ["ignore", "pipe", "inherit"] });
      child.stdout.setEncoding("utf8").on("data", (text) => {
        const step = Number(/step (\d+)/.exec(text)?.[1] ?? 0);
        if (step >= killAt) child.kill("SIGKILL");
      });
      child.once("exit", (code, signal) =>
        code === 0 || signal === "SIGKILL" ? resolve() : reject(new Error(`${code}`)),
      );
    });
  const [whole, killed] = ["whole", "killed"].map((name) => joinPath(folder, `${name}.safetensors`)) as [
    string,
    string,
  ];
  await run({ out: whole });
  for (const killAt of [3, 7, undefined]) await run({ out: killed, servers: server.url, prefix }, killAt);
  expect(readFileSync(killed).equals(readFileSync(whole))).toBe(true);
});

test("a stream of batches comes in its order", async () => {
  const { cluster } = await clusterOf(2);
  const field = mlp({ widths: [2, 8, 2], seed: 1 });
  async function* batches() {
    for (let i = 0; i < 7; i++) yield numbers("float32", 2 * (100 + 50 * i), i + 1);
  }
  let i = 0;
  for await (const { y, shape } of cluster.stream(field, batches(), [0, 1])) {
    const y0 = numbers("float32", 2 * (100 + 50 * i), i + 1);
    expect(shape[1]).toBe(100 + 50 * i);
    expect(y).toEqual(odeint(field, y0, [0, 1], independent).y);
    i++;
  }
  expect(i).toBe(7);
  await expect(cluster.stream(field, 3 as never, [0, 1]).next()).rejects.toMatchObject({ code: "OPTION" });
});

test("a worker within this process, in threads of its own", async () => {
  const { cluster, prefix, events } = await clusterOf(0);
  const field = mlp({ widths: [2, 8, 2], seed: 1 });
  const y0 = numbers("float32", 200);
  // Without a worker, a solve waits for one.
  const waiting = cluster.odeint(field, y0, [0, 1]);
  const own = await join({ servers: server.url, prefix, threads: 2 });
  expect((await waiting).y).toEqual(odeint(field, y0, [0, 1], independent).y);
  expect(own.fingerprint).toBe(cluster.fingerprint);
  await own.close();
  await own.closed;
  await until("it has left", () => events.some(({ kind }) => kind === "left"));
  expect(cluster.workers).toBe(0);
});

test.each([
  ["bun", []],
  ["deno", ["run", "--no-config", "--allow-all"]],
])("%s works too", async (name, args) => {
  const { cluster, prefix } = await clusterOf(0, { arithmetic: "any" });
  const path = fileURLToPath(new URL(`../../node_modules/.bin/${name}`, import.meta.url));
  const options = ["worker", "--servers", server.url, "--prefix", prefix, "--threads", "2", "--quiet"];
  const child = spawn(path, [...args, command, ...options], { stdio: ["ignore", "ignore", "inherit"] });
  cleanups.push(() => child.kill("SIGKILL"));
  await until("a worker", () => cluster.workers === 2);
  const field = mlp({ widths: [2, 8, 2], seed: 1 });
  const y0 = numbers("float32", 2 * 300);
  const own = valueAndGrad(field, y0, [0, 1], square, independent);
  const there = await cluster.valueAndGrad(field, y0, [0, 1], square);
  expect(relative(there.gradient.parameters, own.gradient.parameters)).toBeLessThan(1e-4);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  expect(await ended).toBe(143);
});

test("the command says what is wrong with it, and waits for a server that is not there yet", async () => {
  const said = (args: string[]) =>
    new Promise<[status: number | null, text: string]>((resolve) => {
      const child = spawn(process.execPath, [command, "worker", "--threads", "1", ...args]);
      cleanups.push(() => child.kill("SIGKILL"));
      let text = "";
      child.stderr.setEncoding("utf8").on("data", (more) => {
        text += more;
      });
      child.once("exit", (status) => resolve([status, text]));
    });
  /** Waits until a worker says something, and ends it. */
  const heard = async (args: string[], what: RegExp) => {
    const child = spawn(process.execPath, [command, "worker", "--threads", "1", ...args]);
    cleanups.push(() => child.kill("SIGKILL"));
    let text = "";
    child.stderr.setEncoding("utf8").on("data", (more) => {
      text += more;
    });
    await until(String(what), () => what.test(text));
    child.kill("SIGKILL");
  };
  const servers = ["--servers", server.url];
  const wrong: [string[], number, RegExp][] = [
    [["--threads", "0"], 2, /threads/],
    [[...servers, "--creds", "nowhere.creds"], 2, /--creds: nowhere.creds: no such file/],
    [[...servers, "--tls-cert", "cert.pem"], 2, /--tls-cert and --tls-key: expected both or neither/],
    [[...servers, "--prefix", "a b"], 2, /error: --prefix: expected 1 to 64 letters/],
    [[...servers, "more"], 2, /too many arguments/],
    [["--servers", server.url.replace("nats", "tls")], 1, /the server does not offer TLS/],
    [["--servers", "http://localhost:1"], 2, /error: --servers: expected addresses that begin with nats/],
  ];
  for (const [args, status, text] of wrong) {
    const [code, all] = await said(args);
    expect(all, args.join(" ")).toMatch(text);
    expect(code, args.join(" ")).toBe(status);
  }
  const [guarded] = await startServers({
    config: "authorization { user: me, password: secret, timeout: 5 }",
  });
  cleanups.push(() => guarded?.remove());
  const refused = await said(["--servers", guarded?.url as string, "--user", "me", "--password", "wrong"]);
  expect(refused[1]).toMatch(/no connection to nats:.*authorization.*; check the user, password/i);
  expect(refused[0]).toBe(1);
  // A server without JetStream is told of.
  const [plain] = await startServers({ storage: null });
  cleanups.push(() => plain?.remove());
  await heard(["--servers", plain?.url as string], /no JetStream on the server, so there is no work/);
  // Its server comes after it; until then, it says why.
  const port = await freePort();
  const prefix = freshPrefix();
  const url = `nats://127.0.0.1:${port}`;
  const args = [command, "worker", "--servers", url, "--prefix", prefix, "--threads", "1", "--quiet"];
  // Somebody else, who hears it knock, and turns it away.
  const knocked = new Promise<void>((resolve) => {
    const door = createServer((socket) => {
      socket.destroy();
      door.close(() => resolve());
    }).listen(port, "127.0.0.1");
  });
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  cleanups.push(() => child.kill("SIGKILL"));
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (more) => {
    text += more;
  });
  await knocked;
  await until("it says that nobody is there", () => /still trying: .*connection refused/i.test(text));
  expect(child.exitCode).toBeNull();
  const [late] = await startServers({ port });
  cleanups.push(() => late?.remove());
  const cluster = await connect({ servers: url, prefix });
  cleanups.push(() => cluster.close());
  await until("the worker", () => cluster.workers === 1);
  // And goes before it: then a signal still ends the worker.
  await late?.stop();
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  expect(await ended).toBe(143);
});

test("what fails, and what is asked for wrongly, says so as it does here", async () => {
  const { cluster } = await clusterOf(1);
  const field = mlp({ widths: [2, 8, 2], activation: "elu", seed: 1 });
  field.parameters.fill(3);
  const y0 = new Float32Array(2 * 300).fill(-1);
  y0.fill(1e3, 2 * 299);
  const options = { maxSteps: 30, ...independent };
  const alone = (() => {
    try {
      return odeint(field, y0, [0, 100], options);
    } catch (error) {
      return error as { code: string; message: string; trajectory: number };
    }
  })() as { code: string; message: string; trajectory: number };
  const { code, message, trajectory } = alone;
  await expect(cluster.odeint(field, y0, [0, 100], options)).rejects.toMatchObject({ code, message, trajectory });
  const masked = { ...options, onFailure: "mask" } as const;
  expect(bits(await cluster.odeint(field, y0, [0, 0.5], masked))).toEqual(bits(odeint(field, y0, [0, 0.5], masked)));
  const small = Float32Array.of(1, 0);
  const own = custom({ stateSize: 2, evaluate: (_t, y) => y, vjp: (_t, _y, w) => ({ y: w }) });
  const wrong: [string, Promise<unknown>][] = [
    ["OPTION", cluster.odeint(own, small, [0, 1])],
    ["OPTION", cluster.odeint(field, small, [0, 1], { batching: "together" })],
    ["OPTION", cluster.odeint(field, small, [0, 1], { partial: true } as never)],
    ["OPTION", cluster.odeint(field, small, [0, 1], { methd: "rk4" } as never)],
    ["SHAPE", cluster.odeint(field, Float32Array.of(1), [0, 1])],
    ["DTYPE", cluster.odeint(field, Float64Array.of(1, 0) as never, [0, 1])],
    ["OPTION", cluster.valueAndGrad(field, small, [0, 1], 3 as never)],
    ["OPTION", connect({ server: "nats://127.0.0.1" } as never)],
    ["OPTION", connect({ servers: [] })],
    ["OPTION", connect({ servers: ["ws://127.0.0.1:1", "nats://127.0.0.1:1"] })],
    ["OPTION", connect({ servers: server.url, prefix: "a.b" })],
    ["OPTION", connect({ servers: server.url, arithmetic: "similar" })],
    ["OPTION", connect({ servers: server.url, replicas: 0 })],
    ["OPTION", connect({ servers: server.url, stallTimeout: 1e-9 })],
    ["OPTION", connect({ servers: server.url, nats: { core: {}, jetstream: {}, kv: {} } })],
    ["OPTION", join({ servers: server.url, threads: 0 })],
    ["CONNECTION", connect({ servers: "nats://127.0.0.1:1" })],
    ["CONNECTION", join({ servers: "nats://127.0.0.1:1", threads: 1 })],
    // One server has no second for a copy.
    ["CONNECTION", connect({ servers: server.url, prefix: freshPrefix(), replicas: 3 })],
  ];
  const settled = await Promise.allSettled(wrong.map(([, promise]) => promise));
  for (const [index, result] of settled.entries()) {
    const { code, message } = result.status === "rejected" ? result.reason : { code: "none", message: "" };
    expect(code, `${index}: ${message}`).toBe(wrong[index]?.[0]);
  }
  // A loss whose promise never settles holds nothing up.
  let called = () => {};
  const begun = new Promise<void>((resolve) => {
    called = resolve;
  });
  const waiting = cluster.valueAndGrad(field, small, [0, 0.01], () => {
    called();
    return new Promise<never>(() => {});
  });
  await Promise.race([begun, waiting]);
  const pending = cluster.odeint(field, y0, [0, 0.01]);
  cluster.close();
  cluster.close();
  await expect(pending).rejects.toMatchObject({ code: "DISPOSED" });
  await expect(waiting).rejects.toMatchObject({ code: "DISPOSED" });
  await expect(cluster.odeint(field, small, [0, 1])).rejects.toMatchObject({ code: "DISPOSED" });
});

test("a pool of threads gives the same bits", async () => {
  const { cluster } = await clusterOf(1);
  const pool = await parallel({ workers: 2 });
  const field = mlp({ widths: [2, 8, 2], seed: 1 });
  const y0 = numbers("float32", 2 * 300);
  const [here, there] = [
    await pool.valueAndGrad(field, y0, [0, 1], square, independent),
    await cluster.valueAndGrad(field, y0, [0, 1], square, independent),
  ];
  expect(bits(there.gradient)).toEqual(bits(here.gradient));
  pool.close();
});
