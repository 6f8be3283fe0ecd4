// npm run cluster: what a cluster costs on one machine: a gradient over NATS against one of a pool of threads, two workers against one,
// and what follows for many. Each worker has one thread, and server, coordinator and workers share the cores. With --write-docs,
// docs/cluster.md gets the figures.
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startServers } from "../test/cluster/server.mjs";
import { fill } from "./shared/pages.mjs";
import { cases } from "./shared/problems.mjs";
import { digits, median, setUp, spread, table, where } from "./shared/table.mjs";

const { values: flags } = parseArgs({ options: { "write-docs": { type: "boolean" } } });
const api = await setUp();
const { connect } = await import("../dist/cluster.js");
const command = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
const [server] = await startServers();

/** Trajectories of a leaf, of networks in float32: LANES × DENSE_LEAF in the crate. */
const LEAF = 64;

// Small and large are the networks and batches of docs/benchmarks.md; its medium one is too small to be shared.
const CASES = {
  small: { ...cases.small, rounds: 60 },
  medium: { ...cases.medium, batch: 4096, rounds: 20 },
  large: { ...cases.large, rounds: 12 },
};

/** Value and gradient of a case in each pool, in turns: for each pool, the milliseconds of each round, and what it noted on average. */
async function measure({ widths, batch, rounds }, pools) {
  const field = api.mlp({ widths, seed: 1 });
  const state = widths[0];
  const y0 = Float32Array.from({ length: batch * state }, (_, i) => Math.sin(i));
  const loss = (y) => ({ value: 0, cotangent: y });
  const options = { batching: "independent", rtol: 1e-4, timeGradients: false };
  const runs = pools.map(() => ({
    /** @type {number[]} */ times: [],
    /** @type {Record<string, number>} */ notes: {},
  }));
  for (let round = -2; round < rounds; round++) {
    for (const [i, { pool, note = () => ({}) }] of pools.entries()) {
      const before = note();
      const start = performance.now();
      await pool.valueAndGrad(field, y0, [0, 1], loss, options);
      const ms = performance.now() - start;
      const after = note();
      if (round < 0) continue;
      const { times, notes } = runs[i];
      times.push(ms);
      for (const name of Object.keys(after)) notes[name] = (notes[name] ?? 0) + (after[name] - before[name]) / rounds;
    }
  }
  field.dispose();
  return runs;
}

/** A cluster of so many workers. */
async function clusterOf(count) {
  const prefix = `bench-${process.pid}-${count}`;
  const args = ["worker", "--servers", server.url, "--prefix", prefix, "--threads", "1", "--quiet"];
  const workers = Array.from({ length: count }, () =>
    spawn(process.execPath, [command, ...args], { stdio: "inherit" }),
  );
  const cluster = await connect({ servers: server.url, prefix });
  while (cluster.workers < count) await new Promise((resolve) => setTimeout(resolve, 50));
  const note = () => {
    const { bytesSent, bytesReceived, done } = cluster.status;
    const { user, system } = process.cpuUsage();
    return { bytes: bytesSent + bytesReceived, shards: done, cpu: (user + system) / 1000 };
  };
  const end = async () => {
    cluster.close();
    for (const worker of workers) worker.kill();
    await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve))));
  };
  return { pool: cluster, note, end };
}

/** A pool of so many threads of this process. */
async function threadsOf(workers) {
  const pool = await api.parallel({ workers });
  return { pool, end: () => pool.close() };
}

/** The median of how many times as long one run takes as the other, round by round. */
const ratio = (one, other) => median(one.times.map((ms, round) => ms / other.times[round])).toFixed(2);

const rows = [];
const found = {};
for (const [name, one] of Object.entries(CASES)) {
  const pools = [await threadsOf(1), await threadsOf(2), await clusterOf(1), await clusterOf(2)];
  const [local, threads, alone, both] = await measure(one, pools);
  for (const { end } of pools) await end();
  found[name] = {
    local: median(local.times),
    cpu: both.notes.cpu,
    shards: both.notes.shards,
    leaves: Math.ceil(one.batch / LEAF),
    alone: median(alone.times),
  };
  rows.push([
    `${name}: ${one.widths.join("-")}, ${one.batch}`,
    ...[local, threads, alone, both].map(({ times }) => `${spread(times)} ms`),
    ratio(local, threads),
    ratio(alone, both),
    `${(both.notes.bytes / 1024).toFixed(0)} KiB`,
    both.notes.shards.toFixed(0),
  ]);
}
const columns = ["a thread", "two threads", "one worker", "two workers", "threads 1 : 2", "workers 1 : 2"];
const figures = table(["network, batch", ...columns, "bytes", "shards"], rows);

// A model of many workers, each with its own core and one shard per round, as long as there are leaves. The work of a thread is divided among
// them, the coordinator's work grows with the number of shards, and each gradient waits for two rounds of messages. Efficiency drops when
// the coordinator is as busy as the workers, or when there are more workers than leaves.
const latency = Math.max(0, found.small.alone - found.small.local);
const counts = [1, 2, 4, 8, 16, 32, 64];
const efficiency = Object.entries(found).map(([name, { local, cpu, shards, leaves }]) => [
  name,
  String(leaves),
  ...counts.map((count) => {
    const computed = (local * Math.ceil(leaves / count)) / leaves;
    const coordinated = (cpu / shards) * 2 * Math.min(count, leaves);
    return `${Math.round((100 * local) / (count * (Math.max(computed, coordinated) + latency)))} %`;
  }),
]);
const model = table(["workers", "leaves", ...counts.map(String)], efficiency);
const costs = Object.values(found).map(({ cpu, shards }) => `${digits(cpu / shards)} ms`);
const explained =
  `Predicted efficiency with more workers, each on its own core: the share of their time spent on the gradient. The model uses three ` +
  `measured numbers: the time of a thread, which is divided over the leaves; the coordinator's work per shard, ` +
  `${costs.join(", ")}, which workers do not share; and ${digits(latency)} ms for two rounds of messages.`;
const text = `${figures}\n\n${explained}\n\n${model}`;
console.log(text);
if (flags["write-docs"]) fill("docs/cluster.md", `${text}\n\n${where(api)}, ${availableParallelism()} cores.`);
await server.remove();
process.exit();
