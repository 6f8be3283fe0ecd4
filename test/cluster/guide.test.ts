// The guide as its reader follows it: a server, a worker, and the examples.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { complaint, exampleFolder, examples, run } from "../examples.mjs";
import { cleanups } from "./processes.js";
import { type Server, startServers } from "./server.mjs";

const command = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const folder = exampleFolder("test");
let server: Server;
beforeAll(async () => {
  [server] = (await startServers()) as [Server];
});
afterAll(async () => {
  await server.remove();
  folder.remove();
});

test.for(examples.filter(({ cluster }) => cluster))("$name runs", async (example) => {
  const child = spawn(process.execPath, [command, "worker", "--servers", server.url, "--threads", "2"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    said += text;
  });
  cleanups.push(() => child.kill("SIGKILL"));
  // Other servers of this machine are left alone.
  const address = JSON.stringify(server.url);
  const code = example.code
    .replace('"nats://localhost:4222"', address)
    .replace("connect()", `connect({ servers: ${address} })`);
  expect(code).toContain(address);
  const { output, error } = await run({ ...example, code }, folder.path);
  expect(complaint(example, { output, error })).toBe("");
  const losses = [...output.matchAll(/loss (\S+),/g)].map(([, loss]) => Number(loss));
  if (losses.length > 0) expect(losses.at(-1)).toBeLessThan((losses[0] as number) / 2);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGINT");
  expect(await ended).toBe(130);
  expect(said).toMatch(/worker \S+: 2 threads, arithmetic [0-9a-f]{16}\n/);
});
