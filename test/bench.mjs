// The benchmark in haste, ours alone on its smallest networks, on models and on fits, by WebAssembly and, where it is built, by the
// addon: whether it works, and whether what it says can be true.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { offBy, problems } from "../bench/shared/detest.mjs";
import { EXACT, GRADIENTS } from "../bench/shared/gradients.mjs";
import * as api from "../dist/index.js";
import { run } from "../scripts/run.mjs";

const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));
const [file, fitsFile] = ["bench.json", "fits.json"].map((name) => join(folder, name));
const fits = JSON.parse(readFileSync(new URL("../bench/fits.json", import.meta.url), "utf8"));
const models = Object.keys(JSON.parse(readFileSync(new URL("../bench/models.json", import.meta.url), "utf8")));
const cases = ["small", "step", ...models].flatMap((name) => ["--case", name]);
const native = new URL("../native", import.meta.url);
run("node", ["bench/main.mjs", "--quick", "--without", "native", ...cases, "--out", file], { stdio: "ignore" });
run("node", ["bench/main.mjs", "--fits", "--quick", "--out", fitsFile], { stdio: "ignore" });
const { fits: fitted } = JSON.parse(readFileSync(fitsFile, "utf8"));
const { results, models: found, machine, versions, coldStart, targets } = JSON.parse(readFileSync(file, "utf8"));
rmSync(folder, { recursive: true });
// What is built from other sources is gone by now.
const hasAddon = existsSync(native) && readdirSync(native).some((name) => name.endsWith(".node"));

assert.ok(machine.cpu && machine.cores > 0 && versions.node, "what it was measured on");
assert.ok(coldStart.every(({ ms }) => ms.every((time) => time > 0)));
const kinds = hasAddon ? ["ours", "addon"] : ["ours"];
assert.deepEqual(
  coldStart.map(({ kind }) => kind),
  kinds,
);
for (const { kind, skipped } of results)
  assert.equal(skipped !== undefined, !kinds.includes(kind), `${kind}: ${skipped}`);
for (const [kind, method] of kinds.flatMap((kind) => ["rk4", "dopri5", "euler"].map((method) => [kind, method]))) {
  const of = (name) => {
    const result = results.find((one) => one.kind === kind && one.method === method && one.contender === name);
    assert.ok(result && !result.skipped, `${kind}, ${name}, ${method}: ${result?.skipped ?? "missing"}`);
    return result;
  };
  // A step of Euler is too far for the continuous adjoint.
  for (const name of method === "euler" ? [...EXACT, "field.vjp"] : GRADIENTS) {
    const { rounds, ms, gflops, accepted, error, registerBits, peakGflops } = of(name);
    const what = `${kind}, ${name}, ${method}`;
    assert.ok(rounds.length > 0 && ms > 0 && gflops > 0 && accepted > 0, `${what}: figures`);
    assert.ok([128, 256, 512].includes(registerBits) && peakGflops.every((peak) => peak > 0), `${what}: its engine`);
    // At rounding for the same steps; for adaptive ones, of the order of the tolerance.
    assert.ok(error < (method === "dopri5" ? 1e-4 : 1e-6), `${what}: error ${error}`);
  }
  assert.ok(
    of("backprop").pullOverForward.every((ratio) => ratio > 0),
    `${kind}, ${method}: the reverse sweep`,
  );
  // Bitwise the same gradient has the same error.
  assert.equal(new Set(EXACT.map((name) => of(name).error)).size, 1, `${kind}, ${method}: one error`);
  const [symplectic, aca, , backprop] = EXACT.map((name) => of(name).countedBytes);
  // A single step is all that either keeps.
  const less = method === "euler" || aca < backprop;
  assert.ok(symplectic < aca && less, `${kind}, ${method}: ${symplectic} < ${aca} < ${backprop} bytes`);
}
for (const kind of kinds) {
  const prefix = kind === "addon" ? "addon: " : "";
  const { reached } = targets.find(
    ({ what, case: name }) => name === "step" && what.startsWith(`${prefix}auto's time`),
  );
  assert.ok(reached > 0, `${kind}: a target`);
}
for (const [name, kind] of models.flatMap((name) => kinds.map((kind) => [name, kind]))) {
  for (const task of ["solve", "gradient"]) {
    for (const field of ["program", "custom"]) {
      const what = `${name}, ${kind}, ${task}, ${field}`;
      const result = found.find(
        (one) => one.case === name && one.kind === kind && one.task === task && one.contender === field,
      );
      assert.ok(result && !result.skipped, `${what}: ${result?.skipped ?? "missing"}`);
      const { rounds, ms, accepted, error } = result;
      assert.ok(rounds.length > 0 && ms > 0 && accepted > 0, `${what}: figures`);
      // A wrong equation or derivative is off by more than trajectories that part.
      assert.ok(error < 1e-3, `${what}: error ${error}`);
    }
  }
}
for (const name of Object.keys(fits)) {
  const result = fitted.find((one) => one.case === name && one.contender === "leastSquares");
  assert.ok(result && !result.skipped, `${name}: ${result?.skipped ?? "missing"}`);
  const { rounds, firsts, cost, iterations, error } = result;
  assert.ok(rounds.length > 0 && firsts.length > 0 && [...rounds, ...firsts].every((ms) => ms > 0), `${name}: times`);
  assert.ok(cost > 0 && iterations > 0 && error < 1e-5, `${name}: cost ${cost}, off by ${error}`);
}
run("node", ["bench/tracing.mjs", "--rounds", "1", "--processes", "1"], { stdio: "ignore" });

// What controllers are compared on is what the literature has.
for (const [name, { text }] of Object.entries(problems)) {
  const off = offBy(api, api.equations(text, { dtype: "float64" }), name);
  assert.ok(off < 1e-11, `${name} of DETEST: off by ${off}`);
}
console.log("The benchmark's figures make sense.");
