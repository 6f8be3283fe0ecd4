// The benchmark in haste, ours alone on its smallest network, on models and on fits: whether it works, and whether what it says can be true.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXACT, GRADIENTS } from "../bench/shared/gradients.mjs";
import { run } from "../scripts/run.mjs";

const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));
const [file, fitsFile] = ["bench.json", "fits.json"].map((name) => join(folder, name));
const fits = JSON.parse(readFileSync(new URL("../bench/fits.json", import.meta.url), "utf8"));
const models = Object.keys(JSON.parse(readFileSync(new URL("../bench/models.json", import.meta.url), "utf8")));
const cases = ["small", ...models].flatMap((name) => ["--case", name]);
run("node", ["bench/main.mjs", "--quick", "--no-native", ...cases, "--out", file], { stdio: "ignore" });
run("node", ["bench/main.mjs", "--fits", "--quick", "--out", fitsFile], { stdio: "ignore" });
const { fits: fitted } = JSON.parse(readFileSync(fitsFile, "utf8"));
const { results, models: found, machine, versions, coldStart } = JSON.parse(readFileSync(file, "utf8"));
rmSync(folder, { recursive: true });

assert.ok(machine.cpu && machine.cores > 0 && versions.node, "what it was measured on");
assert.ok(coldStart.every(({ ms }) => ms.every((time) => time > 0)));
for (const method of ["rk4", "dopri5"]) {
  const of = (name) => {
    const result = results.find((result) => result.method === method && result.contender === name);
    assert.ok(result && !result.skipped, `${name}, ${method}: ${result?.skipped ?? "missing"}`);
    return result;
  };
  for (const name of GRADIENTS) {
    const { rounds, ms, gflops, accepted, error } = of(name);
    assert.ok(rounds.length > 0 && ms > 0 && gflops > 0 && accepted > 0, `${name}, ${method}: figures`);
    // At rounding for the same steps; for adaptive ones, of the order of the tolerance.
    assert.ok(error < (method === "rk4" ? 1e-6 : 1e-4), `${name}, ${method}: error ${error}`);
  }
  // Bitwise the same gradient has the same error.
  assert.equal(new Set(EXACT.map((name) => of(name).error)).size, 1, `${method}: one error`);
  const [symplectic, aca, , backprop] = EXACT.map((name) => of(name).countedBytes);
  assert.ok(symplectic < aca && aca < backprop, `${method}: ${symplectic} < ${aca} < ${backprop} bytes`);
}
for (const name of models) {
  for (const task of ["solve", "gradient"]) {
    for (const field of ["program", "custom"]) {
      const what = `${name}, ${task}, ${field}`;
      const result = found.find((one) => one.case === name && one.task === task && one.contender === field);
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
console.log("The benchmark's figures make sense.");
