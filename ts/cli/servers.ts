// Options for the servers of a cluster.
import { readFileSync } from "node:fs";
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

/** The options of `join`, `connect` and `sweep` for the servers. */
export async function serverOptions(request: ServerRequest) {
  const { jetstream, kv, transport } = await import("./nats.js");
  const { prefix } = request;
  return {
    servers: serversOf(request),
    ...(prefix !== undefined && { prefix }),
    client: clientOptions(request, transport),
    nats: { core: transport, jetstream, kv, transport },
  };
}

/** The addresses of the servers. */
export const serversOf = ({ servers = [process.env.NATS_URL ?? "nats://127.0.0.1:4222"] }: ServerRequest) => servers;

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

type Transport = typeof import("./nats.js").transport;

/** Options of the NATS client. */
function clientOptions(request: ServerRequest, { credsAuthenticator }: Transport): Record<string, unknown> {
  const { NATS_PASSWORD, NATS_TOKEN } = process.env;
  const { creds, user, tlsCa, tlsCert, tlsKey, inboxPrefix, token = NATS_TOKEN } = request;
  if (user === undefined && request.password !== undefined) {
    throw new Failure("--password: expected --user as well", 2);
  }
  const password = user === undefined ? undefined : (request.password ?? NATS_PASSWORD);
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new Failure("--tls-cert and --tls-key: expected both or neither", 2);
  }
  const authenticator = creds && credsAuthenticator(read("--creds", creds, "NATS USER JWT"));
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
