// Maximum likelihood by a flow: noise for the trace in training, none in evaluation.

/**
 * Blocks that begin as the identity: the last layer of each is zero.
 *
 * @param {{ widths: number[], activation: string, time?: string, blocks?: number, seed?: number, trace?: string, kinetic?: boolean }} shape
 */
export function identityFlow(api, shape) {
  const {
    widths,
    activation,
    time = "concatsquash",
    blocks = 1,
    seed = 0,
    trace = "hutchinson",
    kinetic = false,
  } = shape;
  return api.flow({
    blocks: Array.from({ length: blocks }, (_, i) => {
      const network = { widths, activation, time, seed: seed + i };
      const block = api.cnf({ network, trace, kinetic });
      const { weight, bias, hyperBias } = block.layers.at(-1);
      for (const { offset, shape } of [weight, bias, hyperBias].filter(Boolean)) {
        const size = shape.reduce((product, side) => product * side, 1);
        block.parameters.fill(0, offset, offset + size);
      }
      return block;
    }),
  });
}

/**
 * Trains by Adam, the rate falling like half a cosine, and follows the mean of the parameters (exponential, Polyak): it is
 * that mean which is validated, and the best of them which is returned, as a flow with the exact trace.
 *
 * @param {object} api this package
 * @param {object} shape as `identityFlow` takes it
 * @param {{ draw: (step: number) => Float32Array, validation: Float32Array, pool?: object, iterations: number,
 *   learningRate: number, weightDecay?: number, memory?: number, kineticWeight?: number, every: number,
 *   patience?: number, solver: object, note?: (step: number, curve: object[]) => void }} how batches `[batch, features]`
 *   are drawn; what the mean is taken over, as a factor; how often the mean is validated, and after how many times without
 *   a gain training ends
 */
export async function fitFlow(api, shape, how) {
  const { draw, validation, pool, iterations, learningRate, weightDecay = 0, memory = 0.995, every } = how;
  const { kineticWeight = 0, patience = Number.POSITIVE_INFINITY, solver, note = () => {} } = how;
  const start = performance.now();
  const trained = identityFlow(api, { ...shape, kinetic: kineticWeight > 0 });
  const exact = identityFlow(api, { ...shape, trace: "exact" });
  const optimizers = trained.blocks.map((block) => api.adam(block, { learningRate, weightDecay }));
  const means = trained.blocks.map((block) => Float64Array.from(block.parameters));
  const validate = () => {
    exact.blocks.forEach((block, i) => {
      block.parameters = Float32Array.from(means[i]);
    });
    return mean(negated(exact.logDensity(validation, solver)));
  };
  /** @typedef {{ step: number, training?: number | undefined, validation: number }} Point */
  /** @type {Point[]} */
  const curve = [];
  /** @typedef {Point & { parameters: Float32Array[] }} Best */
  /** @type {Best | undefined} */
  let best;
  let [bestStep, sum, count] = [0, 0, 0];
  const keep = (step) => {
    const point = { step, training: count ? sum / count : undefined, validation: validate() };
    curve.push(point);
    [sum, count] = [0, 0];
    if (best !== undefined && point.validation >= best.validation) return;
    best = { ...point, parameters: exact.blocks.map((block) => block.parameters.slice()) };
    bestStep = step;
  };
  keep(0);
  let steps = 0;
  for (let step = 1; step <= iterations; step++) {
    const x = draw(step);
    trained.blocks.forEach((block, i) => {
      if (shape.trace !== "exact") block.seedNoise(step * trained.blocks.length + i);
    });
    const options = kineticWeight > 0 ? { ...solver, kineticWeight } : solver;
    const { negativeLogDensity, gradients } = pool
      ? await trained.valueAndGradIn(pool, x, options)
      : trained.valueAndGrad(x, options);
    const rate = learningRate * Math.min(1, step / 50) * (0.5 + 0.5 * Math.cos((Math.PI * (step - 1)) / iterations));
    optimizers.forEach((optimizer, i) => {
      optimizer.learningRate = rate;
      optimizer.step(gradients[i]);
    });
    // At first over no more than there is.
    const factor = Math.min(memory, step / (step + 10));
    trained.blocks.forEach(({ parameters }, block) => {
      const average = means[block];
      for (let i = 0; i < average.length; i++) average[i] = factor * average[i] + (1 - factor) * parameters[i];
    });
    sum += negativeLogDensity;
    count++;
    steps = step;
    if (step % every === 0 || step === iterations) {
      keep(step);
      note(step, curve);
      if (step - bestStep >= patience * every) break;
    }
  }
  const { parameters } = /** @type {Best} */ (best);
  exact.blocks.forEach((block, i) => {
    block.parameters = parameters[i];
  });
  for (const disposable of [...optimizers, ...trained.blocks]) disposable.dispose();
  return { density: exact, curve, bestStep, steps, seconds: (performance.now() - start) / 1000 };
}

const negated = (values) => values.map((value) => -value);
export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
