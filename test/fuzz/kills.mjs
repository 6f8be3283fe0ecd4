// Trainings killed at any moment: the model on the disk is whole at any time, and a training that goes on from it comes to the
// same bytes. Then a disk that is full.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, watch } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as api from "../../dist/index.js";
import { start, stepFrom } from "../command.mjs";
import { fuzz } from "./common.mjs";
import { STEPS, standOf, training } from "./trainings.mjs";

const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));
const file = (name) => join(folder, name);

/**
 * Kills a training at once when its progress is at a step, or so many changes after the files of its folder have begun to
 * change: a temporary file that comes, grows, and takes the place of the model.
 */
async function kill(random, args, place) {
  const { child, done, said } = start(args, { cwd: folder });
  const now = () => child.kill("SIGKILL");
  let left = 1 + random.below(STEPS);
  /** @type {import("node:fs").FSWatcher | undefined} */
  let watcher;
  if (random.chance(0.5)) watcher = watch(place, () => --left === 0 && now());
  else void said(stepFrom(random.below(STEPS))).then(now);
  const ended = await done;
  watcher?.close();
  return ended;
}

try {
  const whole = file("whole.safetensors");
  assert.equal((await start([...training, "--out", whole], { cwd: folder }).done).code, 0);
  const bytes = readFileSync(whole);

  let kills = 0;
  const { count, seconds } = await fuzz(api, "kills", { count: 10, every: 10 }, async (random, index) => {
    const place = file(`run ${index}`);
    const out = join(place, "model.safetensors");
    const args = [...training, "--out", out, "--checkpoint", "0"];
    mkdirSync(place);
    // Once, and now and then again when it has gone on; one that has come to its end before is begun anew.
    for (let left = 1 + random.below(2); left > 0; ) {
      const before = standOf(out);
      const { code, signal, err } = await kill(random, [...args, ...(before.steps > 0 ? ["--resume"] : [])], place);
      const { steps, finished } = standOf(out);
      if (signal === "SIGKILL") {
        assert.ok(steps >= before.steps, "no checkpoint is lost");
        kills++;
        left--;
      } else {
        assert.equal(code, 0, err);
      }
      if (finished) rmSync(out);
    }
    const goOn = standOf(out).steps > 0 ? ["--resume"] : [];
    const { code, err } = await start([...args, ...goOn], { cwd: folder }).done;
    assert.equal(code, 0, err);
    assert.deepEqual(readFileSync(out), bytes, "the same model as without a stop");
    const others = readdirSync(place).filter((name) => name !== "model.safetensors");
    // What was being written in the moment of a kill lies there still, under a name that says what it is.
    assert.ok(others.every((name) => /^\.symplectic-adjoint-\d+-[0-9a-f]+\.part$/.test(name)));
    rmSync(place, { recursive: true });
  });
  assert.ok(kills >= count);
  console.log(`${kills} kills of ${count} trainings in ${seconds.toFixed(0)} s`);
  const { status } = spawnSync(process.execPath, [fileURLToPath(new URL("disk.mjs", import.meta.url))], {
    stdio: "inherit",
  });
  assert.equal(status, 0);
} finally {
  rmSync(folder, { recursive: true });
}
