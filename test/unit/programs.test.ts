// Fields that are programs, run by the crate: against the interpreter, differences, pools and files.
import {
  type ArgumentArrays,
  type ArrayOf,
  adam,
  type Dtype,
  differentiable,
  equations,
  formula,
  type GradientMethod,
  type GradientOptions,
  type IndependentSolution,
  load,
  loadTensors,
  loss,
  meanSquaredError,
  memoryUsage,
  nn,
  odeint,
  type Pool,
  type ProgramField,
  parallel,
  save,
  type Value,
  valueAndGrad,
  vectorField,
  vjp,
  where,
} from "symplectic-adjoint";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Program } from "../../ts/trace/graph.js";
import { collectGarbage, EXACT, numbers, relative, thrown } from "./helpers.js";
import { interpret } from "./interpreter.js";

/** The program of a field, as it travels. */
const programOf = (field: ProgramField) =>
  (field as unknown as { recipe: { options: { program: Program } } }).recipe.options.program;

/** Every function of the grammar, inside its domain for states within ±1. */
const EVERYTHING = `
  a = 1.5 + x/2
  s = exp(x) + log(a) + log1p(a) + expm1(y) + sqrt(a) + abs(x + 3) + sin(x) * cos(y) + tan(x/2)
  u = asin(x/2) + acos(y/2) + atan(x) + sinh(x) + cosh(y) + tanh(x*y) + atan2(a, y + 2)
  v = sigmoid(x) - softplus(y) + relu(x + 2) + min(x, 2) + max(y, -2) + sign(a)
  w = a^2 + a^-x + 2^y + (x < 2 ? x^3 : log(x)) + (y >= 3 ? 1 / (y - y) : -x^2)
  x' = .1 * (s - k*u) + weight * sin(pi*t/3)
  y' = -0.1 * (v - w / k) - y * dose / (weight + 3)
`;

interface Case {
  readonly name: string;
  /** Of the trajectory's arguments, how many numbers each has. */
  readonly widths: Readonly<Record<string, number>>;
  make<D extends Dtype>(dtype: D): ProgramField<D>;
}

const cases: readonly Case[] = [
  {
    name: "every function of the grammar",
    widths: { weight: 1, dose: 1 },
    make: (dtype) => equations(EVERYTHING, { parameters: { k: 1.3 }, arguments: ["weight", "dose"], dtype }),
  },
  {
    name: "equations",
    widths: {},
    make: (dtype) =>
      equations("hare' = hare * (birth - hunt * lynx)\nlynx' = lynx * (feed * hare - death)", {
        parameters: { birth: 0.5, death: 0.8, hunt: 0.03, feed: 0.02 },
        dtype,
      }),
  },
  {
    name: "a traced function with a network, an array and a vector of arguments",
    widths: { weight: 1, dose: 2 },
    make: (dtype) =>
      vectorField({
        state: ["x", "y"],
        parameters: {
          rates: { decay: [0.3, 0.7] },
          net: nn.sequential(nn.linear(3, 9), nn.silu, nn.layerNorm(9), nn.residual(nn.linear(9, 9)), nn.linear(9, 2)),
        },
        arguments: { weight: "scalar", dose: 2 },
        dtype,
        seed: 5,
        slope: ({ t, state, parameters: { rates, net }, arguments: { weight, dose } }) =>
          net(state.concat(weight)).div(weight.add(3)).add(dose.mul(t.sin())).sub(state.mul(rates.decay)),
      }),
  },
  {
    name: "matrices, rolls and choices",
    widths: { matrix: 9 },
    make: (dtype) =>
      vectorField({
        state: 3,
        parameters: {
          w: [
            [0.3, -0.2, 0.5],
            [0.1, 0.4, -0.3],
            [-0.6, 0.2, 0.1],
          ],
        },
        arguments: { matrix: 9 },
        dtype,
        slope: ({ state, parameters: { w }, arguments: { matrix } }) => {
          const turned = matrix.matvec(state).add(w.matvecTransposed(state.roll(1)));
          const grown = state.outer(state).matvec(turned).mul(0.1).add(w.matvec(state.gelu()));
          const [first] = state;
          // Continuous where the choice changes.
          const chosen = where((first as Value).greater(0), grown, turned.normalCdf()).mul(first as Value);
          return chosen.add(state.square().mean());
        },
      }),
  },
];

/** Arguments for a batch, and the same as the interpreter takes them. */
function argumentsFor(widths: Case["widths"], batch: number) {
  const given = Object.fromEntries(
    Object.entries(widths).map(([name, width], i) => [name, numbers("float64", batch * width, 40 + i)]),
  );
  const of = (sample: number, arrays = given) =>
    Object.entries(widths).flatMap(([name, width]) => [
      ...(arrays[name] as Float64Array).subarray(sample * width, (sample + 1) * width),
    ]);
  return { given, of };
}

/** As the arguments of a solve or of a field's functions: none where there are none. */
const present = (given: ArgumentArrays) => (Object.keys(given).length > 0 ? given : undefined);

