// The results as pictures: time against memory for each problem, and how our gradients grow.
import { readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { placeLabels } from "./labels.mjs";
import { DISTINCT, GRADIENT_COLOURS } from "./shared/gradients.mjs";
import { describe, problemsOf } from "./shared/problems.mjs";
import { FONT, sheet } from "./shared/sheet.mjs";
import { inNode } from "./targets.mjs";

const { document } = parseHTML("<!doctype html><html><body></body></html>");
const COLOURS = { ours: "#c2410c", addon: "#15803d", native: "#7c3aed", peer: "#1d6fd1" };
const KINDS = { ours: "this package, WebAssembly", addon: "its addon", native: "its crate", peer: "peers" };
const common = { document, style: { fontFamily: FONT, fontSize: "12px", background: "none", overflow: "visible" } };

/** Writes the plots beside a file of results, and gives their paths. */
export function writePlots(file) {
  const run = JSON.parse(readFileSync(file, "utf8"));
  const stem = basename(file, ".json");
  const plots = {
    "time-memory": run.results.length > 0 ? timeMemory(run) : undefined,
    scaling: run.scaling.length > 0 ? growth(run) : undefined,
  };
  return Object.entries(plots).flatMap(([name, svg]) => {
    if (!svg) return [];
    const path = join(dirname(file), `${stem}-${name}.svg`);
    writeFileSync(path, svg);
    return [path];
  });
}

function timeMemory({ results, runtime }) {
  const panels = problemsOf([...new Set(results.map((result) => result.case))]).flatMap((problem) => {
    const here = results.filter((result) => result.case === problem.case && result.method === problem.method);
    const points = here.filter((result) => result.ms && inNode(result, runtime)).flatMap(pointOf);
    return points.length > 0 ? [{ title: `${problem.case}: ${describe(problem)}`, svg: scatter(points) }] : [];
  });
  const legend = [
    ...Object.entries(KINDS).map(([kind, text]) => ({ text, colour: COLOURS[kind], filled: true })),
    { text: "memory counted", colour: "#555", filled: true },
    { text: "memory by the growth of the process", colour: "#555", filled: false },
  ];
  return sheet("Time and peak memory of one gradient: down and to the left is better", panels, 2, SCATTER, legend);
}

/** A contender in the plot; but for WebAssembly, of ours only those that differ most, as the rest has the same memory. */
function pointOf({ contender, kind, ms, countedBytes, growthBytes }) {
  const other = kind === "native" || kind === "addon";
  if (other && !DISTINCT.includes(contender)) return [];
  const counted = countedBytes !== undefined && countedBytes !== null;
  const bytes = counted ? countedBytes : growthBytes;
  if (!bytes) return [];
  const name = other ? `${contender}, ${kind}` : contender;
  return [{ name, kind, ms, memory: bytes / 2 ** 20, counted }];
}

const SCATTER = { width: 560, height: 380, left: 62, right: 24, top: 28, bottom: 46 };

function scatter(points) {
  const { width, height, left, right, top, bottom } = SCATTER;
  const [x, y] = ["memory", "ms"].map((name) => domain(points.map((point) => point[name])));
  /** @type {(value: number, domain: number[]) => number} */
  const at = (value, [low, high]) => Math.log(value / low) / Math.log(high / low);
  const placed = placeLabels(
    points.map((point) => ({
      ...point,
      x: left + at(point.memory, x) * (width - left - right),
      y: height - bottom - at(point.ms, y) * (height - top - bottom),
    })),
    { left, right: width - right, top, bottom: height - bottom },
  );
  const colour = (point) => COLOURS[point.kind];
  return Plot.plot({
    ...common,
    width,
    height,
    marginLeft: left,
    marginRight: right,
    marginTop: top,
    marginBottom: bottom,
    x: { type: "log", domain: x, label: "peak memory, MiB →", grid: true, ticks: 6, tickFormat: "~g", labelOffset: 38 },
    y: { type: "log", domain: y, label: "↑ time, ms", grid: true, ticks: 6, tickFormat: "~g", labelAnchor: "top" },
    marks: [
      Plot.frame({ stroke: "#ccc" }),
      Plot.dot(points, {
        x: "memory",
        y: "ms",
        r: 4.5,
        stroke: colour,
        fill: (point) => (point.counted ? colour(point) : "white"),
        strokeWidth: 1.6,
      }),
      // One mark a label: each has its own offset.
      ...placed.map(({ dx, dy, anchor, ...point }) =>
        Plot.text([point], { x: "memory", y: "ms", text: "name", dx, dy, textAnchor: anchor, fill: colour(point) }),
      ),
    ],
  });
}

/** Limits of a logarithmic axis with some room. */
function domain(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(1.3, (high / low) ** 0.13);
  return [low / room, high * room];
}

const CURVES = { width: 400, height: 300, left: 62, right: 16, top: 28, bottom: 46 };
const AXES = { steps: "steps", width: "width of the two hidden layers", batch: "batch" };

function growth({ scaling }) {
  const points = scaling.map((point) => ({ ...point, memory: point.bytes / 2 ** 20 }));
  const quantities = { ms: "↑ time, ms", memory: "↑ peak memory, MiB" };
  const panels = Object.entries(quantities).flatMap(([quantity, label]) =>
    Object.entries(AXES).map(([axis, name]) => {
      const here = points.filter((point) => point.axis === axis);
      return { title: "", svg: curves(here, quantity, label, name) };
    }),
  );
  const present = Object.entries(GRADIENT_COLOURS).filter(([method]) =>
    points.some(({ gradient }) => gradient === method),
  );
  const legend = present.map(([text, colour]) => ({ text, colour, filled: true }));
  const title = "How time and memory of one gradient grow: rk4; 40 steps, 2-64-64-2, batch 64, but for one of them";
  return sheet(title, panels, 3, CURVES, legend);
}

function curves(points, quantity, label, name) {
  const { width, height, left, right, top, bottom } = CURVES;
  return Plot.plot({
    ...common,
    width,
    height,
    marginLeft: left,
    marginRight: right,
    marginTop: top,
    marginBottom: bottom,
    x: { type: "log", label: `${name} →`, ticks: 5, tickFormat: "~s", labelOffset: 38 },
    y: { type: "log", label, grid: true, ticks: 5, tickFormat: "~g", labelAnchor: "top" },
    color: { domain: Object.keys(GRADIENT_COLOURS), range: Object.values(GRADIENT_COLOURS) },
    marks: [
      Plot.frame({ stroke: "#ccc" }),
      // Dashed and on top: its memory is that of backprop.
      ...[false, true].map((dashed) =>
        Plot.line(
          points.filter(({ gradient }) => (gradient === "baseline") === dashed),
          {
            x: "value",
            y: quantity,
            stroke: "gradient",
            strokeWidth: 1.8,
            strokeDasharray: dashed ? "5 4" : undefined,
          },
        ),
      ),
      Plot.dot(points, { x: "value", y: quantity, fill: "gradient", r: 3 }),
    ],
  });
}
