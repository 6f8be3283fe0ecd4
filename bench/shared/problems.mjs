// What is computed: the gradient, with respect to parameters and y0, of ½ Σ y(t)² over the outputs after t = 0, up to t = 1,
// in float32; and what it is compared with.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/run.mjs";
import { start } from "./child.mjs";

/** Batches, networks (tanh) and methods by name. */
export const cases = JSON.parse(readFileSync(join(root, "bench/cases.json"), "utf8"));

/** Asked for; in float32 every contender is given 100 ε, below which ours would raise it, and a peer would follow noise. */
export const TOLERANCES = { rtol: Math.max(1e-6, 100 * 2 ** -23), atol: 1e-8 };
const folder = join(root, "bench/.work");
/** What a kept reference was computed with. */
const builds = readFileSync(join(root, "wasm/stamp"));
/** Where a contender leaves its gradient. */
export const gradientFile = join(folder, `gradient-${process.pid}.bin`);

/** All problems of some cases: one for each method. */
export function problemsOf(names) {
  return names.flatMap((name) =>
    Object.entries(cases[name].methods).map(([method, { steps }]) => {
      const { widths, batch, outputs = 1 } = cases[name];
      const times = Array.from({ length: outputs + 1 }, (_, i) => i / outputs);
      return { case: name, method, widths, batch, times, steps, ...TOLERANCES };
    }),
  );
}

/** A line about a problem. */
export function describe({ widths, batch, method, steps, times, rtol }) {
  const outputs = times.length > 2 ? `, ${times.length - 1} outputs` : "";
  const how = steps ? `${steps} step${steps > 1 ? "s" : ""}` : `rtol ${rtol.toExponential(2)}`;
  return `batch ${batch}, ${widths.join("-")} tanh, ${method}, ${how}${outputs}`;
}

/** Multiplications and additions of the matrix products of one evaluation of the field. */
function flopsOf({ widths, batch }) {
  return 2 * batch * widths.slice(1).reduce((sum, width, i) => sum + width * widths[i], 0);
}

/** The stages of a step that the solution depends on. */
export const STAGES = { euler: 1, rk4: 4, dopri5: 6 };

/** Matrix flops of a gradient that computes nothing twice: once a use forward, twice in reverse. */
export function gradientFlops(problem, accepted) {
  return 3 * flopsOf(problem) * STAGES[problem.method] * accepted;
}

/** Writes the initial parameters and y0 where every contender reads them. */
export function writeInputs(api, problem) {
  const field = api.mlp({ widths: problem.widths, seed: 1 });
  const y0 = Float32Array.from({ length: problem.batch * problem.widths[0] }, (_, i) => Math.sin(i));
  const inputs = { parameters: Float32Array.from(field.parameters), y0 };
  field.dispose();
  return written(problem, inputs);
}

/** A problem with arrays in files, by their names, and a name of its own. */
export function written(problem, inputs) {
  mkdirSync(folder, { recursive: true });
  const hash = createHash("sha256").update(inputs.parameters).update(JSON.stringify(problem)).update(builds);
  const name = `${problem.case}-${problem.method}-${hash.digest("hex").slice(0, 12)}`;
  const files = {};
  for (const [kind, numbers] of Object.entries(inputs)) {
    files[kind] = join(folder, `${name}.${kind}.f32`);
    writeFileSync(files[kind], numbers);
  }
  return { ...problem, name, files };
}

/**
 * Float64 gradients, by which errors are measured: of a fixed-step method with the same steps, of an adaptive one the
 * converged gradient. Kept in a file, as they take a while. The name of another method with the same costs may be given.
 */
export async function reference(problem, runtime, method = problem.method) {
  const file = join(folder, `${problem.name}.${method}.f64`);
  if (!existsSync(file)) {
    const tight = problem.steps ? {} : { method: "dopri8", rtol: 1e-11, atol: 1e-12 };
    const files = { ...problem.files, gradient: `${file}.${process.pid}` };
    const child = start(runtime);
    try {
      const variant = { gradient: "symplectic" };
      await child.ask({ prepare: { ...problem, method, ...tight, variant, files, dtype: "float64" } }, 1800);
    } finally {
      await child.stop();
    }
    renameSync(files.gradient, file);
  }
  return new Float64Array(new Uint8Array(readFileSync(file)).buffer);
}

/** ‖ours − exact‖ / ‖exact‖ of what a contender wrote: the parameter gradient, or the outputs of a solve. */
export function errorOf(exact, { dtype = "float32" }) {
  const { buffer } = new Uint8Array(readFileSync(gradientFile));
  const ours = dtype === "float64" ? new Float64Array(buffer) : new Float32Array(buffer);
  if (ours.length !== exact.length) throw new Error(`a gradient of ${ours.length} numbers, not ${exact.length}`);
  let [difference, size] = [0, 0];
  for (let i = 0; i < exact.length; i++) {
    difference += (ours[i] - exact[i]) ** 2;
    size += exact[i] ** 2;
  }
  return Math.sqrt(difference / size);
}
