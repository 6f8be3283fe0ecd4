// Time of a gradient by each method at equal error, in float64, where the adjoint can become as exact; and what flows cost.
import { tuned } from "../contenders/tune.mjs";
import { EXACT } from "../shared/gradients.mjs";
import { digits, median, spread } from "../shared/table.mjs";
import { exponent, gradientOf, relative } from "./common.mjs";
import { curves } from "./plots.mjs";

const NAMES = [...EXACT, "auto"];
/** The columns of the table: `baseline` has the memory of `backprop`, and takes longer. */
const COLUMNS = [...NAMES.filter((name) => name !== "baseline"), "adjoint"];
const ROUNDS = 7;
const ROUND_MS = 150;

/** Fields, and batches for them. */
const PROBLEMS = {
  small: {
    batch: 64,
    about: "mlp 2-50-2, batch 64",
    make: (api, seed) => larger(api.mlp({ widths: [2, 50, 2], dtype: "float64", seed })),
  },
  medium: {
    batch: 256,
    about: "mlp 2-64-64-64-2, batch 256",
    make: (api, seed) => larger(api.mlp({ widths: [2, 64, 64, 64, 2], dtype: "float64", seed })),
  },
  flow: {
    batch: 100,
    about: "cnf 6-60-60-6, Hutchinson, batch 100",
    make: (api, seed) =>
      larger(
        api.cnf({
          network: { widths: [6, 60, 60, 6], dtype: "float64", time: "concatsquash", seed },
          trace: "hutchinson",
        }),
      ),
  },
  energy: {
    batch: 64,
    about: "hamiltonian 2-50-50-1, batch 64",
    make: (api, seed) =>
      larger(
        api.hamiltonian({ energy: { widths: [2, 50, 50, 1], dtype: "float64", seed }, structure: "canonical" }),
        3,
      ),
  },
};

/** With larger parameters than they are drawn, so that the field is not nearly linear. */
function larger(field, factor = 2) {
  field.parameters = field.parameters.map((value) => factor * value);
  return field;
}

/** Networks inside flows: the shapes of POWER, GAS, HEPMASS and MINIBOONE in FFJORD. */
const FLOWS = [
  { name: "POWER", widths: [6, 60, 60, 60, 6], batch: 1000 },
  { name: "GAS", widths: [8, 160, 160, 160, 8], batch: 512 },
  { name: "HEPMASS", widths: [21, 420, 420, 21], batch: 256 },
  { name: "MINIBOONE", widths: [43, 860, 860, 43], batch: 128 },
];

export async function run({ api, quick, seed, progress }) {
  const rows = [];
  for (const [problem, { make, batch, about }] of Object.entries(PROBLEMS)) {
    if (quick && problem !== "small") continue;
    const field = make(api, seed + 1);
    const y0 = Float64Array.from({ length: batch * field.stateSize }, (_, i) => Math.sin(i));
    const say = progress(about);
    const tight = { method: "dopri8", rtol: 1e-12, atol: 1e-12 };
    const exact = gradientOf(api, field, y0, [0, 1], tight).gradient.parameters;
    for (const rtol of quick ? [1e-3, 1e-6] : [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9]) {
      say(`rtol ${rtol}`);
      rows.push({ problem, rtol, ...(await compared(api, { field, y0, exact, rtol, quick })) });
    }
    field.dispose();
    say.done();
  }
  return { problems: about(), rows, flows: flowCosts(api, quick, progress("flows against networks")) };
}

const about = () => Object.fromEntries(Object.entries(PROBLEMS).map(([name, { about }]) => [name, about]));

async function compared(api, { field, y0, exact, rtol, quick }) {
  const options = { method: "dopri5", rtol, atol: rtol / 100 };
  const gradient = (settings) => gradientOf(api, field, y0, [0, 1], settings);
  const first = gradient(options);
  const error = relative(first.gradient.parameters, exact);
  const best = await tunedAdjoint(gradient, options, { error, exact });
  const contenders = Object.fromEntries(NAMES.map((name) => [name, { ...options, gradient: name }]));
  contenders.adjoint = best.options;
  const times = await rounds(contenders, gradient, quick ? 3 : ROUNDS, quick ? 20 : ROUND_MS);
  return {
    steps: first.solution.stats.accepted,
    backwardSteps: best.result.gradient.stats.backwardSteps,
    tuned: best.note,
    error,
    ms: Object.fromEntries(Object.entries(times).map(([name, ms]) => [name, median(ms)])),
    // Within a round, as the machine is not the same for long.
    ratios: Object.fromEntries(NAMES.map((name) => [name, times.adjoint.map((ms, i) => ms / times[name][i])])),
  };
}

