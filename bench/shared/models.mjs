// Mechanistic models, with batches of trajectories: solves, and the same gradient as of networks, with that with respect to the
// arguments of the trajectories. All by dopri5 in float32, with ten outputs.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/run.mjs";
import { TOLERANCES, written } from "./problems.mjs";

/** States, initial numbers and times by name. */
export const models = JSON.parse(readFileSync(join(root, "bench/models.json"), "utf8"));

const TASKS = ["solve", "gradient"];
const BATCHES = [1, 16, 256, 4096];
const OUTPUTS = 10;

/** All problems of some models, with their inputs in files; in haste, of one batch alone. */
export function modelProblems(names, quick = false) {
  return names.flatMap((name) =>
    TASKS.flatMap((task) => (quick ? [16] : BATCHES).map((batch) => problemOf(name, task, batch))),
  );
}

/** A line about a model. */
export function describeModel(name) {
  const { states, parameters, until } = models[name];
  const count = Object.keys(parameters).length;
  return `${states} states, ${count} parameter${count > 1 ? "s" : ""}, dopri5 until ${until}, rtol ${TOLERANCES.rtol.toExponential(2)}, ${OUTPUTS} outputs`;
}

function problemOf(name, task, batch) {
  const { states, parameters, arguments: given = {}, y0, until } = models[name];
  const names = { parameters: Object.keys(parameters), arguments: Object.keys(given) };
  const times = Array.from({ length: OUTPUTS + 1 }, (_, i) => (until * i) / OUTPUTS);
  const problem = { case: name, task, method: "dopri5", states, batch, names, times, ...TOLERANCES };
  // Trajectories differ by up to a fifth.
  const around = (values, length, shift) =>
    Float32Array.from({ length }, (_, i) => values[i % values.length] * (1 + 0.2 * Math.sin(i + shift)));
  return written(problem, {
    parameters: Float32Array.from(Object.values(parameters)),
    arguments: around(Object.values(given), names.arguments.length * batch, 1),
    y0: around(y0, batch * states, 0),
  });
}
