// Gradients and a training in a network whose links go down in the middle: a script for a namespace with a switch. What it found is the
// last line that it prints, as JSON.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { mlp, valueAndGrad } from "symplectic-adjoint";
import { connect } from "symplectic-adjoint/cluster";
import { host, machine } from "./network.mjs";
import { startServers } from "./server.mjs";

const rounds = Number(process.argv[2]);
const command = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const trainer = fileURLToPath(new URL("trainer.mjs", import.meta.url));
const [server] = /** @type {[import("./server.mjs").Server]} */ (await startServers({ host }));
const servers = server.url;

/** @type {import("symplectic-adjoint/cluster").ClusterEvent[]} */
const events = [];
/** @type {Set<() => void>} */
const waiting = new Set();
const cluster = await connect({
  ...{ servers, stallTimeout: 1 },
  onEvent(event) {
    if (event.kind !== "progress") events.push(event);
    for (const look of waiting) look();
  },
});

/** @param {() => boolean} holds */
const until = (holds) =>
  new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
    const look = () => {
      if (!holds()) return;
      waiting.delete(look);
      resolve();
    };
    waiting.add(look);
    look();
  });

const work = () => machine([command, "worker", "--servers", servers, "--threads", "1", "--quiet"]);
/** Machines with a worker, by its name. */
const workers = new Map();
for (let count = 1; count <= 2; count++) {
  const own = await work();
  await until(() => cluster.workers === count);
  const { name } = /** @type {{ name: string }} */ (cluster.status.workers.find(({ name }) => !workers.has(name)));
  workers.set(name, own);
}

const field = mlp({ widths: [2, 32, 32, 2], seed: 1 });
const y0 = Float32Array.from({ length: 2 * 2048 }, (_, i) => Math.sin(i * i));
const options = /** @type {const} */ ({ rtol: 1e-5, batching: "independent" });
/** @param {Float32Array} y */
const square = (y) => ({ value: y.reduce((sum, value) => sum + value * value, 0), cotangent: y });
const alone = valueAndGrad(field, y0, [0, 1], square, options);

/**
 * A gradient in the middle of which something happens: after the first shard, or when all shards lie with whoever has solved them, of
 * whom there are at least two.
 *
 * @param {"solve" | "transpose" | "never"} when
 * @param {() => void} action
 */
async function gradient(when, action) {
  let happened = when === "never";
  const strike = () => {
    if (!happened) action();
    happened = true;
  };
  do {
    const there = await cluster.valueAndGrad(
      ...[field, y0, [0, 1]],
      (/** @type {Float32Array} */ y, /** @type {unknown} */ _, /** @type {any} */ solution) => {
        if (when === "transpose" && solution.stats.workers > 1) strike();
        return square(y);
      },
      { ...options, progress: () => void (when === "solve" && strike()) },
    );
    same &&=
      there.value === alone.value &&
      isDeepStrictEqual(there.gradient.parameters, alone.gradient.parameters) &&
      isDeepStrictEqual(there.gradient.y0, alone.gradient.y0);
  } while (!happened);
}

let [same, retried] = [true, true];
for (let round = 0; round < rounds; round++) {
  const [name, { cut, heal }] = [...workers][(round >> 1) % 2];
  /** @param {string} kind */
  const heard = (kind) => events.some((event) => event.kind === kind && event.worker === name);
  events.length = 0;
  const when = round % 2 === 0 ? "transpose" : "solve";
  await gradient(when, cut);
  // The shards that lay there were done by the other one.
  retried &&= when === "solve" || events.some(({ kind }) => kind === "retry");
  await until(() => heard("lost"));
  heal();
  await until(() => heard("joined"));
  // It works again.
  const doneBy = () => cluster.status.workers.find((worker) => worker.name === name)?.done ?? 0;
  const before = doneBy();
  while (doneBy() === before) await gradient("never", () => {});
}
const { inFlight, rejected } = cluster.status;
cluster.close();

// The training's own link, until it misses its workers.
const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-partition-"));
const [here, there] = ["here", "there"].map((name) => join(folder, `${name}.safetensors`));
const steps = { steps: 12, batch: 300 };
const ended = (/** @type {import("node:child_process").ChildProcess} */ child) =>
  new Promise((resolve) => child.once("exit", resolve));
const own = await machine([trainer, JSON.stringify({ ...steps, out: here })]);
own.child.stdout.resume();
const codes = [await ended(own.child)];
const { child, cut, heal } = await machine([trainer, JSON.stringify({ ...steps, out: there, servers })]);
let cuts = 0;
child.stdout.setEncoding("utf8").on("data", (/** @type {string} */ text) => {
  if (cuts > 0 && text.includes("lost")) heal();
  if (cuts > 0 || !text.includes("step ")) return;
  cuts++;
  cut();
});
codes.push(await ended(child));
const model = readFileSync(here ?? "").equals(readFileSync(there ?? ""));
rmSync(folder, { recursive: true });
await server.remove();
console.log(JSON.stringify({ same, retried, inFlight, rejected, codes, cuts, model }));
process.exit();
