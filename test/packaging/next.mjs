// The installed package in an application of Next.js, built by webpack: in its server and on its page.
import { spawn, spawnSync } from "node:child_process";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "../platform/chromium.mjs";

const [project] = process.argv.slice(2);
const folder = join(project, "next");
const installed = fileURLToPath(new URL("node_modules/", import.meta.url));
for (const name of ["next", "react", "react-dom"])
  symlinkSync(join(installed, name), join(project, "node_modules", name));
const next = join(installed, "next/dist/bin/next");
const env = { ...process.env, NEXT_TELEMETRY_DISABLED: "1", NO_COLOR: "1" };

const { status, stdout, stderr } = spawnSync(process.execPath, [next, "build", "--webpack"], {
  cwd: folder,
  encoding: "utf8",
  env,
});
const built = status === 0 && !/warn|critical dependency/i.test(`${stdout}${stderr}`);
console.log(`Next.js, webpack: ${built ? "nothing to warn of" : `${stdout}${stderr}`}`);
if (!built) process.exit(1);

const server = spawn(process.execPath, [next, "start", "--port", "0"], {
  cwd: folder,
  env,
  stdio: ["ignore", "pipe", "inherit"],
});
const browser = await launch();
try {
  const origin = await new Promise((resolve, reject) => {
    let said = "";
    server.stdout.on("data", (data) => {
      said += data;
      const [url] = /http:\/\/localhost:\d+/.exec(said) ?? [];
      if (url && /ready/i.test(said)) resolve(url);
    });
    server.on("exit", () => reject(new Error(`the server ended: ${said}`)));
  });
  const answer = await (await fetch(`${origin}/solve`)).text();
  const page = await browser.newPage();
  await page.goto(origin);
  const shown = await page.locator("p:not(:empty)").textContent();
  console.log(`Next.js, server: ${answer}; page: ${shown}`);
  if (answer !== "2 workers" || shown !== "2 workers") process.exitCode = 1;
} finally {
  await browser.close();
  server.kill();
}
