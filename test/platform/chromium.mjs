// The browser of the tests: this machine's Chromium, or one that is installed.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));

export function launch() {
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
  return chromium.launch({
    executablePath: findChromium(),
    args: [...args, "--disable-component-update", "--disable-sync"],
  });
}

function findChromium() {
  const places = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const own = chromium.executablePath();
  const found = [...places, own].find((place) => place && existsSync(place));
  if (found) return found;
  console.log("Installing Chromium …");
  const debian = existsSync("/etc/debian_version") && process.getuid?.() === 0;
  /** @type {[command: string, args: string[]]} */
  const install = debian
    ? ["sh", ["-c", "apt-get update && apt-get install -y chromium"]]
    : [process.execPath, [join(root, "node_modules/playwright-core/cli.js"), "install", "chromium"]];
  spawnSync(install[0], install[1], { stdio: ["ignore", "ignore", "inherit"] });
  return debian ? "/usr/bin/chromium" : own;
}
