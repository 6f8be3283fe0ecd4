// A fresh process: from the import of the package to the first gradient of the small case, and since the process began. The engine
// is that of SYMPLECTIC_ADJOINT_ENGINE.
const [, , widths, batch, steps] = process.argv.map((word) => (word.startsWith("[") ? JSON.parse(word) : word));
const start = performance.now();
const api = await import("../../dist/index.js");
const field = api.mlp({ widths });
const y0 = Float32Array.from({ length: Number(batch) * widths[0] }, (_, i) => Math.sin(i));
const loss = (y) => ({ value: 0, cotangent: y });
api.valueAndGrad(field, y0, [0, 1], loss, { method: "rk4", steps: Number(steps) });
const end = performance.now();
const { registerBits } = api.engine();
console.log(JSON.stringify({ ms: end - start, sinceStart: end, registerBits }));
