// The NATS client: optional peers of the package, or those that a caller hands over.
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

/** A connection, and what is done over it. */
export interface Client {
  readonly connection: Core.NatsConnection;
  readonly core: typeof Core;
  readonly streams: JetStream.JetStreamClient;
  /** The same for parts of values, which may take as long as a slow link needs. */
  readonly patient: JetStream.JetStreamClient;
  readonly manager: JetStream.JetStreamManager;
  readonly jetstream: typeof JetStream;
  readonly kv: typeof Kv;
  readonly names: ClusterNames;
  /** The most bytes that a message may have beside its headers and, where it carries a part of something, what tells which. */
  readonly most: number;
  /** The most bytes of a part of a value or an answer. */
  readonly part: number;
  /** Settles as a request does; rejects when the connection is lost, since its answer is lost as well. */
  connected<T>(request: Promise<T>): Promise<T>;
}

/** Parts of something larger that are under way at a time. */
export const MOST_PARTS = 4;
const PART_BYTES = 2 ** 19;

/** How long a message of so many bytes may take, with others as large: what a link of 40 kB/s needs, and five seconds. */
export const patienceFor = (bytes: number): number => 5000 + (MOST_PARTS * bytes) / 40;

/** What headers and the names of a part may take of a message. */
const MARGIN = 4096;

const isServers = (value: unknown) =>
  [value].flat().every((one) => typeof one === "string" && one !== "") && [value].flat().length > 0;

export const serverRules = {
  servers: fallback(rule<string | readonly string[]>("an address or several", isServers), "nats://127.0.0.1:4222"),
  prefix: fallback(rule<string>("1 to 64 letters, digits, - and _", isToken), "symplectic"),
  client: fallback(object, {}),
  nats: anything<NatsModules>(),
};

/** After so many seconds of silence work is given to another worker. */
export const stallRule = (unless: number) =>
  fallback(
    number("a number of seconds from 0.1 to a day", (value) => value >= 0.1 && value <= 86_400),
    unless,
  );

/** What helps where the client says such things of whom it cannot reach. */
const UNREACHABLE: readonly (readonly [what: RegExp, hint: string])[] = [
  [/authori[sz]ation|authentication/i, "check the user, password, token or credentials"],
  [/certificate|altnames/i, "check the server's certificate, and the CA certificates that you trust"],
  [/'tls'/, "the server there offers no TLS"],
];

/** What the client says of whom it cannot reach. */
const unreachable = (servers: readonly string[], cause: unknown) =>
  new SymplecticAdjointError(
    "CONNECTION",
    `servers: no connection to ${servers.join(", ")}: ${textOf(cause)}; ${
      UNREACHABLE.find(([what]) => says(cause, what))?.[1] ?? "is a nats-server running there, with JetStream?"
    }`,
    { argument: "servers", given: servers.join(", ") },
    { cause },
  );

/** Connects; by WebSocket where the address says so. */
export async function connectClient(options: ServerOptions & { name: string }): Promise<Client> {
  const { servers: given, prefix = "symplectic", nats, name } = options;
  const client = (options.client ?? {}) as Core.ConnectionOptions & Core.WsConnectionOptions;
  const { servers, scheme, login } = readAddresses([given ?? "nats://127.0.0.1:4222"].flat());
  const isWeb = scheme === "ws" || scheme === "wss";
  // The client would wait for one without end.
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
    // It may take its server a while to be there again.
    const lasting = { maxReconnectAttempts: -1, reconnectTimeWait: 500 };
    // The client takes tls: for nats:, and encrypts where the server asks for it, unless it has options for TLS.
    const tls = scheme === "tls" && !client.tls ? { tls: {} } : {};
    connection = await opened({ ...lasting, name, ...login, ...client, ...tls, servers: [...servers] });
  } catch (cause) {
    throw unreachable(servers, cause);
  }
  // What the server has to say comes with each request that fails; here it would only be rethrown.
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
    // Whether there is JetStream shows when it is used; a worker needs no right to ask.
    manager: await jetstream.jetstreamManager(connection, { checkAPI: false }),
    names: namesOf(prefix),
    most,
    part: Math.min(most, PART_BYTES),
    connected: whileConnected(connection),
  };
}

function whileConnected(connection: Core.NatsConnection): Client["connected"] {
  const waiting = new Set<(error: Error) => void>();
  (async () => {
    for await (const { type } of connection.status()) {
      // What was sent while there was no connection may be lost as well.
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
  // Bundlers for pages must not see this one, which is made of modules that only Node has.
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

/** Listens to a subject. */
export function listen({ connection }: Client, subject: string, hear: (message: Core.Msg) => void): Core.Subscription {
  return connection.subscribe(subject, {
    callback: (error, message) => {
      if (!error) hear(message);
    },
  });
}

const says = (error: unknown, what: RegExp) =>
  isObject(error) && what.test(String((error as { message?: unknown }).message));

/** The number of an error of JetStream. */
export const codeOf = (error: unknown): number | undefined => (error as { code?: number }).code;

/** Whether an error of the client says that the server does not allow something. */
export const isForbidden = (error: unknown): boolean => says(error, /permissions violation/i);

/** Whether it says that the memory or the disk that the server gives to JetStream is full. */
export const isFull = (error: unknown): boolean =>
  says(error, /insufficient .*resources|resources? .*exceeded|maximum bytes exceeded/i);

/** Whether it says that there is no JetStream. */
export const hasNoJetStream = (error: unknown): boolean => says(error, /jetstream.* not enabled/i);

/** Whether it will be the same the next time. */
export const isFinal = (error: unknown): boolean =>
  isForbidden(error) || isFull(error) || says(error, /max_payload|maximum payload/i);

/** The error of what a server has not done; those of this package stay what they are. */
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
