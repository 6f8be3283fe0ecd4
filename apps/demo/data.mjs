// The Hudson Bay record, and the units in which it is learned: logarithms, of mean 0 and standard deviation 1.
import { readFileSync } from "node:fs";

const rows = readFileSync(new URL("../../data/lynx-hare.csv", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .slice(1)
  .map((line) => line.split(",").map(Number));

export const years = rows.map(([year]) => year);
/** Thousands of pelts, [hare, lynx] for each year. */
export const pelts = rows.map(([, hare, lynx]) => [hare, lynx]);

const logs = pelts.map((row) => row.map((value) => Math.log(value)));
const mean = [0, 1].map((i) => logs.reduce((sum, row) => sum + row[i], 0) / logs.length);
const deviation = [0, 1].map((i) =>
  Math.sqrt(logs.reduce((sum, row) => sum + (row[i] - mean[i]) ** 2, 0) / logs.length),
);

/** Learned units for each year, and back to thousands of pelts. */
export const states = logs.map((row) => row.map((value, i) => (value - mean[i]) / deviation[i]));
/** @param {number[]} state */
export const toPelts = (state) => state.map((value, i) => Math.exp(value * deviation[i] + mean[i]));

/**
 * All windows of so many years as one batch: they share their times, counted from each window's first year.
 *
 * @param {number} length
 */
export function windows(length) {
  const starts = states.length - length + 1;
  const times = Array.from({ length }, (_, year) => year);
  const y0 = Float32Array.from(states.slice(0, starts).flat());
  const target = Float32Array.from(times.flatMap((year) => states.slice(year, year + starts).flat()));
  return { y0, times, target };
}
