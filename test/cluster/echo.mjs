// A worker whose tasks mean nothing: for tests of the queue alone. Its body is JSON: how long to take, and what to do.
import { connectClient } from "../../ts/cluster/client.js";
import { Forgotten } from "../../ts/cluster/failures.js";
import { serve } from "../../ts/cluster/serve.js";

const { servers, prefix, fingerprint = "f1", threads = 1, client } = JSON.parse(process.argv[2] ?? "{}");
const connected = await connectClient({ servers, prefix, client, name: "echo" });
const kept = new Set();
const served = await serve(connected, {
  fingerprint,
  engine: "none",
  version: "0",
  threads,
  valueBytes: 2 ** 28,
  async compute(body, values) {
    const { ms = 0, ask, number = 0, error, exit, keep, from } = JSON.parse(new TextDecoder().decode(body));
    console.log(`begun ${number}`);
    await new Promise((resolve) => setTimeout(resolve, ms));
    if (exit) process.exit(3);
    if (error) throw new Error(error);
    if (from !== undefined && !kept.has(from)) throw new Forgotten();
    if (keep !== undefined) kept.add(keep);
    if (ask === "bytes") return new Uint8Array(number).fill(7);
    const sum = values.reduce((sum, value) => sum + value.length, 0);
    return new TextEncoder().encode(JSON.stringify({ number, sum, process: process.pid, again: from !== undefined }));
  },
});
process.on("SIGTERM", () => served.close());
console.log(`name ${served.name}`);
await served.ended;
console.log("ended");
