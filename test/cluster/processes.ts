// What the tests of the queue have in common: a coordinator, and workers as processes of their own.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import { afterEach } from "vitest";
import { type Client, connectClient } from "../../ts/cluster/client.js";
import { Coordinator, type RemoteTask } from "../../ts/cluster/coordinator.js";
import type { ClusterEvent } from "../../ts/cluster/events.js";

const folder = fileURLToPath(new URL("../../node_modules/.cache/cluster/", import.meta.url));

/** Where the script of that name is, once it is made. */
export const scriptOf = (script: string) => folder + script.replace(/\.ts$/, ".mjs");

/** Makes the script of a worker: one whose tasks mean nothing, or another. */
export function buildWorker(script = "echo.mjs"): void {
  mkdirSync(folder, { recursive: true });
  buildSync({
    entryPoints: [fileURLToPath(new URL(script, import.meta.url))],
    ...{ bundle: true, outfile: scriptOf(script), format: "esm", platform: "node", packages: "external" },
  });
}

/** What is done after each test, the last first. */
export const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

let prefixes = 0;
export const freshPrefix = () => `t${process.pid}-${++prefixes}`;

/** Waits until something is so. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; !holds(); i++) {
    if (i > 1200) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export interface Own {
  readonly coordinator: Coordinator;
  readonly client: Client;
  readonly events: ClusterEvent[];
  readonly prefix: string;
}

export async function coordinate(
  servers: string[],
  { stallMs = 1000, group = "f1", replicas = 1, prefix = freshPrefix(), own = {} } = {},
): Promise<Own> {
  const client = await connectClient({ servers, prefix, name: "test", client: { reconnectTimeWait: 100, ...own } });
  const events: ClusterEvent[] = [];
  const options = { group, stallMs, replicas, onEvent: (event: ClusterEvent) => void events.push(event) };
  const suits = ({ fingerprint }: { fingerprint: string }) => group === "any" || fingerprint === group;
  const coordinator = new Coordinator(client, { ...options, suits });
  await coordinator.start();
  cleanups.push(async () => {
    coordinator.end(new Error("over") as never);
    await client.connection.close();
  });
  return { coordinator, client, events, prefix };
}

/** Starts a worker as a process, and waits until it is there. */
export async function worker(
  servers: string[],
  options: object,
  script = "echo.mjs",
): Promise<ChildProcess & { name: string }> {
  const all = { servers, client: { reconnectTimeWait: 100 }, ...options };
  const child = spawn(process.execPath, [scriptOf(script), JSON.stringify(all)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  cleanups.push(() => {
    child.kill("SIGCONT");
    child.kill("SIGKILL");
  });
  const name = await new Promise<string>((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the worker ended with ${code}`)));
    child.stdout?.setEncoding("utf8").on("data", (text) => {
      const found = /name (\S+)/.exec(text)?.[1];
      if (found) resolve(found);
    });
  });
  return Object.assign(child, { name });
}

export const bytesOf = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const parsed = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes));

interface Answer {
  readonly number: number;
  readonly sum: number;
  readonly process: number;
  readonly again: boolean;
}

/** A task for such a worker. */
export const task = (body: object, rest: Partial<RemoteTask<Answer>> = {}): RemoteTask<Answer> => ({
  body: () => bytesOf(body),
  most: 1000,
  read: parsed,
  ...rest,
});
