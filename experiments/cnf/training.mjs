// Training of a flow behind a whitening: the density of real data, against that of the Gaussian the flow begins as.
import { normals, uniforms } from "../common.mjs";
import { bestGaussian, colour, Matrix, negativeLogLikelihood, whiten } from "./gaussian.mjs";

/**
 * @param {object} api
 * @param {{ rows: number, features: number, sample: (indices: number[], uniform: () => number) => Matrix }} data
 *   `sample` gives rows, dequantised with numbers from `uniform`
 * @param {object} options hidden, batch, steps, learningRate, weightDecay, kineticWeight, seed, pool, solver, say
 */
export async function trainFlow(api, data, options) {
  const { hidden, batch, steps, learningRate, weightDecay, kineticWeight, seed, pool, solver, say, noise = 0 } = options;
  const uniform = uniforms(seed + 1);
  const normal = normals(seed + 2);
  const order = shuffled(data.rows, uniform);
  const held = Math.floor(data.rows / 10);
  const split = { test: order.slice(0, held), validation: order.slice(held, 2 * held), train: order.slice(2 * held) };
  // Held-out rows are dequantised once, the same for everybody.
  const [test, validation, train] = ["test", "validation", "train"].map((name) => data.sample(split[name], uniform));
  const { ridge, model } = bestGaussian(train, validation);
  const baseline = { ridge, validation: negativeLogLikelihood(model, validation), test: negativeLogLikelihood(model, test) };

  const { features } = data;
  const network = { widths: [features, ...hidden, features], activation: "softplus", time: "concatsquash", seed };
  const regularised = kineticWeight > 0;
  const trained = api.cnf({ network, trace: "hutchinson", kinetic: regularised });
  beginAsIdentity(trained);
  const judge = api.cnf({ network, trace: "exact" });
  const optimizer = api.adam(trained, { learningRate, weightDecay });
  const density = api.flow({ blocks: [trained] });
  const exact = api.flow({ blocks: [judge] });
  const nll = (z) => {
    judge.parameters = trained.parameters.slice();
    const densities = exact.logDensity(Float32Array.from(z.data), { method: "dopri5", rtol: 1e-4, atol: 1e-4 });
    return model.logDeterminant - densities.reduce((sum, value) => sum + value, 0) / z.rows;
  };
  const held_ = { validation: whiten(model, validation), test: whiten(model, test) };

  let best = { nll: Number.POSITIVE_INFINITY };
  const curve = [];
  const every = Math.max(1, Math.floor(steps / 40));
  let left = [];
  const start = performance.now();
  for (let step = 0; step <= steps; step++) {
    if (step % every === 0 || step === steps) {
      const now = nll(held_.validation);
      curve.push({ step, validation: now });
      if (now < best.nll) best = { nll: now, step, parameters: trained.parameters.slice() };
      say(`step ${step} of ${steps}, validation ${now.toFixed(2)} nats, the Gaussian's ${baseline.validation.toFixed(2)}`);
    }
    if (step === steps) break;
    if (left.length < batch) left = [...left, ...shuffled(split.train.length, uniform).map((i) => split.train[i])];
    const rows = data.sample(left.splice(0, batch), uniform);
    const z = Float32Array.from(whiten(model, rows).data, (value) => value + noise * normal());
    trained.seedNoise(seed + step);
    // From the rate down to a hundredth of it, by a cosine.
    optimizer.learningRate = learningRate * (0.01 + 0.99 * 0.5 * (1 + Math.cos((Math.PI * step) / steps)));
    const settings = { ...solver, ...(regularised && { kineticWeight }) };
    const { value, gradients } = pool
      ? await density.valueAndGradIn(pool, z, settings)
      : density.valueAndGrad(z, settings);
    if (!Number.isFinite(value)) throw new Error(`step ${step}: the loss is ${value}`);
    optimizer.step(gradients[0]);
  }
  const seconds = (performance.now() - start) / 1000;
  trained.parameters = best.parameters;
  const result = {
    rows: data.rows,
    features,
    hidden,
    steps,
    seconds,
    baseline,
    best: best.step,
    validation: best.nll,
    test: nll(held_.test),
    curve,
  };
  const drawn = exact.sample(64, seed, { method: "dopri5", rtol: 1e-4, atol: 1e-4 });
  const gaussians = new Matrix(64, features, Float64Array.from({ length: 64 * features }, () => normal()));
  const samples = {
    data: test.pick([...Array(Math.min(64, test.rows)).keys()]).data,
    flow: colour(model, new Matrix(64, features, Float64Array.from(drawn))).data,
    gaussian: colour(model, gaussians).data,
  };
  optimizer.dispose();
  trained.dispose();
  judge.dispose();
  return { ...result, samples };
}

/** Zero outputs: f = 0, so that the flow is the identity. */
function beginAsIdentity(field) {
  const last = field.layers.at(-1);
  const parameters = field.parameters.slice();
  for (const name of ["weight", "bias", "hyperBias"]) {
    if (!last[name]) continue;
    const { offset, shape } = last[name];
    parameters.fill(0, offset, offset + shape.reduce((product, side) => product * side));
  }
  field.parameters = parameters;
}

function shuffled(length, uniform) {
  const order = Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; i--) {
    const j = Math.floor(uniform() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
