// Physical systems as energies: waves, mixtures and pendulums learned by hamiltonian, against plain networks.
import { digits } from "../shared/table.mjs";
import { exponent, mib } from "./common.mjs";
import { EQUATIONS } from "./physics/equations.mjs";
import { grids } from "./physics/grids.mjs";
import { oscillators, SYSTEMS } from "./physics/oscillators.mjs";
import { curves, images } from "./plots.mjs";

export async function run({ api, quick, seed, progress, save }) {
  const equations = await grids({ api, quick, seed, progress, save: (equations) => save({ equations }) });
  return { equations, small: await oscillators({ api, quick, seed, progress }) };
}

const MODELS = {
  energy: "energy",
  local: "local network",
  larger: "larger network",
  plain: "plain network",
};

export function report({ equations, small }) {
  const sections = Object.entries(equations).flatMap(([name, one]) => equationSections(name, one));
  return {
    title: "Physical systems",
    lead: "A system with an energy is f = G ∇H. Here H is a network, learned from snapshots; beside it stand networks that are f themselves, learned the same way. What follows goes on for much longer than what was learned from.",
    sections: small ? [...sections, smallSection(small)] : sections,
  };
}

function equationSections(name, { grid, interval, steps, samples, reference, times, truth, models, costs }) {
  const { name: title, formula } = EQUATIONS[name];
  const [short, long] = [10, times.length - 1];
  const conservative = name === "kdv";
  const kept = conservative
    ? `changes its energy by at most ${exponent(reference.drift)} of it`
    : `lets its energy rise by ${exponent(Math.max(0, reference.rise))} at most from one snapshot to the next`;
  const { parameters } = models.energy;
  const own = conservative
    ? `Along its solutions the energy model's own H moves by ${exponent(models.energy.own.drift)} at most`
    : `Along its solutions the energy model's own H rises by ${exponent(Math.max(0, models.energy.own.rise))} at most from one snapshot to the next`;
  return [
    {
      title,
      text: [
        `${formula}, on ${grid.points} points of distance ${grid.spacing}, periodic: the equation of that grid is the truth, solved in float64 by dopri8;`,
        `half its step changes the solution by ${exponent(reference.change)}, and it ${kept}.`,
        `Learned from ${samples.learned} trajectories, from each snapshot the next, ${interval} later (dopri8, ${steps} steps of Adam, mean squared error);`,
        `tried on ${samples.tried} others, for ${long} intervals.`,
        `The energy is a network of a point and its two neighbours; the plain one is of the whole state and has as many parameters, the larger one ${Math.round(models.larger.parameters / parameters)} times as many,`,
        "and the local one is the same at every point, of the seven points that the energy model looks at.",
        `${own} (tolerance 1e-7).`,
      ].join(" "),
      figures: [spaceTime(name, title, times, truth, models), overTime(name, title, interval, times, models)],
      tables: [
        {
          name: `${name}Errors`,
          head: [
            "model",
            "parameters",
            "loss, of what changes",
            `error² after ${short} intervals`,
            `after ${long}`,
            `error of the energy after ${short}`,
            `after ${long}`,
            "training, s",
          ],
          rows: Object.entries(MODELS).map(([kind, label]) => {
            const { parameters: count, loss, error, energyError, seconds } = models[kind];
            const shown = [error, energyError].flatMap((values) => [values[short], values[long]]);
            return [label, String(count), exponent(loss), ...shown.map(orDiverged), seconds.toFixed(0)];
          }),
        },
      ],
    },
    {
      title: `${title}: what a gradient costs`,
      text: [
        `The energy model, batch ${costs.batch}, over ${costs.intervals} intervals: dopri8 in float32 with rtol = atol = ${costs.tolerance.toExponential(1)}, the least that float32 takes, the adjoint method's way back as well. The error is against backpropagation.`,
        ...(isUnstable(costs)
          ? ["Diffusion cannot be run backward: the adjoint method strays, and its gradient is wrong."]
          : []),
      ].join(" "),
      tables: [
        {
          name: `${name}Costs`,
          head: ["gradient", "steps N", "backward", "peak, MiB", "of it tapes", "ms", "error of ∂L/∂θ"],
          rows: costs.rows.map(({ gradient, steps: n, backwardSteps, bytes, tape, ms, spread, error }) => [
            gradient,
            String(n),
            backwardSteps ? String(backwardSteps) : "the same",
            mib(bytes),
            mib(tape),
            `${digits(ms)} (${spread.map(digits).join("–")})`,
            exponent(error),
          ]),
        },
      ],
    },
  ];
}

/** Whether the adjoint method has lost the solution on its way back. */
const isUnstable = ({ rows }) => rows.some(({ gradient, error }) => gradient === "adjoint" && error > 0.1);

const orDiverged = (value) => (Number.isFinite(value) ? exponent(value) : "diverged");

