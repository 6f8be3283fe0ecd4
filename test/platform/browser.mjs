// Golden cases in real Chromium: a plain module page, on its main thread.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));
const types = { html: "text/html", js: "text/javascript", mjs: "text/javascript", json: "application/json" };

const server = createServer((request, response) => {
  const path = new URL(request.url, "http://localhost").pathname;
  if (path === "/golden-list") {
    const names = readdirSync(join(root, "test/golden")).filter((name) => name.startsWith("mlp-"));
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

const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const browser = await chromium.launch({
  executablePath: findChromium(),
  args: [...args, "--disable-component-update", "--disable-sync"],
});
let failed = true;
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(error));
  await page.goto(`http://127.0.0.1:${server.address().port}/test/platform/page.html`);
  await page.waitForFunction(() => window.result, undefined, { timeout: 120_000 });
  const { count, failures, simd } = await page.evaluate(() => window.result);
  console.log(`Chromium ${browser.version()}, ${simd}: ${count - failures.length} of ${count} golden gradients`);
  for (const failure of failures) console.error(failure);
  failed = failures.length > 0 || count !== 17 * 8;
} finally {
  await browser.close();
  server.close();
}
process.exit(failed ? 1 : 0);

function findChromium() {
  const places = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const own = chromium.executablePath();
  const found = [...places, own].find((place) => place && existsSync(place));
  if (found) return found;
  console.log("Installing Chromium …");
  const debian = existsSync("/etc/debian_version") && process.getuid?.() === 0;
  const install = debian
    ? ["sh", ["-c", "apt-get update && apt-get install -y chromium"]]
    : [process.execPath, [join(root, "test/platform/node_modules/playwright-core/cli.js"), "install", "chromium"]];
  spawnSync(install[0], install[1], { stdio: ["ignore", "ignore", "inherit"] });
  return debian ? "/usr/bin/chromium" : own;
}
