// The experiments in haste: whether they work, and whether what they say can be true.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tapeBytes } from "../experiments/cnf/tape.mjs";
import { run } from "../scripts/run.mjs";

const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));

function experiment(name) {
  run(process.execPath, ["experiments/main.mjs", name, "--quick", "--out", folder], { stdio: "ignore" });
  const page = readFileSync(join(folder, `${name}.html`), "utf8");
  assert.match(page, /<svg/);
  assert.doesNotMatch(page, /NaN|undefined|(src|href)="http/);
  return JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")).results;
}

const checks = {
  cnf({ POWER, steps: bySteps, digits, breast_cancer: cancer, toys }) {
    for (const shape of [POWER]) {
      const { symplectic, aca, baseline, backprop, adjoint } = shape.cells;
      assert.ok(symplectic.bytes < aca.bytes && aca.bytes < backprop.bytes, `${shape.name}: bytes by method`);
      // All take the steps of one solve, and only what they keep differs.
      assert.equal(new Set([symplectic, aca, baseline, backprop, adjoint].map(({ steps }) => steps)).size, 1);
      const { steps } = symplectic;
      for (const [gradient, cell] of Object.entries({ aca, baseline, backprop })) {
        const tapes = cell.block.peak.tape - symplectic.block.peak.tape;
        assert.equal(tapes, tapeBytes(shape, gradient, steps), `${shape.name}: tapes of ${gradient} by the formula`);
      }
      for (const { block, ms } of [symplectic, aca, baseline, backprop, adjoint]) {
        assert.ok(ms > 0 && block.held > 0 && block.held <= block.peak.total);
      }
    }
    for (const { rows } of [bySteps]) {
      const bytes = (gradient) => rows.filter((row) => row.gradient === gradient).map((row) => row.bytes);
      const [first, last] = bytes("backprop");
      assert.ok(last > 1.5 * first, "backpropagation's memory grows with the steps");
      const [few, many] = bytes("symplectic");
      assert.ok(many - few < 0.1 * few, "the symplectic adjoint's by a state a step");
    }
    for (const { flow, gaussians, curve, samples } of [digits, cancer]) {
      // A flow that has hardly learnt is about as good as the Gaussian that it starts from.
      assert.ok(Math.abs(curve[0].validation - gaussians[0].validation) < 0.01, "it starts at the Gaussian");
      assert.ok(flow.validation <= curve[0].validation);
      assert.ok(Math.abs(flow.test - gaussians[0].test) < 1);
      assert.ok(gaussians.every(({ validation }) => validation >= gaussians[0].validation));
      for (const values of Object.values(samples)) assert.ok(values.length > 0 && values.every(Number.isFinite));
    }
    for (const [name, { before, after, mass }] of Object.entries(toys)) {
      assert.ok(after < before - 0.1, `${name}: learnt, ${before} to ${after}`);
      assert.ok(mass > 0.7 && mass < 1.01, `${name}: mass ${mass}`);
    }
  },
};

for (const [name, check] of Object.entries(checks)) check(experiment(name));
rmSync(folder, { recursive: true });
console.log(`experiments: ${Object.keys(checks).join(", ")}: the figures make sense.`);
