// Real data: a flow against the Gaussian with full covariance that it starts from, on samples that neither has seen.
import { join } from "node:path";
import { root } from "../../../scripts/run.mjs";
import { normalsOf, uniforms } from "../../shared/random.mjs";
import { readCsv } from "../data/csv.mjs";
import { shuffled, slice, table, takeColumns } from "../data/table.mjs";
import { colour, fitGaussian, negativeLogs, whiten } from "./gaussian.mjs";
import { fitFlow, mean } from "./training.mjs";

const RIDGES = [0, 1e-4, 1e-3, 1e-2, 3e-2, 0.1];

/** Changes of variables, with log |det| of each sample's, so that all densities are those of the data themselves. */
const unchanged = { name: "as they are", forward: (x) => x, back: (y) => y, logSlope: () => 0 };
const logit = (margin) => ({
  name: `logit, margin ${margin}`,
  forward: (x) => Math.log(margin + (1 - 2 * margin) * x) - Math.log(1 - margin - (1 - 2 * margin) * x),
  back: (y) => (1 / (1 + Math.exp(-y)) - margin) / (1 - 2 * margin),
  logSlope: (x) => {
    const inside = margin + (1 - 2 * margin) * x;
    return Math.log((1 - 2 * margin) / (inside * (1 - inside)));
  },
});
const logarithm = (shift) => ({
  name: `log(x + ${shift} mean)`,
  forward: (x, scale) => Math.log(x + shift * scale),
  back: (y, scale) => Math.exp(y) - shift * scale,
  logSlope: (x, scale) => -Math.log(x + shift * scale),
});

/** What is learnt: the data, how a sample is drawn of a row, and the flow. Chosen on the validation part alone. */
export const DATASETS = {
  digits: {
    title: "Digits",
    features: 64,
    rows: () => readCsv(join(root, "data/digits.csv.gz")),
    // Grey values 0 … 16 become densities on [0, 1].
    dequantise: (value, uniform) => (value + uniform()) / 17,
    draws: 5,
    spaces: [unchanged, logit(1e-6), logit(1e-3), logit(1e-2)],
    shape: { widths: [64, 192, 64], activation: "tanh", blocks: 1 },
    training: { iterations: 3000, batch: 256, learningRate: 5e-3, weightDecay: 1e-2, kineticWeight: 0.01 },
    noise: 0,
    patience: 10,
    every: 100,
    solver: { method: "rk4", steps: 2 },
  },
  breast_cancer: {
    title: "Breast cancer",
    features: 30,
    rows: () => readCsv(join(root, "data/breast_cancer.csv"), { header: true, width: 31 }),
    draws: 1,
    spaces: [unchanged, logarithm(0.1), logarithm(0.01)],
    shape: { widths: [30, 64, 30], activation: "tanh", blocks: 1 },
    training: { iterations: 2000, batch: 256, learningRate: 5e-3, weightDecay: 0.1, kineticWeight: 0.02 },
    // Of the white data, added anew in each step: so few samples would be learnt by heart.
    noise: 0.1,
    patience: 10,
    every: 50,
    solver: { method: "rk4", steps: 2 },
  },
};

/** The parts of the data, 80, 10 and 10 %, as rows, before anything is drawn of them. */
function parts({ features, rows }, seed) {
  const columns = Array.from({ length: features }, (_, i) => i);
  const all = takeColumns(shuffled(rows(), uniforms(seed)), columns);
  const [first, second] = [0.8, 0.9].map((part) => Math.floor(part * all.rows));
  return {
    training: slice(all, 0, first),
    validation: slice(all, first, second),
    test: slice(all, second, all.rows),
  };
}

/** So many draws of each row, one behind the other. */
function drawn({ dequantise }, { values, columns }, uniform, draws) {
  if (!dequantise) return table(values, columns);
  const all = new Float64Array(values.length * draws);
  return table(
    all.map((_, i) => dequantise(values[i % values.length], uniform)),
    columns,
  );
}

/** A space with its functions for whole samples. */
function spaceOf(space, { values, rows, columns: d }) {
  const scale = new Float64Array(d);
  for (let i = 0; i < values.length; i++) scale[i % d] += Math.abs(values[i]) / rows;
  const each = (function_) => (x) => Float64Array.from(x, (value, i) => function_(value, scale[i % d]));
  const logSlopes = (x) => {
    const sums = new Float64Array(x.length / d);
    for (let i = 0; i < x.length; i++) sums[Math.floor(i / d)] += space.logSlope(x[i], scale[i % d]);
    return sums;
  };
  return { name: space.name, forward: each(space.forward), back: each(space.back), logSlopes };
}

