// jax-js has no derivatives of one's own, so its pullbacks and this package's are chained by hand: encoder → ODE → decoder
// and loss. The gradient is held to finite differences along random directions.
import assert from "node:assert/strict";
import * as jax from "@jax-js/jax";
import { memoryUsage, mlp, vjp } from "symplectic-adjoint";

const { numpy: np } = jax;
await jax.init("wasm");
jax.defaultDevice("wasm");

const [batch, inputs, state, classes] = [8, 3, 4, 2];
const times = [0, 0.4, 1];
/** @type {import("symplectic-adjoint").GradientOptions} */
const options = { method: "rk4", steps: 8 };
const wave = (length, phase) => Float32Array.from({ length }, (_, i) => Math.sin(1 + phase + 1.7 * i));
const field = mlp({ widths: [state, 16, state], seed: 4 });
const x = wave(batch * inputs, 0);
const target = wave(times.length * batch * classes, 1);
const weights = {
  encoder: wave(inputs * state, 2),
  field: field.parameters.slice(),
  decoder: wave(state * classes, 3),
};

const array = (values, shape) => np.array(values).reshape(shape);
const encode = (weight) => np.tanh(np.matmul(array(x, [batch, inputs]), weight));
const loss = (y, weight) => {
  const error = np.matmul(y, weight).sub(array(target, [times.length * batch, classes]));
  return np.mean(np.square(error));
};

/** The loss, and a function that gives its gradient with respect to all three. */
async function forward({ encoder, field: parameters, decoder }) {
  const [y0, pullEncoder] = jax.vjp(encode, [array(encoder, [inputs, state])]);
  field.parameters = parameters;
  const { solution, pullback } = vjp(field, /** @type {Float32Array} */ (await y0.data()), times, options);
  const y = array(solution.y, [times.length * batch, state]);
  const [value, pullLoss] = jax.vjp(loss, [y, array(decoder, [state, classes])]);
  return {
    value: (await value.data())[0],
    async gradient() {
      const [w, decoder] = pullLoss(np.array(1));
      const { y0, parameters } = pullback(await w.data());
      const [encoder] = pullEncoder(array(y0, [batch, state]));
      return { encoder: await encoder.data(), field: parameters, decoder: await decoder.data() };
    },
    dispose() {
      pullback.dispose();
      pullEncoder.dispose();
      pullLoss.dispose();
    },
  };
}

async function lossAt(weights) {
  const { value, dispose } = await forward(weights);
  dispose();
  return value;
}

const { gradient, dispose } = await forward(weights);
const found = await gradient();
dispose();
const held = memoryUsage().liveBytes;
let worst = 0;
for (const name of Object.keys(weights)) {
  for (let trial = 0; trial < 4; trial++) {
    const direction = wave(weights[name].length, 10 + trial);
    const step = 4e-3;
    const moved = (by) => ({ ...weights, [name]: weights[name].map((value, i) => value + by * direction[i]) });
    const difference = ((await lossAt(moved(step))) - (await lossAt(moved(-step)))) / (2 * step);
    const slope = found[name].reduce((sum, value, i) => sum + value * direction[i], 0);
    const error = Math.abs(difference - slope) / Math.hypot(...found[name]) / Math.hypot(...direction);
    assert.ok(error < 1e-4, `${name}: ${slope} by the chain, ${difference} by differences`);
    worst = Math.max(worst, error);
  }
}
assert.equal(memoryUsage().liveBytes, held);

// And it descends.
const before = await lossAt(weights);
for (let i = 0; i < 50; i++) {
  const { gradient, dispose } = await forward(weights);
  for (const [name, slope] of Object.entries(await gradient())) {
    weights[name] = weights[name].map((value, i) => value - 0.2 * slope[i]);
  }
  dispose();
}
const after = await lossAt(weights);
assert.ok(after < 0.75 * before, `the loss went from ${before} to ${after}`);
console.log(
  `jax-js: chained gradient within ${worst.toExponential(1)} of differences; loss ${before.toFixed(3)} → ${after.toFixed(3)}`,
);
