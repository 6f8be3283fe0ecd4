// The connection to NATS, with client modules that are optional peers or passed in by the caller.
import type * as JetStream from "@nats-io/jetstream";
import type * as Kv from "@nats-io/kv";
import type * as Core from "@nats-io/nats-core";
import { refused, SymplecticAdjointError, textOf } from "../checks/errors.js";
import { anything, fallback, isObject, number, object, rule } from "../checks/rules.js";
import { readAddresses } from "./addresses.js";
import { isToken } from "./messages.js";
import { type ClusterNames, namesOf } from "./names.js";

/** Modules of the NATS client for JavaScript, as `import * as core from "@nats-io/nats-core"` gives them. */
export interface NatsModules {
  /** The module that connects over WebSocket: `await import("@nats-io/nats-core")`. */
  readonly core: object;
  /** The module of streams: `await import("@nats-io/jetstream")`. */
  readonly jetstream: object;
  /** The module of key-value stores: `await import("@nats-io/kv")`. */
  readonly kv: object;
  /**
   * The module of a transport with `connect`, for addresses other than `ws:` and `wss:`: `await import("@nats-io/transport-node")` or
   * another. Default: none.
   */
  readonly transport?: object;
}

/** How to reach the NATS servers. */
export interface ServerOptions {
  /**
   * The addresses of the NATS servers, all of one kind: `nats://localhost:4222`; `tls://…`, where nothing is sent without encryption;
   * `ws://…` or `wss://…` for WebSocket, as in browsers. `nats://user:password@…` has the user too. Default: this machine, port 4222.
   */
  servers?: string | readonly string[] | undefined;
  /**
   * The prefix of subjects and streams: letters, digits, `-` and `_`. Clusters with different prefixes do not see each other. Default
   * `symplectic`.
   */
  prefix?: string | undefined;
  /**
   * Options for the NATS client, passed on as they are: `user` and `pass`, `token`, `authenticator`, `tls`, `inboxPrefix`,
   * `reconnectTimeWait` and so on.
   */
  client?: object | undefined;
  /**
   * The modules of the NATS client, each as `await import("@nats-io/kv")` gives it, for where they cannot be imported by name, as in a page
   * without a bundler. Default: the package imports them.
   */
  nats?: NatsModules | undefined;
}

/** A connection to the servers. */
export interface Client {
  readonly connection: Core.NatsConnection;
  readonly core: typeof Core;
  readonly streams: JetStream.JetStreamClient;
  /** Like `streams`, with a timeout long enough for a chunk over a slow link. */
  readonly patient: JetStream.JetStreamClient;
  readonly manager: JetStream.JetStreamManager;
  readonly jetstream: typeof JetStream;
  readonly kv: typeof Kv;
  readonly names: ClusterNames;
  /** The command that starts workers on these servers, for messages. */
  readonly startWorkers: string;
  /** The largest body of a message, in bytes; headers and the metadata of a part are already subtracted. */
  readonly most: number;
  /** The largest part of a value or of an answer, in bytes. */
  readonly part: number;
  /** Settles as the request does; rejects if the connection is lost, because the answer is lost with it. */
  connected<T>(request: Promise<T>): Promise<T>;
}

/** How many chunks are in flight at a time. */
export const MOST_PARTS = 4;
const PART_BYTES = 2 ** 19;

/** A timeout in milliseconds for a message of this many bytes among others as large: five seconds, plus the time at 40 kB/s. */
export const patienceFor = (bytes: number): number => 5000 + (MOST_PARTS * bytes) / 40;

/** Bytes reserved in a message for headers and the metadata of a part. */
const MARGIN = 4096;

const isServers = (value: unknown) =>
  [value].flat().every((one) => typeof one === "string" && one !== "") && [value].flat().length > 0;

