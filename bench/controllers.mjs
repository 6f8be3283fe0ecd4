// npm run controllers: the controllers of steps on the 25 non-stiff problems of DETEST: evaluations of f at equal error, rejected steps,
// and how the error follows the tolerance. float64, rtol = atol. Counts and errors do not depend on the speed of the machine.
// With `npm run controllers -- --write-docs`, docs/choosing.md gets the tables. The comparison is that of W. H. Enright and J. D.
// Pryce (ACM TOMS 13(1), 1987): a line through the logarithms of errors and tolerances gives the tolerance of an error.
import { parseArgs } from "node:util";
import { distance, END, offBy, precisely, problems } from "./shared/detest.mjs";
import { fill } from "./shared/pages.mjs";
import { setUp, table, where } from "./shared/table.mjs";

const { values: flags } = parseArgs({ options: { "write-docs": { type: "boolean" } } });
const api = await setUp();

const CONTROLLERS = ["standard", "pi", "pid"];
/** Of each method, powers of ten: the least tolerance, and the errors at which evaluations are compared. */
const METHODS = {
  adaptive_heun: { least: -6, errors: [-2, -3, -4, -5] },
  bosh3: { least: -8, errors: [-2, -3, -4, -5, -6, -7] },
  dopri5: { least: -11, errors: [-2, -3, -4, -5, -6, -7, -8, -9] },
  tsit5: { least: -11, errors: [-2, -3, -4, -5, -6, -7, -8, -9] },
  dopri8: { least: -12, errors: [-2, -3, -4, -5, -6, -7, -8, -9, -10] },
};
/** Tolerances go down in steps of a third of a power, from 10^-2. */
const FINENESS = 3;
/** Larger errors are no solution, smaller ones are rounding. */
const [LARGEST, SMALLEST] = [-1, -11.5];
/** Of so many steps of a solution the error is measured. */
const MEASURED = 100;

const solved = Object.entries(problems).flatMap(([problem, { text, y0, ...known }]) => {
  const field = api.equations(text, { dtype: "float64" });
  const start = Float64Array.from(y0);
  const off = offBy(api, field, problem);
  if (!(off < 1e-11)) throw new Error(`${problem}: a precise solution is off by ${off} from what is known`);
  const curves = Object.entries(METHODS).flatMap(([method, { least }]) =>
    CONTROLLERS.map((controller) => {
      const runs = [];
      for (let power = -2 * FINENESS; power >= FINENESS * least; power--) {
        const tolerance = 10 ** (power / FINENESS);
        const solution = attempt(field, start, { method, controller, rtol: tolerance, atol: tolerance });
        if (!solution) continue;
        const error = Math.log10(errorOf(solution.steps(0), field, start, known));
        runs.push({ tolerance: power / FINENESS, error, ...solution.stats });
      }
      return { problem, method, controller, runs, ...fitted(runs) };
    }),
  );
  field.dispose();
  return curves;
});

/** A solution with its steps; none where a loose tolerance ends in a singularity, as when the bodies of D1 collide. */
function attempt(field, start, options) {
  try {
    return api.odeint(field, start, [0, END], { ...options, saveSteps: true, maxSteps: 300_000 });
  } catch (error) {
    if (error.code === "MAX_STEPS" || error.code === "STEP_UNDERFLOW") return undefined;
    throw error;
  }
}

/**
 * The largest error at the ends of steps.
 *
 * @param {import("symplectic-adjoint").Steps} steps
 * @param {import("symplectic-adjoint").Field<"float64">} field
 * @param {Float64Array} start
 * @param {{ exact?: (t: number) => number[] }} known
 */
function errorOf({ t, y }, field, start, { exact }) {
  const size = start.length;
  const apart = Math.max(1, (t.length - 1) / MEASURED);
  const chosen = Array.from({ length: Math.floor((t.length - 1) / apart) + 1 }, (_, i) => Math.round(i * apart));
  const at = chosen.map((step) => t[step]);
  const reference = exact ? at.flatMap(exact) : precisely(api, field, start, at);
  return distance(
    chosen.flatMap((step) => [...y.subarray(size * step, size * (step + 1))]),
    reference,
    size,
  );
}

