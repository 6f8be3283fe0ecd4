// Two half moons as a density: a flow from the data at time 0 to a standard normal distribution at time 1.
import { type CnfField, cnf, type Field, flow, odeint } from "symplectic-adjoint/slim";
import { normals, normalsOf, uniforms } from "../../../../ts/trace/random.js";
import { gridOf, type LearningTask, widths } from "../task.js";

const [BATCH, SIDE, LEVELS, SAMPLES] = [256, 20, 56, 400];
const extent = [-3, 3, -3, 3] as const;

function moons(seed: number, count: number): Float32Array {
  const uniform = uniforms(seed);
  const normal = normalsOf(uniform);
  const points = new Float32Array(2 * count);
  for (let i = 0; i < count; i++) {
    const [angle, upper] = [Math.PI * uniform(), i % 2 === 0];
    const [x, y] = upper ? [Math.cos(angle), Math.sin(angle)] : [1 - Math.cos(angle), 0.5 - Math.sin(angle)];
    points[2 * i] = 1.6 * (x - 0.5) + 0.1 * normal();
    points[2 * i + 1] = 1.6 * (y - 0.25) + 0.1 * normal();
  }
  return points;
}

export function twoMoons(seed: number): LearningTask {
  const z = Float32Array.from({ length: 2 * SAMPLES }, normals(seed + 7));
  const [grid, levels] = [gridOf(extent, SIDE), gridOf(extent, LEVELS)];
  return {
    scene: {
      extent,
      axes: ["x", "y"],
      data: moons(seed, SAMPLES),
      morphs: true,
      loss: { name: "−log p, nats", logarithmic: false },
    },
    makeField: (config) =>
      cnf({
        network: {
          widths: widths(config, 2),
          activation: config.activation,
          time: "concat",
          seed: config.seed,
          dtype: "float32",
        },
      }),
    batch: (step) => ({ y0: moons(seed * 1_000_003 + step, BATCH), times: [0, 1] }),
    gradient(field, { y0 }, options) {
      const { value, gradients } = flow({ blocks: [field as CnfField<"float32">] }).valueAndGrad(y0, options);
      const gradient = gradients[0] as (typeof gradients)[0];
      // A flow does not tell of its solve: the same one again does.
      return { value, gradient, stats: () => odeint(field, atRest(y0), [0, 1], options).stats };
    },
    picture(field, options, at) {
      const time = 1 - at;
      // At the last moment of the flow the picture is the noise itself.
      const density = at === 0 ? levels.slice() : undefined;
      const end = density ? undefined : ends(field, atRest(levels), [time, 1], options);
      const values = new Float32Array(LEVELS ** 2).map((_, i) => {
        const [x, y, gained] = end
          ? [end[3 * i], end[3 * i + 1], end[3 * i + 2]]
          : [density?.[2 * i], density?.[2 * i + 1], 0];
        const squares = (x as number) ** 2 + (y as number) ** 2;
        return Math.exp(-squares / 2 - (gained as number)) / (2 * Math.PI);
      });
      const moved = at === 0 ? atRest(z) : ends(field, atRest(z), [1, time], options);
      const points = z.map((_, i) => moved[3 * (i >> 1) + (i % 2)] as number);
      const slopes = field.evaluate(time, atRest(grid));
      // Drawn the way of the samples: from noise to data.
      const drawn = grid.map((_, i) => -(slopes[3 * (i >> 1) + (i % 2)] as number));
      return { field: drawn, fieldSide: SIDE, paths: [], points, levels: { side: LEVELS, values, filled: true } };
    },
  };
}

/** States [x, y, log p] of points, with log p = 0. */
function atRest(points: Float32Array): Float32Array {
  const states = new Float32Array((3 * points.length) / 2);
  for (let i = 0; i < points.length; i++) states[3 * (i >> 1) + (i % 2)] = points[i] as number;
  return states;
}

function ends(field: Field<"float32">, states: Float32Array, times: readonly number[], options: object): Float32Array {
  const { y } = odeint(field, states, times, options);
  return y.subarray(y.length / 2);
}
