// A tab of Chromium as a worker, over WebSocket.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { mlp, valueAndGrad } from "symplectic-adjoint";
import { type ClusterEvent, connect } from "symplectic-adjoint/cluster";
import { expect, test } from "vitest";
import { launch } from "../platform/chromium.mjs";
import { numbers } from "../unit/helpers.js";
import { cleanups, freshPrefix, until } from "./processes.js";
import { startServers } from "./server.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** A page that works, as a project with a bundler has it. */
const PAGE = `
  import { init } from "symplectic-adjoint";
  import { join } from "symplectic-adjoint/cluster";
  import * as core from "@nats-io/nats-core";
  import * as jetstream from "@nats-io/jetstream";
  import * as kv from "@nats-io/kv";
  const { servers, prefix, simd } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  await init({ simd });
  const worker = await join({ servers, prefix, threads: 1, nats: { core, jetstream, kv } });
  document.title = worker.name;
  window.leave = () => worker.close();
`;

const square = (y: Float32Array) => ({ value: 0, cotangent: y });

test("a tab joins, is left out while its arithmetic differs, works with the same one, and may be closed at any time", async () => {
  const [server] = await startServers();
  cleanups.push(() => server?.remove());
  const bundled = await build({
    stdin: { contents: PAGE, resolveDir: root },
    ...{ bundle: true, write: false, format: "esm", platform: "browser" },
  });
  const script = bundled.outputFiles[0]?.text as string;
  const web = createServer((request, response) => {
    const isScript = request.url?.endsWith(".js");
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : '<!doctype html><script type="module" src="/page.js"></script>');
  });
  await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => web.close());
  const browser = await launch();
  cleanups.push(() => browser.close());

  const prefix = freshPrefix();
  const events: ClusterEvent[] = [];
  const onEvent = (event: ClusterEvent) => void events.push(event);
  const cluster = await connect({ servers: server?.url as string, prefix, stallTimeout: 1, onEvent });
  cleanups.push(() => cluster.close());
  const open = async (simd: string) => {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(error));
    const hash = encodeURIComponent(JSON.stringify({ servers: server?.web, prefix, simd }));
    await page.goto(`http://127.0.0.1:${(web.address() as AddressInfo).port}/#${hash}`);
    return page;
  };

  const own = process.env.SIMD === "relaxed" ? "relaxed" : "simd128";
  await open(own === "relaxed" ? "simd128" : "relaxed");
  await until("it is known", () => cluster.status.different === 1);
  expect(cluster.workers).toBe(0);
  const page = await open(own);
  await until("a worker", () => cluster.workers === 1);
  const field = mlp({ widths: [2, 32, 2], seed: 1 });
  const y0 = numbers("float32", 2 * 500);
  const expected = valueAndGrad(field, y0, [0, 1], square, { batching: "independent" });
  const { gradient } = await cluster.valueAndGrad(field, y0, [0, 1], square);
  expect(gradient.parameters).toEqual(expected.gradient.parameters);

  // Closed in the middle, without a word; another tab does the rest.
  const closing = cluster.valueAndGrad(field, y0, [0, 1], async (y) => {
    await page.close();
    await open(own);
    return square(y);
  });
  expect((await closing).gradient.parameters).toEqual(expected.gradient.parameters);
  await until("the tab is missed", () => events.some(({ kind }) => kind === "lost"));
});
