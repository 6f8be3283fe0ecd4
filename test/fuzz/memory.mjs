// Memory that runs out in small pieces: every call gives OUT_OF_MEMORY or does its work, and nothing is ever lost.
import assert from "node:assert/strict";

// The memory of the instance to come, so that all but a part of it can be taken away: 4 GiB of small objects would take long.
const memories = [];
const { Instance } = WebAssembly;
WebAssembly.Instance = class extends Instance {
  constructor(module, imports) {
    super(module, imports);
    if (this.exports.memory) memories.push(this.exports.memory);
  }
};
// Natively the system ends a process that takes too much.
process.env.SYMPLECTIC_ADJOINT_ENGINE = "wasm";
const api = await import("../../dist/index.js");
const { fuzz } = await import("./common.mjs");
const { adam, cnf, hamiltonian, load, memoryUsage, mlp, odeint, save, saveTensors, sgd, vjp } = api;
const PAGES = 65_536;
const SMALL = /** @type {import("../../dist/index.js").MlpOptions<"float64">} */ ({ widths: [1, 1], dtype: "float64" });

const spare = mlp({ widths: [2, 4, 2] });
const y0 = Float32Array.of(1, 0);
const file = save(spare);
const BYTES = 12e6;
mlp({ widths: [1, BYTES / 12, 1] }).dispose();
memories[0].grow(PAGES - memories[0].buffer.byteLength / 65_536);

/** What holds memory until it is disposed of, each kind of object that crosses the border, and texts of all lengths. */
const makers = [
  () => mlp(SMALL),
  () => mlp({ widths: new Array(3000).fill(1) }),
  () => adam(spare),
  () => sgd(spare),
  () => cnf({ network: { widths: [1, 1] } }),
  () => hamiltonian({ energy: { widths: [2, 2, 1] }, structure: "canonical" }),
  () => vjp(spare, y0, [0, 1]),
  () => vjp(spare, y0, [0, 1], { method: "rk4", steps: 500 }),
  () => vjp(spare, y0, [0, 1], { method: "rk4", steps: 500, memoryBudget: 40_000 }),
  () => load(file).field,
];
const calls = [
  () => odeint(spare, y0, [0, 1]),
  () => odeint(spare, y0, [0, 1], { method: "bosh3", output: "land" }),
  () => spare.evaluate(0, y0),
  () => spare.vjp(0, y0, y0),
  () => save(spare),
  ({ below }) => saveTensors({}, { text: "ö".repeat(10 ** below(8)) }),
  ({ below }) => saveTensors({ ["n".repeat(10 ** below(7))]: { shape: [1], data: y0.slice(1) } }),
  ({ below }) => saveTensors({ a: { shape: new Array(10 ** below(6)).fill(1), data: y0.slice(1) } }),
];

/** The result of a call, or undefined where memory has run out. */
function attempt(body) {
  try {
    return body();
  } catch (error) {
    assert.equal(error.code, "OUT_OF_MEMORY", error.stack);
    assert.ok(error.bytes > 0, error.message);
    return undefined;
  }
}

// A case fills memory with objects of its own mixture, uses it when it is full, and empties it, all or in part.
let objects = 0;
const kept = [];
const { count, seconds } = await fuzz(api, "memory", { count: 40, every: 1 }, (random) => {
  const { below, pick, chance } = random;
  const mixture = Array.from({ length: 1 + below(3) }, () => pick(makers));
  // What is left for the small ones beside large ones: anything from crumbs to all of it.
  for (let size = 2 ** 23, least = 2 ** (10 + below(15)); size >= least; size /= 2) {
    for (;;) {
      const large = attempt(() => mlp({ widths: [1, size / 16, 1] }));
      if (!large) break;
      kept.push(large);
    }
  }
  let refused = 0;
  while (refused < 20) {
    const made = attempt(pick(mixture));
    if (made) kept.push(made);
    else refused++;
    if (chance(0.1)) attempt(() => pick(calls)(random));
    if (chance(0.02) && kept.length > 0) kept.splice(below(kept.length), 1)[0].dispose();
  }
  objects += kept.length;
  for (let i = 0; i < 20; i++) attempt(() => pick(calls)(random));
  while (kept.length > 0) kept.pop().dispose();
  assert.equal(memories.length, 1, "the instance was lost");
});
const { liveBytes } = memoryUsage();
console.log(
  `memory filled ${count} times, by ${objects} objects in all, in ${seconds.toFixed(1)} s; ${liveBytes} bytes live afterwards`,
);
