// Options for the servers of a cluster.
import { readFileSync } from "node:fs";
import * as jetstream from "@nats-io/jetstream";
import * as kv from "@nats-io/kv";
import * as transport from "@nats-io/transport-node";
import { InvalidArgumentError, Option } from "commander";
import { Failure, reasonOf } from "./failure.js";

/** The values of these options. */
export interface ServerRequest {
  servers?: string[];
  prefix?: string;
  creds?: string;
  user?: string;
  password?: string;
  token?: string;
  tlsCa?: string;
  tlsCert?: string;
  tlsKey?: string;
  inboxPrefix?: string;
}

/** Options of the commands that connect to a cluster, except for the addresses. */
export const SERVER_OPTIONS = [
  new Option("--prefix <name>", "prefix of subjects and streams; the same everywhere (default: symplectic)"),
  new Option("--creds <file>", "credentials for the servers: a .creds file with a JWT and a seed"),
  new Option("--user <name>", "the user"),
  new Option("--password <password>", "and the password (default: NATS_PASSWORD)"),
  new Option("--token <token>", "a token (default: NATS_TOKEN)"),
  new Option("--tls-ca <file>", "CA certificates to check the servers' certificates against"),
  new Option("--tls-cert <file>", "your own certificate"),
  new Option("--tls-key <file>", "and its key"),
  new Option("--inbox-prefix <subject>", "prefix of reply subjects, if permissions require a specific one"),
];

export const serversOption = (unless: string) =>
  new Option(
    "--servers <addresses>",
    `addresses of the NATS servers, separated by commas (default: ${unless})`,
  ).argParser(addresses);

/** Addresses, separated by commas. */
function addresses(text: string): string[] {
  const list = text.split(",").map((address) => address.trim());
  if (list.includes("")) throw new InvalidArgumentError("Expected addresses separated by commas.");
  return list;
}

/** Splits off the options for servers. */
export function partedServers(options: Record<string, unknown>): {
  servers: ServerRequest;
  rest: Record<string, unknown>;
} {
  const names = ["servers", ...SERVER_OPTIONS.map((option) => option.attributeName())];
  const part = (inside: boolean) =>
    Object.fromEntries(Object.entries(options).filter(([name]) => names.includes(name) === inside));
  return { servers: part(true), rest: part(false) };
}

/** The given options for servers, except for the addresses. */
export function serverOptionsIn(request: ServerRequest): string[] {
  const given = request as Readonly<Record<string, unknown>>;
  const named = SERVER_OPTIONS.filter((option) => given[option.attributeName()] !== undefined);
  return named.map(({ long }) => long as string);
}

/** The options of `join`, `connect` and `sweep` for the servers. */
export function serverOptions(request: ServerRequest, own: object = {}) {
  const { servers = [process.env.NATS_URL ?? "nats://127.0.0.1:4222"], prefix } = request;
  return {
    servers,
    ...(prefix !== undefined && { prefix }),
    client: { ...clientOptions(request), ...own },
    nats: { core: transport, jetstream, kv, transport },
  };
}

/** Reads a file that must contain a PEM block of the given kind. */
function read(name: string, file: string, kind: string): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new Failure(`${name}: ${file}: ${reasonOf(error)}`, 2);
  }
  const found = new RegExp(`-----BEGIN [A-Z0-9 ]*${kind}`).test(new TextDecoder().decode(bytes));
  if (!found) throw new Failure(`${name}: ${file}: expected a file with a line BEGIN … ${kind}`, 2);
  return bytes;
}

/** Options of the NATS client. */
function clientOptions(request: ServerRequest): Record<string, unknown> {
  const { NATS_PASSWORD, NATS_TOKEN } = process.env;
  const { creds, user, tlsCa, tlsCert, tlsKey, inboxPrefix, token = NATS_TOKEN } = request;
  if (user === undefined && request.password !== undefined) {
    throw new Failure("--password: expected --user as well", 2);
  }
  const password = user === undefined ? undefined : (request.password ?? NATS_PASSWORD);
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new Failure("--tls-cert and --tls-key: expected both or neither", 2);
  }
  const authenticator = creds && transport.credsAuthenticator(read("--creds", creds, "NATS USER JWT"));
  for (const [name, file, kind] of [
    ["--tls-ca", tlsCa, "CERTIFICATE"],
    ["--tls-cert", tlsCert, "CERTIFICATE"],
    ["--tls-key", tlsKey, "PRIVATE KEY"],
  ] as const) {
    if (file !== undefined) read(name, file, kind);
  }
  const files = { caFile: tlsCa, certFile: tlsCert, keyFile: tlsKey };
  const tls = Object.fromEntries(Object.entries(files).filter(([, file]) => file !== undefined));
  const all = { user, pass: password, token, authenticator, inboxPrefix };
  return {
    ...Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)),
    ...(Object.keys(tls).length > 0 && { tls }),
  };
}
