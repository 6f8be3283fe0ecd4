// Hostile programs, as they come in model files: each is refused with a typed error, or runs, is solved and differentiated like
// others. None traps or loses the engine, on which a known gradient stays the same to the last bit, and nothing is left in memory.
// What crate/tests/hostile_programs.rs does natively, by way of the package.
import assert from "node:assert/strict";
import * as api from "../../dist/index.js";
import { fuzz } from "./common.mjs";

const { concat, dot, grad, load, memoryUsage, odeint, outer, save, valueAndGrad, vectorField, where } = api;

const UNARY =
  "neg abs sign exp expm1 log log1p sqrt sin cos tan asin acos atan sinh cosh tanh sigmoid softplus relu".split(" ");
const BINARY = "add sub mul div pow atan2 min max".split(" ");
const OTHERS = "normalCdf elu constant time parameter state argument select slice concat spread sum dense matvec".split(
  " ",
);
/** What the first element of a node may be, and what it must not be in a file. */
const NAMES = [
  ...UNARY,
  ...BINARY,
  ...OTHERS,
  "matvecTransposed",
  "outer",
  "gradient",
  "sumLanes",
  "data",
  "constants",
  "__proto__",
];
/** Every size that the crate has a limit at, and numbers that are none. */
const LARGE = [2 ** 32 - 1, 2 ** 32, 2 ** 53, 2 ** 63, 2 ** 24, 2 ** 24 - 1, 2 ** 16, 2 ** 31, 2 ** 21, 16_384];
const FRACTIONS = [-1, 0.5, 1e308, -1e308, 5e-324, -0, 1e300, 3];
const ODD = [null, "less", [], {}, true, [[[[]]]], "1", ""];

/** A field that a user may have written: of all operations, with parameters and arguments. */
function made(random) {
  const state = 1 + random.below(5);
  const dtype = random.pick(["float32", "float64"]);
  return vectorField({
    state,
    dtype,
    parameters: {
      k: Array.from({ length: 1 + random.below(6) }, () => random.uniform()),
      matrix: Array(state * state).fill(0.3),
    },
    arguments: random.chance(0.5) ? { w: 1 + random.below(2) } : {},
    slope: ({ t, state: y, parameters, arguments: own }) => {
      const { k, matrix } = /** @type {Record<string, any>} */ (parameters);
      const values = [y, t, k, ...Object.values(own), matrix.matvec(y)];
      // Where they have as many rows, or one.
      const fitting = (length) => random.pick(values.filter((value) => value.length === length || value.length === 1));
      for (let count = 3 + random.below(25); count > 0; count--) {
        const a = random.pick(values);
        const b = fitting(a.length);
        const kind = random.below(9);
        if (kind < 2) values.push(a[random.pick(UNARY)]());
        else if (kind < 5) values.push(a[random.pick(BINARY)](b));
        else if (kind === 5) values.push(where(a.less(b), a, random.uniform()));
        else if (kind === 6) values.push(a.slice(random.below(a.length)));
        else if (kind === 7 && a.length < 20) values.push(random.chance(0.5) ? concat(a, b) : a.roll(1));
        else if (a.length * b.length < 50)
          values.push(random.pick([a.sum(), dot(a, b), outer(a, b), outer(a, b).matvec(b)]));
      }
      if (random.chance(0.3)) values.push(grad(random.pick(values).sum(), y));
      return Array.from({ length: state }, (_, i) => y.at(i).add(random.pick(values).mean()));
    },
  });
}

/** An element of a node that is none of its own. */
function element({ below, pick }) {
  const kind = below(10);
  if (kind < 5) return below(12);
  if (kind === 5) return below(100);
  return pick([LARGE, FRACTIONS, [-1], ODD][kind - 6]);
}

/** Changes something in a program. */
function damage(random, program) {
  const { below, pick, chance } = random;
  const { nodes } = program;
  const index = below(nodes.length);
  const node = nodes[index];
  const kind = below(12);
  if (kind < 4) node[below(node.length)] = chance(0.2) ? pick(NAMES) : element(random);
  else if (kind < 6) node[1 + below(Math.max(1, node.length - 1))] = below(index + 1);
  else if (kind === 6) chance(0.5) ? node.push(element(random)) : node.pop();
  else if (kind === 7) [nodes[index], nodes[0]] = [nodes[0], node];
  else if (kind === 8) nodes.splice(index, 0, [...pick(nodes)]);
  else if (kind === 9 && nodes.length > 1) nodes.splice(index, 1);
  else if (kind === 10)
    program[pick(["version", "state", "parameters", "arguments", "nodes", "result"])] = element(random);
  else program.result = nodes.push([pick(NAMES), ...Array.from({ length: below(4) }, () => below(index + 1))]) - 1;
}

/** Changes some characters of a text. */
function scratched({ below, pick, chance }, text) {
  const characters = [...text];
  for (let edits = 1 + below(3); edits > 0; edits--) {
    characters.splice(below(characters.length), below(2), ...(chance(0.7) ? [pick('0123456789,[]-."e{}:')] : []));
  }
  return characters.join("");
}

