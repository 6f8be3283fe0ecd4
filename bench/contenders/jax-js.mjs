// jax-js on its WebAssembly backend: rk4 unrolled, its value and gradient compiled together.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { growth, layersOf, numbers, serve } from "./serve.mjs";

const folder = join(process.argv[2], "node_modules/@jax-js/jax");
const { version, exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
const jax = await import(pathToFileURL(join(folder, exports["."].import)).href);
const { numpy: np } = jax;

await serve(async ({ widths, batch, steps, files }) => {
  const start = performance.now();
  await jax.init("wasm");
  jax.defaultDevice("wasm");
  const flat = numbers(files.parameters);
  const arrays = layersOf(widths).flatMap(({ weight, bias }) =>
    [weight, bias].map(({ offset, shape }) =>
      np.array(flat.slice(offset, offset + shape.reduce((product, size) => product * size))).reshape(shape),
    ),
  );
  const y0 = np.array(numbers(files.y0)).reshape([batch, widths[0]]);
  const last = widths.length - 2;
  // An array is used up by what it is given to; `.ref` keeps it.
  const field = (y, theta) => {
    for (let i = 0; i <= last; i++) {
      const z = np.matmul(y, np.transpose(theta[2 * i].ref)).add(theta[2 * i + 1].ref);
      y = i < last ? np.tanh(z) : z;
    }
    return y;
  };
  const h = 1 / steps;
  const loss = (theta, start) => {
    let y = start;
    for (let step = 0; step < steps; step++) {
      const k1 = field(y.ref, theta);
      const k2 = field(y.ref.add(k1.ref.mul(h / 2)), theta);
      const k3 = field(y.ref.add(k2.ref.mul(h / 2)), theta);
      const k4 = field(y.ref.add(k3.ref.mul(h)), theta);
      y = y.add(
        k1
          .add(k2.mul(2))
          .add(k3.mul(2))
          .add(k4)
          .mul(h / 6),
      );
    }
    for (const array of theta) array.dispose();
    return np.sum(np.square(y)).mul(0.5);
  };
  const pull = jax.jit(jax.valueAndGrad(loss, { argnums: [0, 1] }));
  const gradient = async () => {
    const [value, [parameters, start]] = pull(
      arrays.map((array) => array.ref),
      y0.ref,
    );
    value.dispose();
    await start.data();
    return Promise.all(parameters.map((array) => array.data()));
  };
  const { result, growthBytes } = await growth(gradient);
  const firstMs = performance.now() - start;
  writeFileSync(files.gradient, Buffer.concat(result.map((part) => new Uint8Array(Float32Array.from(part).buffer))));
  return {
    firstMs,
    growthBytes,
    accepted: steps,
    versions: { node: process.versions.node, "jax-js": version },
    gradient,
  };
});
