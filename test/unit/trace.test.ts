// Traced functions: what each operation means, and what is said where one cannot be recorded.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { ErrorCode, SymplecticAdjointError } from "../../ts/checks/errors.js";
import { init } from "../../ts/engine/instance.js";
import { differentiable, traceFunction } from "../../ts/fields/differentiable.js";
import { equations } from "../../ts/fields/equations.js";
import { mlp } from "../../ts/fields/mlp.js";
import { packed, unpacked } from "../../ts/fields/packed.js";
import { fieldOf, readRecipe, recipeOf } from "../../ts/fields/registry.js";
import { trace, vectorField } from "../../ts/fields/vector-field.js";
import { load, save } from "../../ts/files/model.js";
import { loadStateDict } from "../../ts/files/state-dict.js";
import { loadTensors } from "../../ts/files/tensors.js";
import { formula } from "../../ts/trace/formula.js";
import type { Program } from "../../ts/trace/graph.js";
import { nn } from "../../ts/trace/nn.js";
import * as operations from "../../ts/trace/operations.js";
import { parametersIn, programOf, stateIn } from "../../ts/trace/program.js";
import { concat, constant, type Operand, type Value, where } from "../../ts/trace/value.js";
import { adam } from "../../ts/train/optimizer.js";
import { numbers, thrown } from "./helpers.js";
import { BINARY, interpret, normalCdf, UNARY } from "./interpreter.js";

const functions = { ...operations };
const u = [0.3, -0.7, 0.9];
const v = [0.6, 0.2, -0.4];

/** What a function makes of u, v and the number 0.25, as the interpreter computes it; at t = 3. */
function computed(of: (u: Value, v: Value, s: Value, t: Value) => Value | readonly Operand[]): number[] {
  const { traced } = traceFunction({
    inputs: { u: 3, v: 3, s: 1 },
    // biome-ignore lint/suspicious/noExplicitAny: the options are read as a user's.
    apply: ({ inputs }: any) => of(inputs.u, inputs.v, inputs.s, inputs.s),
  });
  return interpret(traced.program, { state: [...u, ...v, 0.25] });
}

/** A message without the place in this file that it ends with. */
const withoutPlace = (message: string) => message.replace(/ \(at trace\.test\.ts:\d+:\d+\)$/, "");

const close = (given: number[], expected: number[]) => {
  expect(given).toHaveLength(expected.length);
  for (const [i, x] of expected.entries()) expect(given[i]).toBeCloseTo(x, 13);
};

const unary: Record<string, (x: number) => number> = {
  ...UNARY,
  square: (x) => x * x,
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => x * normalCdf(x),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
};

test.each(Object.entries(unary))("%s, as a method and as a function", (name, of) => {
  const method = name as "exp";
  // Those that u has no value for are given |u|.
  const inside = ["log", "sqrt"].includes(name) ? u.map(Math.abs) : u;
  const taken = (x: Value) => (inside === u ? x : x.abs());
  close(
    computed((u) => taken(u)[method]()),
    inside.map(of),
  );
  close(
    computed((u) => functions[method](taken(u))),
    inside.map(of),
  );
  close(
    computed(() => functions[method](0.5)),
    [of(0.5)],
  );
});

test.each(Object.entries(BINARY))("%s, of rows, of one row and of numbers", (name, of) => {
  const method = name as "add";
  const base = name === "pow" ? u.map(Math.abs) : u;
  const taken = (x: Value) => (base === u ? x : x.abs());
  const each = (a: number[], b: number[]) => a.map((x, i) => of(x, b[i] as number));
  close(
    computed((u, v) => taken(u)[method](v)),
    each(base, v),
  );
  close(
    computed((u, v) => functions[method](taken(u), v)),
    each(base, v),
  );
  close(
    computed((u, _, s) => taken(u)[method](s)),
    each(base, [0.25, 0.25, 0.25]),
  );
  close(
    computed((_, v, s) => s[method](v)),
    each([0.25, 0.25, 0.25], v),
  );
  close(
    computed((u) => taken(u)[method](2)),
    each(base, [2, 2, 2]),
  );
  close(
    computed((_, v) => functions[method](2, v)),
    each([2, 2, 2], v),
  );
  close(
    computed(() => functions[method](2, 3)),
    [of(2, 3)],
  );
});

test.each([
  ["less", (a: number, b: number) => a < b],
  ["lessEqual", (a: number, b: number) => a <= b],
  ["greater", (a: number, b: number) => a > b],
  ["greaterEqual", (a: number, b: number) => a >= b],
] as const)("where and %s", (name, holds) => {
  const expected = u.map((x, i) => (holds(x, v[i] as number) ? x : (v[i] as number)));
  close(
    computed((u, v) => where(u[name](v), u, v)),
    expected,
  );
  close(
    computed((u, v) => where(functions[name](u, v), u, v)),
    expected,
  );
  close(
    computed((_, __, s) => where(s[name](0.25), 1, 2)),
    [holds(0.25, 0.25) ? 1 : 2],
  );
  close(
    computed((u) => where(functions[name](0, u), 1, u)),
    u.map((x) => (holds(0, x) ? 1 : x)),
  );
});

test("rows: sums, pieces, lists", () => {
  const sum = u.reduce((a, b) => a + b);
  const dot = u.reduce((total, x, i) => total + x * (v[i] as number), 0);
  const cases: [(u: Value, v: Value, s: Value) => Value | Operand[], number[]][] = [
    [(u) => u.sum(), [sum]],
    [(u) => operations.sum(u), [sum]],
    [(_, __, s) => s.sum(), [0.25]],
    [(u) => u.mean(), [sum / 3]],
    [(u) => operations.mean(u), [sum / 3]],
    [(u, v) => u.dot(v), [dot]],
    [(u, v) => operations.dot(u, v), [dot]],
    [(u) => u.norm(), [Math.hypot(...u)]],
    [(u) => operations.norm(u), [Math.hypot(...u)]],
    [(u) => u.at(1), [-0.7]],
    [(u) => u.at(-1), [0.9]],
    [(u) => u[2] as Value, [0.9]],
    [(u) => u.slice(1), [-0.7, 0.9]],
    [(u) => u.slice(0, 2), [0.3, -0.7]],
    [(u) => u.slice(-2, -1), [-0.7]],
    [(u) => u.slice(), u],
    [(u) => u.slice(1, 99), [-0.7, 0.9]],
    [(u, v) => u.concat(v, 5), [...u, ...v, 5]],
    [(u, v) => concat(1, u, v), [1, ...u, ...v]],
    [(u) => concat(u), u],
    [(u) => u.roll(1), [0.9, 0.3, -0.7]],
    [(u) => u.roll(-1), [-0.7, 0.9, 0.3]],
    [(u) => operations.roll(u, 4), [0.9, 0.3, -0.7]],
    [(u) => u.roll(0), u],
    [(u) => u.roll(3), u],
    [([a, b, c]) => [c as Value, b as Value, a as Value, 7], [0.9, -0.7, 0.3, 7]],
    [(u, v) => [u, v.sum(), -0], [...u, 0.4, 0]],
    [(u) => (u as unknown as Value[]).map((x, i) => x.mul(i)), [0, -0.7, 1.8]],
    [(u) => (u as unknown as Value[]).reduce((a, b) => a.mul(b)), [0.3 * -0.7 * 0.9]],
    [(u, v) => u.outer(v), u.flatMap((a) => v.map((b) => a * b))],
    [(u, v) => u.outer(v).matvec(u), u.map((a) => a * dot)],
    [(u, v) => u.outer(v).matvecTransposed(u), v.map((b) => b * u.reduce((total, a) => total + a * a, 0))],
    [
      (u, v) => operations.matvec(operations.outer(u, v), v),
      u.map((a) => a * v.reduce((total, b) => total + b * b, 0)),
    ],
    [(u, _, s) => u.matvec(s), u.map((a) => a * 0.25)],
    [() => 7 as never, [7]],
  ];
  for (const [of, expected] of cases) close(computed(of), expected);
  expect(
    computed((u) => {
      expect([u.length, u.sum().length, u.slice(1).length, [...u].length]).toEqual([3, 1, 2, 3]);
      expect(Object.keys(u)).toEqual(["length"]);
      return u;
    }),
  ).toEqual(u);
});

