// The options of commands for servers.
import { InvalidArgumentError, Option } from "commander";
import { Failure } from "./failure.js";
import type { ServerRequest } from "./servers.js";

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

/** Refuses options for servers without --servers. */
export function checkServers(request: ServerRequest): void {
  const [unused] = serverOptionsIn(request);
  if (request.servers === undefined && unused !== undefined) {
    throw new Failure(`${unused}: expected --servers as well`, 2);
  }
}