describe.each(cases)("$name", ({ widths, make }) => {
  test.each([1, 7, 16, 37, 100])("value and transpose as the interpreter has them, for a batch of %s", (batch) => {
    const field = make("float64");
    const program = programOf(field);
    const { stateSize: n } = field;
    const y = numbers("float64", batch * n, 2);
    const w = numbers("float64", batch * n, 3);
    const { given, of } = argumentsFor(widths, batch);
    const [t, theta] = [0.7, Float64Array.from(field.parameters)];
    type At = { time?: number; state?: Float64Array; parameters?: Float64Array; arrays?: typeof given };
    const row = (sample: number, { time = t, state = y, parameters = theta, arrays = given }: At = {}) =>
      interpret(program, {
        t: time,
        state: state.subarray(sample * n, (sample + 1) * n),
        parameters,
        arguments: of(sample, arrays),
      });
    const samples = Array.from({ length: batch }, (_, sample) => sample);
    const value = field.evaluate(t, y, undefined, present(given));
    expect(
      relative(
        value,
        samples.flatMap((sample) => row(sample)),
      ),
    ).toBeLessThan(1e-14);

    const dot = (values: number[], sample: number) =>
      values.reduce((sum, x, i) => sum + x * (w[sample * n + i] as number), 0);
    const h = 1e-5;
    /** The central difference of ⟨w, f⟩ as one number moves, over these samples. */
    const slope = (moved: (by: number) => At, over: number[]) =>
      over.reduce((sum, sample) => sum + dot(row(sample, moved(h)), sample) - dot(row(sample, moved(-h)), sample), 0) /
      (2 * h);
    const shifted = (array: Float64Array, i: number, by: number) => {
      const copy = array.slice();
      copy[i] = (copy[i] as number) + by;
      return copy;
    };
    const pulled = field.vjp(t, y, w, undefined, present(given));
    const dy = [...y].map((_, i) => slope((by) => ({ state: shifted(y, i, by) }), [Math.floor(i / n)]));
    expect(relative(pulled.y, dy)).toBeLessThan(1e-8);
    const dt = slope((by) => ({ time: t + by }), samples);
    expect(Math.abs((pulled.t as number) - dt)).toBeLessThan(1e-8 * (1 + Math.abs(dt)));
    const some = theta.length > 60 ? [0, 1, 2, 17, 40, theta.length - 1] : [...theta.keys()];
    const dtheta = some.map((i) => slope((by) => ({ parameters: shifted(theta, i, by) }), samples));
    expect(
      relative(
        some.map((i) => pulled.parameters[i] as number),
        dtheta,
      ),
    ).toBeLessThan(1e-7);
    expect(Object.keys(pulled.arguments)).toEqual(Object.keys(widths));
    for (const [name, width] of Object.entries(widths)) {
      const own = given[name] as Float64Array;
      const expected = [...own].map((_, i) =>
        slope((by) => ({ arrays: { ...given, [name]: shifted(own, i, by) } }), [Math.floor(i / width)]),
      );
      expect(relative(pulled.arguments[name] as Float64Array, expected)).toBeLessThan(1e-7);
    }

    // In float32 the same, to its digits; at other parameters than the field's own as well.
    const single = make("float32");
    const [y32, w32] = [Float32Array.from(y), Float32Array.from(w)];
    expect(relative(single.evaluate(t, y32, undefined, present(given)), value)).toBeLessThan(1e-5);
    const half = theta.map((x) => x / 2);
    const other = field.vjp(t, y, w, half, present(given));
    const own32 = single.vjp(t, y32, w32, Float32Array.from(half), present(given));
    for (const [a, b] of [
      [own32.y, other.y],
      [own32.parameters, other.parameters],
      ...Object.keys(widths).map((name) => [own32.arguments[name], other.arguments[name]]),
    ] as [Float32Array, Float64Array][]) {
      expect(relative(a, b)).toBeLessThan(1e-4);
    }
    for (const made of [field, single]) made.dispose();
  });

  test("gradients of a solve: bitwise the same by all methods, and as differences tell", () => {
    const batch = 5;
    const field = make("float64");
    const { given } = argumentsFor(widths, batch);
    const y0 = numbers("float64", batch * field.stateSize, 7).map((x) => x / 2);
    const times = [0.2, 0.5, 0.9];
    const target = numbers("float64", times.length * y0.length, 8);
    const loss = (y: Float64Array) => meanSquaredError(y, target);
    const solver = (arrays: ArgumentArrays): GradientOptions => ({
      ...{ method: "rk4", steps: 3 },
      ...(present(arrays) && { arguments: arrays }),
    });
    const gradients = EXACT.map(
      (gradient) => valueAndGrad(field, y0, times, loss, { ...solver(given), gradient }).gradient,
    );
    const [first, ...others] = gradients.map(({ stats: _, ...numbers }) => numbers);
    for (const other of others) expect(other).toEqual(first);
    const [{ arguments: args, y0: dy0, times: dtimes }] = gradients as [(typeof gradients)[0]];
    const at = (y: Float64Array, arrays: ArgumentArrays, ends: number[]) =>
      loss(odeint(field, y, ends, solver(arrays)).y).value;
    const h = 1e-5;
    for (const [name, gradient] of Object.entries(args)) {
      const own = given[name] as Float64Array;
      const differences = [...own].map((_, i) => {
        const moved = (by: number) => ({ ...given, [name]: own.map((x, j) => (j === i ? x + by : x)) });
        return (at(y0, moved(h), times) - at(y0, moved(-h), times)) / (2 * h);
      });
      expect(relative(gradient, differences)).toBeLessThan(1e-7);
    }
    expect(Object.keys(args)).toEqual(Object.keys(widths));
    const dy = [...y0].map((_, i) => {
      const moved = (by: number) => y0.map((x, j) => (j === i ? x + by : x));
      return (at(moved(h), given, times) - at(moved(-h), given, times)) / (2 * h);
    });
    expect(relative(dy0, dy)).toBeLessThan(1e-7);
    const dt = times.map((_, i) => {
      const moved = (by: number) => times.map((x, j) => (j === i ? x + by : x));
      return (at(y0, given, moved(h)) - at(y0, given, moved(-h))) / (2 * h);
    });
    expect(relative(dtimes as Float64Array, dt)).toBeLessThan(1e-6);
    field.dispose();
  });

  test("the directional derivative is the transpose of the transpose", () => {
    for (const batch of [1, 9, 40]) {
      const field = make("float64");
      const y = numbers("float64", batch * field.stateSize, 2);
      const { given } = argumentsFor(widths, batch);
      const w = numbers("float64", y.length, 3);
      const direction = {
        y: numbers("float64", y.length, 11),
        t: 0.3,
        parameters: numbers("float64", field.parameters.length, 12),
        ...(present(given) && {
          arguments: Object.fromEntries(
            Object.entries(given).map(([name, own], i) => [name, numbers("float64", own.length, 13 + i)]),
          ),
        }),
      };
      const other = field.parameters.map((x) => x / 2);
      for (const parameters of [undefined, other]) {
        const { value, tangent } = field.jvp(0.7, y, direction, parameters, present(given));
        expect(relative(value, field.evaluate(0.7, y, parameters, present(given)))).toBeLessThan(1e-14);
        const pulled = field.vjp(0.7, y, w, parameters, present(given));
        const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
          Array.from(a).reduce((sum, x, i) => sum + x * (b[i] as number), 0);
        const parts = [
          dot(pulled.y, direction.y),
          dot(pulled.parameters, direction.parameters),
          (pulled.t as number) * direction.t,
          ...Object.keys(given).map((name) =>
            dot(pulled.arguments[name] as Float64Array, direction.arguments?.[name] as Float64Array),
          ),
        ];
        const size = parts.reduce((sum, x) => sum + Math.abs(x), 0);
        expect(Math.abs(dot(w, tangent) - parts.reduce((a, b) => a + b))).toBeLessThan(1e-13 * size);
      }
      // Other parameters than before, of which the derivative has to know.
      const before = field.jvp(0.7, y, direction, other, present(given));
      field.parameters = other;
      expect(field.jvp(0.7, y, direction, undefined, present(given))).toEqual(before);
      const none = field.jvp(0.7, y, {}, undefined, present(given));
      expect(none.value).toEqual(before.value);
      expect(none.tangent.every((x) => x === 0)).toBe(true);
      const single = make("float32");
      single.parameters = Float32Array.from(other);
      const narrow = single.jvp(
        0.7,
        Float32Array.from(y),
        { ...direction, y: Float32Array.from(direction.y), parameters: Float32Array.from(direction.parameters) },
        undefined,
        present(given),
      );
      expect(relative(narrow.tangent, before.tangent)).toBeLessThan(1e-4);
      for (const made of [field, single]) made.dispose();
    }
  });

  test("a file is complete: the field, its arrays by name, its optimizer", () => {
    for (const dtype of ["float32", "float64"] as const) {
      const field = make(dtype);
      const optimizer = adam(field as ProgramField);
      optimizer.step(numbers(dtype, field.parameters.length, 9));
      const bytes = save(field as ProgramField, { optimizer });
      const { field: read, optimizer: own } = load(bytes);
      const again = read as ProgramField;
      const { states, argumentNames, entries, equations, parameters } = field;
      expect(again).toMatchObject({ dtype, states, argumentNames, entries, parameters });
      expect(again.equations).toBe(equations);
      expect(own?.steps).toBe(1);
      expect(programOf(again)).toEqual(programOf(field));
      expect(Buffer.compare(save(again, { optimizer: own as never }), bytes)).toBe(0);
      expect([...loadTensors(bytes).tensors.keys()].filter((name) => !name.startsWith("optimizer."))).toEqual(
        expect.arrayContaining(Object.keys(entries)),
      );
      const { given } = argumentsFor(widths, 3);
      const y0 = numbers(dtype, 3 * field.stateSize, 4) as ArrayOf<never>;
      const options = present(given) ? { arguments: given } : {};
      expect(odeint(again, y0, [0, 0.3], options).y).toEqual(odeint(field, y0, [0, 0.3], options).y);
      for (const made of [field, again, optimizer, own]) made?.dispose();
    }
  });
});