test("the same operation is one node, and −0 stays", () => {
  const { program } = trace({
    state: 1,
    slope: ({ state }: { state: Value }) => state.mul(2).add(state.mul(2)),
  }).traced;
  expect(program.nodes).toEqual([
    ["state", 0, 1],
    ["constant", 2],
    ["mul", 0, 1],
    ["add", 2, 2],
  ]);
  expect(program.result).toBe(3);
  const one = trace({ state: 1, slope: () => operations.div(1, -0) }).traced;
  expect(interpret(one.program, { state: [0] })).toEqual([Number.NEGATIVE_INFINITY]);
});

test("formula", () => {
  close(
    computed((u, v, s) => formula`${u} * (${2} - ${s} * ${v})^2`),
    u.map((x, i) => x * (2 - 0.25 * (v[i] as number)) ** 2),
  );
  close(
    computed((u, v) => formula`-${u}^2 + (${u} < ${v} ? ${u} : max(${v}, 1e-1))`),
    u.map((x, i) => -x * x + (x < (v[i] as number) ? x : Math.max(v[i] as number, 0.1))),
  );
  close(
    computed(
      (u) => formula`
        ${u}
          + 1
      `,
    ),
    u.map((x) => x + 1),
  );
  close(
    computed((u) => formula`sin(pi * ${u}) + .5`),
    u.map((x) => Math.sin(Math.PI * x) + 0.5),
  );
  const message = (of: (u: Value, v: Value) => Value) => withoutPlace(thrown("CALLBACK", () => computed(of)).message);
  expect(message((u) => formula`e^(-${u})`)).toBe(
    'formula "e^(-$1)", character 1: expected exp(-$1) for a power of Euler\'s number; given e^(-$1)',
  );
  expect(message((u) => formula`${u} * (2 -`)).toBe(
    'formula "$1 * (2 -)", character 10: expected a value after -; given )'
      .replace("-)", "-")
      .replace("; given )", "; given the end"),
  );
  expect(message((u) => formula`${u} ** 2`)).toBe('formula "$1 ** 2", character 4: expected ^ for a power; given "**"');
  expect(message((u) => formula`2 * u + ${u}`)).toBe(
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a message about one.
    'formula "2 * u + $1", character 5: expected values as ${u}; given u',
  );
  expect(message((u) => formula`${u} $ 2`)).toMatch(
    /character 4: expected a \$ only before a value in braces; given \$$/,
  );
  expect(message((u) => formula`${u} + ${"2" as never}`)).toBe(
    'formula\'s value 2: expected a value or a number, given "2"',
  );
  expect(message(() => (formula as unknown as (text: string) => Value)("2"))).toBe(
    'formula: expected a tagged template, formula`…`, given "2"',
  );
  expect(withoutPlace(thrown("SHAPE", () => computed((u) => formula`${u} + ${u.slice(1)}`)).message)).toBe(
    "add's operands: expected the same number of rows, or one row that counts for all, given 3 rows and 2 rows",
  );
  expect(thrown("CALLBACK", () => formula`1 + 2`).message).toMatch(/only while a function is traced/);
});

const lotka = {
  state: ["hare", "lynx"],
  parameters: { birth: 0.5, death: 0.8, hunt: [0.03, 0.02] },
} as const;

test("the example of a vector field", () => {
  const { traced, dtype } = trace({
    ...lotka,
    // biome-ignore lint/suspicious/noExplicitAny: the options are read as a user's; the types have a test of their own.
    slope: ({ t, state: [hare, lynx], parameters: { birth, death, hunt } }: any) => [
      hare.mul(birth.sub(lynx.mul(hunt[0]))).add(t.mul(0)),
      lynx.mul(hare.mul(hunt.at(1)).sub(death)),
    ],
  });
  expect(dtype).toBe("float32");
  expect(traced.states).toEqual(["hare", "lynx"]);
  expect(traced.entries).toEqual({
    birth: { offset: 0, shape: [] },
    death: { offset: 1, shape: [] },
    hunt: { offset: 2, shape: [2] },
  });
  expect([...traced.initial]).toEqual([0.5, 0.8, 0.03, 0.02]);
  close(interpret(traced.program, { state: [10, 5], parameters: traced.initial }), [
    10 * (0.5 - 5 * 0.03),
    5 * (10 * 0.02 - 0.8),
  ]);
});

test("states and slopes by their names", () => {
  const parameters = { growth: 1, decay: 0.5 };
  const named = trace({
    state: ["prey", "predator"],
    parameters,
    // biome-ignore lint/suspicious/noExplicitAny: the options are read as a user's.
    slope: ({ states: { prey, predator }, parameters: { growth, decay } }: any) => ({
      predator: predator.mul(prey.sub(decay)),
      prey: prey.mul(growth.sub(predator)),
    }),
  });
  const state = [2, 3];
  expect(interpret(named.traced.program, { state, parameters: [1, 0.5] })).toEqual([2 * (1 - 3), 3 * (2 - 0.5)]);
  // A name that values have too is that of the row here, and the value's own member there.
  const slope = ({ state, states }: { state: Value; states: { length: Value } }) => [state.sum(), states.length];
  const odd = trace({ state: ["sum", "length"], slope });
  expect(interpret(odd.traced.program, { state })).toEqual([5, 3]);
});

test("parameters of any nesting, and arguments", () => {
  const { traced } = trace({
    state: 2,
    parameters: {
      rates: { up: 2, deep: { down: Float32Array.of(3, 4) } },
      matrix: [
        [1, 2],
        [3, 4],
      ],
      cube: [
        [[1], [2]],
        [Float64Array.of(3), [4]],
      ],
    },
    arguments: { weight: "scalar", dose: 2 },
    // biome-ignore lint/suspicious/noExplicitAny: the options are read as a user's.
    slope: ({ state, parameters: { rates, matrix, cube }, arguments: { weight, dose } }: any) =>
      matrix.matvec(state).mul(rates.up).add(rates.deep.down).mul(weight).add(dose).add(cube.sum()),
  });
  expect(traced.entries).toEqual({
    "rates.up": { offset: 0, shape: [] },
    "rates.deep.down": { offset: 1, shape: [2] },
    matrix: { offset: 3, shape: [2, 2] },
    cube: { offset: 7, shape: [2, 2, 1] },
  });
  expect(traced.arguments).toEqual({ weight: 1, dose: 2 });
  expect(traced.program).toMatchObject({ state: 2, parameters: 11, arguments: 3 });
  expect(traced.program.nodes.filter(([name]) => name === "dense")).toHaveLength(1);
  const point = { state: [5, 6], parameters: traced.initial, arguments: [0.5, 10, 20] };
  close(interpret(traced.program, point), [(17 * 2 + 3) * 0.5 + 10 + 10, (39 * 2 + 4) * 0.5 + 20 + 10]);
});

