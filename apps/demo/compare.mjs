// The gradient methods side by side on one problem: error against backpropagation in float64, memory, time, evaluations.
import { GRADIENTS } from "../../bench/shared/gradients.mjs";
import { meanSquaredError, mlp, vjp } from "../../dist/index.js";

/**
 * @typedef {import("../../dist/index.js").Dtype} Dtype
 * @typedef {import("../../dist/index.js").GradientOptions} GradientOptions
 * @typedef {ReturnType<typeof compare>} Table a row for each method
 */

/**
 * @template {Dtype} D
 * @typedef {{ y0: import("../../dist/index.js").ArrayOf<D>, times: number[], target: import("../../dist/index.js").ArrayOf<D> }} Batch
 */

/**
 * @param {import("../../dist/index.js").Field<"float32">} single
 * @param {import("../../dist/index.js").MlpOptions<"float32">} architecture
 * @param {Batch<"float32">} batch
 * @param {GradientOptions} solver
 */
export function compare(single, architecture, batch, solver) {
  const double = mlp({ ...architecture, dtype: "float64" });
  double.parameters = Float64Array.from(single.parameters);
  const batch64 = { ...batch, y0: Float64Array.from(batch.y0), target: Float64Array.from(batch.target) };
  const reference = gradientOf(double, batch64, { ...solver, gradient: "backprop" }).parameters;
  const table = GRADIENTS.map((gradient) => {
    const options = { ...solver, gradient };
    const { pulled, milliseconds } = timed(single, batch, options);
    return {
      gradient,
      error64: relative(gradientOf(double, batch64, options).parameters, reference),
      error32: relative(pulled.parameters, reference),
      bytes: pulled.stats.peakBytes.total,
      milliseconds,
      evaluations: pulled.solve.stats.evaluations + pulled.stats.evaluations,
      vjps: pulled.stats.vjps,
    };
  });
  double.dispose();
  return table;
}

/**
 * One gradient with its statistics.
 *
 * @template {Dtype} D
 * @param {import("../../dist/index.js").Field<D>} field
 * @param {Batch<D>} batch
 * @param {GradientOptions} options
 */
function gradientOf(field, batch, options) {
  const solve = vjp(field, batch.y0, batch.times, options);
  const pulled = solve.pullback(meanSquaredError(solve.solution.y, batch.target).cotangent);
  solve.dispose();
  return { ...pulled, solve: solve.solution };
}

/**
 * The median of twenty gradients, after one that warms up.
 *
 * @param {import("../../dist/index.js").Field<"float32">} field
 * @param {Batch<"float32">} batch
 * @param {GradientOptions} options
 */
function timed(field, batch, options) {
  const times = [];
  let pulled = gradientOf(field, batch, options);
  for (let i = 0; i < 20; i++) {
    const start = performance.now();
    pulled = gradientOf(field, batch, options);
    times.push(performance.now() - start);
  }
  return { pulled, milliseconds: times.sort((a, b) => a - b)[10] };
}

/**
 * @param {Float32Array | Float64Array} ours
 * @param {Float64Array} theirs
 */
function relative(ours, theirs) {
  /** @param {Float32Array | Float64Array} values */
  const norm = (values) => Math.hypot(...values);
  return norm(ours.map((value, i) => value - theirs[i])) / norm(theirs);
}

/**
 * The table as lines of text.
 *
 * @param {Table} table
 */
export function lines(table) {
  const rows = table.map((row) => [
    row.gradient,
    row.error64 === 0 ? "0" : row.error64.toExponential(1),
    row.error32.toExponential(1),
    `${(row.bytes / 1024).toFixed(0)} KiB`,
    row.milliseconds.toFixed(2),
    `${row.evaluations} + ${row.vjps}`,
  ]);
  const head = ["gradient", "error, float64", "error, float32", "peak memory", "ms", "evaluations + vjps"];
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i].length)));
  return [head, widths.map((width) => "-".repeat(width)), ...rows].map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  "),
  );
}
