// The figures of the reports and of docs/claims.md: curves and images, on white so that they read anywhere.
import * as Plot from "@observablehq/plot";
import { encode } from "fast-png";
import { parseHTML } from "linkedom";
import { GRADIENT_COLOURS } from "../shared/gradients.mjs";
import { FONT, sheet } from "../shared/sheet.mjs";

const { document } = parseHTML("<!doctype html><html><body></body></html>");
const SIZE = { width: 400, height: 300, left: 62, right: 16, top: 28, bottom: 46 };
/** For series that are no gradient methods. */
const COLOURS = ["#c2410c", "#1d6fd1", "#15803d", "#7c3aed", "#a16207", "#be185d", "#475569"];

/**
 * Curves of one or more panels as one figure. Series named like gradient methods have their colours everywhere.
 *
 * @param {{ title: string, columns?: number, panels: Panel[], size?: object }} figure
 * @typedef {{ title: string, x: Axis, y: Axis, points: { series: string, x: number, y: number }[],
 *   dots?: boolean, dashed?: string[], rules?: number[], level?: number }} Panel rules: vertical; level: horizontal
 * @typedef {{ label: string, log?: boolean, domain?: number[], format?: string, ticks?: number }} Axis
 */
export function curves({ title, columns = 2, panels, size = {} }) {
  const series = [...new Set(panels.flatMap(({ points }) => points.map((point) => point.series)))];
  const colours = coloursOf(series);
  const legend = series.map((text, i) => ({ text, colour: colours[i], filled: true }));
  const shape = { ...SIZE, ...size };
  const drawn = panels.map((panel) => ({ title: panel.title, svg: curve(panel, series, colours, shape) }));
  return sheet(title, drawn, columns, shape, legend);
}

/** @param {Panel} panel */
function curve({ x, y, points, dots = true, dashed = [], rules = [], level }, series, colours, size) {
  const { width, height, left, right, top, bottom } = size;
  // No place on a logarithmic axis.
  const shown = points.filter((point) => (!x.log || point.x > 0) && (!y.log || point.y > 0));
  const colour = (point) => colours[series.indexOf(point.series)];
  const line = (ofThese, strokeDasharray) =>
    Plot.line(shown.filter(ofThese), {
      x: "x",
      y: "y",
      z: "series",
      stroke: colour,
      strokeWidth: 1.8,
      strokeDasharray,
    });
  return Plot.plot({
    document,
    style: { fontFamily: FONT, fontSize: "12px", background: "none", overflow: "visible" },
    width,
    height,
    marginLeft: left,
    marginRight: right,
    marginTop: top,
    marginBottom: bottom,
    x: { ...axis(x), labelOffset: 38 },
    y: { ...axis(y), grid: true, labelAnchor: "top" },
    marks: [
      Plot.frame({ stroke: "#ccc" }),
      Plot.ruleX(rules, { stroke: "#999", strokeDasharray: "2 3" }),
      Plot.ruleY(level === undefined ? [] : [level], { stroke: "#555" }),
      line((point) => !dashed.includes(point.series)),
      line((point) => dashed.includes(point.series), "5 4"),
      ...(dots ? [Plot.dot(shown, { x: "x", y: "y", fill: colour, r: 3 })] : []),
    ],
  });
}

/**
 * @param {Axis} axis
 * @returns {Plot.ScaleOptions}
 */
function axis({ label, log = false, domain, format, ticks = 5 }) {
  return { label, type: log ? "log" : "linear", domain, ticks, tickFormat: format ?? (log ? "~g" : undefined) };
}

function coloursOf(series) {
  let next = 0;
  const methods = series.every((name) => name.split(" ")[0] in GRADIENT_COLOURS);
  return series.map((name) => (methods ? GRADIENT_COLOURS[name.split(" ")[0]] : COLOURS[next++ % COLOURS.length]));
}

/**
 * Images side by side.
 *
 * @param {{ title: string, columns?: number, side?: number, panels: Picture[] }} figure
 * @typedef {{ title: string, values: number[] | Float64Array | Float32Array, width: number, height: number, range?: number[],
 *   scale?: "blues" | "diverging" | "grey", aspect?: number }} Picture values row by row, the first one on top
 */
export function images({ title, columns = 3, side = 220, panels }) {
  const aspect = panels[0].aspect ?? panels[0].height / panels[0].width;
  const size = { width: side, height: Math.round(side * aspect) };
  const drawn = panels.map((panel) => ({ title: panel.title, svg: { outerHTML: image(panel, size) } }));
  return sheet(title, drawn, columns, size, []);
}

/** @param {Picture} picture */
function image({ values, width, height, range, scale = "blues" }, size) {
  const [low, high] = range ?? [Math.min(...values), Math.max(...values)];
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const part = Math.min(1, Math.max(0, (values[i] - low) / (high - low || 1)));
    data.set(SCALES[scale](part), 3 * i);
  }
  const png = Buffer.from(encode({ width, height, data, channels: 3 })).toString("base64");
  const place = `width="${size.width}" height="${size.height}"`;
  const style = 'preserveAspectRatio="none" style="image-rendering: pixelated"';
  return `<svg ${place} viewBox="0 0 ${size.width} ${size.height}"><image ${place} ${style} href="data:image/png;base64,${png}"/></svg>`;
}

const mixed = (from, to, part) => from.map((value, i) => Math.round(value + (to[i] - value) * part));
const SCALES = {
  grey: (part) => mixed([255, 255, 255], [20, 20, 24], part),
  blues: (part) =>
    part < 0.5 ? mixed([255, 255, 255], [92, 160, 214], 2 * part) : mixed([92, 160, 214], [8, 32, 80], 2 * part - 1),
  diverging: (part) =>
    part < 0.5 ? mixed([30, 86, 170], [247, 247, 247], 2 * part) : mixed([247, 247, 247], [190, 56, 30], 2 * part - 1),
};