/** The Gaussians of all spaces and ridges; the best on the validation part first. */
function gaussians(dataset, training, validation, test) {
  const tried = dataset.spaces.flatMap((described) => {
    const space = spaceOf(described, training);
    const [own, other, unseen] = [training, validation, test].map(({ values }) => ({
      y: space.forward(values),
      logSlopes: space.logSlopes(values),
    }));
    return RIDGES.map((ridge) => {
      const gaussian = fitGaussian(table(own.y, dataset.features), ridge);
      const logs = ({ y, logSlopes }) => negativeLogs(gaussian, y).map((value, row) => value - logSlopes[row]);
      const values = { training: mean(logs(own)), validation: mean(logs(other)), test: mean(logs(unseen)) };
      return { space, ridge, gaussian, ...values, testLogs: logs(unseen) };
    });
  });
  return tried.sort((a, b) => a.validation - b.validation);
}

/**
 * Trains on one of the data sets, and compares. `limits` may shorten it.
 *
 * @param {{ limits?: Record<string, any>, [name: string]: any }} what
 */
export async function learn({ api, dataset, seed, pool, limits = {}, note }) {
  const { features: d, draws } = dataset;
  const how = { ...dataset.training, ...limits };
  const uniform = uniforms(seed + 1);
  const part = parts(dataset, seed);
  const [training, validation, test] = [
    drawn(dataset, part.training, uniform, 2 * draws),
    drawn(dataset, part.validation, uniform, draws),
    drawn(dataset, part.test, uniform, draws),
  ];
  const tried = gaussians(dataset, training, validation, test);
  const [{ space, gaussian, ridge }] = tried;
  const white = (values) => Float32Array.from(whiten(gaussian, space.forward(values)));
  // −log p of data is that of white ones, with what the ways there have stretched.
  const stretch = (values) => space.logSlopes(values).map((slope) => gaussian.logDeterminant - slope);
  const [validationStretch, trainingStretch] = [validation, training].map(({ values }) => mean(stretch(values)));

  const random = normalsOf(uniform);
  const draw = () => {
    const values = new Float64Array(how.batch * d);
    for (let i = 0; i < how.batch; i++) {
      const row = Math.floor(uniform() * part.training.rows);
      for (let j = 0; j < d; j++) {
        const value = part.training.values[row * d + j];
        values[i * d + j] = dataset.dequantise ? dataset.dequantise(value, uniform) : value;
      }
    }
    const z = white(values);
    return dataset.noise ? z.map((value) => value + dataset.noise * random()) : z;
  };
  const shape = { ...dataset.shape, seed };
  const { density, curve, bestStep, steps, seconds } = await fitFlow(api, shape, {
    ...how,
    draw,
    pool,
    validation: white(validation.values),
    every: limits.every ?? dataset.every,
    patience: dataset.patience,
    solver: dataset.solver,
    note: (step, points) =>
      note(`step ${step}, validation ${(points.at(-1).validation + validationStretch).toFixed(2)}`),
  });

  const evaluation = { rtol: 1e-5, atol: 1e-5 };
  const testStretch = stretch(test.values);
  const logs = density.logDensity(white(test.values), evaluation);
  const testLogs = Float64Array.from(logs, (log, row) => testStretch[row] - log);
  const gain = bySample(
    testLogs.map((value, row) => tried[0].testLogs[row] - value),
    part.test.rows,
  );
  const samples = 40;
  const back = (z) => space.back(colour(gaussian, z));
  const result = {
    rows: { training: part.training.rows, validation: part.validation.rows, test: part.test.rows },
    shape,
    training: { ...how, noise: dataset.noise, solver: dataset.solver, draws },
    parameters: density.blocks.reduce((sum, block) => sum + block.parameters.length, 0),
    seconds,
    steps,
    bestStep,
    workers: pool?.workers ?? 1,
    space: space.name,
    ridge,
    gaussians: bestOfSpaces(tried),
    flow: {
      validation: (curve.find(({ step }) => step === bestStep)?.validation ?? Number.NaN) + validationStretch,
      test: mean(testLogs),
      gain: mean(gain),
      gainError: standardError(gain),
    },
    curve: curve.map(({ step, training: value, validation: other }) => ({
      step,
      training: value === undefined ? undefined : value + trainingStretch,
      validation: other + validationStretch,
    })),
    samples: {
      data: [...test.values.slice(0, samples * d)],
      flow: [...back(density.sample(samples, seed + 2, evaluation))],
      gaussian: [...back(Float64Array.from({ length: samples * d }, random))],
    },
  };
  for (const block of density.blocks) block.dispose();
  return result;
}

function bestOfSpaces(tried) {
  const names = new Set(tried.map(({ space }) => space.name));
  return [...names].map((name) => {
    const { ridge, training, validation, test } = tried.find(({ space }) => space.name === name);
    return { space: name, ridge, training, validation, test };
  });
}

/** The mean over the draws of each row. */
function bySample(values, rows) {
  const sums = new Float64Array(rows);
  values.forEach((value, i) => {
    sums[i % rows] += (value * rows) / values.length;
  });
  return sums;
}

function standardError(values) {
  const centre = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1) / values.length);
}
