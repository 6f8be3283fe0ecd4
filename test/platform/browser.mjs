// Golden cases and a pool in real Chromium: a plain module page, cross-origin isolated, not so, and under a strict policy.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
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

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, "http://localhost");
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
  const file = join(root, path);
  if (!file.startsWith(root) || !existsSync(file)) {
    response.writeHead(404).end();
    return;
  }
  response
    .setHeader("content-type", types[path.split(".").pop()] ?? "application/octet-stream")
    .end(readFileSync(file));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const browser = await launch();
let failed = true;
try {
  failed = false;
  for (const headers of Object.keys(HEADERS)) {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(error));
    await page.goto(`http://127.0.0.1:${server.address().port}/test/platform/page.html?headers=${headers}#${headers}`);
    await page.waitForFunction(() => window.result, undefined, { timeout: 120_000 });
    const { count, failures, pool, simd, isolated } = await page.evaluate(() => window.result);
    const passed = `${count - failures.length} of ${count} golden gradients, pool ${pool.length === 0 ? "right" : "wrong"}`;
    console.log(`Chromium ${browser.version()}, ${headers} page, ${simd}: ${passed}`);
    for (const failure of [...failures, ...pool]) console.error(failure);
    failed ||= failures.length > 0 || pool.length > 0 || count !== COUNT || isolated !== (headers === "isolated");
    await page.close();
  }
} finally {
  await browser.close();
  server.close();
}
process.exit(failed ? 1 : 0);
