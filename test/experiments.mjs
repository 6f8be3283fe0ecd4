// The experiments in haste: whether they work, and whether what they say can be true.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tapeBytes } from "../bench/experiments/cnf/tape.mjs";
import { run } from "../scripts/run.mjs";

const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));

/** The results of an experiment, whose report is there too. */
function resultsOf(name) {
  run("node", ["bench/experiments/main.mjs", name, "--quick", "--out", folder], { stdio: "ignore" });
  const page = readFileSync(join(folder, `${name}.html`), "utf8");
  assert.match(page, /<svg/, `${name}: figures`);
  assert.doesNotMatch(page, /NaN|undefined|(src|href)="http/, `${name}: report`);
  return JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")).results;
}

const checks = { exactness, memory, rounding, speed, cnf, physics };
for (const [name, check] of Object.entries(checks)) {
  const start = performance.now();
  check(resultsOf(name));
  console.log(`${name}: ${((performance.now() - start) / 1000).toFixed(0)} s`);
}
rmSync(folder, { recursive: true });
assert.ok(!existsSync(folder));

function exactness({ rows, golden }) {
  for (const { gradient, float64, float32, rtol } of rows) {
    if (gradient !== "adjoint") assert.equal(float64, 0, `${gradient}: not bitwise backpropagation`);
    if (gradient !== "adjoint") assert.ok(float32 < 1e-5, `${gradient}: ${float32}`);
    else if (rtol >= 1e-6) assert.ok(float64 > 1e-9, "the adjoint is not exact");
  }
  for (const { error, tolerance, kind } of golden) assert.ok(error <= tolerance, `${kind}: ${error}`);
}

function memory({ points, growth }) {
  for (const { bytes, wasm, axis, value, gradient } of points) {
    const name = `${gradient}, ${axis} ${value}`;
    // Pages, the allocator's gaps, and what there was before.
    assert.ok(bytes > 0 && wasm > bytes - 2 ** 20, `${name}: by ${wasm} for ${bytes}`);
    assert.ok(wasm < 1.1 * bytes + 2 ** 20, `${name}: by ${wasm} for ${bytes}`);
  }
  const of = Object.fromEntries(growth.map((row) => [row.gradient, row]));
  assert.ok(of.symplectic.steps < of.backprop.steps / 100, "a step costs a state, not tapes");
  assert.ok(of.symplectic.stages < of.aca.stages / 10, "a stage costs states, not a tape");
  assert.equal(of.adjoint.steps, 0);
}

function rounding({ bySteps, bitwise }) {
  assert.ok(bitwise, "exact gradients round alike");
  const errors = (series) => bySteps.filter((row) => row.series === series).map(({ error }) => error);
  assert.ok(Math.max(...errors("exact, compensated")) < 1e-6);
  assert.ok(errors("exact, plain").at(-1) > 3 * errors("exact, compensated").at(-1));
}

function speed({ rows, flows }) {
  for (const { error, ms, ratios } of rows) {
    assert.ok(error < 1e-2 && Object.values(ms).every((time) => time > 0));
    assert.ok(
      Object.values(ratios)
        .flat()
        .every((ratio) => ratio > 0.05 && ratio < 50),
    );
  }
  // How fast a machine is proves nothing; how much faster one gradient is here is for the page to tell.
  assert.ok(flows.every(({ ratios }) => ratios.every((ratio) => ratio > 0.05 && ratio < 50)));
}

function cnf({ POWER, steps: bySteps, digits, breast_cancer: cancer, toys }) {
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
}

function physics({ equations, small }) {
  const { kdv, cahnHilliard } = equations;
  assert.ok(kdv.reference.change < 1e-6 && kdv.reference.drift < 1e-8, "the reference keeps its energy");
  assert.ok(cahnHilliard.reference.change < 1e-6 && cahnHilliard.reference.rise < 1e-9, "its energy falls");
  assert.ok(kdv.models.energy.own.drift < 1e-3, "what is conserved is the energy learned");
  assert.ok(cahnHilliard.models.energy.own.rise < 1e-3, "or it falls");
  const { energy, plain } = kdv.models;
  assert.ok(energy.error[10] < plain.error[10], "over ten intervals");
  // Null is a solution that could not go on.
  const off = (model) => model.energyError.at(-1) ?? Number.POSITIVE_INFINITY;
  assert.ok(off(energy) < off(plain) / 3, "energy on the long way");
  for (const { costs } of [kdv, cahnHilliard]) {
    const of = Object.fromEntries(costs.rows.map((row) => [row.gradient, row]));
    const { symplectic, aca, baseline, backprop, adjoint } = of;
    for (const { error, steps } of [symplectic, aca, baseline, backprop]) {
      assert.equal(error, 0, "not bitwise backpropagation");
      assert.equal(steps, symplectic.steps);
    }
    assert.ok(adjoint.error > 0 && adjoint.backwardSteps > 0);
    assert.ok(symplectic.bytes < aca.bytes && aca.bytes < Math.min(baseline.bytes, backprop.bytes), "memory in order");
  }
  for (const { models } of [small.systems.spring, small.systems.pendulum]) {
    assert.ok(models.energy.energyError.at(-1) < models.plain.energyError.at(-1) / 1.5, "energy of an oscillator");
  }
}