export const serverRules = {
  servers: fallback(rule<string | readonly string[]>("an address or several", isServers), "nats://127.0.0.1:4222"),
  prefix: fallback(rule<string>("1 to 64 letters, digits, - and _", isToken), "symplectic"),
  client: fallback(object, {}),
  nats: anything<NatsModules>(),
};

/** The rule of `stallTimeout`. */
export const stallRule = (unless: number) =>
  fallback(
    number("a number of seconds from 0.1 to a day", (value) => value >= 0.1 && value <= 86_400),
    unless,
  );

/** Hints for the client's connection errors. */
const UNREACHABLE: readonly (readonly [what: RegExp, hint: string])[] = [
  [/authori[sz]ation|authentication/i, "check the user, password, token or credentials"],
  [/certificate|altnames/i, "check the server's certificate, and the CA certificates that you trust"],
  [/'tls'/, "the server does not offer TLS"],
];

/** The error for servers that cannot be reached. */
const unreachable = (servers: readonly string[], cause: unknown) =>
  new SymplecticAdjointError(
    "CONNECTION",
    `servers: no connection to ${servers.join(", ")}: ${textOf(cause)}; ${
      UNREACHABLE.find(([what]) => says(cause, what))?.[1] ?? "is a nats-server running there, with JetStream?"
    }`,
    { argument: "servers", given: servers.join(", ") },
    { cause },
  );

/** Connects, over WebSocket for ws: and wss: addresses. */
export async function connectClient(options: ServerOptions & { name: string }): Promise<Client> {
  const { servers: given, prefix = "symplectic", nats, name } = options;
  const client = (options.client ?? {}) as Core.ConnectionOptions & Core.WsConnectionOptions;
  const { servers, scheme, login } = readAddresses([given ?? "nats://127.0.0.1:4222"].flat());
  const isWeb = scheme === "ws" || scheme === "wss";
  // Without WebSocket, the client would wait forever.
  if (isWeb && typeof WebSocket === "undefined" && !client.wsFactory) {
    const message = `servers: this runtime has no WebSocket, which ${scheme}: needs; use nats: or tls: addresses, or Node 22`;
    throw new SymplecticAdjointError("UNSUPPORTED", message, { argument: "servers", given: servers.join(", ") });
  }
  const modules = nats ?? (await peers(isWeb));
  const core = modules.core as typeof Core;
  const jetstream = modules.jetstream as typeof JetStream;
  const kv = modules.kv as typeof Kv;
  const transport = modules.transport as { connect: typeof core.wsconnect } | undefined;
  const opened = isWeb ? core.wsconnect : transport?.connect;
  if (!opened) {
    throw refused(
      "OPTION",
      "nats.transport",
      "@nats-io/transport-node, for addresses that are not ws: or wss:",
      "none",
    );
  }
  let connection: Core.NatsConnection;
  try {
    // Reconnect without a limit: a server may take a while to restart.
    const lasting = { maxReconnectAttempts: -1, reconnectTimeWait: 500 };
    // The client treats tls: as nats:, and encrypts only if the server asks for it, unless it has options for TLS.
    const tls = scheme === "tls" && !client.tls ? { tls: {} } : {};
    connection = await opened({ ...lasting, name, ...login, ...client, ...tls, servers: [...servers] });
  } catch (cause) {
    throw unreachable(servers, cause);
  }
  // Every failed request reports the reason; here it would only become an unhandled rejection.
  connection.closed().catch(() => {});
  const payload = connection.info?.max_payload ?? 2 ** 20;
  if (payload < 2 * MARGIN) {
    await connection.close();
    const expected = `a NATS server with a max_payload of ${2 * MARGIN} bytes or more`;
    throw refused("CONNECTION", "servers", expected, `one of ${payload} bytes`);
  }
  const most = Math.min(payload, 2 ** 20) - MARGIN;
  return {
    connection,
    core,
    jetstream,
    kv,
    streams: jetstream.jetstream(connection),
    patient: jetstream.jetstream(connection, { timeout: patienceFor(PART_BYTES) }),
    // Missing JetStream shows on first use. Asking for it would need a permission that workers lack.
    manager: await jetstream.jetstreamManager(connection, { checkAPI: false }),
    names: namesOf(prefix),
    startWorkers: `npx symplectic-adjoint worker --servers ${servers.join(",")}${prefix === "symplectic" ? "" : ` --prefix ${prefix}`}`,
    most,
    part: Math.min(most, PART_BYTES),
    connected: whileConnected(connection),
  };
}

