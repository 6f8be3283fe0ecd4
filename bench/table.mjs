// What the measurements share.
import { cpus } from "node:os";
import { buildPackage } from "../scripts/build.mjs";

/** The built package, after a line about where it runs. */
export async function setUp() {
  buildPackage();
  const api = await import("../dist/index.js");
  console.log(`${cpus()[0]?.model.trim()}, Node ${process.versions.node}, ${api.simd()} build\n`);
  return api;
}

/** Median and range of some ratios or times. */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, median, high] = [0, 0.5, 1].map((part) => sorted[Math.round(part * (sorted.length - 1))].toPrecision(3));
  return `${median} (${low}–${high})`;
}

/** A table in Markdown, which reads as text as well. */
export function print(head, rows) {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i].length)));
  const line = (cells) => `| ${cells.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`;
  console.log([line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n"));
}
