// A disk that fills up while a training writes its checkpoints: what is there stays whole, and what has been learned is not lost.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { start, stepFrom } from "../command.mjs";
import { standOf, training } from "./trainings.mjs";

/** Fills a disk to the last byte. */
function fill(name) {
  for (let size = 65_536; size >= 1; size = Math.floor(size / 2)) {
    try {
      for (;;) appendFileSync(name, new Uint8Array(size));
    } catch (error) {
      assert.equal(error.code, "ENOSPC");
    }
  }
}

/** On a small disk of its own, mounted at that folder. */
async function onDisk(disk, whole, spare) {
  const out = join(disk, "model.safetensors");
  const filler = join(disk, "filler");
  const options = { cwd: disk, env: { TMPDIR: spare, HOME: spare } };
  const args = [...training, "--out", out, "--checkpoint", "0"];
  for (let attempt = 0; ; attempt++) {
    const { done, said } = start(args, options);
    await said(stepFrom(80));
    fill(filler);
    const noted = await said(
      (text) => text.match(/no checkpoint could be written to .*: the disk is full; the training continues/)?.[0],
    );
    const { steps, finished } = standOf(out);
    const { code, err } = await done;
    if (noted === undefined && code === 0 && attempt < 5) {
      // It came to its end before the disk was full.
      for (const name of [out, filler]) rmSync(name);
      continue;
    }
    assert.ok(noted !== undefined && steps > 0 && !finished, err);
    assert.equal(code, 1, err);
    const [, place] = err.match(/could not be written: the disk is full; the trained model is in (.*)\n$/);
    assert.ok(place.startsWith(spare));
    assert.deepEqual(readFileSync(place), whole);
    break;
  }
  assert.deepEqual(
    readdirSync(disk).sort(),
    ["filler", "model.safetensors"],
    "nothing is left of what could not be written",
  );
  // A file that is to be replaced is kept where there is no room for another.
  const checkpoint = readFileSync(out);
  const second = await start([...training, "--out", out, "--resume", "--checkpoint", "0"], options).done;
  assert.equal(second.code, 1, second.err);
  assert.deepEqual(readFileSync(out), checkpoint);
  rmSync(filler);
  assert.equal((await start([...training, "--out", out, "--resume"], options).done).code, 0);
  assert.deepEqual(readFileSync(out), whole);
}

/** Where files may not be as large as a model: the same for every folder. */
async function underLimit(folder, whole) {
  const out = join(folder, "model.safetensors");
  const limited = { cwd: folder, env: { TMPDIR: folder, HOME: folder }, shell: 'ulimit -f 1; exec "$@"' };
  const before = readdirSync(folder);
  const first = await start([...training, "--out", out, "--checkpoint", "0"], limited).done;
  assert.equal(first.code, 1, first.err);
  assert.match(
    first.err,
    /no checkpoint could be written to .*exceed the largest file size here; the training continues/,
  );
  assert.match(first.err, /what was learned is lost:\n.*could not be written: it would exceed/);
  assert.deepEqual(readdirSync(folder), before, "nothing is left of what could not be written");
  writeFileSync(out, whole);
  assert.equal((await start([...training, "--out", out, "--checkpoint", "0"], limited).done).code, 1);
  assert.deepEqual(readFileSync(out), whole);
}

const [disk, spare, model] = process.argv.slice(2);
if (disk) {
  await onDisk(disk, readFileSync(model), spare);
} else {
  const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));
  try {
    const [disk, spare, limited, model] = ["disk", "spare", "limited", "model.safetensors"].map((name) =>
      join(folder, name),
    );
    for (const name of [disk, spare, limited]) mkdirSync(name);
    const { code, err } = await start([...training, "--out", model, "--json"], { cwd: folder }).done;
    assert.equal(code, 0, err);
    if (process.platform !== "win32") {
      await underLimit(limited, readFileSync(model));
      console.log("files that may not be as large as a model: refused, and nothing is left of them");
    }
    // A mount that only this process and its children see, which takes no privileges where the system allows it.
    const inside = 'mount -t tmpfs -o size=64k none "$1" && touch "$4" && exec "$0" "$5" "$1" "$2" "$3"';
    const mounted = join(folder, "mounted");
    const script = fileURLToPath(import.meta.url);
    const args = ["-rm", "sh", "-c", inside, process.execPath, disk, spare, model, mounted, script];
    const { status, stderr } = spawnSync("unshare", args, { encoding: "utf8" });
    if (status === 0) console.log("a disk that fills up: its checkpoint is whole, and the model elsewhere");
    else if (readdirSync(folder).includes("mounted")) throw new Error(stderr);
    else console.log("no disk could be mounted to be filled: not tried");
  } finally {
    rmSync(folder, { recursive: true });
  }
}
