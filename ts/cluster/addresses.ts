// Addresses of NATS servers: the scheme, the hosts and the credentials.
import { refused } from "../checks/errors.js";

/** Addresses, parsed. */
interface Addresses {
  /** Without users and passwords, so that messages do not repeat them. */
  readonly servers: readonly string[];
  readonly scheme: "nats" | "tls" | "ws" | "wss";
  /** Credentials, as options of the client; empty if no address has any. */
  readonly login: { readonly user?: string; readonly pass?: string; readonly token?: string };
}

const SCHEMES = ["nats", "tls", "ws", "wss"] as const;

/** Reads addresses such as `nats://user:password@host:4222`. A password may have any characters. */
export function readAddresses(given: readonly string[]): Addresses {
  const all = given.map((address) => {
    const [, scheme = "nats", login, host = ""] = /^\s*(?:([^:/@]*):\/\/)?(?:(.*)@)?(.*?)\s*$/s.exec(address) ?? [];
    return { scheme: scheme.toLowerCase(), login, host, server: /:\/\//.test(address) ? `${scheme}://${host}` : host };
  });
  const servers = all.map(({ server }) => server);
  const [{ scheme: first, login } = { scheme: "nats", login: undefined }] = all;
  const refuse = (expected: string) => refused("OPTION", "servers", expected, servers.join(", "));
  const scheme = SCHEMES.find((known) => known === first);
  if (!scheme || all.some(({ scheme }) => !(SCHEMES as readonly string[]).includes(scheme))) {
    throw refuse("addresses that begin with nats://, tls://, ws:// or wss://");
  }
  // If nats: and tls: were mixed, a reconnect could send a password in clear text.
  if (all.some((other) => other.scheme !== first)) throw refuse("addresses of one kind: all nats:, tls:, ws: or wss:");
  if (all.some(({ host }) => !/^[^\s/]+\/?$/.test(host))) throw refuse("addresses such as nats://localhost:4222");
  if (all.some((other) => other.login !== login)) throw refuse("addresses with the same user and password, or none");
  return { servers, scheme, login: login === undefined ? {} : loginOf(login) };
}

/** Credentials as NATS writes them: `user:password`, or a token. */
function loginOf(text: string): Addresses["login"] {
  const [, user = "", pass] = /^([^:]*)(?::(.*))?$/s.exec(text) ?? [];
  return pass === undefined ? { token: decoded(user) } : { user: decoded(user), pass: decoded(pass) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
