// A worker of a cluster, until a signal ends it.
import { readFileSync } from "node:fs";
import * as jetstream from "@nats-io/jetstream";
import * as kv from "@nats-io/kv";
import * as transport from "@nats-io/transport-node";
import type { WorkerEvent } from "../cluster.js";
import { Failure, reasonOf } from "./failure.js";
import { SIGNALS, type Signal } from "./signals.js";

/** What the command was given. */
export interface WorkerRequest {
  servers: string[];
  prefix?: string;
  threads?: number;
  memory?: number;
  creds?: string;
  user?: string;
  password?: string;
  token?: string;
  tlsCa?: string;
  tlsCert?: string;
  tlsKey?: string;
  inboxPrefix?: string;
  quiet: boolean;
}

const say = (text: string) => void process.stderr.write(`${text}\n`);

function read(name: string, file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Failure(`${name}: ${file}: ${reasonOf(error)}`, 2);
  }
}

/** What the NATS client is to know beside the address. */
function clientOptions(request: WorkerRequest): Record<string, unknown> {
  const { creds, user, password, token, tlsCa, tlsCert, tlsKey, inboxPrefix } = request;
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new Failure("--tls-cert: expected --tls-key beside it, and the other way round", 2);
  }
  const authenticator = creds && transport.credsAuthenticator(read("--creds", creds));
  for (const [name, file] of Object.entries({ "--tls-ca": tlsCa, "--tls-cert": tlsCert, "--tls-key": tlsKey })) {
    if (file !== undefined) read(name, file);
  }
  const files = { caFile: tlsCa, certFile: tlsCert, keyFile: tlsKey };
  const tls = Object.fromEntries(Object.entries(files).filter(([, file]) => file !== undefined));
  const all = { user, pass: password, token, authenticator, inboxPrefix };
  return {
    ...Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)),
    ...(Object.keys(tls).length > 0 && { tls }),
    // A worker may be started before its server.
    waitOnFirstConnect: true,
  };
}

/** Tells of a worker on standard error: in a terminal in one line, elsewhere once in a while. */
function reporter(quiet: boolean) {
  const { isTTY = false } = process.stderr;
  const start = performance.now();
  let [done, busy, last, shown] = [0, 0, 0, false];
  const line = () => {
    const seconds = (performance.now() - start) / 1000;
    return `${done} shards, ${(done / seconds).toPrecision(3)} a second, busy ${Math.round(busy / seconds / 10)} %`;
  };
  const clear = () => {
    if (shown) process.stderr.write("\r\u001b[K");
    shown = false;
  };
  return (event: WorkerEvent): void => {
    if (event.kind === "done" || event.kind === "failed") {
      done++;
      busy += event.ms ?? 0;
    }
    if (quiet) return;
    clear();
    if (event.kind === "failed") say(`a shard failed: ${event.message}`);
    else if (event.kind === "refused") say(event.message ?? "");
    else if (event.kind === "disconnected") say(`${event.server} is gone; waiting for it`);
    else if (event.kind === "connected") say(`connected to ${event.server}`);
    const now = performance.now();
    if (event.kind !== "done" || now - last < (isTTY ? 100 : 10_000)) return;
    last = now;
    process.stderr.write(isTTY ? `  ${line()}` : `${line()}\n`);
    shown = isTTY;
  };
}

/** Works until a signal comes; gives the signal. */
export async function work(request: WorkerRequest): Promise<Signal | null> {
  const { servers, prefix, threads, memory } = request;
  const { join } = await import("../cluster.js");
  const client = clientOptions(request);
  if (!request.quiet) say(`connecting to ${servers.join(", ")} …`);
  const worker = await join({
    servers,
    client,
    nats: { core: transport, jetstream, kv, transport },
    ...(prefix !== undefined && { prefix }),
    ...(threads !== undefined && { threads }),
    ...(memory !== undefined && { memoryBudget: memory * 2 ** 20 }),
    onEvent: reporter(request.quiet),
  });
  if (!request.quiet) {
    say(`worker ${worker.name}: ${worker.threads} threads, arithmetic ${worker.fingerprint}`);
  }
  let caught: Signal | null = null;
  for (const signal of Object.keys(SIGNALS) as Signal[]) {
    process.on(signal, () => {
      // A second one does not wait.
      if (caught !== null) process.exit(SIGNALS[signal]);
      caught = signal;
      if (!request.quiet) say("ending the shards that have begun …");
      worker.close();
    });
  }
  await worker.closed;
  return caught;
}
