// Hostile model files: each is a model that works, or refused with a typed error, and nothing is left of it. What is saved loads.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as api from "../../dist/index.js";
import { commandModules } from "./bundle.mjs";
import { fuzz } from "./common.mjs";

const { Failure, modelBytes, readModel } = await commandModules("failure", "model");
const { adam, cnf, hamiltonian, load, loadStateDict, loadTensors, memoryUsage, mlp, save, saveTensors, sgd } = api;

/** The files that are damaged, each with what else a reader has to know. */
function originals() {
  const plain = mlp({ widths: [2, 4, 2], seed: 1 });
  const gated = mlp({ widths: [2, 4, 3, 2], time: "concatsquash", dtype: "float64", activation: "silu", seed: 2 });
  const flow = cnf({ network: { widths: [2, 3, 2] }, trace: "hutchinson", noise: "gaussian", kinetic: true });
  flow.setNoise(Float32Array.of(1, -0.5, 0.25, 2));
  const grid = hamiltonian({ energy: { widths: [3, 3, 1] }, structure: "laplacian", points: 5, spacing: 0.5 });
  const system = hamiltonian({ energy: { widths: [2, 3, 1] }, structure: [0, 1, -1, -0.1] });
  const half = { dtype: "F16", shape: [4, 2], data_offsets: [0, 16] };
  const module = {
    "fc1.weight": half,
    "fc1.bias": { dtype: "BF16", shape: [4], data_offsets: [16, 24] },
    "fc2.weight": { dtype: "F32", shape: [2, 4], data_offsets: [24, 56] },
    "fc2.bias": { dtype: "F32", shape: [2], data_offsets: [56, 64] },
    num_batches_tracked: { dtype: "I64", shape: [], data_offsets: [64, 72] },
  };
  return [
    save(plain, { optimizer: adam(plain), metadata: { note: "of mine" }, tensors: { mine: tensor(3) } }),
    save(gated, { optimizer: sgd(gated, { momentum: 0.9 }) }),
    save(flow, { optimizer: adam(flow) }),
    save(grid),
    save(system),
    assembled({ header: module, data: new Uint8Array(72).fill(1) }),
    new Uint8Array(readFileSync(new URL("../files/sequential.safetensors", import.meta.url))),
    trained(plain),
  ];
}

const tensor = (length) => ({ shape: [length], data: new Float32Array(length).fill(0.5) });

/** As the command writes it in the middle of a training. */
function trained(network) {
  const units = { log: [false, true], mean: [0, 1], scale: [1, 2], timeScale: 0.5, lag: 0, origin: 0, spread: 1 };
  const columns = { time: "t", clock: "number", id: null, state: ["x", "y"] };
  const solver = {
    solver: "dopri5",
    rtol: 1e-4,
    steps: 100,
    learningRate: 0.01,
    weightDecay: 0,
    batch: 64,
    window: null,
  };
  const more = { seed: 0, validation: 0.2, patience: 0, delays: 0, lag: null, extra: 0, withTime: false, period: null };
  const settings = { model: "mlp", hidden: [4], activation: "tanh", ...solver, ...more };
  const data = { sha256: "", trajectories: 1, observations: 9 };
  const description = { ...columns, units, settings, format: {}, data, best: null, finished: null };
  const best = { step: 3, validation: 0.5, parameters: network.parameters.slice() };
  return modelBytes(network, description, { optimizer: adam(network), best });
}

/** A file as its header, an object, and what follows. */
function taken(bytes) {
  const length = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  return { header: JSON.parse(new TextDecoder().decode(bytes.subarray(8, length))), data: bytes.subarray(length) };
}

