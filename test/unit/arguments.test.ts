// Invalid arguments of every kind: each throws a SymplecticAdjointError that names the argument, what was expected and what was
// given, and costs no more than it takes to say so.
import { inspect } from "node:util";
import { runInNewContext } from "node:vm";
import {
  adam,
  type CnfField,
  cnf,
  cosineDecay,
  custom,
  differentiable,
  driven,
  equations,
  exponentialDecay,
  type Field,
  fit,
  flow,
  hamiltonian,
  init,
  kernelPeak,
  leastSquares,
  load,
  loadStateDict,
  loadTensors,
  meanSquaredError,
  memoryUsage,
  minibatches,
  mlp,
  odeint,
  type Pool,
  parallel,
  SymplecticAdjointError,
  save,
  saveTensors,
  sgd,
  solver,
  train,
  type Value,
  valueAndGrad,
  vectorField,
  vjp,
  warmUp,
} from "symplectic-adjoint";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ALIASES, ALTERNATIVES, IMPLICIT_METHODS, VALUE_ALIASES } from "../../ts/checks/aliases.js";
import { errorFromRust } from "../../ts/engine/call.js";
import { solves } from "../../ts/engine/live-objects.js";
import { collectGarbage, thrown } from "./helpers.js";

const field = mlp({ widths: [2, 4, 2] });
const density: CnfField<"float32"> = cnf({ network: { widths: [2, 4, 2] } });
const model = flow({ blocks: [density] });
const optimizer = adam(field);
const y0 = Float32Array.of(1, 0);
const times = [0, 1];
const w = new Float32Array(4);
const batch = { y0, times, target: new Float32Array(4) };
const training = { field, optimizer, data: [batch], steps: 1 };
const square = {
  evaluate: (_: number, y: Float32Array) => y,
  vjp: (_: number, __: unknown, w: Float32Array) => ({ y: w }),
};
const loss = <Y>(y: Y) => ({ value: 0, cotangent: y });

let pool: Pool;
beforeAll(async () => {
  pool = await parallel({ workers: 1 });
});
afterAll(() => pool.close());

/** An array whose memory has been transferred. */
function detached<A extends Float32Array | Float64Array | Uint8Array>(array: A): A {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
  return array;
}

