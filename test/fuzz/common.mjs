// What the fuzzers share: cases by number, each from random numbers of its own, and a gradient that has to stay right.
import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { uniforms } from "../../bench/shared/random.mjs";

/** The random numbers of one case. */
export function randomOf(seed) {
  const uniform = uniforms(seed);
  const below = (end) => Math.floor(uniform() * end);
  return { uniform, below, pick: (list) => list[below(list.length)], chance: (share) => uniform() < share };
}

/**
 * Runs the cases of a fuzzer: so many as the command line says, `node test/fuzz/NAME.mjs [count] [first]`, or by default. Each is
 * called with its random numbers and its own number, by which it can be run again alone. Every so often the known gradient has
 * to be right.
 */
export async function fuzz(api, name, { count: usual, every = 1000 }, run) {
  const { positionals } = parseArgs({ allowPositionals: true });
  const [count = usual, first = 0] = positionals.map(Number);
  if (!(Number.isSafeInteger(count) && count > 0 && Number.isSafeInteger(first) && first >= 0)) {
    throw new Error(`usage: node test/fuzz/${name}.mjs [count] [first]`);
  }
  const known = knownGradients(api);
  const start = performance.now();
  for (let index = first; index < first + count; index++) {
    try {
      await run(randomOf(index), index);
      if ((index + 1) % every === 0 || index + 1 === first + count) known();
    } catch (cause) {
      throw new Error(`case ${index}, again by: node test/fuzz/${name}.mjs 1 ${index}`, { cause });
    }
  }
  return { count, seconds: (performance.now() - start) / 1000 };
}

/**
 * A check of gradients, bit for bit. The first is that of a linear field by the midpoint method, all of whose numbers are
 * fractions of a power of two, so that no order of additions rounds them: it was computed by fractions. The second is that of a
 * network, as it was when this was called.
 */
export function knownGradients({ mlp, valueAndGrad }) {
  const halfSquares = (y, [times]) => {
    const cotangent = y.slice().fill(0, 0, (y.length / times) * (times - 1));
    return { value: cotangent.reduce((sum, value) => sum + value * value, 0) / 2, cotangent };
  };
  const gradientOf = (field, y0, solver) => {
    const { value, gradient } = valueAndGrad(field, y0, [0, 0.5], halfSquares, solver);
    return [value, ...gradient.y0, ...gradient.parameters];
  };
  const linear = () => {
    const field = mlp({ widths: [2, 2], dtype: "float64" });
    field.parameters = Float64Array.of(0.5, -1, 0.75, -0.25, 0.25, -0.5);
    const numbers = gradientOf(field, Float64Array.of(1, 0.5), { method: "midpoint", steps: 2 });
    field.dispose();
    return numbers;
  };
  const curved = (gradient) => {
    const field = mlp({ widths: [2, 16, 2], seed: 5 });
    const numbers = gradientOf(field, Float32Array.of(1, 0.5, -0.25, 2), { rtol: 1e-5, gradient });
    field.dispose();
    return numbers;
  };
  const first = curved("backprop");
  return () => {
    assert.deepEqual(linear(), LINEAR, "the gradient of a linear field");
    assert.deepEqual(curved("symplectic"), first, "the gradient of a network");
  };
}

/** The loss, and its gradient with respect to y0, the matrix and the vector. */
const LINEAR = [
  0.7989902193094167, 1.553201993338007, -0.12735320600768318, 0.7168229836970568, 0.3613470088894246,
  0.13511391525389627, 0.06880490310140885, 0.6781304217001889, 0.12215511428075843,
];