function spaceTime(name, title, times, truth, models) {
  const { values: exact, width, height } = truth.image;
  const bound = Math.max(...exact.map(Math.abs));
  const size = { width, height, aspect: 0.7 };
  const range = name === "kdv" ? [0, bound] : [-bound, bound];
  const kinds = Object.entries(MODELS);
  /** @type {(values: number[], label: string) => import("./plots.mjs").Picture} */
  const state = (values, label) => ({
    title: label,
    values,
    ...size,
    range,
    scale: name === "kdv" ? "blues" : "diverging",
  });
  const off = (values) => values.map((value, i) => value - exact[i]);
  /** @type {import("./plots.mjs").Picture[]} */
  const panels = [
    state(exact, "truth"),
    ...kinds.map(([kind, label]) => state(models[kind].image.values, label)),
    // Nothing below the truth.
    { title: "", values: exact.map(() => 0), ...size, range: [0, 1], scale: /** @type {const} */ ("grey") },
    ...kinds.map(([kind, label]) => ({
      title: `${label}, error`,
      values: off(models[kind].image.values),
      ...size,
      range: [-bound, bound],
      scale: /** @type {const} */ ("diverging"),
    })),
  ];
  return {
    name: `${name}Images`,
    svg: images({
      title: `${title}: time to the right, to ${times.at(-1)}; space upward`,
      columns: 5,
      side: 190,
      panels,
    }),
    caption: "An unseen solution, predicted from its first snapshot; below, the error.",
  };
}

function overTime(name, title, interval, times, models) {
  const series = (key) =>
    Object.entries(MODELS).flatMap(([kind, label]) =>
      times.map((t, n) => ({ series: label, x: t, y: models[kind][key][n] })).filter(({ y }) => Number.isFinite(y)),
    );
  const rules = [10 * interval];
  const x = { label: "time →" };
  const panel = (key, label) => ({ x, dots: false, rules, y: { label, log: true }, points: series(key) });
  return {
    name: `${name}Curves`,
    svg: curves({
      title: `${title}: errors over time`,
      columns: 2,
      panels: [
        { title: "Error of the state", ...panel("error", "↑ mean squared error") },
        { title: "Error of the energy", ...panel("energyError", "↑ |H − H of the truth|, mean") },
      ],
      size: { width: 460 },
    }),
    caption: `Means over the solutions tried; the dotted line is ten times the interval that was learned from.`,
  };
}

function smallSection({ end, horizon, noise, friction, samples, systems }) {
  const portrait = (name, { truth, models }) => ({
    title: `${SYSTEMS[name].name}: q and p`,
    x: { label: "q →" },
    y: { label: "↑ p" },
    dots: false,
    dashed: ["truth"],
    points: [...paths("energy", models.energy), ...paths("plain network", models.plain), ...paths("truth", truth)],
  });
  const paths = (series, { path }) => path.map(([x, y]) => ({ series, x, y }));
  const energy = (name, { times, truth, models }) => ({
    title: `${SYSTEMS[name].name}: energy`,
    x: { label: "time →" },
    y: { label: "↑ H" },
    dots: false,
    dashed: ["truth"],
    rules: [end],
    points: [
      ["energy", models.energy],
      ["plain network", models.plain],
      ["truth", truth],
    ].flatMap(([series, one]) => times.map((t, n) => ({ series, x: t, y: one.energy[n] }))),
  });
  const names = Object.keys(systems);
  const last = ({ times }) => times.length - 1;
  const once = (one) => Math.round(last(one) / horizon);
  return {
    title: "Springs and pendulums",
    text: [
      `Learned from ${samples.learned} trajectories of length ${end} with noise ${noise}; tried on ${samples.tried} others, without, for ${horizon} times as long.`,
      `The structure is canonical; that of the damped pendulum { J, R } with friction ${friction}; the driven one has a force beside it, B u(t) by driven, and is tried under another force than it was learned under, a weak one: under stronger ones the energy model can do worse than the plain one.`,
      "The plain network has as many parameters, and the force beside it too.",
    ].join(" "),
    figures: [
      {
        name: "small",
        svg: curves({
          title: "One solution of each",
          columns: names.length,
          panels: [
            ...names.map((name) => portrait(name, systems[name])),
            ...names.map((name) => energy(name, systems[name])),
          ],
          size: { width: 300, height: 250 },
        }),
        caption: "The dotted line is where the trajectories end that were learned from.",
      },
    ],
    tables: [
      {
        name: "smallErrors",
        head: [
          "system",
          "model",
          "parameters",
          `error² at ${end}`,
          `at ${horizon * end}`,
          `error of the energy at ${end}`,
          `at ${horizon * end}`,
        ],
        rows: Object.entries(systems).flatMap(([name, one]) =>
          Object.entries(one.models).map(([kind, { parameters, error, energyError }]) => [
            SYSTEMS[name].name,
            MODELS[kind],
            String(parameters),
            ...[error, energyError].flatMap((values) => [values[once(one)], values[last(one)]].map(orDiverged)),
          ]),
        ),
      },
    ],
  };
}
