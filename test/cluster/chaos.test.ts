// Gradients while workers are killed and stopped at random and the server restarts: each has the bits of this process.
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { mlp, valueAndGrad } from "symplectic-adjoint";
import { connect } from "symplectic-adjoint/cluster";
import { expect, test } from "vitest";
import { uniforms } from "../../ts/trace/random.js";
import { numbers } from "../unit/helpers.js";
import { cleanups, freshPrefix } from "./processes.js";
import { startServers } from "./server.mjs";

const command = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const ROUNDS = process.env.LONG ? 150 : 6;

const square = (y: Float32Array) => ({ value: y.reduce((sum, value) => sum + value * value, 0), cotangent: y });

test(`${ROUNDS} gradients`, async () => {
  const [server] = await startServers();
  cleanups.push(() => server?.remove());
  const prefix = freshPrefix();
  const cluster = await connect({ servers: server?.url as string, prefix, stallTimeout: 1 });
  cleanups.push(() => cluster.close());
  const workers: ChildProcess[] = [];
  const start = () => {
    const args = ["worker", "--servers", server?.url as string, "--prefix", prefix, "--threads", "1", "--quiet"];
    const child = spawn(process.execPath, [command, ...args], { stdio: ["ignore", "ignore", "inherit"] });
    workers.push(child);
    cleanups.push(() => child.kill("SIGKILL"));
  };
  for (let i = 0; i < 2; i++) start();

  const next = uniforms(7);
  /** Something that happens to a worker or the server. */
  const strike = async () => {
    const victim = workers[Math.floor(next() * workers.length)] as ChildProcess;
    const what = next();
    if (what < 0.4) {
      victim.kill("SIGKILL");
      workers.splice(workers.indexOf(victim), 1);
      start();
    } else if (what < 0.8) {
      victim.kill("SIGSTOP");
      setTimeout(() => victim.kill("SIGCONT"), 4000 * next());
    } else await server?.restart();
  };
  const field = mlp({ widths: [2, 32, 32, 2], seed: 1 });
  const y0 = numbers("float32", 2 * 1500);
  const options = { rtol: 1e-5 };
  const own = valueAndGrad(field, y0, [0, 1], square, { ...options, batching: "independent" });
  for (let round = 0; round < ROUNDS; round++) {
    const strikes: Promise<void>[] = [];
    const at = next();
    const progress = (fraction: number) => {
      if (strikes.length === 0 && fraction > at) strikes.push(strike());
    };
    const loss = (y: Float32Array) => {
      if (strikes.length === 0) strikes.push(strike());
      return square(y);
    };
    const { value, gradient } = await cluster.valueAndGrad(field, y0, [0, 1], loss, { ...options, progress });
    expect(value).toBe(own.value);
    expect(gradient.parameters).toEqual(own.gradient.parameters);
    expect(gradient.y0).toEqual(own.gradient.y0);
    await Promise.all(strikes);
  }
  expect(cluster.status).toMatchObject({ inFlight: 0, rejected: 0 });
}, 3_600_000);