function assembled({ header, data }) {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

const ODDITIES = [
  ...[
    null,
    true,
    false,
    0,
    -0,
    1,
    -1,
    2,
    3,
    5,
    0.5,
    1e9,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    1e300,
    -1e300,
    "",
    "x",
    "0",
    [],
    {},
    [[]],
  ],
  ...[[2], [2, 4], [2, 4, 2], [2 ** 16, 2 ** 16], [0, 8], [8, 16], [1e300, 1], Array(2000).fill(1), "a".repeat(1000)],
  ...[
    "F16",
    "BF16",
    "F32",
    "F64",
    "I64",
    "U8",
    "BOOL",
    "F8_E4M3",
    "float32",
    "float64",
    "tanh",
    "sin",
    "none",
    "concat",
  ],
  ...[
    "mlp",
    "cnf",
    "hamiltonian",
    "custom",
    "adam",
    "sgd",
    "__proto__",
    "constructor",
    "symplectic-adjoint",
    "canonical",
  ],
  ...["0.weight", "2.weight", "fc1.weight", "fc3.bias", "optimizer.second_moment", "noise", "\u0000", "\ud800", "é"],
  ...[{ length: 1e9 }, { widths: [2, 4, 2] }, { kind: "mlp", options: { widths: [2, 4, 2] } }],
];

/** Changes something in an object, wherever in it. */
function altered(random, value) {
  const keys = value !== null && typeof value === "object" ? Object.keys(value) : [];
  if (keys.length === 0 || random.chance(0.1)) return random.pick(ODDITIES);
  const key = random.pick(keys);
  const own = value[key];
  // Texts that are objects themselves.
  const inner = typeof own === "string" && own.startsWith("{") && random.chance(0.9) ? parsed(own) : undefined;
  if (inner !== undefined) return { ...value, [key]: JSON.stringify(altered(random, inner)) };
  const copy = Array.isArray(value) ? [...value] : { ...value };
  const kind = random.below(8);
  if (kind === 0) delete copy[key];
  else if (kind === 1) copy[random.pick([...keys, ...ODDITIES.filter((odd) => typeof odd === "string")])] = own;
  else if (kind === 2) copy[key] = copy[random.pick(keys)];
  else copy[key] = altered(random, own);
  return copy;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function damaged(random, bytes) {
  const kind = random.below(8);
  if (kind < 4) {
    let { header, data } = taken(bytes);
    for (let edits = 1 + random.below(2); edits > 0; edits--) header = altered(random, header);
    if (random.chance(0.1)) data = data.subarray(0, random.below(data.length + 1));
    return assembled({ header, data });
  }
  const given = Uint8Array.from(bytes);
  const head = 8 + Number(new DataView(given.buffer).getBigUint64(0, true));
  for (let edits = 1 + random.below(4); edits > 0; edits--) {
    const at = random.chance(kind === 7 ? 0.5 : 0) ? random.below(head) : head + random.below(given.length - head);
    given[at] = random.chance(0.5) ? given[at] ^ (1 << random.below(8)) : random.below(256);
  }
  return kind > 4 ? given : given.subarray(0, random.below(given.length + 1));
}

/** What may be thrown for a file; numbers that are finite may still lead to some that are not. */
const CODES = ["FILE", "OPTION", "NON_FINITE"];
function attempt(body, codes = CODES) {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof Failure)) {
      assert.equal(error.name, "SymplecticAdjointError", error.stack);
      assert.ok(codes.includes(error.code), `${error.code}: ${error.message}`);
    }
    assert.ok(error.message.length < 20_000, "a message that can be read");
    return undefined;
  }
}

/** Uses all that a field has. */
function use(field, optimizer) {
  if (field.stateSize > 10_000) return;
  const array = field.dtype === "float32" ? Float32Array : Float64Array;
  field.evaluate(0, new array(field.stateSize).fill(0.5));
  optimizer?.step(new array(field.parameters.length).fill(0.25));
  if (field.outputSize === field.stateSize) save(field, optimizer && { optimizer });
}

/** What has been saved with numbers of any kind in it loads, or was refused before anything was written. */
function poisoned(random) {
  const field = mlp({ widths: [2, 3, 2], seed: 4, dtype: random.pick(["float32", "float64"]) });
  const optimizer = random.pick([adam, (own) => sgd(own, { momentum: 0.5 })])(field);
  const values = [0, -0, 1, -1, 1e-45, 3e38, -3e38, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let edits = random.below(3); edits > 0; edits--) {
    const numbers = random.pick([field.parameters, optimizer.state]);
    numbers[random.below(numbers.length)] = random.pick(values);
  }
  const bytes = attempt(() => save(field, { optimizer }), ["NON_FINITE", "OPTION"]);
  if (bytes) {
    const loaded = load(bytes);
    assert.deepEqual(loaded.field.parameters, field.parameters);
    assert.deepEqual(loaded.optimizer?.state, optimizer.state);
    assert.deepEqual(save(loaded.field, { optimizer: loaded.optimizer }), bytes);
    loaded.optimizer?.dispose();
    loaded.field.dispose();
  }
  optimizer.dispose();
  field.dispose();
}

const files = originals();
const target = mlp({ widths: [2, 4, 2] });
const { liveBytes } = memoryUsage();
const counts = { usable: 0, refused: 0 };
const { count, seconds } = await fuzz(api, "files", { count: 20_000 }, (random) => {
  const bytes = damaged(random, random.pick(files));
  const tensors = attempt(() => loadTensors(bytes), ["FILE"]);
  if (tensors) saveTensors(Object.fromEntries(tensors.tensors), Object.fromEntries(tensors.metadata));
  const model = attempt(() => load(bytes, random.chance(0.5) ? {} : { activation: "tanh" }));
  counts[model ? "usable" : "refused"]++;
  // SHAPE: noise of a flow is for a batch of its own.
  if (model) attempt(() => use(model.field, model.optimizer), ["NON_FINITE", "OPTION", "SHAPE"]);
  model?.optimizer?.dispose();
  model?.field.dispose();
  attempt(() => loadStateDict(target, bytes));
  assert.ok(target.parameters.every(Number.isFinite));
  const own = attempt(() => readModel({ name: "model.safetensors", bytes }));
  if (own) attempt(() => modelBytes(own.network, own.description, own.optimizer && own), ["NON_FINITE", "OPTION"]);
  own?.optimizer?.dispose();
  own?.network.dispose();
  if (random.chance(0.1)) poisoned(random);
  assert.equal(memoryUsage().liveBytes, liveBytes, "nothing is left in memory");
});
assert.ok(count < 1000 || (counts.usable > count / 20 && counts.refused > count / 20));
console.log(`${count} files in ${seconds.toFixed(0)} s: ${JSON.stringify(counts)}`);
