// One self-contained page: the fit, the phase portrait, the loss, and the gradient methods side by side.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { pelts, states, toPelts, years } from "./data.mjs";

const { document } = parseHTML("<!doctype html><html><body></body></html>");
const HARE = "#3b7dd8";
const LYNX = "#d9713c";
const MODEL = "currentColor";

const common = {
  document,
  marginBottom: 42,
  style: { fontFamily: "inherit", fontSize: "12px", background: "none", overflow: "visible" },
};

/**
 * @typedef {import("./compare.mjs").Table} Table
 * @typedef {Table[number]} Row
 * @typedef {{ t: number, state: number[] }[]} Fitted the solution at times
 * @typedef {{ length: number, steps: number, learningRate: number }[]} Schedule
 * @typedef {{ fitted: Fitted, losses: number[], schedule: Schedule, table: Table, evaluate: (state: number[]) => number[],
 *   architecture: { widths: readonly number[], activation?: string }, solver: { method: string, rtol: number } }} Results
 */

/**
 * @param {string} file
 * @param {Results} results
 */
export function writeReport(file, results) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, page(results));
}

/** @param {Results} results */
function fitPlot({ fitted }) {
  const model = fitted.flatMap(({ t, state }) =>
    toPelts(state).map((pelts, i) => ({ year: years[0] + t, pelts, species: ["hare", "lynx"][i] })),
  );
  const record = years.flatMap((year, i) =>
    pelts[i].map((pelts, j) => ({ year, pelts, species: ["hare", "lynx"][j] })),
  );
  return Plot.plot({
    ...common,
    width: 970,
    height: 340,
    x: { label: "year", tickFormat: "d" },
    y: { label: "pelts, thousands", grid: true, zero: true },
    color: { domain: ["hare", "lynx"], range: [HARE, LYNX] },
    marks: [
      Plot.ruleY([0]),
      Plot.lineY(model, { x: "year", y: "pelts", stroke: "species", strokeWidth: 2.2 }),
      Plot.dot(record, { x: "year", y: "pelts", fill: "species", r: 4, stroke: "var(--page)", strokeWidth: 1 }),
    ],
  });
}

/** @param {Results} results */
function phasePlot({ fitted, evaluate }) {
  const arrows = [];
  for (let a = -1.8; a <= 1.81; a += 0.3) {
    for (let b = -1.6; b <= 2.01; b += 0.3) {
      const slope = evaluate([a, b]);
      const size = Math.hypot(...slope);
      // Of equal length in the units learned: a direction field.
      const tip = toPelts([a + (0.2 * slope[0]) / size, b + (0.2 * slope[1]) / size]);
      const tail = toPelts([a, b]);
      arrows.push({ x1: tail[0], y1: tail[1], x2: tip[0], y2: tip[1], size });
    }
  }
  const path = fitted.map(({ state }) => toPelts(state));
  return Plot.plot({
    ...common,
    width: 470,
    height: 430,
    x: { type: "log", label: "hare, thousands", ticks: 6, tickFormat: "~s" },
    y: { type: "log", label: "lynx, thousands", ticks: 6, tickFormat: "~s" },
    color: { scheme: "blues", range: [0.25, 0.85] },
    marks: [
      Plot.arrow(arrows, { x1: "x1", y1: "y1", x2: "x2", y2: "y2", stroke: "size", headLength: 5, strokeWidth: 1.2 }),
      Plot.line(path, { stroke: MODEL, strokeWidth: 2.2 }),
      Plot.dot(pelts, { fill: LYNX, r: 4, stroke: "var(--page)" }),
      Plot.text([0, states.length - 1], {
        x: (i) => pelts[i][0],
        y: (i) => pelts[i][1],
        text: (i) => String(years[i]),
        dy: -12,
        fill: "currentColor",
      }),
    ],
  });
}

/** @param {Results} results */
function lossPlot({ losses, schedule }) {
  const starts = schedule.map((_, i) => schedule.slice(0, i).reduce((sum, { steps }) => sum + steps, 0));
  const labels = schedule.map(({ length, learningRate }, i) => {
    return { step: starts[i], text: `${length} years, rate ${learningRate}` };
  });
  return Plot.plot({
    ...common,
    width: 470,
    height: 430,
    x: { label: "step" },
    y: {
      type: "log",
      label: "mean squared error (log, standardised)",
      grid: true,
      ticks: [0.05, 0.1, 0.2, 0.5],
      tickFormat: "~g",
    },
    marks: [
      Plot.ruleX(starts, { stroke: "currentColor", strokeOpacity: 0.25, strokeDasharray: "3 3" }),
      Plot.lineY(losses, { x: (_, i) => i + 1, y: (loss) => loss, stroke: HARE, strokeWidth: 1.3 }),
      Plot.text(labels, {
        x: "step",
        text: "text",
        frameAnchor: "top",
        rotate: 90,
        dx: 10,
        textAnchor: "start",
        fill: "currentColor",
        fillOpacity: 0.7,
      }),
    ],
  });
}

/**
 * @param {Table} table
 * @param {{ value: string | ((row: Row) => number), label: string, text: (row: Row) => string, zero: boolean }} shown
 */
function bars(table, { value, label, text, zero }) {
  const marks = [
    Plot.barX(table, {
      y: "gradient",
      x: value,
      fill: (row) => (row.gradient === "symplectic" ? LYNX : "#9aa5b1"),
      rx: 2,
    }),
    Plot.text(table, { y: "gradient", x: value, text, dx: 4, textAnchor: "start", fill: "currentColor" }),
  ];
  return Plot.plot({
    ...common,
    width: 470,
    height: 205,
    marginLeft: 80,
    marginRight: 70,
    x: { label, zero, grid: true, ticks: 5 },
    y: { label: null, domain: table.map(({ gradient }) => gradient) },
    marks,
  });
}

