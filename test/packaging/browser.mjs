// The installed package in Chromium: built by Vite, bundled by esbuild and by what bundlers.mjs has, and as files without a
// bundler, under the strictest policies that allow and forbid WebAssembly.
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { build as esbuild } from "esbuild";
import { build as vite } from "vite";
import { launch } from "../platform/chromium.mjs";

const [project] = process.argv.slice(2);

await vite({
  root: project,
  logLevel: "warn",
  base: "/vite/",
  worker: { format: "es" },
  build: {
    outDir: "vite",
    rollupOptions: { input: ["main.js", "vite-slim.js"], output: { entryFileNames: "[name].js" } },
  },
});
await esbuild({
  absWorkingDir: project,
  entryPoints: ["main.js", "worker.js"],
  bundle: true,
  minify: true,
  format: "esm",
  outdir: "esbuild",
});

const ALLOWING = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src *";
const FORBIDDING = "script-src 'self'";
const right = /page: 8 golden gradients, relaxed, pool right; worker: 8 golden gradients, relaxed$/;
const refused = /UNSUPPORTED: [^|]*'wasm-unsafe-eval' in the script-src/.source;
const slim = [
  /^slim: 8 golden gradients, simd128, pool right/,
  /FILE: \S+missing.wasm answered 404[^|]*/,
  /FILE: \S+page is not a WebAssembly module: it begins with "<!doctype html>"/,
  /FILE: http:\/\/127.0.0.1:9\/simd.wasm could not be read[^|]*$/,
];

/** Pages: a script, the policy that everything is served with, and what the script has to report. */
const PAGES = /** @type {[title: string, script: string, policy: string, says: RegExp][]} */ ([
  ["Vite", "vite/main.js", "", right],
  ["Vite, slim", "vite/vite-slim.js", "", /^slim: 8 golden gradients, relaxed, pool right$/],
  ["esbuild", "esbuild/main.js", "", right],
  ["webpack", "webpack/main.js", "", right],
  ["Rspack", "rspack/main.js", "", right],
  ["Parcel", "parcel/main.js", "", right],
  ["Parcel, slim", "parcel/parcel-slim.js", "", /^slim: 8 golden gradients, simd128, pool right$/],
  ["no bundler", "plain.js", ALLOWING, right],
  ["no bundler, slim", "plain-slim.js", ALLOWING, new RegExp(slim.map(({ source }) => source).join(" \\| "))],
  ["WebAssembly forbidden", "plain.js", FORBIDDING, new RegExp(`^${[refused, refused, refused].join("[^|]* \\| ")}`)],
]);

const types = { js: "text/javascript", mjs: "text/javascript", wasm: "application/wasm", html: "text/html" };
const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
  response.setHeader("cross-origin-opener-policy", "same-origin");
  response.setHeader("cross-origin-embedder-policy", "require-corp");
  if (policy) response.setHeader("content-security-policy", policy);
  if (pathname === "/page") {
    const script = searchParams.get("script");
    response.setHeader("content-type", types.html);
    response.end(
      `<!doctype html><meta charset="utf-8"><title>Test</title><script type="module" src="/${script}"></script>`,
    );
    return;
  }
  const file = join(project, pathname);
  if (!file.startsWith(project) || !existsSync(file)) {
    response.writeHead(404).end();
    return;
  }
  response.setHeader("content-type", searchParams.get("type") ?? types[pathname.split(".").pop()] ?? "text/plain");
  response.end(readFileSync(file));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
let policy = "";

const browser = await launch();
let failed = 0;
try {
  for (const [title, script, own, expected] of PAGES) {
    policy = own;
    const page = await browser.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(error));
    const mode = own === FORBIDDING ? "&forbidding" : "";
    await page.goto(`http://127.0.0.1:${port}/page?script=${script}${mode}`);
    const result = await page
      .waitForFunction(() => window.result, undefined, { timeout: 120_000 })
      .then(() => page.evaluate(() => window.result))
      .catch(({ message }) => message);
    const passed = expected.test(result);
    console.log(`Chromium ${browser.version()}, ${title}: ${passed ? result.split(" | ")[0] : `FAILED, ${result}`}`);
    if (!passed) console.error(...errors);
    failed += passed ? 0 : 1;
    await page.close();
  }
} finally {
  await browser.close();
  server.close();
}
process.exit(failed > 0 ? 1 : 0);