/** With the tolerances of the solve where that can do, else with the loosest ones below that can. */
async function tunedAdjoint(gradient, { rtol, atol, ...options }, aim) {
  for (const factor of [1, 0.3, 0.1, 0.03, 0.01]) {
    const forward = { ...options, rtol: factor * rtol, atol: factor * atol, gradient: "adjoint" };
    try {
      const { note, ...best } = await tuned(gradient, forward, "float64", aim);
      return { ...best, note: factor === 1 ? note : `forward rtol ${forward.rtol.toExponential(0)}, ${note}` };
    } catch (error) {
      if (factor === 0.01) throw error;
    }
  }
}

/** The median time of each in each round, there and back. */
async function rounds(contenders, gradient, count, budget) {
  const names = Object.keys(contenders);
  /** @type {Record<string, number[]>} */
  const times = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = -1; round < count; round++) {
    for (const name of round % 2 ? names : names.toReversed()) {
      const own = [];
      const until = performance.now() + budget;
      while (own.length === 0 || performance.now() < until) {
        const start = performance.now();
        gradient(contenders[name]);
        own.push(performance.now() - start);
      }
      // The first round warms up.
      if (round >= 0) times[name].push(median(own));
    }
  }
  return times;
}

/** One vjp of a flow by Hutchinson's trace over that of its network. */
function flowCosts(api, quick, say) {
  const found = FLOWS.slice(0, quick ? 1 : FLOWS.length).map(({ name, widths, batch }) => {
    say(name);
    const options = { widths, activation: "softplus", time: "concatsquash" };
    const [plain, flow] = [api.mlp(options), api.cnf({ network: options, trace: "hutchinson" })];
    const inputs = [plain, flow].map((field) => {
      return Float32Array.from({ length: batch * field.stateSize }, (_, i) => Math.sin(i));
    });
    const pairs = Array.from({ length: quick ? 4 : 10 }, () =>
      [plain, flow].map((field, i) => {
        const start = performance.now();
        for (let repeat = 0; repeat < 3; repeat++) field.vjp(0.3, inputs[i], inputs[i]);
        return (performance.now() - start) / 3;
      }),
    ).slice(2);
    plain.dispose();
    flow.dispose();
    const [networkMs, flowMs] = [0, 1].map((i) => median(pairs.map((pair) => pair[i])));
    return { name, widths, batch, networkMs, flowMs, ratios: pairs.map(([a, b]) => b / a) };
  });
  say.done();
  return found;
}

export function report({ problems, rows, flows }) {
  const names = [...new Set(rows.map((row) => row.problem))];
  const shown = ["symplectic", "aca", "auto"];
  const panels = names.map((problem) => ({
    title: problems[problem],
    x: { label: "tolerance of the solve →", log: true, format: ".0e", ticks: 4 },
    y: { label: "↑ time of the adjoint / time of the method", log: true, domain: [0.5, 10], ticks: 5 },
    level: 1,
    points: rows
      .filter((row) => row.problem === problem)
      .flatMap((row) => shown.map((name) => ({ series: name, x: row.rtol, y: median(row.ratios[name]) }))),
  }));
  const table = rows.map((row) => [
    row.problem,
    row.rtol.toExponential(0),
    `${row.steps}, ${row.backwardSteps}`,
    exponent(row.error),
    ...COLUMNS.map((name) => digits(row.ms[name])),
    ...["symplectic", "auto"].map((name) => spread(row.ratios[name])),
  ]);
  const flowRows = flows.map(({ name, widths, batch, networkMs, flowMs, ratios }) => [
    name,
    `${widths.join("-")}, batch ${batch}`,
    digits(networkMs),
    digits(flowMs),
    spread(ratios),
  ]);
  return {
    title: "Speed at equal error",
    lead: "One gradient by dopri5 in float64. The adjoint has the norm, full or seminorm, and the loosest backward tolerances whose gradient is as near to the converged one as the exact gradient is, at the fewest evaluations.",
    sections: [
      {
        title: "Where the adjoint method is overtaken",
        text: "Above 1 the exact gradient is faster. The adjoint's backward solve of Ñ steps uses the network 1 + 3Ñ/N times a stage, the symplectic adjoint 5 − 1/s times, auto with room for tapes 3 times: so the crossover is where Ñ/N passes 1.3, or 0.7.",
        figures: [
          {
            name: "crossover",
            svg: curves({
              title: "Time of the adjoint method over that of exact gradients, at equal error",
              columns: 2,
              panels,
              size: { width: 460, height: 260 },
            }),
            caption: "Medians of ratios within a round.",
          },
        ],
        tables: [
          {
            name: "crossover",
            head: [
              "problem",
              "rtol",
              "N, Ñ",
              "error",
              ...COLUMNS.map((name, i) => (i === 0 ? `${name}, ms` : name)),
              "adjoint / symplectic",
              "adjoint / auto",
            ],
            rows: table,
          },
        ],
      },
      {
        title: "What a flow costs",
        text: "One vjp (value, trace by one direction of noise, and the reverse of both) over that of the network alone: the dual pass doubles the products.",
        tables: [
          { name: "flows", head: ["shape", "network", "network, ms", "flow, ms", "flow / network"], rows: flowRows },
        ],
      },
    ],
  };
}
