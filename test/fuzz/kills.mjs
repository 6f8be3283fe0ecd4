// Trainings killed at any moment, and disks that are full: the model on the disk is whole at any time, and a training that goes
// on from it comes to the same bytes.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as api from "../../dist/index.js";
import { start, stepFrom } from "../command.mjs";
import { commandModules } from "./bundle.mjs";
import { fuzz } from "./common.mjs";

const { readModel } = await commandModules("model");
const pendulum = fileURLToPath(new URL("../../data/pendulum.csv", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));
const file = (name) => join(folder, name);

const STEPS = 400;
const training = ["train", pendulum, "--id", "trajectory", "--hidden", "8", "--steps", String(STEPS), "--seed", "5"];

/** What a file is now: nothing, a checkpoint that is whole, or a finished model. */
function standOf(name) {
  if (!existsSync(name)) return { steps: 0, finished: false };
  const { network, optimizer, description, best } = readModel({ name, bytes: readFileSync(name) });
  const steps = optimizer?.steps ?? description.finished.steps;
  assert.ok(network.parameters.every(Number.isFinite) && (best?.step ?? 0) <= steps);
  optimizer?.dispose();
  network.dispose();
  return { steps, finished: description.finished !== null };
}

/** Calls back at each change of a folder's files, until it is closed. */
function changesOf(name, onChange) {
  const watcher = watch(name, onChange);
  return () => watcher.close();
}

/**
 * Kills a training at once when its progress is at a step, or so many changes after the files of its folder have begun to
 * change: a temporary file that comes, grows, and takes the place of the model.
 */
async function kill(random, args, out) {
  const { child, done, said } = start(args, { cwd: folder });
  const now = () => child.kill("SIGKILL");
  let close = () => {};
  if (random.chance(0.5)) {
    let left = 1 + random.below(400);
    close = changesOf(out, () => --left === 0 && now());
  } else {
    void said(stepFrom(random.below(STEPS))).then(now);
  }
  const ended = await done;
  close();
  return ended;
}

try {
  const whole = file("whole.safetensors");
  assert.equal((await start([...training, "--out", whole], { cwd: folder }).done).code, 0);
  const bytes = readFileSync(whole);

  let [kills, resumed] = [0, 0];
  const { count, seconds } = await fuzz(api, "kills", { count: 10, every: 10 }, async (random, index) => {
    const place = file(`run ${index}`);
    const out = join(place, "model.safetensors");
    mkdirSync(place);
    let before = 0;
    // Killed now and then until it is through; the last of many is left alone.
    for (let round = 0; ; round++) {
      const goOn = before > 0 ? ["--resume"] : [];
      const args = [...training, "--out", out, "--checkpoint", "0", ...goOn];
      const { code, signal, err } = round < 3 ? await kill(random, args, place) : await start(args, { cwd: folder }).done;
      const { steps, finished } = standOf(out);
      assert.ok(steps >= before, "no checkpoint is lost");
      before = steps;
      if (finished) break;
      assert.equal(signal, "SIGKILL", `${code}\n${err}`);
      kills++;
      if (goOn.length > 0) resumed++;
    }
    assert.deepEqual(readFileSync(out), bytes, "the same model as without a stop");
    const others = readdirSync(place).filter((name) => name !== "model.safetensors");
    // What was being written in the moment of a kill lies there still, under a name that says what it is.
    assert.ok(others.every((name) => /^\.symplectic-adjoint-\d+-[0-9a-f]+\.part$/.test(name)));
    rmSync(place, { recursive: true });
  });
  console.log(`${count} trainings, ${kills} kills, ${resumed} of them after another, in ${seconds.toFixed(0)} s`);
  await fullDisk(bytes);
} finally {
  rmSync(folder, { recursive: true });
}

/** Checkpoints and the model on a disk that fills up while the training goes on. */
async function fullDisk(bytes) {
  const disk = file("disk");
  const spare = file("spare");
  for (const name of [disk, spare]) mkdirSync(name);
  const out = join(disk, "model.safetensors");
  // As large as two models and a half: one more beside it, and not a third.
  const mount = `mount -t tmpfs -o size=${4096 * Math.ceil((6 * bytes.length) / 4096)} none`;
}