test("networks", () => {
  const net = nn.sequential(nn.linear(2, 3), nn.tanh, nn.layerNorm(3), nn.residual(nn.linear(3, 3, { bias: false })));
  const { traced } = trace({
    state: 2,
    parameters: { out: nn.linear(3, 2), net },
    seed: 4,
    // biome-ignore lint/suspicious/noExplicitAny: the options are read as a user's.
    slope: ({ state, parameters: { net, out } }: any) => out(net(state)),
  });
  expect(Object.entries(traced.entries).map(([name, { shape }]) => [name, ...shape])).toEqual([
    ["out.weight", 2, 3],
    ["out.bias", 2],
    ["net.0.weight", 3, 2],
    ["net.0.bias", 3],
    ["net.2.weight", 3],
    ["net.2.bias", 3],
    ["net.3.weight", 3, 3],
  ]);
  const array = (name: string) => {
    const { offset, shape } = traced.entries[name] as { offset: number; shape: number[] };
    return [...traced.initial.subarray(offset, offset + shape.reduce((a, b) => a * b, 1))];
  };
  const times = (w: number[], x: number[]) =>
    Array.from({ length: w.length / x.length }, (_, row) =>
      x.reduce((sum, value, j) => sum + (w[row * x.length + j] as number) * value, 0),
    );
  const hidden = times(array("net.0.weight"), [0.7, -0.2]).map(Math.tanh);
  const mean = hidden.reduce((a, b) => a + b) / 3;
  const variance = hidden.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 3;
  const normal = hidden.map((x) => (x - mean) / Math.sqrt(variance + 1e-5));
  const changed = times(array("net.3.weight"), normal).map((x, i) => x + (normal[i] as number));
  close(
    interpret(traced.program, { state: [0.7, -0.2], parameters: traced.initial }),
    times(array("out.weight"), changed),
  );
});

test("networks begin as Glorot and He say, by their seed", () => {
  const initial = (module: unknown, seed = 0) =>
    trace({ state: 1, parameters: { net: module }, seed, slope: () => 0 }).traced;
  const largest = (module: unknown, name: string) => {
    const { entries, initial: numbers } = initial(module);
    const { offset, shape } = entries[`net.${name}`] as { offset: number; shape: [number, number] };
    const own = numbers.subarray(offset, offset + shape[0] * shape[1]);
    return own.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  };
  const glorot = Math.sqrt(6 / 150);
  const he = Math.sqrt(6 / 50);
  for (const [activation, limit] of [
    ...[nn.tanh, nn.sigmoid, nn.softplus, nn.sin, nn.layerNorm(100)].map((module) => [module, glorot] as const),
    ...[nn.relu, nn.elu, nn.silu, nn.gelu].map((module) => [module, he] as const),
  ]) {
    for (const net of [
      nn.sequential(nn.linear(50, 100), activation),
      nn.sequential(nn.sequential(nn.linear(50, 100)), activation),
      nn.sequential(nn.linear(50, 100), nn.sequential(activation, nn.linear(100, 1))),
    ]) {
      const name = Object.keys(initial(net).entries)[0]?.slice("net.".length) as string;
      expect(largest(net, name)).toBeLessThan(limit);
      expect(largest(net, name)).toBeGreaterThan(0.98 * limit);
    }
  }
  expect(largest(nn.linear(50, 100), "weight")).toBeLessThan(glorot);
  const net = nn.linear(2, 2);
  expect(initial(net, 1).initial).toEqual(initial(net, 1).initial);
  expect(initial(net, 1).initial).not.toEqual(initial(net, 2).initial);
  expect([...initial(net, 1).initial.subarray(4)]).toEqual([0, 0]);
  // The same module twice is two networks.
  const twice = trace({ state: 1, parameters: { a: net, b: net }, slope: () => 0 }).traced.initial;
  expect(twice.subarray(0, 6)).not.toEqual(twice.subarray(6));
});

/** The error of a slope of two states, with parameters a (of two rows) and net, and argument w. */
// biome-ignore lint/suspicious/noExplicitAny: what is tested is what types would refuse.
function failing(code: string, slope: (inputs: any) => unknown): SymplecticAdjointError {
  const parameters = { alpha: 1, pair: [1, 2], net: nn.linear(2, 2) };
  return thrown(code, () => trace({ state: ["x", "y"], parameters, arguments: { w: "scalar" }, slope }));
}

const other: { value?: Value } = {};
trace({
  state: 2,
  slope: ({ state }: { state: Value }) => {
    other.value = state;
    return state;
  },
});

