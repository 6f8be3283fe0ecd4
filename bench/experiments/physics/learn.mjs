// Learning a field from snapshots.
import { uniforms } from "../../shared/random.mjs";

/**
 * Trains a field on pieces of trajectories `{ times, samples, points, y }`: from one snapshot over the next few. The loss is
 * the mean squared error by the mean square of what changes over a piece, so that 1 is a field that stands still. Adam,
 * whose rate falls by a cosine.
 */
export async function learn(api, field, { data, pieces, batch, steps, learningRate, seed, solver, say }) {
  const optimizer = api.adam(field, { learningRate });
  const scale = change(data, pieces);
  const loss = (y, { target }) => {
    const { value, cotangent } = api.meanSquaredError(y, target);
    return { value: value / scale, cotangent: cotangent.map((number) => number / scale) };
  };
  const losses = [];
  const start = performance.now();
  const batches = drawn(data, pieces, batch, seed, field.dtype);
  for await (const step of api.train({ field, optimizer, data: batches, loss, steps, ...solver })) {
    losses.push(step.loss);
    optimizer.learningRate = learningRate * (0.01 + 0.495 * (1 + Math.cos((Math.PI * step.step) / steps)));
    if (step.step % 50 === 0) say(`step ${step.step} of ${steps}, loss ${step.loss.toExponential(2)}`);
  }
  optimizer.dispose();
  const last = losses.slice(-Math.ceil(steps / 20));
  return {
    loss: last.reduce((sum, value) => sum + value, 0) / last.length,
    seconds: (performance.now() - start) / 1000,
  };
}

/** Batches of pieces drawn at random, without end. */
function* drawn({ times, samples, points, y }, pieces, batch, seed, dtype) {
  const uniform = uniforms(seed);
  const Numbers = dtype === "float32" ? Float32Array : Float64Array;
  const starts = times.length - pieces;
  for (;;) {
    const target = new Numbers((pieces + 1) * batch * points);
    for (let row = 0; row < batch; row++) {
      const [start, sample] = [Math.floor(uniform() * starts), Math.floor(uniform() * samples)];
      for (let piece = 0; piece <= pieces; piece++) {
        const from = ((start + piece) * samples + sample) * points;
        target.set(y.subarray(from, from + points), (piece * batch + row) * points);
      }
    }
    yield { y0: target.slice(0, batch * points), times: times.slice(0, pieces + 1), target };
  }
}

/** Mean square of x(t + s) − x(t), over the snapshots of a piece. */
function change({ times, samples, points, y }, pieces) {
  let [sum, count] = [0, 0];
  const size = samples * points;
  for (let start = 0; start + pieces < times.length; start++) {
    for (let piece = 0; piece <= pieces; piece++, count += size) {
      for (let i = 0; i < size; i++) sum += (y[(start + piece) * size + i] - y[start * size + i]) ** 2;
    }
  }
  return sum / count;
}