function whileConnected(connection: Core.NatsConnection): Client["connected"] {
  const waiting = new Set<(error: Error) => void>();
  (async () => {
    for await (const { type } of connection.status()) {
      // Requests sent during the outage may be lost as well.
      if (type !== "disconnect" && type !== "reconnect") continue;
      for (const reject of waiting) reject(new Error("the connection to the server was lost"));
    }
  })();
  return (request) =>
    new Promise((resolve, reject) => {
      waiting.add(reject);
      request.then(resolve, reject).finally(() => waiting.delete(reject));
    });
}

async function peers(web: boolean): Promise<NatsModules> {
  // A variable hides this import from bundlers for pages: the package needs modules of Node.
  const node: string = "@nats-io/transport-node";
  try {
    const [core, jetstream, kv, transport] = await Promise.all([
      import("@nats-io/nats-core"),
      import("@nats-io/jetstream"),
      import("@nats-io/kv"),
      web ? undefined : import(/* webpackIgnore: true */ /* @vite-ignore */ node),
    ]);
    return { core, jetstream, kv, ...(transport && { transport }) };
  } catch (cause) {
    const names = `@nats-io/nats-core @nats-io/jetstream @nats-io/kv${web ? "" : " @nats-io/transport-node"}`;
    throw new SymplecticAdjointError(
      "UNSUPPORTED",
      `a cluster needs the NATS client: npm install ${names}; or pass it as the option nats (${textOf(cause)})`,
      { argument: "nats" },
      { cause },
    );
  }
}

/** Calls `hear` with each message of a subject. */
export function listen({ connection }: Client, subject: string, hear: (message: Core.Msg) => void): Core.Subscription {
  return connection.subscribe(subject, {
    callback: (error, message) => {
      if (!error) hear(message);
    },
  });
}

const says = (error: unknown, what: RegExp) =>
  isObject(error) && what.test(String((error as { message?: unknown }).message));

/** JetStream's error code. */
export const codeOf = (error: unknown): number | undefined => (error as { code?: number }).code;

/** Whether the server denied a permission. */
export const isForbidden = (error: unknown): boolean => says(error, /permissions violation/i);

/** Whether JetStream has run out of memory or disk. */
export const isFull = (error: unknown): boolean =>
  says(error, /insufficient .*resources|resources? .*exceeded|maximum bytes exceeded/i);

/** Whether the server runs without JetStream. */
export const hasNoJetStream = (error: unknown): boolean => says(error, /jetstream.* not enabled/i);

/** Whether retrying is pointless. */
export const isFinal = (error: unknown): boolean =>
  isForbidden(error) || isFull(error) || says(error, /max_payload|maximum payload/i);

/** Wraps an error of the client; errors of this package are returned as they are. */
export function connectionError(cause: unknown): SymplecticAdjointError {
  if (cause instanceof SymplecticAdjointError) return cause;
  return new SymplecticAdjointError(
    "CONNECTION",
    `the server rejected a request: ${textOf(cause)}${hintOf(cause)}`,
    {},
    { cause },
  );
}

function hintOf(cause: unknown): string {
  if (isForbidden(cause)) return "; the server does not allow it: see docs/cluster.md for the permissions";
  if (isFull(cause)) return "; give JetStream more room there: max_mem and max_file of the block jetstream";
  return hasNoJetStream(cause) ? "; is JetStream enabled there (nats-server -js)?" : "";
}
