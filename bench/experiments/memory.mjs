// Peak memory of one gradient as steps, stages and the network grow: by the ledger and by the process.

import { root } from "../../scripts/run.mjs";
import { start } from "../shared/child.mjs";
import { nativeBench } from "../shared/environments.mjs";
import { GRADIENTS } from "../shared/gradients.mjs";
import { gradientFile, writeInputs } from "../shared/problems.mjs";
import { mib } from "./common.mjs";
import { curves } from "./plots.mjs";

const WIDTH = 64;
const BATCH = 256;
const STEPS = 100;
/** Stages that the solution depends on. */
const STAGES = { midpoint: 2, rk4: 4, dopri5: 6, dopri8: 13 };
const AXES = {
  steps: { values: [10, 100, 1_000, 10_000], quick: [10, 200], label: "steps N →" },
  stages: { values: Object.values(STAGES), quick: [2, 13], label: "stages s →" },
  width: { values: [16, 64, 256, 1_024], quick: [16, 64], label: "width of the hidden layers →" },
};
/** What grows by what, in states (M), and uses of the network (L): the table of the paper. */
const ORDERS = {
  symplectic: "states N + s, network L",
  aca: "states N, network s L",
  baseline: "states 1, network N s L",
  backprop: "network N s L",
  adjoint: "states 1, network L",
};

export async function run({ api, quick, progress }) {
  const say = progress("steps, stages, width");
  const contender = { command: [process.execPath, `${root}/bench/contenders/ours.mjs`] };
  const points = [];
  let native;
  for (const [axis, { values, quick: few }] of Object.entries(AXES)) {
    for (const value of quick ? few : values) {
      const problem = problemOf(api, axis, value);
      for (const gradient of GRADIENTS) {
        say(`${axis} ${value}, ${gradient}`);
        /** @type {Record<string, any>} */
        const point = { axis, value, gradient, ...(await peak(contender, problem, gradient)) };
        if (point.error) {
          // Beyond 4 GiB: what each step adds is the same, and natively there is more room.
          point.formula = await byFormula(contender, api, problem, gradient);
          native ??= nativeBench();
          if (native.command) Object.assign(point, { native: await peak(native, problem, gradient) });
        }
        points.push(point);
      }
    }
  }
  say.done();
  return { width: WIDTH, batch: BATCH, steps: STEPS, points, growth: growthOf(points) };
}

function problemOf(api, axis, value) {
  const method = axis === "stages" ? Object.keys(STAGES).find((name) => STAGES[name] === value) : "rk4";
  const width = axis === "width" ? value : WIDTH;
  const steps = axis === "steps" ? value : STEPS;
  const described = { case: "memory", method, widths: [2, width, width, 2], batch: BATCH, times: [0, 1], steps };
  return writeInputs(api, { ...described, rtol: 1e-6, atol: 1e-6 });
}

/** In a process of its own, whose memory has not seen anything else. */
async function peak(contender, problem, gradient) {
  const child = start(contender);
  try {
    // The adjoint takes as many steps backward as forward.
    const { steps } = problem;
    const variant = gradient === "adjoint" && contender.command[0] === process.execPath ? { adjoint: { steps } } : {};
    const message = {
      ...problem,
      variant: { gradient, ...variant },
      files: { ...problem.files, gradient: gradientFile },
    };
    const { countedBytes, growthBytes, wasmGrowthBytes } = await child.ask({ prepare: message }, 1200);
    return { bytes: countedBytes, process: growthBytes, wasm: wasmGrowthBytes };
  } catch (error) {
    return { error: error.message };
  } finally {
    await child.stop();
  }
}

/** With fixed steps the bytes are a + b N. */
async function byFormula(contender, api, problem, gradient) {
  const [few, more] = [100, 200];
  const at = async (steps) => (await peak(contender, writeInputs(api, { ...problem, steps }), gradient)).bytes;
  const [first, second] = [await at(few), await at(more)];
  return first + ((second - first) / (more - few)) * (problem.steps - few);
}

/** What one more of each costs: between the last two values. */
function growthOf(points) {
  return GRADIENTS.map((gradient) => {
    const per = {};
    for (const axis of Object.keys(AXES)) {
      const [before, last] = points.filter((point) => point.axis === axis && point.gradient === gradient).slice(-2);
      const bytes = (point) => point.bytes ?? point.formula;
      per[axis] = (bytes(last) - bytes(before)) / (last.value - before.value);
    }
    return { gradient, ...per };
  });
}

export function report({ width, batch, steps, points, growth }) {
  const bytes = (point) => point.bytes ?? point.formula;
  const fixed = {
    steps: `rk4, width ${width}`,
    stages: `${steps} steps, width ${width}`,
    width: `rk4, ${steps} steps`,
  };
  const panels = Object.entries(AXES).map(([axis, { label }]) => ({
    title: fixed[axis],
    x: { label, log: true, format: "~s", ticks: 5 },
    y: { label: "↑ peak, MiB", log: true },
    points: points
      .filter((point) => point.axis === axis)
      .map((point) => ({ series: point.gradient, x: point.value, y: bytes(point) / 2 ** 20 })),
    dashed: ["baseline"],
  }));
  const [state, use] = [batch * 2 * 4, batch * 2 * width * 4];
  const inUnits = (value) =>
    value < use ? `${(value / state).toFixed(1)} states` : `${(value / use).toFixed(1)} uses`;
  const growthRows = growth.map((row) => [
    row.gradient,
    ORDERS[row.gradient],
    `${row.steps.toFixed(0)} B: ${inUnits(row.steps)}`,
    `${row.stages.toFixed(0)} B: ${inUnits(row.stages)}`,
    `${row.width.toFixed(0)} B`,
  ]);
  const known = (value) => (value === undefined ? "–" : mib(value));
  const rows = points.map((point) => {
    const { axis, value, gradient, native } = point;
    const natively = native?.bytes ? `${mib(native.bytes)} natively` : "–";
    const figures = point.error
      ? [`${mib(point.formula)} by formula, ${natively}`, "does not fit", `${known(native?.process)} natively`]
      : [mib(point.bytes), known(point.wasm), known(point.process)];
    return [axis, String(value), gradient, ...figures];
  });
  return {
    title: "Memory: the number of uses plus the size of the network",
    lead: `Peak memory of one gradient in float32: a network 2-w-w-2 (tanh), batch ${batch}, rk4 unless the stages vary.`,
    sections: [
      {
        title: "Growth",
        figures: [
          {
            name: "growth",
            svg: curves({
              title: "Peak memory of one gradient, by the ledger",
              columns: 3,
              panels,
              size: { width: 330, height: 280 },
            }),
            caption:
              "Baseline, dashed, has the memory of backprop. Where wasm32's 4 GiB do not hold a gradient its bytes are those of the formula.",
          },
        ],
      },
      {
        title: "What one more costs",
        text: `Between the last two values of each. A state is ${state} bytes, the tape of one use of the network ${use} bytes (of the whole batch; the symplectic adjoint tapes a block of it at a time). Slopes, cotangents and stage states are s states each; weights, their packed forms and gradients grow with the width for all.`,
        tables: [
          {
            name: "growth",
            head: ["gradient", "the paper's order", "a step", "a stage", "a unit of width"],
            rows: growthRows,
          },
        ],
      },
      {
        title: "All figures",
        text: "MiB, each in a process of its own: the ledger, the growth of WebAssembly memory, and that of the process, which contains some 15 MiB of JavaScript's own and compiled code.",
        tables: [{ name: "all", head: ["axis", "value", "gradient", "ledger", "WebAssembly memory", "process"], rows }],
      },
    ],
  };
}
