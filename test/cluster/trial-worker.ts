// A worker of sweeps alone, whose trials are arithmetic: for tests of the queue of trials.
import { appendFileSync } from "node:fs";
import { setTimeout as work } from "node:timers/promises";
import { connectClient } from "../../ts/cluster/client.js";
import { serveTrials } from "../../ts/cluster/serve-trials.js";
import type { TrialFunction } from "../../ts/cluster/trials.js";

const { servers, prefix, parallel = 1, client, log } = JSON.parse(process.argv[2] ?? "{}");
const connected = await connectClient({ servers, prefix, client, name: "trials" });
const name = `w${process.pid}`;

const tasks = new Map<string, TrialFunction>([
  [
    "parabola",
    async ({ trial, parameters: { x = 0, ms = 0, act = "" }, budget = 1, state, settings, files, seed }) => {
      if (log) appendFileSync(log, `${trial} ${budget} ${process.pid}\n`);
      // A trial that takes as long as it is told to, so that it can be killed in the middle.
      await work(Number(ms) + Number((settings as { ms?: number })?.ms ?? 0));
      if (act === "throw") throw new Error(`no trial ${trial}`);
      if (act === "nan") return Number.NaN;
      if (act === "exit") process.exit(3);
      if (act === "hang") await new Promise(() => {});
      const before = state ? JSON.parse(new TextDecoder().decode(state)) : [];
      const own = new TextEncoder().encode(JSON.stringify([...before, budget]));
      const info = { before, seed, file: files.data ? files.data.length : null };
      return { value: (Number(x) - 1) ** 2 + 1 / budget, state: own, info };
    },
  ],
]);
const served = serveTrials(connected, {
  ...{ name, tasks, parallel, most: 2 ** 28 },
  onEvent: ({ kind, message }) => kind === "rejected" && console.log(`refused ${message}`),
});
process.on("SIGTERM", async () => {
  await served.close();
  await connected.connection.drain();
  process.exit(0);
});
console.log(`name ${name}`);
