// Densities in the plane that are easy to draw and hard to learn, as FFJORD and many others have them.
import { normals, uniforms } from "../../shared/random.mjs";
import { fitFlow, mean } from "./training.mjs";

const TURN = 2 * Math.PI;

/** A sample [x, y] of each, of uniform and normal numbers; all lie in ±4. */
const TOYS = {
  "two spirals": (uniform, normal) => {
    const angle = Math.sqrt(uniform()) * 1.5 * TURN;
    const side = uniform() < 0.5 ? -1 : 1;
    const radius = 0.38 * angle;
    return [side * -Math.cos(angle) * radius + 0.08 * normal(), side * Math.sin(angle) * radius + 0.08 * normal()];
  },
  checkerboard: (uniform) => {
    const x = 4 * uniform() - 2;
    const y = uniform() - 2 * Math.floor(2 * uniform()) + (Math.abs(Math.floor(x)) % 2);
    return [1.8 * x, 1.8 * y];
  },
  pinwheel: (uniform, normal) => {
    const arm = Math.floor(5 * uniform());
    const [radial, tangential] = [1 + 0.3 * normal(), 0.1 * normal()];
    const angle = (arm * TURN) / 5 + 0.25 * Math.exp(radial) * 2;
    const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
    return [2 * (radial * cosine - tangential * sine), 2 * (radial * sine + tangential * cosine)];
  },
  "eight Gaussians": (uniform, normal) => {
    const angle = (Math.floor(8 * uniform()) * TURN) / 8;
    return [2.8 * Math.cos(angle) + 0.28 * normal(), 2.8 * Math.sin(angle) + 0.28 * normal()];
  },
  moons: (uniform, normal) => {
    const angle = Math.PI * uniform();
    const upper = uniform() < 0.5;
    const [x, y] = upper ? [Math.cos(angle), Math.sin(angle)] : [1 - Math.cos(angle), 0.5 - Math.sin(angle)];
    return [2 * (x - 0.5) + 0.16 * normal(), 2 * (y - 0.25) + 0.16 * normal()];
  },
};
/** Of the plots: ± this, with so many points a side. */
export const WINDOW = 4;
const SCALE = 2;
/** By tolerance: of few fixed steps a flow would learn the errors. */
const SOLVER = { method: "dopri5", rtol: 1e-3, atol: 1e-3 };

/** Trains on each, with the exact trace, and evaluates on a grid. */
export async function learnToys({ api, quick, seed, pool, say }) {
  // A quarter of a second for each in haste, on the two that are learnt at once.
  const [iterations, batch, side] = quick ? [120, 64, 24] : [500, 256, 80];
  const own = quick ? { widths: [2, 24, 2], activation: "tanh" } : { widths: [2, 64, 64, 64, 2], activation: "gelu" };
  const shape = { ...own, time: "concat", trace: "exact", seed };
  const results = {};
  for (const [name, sample] of Object.entries(TOYS)) {
    if (quick && !["moons", "eight Gaussians"].includes(name)) continue;
    const [uniform, normal] = [uniforms(seed + 5), normals(seed + 6)];
    // The flow sees them in units of 2.
    const some = (count) =>
      Float32Array.from(Array.from({ length: count }, () => sample(uniform, normal)).flat(), (value) => value / SCALE);
    const validation = some(quick ? 200 : 1000);
    const training = { iterations, batch, learningRate: quick ? 0.03 : 0.01, memory: quick ? 0.9 : 0.99 };
    const { density, curve, seconds } = await fitFlow(api, shape, {
      ...training,
      draw: () => some(batch),
      validation,
      pool,
      solver: SOLVER,
      every: iterations / 20,
      note: (step, points) => say(`${name}, step ${step}: ${points.at(-1).validation.toFixed(3)}`),
    });
    const centre = (i) => (((i + 0.5) / side) * 2 - 1) * WINDOW;
    const points = Float32Array.from({ length: side * side * 2 }, (_, i) => {
      const [row, column] = [Math.floor(i / 2 / side), Math.floor(i / 2) % side];
      return (i % 2 === 0 ? centre(column) : -centre(row)) / SCALE;
    });
    const evaluation = { rtol: 1e-5, atol: 1e-5 };
    const logs = density.logDensity(points, evaluation);
    const cell = ((2 * WINDOW) / SCALE / side) ** 2;
    results[name] = {
      seconds,
      shape,
      training: { ...training, solver: SOLVER },
      // In the units of the samples.
      before: curve[0].validation + 2 * Math.log(SCALE),
      after: -mean(density.logDensity(validation, evaluation)) + 2 * Math.log(SCALE),
      curve: curve.map(({ step, validation: value }) => ({ step, validation: value + 2 * Math.log(SCALE) })),
      mass: logs.reduce((sum, log) => sum + Math.exp(log) * cell, 0),
      side,
      density: [...logs].map((log) => Number((Math.exp(log) / SCALE ** 2).toPrecision(3))),
      data: histogram(some(quick ? 1000 : 60_000), side),
      samples: histogram(density.sample(quick ? 500 : 20_000, seed + 9, evaluation), side),
    };
    for (const block of density.blocks) block.dispose();
  }
  return results;
}

/** How many samples fall into each cell of the plots, by the density that it means. */
function histogram(samples, side) {
  const counts = new Float64Array(side * side);
  const cell = (value) => Math.floor(((value * SCALE + WINDOW) / (2 * WINDOW)) * side);
  for (let i = 0; i < samples.length; i += 2) {
    const [column, row] = [cell(samples[i]), side - 1 - cell(samples[i + 1])];
    if (column >= 0 && column < side && row >= 0 && row < side) counts[row * side + column]++;
  }
  const area = ((2 * WINDOW) / side) ** 2;
  return [...counts].map((count) => Number((count / (samples.length / 2) / area).toPrecision(3)));
}