test("jumps and events use names that the equations define, and norms do not", () => {
  const field = equations("double = 2 * x \n rest = k - double \n x' = rest", {
    parameters: { k: 3 },
    dtype: "float64",
  });
  const y0 = Float64Array.of(0);
  const solve = (options: Parameters<typeof odeint>[3]) => odeint(field, y0, [0, 0.5], options);
  // x = 3/2 (1 − exp(−2t)), so 2x crosses 1 where exp(−2t) = 2/3.
  const { events } = solve({ events: [{ when: "double - 1" }], rtol: 1e-10, atol: 1e-12 }) as IndependentSolution;
  expect(events?.t[0]).toBeCloseTo(Math.log(1.5) / 2, 8);
  expect(solve({ jumps: [{ times: [0.5], set: "x = rest + d", amounts: { d: [10] } }] }).y[1]).toBeCloseTo(
    10 + 3 * Math.exp(-1),
    5,
  );
  const clash = () => solve({ jumps: [{ times: [0.5], set: "x = rest", amounts: { rest: [1] } }] });
  expect(thrown("OPTION", clash).message).toBe(
    "jumps[0].amounts: expected names not taken by states, parameters, arguments, t or the lines of the equations, given rest",
  );
  expect(thrown("OPTION", () => solve({ norm: "abs(double)" })).message).toBe(
    "norm, line 1, column 5: expected one of t, x, k; given double",
  );
  field.dispose();
});