function revoked<T extends object>(target: T): T {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

/** Calls with an invalid value, and the argument that the error names. */
type Call = [argument: string | RegExp, call: (value: never) => unknown];

const OPTIONS: Call[] = [
  ["options", (value) => odeint(field, y0, times, value)],
  ["options", (value) => vjp(field, y0, times, value)],
  ["options", (value) => valueAndGrad(field, y0, times, loss, value)],
  ["adjoint", (value) => vjp(field, y0, times, { gradient: "adjoint", adjoint: value })],
  ["options", (value) => mlp(value)],
  ["options", (value) => cnf(value)],
  ["options", (value) => hamiltonian(value)],
  ["options", (value) => custom(value)],
  ["options", (value) => driven(field, value)],
  ["options", (value) => flow(value)],
  ["options", (value) => model.logDensity(y0, value)],
  ["options", (value) => model.sample(1, 0, value)],
  ["options", (value) => model.valueAndGrad(y0, value)],
  ["options", (value) => model.valueAndGradIn(pool, y0, value)],
  ["options", (value) => adam(field, value)],
  ["options", (value) => sgd(field, value)],
  ["options", (value) => exponentialDecay(1, value)],
  ["options", (value) => cosineDecay(1, value)],
  ["options", (value) => minibatches(value)],
  ["options", (value) => train(value)],
  ["options", (value) => fit(value)],
  ["validation", (value) => fit({ ...training, validation: value })],
  ["signal", (value) => fit({ ...training, signal: value })],
  ["pool", (value) => fit({ ...training, pool: value })],
  ["data", (value) => fit({ ...training, data: value })],
  ["options", (value) => save(field, value)],
  ["metadata", (value) => save(field, { metadata: value })],
  ["tensors", (value) => saveTensors(value)],
  ["tensors.a", (value) => saveTensors({ a: value })],
  ["options", (value) => load(save(field), value)],
  ["options", (value) => loadStateDict(field, save(field), value)],
  ["options", (value) => parallel(value)],
  ["options", (value) => pool.odeint(field, y0, times, value)],
  ["options", (value) => pool.vjp(field, y0, times, value)],
  ["options", (value) => pool.valueAndGrad(field, y0, times, loss, value)],
  ["options", (value) => init(value)],
  ["options", (value) => kernelPeak(value)],
];

const FIELDS: Call[] = [
  ["field", (value) => odeint(value, y0, times)],
  ["field", (value) => vjp(value, y0, times)],
  ["field", (value) => driven(value, { B: [1, 0], u: () => [0] })],
  ["field", (value) => adam(value)],
  ["field", (value) => save(value)],
  ["field", (value) => loadStateDict(value, save(field))],
  ["field", (value) => pool.odeint(value, y0, times)],
  ["field", (value) => pool.vjp(value, y0, times)],
  ["field", (value) => pool.valueAndGrad(value, y0, times, loss)],
  ["field", (value) => fit({ ...training, field: value })],
  ["blocks[0]", (value) => flow({ blocks: [value] })],
];

const LISTS: Call[] = [
  ["times", (value) => odeint(field, y0, value)],
  ["times", (value) => pool.odeint(field, y0, value)],
  ["mask", (value) => meanSquaredError(y0, y0, value)],
  ["B", (value) => driven(field, { B: value, u: () => [0] })],
  ["structure.J", (value) => hamiltonian({ energy: { widths: [2, 4, 1] }, structure: { J: value, R: [0, 0, 0, 0] } })],
  ["trajectories[0].times", (value) => minibatches({ trajectories: [{ times: value, values: [1, 2] }] })],
  ["data[0].times", (value) => fit({ ...training, data: [{ ...batch, times: value }] })],
  ["data[0].mask", (value) => fit({ ...training, data: [{ ...batch, mask: value }] })],
];

const ARRAYS: Call[] = [
  ["y0", (value) => odeint(field, value, times)],
  ["y0", (value) => pool.odeint(field, value, times)],
  ["cotangent", (value) => vjp(field, y0, times).pullback(value)],
  ["y", (value) => field.evaluate(0, value)],
  ["w", (value) => field.vjp(0, y0, value)],
  ["parameters", (value) => field.evaluate(0, y0, value)],
  ["parameters", (value) => custom({ ...square, stateSize: 2, parameters: value } as never)],
  ["gradient", (value) => optimizer.step(value)],
  ["noise", (value) => density.setNoise(value)],
  ["x", (value) => model.logDensity(value)],
  ["y", (value) => meanSquaredError(value, y0)],
  ["data[0].target", (value) => fit({ ...training, data: [{ ...batch, target: value }] })],
  ["tensors.a.data", (value) => saveTensors({ a: { shape: [2], data: value } })],
];

/** The error of a call, checked to say all that it should. */
async function refusal(argument: string | RegExp, call: () => unknown): Promise<SymplecticAdjointError> {
  let error: unknown;
  try {
    await call();
  } catch (thrown) {
    error = thrown;
  }
  expect(error, String(argument)).toBeInstanceOf(SymplecticAdjointError);
  const refused = error as SymplecticAdjointError;
  if (argument instanceof RegExp) expect(refused.argument, refused.message).toMatch(argument);
  else expect(refused.argument?.startsWith(argument), `${argument}: ${refused.message}`).toBe(true);
  expect(refused.expected?.length, refused.message).toBeGreaterThan(0);
  expect(refused.given?.length, refused.message).toBeGreaterThan(0);
  expect(refused.message).toContain(refused.given as string);
  expect(["OPTION", "SHAPE", "DTYPE", "NON_FINITE", "CALLBACK", "FILE"]).toContain(refused.code);
  return refused;
}

async function refuseAll(calls: Call[], values: Record<string, () => unknown>): Promise<void> {
  for (const [argument, call] of calls) {
    for (const value of Object.values(values)) await refusal(argument, () => call(value() as never));
  }
}

test("options that are no object", () =>
  refuseAll(OPTIONS, {
    null: () => null,
    zero: () => 0,
    one: () => 1,
    false: () => false,
    text: () => "fast",
    bigint: () => 1n,
    symbol: () => Symbol("options"),
    revoked: () => revoked({}),
  }));

test("options that inherit, and lists", () =>
  refuseAll(
    OPTIONS.filter(([argument]) => ["options", "adjoint", "validation"].includes(argument as string)),
    {
      "from a field": () => Object.create(field),
      "from options": () => Object.create({ seed: 1 }),
      "from those without a prototype": () => Object.create(Object.create(null)),
      list: () => [],
      map: () => new Map(),
      "of a class": () => new (class Options {})(),
      array: () => new Float32Array(2),
    },
  ));

test("options without a prototype, and of another realm", () => {
  const { y } = odeint(field, y0, times, { rtol: 1e-3 });
  const bare = Object.assign(Object.create(null), { rtol: 1e-3 });
  for (const options of [bare, runInNewContext("({ rtol: 1e-3 })"), Object.freeze({ rtol: 1e-3 })]) {
    expect(odeint(field, y0, times, options).y).toEqual(y);
    expect(odeint(field, y0, times, new Proxy(options, {})).y).toEqual(y);
  }
});

test("fields that are none, or made from one", () =>
  refuseAll(FIELDS, {
    undefined: () => undefined,
    null: () => null,
    number: () => 1,
    inherited: () => Object.create(field),
    proxy: () => new Proxy(field, {}),
    revoked: () => revoked(field),
    copy: () => ({ ...field }),
  }));

test("lists of numbers that are none", async () => {
  const before = process.memoryUsage().arrayBuffers;
  await refuseAll(LISTS, {
    null: () => null,
    "too long": () => ({ length: 2 ** 40 }),
    "long and empty": () => ({ length: 2 ** 28 }),
    fractional: () => ({ length: 1.5 }),
    negative: () => ({ length: -1 }),
    bigint: () => [0, 1n],
    symbol: () => [0, Symbol("one")],
    text: () => [0, "1"],
    // biome-ignore lint/suspicious/noSparseArray: that is the point
    sparse: () => [0, , 1],
    revoked: () => revoked([0, 1]),
    bigints: () => new BigInt64Array(2),
  });
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 26);
});

