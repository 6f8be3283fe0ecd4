// Plots as self-contained SVG: lines, bands and points on two axes.
import { type Clock, writeTime } from "./time.js";

interface Axis {
  readonly label: string;
  /** The format of its numbers, if they are times. */
  readonly clock?: Clock;
}

export type Mark =
  | {
      readonly kind: "line";
      readonly x: ArrayLike<number>;
      readonly y: ArrayLike<number>;
      readonly colour: string;
      readonly dashed?: boolean;
    }
  | {
      readonly kind: "band";
      readonly x: ArrayLike<number>;
      readonly low: ArrayLike<number>;
      readonly high: ArrayLike<number>;
      readonly colour: string;
    }
  | {
      readonly kind: "points";
      readonly x: ArrayLike<number>;
      readonly y: ArrayLike<number>;
      readonly colour: string;
      readonly titles?: readonly string[];
    }
  | { readonly kind: "level"; readonly y: number }
  | { readonly kind: "at"; readonly x: number };

export interface Plot {
  readonly title?: string;
  readonly width: number;
  readonly height: number;
  readonly x: Axis;
  readonly y: Axis;
  readonly marks: readonly Mark[];
}

/** A text with HTML's special characters escaped. */
export const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

/** Margins. */
const [LEFT, RIGHT, TOP, BOTTOM] = [58, 12, 26, 40];
const HOUR = 3600;
const DAY = 24 * HOUR;
/** The steps between ticks on an axis of times; beyond them, ticks are round numbers of days. */
const TIME_STEPS = [
  1,
  2,
  5,
  10,
  30,
  60,
  120,
  300,
  600,
  1800,
  HOUR,
  2 * HOUR,
  6 * HOUR,
  12 * HOUR,
  DAY,
  2 * DAY,
  7 * DAY,
  14 * DAY,
  30 * DAY,
  91 * DAY,
  182 * DAY,
  365.25 * DAY,
];

/** About `count` round numbers between two. */
export function ticksOf(low: number, high: number, count: number, clock: Clock = "number"): number[] {
  const rough = (high - low) / count;
  if (!(rough > 0) || !Number.isFinite(rough)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const round = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough) ?? 10 * power;
  const step = clock === "number" ? round : (TIME_STEPS.find((step) => step >= rough) ?? round);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: Math.max(0, Math.min(50, last - first + 1)) }, (_, i) => (first + i) * step);
}

const written = (value: number, clock: Clock = "number") =>
  clock === "number"
    ? String(Number(value.toPrecision(10)))
    : String(writeTime(value, clock)).replace(/T00:00:00Z?$/, "");

/** The range of finite numbers, widened if it is empty. */
function extentOf(values: Iterable<number>): [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  if (low < high) return [low, high];
  const some = Math.abs(low) / 10 || 1;
  return [low - some, high + some];
}

