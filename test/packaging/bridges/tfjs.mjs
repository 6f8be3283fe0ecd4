// TensorFlow.js: the operation and the layer, on its wasm and cpu backends.
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { equations, memoryUsage, mlp } from "symplectic-adjoint";
import { bridge } from "symplectic-adjoint/tfjs";

const { odeint, neuralODE } = bridge(tf);
setWasmPaths(`${join(dirname(fileURLToPath(import.meta.resolve("@tensorflow/tfjs-backend-wasm"))))}/`);

const times = [0, 0.3, 1];
const steps = 4;

/** The mlp tanh 2-8-2 by TensorFlow's own operations, its parameters taken from the flat ones. */
function slope(field, y, parameters) {
  const part = ({ offset, shape }) =>
    parameters.slice(
      offset,
      shape.reduce((product, side) => product * side),
    );
  return field.layers.reduce((x, { weight, bias }, index) => {
    const z = x.matMul(part(weight).reshape(weight.shape), false, true).add(part(bias));
    return index < field.layers.length - 1 ? z.tanh() : z;
  }, y);
}

/** The same steps of rk4, which TensorFlow.js differentiates by itself. */
function rk4(field, y0, parameters) {
  const states = [y0];
  let y = y0;
  for (let interval = 1; interval < times.length; interval++) {
    const h = (times[interval] - times[interval - 1]) / steps;
    for (let step = 0; step < steps; step++) {
      const k1 = slope(field, y, parameters);
      const k2 = slope(field, y.add(k1.mul(h / 2)), parameters);
      const k3 = slope(field, y.add(k2.mul(h / 2)), parameters);
      const k4 = slope(field, y.add(k3.mul(h)), parameters);
      y = y.add(
        k1
          .add(k2.mul(2))
          .add(k3.mul(2))
          .add(k4)
          .mul(h / 6),
      );
    }
    states.push(y);
  }
  return tf.stack(states);
}

function difference(ours, theirs) {
  return tf.tidy(() => ours.sub(theirs).norm().div(theirs.norm()).dataSync()[0]);
}

/** Equations whose arguments are tensors, against their closed form. */
function argumentsOfEquations() {
  const field = equations("x' = -k * x + dose", { parameters: { k: 0.5 }, arguments: ["dose"] });
  const [y0, dose] = [tf.tensor2d([[1], [2], [3]]), tf.tensor1d([0.5, -0.5, 2])];
  const k = tf.tensor1d([0.7]);
  const ours = (y0, k, dose) =>
    odeint(field, y0, k, [0, 0.5, 1.5], { arguments: { dose: dose.mul(2) }, rtol: 1e-6 })
      .square()
      .sum();
  const theirs = (y0, k, dose) => {
    const level = dose.mul(2).div(k).expandDims(1);
    return tf
      .stack([0, 0.5, 1.5].map((t) => level.add(y0.sub(level).mul(k.mul(-t).exp()))))
      .square()
      .sum();
  };
  const [mine, own] = [ours, theirs].map((f) => tf.valueAndGrads(f)([y0, k, dose]));
  assert.ok(difference(mine.value, own.value) < 1e-5, "value");
  for (const [i, gradient] of mine.grads.entries())
    assert.ok(difference(gradient, own.grads[i]) < 1e-5, `gradient ${i}`);
  const plain = odeint(field, y0, k, [0, 0.5, 1.5], { arguments: { dose: [1, -1, 4] }, rtol: 1e-6 });
  assert.ok(difference(plain.square().sum(), mine.value) < 1e-6, "arguments as numbers");
  /** @type {[given: { dose: tf.Tensor } | undefined, message: RegExp][]} */
  const refused = [
    [{ dose: tf.tensor1d([1]) }, /arguments\.dose: expected \[3\] numbers, given 1/],
    [{ dose: tf.tensor1d([1, 2, 3], "int32") }, /arguments\.dose: expected a tensor of float32, given one of int32/],
    [undefined, /arguments: expected \{ dose: \[3\] \}, given undefined/],
  ];
  for (const [given, message] of refused) {
    assert.throws(() => odeint(field, y0, k, [0, 1], given && { arguments: given }), message);
  }
  field.dispose();
}

function operation() {
  const field = mlp({ widths: [2, 8, 2], seed: 3 });
  const parameters = tf.tensor1d(field.parameters.map((value, i) => value + 0.1 * Math.sin(i)));
  const y0 = tf.randomNormal([5, 2], 0, 1, "float32", 1);
  // Between operations of TensorFlow.js: what comes before and after is differentiated by it.
  const loss = (solve) => (y0, parameters) => solve(y0.mul(2), parameters.sin()).square().mul(0.5).sum();
  const ours = loss((y0, parameters) => odeint(field, y0, parameters, times, { method: "rk4", steps }));
  const theirs = loss((y0, parameters) => rk4(field, y0, parameters));
  const [mine, own] = [ours, theirs].map((f) => tf.valueAndGrads(f)([y0, parameters]));
  assert.ok(difference(mine.value, own.value) < 2e-6, "value");
  const errors = mine.grads.map((gradient, i) => difference(gradient, own.grads[i]));
  for (const error of errors) assert.ok(error < 2e-6, `a gradient is off by ${error}`);

  const held = () => [tf.memory().numTensors, memoryUsage().liveBytes];
  const before = held();
  for (let i = 0; i < 3; i++) {
    const y = odeint(field, y0, parameters, times);
    assert.deepEqual(held(), [before[0] + 1, before[1]]);
    y.dispose();
    tf.dispose(tf.valueAndGrads(ours)([y0, parameters]));
    tf.tidy(() => void ours(y0, parameters));
    // On the way, but with nothing to pull back.
    tf.dispose(tf.grad((y0) => y0.sum().add(tf.zerosLike(ours(y0, parameters)).sum()))(y0));
  }
  assert.deepEqual(held(), before);
  const single = odeint(field, tf.tensor1d([1, 0]), parameters, times);
  assert.deepEqual(single.shape, [3, 1, 2]);
  field.dispose();
  return errors;
}

