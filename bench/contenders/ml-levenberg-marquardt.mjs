// A fit by npm's ml-levenberg-marquardt, with this package's solver. The package's folder is the argument.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { equations, odeint } from "../../dist/index.js";
import { processorTime, serve } from "./serve.mjs";

const NAME = "ml-levenberg-marquardt";
const entry = createRequire(join(process.argv[2], "package.json")).resolve(NAME);
const { levenbergMarquardt } = await import(pathToFileURL(entry).href);
const { version } = JSON.parse(readFileSync(join(dirname(entry), "../package.json"), "utf8"));

/** Of solves that are right to 1e-8, in units of the start. */
const DIFFERENCE = 1e-5;
const MOST = 300;

/** The least count with which something comes true, if it does with the most. */
function leastOf(most, isTrue) {
  let [few, enough] = [0, most];
  if (!isTrue(most)) return most;
  while (enough - few > 1) {
    const middle = Math.floor((few + enough) / 2);
    if (isTrue(middle)) enough = middle;
    else few = middle;
  }
  return enough;
}

await serve(async (problem) => {
  const { parameters, observe, start, times, y0, at, states, estimatedStates, rtol, atol, variant } = problem;
  const names = Object.keys(parameters);
  const begin = processorTime();
  const field = equations(problem.equations, { parameters, dtype: "float64" });
  const quantities = observe.map((text) => {
    const [state, over] = text.split(" / ");
    return { state: states.indexOf(state), over: over ? names.indexOf(over) : -1 };
  });
  let solves = 0;
  // What it fits is a function of one number: here, which measurement.
  const predictions = (scaled) => {
    solves++;
    const values = scaled.map((value, i) => value * start[i]);
    field.parameters = Float64Array.from(values.slice(0, names.length));
    const from = Float64Array.from(y0.flat());
    for (const [k, state] of estimatedStates.entries()) {
      for (let i = state; i < from.length; i += states.length) from[i] = values[names.length + k];
    }
    let y;
    try {
      ({ y } = odeint(field, from, times, { rtol, atol }));
    } catch {
      return () => Number.NaN;
    }
    return (index) => {
      const [time, trajectory, observed] = at[index];
      const { state, over } = quantities[observed];
      const value = y[(time * y0.length + trajectory) * states.length + state];
      return over < 0 ? value : value / values[over];
    };
  };
  const data = { x: problem.y.map((_, i) => i), y: problem.y };
  const fit = (maxIterations) =>
    levenbergMarquardt(data, predictions, {
      initialValues: start.map(() => 1),
      gradientDifference: DIFFERENCE,
      maxIterations,
      errorTolerance: 0,
    });
  const estimatesOf = ({ parameterValues }) => parameterValues.map((value, i) => value * start[i]);
  const isThere = (found) =>
    estimatesOf(found).every((value, i) => Math.abs(value / problem.estimates[i] - 1) <= problem.agreement);
  // It has no test of convergence. Its users leave it its default, and nobody but a benchmark knows the least that suffice.
  const enough = variant.iterations ?? problem.iterations ?? leastOf(MOST, (count) => isThere(fit(count)));
  solves = 0;
  const found = fit(enough);
  const firstMs = processorTime() - begin;
  return {
    firstMs,
    estimates: estimatesOf(found),
    cost: found.parameterError / 2,
    iterations: enough,
    solves,
    versions: { [NAME]: version },
    gradient: () => fit(enough),
  };
}, processorTime);
