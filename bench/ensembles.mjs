// npm run ensembles: what trajectories with their own steps cost: thousands of them together, and one that is stiff among others.
// dopri5 with rtol 1e-6 and atol 1e-8, float64, value and gradient of Σ y(t1). With a Python that has jax and diffrax, as in
// `npm run ensembles -- --python PATH`, also the same by jax.vmap(diffeqsolve); --peers installs them. With --write-docs,
// docs/trajectories.md gets the figures.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { pythonPackages } from "./shared/environments.mjs";
import { fill } from "./shared/pages.mjs";
import { setUp, spread, table, where } from "./shared/table.mjs";

const { values: flags } = parseArgs({
  options: { python: { type: "string" }, peers: { type: "boolean" }, "write-docs": { type: "boolean" } },
});
const python = flags.python ?? (flags.peers ? jaxHere() : undefined);
const api = await setUp();
const batch = 4096;

/** A Python with jax and diffrax, installed if it has to be. */
function jaxHere() {
  const { command, missing } = pythonPackages("jax");
  if (!command) throw new Error(`no jax: ${missing}`);
  return command[0];
}

/** A number from 0 to below 1 that looks random: one that the Python beside it computes as well. */
const noise = (i) => ((Math.imul(i, 2654435761) >>> 0) % 1000) / 1000;

const systems = {
  Lorenz: {
    text: "x' = sigma*(y - x)\ny' = x*(rho - z) - y\nz' = x*y - beta*z",
    states: 3,
    end: 1,
    arguments: { sigma: 10, rho: 28, beta: 8 / 3 },
  },
  "Lotka–Volterra": {
    text: "hare' = hare*(a - b*lynx)\nlynx' = lynx*(c*hare - d)",
    states: 2,
    end: 10,
    arguments: { a: 1.1, b: 0.4, c: 0.1, d: 0.4 },
  },
};

/** Milliseconds of solve and gradient over some rounds, the first ones left out, and the steps taken in the last. */
function measure(field, y0, times, options, rounds = 8) {
  /** @type {number[]} */
  const solves = [];
  /** @type {number[]} */
  const gradients = [];
  let accepted = 0;
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    const solve = api.vjp(field, y0, times, { rtol: 1e-6, atol: 1e-8, timeGradients: false, ...options });
    const middle = performance.now();
    solve.pullback(new Float64Array(2 * y0.length).fill(1, y0.length));
    const end = performance.now();
    ({ accepted } = solve.solution.stats);
    solve.dispose();
    if (round < 2) continue;
    solves.push(middle - start);
    gradients.push(end - start);
  }
  return { solves, gradients, accepted };
}

const rows = [];
for (const [name, { text, states, end, arguments: means }] of Object.entries(systems)) {
  const field = api.equations(text, { arguments: Object.keys(means), dtype: "float64" });
  const y0 = Float64Array.from({ length: batch * states }, (_, i) => 1 + noise(i));
  const spreadOut = Object.entries(means).map(([key, mean], k) => [
    key,
    Float64Array.from({ length: batch }, (_, i) => mean * (0.9 + 0.2 * noise(7 * i + k))),
  ]);
  for (const batching of ["independent", "together"]) {
    const options = { batching, arguments: Object.fromEntries(spreadOut) };
    const { solves, gradients, accepted } = measure(field, y0, [0, end], options);
    const steps = batching === "independent" ? accepted / batch : accepted;
    rows.push([name, batching, steps.toFixed(1), `${spread(solves)} ms`, `${spread(gradients)} ms`]);
  }
  field.dispose();
}
if (python) {
  const script = fileURLToPath(new URL("contenders/diffrax_ensembles.py", import.meta.url));
  for (const { name, solve, gradient } of JSON.parse(execFileSync(python, [script], { encoding: "utf8" }))) {
    rows.push([name, "jax.vmap(diffeqsolve)", "–", `${spread(solve)} ms`, `${spread(gradient)} ms`]);
  }
}
const figures = table([`${batch} trajectories`, "by", "steps of each", "solve", "solve and gradient"], rows);

// One of 256 a thousand times as stiff as the others.
const field = api.equations("x' = -k*(x - cos(t))\ny' = x - y", { arguments: ["k"], dtype: "float64" });
const mild = Array.from({ length: 255 }, (_, i) => 1 + i / 255);
const cost = (k) => {
  const y0 = new Float64Array(2 * k.length).fill(0.5);
  return Math.min(...measure(field, y0, [0, 20], { batching: "independent", arguments: { k } }, 12).gradients);
};
const [all, without, alone] = [[...mild, 1000], mild, [1000]].map(cost);
const stiff =
  `With one of 256 trajectories a thousand times as stiff as the rest, a solve with its gradient takes ${all.toFixed(1)} ms: ` +
  `${(all / (without + alone)).toFixed(2)} times the sum of the stiff one alone (${alone.toFixed(1)} ms) and the others without it ` +
  `(${without.toFixed(1)} ms).`;
console.log(`${figures}\n\n${stiff}`);
if (flags["write-docs"]) fill("docs/trajectories.md", `${figures}\n\n${stiff}\n\n${where(api)}`);
