// Fits of differential equations to measurements, as every contender gets them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/run.mjs";
import { normals } from "./random.mjs";

/** Equations, starts and simulations by name. */
export const fits = JSON.parse(readFileSync(join(root, "bench/fits.json"), "utf8"));

/** Given to everyone's solver. */
const FIT_TOLERANCES = { rtol: 1e-8, atol: 1e-10 };
/** How far estimates may be from ours, each relative to itself. */
export const AGREEMENT = 1e-4;

/** Measured trajectories `{ times, y, y0, t0 }`, by the example. */
const measured = {
  "lynx-hare": () => {
    const rows = table("lynx-hare.csv");
    return [{ times: rows.map(([year]) => year - 1900), y: rows.flatMap(([, ...both]) => both), y0: rows[0].slice(1) }];
  },
  theophylline: () => {
    const rows = table("theophylline.csv");
    const subjects = [...new Set(rows.map(([subject]) => subject))];
    return subjects.map((subject) => {
      const own = rows.filter(([one]) => one === subject);
      // By kilogram, as the dose is given.
      return { times: own.map((row) => row[3]), y: own.map((row) => row[4]), y0: [own[0][2], 0] };
    });
  },
  influenza: () => {
    const rows = table("influenza.csv");
    return [{ t0: 0, times: rows.map(([day]) => day), y: rows.map(([, ill]) => ill), y0: [762, 1] }];
  },
};

/** All problems of some fits. */
export function fitProblems(api, names) {
  return names.map((name) => {
    const { equations, parameters, initial = {}, observe, simulate } = fits[name];
    const trajectories = simulate ? simulated(api, fits[name]) : measured[name]();
    const states = statesOf(equations);
    const names = [...Object.keys(parameters), ...Object.keys(initial).map((state) => `${state}(0)`)];
    const start = [...Object.values(parameters), ...Object.values(initial)];
    const model = { equations: equations.join("\n"), states, observe, parameters, initial, names, start, trajectories };
    return {
      case: name,
      ...model,
      ...stackTrajectories(trajectories, states, initial, observe.length),
      ...FIT_TOLERANCES,
    };
  });
}

/** A line about a fit. */
export function describeFit(name) {
  const { what, parameters, initial = {} } = fits[name];
  return `${what}; ${Object.keys({ ...parameters, ...initial }).length} numbers`;
}

/**
 * The trajectories as one system, for whoever solves them so: all times at which one was measured, `y0` `[trajectories, states]`,
 * and each measurement with the indices of its time, trajectory and observed quantity.
 */
function stackTrajectories(trajectories, states, initial, width) {
  const starts = trajectories.map(({ t0, times }) => t0 ?? times[0]);
  const times = [...new Set([...starts, ...trajectories.flatMap((one) => one.times)])].sort((a, b) => a - b);
  const at = trajectories.flatMap((one, trajectory) =>
    one.y.map((_, i) => [times.indexOf(one.times[Math.floor(i / width)]), trajectory, i % width]),
  );
  const y = trajectories.flatMap((one) => one.y);
  const estimatedStates = Object.keys(initial).map((state) => states.indexOf(state));
  return { times, y, at, y0: trajectories.map(({ y0 }) => y0), estimatedStates };
}

function simulated(api, { equations, observe, simulate }) {
  const { parameters, y0, times, deviation } = simulate;
  const random = normals(1);
  const field = api.equations(equations.join("\n"), { parameters, dtype: "float64" });
  try {
    return y0.map((start) => {
      const exact = api.odeint(field, Float64Array.from(start), [0, ...times], { rtol: 1e-12, atol: 1e-12 });
      const rows = times.map((_, i) => exact.y.slice((i + 1) * start.length, (i + 2) * start.length));
      return { t0: 0, times, y: rows.map((row) => observed(row) + deviation * random()), y0: start };
    });
  } finally {
    field.dispose();
  }

  /** The only quantity that the simulated ones observe: a state, or one over a parameter. */
  function observed(row) {
    const [state, over] = observe[0].split(" / ");
    const value = row[statesOf(equations).indexOf(state)];
    return over ? value / parameters[over] : value;
  }
}

const statesOf = (equations) => equations.map((equation) => equation.split("'")[0]);

/** The rows of a file in data/. */
function table(name) {
  const lines = readFileSync(join(root, "data", name), "utf8")
    .trim()
    .split("\n");
  return lines.slice(1).map((line) => line.split(",").map(Number));
}
