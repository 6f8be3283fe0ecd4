// Golden cases and a pool in real Chromium: a plain module page, cross-origin isolated, not so, and under a strict policy. A
// pool where a page has no origin: from a file, and in a sandboxed frame. And a service worker, which has no workers.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import { COUNT } from "./cases.mjs";
import { launch } from "./chromium.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const types = { html: "text/html", js: "text/javascript", mjs: "text/javascript", json: "application/json" };

/** Pages that differ in what they are served with. */
const HEADERS = {
  isolated: { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" },
  plain: {},
  strict: { "content-security-policy": "script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; worker-src 'self'" },
};

// One script for pages without an origin, which may not load modules.
const bundle = await build({
  stdin: {
    contents: `
      import * as api from "./dist/index.js";
      import { poolFailures } from "./test/platform/pool.mjs";
      const said = poolFailures(api, {}, false).then((failures) => failures.join() || "pool right", String);
      said.then((text) => parent.postMessage(self.origin + ": " + text, "*"));`,
    resolveDir: root,
  },
  bundle: true,
  write: false,
  format: "iife",
});
const hearing =
  '<!doctype html><meta charset="utf-8"><title>Test</title><script>onmessage = ({ data }) => (window.said = data);</script>';
const own = {
  "/bundle.js": ["js", bundle.outputFiles[0].text],
  "/alone.html": ["html", `${hearing}<script src="bundle.js"></script>`],
  "/sandbox.html": ["html", `${hearing}<iframe sandbox="allow-scripts" src="alone.html"></iframe>`],
  "/service.html": [
    "html",
    `${hearing}<script>
      navigator.serviceWorker.onmessage = onmessage;
      navigator.serviceWorker.register("/service.js", { type: "module" });
      navigator.serviceWorker.ready.then(({ active }) => active.postMessage(""));
    </script>`,
  ],
  "/service.js": [
    "js",
    `import * as api from "/dist/index.js";
    const { length } = api.odeint(api.mlp({ widths: [2, 4, 2] }), Float32Array.of(1, 0), [0, 1]).y;
    addEventListener("message", async ({ source }) => {
      const said = await api.parallel().catch(({ code, message }) => code + ": " + message);
      source.postMessage(length + " numbers, " + said);
    });`,
  ],
};

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? "", "http://localhost");
  const headers = HEADERS[searchParams.get("headers")] ?? {};
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  // A worker of an isolated page has to say the same.
  response.setHeader("cross-origin-embedder-policy", "require-corp");
  if (pathname.endsWith(".html") && !headers["cross-origin-embedder-policy"]) {
    response.removeHeader("cross-origin-embedder-policy");
  }
  const path = pathname;
  if (path === "/golden-list") {
    const names = readdirSync(join(root, "test/golden")).filter((name) => name.endsWith(".json"));
    response.setHeader("content-type", types.json).end(JSON.stringify(names));
    return;
  }
  if (own[path]) {
    const [type, text] = own[path];
    response.setHeader("content-type", types[type]).end(text);
    return;
  }
  const file = join(root, path);
  if (!file.startsWith(root) || !existsSync(file)) {
    response.writeHead(404).end();
    return;
  }
  response
    .setHeader("content-type", types[path.split(".").pop()] ?? "application/octet-stream")
    .end(readFileSync(file));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());

const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-file-"));
for (const name of ["/alone.html", "/bundle.js"]) writeFileSync(join(folder, name), own[name][1]);
const origin = `http://127.0.0.1:${port}`;
/** What other pages say. */
const SAYING = /** @type {[address: string, said: RegExp][]} */ ([
  [pathToFileURL(join(folder, "alone.html")).href, /^null: pool right$/],
  [`${origin}/sandbox.html`, /^null: pool right$/],
  [`${origin}/service.html`, /^4 numbers, UNSUPPORTED: this runtime has no Worker(?!.*Policy)/],
]);

const browser = await launch();
let failed = true;
try {
  failed = false;
  for (const headers of Object.keys(HEADERS)) {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(error));
    await page.goto(`${origin}/test/platform/page.html?headers=${headers}#${headers}`);
    await page.waitForFunction(() => window.result, undefined, { timeout: 120_000 });
    const { count, failures, pool, build, isolated } = await page.evaluate(() => window.result);
    const passed = `${count - failures.length} of ${count} golden gradients, pool ${pool.length === 0 ? "right" : "wrong"}`;
    console.log(`Chromium ${browser.version()}, ${headers} page, ${build}: ${passed}`);
    for (const failure of [...failures, ...pool]) console.error(failure);
    failed ||= failures.length > 0 || pool.length > 0 || count !== COUNT || isolated !== (headers === "isolated");
    await page.close();
  }
  for (const [address, expected] of SAYING) {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(error));
    await page.goto(address);
    await page.waitForFunction(() => window.said, undefined, { timeout: 120_000 });
    const said = await page.evaluate(() => window.said);
    console.log(`Chromium ${browser.version()}, ${address.replace(/^.*\//, "")}: ${said}`);
    failed ||= !expected.test(said);
    await page.close();
  }
} finally {
  await browser.close();
  server.close();
  rmSync(folder, { recursive: true });
}
process.exit(failed ? 1 : 0);