/** A model file with its program damaged; mostly with as many parameters and arguments as that says it has. */
function hostile(random) {
  const field = made(random);
  const bytes = save(field);
  field.dispose();
  const length = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, length)));
  const model = JSON.parse(header.__metadata__["symplectic-adjoint"]);
  const { options } = model.field;
  if (random.chance(0.75)) {
    for (let edits = 1 + random.below(3); edits > 0 && isDamageable(options.program); edits--)
      damage(random, options.program);
  }
  const { parameters, arguments: own } = options.program;
  const fits = (size) => Number.isInteger(size) && size > 0 && size <= 2 ** 22;
  const isFitted = random.chance(0.9);
  if (isFitted && fits(own)) options.arguments = { w: own };
  let data = bytes.subarray(length);
  if (isFitted && fits(parameters) && parameters !== countOf(options.entries)) {
    options.entries = { k: { offset: 0, shape: [parameters] } };
    const size = options.dtype === "float32" ? 4 : 8;
    for (const name of Object.keys(header)) if (name !== "__metadata__") delete header[name];
    header.k = { dtype: size === 4 ? "F32" : "F64", shape: [parameters], data_offsets: [0, size * parameters] };
    data = new Uint8Array(size * parameters);
  }
  const text = JSON.stringify(model);
  header.__metadata__["symplectic-adjoint"] = random.chance(0.1) ? scratched(random, text) : text;
  const head = new TextEncoder().encode(JSON.stringify(header));
  const file = new Uint8Array(8 + head.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(head.length), true);
  file.set(head, 8);
  file.set(data, 8 + head.length);
  return { file, widths: options.arguments };
}

const isDamageable = ({ nodes }) =>
  Array.isArray(nodes) && nodes.length > 0 && nodes.every((node) => Array.isArray(node));
const countOf = (entries) =>
  Object.values(entries).reduce((sum, { shape }) => sum + shape.reduce((product, side) => product * side, 1), 0);

/** What may be thrown of a program; of one that runs, only for numbers that are not finite, or sizes that do not fit. */
function attempt(codes, body) {
  try {
    return body();
  } catch (error) {
    assert.equal(error.name, "SymplecticAdjointError", error.stack);
    assert.ok(codes.includes(error.code), `${error.code}: ${error.message}`);
    assert.ok(error.message.length < 20_000, "a message that can be read");
    return undefined;
  }
}

/** Evaluates, transposes, solves and differentiates, with arguments of these widths. */
function use(random, field, widths) {
  const { stateSize, outputSize, parameters, dtype } = field;
  if (Math.max(stateSize, outputSize, parameters.length, ...Object.values(widths)) > 2 ** 21) return;
  const batch = stateSize > 1000 ? 1 : random.pick([1, 5]);
  const array = dtype === "float32" ? Float32Array : Float64Array;
  const numbers = (length, value) => new array(length).map(value);
  const y0 = numbers(batch * stateSize, () => random.uniform());
  const own = Object.entries(widths).map(([name, width]) => [name, numbers(batch * width, () => 0.7)]);
  const args = own.length > 0 ? Object.fromEntries(own) : undefined;
  const value = attempt(["NON_FINITE"], () => field.evaluate(0.3, y0, undefined, args));
  if (value) assert.equal(value.length, batch * outputSize, "a value of another size");
  attempt(["NON_FINITE"], () =>
    field.vjp(
      0.3,
      y0,
      numbers(batch * outputSize, () => 1),
      undefined,
      args,
    ),
  );
  if (outputSize !== stateSize) return;
  const options = { ...(args && { arguments: args }), ...random.pick(SOLVERS) };
  const failures = ["NON_FINITE", "STEP_UNDERFLOW", "MAX_STEPS"];
  attempt(failures, () => odeint(field, y0, [0, 0.1], options));
  attempt(failures, () => valueAndGrad(field, y0, [0, 0.1], (y) => ({ value: 0, cotangent: y.fill(1) }), options));
}

const SOLVERS = [
  { method: "rk4", steps: 2 },
  { method: "dopri5", maxSteps: 20 },
  { method: "rk4", steps: 3, gradient: "symplectic" },
  { method: "bosh3", maxSteps: 20, batching: "independent" },
];

const isNative = api.engine().kind === "native";
const { liveBytes } = memoryUsage();
const counts = { usable: 0, refused: 0 };
const { count, seconds } = await fuzz(api, "programs", { count: 5_000, every: 250 }, (random) => {
  const { file, widths } = hostile(random);
  const field = attempt(["FILE", "OPTION", "NON_FINITE"], () => load(file).field);
  counts[field ? "usable" : "refused"]++;
  if (field) use(random, field, widths);
  field?.dispose();
  // Natively, what a view keeps until it is collected counts too.
  if (!isNative) assert.equal(memoryUsage().liveBytes, liveBytes, "nothing is left in memory");
});
assert.ok(count < 1000 || (counts.usable > count / 10 && counts.refused > count / 10), JSON.stringify(counts));
console.log(`${count} programs in ${seconds.toFixed(0)} s: ${JSON.stringify(counts)}`);