test("typed arrays that are none, of another type, or transferred", () =>
  refuseAll(ARRAYS, {
    null: () => null,
    list: () => [1, 0],
    integers: () => new Int32Array(2),
    bigints: () => new BigInt64Array(2),
    "as long as none": () => ({ length: 2 ** 40 }),
    transferred: () => detached(new Float32Array(2)),
    revoked: () => revoked(new Float32Array(2)),
  }));

test("numbers that are none", async () => {
  const numbers: Call[] = [
    ["rtol", (rtol) => odeint(field, y0, times, { rtol })],
    ["stepSize", (stepSize) => pool.odeint(field, y0, times, { stepSize })],
    ["widths[1]", (width) => mlp({ widths: [2, width, 2] })],
    ["seed", (seed) => mlp({ widths: [2, 2], seed })],
    ["stateSize", (stateSize) => custom({ ...square, stateSize } as never)],
    ["learningRate", (learningRate) => adam(field, { learningRate })],
    ["rate", (rate) => exponentialDecay(rate, { factor: 0.5 })],
    ["factor", (factor) => exponentialDecay(1, { factor })],
    ["steps", (steps) => warmUp(steps, 1)],
    ["count", (count) => model.sample(count)],
    ["kineticWeight", (kineticWeight) => model.valueAndGrad(y0, { kineticWeight })],
    ["clipNorm", (clipNorm) => fit({ ...training, clipNorm })],
    ["validation.every", (every) => fit({ ...training, validation: { data: [batch], every } })],
    ["batch", (batch) => minibatches({ trajectories: [{ times, values: [1, 2] }], batch })],
    ["workers", (workers) => parallel({ workers })],
    ["milliseconds", (milliseconds) => kernelPeak({ milliseconds })],
    ["t", (t) => field.evaluate(t, y0)],
    ["tensors.a.shape[0]", (side) => saveTensors({ a: { shape: [side], data: y0 } })],
    [/^loss's (value|result)/, (value) => valueAndGrad(field, y0, times, () => ({ value, cotangent: w }))],
  ];
  await refuseAll(numbers, {
    null: () => null,
    bigint: () => 1n,
    symbol: () => Symbol("1"),
    text: () => "1",
    list: () => [1],
  });
});

test("lists that are no more than a length", async () => {
  const widths = new Array(2 ** 32 - 1);
  expect((await refusal("widths[0]", () => mlp({ widths }))).given).toBe("undefined");
  await refusal("tensors.a.shape[0]", () => saveTensors({ a: { shape: new Array(2 ** 32 - 1), data: y0 } }));
  await refusal("trajectories[0]", () => minibatches({ trajectories: new Array(2 ** 32 - 1) }));
  await refusal("blocks[0]", () => flow({ blocks: new Array(2 ** 32 - 1) }));
  await refusal("data[0]", () => fit({ ...training, data: new Array(2 ** 32 - 1) }));
  await refusal("widths", () => mlp({ widths: { length: 2 ** 40 } as never }));
  const tableau = { c: [0], a: [[]], b: [1], order: 1 };
  const long = (...first: unknown[]): never => Object.assign(first, { length: 2 ** 27 }) as never;
  const solve = (changed: object) => odeint(field, y0, times, { method: { ...tableau, ...changed } });
  expect((await refusal("method.a", () => solve({ a: long([]) }))).given).toBe(String(2 ** 27));
  for (const name of ["c", "b", "bHat"]) await refusal(`method.${name}`, () => solve({ [name]: long(0) }));
  await refusal("method.a[1]", () => solve({ c: [0, 1], a: [[], long(1)], b: [0.5, 0.5] }));
  await refusal("method.a[0]", () => solve({ a: new Array(1) }));
  await refusal("method.b", () => solve({ b: new Float64Array(33) }));
  const data = { times: [1], y: [1, 0], y0: [1, 0] };
  const system = equations("x' = -x \n v' = x", { dtype: "float64" });
  await refusal("observe[1]", () => leastSquares({ field: system, data, observe: long("x") }));
  const { expected } = await refusal("data[1]", () => leastSquares({ field: system, data: long(data) }));
  expect(expected).toMatch(/times, y, y0/);
  const own = (slope: unknown) => () => vectorField({ state: 1, slope: () => slope as never });
  const last = Object.assign(long(1) as unknown[], { [2 ** 27 - 1]: 1 });
  await refusal("slope's result[1]", own(last));
  const rows = Object.assign(long([1]) as unknown[], { [2 ** 27 - 1]: [1] });
  await refusal("parameters.rows[1]", () =>
    vectorField({ state: 1, parameters: { rows: rows as number[][] }, slope: ({ state }) => state }),
  );
});

test("methods called on an object made from another", async () => {
  const own = (object: object) => Object.create(object);
  await refusal("this", () => own(field).evaluate(0, y0));
  await refusal("this", () => own(field).vjp(0, y0, y0));
  await refusal("this", () => own(field).parameters);
  await refusal("this", () => own(field).dispose());
  await refusal("this", () => own(density).setNoise(y0));
  await refusal("this", () => own(density).seedNoise(1));
  await refusal("this", () => own(optimizer).step(field.parameters.slice()));
  await refusal("this", () => own(optimizer).state);
  await refusal("this", () => own(optimizer).dispose());
  await refusal("this", () => own(model).logDensity(y0));
  await refusal("this", () => own(model).valueAndGradIn(pool, y0));
  await refusal("this", () => own(pool).odeint(field, y0, times));
  await refusal("this", () => own(pool).valueAndGrad(field, y0, times, loss));
  await refusal("this", () => own(pool).close());
});

/** What only the package itself uses. */
const INTERNAL = ["packArguments", "nameArguments", "copyArguments", "argumentWidths", "argumentSize"];

test("whatever fields, functions and solvers have is asked of themselves", () => {
  const square = differentiable({ inputs: { x: "scalar" }, apply: ({ inputs }) => inputs.x.mul(inputs.x) });
  let refused = 0;
  for (const object of [decay, density, square, solver(field, y0, 0)]) {
    for (const other of [Object.create(object), new Proxy(object, {})]) {
      for (let of = Object.getPrototypeOf(object); of !== Object.prototype; of = Object.getPrototypeOf(of)) {
        for (const [name, { get, value }] of Object.entries(Object.getOwnPropertyDescriptors(of))) {
          if (INTERNAL.includes(name) || name === "constructor") continue;
          try {
            if (get) get.call(other);
            else (value as (...given: unknown[]) => unknown).call(other, 0, y0, {});
          } catch (error) {
            expect(error, name).toMatchObject({ name: "SymplecticAdjointError" });
            refused++;
          }
        }
      }
    }
  }
  expect(refused).toBeGreaterThan(80);
});

test("files that are none, transferred, or beyond 4 GiB", async () => {
  for (const value of [
    null,
    [1],
    "file",
    new Float32Array(1),
    detached(new Uint8Array(8)),
    revoked(new Uint8Array(8)),
  ]) {
    await refusal("bytes", () => loadTensors(value as never));
    await refusal("bytes", () => load(value as never));
  }
  // Memory that is never written to is never there.
  const large = new Uint8Array(2 ** 32);
  const { code, expected } = await refusal("bytes", () => loadTensors(large));
  expect([code, expected]).toEqual(["FILE", "a file of less than 4 GiB"]);
  const half = new Float32Array(large.buffer, 0, 2 ** 29);
  const tensor = { shape: [2 ** 29], data: half };
  await refusal("tensors", () => saveTensors({ a: tensor, b: tensor }));
});

test("what is expected of arrays without a field names none", async () => {
  const expected = async (call: (value: never) => unknown) => (await refusal(/./, () => call(null as never))).expected;
  expect(await expected((value) => meanSquaredError(value, value))).toBe("a Float32Array or a Float64Array");
  expect(await expected((value) => meanSquaredError(y0, value))).toBe("a Float32Array, as y is");
  expect(await expected((value) => odeint(field, value, times))).toBe("a Float32Array, for a float32 field");
});

test("each option is read once", () => {
  let reads = 0;
  const options = {
    get rtol() {
      reads++;
      return reads === 1 ? 1e-3 : -1;
    },
  };
  expect(odeint(field, y0, times, options).stats.rtol).toBe(1e-3);
  expect(reads).toBe(1);
});

test("nothing is left of what was refused", async () => {
  await collectGarbage();
  const before = memoryUsage().liveBytes;
  await refuseAll(
    [...OPTIONS, ...FIELDS].filter(([, call]) => !String(call).includes("pool")),
    { null: () => null },
  );
  expect(memoryUsage().liveBytes).toBe(before);
});

const decay = equations("x' = -k * x", { parameters: { k: 1 } });
const decayed = { times: [1, 2], y: [0.4, 0.1], y0: [1], t0: 0 };

/** What a name is taken for by functions that have an option of the name that is meant. */
const NAMED: Record<string, (options: object) => unknown> = {
  solve: (options) => odeint(field, y0, times, options),
  adam: (options) => adam(field, options),
  mlp: (options) => mlp({ widths: [2, 2], ...options }),
  train: (options) => fit({ ...training, ...options }),
  validation: (options) => fit({ ...training, validation: { data: [batch], ...options } }),
  decay: (options) => cosineDecay(1, { steps: 1, ...options }),
  exponential: (options) => exponentialDecay(1, { factor: 1, ...options }),
  minibatches: (options) => minibatches({ trajectories: [{ times, values: [1, 2] }], ...options }),
  estimation: (options) => leastSquares({ field, data: {}, ...options } as never),
  measurements: (options) => leastSquares({ field: decay, data: { ...decayed, ...options } } as never),
  bounds: (options) => leastSquares({ field: decay, data: decayed, parameters: { k: options } } as never),
  prior: (options) => leastSquares({ field: decay, data: decayed, parameters: { k: { prior: options } } } as never),
  field: (options) => vectorField({ state: 1, slope: ({ state }: { state: Value }) => state, ...options } as never),
  event: (options) => odeint(decay, Float32Array.of(1), times, { events: [{ when: "x", ...options }] }),
};

test.for(Object.entries(ALIASES))("%s is taken for another name", async ([alias, meant]) => {
  const messages: string[] = [];
  for (const call of Object.values(NAMED)) {
    const error = await refusal(/./, () => call({ [alias]: null }));
    messages.push(error.message);
  }
  expect(messages.join("\n")).toMatch(new RegExp(`did you mean (${meant.join("|")})\\?`));
});

test.for(Object.entries(ALTERNATIVES))("%s has a hint at what does it instead", async ([name, hint]) => {
  const errors = ["solve", "adam"].map((call) => refusal(name, () => NAMED[call]?.({ [name]: 1 })));
  const messages = (await Promise.all(errors)).map(({ message }) => message);
  expect(messages.join("\n")).toContain(`; ${hint}. The options are `);
});

/** Functions with an option that is one of several names. */
const VALUED: Record<string, (value: never) => unknown> = {
  method: (method) => odeint(field, y0, times, { method }),
  gradient: (gradient) => vjp(field, y0, times, { gradient }),
  controller: (controller) => odeint(field, y0, times, { controller }),
  output: (output) => odeint(field, y0, times, { output }),
  batching: (batching) => odeint(field, y0, times, { batching }),
  activation: (activation) => mlp({ widths: [2, 2], activation }),
  dtype: (dtype) => mlp({ widths: [2, 2], dtype }),
  loss: (loss) => leastSquares({ field: decay, data: {} as never, loss }),
};

test.for(Object.entries(VALUE_ALIASES))("the value %s is taken for another one", async ([alias, meant]) => {
  const messages: string[] = [];
  for (const call of Object.values(VALUED)) {
    messages.push((await refusal(/./, () => call(alias as never))).message);
  }
  expect(messages.join("\n")).toMatch(new RegExp(`did you mean (${meant.join("|")})\\?`));
});

test.for(IMPLICIT_METHODS)("%s is known to be implicit", async (method) => {
  const { message, given } = await refusal("method", () => odeint(field, y0, times, { method: method as never }));
  expect(message).toMatch(
    /; all methods here are explicit: take dopri5, the default, if the problem is not very stiff$/,
  );
  expect(given).toBe(JSON.stringify(method));
});

test.for([
  "BDF",
  "LSODA",
  "Radau",
  "Kvaerno5()",
  "Rodas5P",
  "implicit_adams",
  "AutoTsit5(Rosenbrock23())",
  "CVODE_BDF",
])("%s is, however it is written", async (method) => {
  const { message } = await refusal("method", () => odeint(field, y0, times, { method: method as never }));
  expect(message).toMatch(/all methods here are explicit/);
});

test("a number for the direction of an event", async () => {
  const meant = async (direction: unknown) => {
    const event = { when: "x", direction: direction as never };
    const call = () => odeint(decay, Float32Array.of(1), times, { events: [event] });
    const { message } = await refusal("events[0].direction", call);
    return message.replace("events[0].direction: expected one of both, rising, falling, given ", "");
  };
  expect(await meant(-1)).toBe("-1; did you mean falling?");
  expect(await meant(1)).toBe("1; did you mean rising?");
  expect(await meant(0)).toBe("0; did you mean both?");
  expect(await meant(2)).toBe("2");
});

test("numbers and lists where typed arrays are wanted: what to write", async () => {
  const given = async (y0: unknown, of: Field = field as Field) =>
    (await refusal("y0", () => odeint(of, y0 as never, times))).message.replace(/^.*, given /, "");
  const double = mlp({ widths: [2, 2], dtype: "float64" }) as Field;
  expect(await given([1, 0])).toBe("Array of length 2; write Float32Array.of(…), or Float32Array.from(list)");
  expect(await given([1, 0], double)).toBe("Array of length 2; write Float64Array.of(…), or Float64Array.from(list)");
  expect(await given([[1, 0]])).toBe("Array of length 1; write Float32Array.from(rows.flat())");
  expect(await given(1)).toBe("1; write Float32Array.of(1)");
  expect(await given(y0, double)).toBe("Float32Array of length 2; write Float64Array.from(…)");
  expect(await given({ x: 1 })).toBe("an object with x");
  expect(await given(new (class {})())).toBe("a value of kind Object");
  expect(await given(field)).toBe("mlp field (2 → 4 → 2, float32, 22 parameters)");
  expect((await refusal("bytes", () => load([1] as never))).message).not.toContain("write");
});

test("what to write instead", async () => {
  const says = async (argument: string | RegExp, call: () => unknown) => (await refusal(argument, call)).message;
  const doubles = Float64Array.of(1, 0);
  expect(await says("y0", () => odeint(field, doubles as never, times))).toMatch(
    /; write Float32Array.from\(…\), or make the field with dtype: "float64"$/,
  );
  const residuals = () => [1];
  expect(await says("residuals", () => leastSquares({ field: decay, data: decayed, residuals } as never))).toContain(
    "leave out field, or residuals",
  );
  expect(await says("options", () => leastSquares(residuals as never))).toContain(
    "given a function; write leastSquares({ residuals, parameters })",
  );
  const later = async () => {
    throw new Error("nobody waits for it");
  };
  const derived = () => ({ residuals: [1], jacobian: later });
  expect(
    await says("residuals' jacobian", () => leastSquares({ residuals: derived as never, parameters: { a: 1 } })),
  ).toMatch(/numbers at once, as residuals are returned at once, given a Promise: is it an async function\?$/);
  expect(await says("workerUrl", () => parallel({ workerUrl: "" }))).toBe('workerUrl: expected a URL, given ""');
  const slope = ({ state }: { state: Value }) => state;
  expect(await says("state", () => vectorField({ state: 2 ** 21 + 1, slope }))).toMatch(/an integer from 1 to 2097152/);
  for (const read of [load, loadTensors, (bytes: Uint8Array) => loadStateDict(field, bytes)]) {
    const { argument, message } = thrown("FILE", () => read(new Uint8Array(3)));
    expect([argument, message]).toEqual(["bytes", expect.stringContaining("not a safetensors file")]);
  }
  const nameless = vectorField({ state: 2, slope });
  expect(await says("events[0].when", () => odeint(nameless, y0, times, { events: [{ when: "x" }] }))).toContain(
    "a function, as the states of the field have no names",
  );
  expect(String(nameless)).toContain("0 parameters");
  expect(String(decay)).toContain("1 parameter)");
  const infinite = () => odeint(field, Float32Array.of(1, Number.NEGATIVE_INFINITY), times);
  expect(thrown("NON_FINITE", infinite).message).toContain("given -Infinity at index 1");
});

test("memory that runs out: what to make smaller, or to dispose of", () => {
  const message = (purpose: string) =>
    errorFromRust({ code: "OUT_OF_MEMORY", message: `could not allocate 9 bytes for ${purpose}; use a smaller batch` })
      .message;
  expect(message("tape")).toBe("could not allocate 9 bytes for tape; use a smaller batch");
  expect(message("network")).toBe("could not allocate 9 bytes for network; use smaller widths");
  const warn = console.warn;
  console.warn = () => {};
  const alive = Array.from({ length: 101 }, () => ({}));
  for (const solve of alive) solves.add(solve, 2 ** 23);
  console.warn = warn;
  expect(message("tape")).toMatch(/tape; 1\d\d recorded solves of vjp are alive and hold 8\d\d MiB, .*: dispose\(\)/);
  for (const solve of alive) solves.remove(solve);
  expect(message("tape")).toBe("could not allocate 9 bytes for tape; use a smaller batch");
});

test("dates as times", async () => {
  const dates = [new Date(0), new Date(1000)] as never;
  expect((await refusal("times", () => odeint(field, y0, dates))).message).toBe(
    "times: expected an array of numbers, given dates",
  );
  const trajectories = [{ times: dates, values: [1, 2] }];
  expect((await refusal("trajectories[0].times", () => minibatches({ trajectories }))).given).toMatch(/a date/);
});

test("an optimizer of another field", async () => {
  const other = mlp({ widths: [2, 4, 2] });
  expect((await refusal("optimizer", () => fit({ ...training, field: other }))).given).toBe(
    "one made for another field",
  );
});

test.for([
  ["method", "Dopri5", "dopri5"],
  ["method", "Tsit5()", "tsit5"],
  ["method", "RK45", "dopri5"],
  ["method", "dorpi5", "dopri5"],
  ["method", "adaptive-heun", "adaptive_heun"],
  ["method", "dopri", "dopri5"],
  ["method", "radau", undefined],
  ["method", "Vern9()", "dopri8"],
  ["method", "rk9", undefined],
  ["dtype", "float16", undefined],
  ["method", "x".repeat(10_000), undefined],
  ["gradient", "Adjoint", "adjoint"],
  ["gradient", "simplectic", "symplectic"],
  ["controller", "PID", "pid"],
  ["output", "interpolated", "interpolate"],
  ["batching", "independant", "independent"],
  ["activation", "ReLU", "relu"],
  ["dtype", "Float64", "float64"],
  ["loss", "soft_l1", "softL1"],
] as const)("%s: %s is taken for %s", async ([option, value, meant]) => {
  const { message, given } = await refusal(option, () => VALUED[option]?.(value as never));
  expect(/did you mean (.*)\?/.exec(message)?.[1]).toBe(meant);
  expect(given).not.toContain("did you mean");
});

test.for([
  ["solve", "rtoll", "rtol"],
  ["solve", "ouptut", "output"],
  ["solve", "gradients", "gradient"],
  ["adam", "lerningRate", "learningRate"],
  ["mlp", "activations", "activation"],
  ["train", "shedule", "schedule"],
  ["estimation", "observed", "observe"],
  ["solve", "colour", undefined],
] as const)("%s: the option %s is taken for %s", async ([call, name, meant]) => {
  const { message } = await refusal(name, () => NAMED[call]?.({ [name]: 1 }));
  expect(/did you mean (.*)\?/.exec(message)?.[1]).toBe(meant);
});

test.for([
  ...([
    ["min_step", "minStep"],
    ["max_step", "maxStep"],
    ["first_step", "firstStep"],
    ["step_size", "stepSize"],
  ] as const),
  ...([
    ["max_num_steps", "maxSteps"],
    ["max_steps", "maxSteps"],
    ["reltol", "rtol"],
    ["abstol", "atol"],
  ] as const),
  ...([
    ["dt0", "firstStep"],
    ["dt", "stepSize"],
    ["solver", "method"],
    ["RTOL", "rtol"],
    ["dtmax", "maxStep"],
    ["gamma", "safety"],
    ["event_fn", "events"],
    ["pcoeff", "controller"],
    ["args", "arguments"],
  ] as const),
])("%s is %s in a solve", async ([name, meant]) => {
  const error = await refusal(name, () => odeint(field, y0, times, { [name]: 1 }));
  expect(error.message).toContain(`did you mean ${meant}?`);
});

test.for([
  ...([
    ["lr", "learningRate"],
    ["learning_rate", "learningRate"],
    ["weight_decay", "weightDecay"],
  ] as const),
  ...([
    ["eps", "epsilon"],
    ["b1", "beta1"],
    ["b2", "beta2"],
    ["betas", "beta1"],
    ["beta_1", "beta1"],
  ] as const),
])("%s is %s in an optimizer", async ([name, meant]) => {
  const error = await refusal(name, () => adam(field as Field<"float32">, { [name]: 0.5 }));
  expect(error.message).toContain(`did you mean ${meant}?`);
});

test("what is given for a field, or instead of one, has a hint", async () => {
  const message = async (argument: string, call: () => unknown) => (await refusal(argument, call)).message;
  const asField = (given: unknown) => message("field", () => odeint(given as never, y0, times));
  expect(await asField((_t: number, y: Float32Array) => y)).toMatch(
    /; vectorField\(\{ state, slope \}\) makes a field/,
  );
  expect(await asField(load(save(field)))).toMatch(/; did you mean its field\?$/);
  expect(await asField(model)).toMatch(/given flow \(blocks: 1, features: \d\)$/);
  expect(await asField(adam(field))).toMatch(/given adam optimizer \(learning rate 0\.001, 0 steps taken\)$/);
  expect(await message("field", () => save("model.safetensors" as never, field as never))).toMatch(
    /given "model\.safetensors"$/,
  );
  const loss = (y: Float32Array) => y[0];
  expect(await message("loss's result", () => valueAndGrad(field, y0, times, loss as never))).toMatch(
    /given 1; loss\(\(\{ y, target \}\) => …\)\.of\(\{ target \}\) works it out$/,
  );
  expect(await message("epochs", () => fit({ ...training, epochs: 3 } as never))).toMatch(
    /write steps: 3 \* data\.length/,
  );
  for (const name of ["parameters", "params"]) {
    expect(await message(name, () => odeint(field, y0, times, { [name]: y0 }))).toMatch(/field\.parameters/);
  }
  const { signal } = new AbortController();
  expect(await message("signal", () => odeint(field, y0, times, { signal } as never))).toMatch(/progress/);
});

test("consoles show what fields and the like are", () => {
  const own = mlp({ widths: [2, 3, 2] });
  const lotka = equations("hare' = hare - lynx\nlynx' = lynx", { dtype: "float64" });
  const optimizer = sgd(own);
  for (const [object, text] of [
    [own, "mlp field (2 → 3 → 2, float32, 17 parameters)"],
    [lotka, "program field (hare, lynx, float64, 0 parameters)"],
    [driven(own, { B: [0, 1], u: () => [1] }), "driven field (state of 2, float32, 17 parameters)"],
    [optimizer, "sgd optimizer (learning rate 0.01, 0 steps taken)"],
    [solver(own, y0, 0), "solver (1 × 2, float32)"],
  ] as const) {
    expect(inspect(object)).toBe(text);
    expect(`${object}`).toBe(text);
  }
  own.dispose();
  optimizer.dispose();
  expect([own, optimizer].map((object) => inspect(object))).toEqual([
    "mlp field (2 → 3 → 2, float32, disposed)",
    "sgd optimizer (disposed)",
  ]);
  expect(inspect(Object.create(own))).toContain("an object made from one");
});