/** @param {Table} table */
function errorPlot(table) {
  // Zero has no place on a logarithmic axis: such a method stands at the left edge.
  const floor = 1e-17;
  const points = table.flatMap(({ gradient, error64, error32 }) => [
    { gradient, error: Math.max(error64, floor), type: "float64" },
    { gradient, error: Math.max(error32, floor), type: "float32" },
  ]);
  return Plot.plot({
    ...common,
    width: 470,
    height: 205,
    marginLeft: 80,
    x: {
      type: "log",
      label: "relative error of the gradient",
      grid: true,
      domain: [floor, 1],
      ticks: 8,
      tickFormat: (v) => (v === floor ? "0" : v.toExponential(0)),
    },
    y: { label: null, domain: table.map(({ gradient }) => gradient) },
    color: { domain: ["float64", "float32"], range: [HARE, LYNX] },
    // Rings around the points where both types agree.
    marks: [
      Plot.dot(points, { filter: ({ type }) => type === "float64", x: "error", y: "gradient", fill: "type", r: 4.5 }),
      Plot.dot(points, { filter: ({ type }) => type === "float32", x: "error", y: "gradient", stroke: "type", r: 7 }),
    ],
  });
}

/** @param {Table} table */
function methodsTable(table) {
  /** @param {Row} row */
  const cells = (row) => [
    row.gradient,
    row.error64 === 0 ? "0" : row.error64.toExponential(1),
    row.error32.toExponential(1),
    (row.bytes / 1024).toFixed(0),
    row.milliseconds.toFixed(2),
    row.evaluations,
    row.vjps,
  ];
  const head = ["gradient", "error, float64", "error, float32", "peak KiB", "ms", "evaluations", "vjps"];
  /**
   * @param {(string | number)[]} row
   * @param {string} tag
   */
  const line = (row, tag) => `<tr>${row.map((cell) => `<${tag}>${cell}</${tag}>`).join("")}</tr>`;
  return `<table><thead>${line(head, "th")}</thead><tbody>${table.map((row) => line(cells(row), "td")).join("")}</tbody></table>`;
}

/** @param {Results} results */
function page(results) {
  const { table, losses, architecture, solver } = results;
  /**
   * @param {Element} svg
   * @param {string} caption
   */
  const figure = (svg, caption) => `<figure>${svg.outerHTML}<figcaption>${caption}</figcaption></figure>`;
  const kib = {
    /** @param {Row} row */
    value: (row) => row.bytes / 1024,
    label: "peak memory, KiB",
    /** @param {Row} row */
    text: (row) => `${(row.bytes / 1024).toFixed(0)} KiB`,
    zero: true,
  };
  const time = {
    value: "milliseconds",
    label: "time of one gradient, ms",
    /** @param {Row} row */
    text: (row) => `${row.milliseconds.toFixed(2)} ms`,
    zero: true,
  };
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lynx and hare: a neural ODE by the symplectic adjoint method</title>
<style>
:root { --page: #fbfaf7; --ink: #22272e; --soft: #6a737d; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --page: #16191d; --ink: #e4e7eb; --soft: #98a2ad; } }
body { margin: 0 auto; max-width: 1020px; padding: 2.5rem 1.5rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .4rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .4rem; }
p { max-width: 44rem; margin: .4rem 0; } .soft, figcaption { color: var(--soft); font-size: .9rem; }
figure { margin: 1rem 0; min-width: 0; } svg { max-width: 100%; height: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 1.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin-top: 1rem; display: block; overflow-x: auto; }
th, td { padding: .35rem .9rem; text-align: right; border-bottom: 1px solid color-mix(in srgb, var(--soft) 30%, transparent); }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; font-size: .9rem; }
.hare { color: ${HARE}; } .lynx { color: ${LYNX}; } b { font-weight: 600; }
</style>
</head>
<body>
<h1>Lynx and hare</h1>
<p>A network ${architecture.widths.join("–")} (${architecture.activation}) has learned how the logarithms of the
<b class="hare">hare</b> and <b class="lynx">lynx</b> pelts of the Hudson's Bay Company change from one moment to the next,
from ${losses.length} gradients through ${solver.method} at tolerance ${solver.rtol.toExponential(0)}, all of them exact.</p>
${figure(fitPlot(results), "Points: the record. Lines: the solution from the first year's numbers alone.")}
<div class="pair">
${figure(phasePlot(results), "The learned vector field (directions; deeper blue is faster), the solution, and the record.")}
${figure(lossPlot(results), "The loss, over windows that grow to the whole record.")}
</div>
<h2>One gradient, five ways</h2>
<p>The gradient of the mean squared error over all 21 years, at the parameters that training begins with. The four exact methods give the
same numbers bit for bit and differ in what they keep; the continuous adjoint gives others.</p>
${methodsTable(table)}
<p class="soft">Errors: relative, against backpropagation in float64. Memory from the ledger, time (median of 20) and counts: float32.</p>
<div class="pair">
${figure(bars(table, kib), "Peak memory of solve and gradient.")}
${figure(errorPlot(table), `Error against backpropagation in float64: <b class="hare">points float64</b>, <b class="lynx">rings float32</b>; at the left edge, none at all.`)}
${figure(bars(table, time), "Time, on this machine.")}
</div>
</body>
</html>
`;
}
