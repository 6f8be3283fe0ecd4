// The main job as a user runs it: interrupted, resumed, and to the same end as one that was not.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { GRADIENTS } from "../bench/shared/gradients.mjs";
import { load } from "../dist/index.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const checkpoint = new URL("../report/lynx-hare.safetensors", import.meta.url);
/** Runs it, interrupted as soon as what it prints is that. */
const demo = (args, interruptAt) =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, ["scripts/demo.mjs", ...args], {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    let awaited = interruptAt;
    const onData = (data) => {
      output += data;
      if (!awaited?.test(output)) return;
      // A second signal would not wait for a checkpoint.
      awaited = undefined;
      child.kill("SIGINT");
    };
    for (const stream of [child.stdout, child.stderr]) stream.on("data", onData);
    child.on("close", (code) => resolve({ code, output }));
  });
const parameters = () => load(readFileSync(checkpoint)).field.parameters.slice();

rmSync(checkpoint, { force: true });
const missing = await demo(["--resume"]);
assert.equal(missing.code, 1);
assert.match(missing.output, /no checkpoint/);

const whole = await demo([]);
assert.equal(whole.code, 0, whole.output);
for (const method of GRADIENTS) assert.match(whole.output, new RegExp(method));
const end = parameters();
const page = readFileSync(new URL("../report/lynx-hare.html", import.meta.url), "utf8");
assert.equal(page.match(/<svg/g)?.length, 6);
assert.doesNotMatch(page, /(src|href)="http/);

rmSync(checkpoint);
const stopped = await demo([], /step [1-9]\d* of/);
assert.equal(stopped.code, 130, stopped.output);
const resumed = await demo(["--resume"]);
assert.equal(resumed.code, 0, resumed.output);
assert.match(resumed.output, /Continuing from step [1-9]/);
assert.deepEqual(parameters(), end);
console.log(`demo: ${stopped.output.match(/Stopped at step \d+/)[0]}, resumed to bitwise the same model`);
