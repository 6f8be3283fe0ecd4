// TensorFlow.js on its WebAssembly backend, one thread: rk4 in its operations, differentiated by tf.grads.
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { growth, layersOf, numbers, serve } from "./serve.mjs";

// The package's folder is told by the runner; it is CommonJS.
const require = createRequire(pathToFileURL(join(process.argv[2], "package.json")));
const tf = require("@tensorflow/tfjs");
const wasm = require("@tensorflow/tfjs-backend-wasm");

await serve(async ({ widths, batch, steps, files }) => {
  const start = performance.now();
  wasm.setWasmPaths(`${dirname(require.resolve("@tensorflow/tfjs-backend-wasm"))}/`);
  wasm.setThreadsCount(1);
  await tf.setBackend("wasm");
  await tf.ready();
  const flat = numbers(files.parameters);
  const tensors = layersOf(widths).flatMap(({ weight, bias }) =>
    [weight, bias].map(({ offset, shape }) =>
      tf.tensor(flat.subarray(offset, offset + shape.reduce((product, size) => product * size)), shape),
    ),
  );
  const y0 = tf.tensor2d(numbers(files.y0), [batch, widths[0]]);
  const last = widths.length - 2;
  const field = (y, theta) => {
    for (let i = 0; i <= last; i++) {
      const z = tf.matMul(y, theta[2 * i], false, true).add(theta[2 * i + 1]);
      y = i < last ? z.tanh() : z;
    }
    return y;
  };
  const h = 1 / steps;
  const loss = (...inputs) => {
    const [start, ...theta] = inputs;
    let y = start;
    for (let step = 0; step < steps; step++) {
      const k1 = field(y, theta);
      const k2 = field(y.add(k1.mul(h / 2)), theta);
      const k3 = field(y.add(k2.mul(h / 2)), theta);
      const k4 = field(y.add(k3.mul(h)), theta);
      y = y.add(
        k1
          .add(k2.mul(2))
          .add(k3.mul(2))
          .add(k4)
          .mul(h / 6),
      );
    }
    return y.square().sum().mul(0.5);
  };
  const pull = tf.grads(loss);
  // To the end: everything is in JavaScript's hands.
  const gradient = () => tf.tidy(() => pull([y0, ...tensors]).map((tensor) => tensor.dataSync()));
  /** @type {Float32Array[]} */
  let result = [];
  const { result: profile, growthBytes } = await growth(() =>
    tf.profile(() => {
      result = gradient();
    }),
  );
  const firstMs = performance.now() - start;
  const parameters = result.slice(1);
  writeFileSync(
    files.gradient,
    Buffer.concat(parameters.map((part) => new Uint8Array(Float32Array.from(part).buffer))),
  );
  return {
    firstMs,
    growthBytes,
    countedBytes: profile.peakBytes,
    accepted: steps,
    versions: { node: process.versions.node, tfjs: tf.version.tfjs },
    gradient,
  };
});