/** Where a value is read: [what is done, the code, the message]. */
// biome-ignore lint/suspicious/noExplicitAny: what is tested is what types would refuse.
const misuses: [name: string, slope: (inputs: any) => unknown, code: string, message: RegExp | string][] = [
  [
    "Math.sin",
    ({ state: [x, y] }) => [Math.sin(x), y],
    "CALLBACK",
    "a traced value has no number yet: the function runs once, to record what it computes. Expected operations that can be recorded: write x.sin() or sin(x), x.mul(2), and where(x.less(1), a, b) for a choice; given its use as a number, as in Math.sin(x), x * 2, or an if (x < 1)",
  ],
  ["a product", ({ state: [x, y] }) => [x * 2, y], "CALLBACK", /write x\.sin\(\) or sin\(x\), x\.mul\(2\)/],
  [
    "a sum",
    ({ state: [x, y] }) => [x + 1, y],
    "CALLBACK",
    /write x\.add\(1\) or add\(x, 1\).*; given its use in x \+ 1 or x == 1$/,
  ],
  // biome-ignore lint/suspicious/noDoubleEquals: what is tested.
  ["an equality", ({ state: [x, y] }) => (x == 1 ? [x, y] : [y, x]), "CALLBACK", /where\(…\) for a choice/],
  ["a template string", ({ state: [x] }) => [`${x}`, x], "CALLBACK", /write formula`\$\{x\} \* 2` for a formula/],
  ["an if", ({ state: [x, y] }) => (x > 0 ? [x, y] : [y, x]), "CALLBACK", /where\(x\.less\(1\), a, b\) for a choice/],
  [
    "a key",
    ({ state: [x, y] }) => [{ a: 1 }[x as string], y],
    "CALLBACK",
    /its use as text, in a template string or as a key/,
  ],
  ["a condition that is read", ({ state: [x, y] }) => [x.less(1) * 2, y], "CALLBACK", /where\(condition, a, b\)/],
  [
    "a condition as a value",
    ({ state: [x, y] }) => [x.mul(x.less(1)), y],
    "CALLBACK",
    "mul's argument: expected a value or a number, given a condition; write where(condition, 1, 0) to get a number",
  ],
  [
    "no condition",
    ({ state: [x, y] }) => where(true as never, x, y),
    "CALLBACK",
    "where's condition: expected a comparison, such as x.less(1), given true",
  ],
  [
    "a string",
    ({ state: [x, y] }) => [x.add("1"), y],
    "CALLBACK",
    'add\'s argument: expected a value or a number, given "1"',
  ],
  [
    "nothing",
    ({ state: [x, y] }) => [x.add(), y],
    "CALLBACK",
    "add's argument: expected a value or a number, given undefined, as past the end of a list: the state has 2 rows",
  ],
  [
    "a row too far by its index",
    ({ state }) => [state[2].mul(2), state[0]],
    "CALLBACK",
    "value[2]: expected a row from 0 to 1, as the value has 2 rows, given 2",
  ],
  [
    "a row too far by destructuring",
    ({ state: [x, , z] }) => [x, z],
    "CALLBACK",
    "slope's result[1]: expected a value or a number, given undefined, as past the end of a list: the state has 2 rows",
  ],
  [
    "a list",
    ({ state: [x, y] }) => [x.add([1, 2]), y],
    "CALLBACK",
    "add's argument: expected a value or a number, given Array of length 2; write concat(...list) for a vector of its values",
  ],
  [
    "a function",
    ({ state: [x, y] }) => [x.add(x.sin), y],
    "CALLBACK",
    "add's argument: expected a value or a number, given a function; did you mean to call it?",
  ],
  [
    "a promise",
    ({ state: [x, y] }) => [x.add(Promise.resolve(1)), y],
    "CALLBACK",
    "add's argument: expected a value or a number, given a Promise; a traced function cannot wait",
  ],
  [
    "NaN",
    ({ state }) => state.mul(Number.NaN),
    "NON_FINITE",
    "mul's argument: expected a value or a finite number, given NaN",
  ],
  [
    "∞",
    ({ state }) => state.mul(1 / 0),
    "NON_FINITE",
    "mul's argument: expected a value or a finite number, given Infinity",
  ],
  [
    "a string to a function",
    ({ state }) => operations.exp("x" as never).add(state),
    "CALLBACK",
    /^exp's argument: expected a value/,
  ],
  [
    "a second string",
    ({ state }) => operations.pow(state, "x" as never),
    "CALLBACK",
    'pow\'s argument: expected a value or a number, given "x"',
  ],
  [
    "NaN to where",
    ({ state: [x] }) => where(x.less(1), x, Number.NaN),
    "NON_FINITE",
    "where's third argument: expected a value or a finite number, given NaN",
  ],
  [
    "rows that differ",
    ({ state, parameters }) => state.add(concat(state, parameters.pair)),
    "SHAPE",
    "add's operands: expected the same number of rows, or one row that counts for all, given 2 rows and 4 rows",
  ],
  [
    "rows of a choice",
    ({ state }) => where(state.less(1), state, state.concat(1)),
    "SHAPE",
    "where's operands: expected the same number of rows, or one row that counts for all, given 2 rows and 2 rows and 3 rows",
  ],
  [
    "a row too far",
    ({ state }) => state.at(2),
    "CALLBACK",
    "at's argument: expected a row from 0 to 1, or from −2 to −1, given 2",
  ],
  ["half a row", ({ state }) => state.at(0.5), "CALLBACK", /^at's argument: .*given 0\.5$/],
  [
    "an empty slice",
    ({ state }) => state.slice(1, 1),
    "CALLBACK",
    "slice's arguments: expected integers that select at least one of 2 rows, given 1 and 1",
  ],
  ["a slice by text", ({ state }) => state.slice("1"), "CALLBACK", /given "1" and 2$/],
  ["a roll by half", ({ state }) => state.roll(0.5), "CALLBACK", "roll's argument: expected an integer, given 0.5"],
  ["nothing to join", () => concat(), "CALLBACK", "concat: expected at least one value, given none"],
  [
    "a matrix of another size",
    ({ state, parameters }) => concat(state, parameters.alpha).matvec(state),
    "SHAPE",
    "matvec's argument: expected a vector whose length divides the 3 numbers of the matrix, given 2 rows",
  ],
  [
    "a matrix in a dot product",
    ({ state }) => state.concat(state).dot(state),
    "SHAPE",
    "dot's operands: expected the same number of rows, or one row that counts for all, given 4 rows and 2 rows; A.matvec(x) multiplies a matrix by a vector",
  ],
  [
    "an operation by another name",
    ({ state }) => state.times(2),
    "CALLBACK",
    "value.times: expected mul, as it is called here, given times",
  ],
  [
    "a transposed matrix of another size",
    ({ state, parameters }) => concat(state, parameters.alpha).matvecTransposed(state),
    "SHAPE",
    "matvecTransposed's argument: expected a vector whose length divides the 3 numbers of the matrix, given 2 rows",
  ],
  [
    "a network of another size",
    ({ state, parameters }) => parameters.net(state.concat(1)),
    "SHAPE",
    "nn.linear's input: expected 2 rows, given 3",
  ],
  [
    "a network of nothing",
    ({ parameters }) => parameters.net(),
    "CALLBACK",
    /^nn\.linear's input: expected a value or a number, given undefined/,
  ],
  [
    "a network as a value",
    ({ state, parameters }) => state.add(parameters.net),
    "CALLBACK",
    "add's argument: expected a value or a number, given a function; did you mean to call it?",
  ],
  [
    "all parameters",
    ({ state, parameters }) => state.add(parameters),
    "CALLBACK",
    "add's argument: expected a value or a number, given an object of parameters; take one by its name: alpha, pair, net",
  ],
  [
    "all arguments returned",
    (given) => given.arguments,
    "CALLBACK",
    /given an object of arguments; take one by its name: w$/,
  ],
  [
    "all inputs returned",
    (given) => given,
    "CALLBACK",
    /given an object of inputs; take one by its name: t, state, states, parameters, arguments$/,
  ],
  [
    "a value of another function",
    ({ state }) => state.add(other.value),
    "CALLBACK",
    "add: expected values that this function was given, or computed from them, given a value of another traced function, or of an earlier run",
  ],
  [
    "a method of another's value",
    () => other.value?.exp(),
    "CALLBACK",
    /^exp: expected values that this function was given/,
  ],
  [
    "another's value as the result",
    () => other.value,
    "CALLBACK",
    /^slope's result: expected values that this function was given/,
  ],
  // What is returned.
  [
    "no return",
    () => undefined,
    "CALLBACK",
    "slope's result: expected 2 slopes (one for each of x, y), as a value, a list of values or an object of them, given undefined; is a return missing?",
  ],
  [
    "an async function",
    async ({ state }) => state,
    "CALLBACK",
    "slope's result: expected 2 slopes (one for each of x, y), as a value, a list of values or an object of them, at once, given a Promise: is it an async function?",
  ],
  [
    "too many slopes",
    ({ state: [x, y] }) => [x, y, x],
    "SHAPE",
    "slope's result: expected 2 slopes (one for each of x, y), as a value, a list of values or an object of them, given 3",
  ],
  ["too few slopes", ({ state }) => state.sum(), "SHAPE", /given 1$/],
  ["no slopes", () => [], "SHAPE", /given Array of length 0$/],
  [
    "an object with another name",
    ({ state: [x, y] }) => ({ x, z: y }),
    "CALLBACK",
    /^slope's result: z: there is no state of that name/,
  ],
  [
    "an object without one",
    ({ state: [x] }) => ({ x }),
    "CALLBACK",
    /^slope's result\.y: expected a value .*undefined/,
  ],
  [
    "rows by name",
    ({ state, states: { x } }) => ({ x, y: state }),
    "SHAPE",
    "slope's result.y: expected one row, given 2",
  ],
  [
    "a condition returned",
    ({ state }) => state.less(1),
    "CALLBACK",
    /given a condition; write where\(condition, 1, 0\)/,
  ],
  [
    "a string among slopes",
    ({ state: [x] }) => [x, "y"],
    "CALLBACK",
    'slope\'s result[1]: expected a value or a number, given "y"',
  ],
  [
    "NaN among slopes",
    ({ state: [x] }) => [x, Number.NaN],
    "NON_FINITE",
    "slope's result[1]: expected a value or a finite number, given NaN",
  ],
  // Names.
  [
    "an unknown parameter",
    ({ state, parameters: { alhpa } }) => state.mul(alhpa),
    "CALLBACK",
    "parameters.alhpa: there is no parameter of that name; did you mean alpha? The names are alpha, pair, net",
  ],
  [
    "an unknown argument",
    ({ state, arguments: { mass } }) => state.mul(mass),
    "CALLBACK",
    "arguments.mass: there is no argument of that name; the names are w",
  ],
  [
    "an unknown input",
    ({ parameter }) => parameter,
    "CALLBACK",
    "slope's parameter: there is no input of that name; did you mean parameters? The names are t, state, states, parameters, arguments",
  ],
  [
    "a state among inputs",
    ({ x }) => x,
    "CALLBACK",
    "slope's x: there is no input of that name; did you mean states.x? The names are t, state, states, parameters, arguments",
  ],
  [
    "a parameter among inputs",
    ({ alpha }) => alpha,
    "CALLBACK",
    "slope's alpha: there is no input of that name; did you mean parameters.alpha? The names are t, state, states, parameters, arguments",
  ],
  [
    "a name of a state's row",
    ({ state }) => state.x,
    "CALLBACK",
    /^state\.x: expected states\.x, or const \[x, y\] = state/,
  ],
  [
    "the inputs as a list, by an index",
    (y) => [y[1], y[0]],
    "CALLBACK",
    "slope: expected a function of one object, ({ t, state, … }) => …, given one that takes a list",
  ],
  [
    "the inputs as a list, destructured",
    (inputs) => {
      const [x, y] = inputs;
      return [y, x];
    },
    "CALLBACK",
    /^slope: .*, given one that takes a list$/,
  ],
  ["the inputs as a value", (y) => y.sin(), "CALLBACK", /^slope: .*, given one that takes a value$/],
  [
    "parameters as a list",
    ({ parameters: [a] }) => [a, a],
    "CALLBACK",
    /^parameters: expected names, .*, given a list$/,
  ],
];

test.each(misuses)("%s is refused", (_, slope, code, message) => {
  const error = failing(code, slope);
  const given = withoutPlace(error.message);
  if (typeof message === "string") expect(given).toBe(message);
  else expect(given).toMatch(message);
});

test("what is refused while a slope runs has the place of it, one below the other here", () => {
  const places = misuses.flatMap(([name, slope, code]) => {
    const { message, file, line, column } = failing(code, slope);
    // That is noticed when it has returned.
    if (message.startsWith("slope's result")) return [];
    return [{ name, file: file?.replace(/^.*\//, ""), line, column, said: message.endsWith(`.ts:${line}:${column})`) }];
  });
  expect(places.length).toBeGreaterThan(30);
  expect(places.filter(({ file, said }) => file !== "trace.test.ts" || !said)).toEqual([]);
  const lines = places.map(({ line }) => line as number);
  expect(lines).toEqual([...new Set(lines)].sort((a, b) => a - b));
});

test("a function that takes its inputs one by one is refused before it is called", () => {
  const called = () => {
    throw new Error("called");
  };
  const two = (_: never, __: never) => called();
  const expected = (inputs: string) =>
    `expected a function of one object, ({ ${inputs} }) => …, given one of 2 arguments`;
  const message = (call: () => unknown) => thrown("CALLBACK", call).message;
  expect(message(() => trace({ state: 2, slope: two }))).toBe(`slope: ${expected("t, state, …")}`);
  expect(message(() => traceFunction({ inputs: { x: 1 }, apply: two }))).toBe(
    `apply: ${expected("inputs, parameters")}`,
  );
  // A second argument with a default is the caller's own affair.
  expect(
    trace({ state: 1, slope: ({ state }: { state: Value }, by = 2) => state.mul(by) }).traced.program,
  ).toBeDefined();
});

test("what a slope throws comes through, and values live no longer than it", () => {
  const mine = new TypeError("mine");
  const slope = () => {
    throw mine;
  };
  expect(() => trace({ state: 1, slope })).toThrow(mine);
  expect(thrown("CALLBACK", () => other.value?.add(1)).message).toMatch(/only while a function is traced/);
  expect(thrown("CALLBACK", () => operations.exp(1)).message).toMatch(/only while a function is traced/);
  // A function may be traced inside another.
  const { traced } = trace({
    state: 1,
    slope: ({ state }: { state: Value }) => {
      trace({ state: 2, slope: ({ state }: { state: Value }) => state.exp() });
      return state.mul(2);
    },
  });
  expect(interpret(traced.program, { state: [4] })).toEqual([8]);
});

test("options are checked", () => {
  const slope = ({ state }: { state: Value }) => state;
  const message = (code: string, given: object) => thrown(code, () => trace({ state: 1, slope, ...given })).message;
  expect(message("OPTION", { state: 0 })).toBe("state: expected an integer from 1 to 2097152, or names, given 0");
  expect(message("OPTION", { state: [] })).toBe(
    "state: expected an array of names, or a number of features, given Array of length 0",
  );
  expect(message("OPTION", { state: "x" })).toBe(
    'state: expected an array of names, or a number of features, given "x"',
  );
  expect(message("OPTION", { state: ["x", 1] })).toBe("state[1]: expected a name, given 1");
  expect(message("OPTION", { state: ["x", "x"] })).toBe('state[1]: expected distinct names, given "x"');
  // Lengths that are lies take neither time nor memory.
  const endlessList = Object.assign([], { length: 2 ** 32 - 1 });
  expect(message("OPTION", { state: endlessList })).toBe("state[0]: expected a name, given undefined");
  expect(message("CALLBACK", { slope: () => endlessList })).toMatch(/with missing elements$/);
  expect(message("SHAPE", { parameters: { a: Object.assign([[1]], { length: 2 ** 32 - 1 }) } })).toBe(
    "parameters.a[4294967294]: expected an array, like the ones before, given undefined",
  );
  expect(trace({ state: 2 ** 21, slope }).traced.program.state).toBe(2 ** 21);
  expect(message("OPTION", { slope: 1 })).toBe("slope: expected a function, given 1");
  expect(message("OPTION", { dtype: "float16" })).toBe('dtype: expected float32 or float64, given "float16"');
  expect(message("OPTION", { arguments: { w: 0 } })).toBe(
    'arguments.w: expected "scalar", or how many numbers per trajectory, at least one, given 0',
  );
  expect(message("OPTION", { arguments: ["w"] })).toBe("arguments: expected a plain object, given Array of length 1");
  expect(message("OPTION", { params: {} })).toMatch(/^params: there is no option of that name/);
  const parameters = (code: string, parameters: unknown) => message(code, { parameters });
  expect(parameters("OPTION", 1)).toBe("parameters: expected an object of parameters by their names, given 1");
  expect(parameters("OPTION", [1])).toBe(
    "parameters: expected an object of parameters by their names, given Array of length 1",
  );
  expect(parameters("OPTION", nn.tanh)).toMatch(/^parameters: expected an object of parameters by their names/);
  expect(parameters("OPTION", { a: "1" })).toBe(
    'parameters.a: expected a number, an array of numbers, a module of nn, or an object of these, given "1"',
  );
  expect(parameters("OPTION", { a: mlp({ widths: [2, 2] }) })).toMatch(
    /, given mlp field .*; write a network of nn, as /,
  );
  expect(parameters("OPTION", { a: nn.linear })).toMatch(/given a function$/);
  expect(parameters("OPTION", { a: null })).toMatch(/given null$/);
  expect(parameters("OPTION", { a: new Map() })).toMatch(/given a value of kind Map$/);
  expect(parameters("OPTION", { "a.b": 1 })).toBe('parameters.a.b: expected a name without a dot, given "a.b"');
  expect(parameters("NON_FINITE", { a: { b: Number.NaN } })).toBe(
    "parameters.a.b: expected a finite number, given NaN",
  );
  expect(parameters("NON_FINITE", { a: [1, Number.NaN] })).toBe(
    "parameters.a: expected finite numbers, given NaN at index 1",
  );
  expect(parameters("SHAPE", { a: [] })).toBe("parameters.a: expected at least one number, given none");
  expect(parameters("SHAPE", { a: [[1, 2], [3]] })).toBe(
    "parameters.a[1]: expected [2] numbers, like the ones before, given [1]",
  );
  expect(parameters("SHAPE", { a: [[1], 2] })).toBe(
    "parameters.a[1]: expected an array, like the ones before, given 2",
  );
  const endless: { a?: unknown } = {};
  endless.a = endless;
  expect(parameters("OPTION", endless)).toMatch(/expected less deeply nested objects/);
  const list: unknown[] = [];
  list.push(list);
  expect(parameters("OPTION", { list })).toMatch(/expected less deeply nested arrays/);
  const modules = (body: () => unknown) => thrown("OPTION", body).message;
  expect(modules(() => nn.linear(0, 1))).toBe("inputs: expected a positive integer, given 0");
  expect(modules(() => nn.linear(1, 1, { biases: true } as object))).toMatch(
    /^biases: there is no option of that name/,
  );
  expect(modules(() => nn.layerNorm(0.5))).toBe("features: expected a positive integer, given 0.5");
  expect(modules(() => nn.sequential())).toBe("modules: expected at least one module, given none");
  expect(modules(() => nn.sequential(nn.tanh, nn.linear as never))).toBe(
    "modules[1]: expected a module, from the functions of nn, given a function; did you mean to call it, as in nn.linear(2, 32)?",
  );
  const wide = nn.residual(nn.linear(1, 2));
  const slopeOf = {
    parameters: { net: wide },
    slope: ({ state, parameters }: never) => (parameters as { net: (x: Value) => Value }).net(state),
  };
  expect(withoutPlace(message("SHAPE", slopeOf))).toBe("nn.residual's module: expected 1 outputs, as inputs, given 2");
});

test("arguments are packed by name, and taken apart again", () => {
  const widths = { weight: 1, dose: 2 };
  const given = { dose: [1, 2, 3, 4], weight: Float32Array.of(70, 80) };
  const { numbers: all, batch } = packed("arguments", widths, given, "float64", 2);
  expect([batch, ...all]).toEqual([2, 70, 1, 2, 80, 3, 4]);
  expect(packed("arguments", widths, given, "float32").numbers).toBeInstanceOf(Float32Array);
  expect(unpacked(widths, all, "float64")).toEqual({
    weight: Float64Array.of(70, 80),
    dose: Float64Array.of(1, 2, 3, 4),
  });
  expect(packed("arguments", {}, {}, "float64", 3)).toEqual({ numbers: new Float64Array(), batch: 3 });
  const message = (code: string, given: unknown) =>
    thrown(code, () => packed("arguments", widths, given, "float64", 2)).message;
  expect(message("OPTION", undefined)).toBe("arguments: expected { weight: [2], dose: [2, 2] }, given undefined");
  expect(message("OPTION", { weight: [1, 2] })).toBe("arguments.dose: expected [2, 2] numbers, given undefined");
  expect(message("SHAPE", { ...given, weight: [1] })).toBe("arguments.weight: expected [2] numbers, given 1");
  expect(message("SHAPE", { ...given, dose: [1, 2, 3] })).toBe("arguments.dose: expected [2, 2] numbers, given 3");
  expect(message("OPTION", { ...given, weight: 70 })).toBe("arguments.weight: expected an array of numbers, given 70");
  expect(message("NON_FINITE", { ...given, weight: [1, Number.NaN] })).toBe(
    "arguments.weight: expected finite numbers, given NaN at index 1",
  );
  expect(message("OPTION", { ...given, wieght: [1, 2] })).toBe(
    "arguments.wieght: there is no argument of that name; did you mean weight? The names are weight, dose",
  );
});

// The sources themselves, with a module of their own.
const file = new URL("../../wasm/simd.wasm", import.meta.url);
await init({ module: readFileSync(file), simd: "simd128" });

test("fields of programs have names, and travel as data", () => {
  const net = nn.sequential(nn.linear(2, 3), nn.tanh, nn.linear(3, 2));
  const field = vectorField({
    ...lotka,
    parameters: { birth: 0.5, net },
    arguments: { w: "scalar" },
    slope: ({ state, parameters: { birth, net }, arguments: { w } }) => net(state).mul(birth).div(w),
  });
  expect(field).toMatchObject({ dtype: "float32", stateSize: 2, outputSize: 2, layers: [], states: ["hare", "lynx"] });
  expect(field.argumentNames).toEqual(["w"]);
  expect(field.equations).toBeUndefined();
  expect(Object.keys(field.entries)).toEqual(["birth", "net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"]);
  expect(field.parameters).toHaveLength(1 + 9 + 8);
  expect(() => Object.assign(field, { states: [] })).toThrow(TypeError);
  expect(() => Object.assign(field.entries, { birth: 0 })).toThrow(TypeError);
  const recipe = JSON.parse(JSON.stringify(recipeOf(field)));
  const again = fieldOf(readRecipe("recipe", recipe));
  expect(again).toMatchObject({ stateSize: 2, states: ["hare", "lynx"], argumentNames: ["w"], entries: field.entries });
  expect(recipeOf(again)).toEqual(recipe);

  const text = "x' = k*x # growth";
  const same = equations(text, { parameters: { k: 2 }, dtype: "float64" });
  expect(same).toMatchObject({ dtype: "float64", equations: text, states: ["x"], argumentNames: [] });
  expect([...same.parameters]).toEqual([2]);
  expect(thrown("NON_FINITE", () => equations("x' = k", { parameters: { j: 1, k: 1e300 } })).message).toBe(
    "parameters.k: expected numbers that are finite in float32, given 1e+300",
  );
  for (const made of [field, again, same]) made.dispose();
});

test("equations and the same traced function make the same program", () => {
  const text = equations("hare' = hare * (birth - hunt * lynx)\nlynx' = lynx * (feed * hare - death)", {
    parameters: { birth: 0.5, death: 0.8, hunt: 0.03, feed: 0.02 },
  });
  const traced = vectorField({
    state: ["hare", "lynx"],
    parameters: { birth: 0.5, death: 0.8, hunt: 0.03, feed: 0.02 },
    slope: ({ state: [hare, lynx], parameters: { birth, death, hunt, feed } }) => [
      hare.mul(birth.sub(hunt.mul(lynx))),
      lynx.mul(feed.mul(hare).sub(death)),
    ],
  });
  const [one, two] = [text, traced].map((field) => (recipeOf(field).options as { program: Program }).program);
  expect(one).toEqual(two);
  for (const made of [text, traced]) made.dispose();
});

test("recipes of others are checked", () => {
  const { traced } = trace({
    state: 1,
    parameters: { a: 1, b: [1, 2] },
    slope: ({ state }: { state: Value }) => state,
  });
  const { program, entries, states, arguments: widths } = traced;
  const good = { program, entries, states, arguments: widths, dtype: "float64" };
  const read = (changed: object) => readRecipe("recipe", { kind: "program", options: { ...good, ...changed } });
  expect(read({})).toMatchObject({ kind: "program", options: good });
  const message = (changed: object, code = "OPTION") => thrown(code, () => read(changed)).message;
  expect(message({ program: 1 })).toBe("program: expected an object, given 1");
  expect(message({ program: { ...program, parameters: -1 } })).toMatch(/^program\.parameters: expected an integer/);
  expect(message({ program: { ...program, parameters: 4 } })).toBe(
    "entries: expected 4 numbers in all, as the program has parameters, given 3",
  );
  expect(message({ entries: { a: { offset: 0, shape: [] }, b: { offset: 0, shape: [2] } } })).toBe(
    "entries.b.offset: expected 1, where the one before it ends, given 0",
  );
  expect(message({ entries: { a: { offset: 0, shape: [-1] } } })).toMatch(
    /^entries\.a\.shape\[0\]: expected a positive integer/,
  );
  expect(message({ entries: { a: 1 } })).toMatch(/^entries\.a: expected an object/);
  expect(message({ program: { ...program, nodes: [[["neg"]]] } })).toBe(
    "program.nodes[0]: expected an array of names and numbers, given Array of length 1",
  );
  expect(message({ program: { ...program, inputs: 1 } })).toMatch(/^program\.inputs: there is no option of that name/);
  expect(message({ entries: [] })).toMatch(/^entries: expected a plain object/);
  expect(message({ entries: { a: { offset: 0, shape: [] }, "a.b": { offset: 1, shape: [2] } } })).toBe(
    "entries.a.b: expected a name outside that of another array, given one within a",
  );
  expect(message({ entries: { ["a.".repeat(100_000)]: { offset: 0, shape: [3] } } })).toBe(
    "entries: expected names of at most 256 parts, given one of 100001",
  );
  expect(message({ states: [1] })).toMatch(/^states\[0\]: expected a string/);
  expect(message({ arguments: { w: 1 } })).toBe(
    "arguments: expected 0 numbers in all, as the program has arguments, given 1",
  );
  expect(message({ states: ["x", "y"] })).toBe(
    "states: expected as many names as the program has states, 1, or none, given 2",
  );
  expect(message({ arguments: { w: 0.5 } })).toMatch(/^arguments\.w: expected a positive integer/);
  expect(message({ dtype: undefined })).toMatch(/^dtype: expected float32 or float64/);
  expect(message({ equations: 1 })).toMatch(/^equations: expected a string/);
  expect(message({ layers: [] })).toMatch(/^layers: there is no option of that name/);
});

test("model files hold the program and its arrays by name", () => {
  const make = (seed: number) =>
    vectorField({
      state: 2,
      parameters: { rate: 2, net: nn.linear(2, 2) },
      seed,
      dtype: "float64",
      slope: ({ state, parameters: { rate, net } }) => net(state).mul(rate),
    });
  const field = make(1);
  const optimizer = adam(field);
  optimizer.step(numbers("float64", 7));
  const bytes = save(field, { optimizer });
  expect(save(field, { optimizer })).toEqual(bytes);
  const { tensors } = loadTensors(bytes);
  expect(tensors.get("rate")).toMatchObject({ shape: [], data: field.parameters.slice(0, 1) });
  expect(tensors.get("net.weight")).toMatchObject({ shape: [2, 2], data: field.parameters.slice(1, 5) });
  const model = load(bytes);
  expect(model.field.parameters).toEqual(field.parameters);
  expect(recipeOf(model.field)).toEqual(recipeOf(field));
  expect(model.optimizer?.steps).toBe(1);
  const fresh = make(2);
  loadStateDict(fresh, bytes);
  expect(fresh.parameters).toEqual(field.parameters);
  const other = vectorField({ state: 1, parameters: { speed: 1 }, dtype: "float64", slope: ({ state }) => state });
  expect(thrown("FILE", () => loadStateDict(other, bytes)).message).toBe(
    "speed: expected a tensor of that name, float64 [], given none",
  );
  expect(
    thrown("OPTION", () => save(field, { tensors: { rate: { shape: [1], data: Float64Array.of(1) } } })).message,
  ).toMatch(/the model has an array of it/);
  for (const made of [field, fresh, other, model.field]) made.dispose();
});

test("differentiable functions take inputs by name", () => {
  const { traced, widths, dtype } = traceFunction({
    inputs: { x: [2, 2], y: "scalar" },
    parameters: { net: nn.linear(4, 3) },
    dtype: "float64",
    // biome-ignore lint/suspicious/noExplicitAny: the options are read as a user's.
    apply: ({ inputs: { x, y }, parameters: { net } }: any) => net(x).mul(y),
  });
  expect(dtype).toBe("float64");
  expect(widths).toEqual({ x: 4, y: 1 });
  expect(traced.program).toMatchObject({ state: 5, parameters: 15, arguments: 0 });
  expect(interpret(traced.program, { state: [1, 2, 3, 4, 5], parameters: traced.initial })).toHaveLength(3);
  const encoder = differentiable({
    inputs: { x: 2 },
    parameters: { a: 1 },
    apply: ({ inputs: { x }, parameters: { a } }) => x.mul(a),
  });
  expect(encoder).toMatchObject({ dtype: "float32", outputSize: 2, entries: { a: { offset: 0, shape: [] } } });
  encoder.parameters = Float32Array.of(3);
  expect([...encoder.parameters]).toEqual([3]);
  expect(thrown("OPTION", () => encoder.evaluate({} as never)).message).toBe(
    "inputs.x: expected [batch, 2] numbers, given undefined",
  );
  expect(thrown("SHAPE", () => encoder.evaluate({ x: new Float32Array(3) })).message).toBe(
    "inputs.x: expected [batch, 2] numbers, given 3",
  );
  encoder.dispose();
  expect(thrown("DISPOSED", () => encoder.parameters).message).toBe("the field has been disposed");
  const message = (given: object) => thrown("OPTION", () => traceFunction({ apply: () => 0, ...given })).message;
  expect(message({ inputs: {} })).toBe("inputs: expected at least one input, given none");
  expect(message({ inputs: { x: [2, 0] } })).toBe(
    'inputs.x: expected "scalar", a positive number of features, or the length of each axis, given Array of length 2',
  );
});

test("a comparison that chooses nothing is refused, since an if would always take its first branch", () => {
  const slope = ({ state }: { state: Value }) => {
    // biome-ignore lint/suspicious/noExplicitAny: what a user may write without types
    if (state.less(0) as any) return state.neg();
    return state;
  };
  const { message } = thrown("CALLBACK", () => vectorField({ state: 1, slope: slope as never }));
  expect(withoutPlace(message)).toBe(
    "a comparison: expected a use in where(condition, a, b), which chooses row by row, given none: in an if, it would always count as true",
  );
});

test("a function that goes on and on is refused", () => {
  const endless = (step: (x: Value, i: number) => Value) => () =>
    vectorField({
      state: 1,
      slope({ state }) {
        let x: Value = state;
        for (let i = 1; ; i++) x = step(x, i);
      },
    });
  for (const step of [(x: Value) => x.sin(), (x: Value, i: number) => x.mul(i)]) {
    const { message } = thrown("OPTION", endless(step));
    expect(message).toMatch(
      /^program\.nodes: expected at most 262144 operations while a function is recorded; .*, given more \(at trace\.test\.ts:/,
    );
  }
  // What the result does not need does not count, and the limit is that of the crate.
  const summed = (count: number) => () =>
    vectorField({
      state: 1,
      slope({ state }) {
        for (let i = 1; i <= 20_000; i++) state.mul(i);
        return Array.from({ length: count }).reduce<Value>((x) => x.sin(), state);
      },
    }).dispose();
  expect(summed(16_383)).not.toThrow();
  expect(thrown("OPTION", summed(16_384)).message).toMatch(/^program\.nodes: expected 1 to 16384 nodes, given 16385/);
});

test("names of a file's parameters reach no prototype", () => {
  const names = [
    "__proto__.a",
    "constructor.prototype.b",
    "c.__proto__.d",
    "e.name",
    "e.length",
    `f${".f".repeat(255)}`,
  ];
  const entries = Object.fromEntries(names.map((name, offset) => [name, { offset, shape: [] }]));
  const program = programOf({ state: 1, parameters: 6, arguments: {} }, (graph) => {
    const parameters = parametersIn(graph, entries) as never;
    for (const name of names) {
      // biome-ignore lint/suspicious/noExplicitAny: names that no type has.
      expect(name.split(".").reduce<any>((part, key) => part[key], parameters)).toMatchObject({ length: 1 });
    }
    return stateIn(graph, 0, 1);
  });
  const options = { program, entries, states: [], arguments: {}, dtype: "float64" };
  expect(readRecipe("recipe", { kind: "program", options })).toMatchObject({ options: { entries } });
  for (const name of ["a", "b", "d"]) expect(name in {}).toBe(false);
});

test("known vectors and matrices are constants, without a gradient", () => {
  const matrix = [
    [0, 1, -2],
    [0.5, -1, 3],
    [2, 0, 1],
  ];
  using field = vectorField({
    state: 3,
    dtype: "float64",
    parameters: { k: 2 },
    slope: ({ state, parameters: { k } }) =>
      constant(matrix)
        .matvec(state)
        .mul(k)
        .add(constant([1, -0, 3])),
  });
  expect(field.parameters.length).toBe(1);
  const y = Float64Array.of(1, 2, -1, 0.5, 0, 4);
  const expected = [0, 1].flatMap((sample) =>
    matrix.map(
      (row, i) => 2 * row.reduce((sum, a, j) => sum + a * (y[3 * sample + j] as number), 0) + ([1, 0, 3][i] as number),
    ),
  );
  expect([...field.evaluate(0, y)]).toEqual(expected);
  const { y: pulled } = field.vjp(0, y.slice(0, 3), Float64Array.of(1, 0, 2));
  expect([...pulled]).toEqual([8, 2, 0]);
  // It travels with a model, and may be as large as a value is.
  expect([...load(save(field)).field.evaluate(0, y)]).toEqual(expected);
  const wide = Float64Array.from({ length: 300 }, (_, i) => i);
  using scaled = vectorField({ state: 300, dtype: "float64", slope: ({ state }) => state.mul(constant(wide)) });
  expect([...scaled.evaluate(0, new Float64Array(300).fill(2))]).toEqual([...wide.map((x) => 2 * x)]);
  const refusal = (code: ErrorCode, numbers: unknown) =>
    thrown(code, () => vectorField({ state: 2, slope: ({ state }) => state.add(constant(numbers as never)) })).message;
  expect(refusal("DTYPE", 3)).toMatch(
    /^constant's argument: expected an array of numbers, or of rows of them, given 3/,
  );
  expect(refusal("NON_FINITE", [1, Number.NaN])).toMatch(/^constant's argument: expected finite numbers/);
  expect(refusal("SHAPE", [[1, 2], [3]])).toMatch(/^constant's argument\[1\]/);
  expect(thrown("CALLBACK", () => constant([1])).message).toMatch(/traced/);
});

test("softmax and logSumExp neither overflow nor differ from their formulas", () => {
  const numbers = [0.3, -1.2, 2, 0.7, -0.4];
  using f = differentiable({
    inputs: { x: 5 },
    dtype: "float64",
    apply: ({ inputs: { x } }) => concat(operations.softmax(x), operations.logSumExp(x)),
  });
  for (const shift of [0, 1000, -1000]) {
    const x = Float64Array.from(numbers, (number) => number + shift);
    const powers = numbers.map(Math.exp);
    const total = powers.reduce((sum, power) => sum + power);
    const all = [...f.evaluate({ x })];
    for (const [i, power] of powers.entries()) expect(all[i]).toBeCloseTo(power / total, 12);
    expect(all[5]).toBeCloseTo(shift + Math.log(total), 12);
    // ∂ logSumExp / ∂x = softmax.
    const pulled = f.vjp({ x }, Float64Array.of(0, 0, 0, 0, 0, 1)).inputs;
    for (const [i, power] of powers.entries()) expect(pulled.x?.[i]).toBeCloseTo(power / total, 12);
  }
});

test("what a traced function is given stays as it is", () => {
  const slope = (body: (inputs: { state: Value; states: { x: Value }; parameters: { k: Value } }) => void) => () =>
    vectorField({
      ...{ state: ["x", "y"], parameters: { k: 2 } },
      slope: (inputs) => {
        body(inputs as never);
        return inputs.state;
      },
    });
  const calls = [
    slope(({ parameters }) => Object.assign(parameters, { k: 1 })),
    slope(({ parameters }) => Reflect.deleteProperty(parameters, "k")),
    slope(({ parameters }) => Object.defineProperty(parameters, "k", { value: 1 })),
    slope(({ states }) => Object.assign(states, { x: 1 })),
    slope((inputs) => Object.assign(inputs, { state: 1 })),
    slope(({ state }) => Object.assign(state, { 0: 1 })),
    slope(({ state }) => Object.assign(state, { 9: 1 })),
  ];
  expect(calls.map((call) => thrown("CALLBACK", call).argument)).toEqual([
    "parameters.k",
    "parameters.k",
    "parameters.k",
    "states.x",
    "slope's state",
    "value[0]",
    "value[9]",
  ]);
});

test("a value is a list of its rows, of which nothing is changed or looked up", () => {
  const given = (body: (list: Value[]) => unknown) =>
    vectorField({ state: 3, dtype: "float64", slope: ({ state }) => body(state as never) as Value[] });
  const lists: ((list: Value[]) => unknown)[] = [
    (list) => list.map((x) => x.mul(2)),
    (list) => list.reduce(operations.max as () => Value).add(list as never),
    (list) => [...list.entries()].map(([i, x]) => x.add(i)),
    (list) => list.flatMap((x) => [x]).concat(),
    (list) => list.filter((_, i) => i < 3),
  ];
  for (const list of lists) expect(given(list).evaluate(0, Float64Array.of(1, 2, 3))).toHaveLength(3);
  const names = "push pop shift unshift splice sort reverse fill copyWithin includes indexOf lastIndexOf join".split(
    " ",
  );
  for (const name of names) {
    expect(thrown("CALLBACK", () => given((list) => list[name as "pop"]())).argument).toBe(`value.${name}`);
  }
  expect(thrown("CALLBACK", () => given((list) => JSON.stringify(list))).argument).toBe("a traced value");
});
