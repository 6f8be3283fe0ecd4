// A network that can be cut: what comes from either side waits until it is whole again.
import { connect, createServer } from "node:net";

/**
 * @param {string} target such as nats://127.0.0.1:4222
 * @returns {Promise<{ url: string, cut(): void, heal(): void, close(): void }>}
 */
export async function cuttable(target) {
  const { hostname, port } = new URL(target);
  /** @type {Set<import("node:net").Socket>} */
  const sockets = new Set();
  let whole = true;
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      sockets.add(from);
      from.on("data", (bytes) => to.write(bytes));
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
      from.on("error", () => to.destroy());
      if (!whole) from.pause();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const { port: own } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    url: `nats://127.0.0.1:${own}`,
    cut() {
      whole = false;
      for (const socket of sockets) socket.pause();
    },
    heal() {
      whole = true;
      for (const socket of sockets) socket.resume();
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
