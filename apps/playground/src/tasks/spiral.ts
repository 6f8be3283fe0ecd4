// dx/dt = A x³ (Chen et al. 2018): one orbit, learned from short pieces of it.
import { custom, type Field, mlp, odeint } from "symplectic-adjoint/slim";
import { uniforms } from "../../../../ts/trace/random.js";
import type { SeriesValues } from "../messages.js";
import { column, gridOf, type LearningTask, range, solved, squaredError, type TaskBatch, widths } from "../task.js";

const [POINTS, DURATION, LENGTH, BATCH, SIDE, FINE] = [201, 10, 11, 64, 20, 4];
const times = range(POINTS).map((i) => (i * DURATION) / (POINTS - 1));
/** Times at which the solution is drawn. */
const fine = range(FINE * (POINTS - 1) + 1).map((i) => (i * DURATION) / (FINE * (POINTS - 1)));
const extent = [-2.4, 2.4, -2.4, 2.4] as const;

/** The field that is to be learned; it is only solved, never transposed. */
function truth(): Field<"float64"> {
  return custom({
    stateSize: 2,
    dtype: "float64",
    evaluate(_t, y) {
      const [x, z] = [(y[0] as number) ** 3, (y[1] as number) ** 3];
      return Float64Array.of(-0.1 * x + 2 * z, -2 * x - 0.1 * z);
    },
    vjp: () => ({ y: new Float64Array(2) }),
  });
}

export function spiral(seed: number): LearningTask {
  const field = truth();
  const data = Float32Array.from(odeint(field, Float64Array.of(2, 0), times, { rtol: 1e-8 }).y);
  field.dispose();
  const grid = gridOf(extent, SIDE);
  return {
    scene: {
      extent,
      axes: ["x", "y"],
      data,
      morphs: false,
      series: { title: "over time", x: fine, names: ["x", "y"], data: [sparse(data, 0), sparse(data, 1)] },
      loss: { name: "mean squared error", logarithmic: true },
    },
    makeField: (config) =>
      mlp({ widths: widths(config, 2), activation: config.activation, seed: config.seed, dtype: "float32" }),
    batch(step): TaskBatch {
      const random = uniforms(seed * 1_000_003 + step);
      const starts = range(BATCH).map(() => Math.floor(random() * (POINTS + 1 - LENGTH)));
      const at = (offset: number) => starts.flatMap((start) => [...data.subarray(2 * (start + offset)).slice(0, 2)]);
      const window = times.slice(0, LENGTH);
      const target = Float32Array.from(window.flatMap((_, offset) => at(offset)));
      return { y0: target.slice(0, 2 * BATCH), times: window, target };
    },
    gradient: squaredError,
    picture(learned, options) {
      const y = solved(learned, data.slice(0, 2), fine, options);
      const series = [column(y, 0), column(y, 1)];
      return { field: learned.evaluate(0, grid), fieldSide: SIDE, paths: [y], series };
    },
  };
}

/** The data among the times that are drawn. */
function sparse(data: Float32Array, index: 0 | 1): SeriesValues {
  const values = column(data, index);
  return fine.map((_, i) => (i % FINE === 0 ? (values[i / FINE] ?? null) : null));
}
