// The installed package in tests of its users: Jest and Vitest, each in the realms that they make for a test.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { blocks } from "../examples.mjs";

const [project] = process.argv.slice(2);
const folder = join(project, "runners");
const tool = (path) => fileURLToPath(new URL(`node_modules/${path}`, import.meta.url));

// As docs/getting-started.md shows it.
const setup = join(folder, "setup.cjs");
const shown = blocks.find(({ language }) => language === "js jest-setup");
if (!shown) throw new Error("docs/getting-started.md shows no set-up of Jest");
writeFileSync(setup, shown.code);

const jest = (environment, file, ...more) => [
  ...["--experimental-vm-modules", "--no-warnings", tool("jest/bin/jest.js"), "--rootDir", folder, "--transform", "{}"],
  ...["--testMatch", `**/${file}`, "--env", tool(`jest-environment-${environment}`), ...more],
];
const vitest = (...more) => [tool("vitest/vitest.mjs"), "run", "--globals", "--root", folder, "api.test.mjs", ...more];

const RUNS = {
  Jest: jest("node", "api.test.mjs"),
  "Jest, jsdom": jest("jsdom", "api.test.mjs", "--setupFiles", setup),
  "Jest, jsdom as it comes": jest("jsdom", "bare.test.mjs"),
  "Vitest, jsdom": vitest("--environment", "jsdom"),
  "Vitest, vmThreads": vitest("--pool", "vmThreads"),
  "Vitest, vmThreads and jsdom": vitest("--pool", "vmThreads", "--environment", "jsdom"),
};

for (const [title, args] of Object.entries(RUNS)) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });
  const passed = /^\s*Tests:?\s.*\b1 passed/m.test(`${stdout}${stderr}`);
  console.log(`${title}: ${status === 0 && passed ? "passed" : `FAILED\n${stdout}${stderr}`}`);
  if (status !== 0 || !passed) process.exitCode = 1;
}