/** The line through the errors over the tolerances, in powers of ten: its slope is 1 where errors are in proportion. */
function fitted(runs) {
  const usable = runs.filter(({ error }) => error <= LARGEST && error >= SMALLEST);
  const [x, y] = [mean(usable.map(({ tolerance }) => tolerance)), mean(usable.map(({ error }) => error))];
  const slope =
    usable.reduce((sum, { tolerance, error }) => sum + (tolerance - x) * (error - y), 0) /
    usable.reduce((sum, { tolerance }) => sum + (tolerance - x) ** 2, 0);
  const scatter = Math.sqrt(mean(usable.map(({ tolerance, error }) => (y + slope * (tolerance - x) - error) ** 2)));
  return { usable, slope, scatter, toleranceFor: (error) => x + (error - y) / slope };
}

/** The logarithm of the evaluations that an error takes, between the tolerances that were tried; undefined beyond these. */
function workAt(error, { usable, toleranceFor }) {
  const tolerance = toleranceFor(error);
  const below = usable.findIndex((run) => run.tolerance <= tolerance);
  if (below < 1) return undefined;
  const [from, to] = [usable[below - 1], usable[below]];
  const part = (from.tolerance - tolerance) / (from.tolerance - to.tolerance);
  return (1 - part) * Math.log(from.evaluations) + part * Math.log(to.evaluations);
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

const curveOf = (problem, method, controller) =>
  /** @type {typeof solved[number]} */ (
    solved.find((curve) => curve.problem === problem && curve.method === method && curve.controller === controller)
  );

/** Of each problem, the ratio of evaluations to those of the standard controller: a geometric mean over the errors that both reach. */
function ratios(names, method, controller) {
  return names.flatMap((problem) => {
    const [ours, standard] = [controller, "standard"].map((name) => curveOf(problem, method, name));
    const differences = METHODS[method].errors.flatMap((power) => {
      const [one, other] = [ours, standard].map((curve) => workAt(power, curve));
      return one === undefined || other === undefined ? [] : [one - other];
    });
    return differences.length > 0 ? [Math.exp(mean(differences))] : [];
  });
}

const geometric = (values) => Math.exp(mean(values.map(Math.log)));
const names = Object.keys(problems);

const byMethod = Object.keys(METHODS).flatMap((method) =>
  CONTROLLERS.map((controller) => {
    const found = ratios(names, method, controller);
    const curves = names.map((problem) => curveOf(problem, method, controller));
    const runs = curves.flatMap(({ usable }) => usable);
    const fewer = found.filter((ratio) => ratio < 1).length;
    const compared = controller === "standard";
    return [
      `\`${method}\``,
      `\`${controller}\``,
      geometric(found).toFixed(3),
      compared ? "–" : `${Math.min(...found).toFixed(2)}–${Math.max(...found).toFixed(2)}`,
      compared ? "–" : `${fewer} of ${found.length}`,
      `${(100 * mean(runs.map(({ accepted, rejected }) => rejected / (accepted + rejected)))).toFixed(1)} %`,
      mean(curves.map(({ slope }) => slope)).toFixed(3),
      mean(curves.map(({ scatter }) => scatter)).toFixed(3),
    ];
  }),
);
const whole = table(
  ["method", "controller", "evaluations", "range", "fewer in", "rejected", "slope", "scatter"],
  byMethod,
);
const classes = [...new Set(names.map(([letter]) => letter))];
const byClass = table(
  ["dopri5", ...classes],
  CONTROLLERS.slice(1).map((controller) => [
    `\`${controller}\``,
    ...classes.map((letter) =>
      geometric(
        ratios(
          names.filter((name) => name.startsWith(letter)),
          "dopri5",
          controller,
        ),
      ).toFixed(3),
    ),
  ]),
);
console.log(`${whole}\n\n${byClass}`);
if (flags["write-docs"]) fill("docs/choosing.md", `${whole}\n\n${byClass}\n\n${where(api)}`, "controllers");
