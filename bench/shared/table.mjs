// What the measurements share.
import { cpus } from "node:os";
import { buildPackage } from "../../scripts/build.mjs";
import { engineOf } from "./engine.mjs";

/** The built package, after a line about where it runs. */
export async function setUp() {
  buildPackage();
  const api = await import("../../dist/index.js");
  console.log(`${where(api)}\n`);
  return api;
}

/** A line about where the package runs. */
export function where(api) {
  return `${cpus()[0]?.model.trim()}, Node ${process.versions.node}, ${engineOf(api)} build`;
}

/** Least, middle and greatest of some numbers. */
function quantiles(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const [below, above] = [Math.floor, Math.ceil].map((round) => sorted[round((sorted.length - 1) / 2)]);
  return [sorted[0], (below + above) / 2, sorted.at(-1)];
}

export function median(values) {
  return quantiles(values)[1];
}

/** Median and range of some ratios or times. */
export function spread(values) {
  const [low, middle, high] = quantiles(values).map(digits);
  return values.length > 1 ? `${middle} (${low}–${high})` : middle;
}

/** Three digits, without an exponent. */
export function digits(value) {
  return value >= 999.5 ? value.toFixed(0) : value.toPrecision(3);
}

/** A table in Markdown, which reads as text as well. */
export function table(head, rows) {
  // Formatters of Markdown give every column three places.
  const widths = head.map((title, i) => Math.max(3, title.length, ...rows.map((row) => row[i].length)));
  const line = (cells) => `| ${cells.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}

export function print(head, rows) {
  console.log(table(head, rows));
}