test("pi is a constant of the derivatives, of files, and of texts beside the equations", () => {
  // x(t) = amplitude (1 − cos 2πt) / 2π
  const field = equations("x' = amplitude * sin(2*pi*t)", { parameters: { amplitude: 3 }, dtype: "float64" });
  const options = { method: "dopri8", rtol: 1e-12, atol: 1e-12 } as const;
  const { value, gradient } = valueAndGrad(
    field,
    Float64Array.of(0),
    [0, 0.25],
    (y) => ({ value: y[1] as number, cotangent: Float64Array.of(0, 1) }),
    options,
  );
  expect(value).toBeCloseTo(3 / (2 * Math.PI), 10);
  expect(gradient.parameters[0]).toBeCloseTo(1 / (2 * Math.PI), 10);
  const { field: read } = load(save(field));
  expect((read as ProgramField).equations).toBe(field.equations);
  expect(Object.keys((read as ProgramField).entries)).toEqual(["amplitude"]);
  expect(read.evaluate(0.25, Float64Array.of(0))).toEqual(field.evaluate(0.25, Float64Array.of(0)));
  const jumps = [{ times: [0.1], set: "x = pi" }];
  expect(odeint(field, Float64Array.of(0), [0, 0.1], { jumps }).y[1]).toBe(Math.PI);
  // Equations that define the name mean their own.
  const own = equations("pi = 3 \n x' = pi", { dtype: "float64" });
  expect(odeint(own, Float64Array.of(0), [0, 0.1], { jumps }).y[1]).toBe(3);
  for (const made of [field, read, own]) made.dispose();
});

