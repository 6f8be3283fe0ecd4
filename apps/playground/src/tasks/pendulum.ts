// A pendulum, q' = p and p' = −sin q, learned as the energy that drives it.
import { custom, type HamiltonianField, hamiltonian, odeint } from "symplectic-adjoint/slim";
import { uniforms } from "../../../../ts/trace/random.js";
import { column, gridOf, type LearningTask, range, solved, squaredError, widths } from "../task.js";

const [BATCH, INTERVALS, SPACING, SIDE, LEVELS, LONG] = [32, 8, 0.5, 20, 48, 20];
const extent = [-3.1, 3.1, -2.4, 2.4] as const;
const times = range(INTERVALS + 1).map((i) => i * SPACING);
const long = range(10 * LONG + 1).map((i) => i / 10);
/** Swings that are drawn: the last one is followed for long. */
const STARTS = Float32Array.of(0.5, 0, 1.1, 0, 1.7, 0, 2.3, 0);

function truth() {
  return custom({
    stateSize: 2,
    dtype: "float64",
    evaluate: (_t, y) => y.map((_, i) => (i % 2 === 0 ? (y[i + 1] as number) : -Math.sin(y[i - 1] as number))),
    vjp: (_t, y) => ({ y: new Float64Array(y.length) }),
  });
}

export function pendulum(seed: number): LearningTask {
  const random = uniforms(seed);
  const starts: number[] = [];
  while (starts.length < 2 * BATCH) {
    const [q, p] = [5.2 * (random() - 0.5), 3.6 * (random() - 0.5)];
    // Swings alone: what goes over the top leaves the picture.
    if (p ** 2 / 2 - Math.cos(q) < 0.9) starts.push(q, p);
  }
  const field = truth();
  const target = Float32Array.from(odeint(field, Float64Array.from(starts), times, { rtol: 1e-8 }).y);
  const swing = odeint(field, Float64Array.from(STARTS.slice(-2)), long, { rtol: 1e-8 });
  field.dispose();
  const batch = { y0: Float32Array.from(starts), times, target };
  const [grid, levels] = [gridOf(extent, SIDE), gridOf(extent, LEVELS)];
  return {
    scene: {
      extent,
      axes: ["angle q", "momentum p"],
      data: target,
      morphs: false,
      series: {
        title: "of one swing, for five times as long as seen",
        x: long,
        names: ["q"],
        data: [column(Float32Array.from(swing.y), 0)],
      },
      loss: { name: "mean squared error", logarithmic: true },
    },
    makeField: (config) =>
      hamiltonian({
        energy: { widths: widths(config, 2, 1), activation: config.activation, seed: config.seed, dtype: "float32" },
        structure: "canonical",
      }),
    batch: () => batch,
    gradient: squaredError,
    picture(learned, options) {
      // Fixed steps are counted by the interval: as long ones as in training.
      const steps = options.steps === undefined ? {} : { steps: undefined, stepSize: SPACING / options.steps };
      const y = solved(learned, STARTS, long, { ...options, ...steps });
      const paths = range(STARTS.length / 2).map((path) =>
        Float32Array.from(long.flatMap((_, i) => [...y.subarray(i * STARTS.length + 2 * path).subarray(0, 2)])),
      );
      const energy = (learned as HamiltonianField<"float32">).energy(levels);
      return {
        field: learned.evaluate(0, grid),
        fieldSide: SIDE,
        paths,
        levels: { side: LEVELS, values: energy, filled: false },
        series: [column(paths.at(-1) as Float32Array, 0)],
      };
    },
  };
}
