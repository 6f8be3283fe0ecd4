// The installed package in old Chromium, as it was made for machines without a display, and is to be had on Linux alone.
import { spawn } from "node:child_process";
import { chmodSync, createReadStream, createWriteStream, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { createBrotliDecompress } from "node:zlib";

const [project] = process.argv.slice(2);
if (process.platform !== "linux" || process.arch !== "x64") {
  console.log(`old Chromium is not to be had on ${process.platform} ${process.arch}: not tried`);
  process.exit(process.env.CI ? 1 : 0);
}

const advice = /^UNSUPPORTED: .*on the main thread.*; await init\(\) before the first use/;
const lacking = /^UNSUPPORTED: this runtime has no WebAssembly with SIMD and reference types, which Chrome 96/;
const after = (build) => [
  ...[advice, /^nothing thrown$/, new RegExp(`^8 golden gradients, ${build}, pool right$`)],
  ...[/^INTERNAL$/, advice, new RegExp(`^8 golden gradients, ${build}$`)],
];
/** What each says. */
const EXPECTED = { 92: [lacking, lacking], 103: after("simd128"), 110: after("simd128") };

const page = `<!doctype html><meta charset="utf-8"><title>Test</title>
  <script>
    const failed = ({ message }) => fetch("/said", { method: "POST", body: JSON.stringify([message || "not loaded"]) });
    addEventListener("error", failed, true);
  </script>
  <script type="module" src="/old.js"></script>`;
let hear;
const server = createServer(async (request, response) => {
  if (request.url === "/said") {
    response.end();
    return hear(JSON.parse(String(Buffer.concat(await request.toArray()))));
  }
  const file = join(project, request.url ?? "/");
  response.setHeader("content-type", request.url === "/" ? "text/html" : "text/javascript");
  if (request.url === "/") response.end(page);
  else if (existsSync(file)) response.end(readFileSync(file));
  else response.writeHead(404).end();
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());

for (const [version, expected] of Object.entries(EXPECTED)) {
  const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-chromium-"));
  const executable = join(folder, "chromium");
  const packed = fileURLToPath(new URL(`node_modules/chromium-${version}/bin/chromium.br`, import.meta.url));
  await pipeline(createReadStream(packed), createBrotliDecompress(), createWriteStream(executable));
  chmodSync(executable, 0o755);
  const said = new Promise((resolve) => {
    hear = resolve;
  });
  const args = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--remote-debugging-port=0",
    `--user-data-dir=${folder}`,
  ];
  const browser = spawn(executable, [...args, `http://127.0.0.1:${port}/`], { stdio: "ignore", detached: true });
  const ended = new Promise((resolve) => browser.on("close", (code) => resolve([`it ended with code ${code}`])));
  const texts = await Promise.race([said, ended]);
  // With its helpers, which write to the folder to their end.
  if (browser.pid !== undefined) process.kill(-browser.pid, "SIGKILL");
  await ended;
  rmSync(folder, { recursive: true, force: true, maxRetries: 20 });
  const passed = texts.length === expected.length && expected.every((pattern, i) => pattern.test(texts[i]));
  console.log(`Chromium ${version}: ${passed ? (texts.at(2) ?? texts[0]) : `FAILED, ${texts.join(" | ")}`}`);
  if (!passed) process.exitCode = 1;
}
server.close();