describe("parameters by name", () => {
  const make = <D extends Dtype>(dtype: D) =>
    vectorField({
      state: 2,
      dtype,
      parameters: {
        rate: 1,
        pair: [2, 3],
        matrix: [
          [4, 5, 6],
          [7, 8, 9],
        ],
        net: nn.sequential(nn.linear(2, 1), nn.tanh, nn.linear(1, 2)),
        inner: { scale: 10, deep: { list: new Float32Array([11, 12]) } },
      },
      slope: ({ state, parameters: { net } }) => net(state),
    });

  test.each(["float32", "float64"] as const)("set those that are named, and no others: %s", (dtype) => {
    const field = make(dtype) as ProgramField;
    const before = field.parameters.slice();
    const { entries } = field;
    const expected = (changes: Record<string, number[]>) => {
      const all = before.slice();
      for (const [name, values] of Object.entries(changes)) all.set(values, entries[name]?.offset);
      return all;
    };
    const sets: [given: ProgramField["parameters"] | object, changes: Record<string, number[]>][] = [
      [{}, {}],
      [{ rate: -1.5 }, { rate: [-1.5] }],
      [
        { pair: [1, 2], inner: { scale: 3 } },
        { pair: [1, 2], "inner.scale": [3] },
      ],
      [{ pair: Float64Array.of(0.5, 0.25) }, { pair: [0.5, 0.25] }],
      [{ matrix: [[1, 2, 3], Float32Array.of(4, 5, 6)] }, { matrix: [1, 2, 3, 4, 5, 6] }],
      [{ matrix: [1, 2, 3, 4, 5, 6] }, { matrix: [1, 2, 3, 4, 5, 6] }],
      [{ inner: { deep: { list: [1, 2] } } }, { "inner.deep.list": [1, 2] }],
      [
        { "inner.deep": { list: [1, 2] }, "inner.scale": 4 },
        { "inner.deep.list": [1, 2], "inner.scale": [4] },
      ],
      [{ net: { 0: { weight: [[1, 2]] }, 2: { bias: [3, 4] } } }, { "net.0.weight": [1, 2], "net.2.bias": [3, 4] }],
      [{ "net.2.weight": [[1], [2]] }, { "net.2.weight": [1, 2] }],
      [Object.assign(Object.create(null), { rate: 7 }), { rate: [7] }],
    ];
    for (const [given, changes] of sets) {
      field.parameters = before;
      field.parameters = given as never;
      expect(field.parameters).toEqual(expected(changes));
      expect(field.parameters).toBeInstanceOf(before.constructor);
    }
    field.dispose();
    expect(() => {
      field.parameters = { rate: 1 };
    }).toThrow("the field has been disposed");
  });

  test.each([
    [{ rat: 1 }, "OPTION", "parameters.rat: there is no parameter of that name; did you mean rate?"],
    [
      { inner: { scal: 1 } },
      "OPTION",
      "parameters.inner.scal: there is no parameter of that name; did you mean scale?",
    ],
    [{ net: { 1: { weight: [1] } } }, "OPTION", "parameters.net.1: there is no parameter of that name"],
    [{ net: 1 }, "OPTION", "parameters.net: expected an object of parameters by their names, given 1"],
    [{ rate: "1" }, "OPTION", 'parameters.rate: expected a finite number, given "1"'],
    [{ rate: undefined }, "OPTION", "parameters.rate: expected a finite number, given undefined"],
    [{ rate: [1] }, "OPTION", "parameters.rate: expected a finite number, given Array of length 1"],
    [{ rate: Number.NaN }, "NON_FINITE", "parameters.rate: expected a finite number, given NaN"],
    [{ rate: 1e39 }, "NON_FINITE", "parameters.rate: expected numbers that are finite in float32, given 1e+39"],
    [{ pair: 1 }, "SHAPE", "parameters.pair: expected 2 numbers, given 1"],
    [{ pair: [1] }, "SHAPE", "parameters.pair: expected 2 numbers, given [1]"],
    [{ pair: [[1, 2]] }, "SHAPE", "parameters.pair: expected 2 numbers, given [1, 2]"],
    [{ pair: [1, Number.NaN] }, "NON_FINITE", "parameters.pair: expected finite numbers, given NaN at index 1"],
    [{ matrix: [1, 2, 3] }, "SHAPE", "parameters.matrix: expected numbers [2, 3], or 6 flat, given [3]"],
    [
      {
        matrix: [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
      },
      "SHAPE",
      "parameters.matrix: expected numbers [2, 3], or 6 flat, given [3, 2]",
    ],
    [{ "inner.scale": 1, inner: { scale: 2 } }, "OPTION", "parameters.inner.scale: expected one value, given two"],
  ])("are refused, and nothing changes: %j", (given, code, expected) => {
    const field = make("float32");
    const before = field.parameters.slice();
    // What is right changes nothing either.
    const error = thrown(code, () => {
      field.parameters = { "inner.deep.list": [0, 0], ...given } as never;
    });
    expect(error.message.startsWith(expected), error.message).toBe(true);
    expect(field.parameters).toEqual(before);
    field.dispose();
  });

  test("are for plain objects: what else is no array is refused as before", () => {
    const field = make("float32");
    for (const value of [null, 1, [1], new Map(), new ArrayBuffer(8), new Float64Array(field.parameters.length)]) {
      thrown("DTYPE", () => {
        field.parameters = value as never;
      });
    }
    thrown("SHAPE", () => {
      field.parameters = new Float32Array(1);
    });
    field.dispose();
  });

  test("set those of equations that were loaded, and of a function of arrays", () => {
    const own = equations("x' = -rate * x + level", { parameters: { rate: 1, level: 2 }, dtype: "float64" });
    const read = load(save(own)).field as ProgramField<"float64">;
    read.parameters = { level: 5 };
    expect(read.parameters).toEqual(Float64Array.of(1, 5));
    const encoder = differentiable({
      inputs: { x: 1 },
      parameters: { scale: 2, shift: 1 },
      apply: ({ inputs: { x }, parameters: { scale, shift } }) => x.mul(scale).add(shift),
    });
    encoder.parameters = { shift: -1 };
    expect(encoder.evaluate({ x: Float32Array.of(3) })).toEqual(Float32Array.of(5));
    for (const made of [own, read, encoder]) made.dispose();
  });
});

test("arguments are checked wherever they are taken", () => {
  const field = equations("x' = k * weight - dose", { parameters: { k: 2 }, arguments: ["weight", "dose"] });
  const y = Float32Array.of(0, 1);
  const takers: ((given?: unknown) => unknown)[] = [
    (given) => field.evaluate(0, y, undefined, given as ArgumentArrays),
    (given) => field.vjp(0, y, y, undefined, given as ArgumentArrays),
    (given) => odeint(field, y, [0, 1], given === undefined ? {} : { arguments: given as ArgumentArrays }),
    (given) => vjp(field, y, [0, 1], given === undefined ? {} : { arguments: given as ArgumentArrays }).solution,
  ];
  const one = () => odeint(field, Float32Array.of(0), [0, 1], { arguments: { weight: [70, 80], dose: [1, 2] } });
  expect(thrown("SHAPE", one).message).toMatch(/given 2; the state is that of one trajectory: repeat it 2 times$/);
  for (const take of takers) {
    take({ weight: [70, 80], dose: Float64Array.of(1, 2) });
    const message = (code: string, given?: unknown) => thrown(code, () => take(given)).message;
    expect(message("OPTION")).toBe("arguments: expected { weight: [2], dose: [2] }, given undefined");
    expect(message("OPTION", { weight: [70, 80] })).toBe("arguments.dose: expected [2] numbers, given undefined");
    expect(message("SHAPE", { weight: [70], dose: [1, 2] })).toBe("arguments.weight: expected [2] numbers, given 1");
    expect(message("OPTION", { weight: 70, dose: [1, 2] })).toBe(
      "arguments.weight: expected an array of numbers, given 70",
    );
    expect(message("NON_FINITE", { weight: [70, Number.NaN], dose: [1, 2] })).toBe(
      "arguments.weight: expected finite numbers, given NaN at index 1",
    );
    expect(message("OPTION", { wieght: [70, 80], dose: [1, 2] })).toBe(
      "arguments.wieght: there is no argument of that name; did you mean weight? The names are weight, dose",
    );
  }
  const none = equations("x' = k", { parameters: { k: 1 } });
  odeint(none, y, [0, 1], { arguments: {} });
  expect(none.vjp(0, y, y, undefined, {}).arguments).toEqual({});
  for (const take of [
    () => odeint(none, y, [0, 1], { arguments: { weight: [1, 2] } }),
    () => none.evaluate(0, y, undefined, { weight: [1, 2] }),
  ]) {
    expect(thrown("OPTION", take).message).toBe("arguments.weight: there is no argument of that name; there are none");
  }
  for (const made of [field, none]) made.dispose();
});

test("what is not used is no parameter of the solve, and has no gradient", () => {
  const field = equations("x' = -x", { parameters: { unused: 3 }, arguments: ["weight"], dtype: "float64" });
  const solve = vjp(field, Float64Array.of(1, 2), [0, 1], { arguments: { weight: [1, 2] } });
  const { parameters, arguments: args } = solve.pullback(numbers("float64", 4));
  expect([...parameters]).toEqual([0]);
  expect(args).toEqual({ weight: new Float64Array(2) });
  solve.dispose();
  field.dispose();
});

describe("pools", () => {
  let pool: Pool;
  beforeAll(async () => {
    pool = await parallel({ workers: 3 });
  });
  afterAll(() => pool.close());

  test.each(cases)("$name: the steps of one core, and its gradient", async ({ widths, make }) => {
    for (const dtype of ["float32", "float64"] as const) {
      for (const batch of [1, 40, 101]) {
        const field = make(dtype) as ProgramField;
        const y0 = numbers(dtype, batch * field.stateSize, 5).map((x) => x / 2) as ArrayOf<Dtype>;
        const { given } = argumentsFor(widths, batch);
        const times = [0, 0.2, 0.5];
        const options: GradientOptions = { rtol: 1e-5, ...(present(given) && { arguments: given }) };
        const alone = vjp(field, y0, times, options);
        const w = numbers(dtype, alone.solution.y.length, 6);
        const expected = alone.pullback(w);
        const shared = await pool.vjp(field, y0, times, options);
        expect(shared.solution.y).toEqual(alone.solution.y);
        expect((await pool.odeint(field, y0, times, options)).y).toEqual(alone.solution.y);
        const loss = () => ({ value: 1, cotangent: w });
        const { gradient } = await pool.valueAndGrad(field, y0, times, loss, options);
        for (const pulled of [await shared.pullback(w), gradient]) {
          // Cotangents of samples do not know of other samples.
          expect(pulled.y0).toEqual(expected.y0);
          expect(pulled.arguments).toEqual(expected.arguments);
          const rounding = dtype === "float32" ? 1e-6 : 1e-14;
          expect(relative(pulled.parameters, expected.parameters)).toBeLessThan(rounding);
          expect(relative(pulled.times as Float64Array, expected.times as Float64Array)).toBeLessThan(100 * rounding);
        }
        shared.dispose();
        alone.dispose();
        field.dispose();
      }
    }
  });

  test("arguments are checked before anything is sent", async () => {
    const field = equations("x' = weight", { arguments: ["weight"] });
    const y0 = new Float32Array(40);
    await expect(pool.odeint(field, y0, [0, 1])).rejects.toThrow(
      "arguments: expected { weight: [40] }, given undefined",
    );
    await expect(pool.odeint(field, y0, [0, 1], { arguments: { weight: [1] } })).rejects.toThrow(
      "arguments.weight: expected [40] numbers, given 1",
    );
    field.dispose();
  });
});

test("directions are checked", async () => {
  await collectGarbage();
  const field = equations("x' = k * weight", { parameters: { k: 2 }, arguments: ["weight"] });
  const [y, weight] = [Float32Array.of(1, 2), [3, 4]];
  const message = (code: string, tangents: unknown, given: ArgumentArrays | undefined = { weight }) =>
    thrown(code, () => field.jvp(0, y, tangents as object, undefined, given)).message;
  expect(message("OPTION", undefined)).toBe("tangents: expected an object, given undefined");
  expect(message("OPTION", { x: y })).toMatch(/^tangents\.x: there is no option of that name/);
  expect(message("SHAPE", { y: y.slice(1) })).toBe("tangents.y: expected 2 numbers [2, 1], given 1");
  expect(message("DTYPE", { y: Float64Array.from(y) })).toMatch(/^tangents\.y: expected a Float32Array/);
  expect(message("OPTION", { t: "1" })).toBe('tangents.t: expected a finite number, given "1"');
  expect(message("NON_FINITE", { parameters: Float32Array.of(Number.NaN) })).toBe(
    "tangents.parameters: expected finite numbers, given NaN at index 0",
  );
  expect(message("SHAPE", { parameters: y })).toBe("tangents.parameters: expected 1 numbers, given 2");
  expect(message("SHAPE", { arguments: { weight: [1] } })).toBe(
    "tangents.arguments.weight: expected [2] numbers, given 1",
  );
  const { liveBytes } = memoryUsage();
  field.jvp(0, y, { y }, undefined, { weight });
  expect(memoryUsage().liveBytes).toBeGreaterThan(liveBytes);
  field.dispose();
  expect(memoryUsage().liveBytes).toBeLessThan(liveBytes);
  expect(thrown("DISPOSED", () => field.jvp(0, y, {})).message).toBe("the field has been disposed");
});

test("products with second derivatives are derivatives of the gradient", () => {
  for (const batch of [1, 6, 33]) {
    const energy = differentiable({
      inputs: { q: 2, p: [2, 1] },
      parameters: { net: nn.sequential(nn.linear(4, 6), nn.tanh, nn.linear(6, 1)), mass: [1, 2] },
      dtype: "float64",
      seed: 3,
      apply: ({ inputs: { q, p }, parameters: { net, mass } }) =>
        net(q.concat(p)).add(p.square().div(mass).sum()).mul(q.sum().cos()),
    });
    const inputs = { q: numbers("float64", 2 * batch, 1), p: numbers("float64", 2 * batch, 2) };
    const along = { q: numbers("float64", 2 * batch, 3), p: numbers("float64", 2 * batch, 4) };
    const theta = energy.parameters.slice();
    const dtheta = numbers("float64", theta.length, 5);
    const w = new Float64Array(batch).fill(1);
    const product = energy.hessianProduct(inputs, along, dtheta);
    const gradient = (by: number) => {
      energy.parameters = theta.map((x, i) => x + by * (dtheta[i] as number));
      const moved = (name: "q" | "p") => inputs[name].map((x, i) => x + by * (along[name][i] as number));
      const pulled = energy.vjp({ q: moved("q"), p: moved("p") }, w);
      energy.parameters = theta;
      return pulled;
    };
    const h = 1e-5;
    const [more, less] = [gradient(h), gradient(-h)];
    const difference = (a: Float64Array, b: Float64Array) => a.map((x, i) => (x - (b[i] as number)) / (2 * h));
    expect(relative(product.parameters, difference(more.parameters, less.parameters))).toBeLessThan(1e-8);
    for (const name of ["q", "p"] as const) {
      expect(relative(product.inputs[name], difference(more.inputs[name], less.inputs[name]))).toBeLessThan(1e-8);
    }
    const { value, tangent } = energy.jvp(inputs, along, dtheta);
    expect(value).toEqual(energy.evaluate(inputs));
    const at = (by: number) => {
      const moved = (name: "q" | "p") => inputs[name].map((x, i) => x + by * (along[name][i] as number));
      energy.parameters = theta.map((x, i) => x + by * (dtheta[i] as number));
      const value = energy.evaluate({ q: moved("q"), p: moved("p") });
      energy.parameters = theta;
      return value;
    };
    expect(relative(tangent, difference(at(h), at(-h)))).toBeLessThan(1e-8);
    // What is left out does not move.
    const still = { q: along.q, p: new Float64Array(2 * batch) };
    expect(energy.hessianProduct(inputs, { q: along.q })).toEqual(energy.hessianProduct(inputs, still));
    expect(energy.jvp(inputs, {}).tangent.every((x) => x === 0)).toBe(true);
    energy.dispose();
  }
});

test("products with second derivatives need one output", () => {
  const two = differentiable({ inputs: { x: 2 }, parameters: { a: 1 }, apply: ({ inputs: { x } }) => x.square() });
  const x = Float32Array.of(1, 2);
  expect(thrown("OPTION", () => two.hessianProduct({ x }, { x })).message).toBe(
    "hessianProduct: expected a function of one output, given one of 2",
  );
  const message = (code: string, tangents: unknown, parameters?: unknown) =>
    thrown(code, () => two.jvp({ x }, tangents as object, parameters as Float32Array)).message;
  expect(message("OPTION", undefined)).toBe("tangents: expected a plain object, given undefined");
  expect(message("OPTION", { y: x })).toBe("tangents.y: there is no tangent of that name; the names are x");
  expect(message("SHAPE", { x: Float32Array.of(1) })).toBe("tangents.x: expected [1, 2] numbers, given 1");
  expect(message("SHAPE", {}, x)).toBe("parameterTangents: expected 1 numbers, given 2");
  expect(message("DTYPE", {}, Float64Array.of(1))).toMatch(/^parameterTangents: expected a Float32Array/);
  expect(message("NON_FINITE", {}, Float32Array.of(Number.NaN))).toBe(
    "parameterTangents: expected finite numbers, given NaN at index 0",
  );
  expect([...two.jvp({ x }, { x }).tangent]).toEqual([2, 8]);
  two.dispose();
});

test("a slope that is the same for all trajectories", () => {
  const field = equations("param k = 3\nx' = k * t", { dtype: "float64" });
  const { parameters, t } = field.vjp(0.5, Float64Array.of(1, 1), Float64Array.of(2, 5));
  field.dispose();
  expect([...parameters, t]).toEqual([0.5 * 7, 3 * 7]);
});

test("a choice row by row between products of square matrices", () => {
  const field = vectorField({
    state: 2,
    arguments: { matrix: 4 },
    dtype: "float64",
    slope: ({ state, arguments: { matrix } }) => where(state.greater(0), matrix.matvec(state), state),
  });
  const [y, w] = [Float64Array.of(-0.5, 0.8), Float64Array.of(0.7, 0.9)];
  const { arguments: args } = field.vjp(0, y, w, undefined, { matrix: [1, 2, 3, 4] });
  // Only the second row is a product: ∂⟨w, f⟩/∂m = w₂ y in its row.
  expect(relative(args.matrix as Float64Array, [0, 0, 0.9 * -0.5, 0.9 * 0.8])).toBeLessThan(1e-14);
  field.dispose();
});
test("the gradient of times where the slope itself is on the tape", () => {
  const field = equations("x' = exp(x)", { dtype: "float64" });
  const times = (gradient: GradientMethod) => {
    const solve = vjp(field, Float64Array.of(0.5), [0, 0.2], { method: "rk4", steps: 1, gradient });
    return solve.pullback(Float64Array.of(1, 1)).times;
  };
  for (const gradient of EXACT) expect(times(gradient)).toEqual(times("symplectic"));
  field.dispose();
});

test("a slope that is the state itself, or an argument", () => {
  for (const [text, args] of [
    ["x' = x", undefined],
    ["x' = w", { w: [1, 1] }],
  ] as const) {
    const field = equations(text, { dtype: "float64", arguments: Object.keys(args ?? {}) });
    const pulled = field.vjp(0, Float64Array.of(1, 1), Float64Array.of(2, 5), undefined, args);
    field.dispose();
    expect([...(args ? (pulled.arguments.w as Float64Array) : pulled.y)]).toEqual([2, 5]);
  }
});

test("a function of inputs: values and transposes, and its file", () => {
  const encoder = differentiable({
    inputs: { x: [2, 2], y: 1 },
    parameters: { net: nn.sequential(nn.linear(4, 5), nn.tanh, nn.linear(5, 3)) },
    dtype: "float64",
    seed: 2,
    apply: ({ inputs: { x, y }, parameters: { net } }) => net(x).mul(y),
  });
  const inputs = { x: numbers("float64", 3 * 4, 1), y: numbers("float64", 3, 2) };
  const program = programOf(encoder.field);
  const parameters = [...encoder.parameters];
  const rows = [0, 1, 2].flatMap((i) =>
    interpret(program, { state: [...inputs.x.subarray(4 * i, 4 * i + 4), inputs.y[i] as number], parameters }),
  );
  expect(relative(encoder.evaluate(inputs), rows)).toBeLessThan(1e-14);
  const w = numbers("float64", 9, 3);
  const pulled = encoder.vjp(inputs, w);
  const dot = (given: typeof inputs) => encoder.evaluate(given).reduce((sum, x, i) => sum + x * (w[i] as number), 0);
  for (const name of ["x", "y"] as const) {
    const differences = [...inputs[name]].map((_, i) => {
      const moved = (by: number) => ({ ...inputs, [name]: inputs[name].map((x, j) => (i === j ? x + by : x)) });
      return (dot(moved(1e-5)) - dot(moved(-1e-5))) / 2e-5;
    });
    expect(relative(pulled.inputs[name], differences)).toBeLessThan(1e-8);
  }
  const { field } = load(save(encoder.field));
  expect(field).toMatchObject({ stateSize: 5, outputSize: 3, parameters: encoder.parameters });
  expect(thrown("OPTION", () => odeint(encoder.field, new Float64Array(5), [0, 1])).message).toBe(
    "field: expected a vector field, with as many outputs as the state has features, 5, given 3 outputs",
  );
  for (const made of [encoder, field]) made.dispose();
});

test("text refuses names that stand for several things, and leaves the states that it does not name", () => {
  const field = vectorField({
    state: ["x", "v"],
    parameters: { x: 7, k: 1 },
    arguments: { v: "scalar" },
    dtype: "float64",
    slope: () => [0, 0],
  });
  const jumped = (set: string) =>
    vjp(field, Float64Array.of(1, 2), [0, 1], { arguments: { v: [3] }, jumps: [{ times: [0.5], set }] });
  const { solution, pullback } = jumped("v = 5 * k");
  expect([...solution.y.slice(2)]).toEqual([1, 5]);
  const gradient = pullback(Float64Array.of(0, 0, 1, 1));
  expect([[...gradient.y0], [...gradient.parameters]]).toEqual([
    [1, 0],
    [0, 5],
  ]);
  expect(thrown("OPTION", () => jumped("v = x")).message).toMatch(
    /expected a name with one meaning, or a function, which takes states, parameters and arguments apart; given x, a state and a parameter$/,
  );
  const event = { events: [{ when: "v - 1" }], arguments: { v: [3] } };
  expect(thrown("OPTION", () => odeint(field, Float64Array.of(1, 2), [0, 1], event)).message).toMatch(
    /given v, a state and an argument$/,
  );
});

test("names that are whole numbers keep their places", () => {
  const field = vectorField({ state: ["x"], arguments: { w: "scalar" }, dtype: "float64", slope: () => [0] });
  const { solution, pullback } = vjp(field, Float64Array.of(1), [0, 1], {
    arguments: { w: [100] },
    jumps: [
      {
        times: [0.5],
        amounts: { 1: [5] },
        set: ({ state, amounts, arguments: { w } }) => state.add((amounts[1] as Value).mul(10)).add(w),
      },
    ],
  });
  expect(solution.y[1]).toBe(151);
  const gradient = pullback(Float64Array.of(0, 1));
  expect([gradient.arguments.w[0], (gradient.jumps[0]?.amounts[1] as Float64Array | undefined)?.[0]]).toEqual([1, 10]);
  const weighed = loss(({ y, 0: weight }) => y.mul(weight as Value).sum(), { inputs: { 0: "scalar" } });
  const { value, cotangent } = weighed(Float64Array.of(2, 3, 4, 5), { inputs: { 0: [10, 100] } }, [2, 1, 2]);
  expect([value, ...cotangent]).toEqual([475, 5, 5, 50, 50]);
});

test("a number right behind a value of a formula is refused, and division by powers of two is right in float32", () => {
  const apply = (n: number) => {
    const values = Array.from({ length: n }, (_, i) => i + 1);
    return () =>
      differentiable({ inputs: { x: 1 }, apply: ({ inputs: { x } }) => formula`${x}2 + ${values[0] as number}` });
  };
  expect(thrown("CALLBACK", apply(12)).message).toMatch(/expected an operator after the value 1, such as \*; given 2/);
  const half = differentiable({ inputs: { x: 1 }, apply: ({ inputs: { x } }) => x.div(2 ** -128) });
  expect(half.evaluate({ x: Float32Array.of(2 ** -130) })[0]).toBe(0.25);
});