/** A spiral, from which the layer learns. */
function spiral() {
  const x = tf.randomUniform([64, 2], -1, 1, "float32", 2);
  const [c, s] = [Math.exp(-0.3) * Math.cos(1), Math.exp(-0.3) * Math.sin(1)];
  return [x, x.matMul(tf.tensor2d([c, s, -s, c], [2, 2]))];
}

async function layer() {
  const make = () => {
    const model = tf.sequential();
    /** @type {import("symplectic-adjoint/tfjs").NeuralOdeOptions} */
    const ode = { widths: [2, 16, 2], times: [0, 1], solver: { method: "dopri5", rtol: 1e-4 }, inputShape: [2] };
    model.add(neuralODE({ ...ode, seed: 1, name: "ode" }));
    model.add(tf.layers.dense({ units: 2, kernelInitializer: "identity" }));
    return model;
  };
  const model = make();
  const [x, y] = spiral();
  model.compile({ optimizer: tf.train.adam(0.02), loss: "meanSquaredError" });
  const options = { epochs: 1, batchSize: 16, verbose: 0, shuffle: false };
  await model.fit(x, y, options);
  const before = [tf.memory().numTensors, memoryUsage().liveBytes];
  const { history } = await model.fit(x, y, { ...options, epochs: 25 });
  assert.deepEqual([tf.memory().numTensors, memoryUsage().liveBytes], before);
  const losses = /** @type {number[]} */ (history.loss);
  const [first = Number.NaN, last = Number.NaN] = [losses[0], losses.at(-1)];
  assert.ok(last < first / 20, `the loss fell from ${first} to ${last} only`);

  // Saved and loaded, it is the same.
  /** @type {any} */
  let saved;
  const keep = async (artifacts) => {
    saved = artifacts;
    return /** @type {any} */ ({ modelArtifactsInfo: {} });
  };
  await model.save(tf.io.withSaveHandler(keep));
  const topology = JSON.parse(JSON.stringify(saved.modelTopology));
  const loaded = await tf.loadLayersModel(tf.io.fromMemory({ ...saved, modelTopology: topology }));
  assert.equal(difference(loaded.predict(x), model.predict(x)), 0);
  const sequences = neuralODE({ widths: [2, 4, 2], times, returnSequences: true });
  assert.deepEqual(/** @type {tf.Tensor} */ (sequences.apply(x)).shape, [64, 3, 2]);
  assert.deepEqual(sequences.computeOutputShape([null, 2]), [null, 3, 2]);
  const held = memoryUsage().liveBytes;
  sequences.dispose();
  assert.ok(memoryUsage().liveBytes < held);
  for (const one of [model, loaded]) one.dispose();
  return [first, last];
}

function refusals() {
  const field = mlp({ widths: [2, 4, 2] });
  const double = mlp({ widths: [2, 2], dtype: "float64" });
  const theta = tf.tensor1d(field.parameters);
  const y0 = tf.zeros([3, 2]);
  const code = (code, argument) => (error) => error.code === code && error.argument === argument;
  // @ts-expect-error no TensorFlow.js
  assert.throws(() => bridge({}), code("OPTION", "tf"));
  assert.throws(() => odeint(field, tf.zeros([3, 3]), theta, [0, 1]), code("SHAPE", "y0"));
  assert.throws(() => odeint(field, tf.zeros([3, 2], "int32"), theta, [0, 1]), code("DTYPE", "y0"));
  assert.throws(() => odeint(field, y0, tf.zeros([3]), [0, 1]), code("SHAPE", "parameters"));
  // @ts-expect-error parameters that are no tensor
  assert.throws(() => odeint(field, y0, [1, 2], [0, 1]), code("DTYPE", "parameters"));
  // @ts-expect-error the number type is that of tensors
  assert.throws(() => odeint(double, y0, theta, [0, 1]), code("DTYPE", "field"));
  // @ts-expect-error no option of that name
  assert.throws(() => neuralODE({ widths: [2, 2], times: [0, 1], units: 3 }), code("OPTION", "units"));
  // @ts-expect-error times are missing
  assert.throws(() => neuralODE({ widths: [2, 2] }), code("OPTION", "times"));
  assert.throws(() => neuralODE({ widths: [2, 2], times: [0, 1] }).apply(tf.zeros([3, 3])), code("SHAPE", "input"));
  // @ts-expect-error no layers
  assert.throws(() => bridge({ ...tf, layers: undefined }).neuralODE({}), code("OPTION", "tf"));
  // What the collector would free some time later is no leak, and must not look like its opposite.
  field.dispose();
  double.dispose();
}

for (const backend of ["cpu", "wasm"]) {
  assert.ok(await tf.setBackend(backend), `no ${backend} backend`);
  argumentsOfEquations();
  const errors = operation();
  const [first, last] = await layer();
  refusals();
  const agree = `gradients within ${Math.max(...errors).toExponential(1)} of its own`;
  console.log(
    `TensorFlow.js ${tf.version.tfjs}, ${backend}: ${agree}; fit: loss ${first.toFixed(4)} → ${last.toFixed(5)}`,
  );
}