/** A plot as SVG. */
export function svgOf({ title = "", width, height, x, y, marks }: Plot): string {
  function* xs() {
    for (const mark of marks) {
      if ("x" in mark && typeof mark.x !== "number") yield* Array.from(mark.x);
      if (mark.kind === "at") yield mark.x;
    }
  }
  function* ys() {
    for (const mark of marks) {
      if (mark.kind === "line" || mark.kind === "points") yield* Array.from(mark.y);
      if (mark.kind === "level") yield mark.y;
    }
  }
  // Bands may be very wide where little is known: cut them, so that the rest stays visible.
  const [least, most] = extentOf(ys());
  const room = most - least;
  function* bands() {
    for (const mark of marks) {
      if (mark.kind !== "band") continue;
      for (const value of [...Array.from(mark.low), ...Array.from(mark.high)]) {
        yield Math.max(least - room, Math.min(most + room, value));
      }
    }
  }
  const [left, right] = extentOf(xs());
  const [low, high] = extentOf([least, most, ...bands()]);
  const pad = 0.04 * (high - low);
  const [bottom, top] = [low - pad, high + pad];
  const [inner, tall] = [width - LEFT - RIGHT, height - TOP - BOTTOM];
  const px = (value: number) => LEFT + 6 + ((inner - 12) * (value - left)) / (right - left);
  const py = (value: number) =>
    TOP + tall - (tall * (Math.max(bottom - pad, Math.min(top + pad, value)) - bottom)) / (top - bottom);
  const point = (a: number, b: number) => `${px(a).toFixed(2)},${py(b).toFixed(2)}`;
  const path = (a: ArrayLike<number>, b: ArrayLike<number>) => {
    let [text, open] = ["", false];
    for (let i = 0; i < a.length; i++) {
      const [u, v] = [a[i] as number, b[i] as number];
      const there = Number.isFinite(u) && Number.isFinite(v);
      if (there) text += `${open ? "L" : "M"}${point(u, v)}`;
      open = there;
    }
    return text;
  };
  const clip = `clip-path="inset(0)"`;
  const drawn = marks.map((mark) => {
    if (mark.kind === "level") {
      return `<line x1="${LEFT}" x2="${width - RIGHT}" y1="${py(mark.y).toFixed(2)}" y2="${py(mark.y).toFixed(2)}" class="rule"/>`;
    }
    if (mark.kind === "at") {
      return `<line x1="${px(mark.x).toFixed(2)}" x2="${px(mark.x).toFixed(2)}" y1="${TOP}" y2="${TOP + tall}" class="rule"/>`;
    }
    if (mark.kind === "line") {
      const dashes = mark.dashed ? ' stroke-dasharray="5 4"' : "";
      return `<path d="${path(mark.x, mark.y)}" fill="none" stroke="${mark.colour}" stroke-width="2"${dashes}/>`;
    }
    if (mark.kind === "band") {
      const known = Array.from(mark.low, (_, i) => i).filter(
        (i) => Number.isFinite(mark.low[i]) && Number.isFinite(mark.high[i]),
      );
      if (known.length === 0) return "";
      const up = known.map((i) => point(mark.x[i] as number, mark.high[i] as number));
      const down = known.reverse().map((i) => point(mark.x[i] as number, mark.low[i] as number));
      return `<path d="M${[...up, ...down].join("L")}Z" fill="${mark.colour}" fill-opacity="0.18"/>`;
    }
    return Array.from(mark.x, (u, i) => {
      const v = mark.y[i] as number;
      if (!Number.isFinite(u) || !Number.isFinite(v)) return "";
      const [cx, cy] = point(u, v).split(",");
      const text = mark.titles?.[i];
      const title = text === undefined ? "" : `<title>${escaped(text)}</title>`;
      return `<circle cx="${cx}" cy="${cy}" r="3.5" fill="${mark.colour}" class="point">${title}</circle>`;
    }).join("");
  });
  const across = ticksOf(
    left,
    right,
    x.clock && x.clock !== "number" ? Math.max(2, width / 130) : Math.max(3, width / 75),
    x.clock,
  ).map((tick) => {
    const at = px(tick).toFixed(2);
    return `<g><line x1="${at}" x2="${at}" y1="${TOP + tall}" y2="${TOP + tall + 5}" class="tick"/><text x="${at}" y="${TOP + tall + 18}" text-anchor="middle">${escaped(written(tick, x.clock))}</text></g>`;
  });
  const up = ticksOf(bottom, top, Math.max(3, height / 55)).map((tick) => {
    const at = py(tick).toFixed(2);
    return `<g><line x1="${LEFT}" x2="${width - RIGHT}" y1="${at}" y2="${at}" class="grid"/><text x="${LEFT - 6}" y="${at}" dy="0.32em" text-anchor="end">${escaped(written(tick))}</text></g>`;
  });
  const labels = [
    `<text x="${LEFT - 50}" y="14">${escaped([title, y.label].filter(Boolean).join(": "))}</text>`,
    `<text x="${width - RIGHT}" y="${height - 6}" text-anchor="end">${escaped(x.label)}</text>`,
  ];
  const parts = [
    ...up,
    ...across,
    `<svg x="0" y="0" width="${width}" height="${height}" ${clip}>`,
    ...drawn,
    "</svg>",
    ...labels,
  ];
  return `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped([title, y.label].filter(Boolean).join(": "))}">${parts.join("")}</svg>`;
}

/** A correlation matrix as coloured squares. */
export function correlationSvg(names: readonly string[], values: ArrayLike<number>): string {
  const count = names.length;
  const longest = names.reduce((most, { length }) => Math.max(most, length), 0);
  const [cell, margin] = [count > 12 ? 26 : 44, Math.min(220, 14 + 7 * longest)];
  const [width, height] = [margin + count * cell + 8, margin * 0.75 + count * cell + 8];
  const top = margin * 0.75;
  const cells = names.flatMap((row, i) =>
    names.map((column, j) => {
      const value = values[i * count + j] as number;
      const [x, y] = [margin + j * cell, top + i * cell];
      const colour = value < 0 ? "#d9713c" : "#3b7dd8";
      const told = Number.isFinite(value) ? value.toFixed(2).replace("-0.00", "0.00") : "–";
      const title = `<title>${escaped(`${row}, ${column}: ${Number.isFinite(value) ? value.toFixed(5) : "unknown"}`)}</title>`;
      const square = `<rect x="${x}" y="${y}" width="${cell - 1}" height="${cell - 1}" fill="${colour}" fill-opacity="${Number.isFinite(value) ? (0.85 * Math.abs(value)).toFixed(3) : 0}" stroke="currentColor" stroke-opacity="0.12">${title}</rect>`;
      const text =
        cell < 40
          ? ""
          : `<text x="${x + cell / 2}" y="${y + cell / 2}" dy="0.35em" text-anchor="middle" pointer-events="none">${told}</text>`;
      return square + text;
    }),
  );
  const rows = names.map(
    (name, i) =>
      `<text x="${margin - 6}" y="${top + (i + 0.5) * cell}" dy="0.35em" text-anchor="end">${escaped(name)}</text>`,
  );
  const columns = names.map((name, j) => {
    const [x, y] = [margin + (j + 0.5) * cell, top - 6];
    return `<text transform="translate(${x},${y}) rotate(-40)">${escaped(name)}</text>`;
  });
  return `<svg viewBox="0 0 ${width + 60} ${height}" width="${width + 60}" height="${height}" role="img" aria-label="correlation of the estimates">${[...cells, ...rows, ...columns].join("")}</svg>`;
}
