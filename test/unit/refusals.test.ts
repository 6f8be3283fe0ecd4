// What is wrong in lists, norms and controllers is refused before anything is computed, with the place where it is.
import {
  adam,
  cnf,
  custom,
  differentiable,
  driven,
  equations,
  hamiltonian,
  hessianVectorProduct,
  lbfgs,
  leastSquares,
  loss,
  minibatches,
  mlp,
  nn,
  type OdeintOptions,
  odeint,
  parallel,
  restoreSolver,
  save,
  series,
  solver,
  train,
  type Value,
  valueAndGrad,
  vectorField,
  vjp,
  warmUp,
} from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { sentence } from "../../apps/playground/src/format.js";
import { errorFromRust } from "../../ts/engine/call.js";
import { thrown } from "./helpers.js";

const field = equations("x' = v \n v' = -x", { dtype: "float64" });
const y0 = Float64Array.of(1, 0, 2, 0);
const message = (code: string, times: unknown, options: object = {}) =>
  thrown(code, () => odeint(field, y0, times as number[], options)).message;

describe("lists say whose they are", () => {
  const set = "x = x + q";
  const q = [
    [1, 1],
    [1, 1],
  ];
  const own = [
    [0.2, 0.3],
    [0.2, 0.3],
  ];
  test.each([
    [
      "OPTION",
      [
        [0, 1],
        [0, 2, 1],
      ],
      {},
      "times[1]: expected times in ascending or descending order (a time may be repeated), given 2 followed by 1 at index 1",
    ],
    [
      "NON_FINITE",
      [
        [0, 1],
        [0, Number.NaN],
      ],
      {},
      "times[1]: expected finite numbers, given NaN at index 1",
    ],
    ["SHAPE", [[0, 1], []], {}, "times[1]: expected at least one time, given none"],
    [
      "OPTION",
      [0, 1],
      {
        jumps: [
          { times: [0.5], set: "x = 0" },
          {
            times: [
              [0.2, 0.3],
              [0.3, 0.2],
            ],
            set: "x = 0",
          },
        ],
      },
      "jumps[1].times[1]: expected times in the order of times, given 0.3 followed by 0.2 at index 0",
    ],
    [
      "OPTION",
      [
        [0, 1],
        [1, 0],
      ],
      { jumps: [{ times: [0.2, 0.3], set: "x = 0" }] },
      "jumps[0].times: expected times in the order of times[1], given 0.2 followed by 0.3 at index 0",
    ],
    [
      "OPTION",
      [0, 1],
      { jumps: [{ times: [-1], set: "x = 0" }] },
      "jumps[0].times: expected times no earlier than the first of times, 0, given -1 at index 0",
    ],
    [
      "NON_FINITE",
      [0, 1],
      { jumps: [{ times: [[0.2], [Number.NaN]], set: "x = 0" }] },
      "jumps[0].times[1]: expected finite numbers, given NaN at index 0",
    ],
    [
      "NON_FINITE",
      [0, 1],
      { jumps: [{ times: own, set, amounts: { q: [q[0], [1, Number.NaN]] } }] },
      "jumps[0].amounts.q[1]: expected finite numbers, given NaN at index 1",
    ],
    [
      "SHAPE",
      [0, 1],
      { jumps: [{ times: own, set, amounts: { q: [q[0], [1]] } }] },
      "jumps[0].amounts.q[1]: expected 2 numbers, as jumps[0].times[1] has times, given 1",
    ],
  ])("%s %#", async (code, times, options, expected) => {
    expect(message(code, times, options)).toBe(expected);
    const pool = await parallel({ workers: 1 });
    await expect(pool.odeint(field, y0, times as number[], options as OdeintOptions)).rejects.toThrow(expected);
    pool.close();
  });

  test("what a trajectory that goes nowhere has is not refused", () => {
    const { y } = odeint(field, y0, [[0], [0, 1]], { jumps: [{ times: [0], set: "x = 3" }] });
    expect([y[0], y[2]]).toEqual([3, 3]);
  });
});

describe("norms", () => {
  test("of other names are refused", () => {
    const expected = "norm: expected rms, max, a function of the errors, or text such as max(abs(x), abs(v)), given";
    for (const norm of ["l2", "inf", "RMS"])
      expect(message("OPTION", [0, 1], { norm })).toContain(`${expected} "${norm}"`);
  });

  test("that are taken for functions of an object are refused", () => {
    const wrong = [
      ({ state: [x] }: { state: never[] }) => x,
      ({ x }: { x: { abs(): never } }) => x.abs(),
      ({ errors }: { errors: never[] }) => errors[0],
    ];
    for (const norm of wrong) {
      expect(message("CALLBACK", [0, 1], { norm })).toContain("a function of one vector, the error of each feature");
    }
    const max = odeint(field, y0, [0, 1], { norm: "max" });
    const own = odeint(field, y0, [0, 1], { norm: ([x, v]) => (x as Value).abs().max((v as Value).abs()) });
    expect(own.y).toEqual(max.y);
  });
});

describe("coefficients of a controller", () => {
  test("are those of diffrax where they are not given", () => {
    const steps = (controller: OdeintOptions["controller"]) => odeint(field, y0, [0, 20], { controller, rtol: 1e-6 }).y;
    expect(steps({})).toEqual(steps("standard"));
    expect(steps({ p: 0.2 })).toEqual(steps({ p: 0.2, i: 1, d: 0 }));
  });

  test.each([0, -1, Number.POSITIVE_INFINITY])("i = %s is refused with the reason", (i) => {
    expect(message("OPTION", [0, 1], { controller: { p: 0.4, i } })).toContain(
      "controller.i: expected a positive number, since without it steps never return to the size that their errors call for",
    );
  });
});

test("arguments are flat", () => {
  const driven = vectorField({
    state: 1,
    arguments: { u: 2, w: "scalar" },
    dtype: "float64",
    slope: ({ state, arguments: { u, w } }) => state.mul(u.sum()).mul(w),
  });
  const solve = (own: object) => () => odeint(driven, Float64Array.of(1, 2), [0, 1], { arguments: own as never });
  const [u, w] = [
    [1, 2, 3, 4],
    [1, 2],
  ];
  expect(solve({ u, w })).not.toThrow();
  expect(
    thrown(
      "SHAPE",
      solve({
        u: [
          [1, 2],
          [3, 4],
        ],
        w,
      }),
    ).message,
  ).toBe("arguments.u: expected one flat array [2, 2], as flat() makes of rows, given an array of arrays");
  expect(thrown("SHAPE", solve({ u, w: [[1], [2]] })).message).toContain("one flat array [2]");
  driven.dispose();
});

test.each([
  ["ln(x)", "log(x) for the natural logarithm"],
  ["pow(x, 2)", "a ^ b for a power"],
  ["if(x < 1, x, v)", "a < b ? x : y for a choice"],
  ["log10(x)", "log(x) / log(10)"],
  ["x * e^(-v)", "exp(-v) for a power of Euler's number"],
])("%s says what to write instead", (text, expected) => {
  expect(thrown("OPTION", () => equations(`x' = ${text} \n v' = 0`)).message).toContain(expected);
});

test.each([
  ["x = 0", 3, "=", "x"],
  ["x == 0.0", 3, "==", "x"],
  ["x - v > 0", 7, ">", "x - v"],
  ["x >= 2", 3, ">=", "x - 2"],
  ["x < v + 1", 3, "<", "x - (v + 1)"],
  ["x != v", 3, "!=", "x - v"],
])("an event when %s is told which function crosses zero", (when, column, sign, crossing) => {
  const falling = equations("x' = v \n v' = -1");
  const error = thrown("OPTION", () => odeint(falling, Float32Array.of(1, 0), [0, 1], { events: [{ when }] }));
  expect(error.message).toBe(
    `events[0].when, line 1, column ${column}: expected the function that crosses zero, ${crossing}; given ${sign}`,
  );
  expect([error.argument, error.given, error.column]).toEqual(["events[0].when", sign, column]);
  falling.dispose();
});

test("a traced event that compares is told to return what crosses zero, and where it stands", () => {
  using field = equations("height' = speed\n speed' = -9.81", { dtype: "float64" });
  const events = [{ when: (({ states: { height } }: never) => (height as Value).less(0)) as never }];
  const error = thrown("CALLBACK", () => odeint(field, Float64Array.of(1, 0), [0, 2], { events }));
  expect(error.message).toMatch(
    /^events\[0\]\.when's result: expected the function that crosses zero, h for h\.less\(0\), or a\.sub\(b\) for a\.less\(b\), given a condition \(at refusals\.test\.ts:\d+:\d+\)$/,
  );
});

test("a comparison within a choice is a part of the function that crosses zero", () => {
  const falling = equations("x' = v \n v' = -1", { dtype: "float64" });
  const events = [{ when: "v < 0 ? x : 1" }];
  expect(odeint(falling, Float64Array.of(1, 0), [0, 3], { events }).events?.t[0]).toBeCloseTo(Math.SQRT2, 10);
  falling.dispose();
});

test("functions of jumps, events and losses that take their inputs one by one, or for a list", () => {
  const falling = equations("x' = v \n v' = -1");
  const solve = (options: object) => () => odeint(falling, Float32Array.of(1, 0), [0, 1], options as never);
  const one = "expected a function of one object, ({ t, state, … }) => …, given ";
  const two = (_: unknown, y: number[]) => y;
  expect(thrown("CALLBACK", solve({ events: [{ when: two }] })).message).toBe(
    `events[0].when: ${one}one of 2 arguments`,
  );
  expect(thrown("CALLBACK", solve({ events: [{ when: "x", set: two }] })).message).toBe(
    `events[0].set: ${one}one of 2 arguments`,
  );
  expect(thrown("CALLBACK", solve({ jumps: [{ times: [0.5], set: two }] })).message).toBe(
    `jumps[0].set: ${one}one of 2 arguments`,
  );
  expect(thrown("CALLBACK", solve({ events: [{ when: (y: number[]) => y[0] }] })).message).toContain(
    `events[0].when: ${one}one that takes a list`,
  );
  expect(thrown("CALLBACK", solve({ events: [{ when: ({ height }: never) => height }] })).message).toContain(
    "events[0].when's height: there is no input of that name; the names are t, state, states, parameters",
  );
  expect(thrown("CALLBACK", () => loss(((y: Value, target: Value) => y.sub(target)) as never)).message).toBe(
    "loss: expected a function of one object, ({ y, target, … }) => …, given one of 2 arguments",
  );
  falling.dispose();
});

test("a name that a jump has no amount for may be one", () => {
  const falling = equations("x' = -x", { parameters: { k: 1 } });
  const jumps = [{ times: [0.5], set: "x = x + dose" }];
  const error = thrown("OPTION", () => odeint(falling, Float32Array.of(1), [0, 1], { jumps }));
  expect(error.message).toBe(
    "jumps[0].set, line 1, column 9: expected one of t, x, k, or a name in amounts; given dose",
  );
  const events = [{ when: "x - 1", set: "x = x + dose" }];
  expect(thrown("OPTION", () => odeint(falling, Float32Array.of(1), [0, 1], { events })).expected).toBe(
    "one of t, x, k",
  );
  falling.dispose();
});

test("what belongs to measurements, to bounds and to jumps in estimation", () => {
  const decay = equations("x' = -k * x", { parameters: { k: 1 } });
  const data = { times: [1, 2], y: [0.4, 0.1], y0: [1], t0: 0 };
  const message = (options: object) =>
    thrown("OPTION", () => leastSquares({ field: decay, data, ...options } as never)).message;
  expect(message({ sigma: 0.1 })).toContain("; weights of the measurements, 1 / sigma^2, belong to data");
  expect(message({ parameters: { k: { min: 0 } } })).toContain(
    "parameters.k.min: there is no option of that name; did you mean lower?",
  );
  expect(message({ parameters: { k: { max: 9 } } })).toContain("did you mean upper?");
  expect(message({ data: [{ ...data, jumps: [] }] })).toMatch(
    /^data\[0\]\.jumps: there is no option of that name; they go next to data, with a list of times for each trajectory/,
  );
  decay.dispose();
});

describe("progress", () => {
  test.each([
    ["odeint", (progress: () => void) => odeint(field, y0, [0, 1], { progress })],
    ["an independent odeint", (progress: () => void) => odeint(field, y0, [0, 1], { progress, dense: true })],
    ["vjp", (progress: () => void) => vjp(field, y0, [0, 1], { progress })],
    [
      "valueAndGrad",
      (progress: () => void) => valueAndGrad(field, y0, [0, 1], (y) => ({ value: 0, cotangent: y }), { progress }),
    ],
  ])("that solves is refused however short a solve is: %s", (_, solve) => {
    let calls = 0;
    const error = thrown("REENTRANT", () =>
      solve(() => {
        calls++;
        odeint(field, y0, [0, 1]);
      }),
    );
    expect(error.message).toContain("progress function");
    expect(calls).toBe(1);
  });

  test("that changes the noise of a flow is refused", () => {
    using flow = cnf({ network: { widths: [2, 4, 2] }, trace: "hutchinson" });
    const start = new Float32Array(3 * 256).fill(0.5);
    const solve = (progress?: () => void) => odeint(flow, start, [0, 1], { method: "rk4", steps: 20, progress }).y;
    const known = solve();
    // Within a solve, and at its end.
    for (const change of [() => flow.seedNoise(7), () => flow.setNoise(new Float32Array(2 * 256))]) {
      expect(thrown("REENTRANT", () => solve(change)).message).toMatch(/^se\w+Noise inside a custom vector field or a/);
      using own = custom({
        stateSize: 1,
        evaluate(_t, y) {
          change();
          return y;
        },
        vjp: (_t, _y, w) => ({ y: w }),
      });
      thrown("REENTRANT", () => odeint(own, Float32Array.of(1), [0, 1]));
    }
    expect(solve()).toEqual(known);
    flow.seedNoise(7);
    expect(solve()).not.toEqual(known);
  });

  test("may evaluate fields", () => {
    const progress = () => void field.evaluate(0, y0);
    expect(() => odeint(field, y0, [0, 1], { progress })).not.toThrow();
  });
});

test.each([{}, undefined, null, "text", { message: "m" }, { code: "SHAPE" }, new Error("m")])(
  "an error of the engine of another form is a fault: %j",
  (given) => {
    const { code, message } = errorFromRust(given);
    expect([code, message]).toEqual(["INTERNAL", expect.stringMatching(/^a fault inside the package: ./)]);
  },
);

test("a driven field is called what it is where it cannot be saved", () => {
  const energy = { widths: [2, 4, 1] };
  for (const inside of [hamiltonian({ energy, structure: "canonical" }), mlp({ widths: [2, 2] })]) {
    using inner = inside;
    using field = driven(inner, { B: [0, 1], u: () => [1] });
    expect(thrown("OPTION", () => save(field)).message).toMatch(
      /given a driven field, whose input is a function that stays here$/,
    );
  }
});

test("the playground ends an error with one mark", () => {
  expect(sentence("there is no function sine; did you mean sin?")).toBe("there is no function sine; did you mean sin?");
  expect(sentence("expected a number, given x")).toBe("expected a number, given x.");
});

describe("revoked proxies are refused by their place, however deep they lie", () => {
  const revoked = (): never => {
    const { proxy, revoke } = Proxy.revocable([], {});
    revoke();
    return proxy as never;
  };
  const driven = equations("x' = -k*x + w", { parameters: { k: 1 }, arguments: ["w"] });
  const matrix = vectorField({ state: 1, parameters: { k: [[1, 2]] }, slope: ({ state }) => state });
  const sine = differentiable({ inputs: { x: 1 }, apply: ({ inputs: { x } }) => x.sin() });
  const squared = loss(({ y, target }) => y.sub(target).square().sum());
  const y = Float32Array.of(1);
  const traced = (parameters: object) => vectorField({ state: 1, parameters: parameters as never, slope: () => [1] });
  test.each<[argument: string, code: string, body: () => unknown]>([
    ["arguments.w", "OPTION", () => odeint(driven, y, [0, 1], { arguments: { w: revoked() } })],
    ["tangents.arguments.w", "OPTION", () => driven.jvp(0, y, { arguments: { w: revoked() } }, undefined, { w: [1] })],
    ["parameters.k", "OPTION", () => traced({ k: revoked() })],
    ["parameters.a.k", "OPTION", () => traced({ a: { k: revoked() } })],
    ["parameters.k[1]", "SHAPE", () => traced({ k: [[1], revoked()] })],
    [
      "parameters.k",
      "SHAPE",
      () => {
        matrix.parameters = { k: revoked() };
      },
    ],
    ["slope's result", "CALLBACK", () => vectorField({ state: 1, slope: () => revoked() })],
    ["slope's result[0]", "CALLBACK", () => vectorField({ state: 1, slope: () => [revoked()] })],
    ["add's argument", "CALLBACK", () => vectorField({ state: 1, slope: ({ state }) => state.add(revoked()) })],
    ["inputs.x", "OPTION", () => differentiable({ inputs: { x: revoked() }, apply: ({ inputs: { x } }) => x })],
    ["inputs.x", "OPTION", () => sine.evaluate({ x: revoked() })],
    ["tangents.x", "OPTION", () => sine.jvp({ x: y }, { x: revoked() })],
    ["data", "OPTION", () => squared(y, revoked(), [1, 1, 1])],
    ["target", "DTYPE", () => squared(y, { target: revoked() }, [1, 1, 1])],
    ["shape", "SHAPE", () => squared(y, { target: [1] }, revoked())],
    ["modules[0]", "OPTION", () => nn.sequential(revoked())],
  ])("%s", (argument, code, body) => {
    const error = thrown(code, body);
    expect([error.argument, error.given]).toEqual([argument, "a revoked proxy"]);
  });
});

describe("values that nobody means are refused by an error of the package, at once", () => {
  const revoked = (target: object = {}): never => {
    const { proxy, revoke } = Proxy.revocable(target, {});
    revoke();
    return proxy as never;
  };
  const endless: never = Object.assign([], { length: 2 ** 32 - 1 }) as never;
  const cyclic: { self?: unknown } = {};
  cyclic.self = cyclic;
  let deep: unknown[] = [];
  for (let depth = 0; depth < 1e5; depth++) deep = [deep];
  const odd = [
    undefined,
    null,
    1n,
    Symbol("odd"),
    Number.NaN,
    "text",
    {},
    new Date(0),
    Object.create(null),
    [Symbol()],
  ];
  const values = [...odd, revoked(), endless, cyclic, deep] as never[];
  const start = Float64Array.of(1, 0);
  const solution = odeint(field, start, [0, 0.5, 1]);
  const decay = equations("param k = 0.5\nx' = -k*x", { dtype: "float64" });
  const data = { times: [0, 1, 2], y: [1, 0.6, 0.37], y0: [1] };
  const fitted = leastSquares({ residuals: ({ k }) => [k - 1, k - 1.2], parameters: { k: 1 } });
  const saved = solver(field, start, 0).save();
  const tableau = { c: [0], a: [[]], b: [1], order: 1 };
  const slope = (body: (state: Value) => unknown) =>
    vectorField({ state: 3, slope: ({ state }) => (body(state) ? state : state) });
  const optimizer = adam(field);

  test.each<[argument: RegExp, call: (value: never) => unknown, legal?: readonly unknown[]]>([
    [/^field$/, (value) => series(value, solution, 0)],
    [/^solution/, (value) => series(field, value, 0)],
    [/^solution\.shape$/, (value) => series(field, { ...solution, shape: value }, 0)],
    [/^solution\.shape$/, (value) => series(field, { ...solution, shape: [value, 1, 2] }, 0)],
    [/^solution\.y$/, (value) => series(field, { ...solution, y: value }, 0)],
    [/^solution\.trajectories/, (value) => series(field, { ...solution, trajectories: value }, 0), [undefined]],
    [/^solution\.tra/, (value) => series(field, { ...solution, trajectories: { reached: [value] } as never }, 0)],
    [/^(state|text)$/, (value) => series(field, solution, value)],
    [/^trajectory$/, (value) => series(field, solution, 0, value), [undefined]],
    [/^name$/, (value) => fitted.profile(value)],
    [/^slice's arguments$/, (value) => slope((state) => state.slice(value)), [undefined]],
    [/^at's argument$/, (value) => slope((state) => state.at(value))],
    [/^value\.map's argument$/, (value) => slope((state) => (state as never as unknown[]).map(value))],
    [
      /^initial\.x/,
      (value) => leastSquares({ field: decay, data, initial: { x: value } }),
      [undefined, odd[6], odd[8]],
    ],
    [
      /^parameters\.k/,
      (value) => leastSquares({ field: decay, data, parameters: { k: value } }),
      [undefined, odd[6], odd[8]],
    ],
    [
      /^amounts|^jumps\[0\]/,
      (value) => odeint(field, start, [0, 1], { jumps: [{ times: [0.5], set: "x = x", amounts: value }] }),
      [undefined, odd[6], odd[8]],
    ],
    [
      /^parameters/,
      (value) => vectorField({ state: 1, parameters: value, slope: ({ state }) => state }),
      [undefined, odd[6], odd[8]],
    ],
    [
      /^(saved\.programs\.)?events$/,
      (value) => restoreSolver(field, { ...saved, programs: { ...saved.programs, events: value } }),
    ],
    [
      /^(saved\.programs\.)?norm$/,
      (value) => restoreSolver(field, { ...saved, programs: { ...saved.programs, norm: value } }),
      [null],
    ],
    [
      /^method\.b$/,
      (value) => odeint(field, start, [0, 1], { method: { ...tableau, b: { length: value } as never }, steps: 1 }),
    ],
    [
      /^method\.a\[0\]$/,
      (value) => odeint(field, start, [0, 1], { method: { ...tableau, a: [{ length: value } as never] }, steps: 1 }),
    ],
    [
      /^trajectories\[0\]\.values$/,
      (value) => minibatches({ trajectories: [{ times: [0, 1], values: [0, value] }] }),
      [undefined, null, Number.NaN],
    ],
    [
      /^trajectories\[0\]\.values$/,
      () => minibatches({ trajectories: [{ times: [0, 1], values: { length: 2 ** 28 } }] }),
    ],
    [/^data\.y$/, () => leastSquares({ field: decay, data: { ...data, y: { length: 2 ** 28 } } })],
    [/^this$/, (value) => optimizer.step.call(value, start)],
    [/^this$/, (value) => Reflect.get(Object.getPrototypeOf(optimizer), "learningRate", value)],
    [/^then$/, (value) => warmUp(2, value)],
  ])("%s %#", (argument, call, legal = []) => {
    for (const value of values) {
      if (legal.includes(value)) continue;
      let error: unknown;
      try {
        call(value);
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toMatchObject({ name: "SymplecticAdjointError", argument: expect.stringMatching(argument) });
    }
  });

  test("functions that cannot be called", () => {
    class Uncallable {}
    for (const value of [Uncallable, revoked(() => 1)] as never[]) {
      for (const [code, call] of [
        ["OPTION", () => vectorField({ state: 1, slope: value })],
        ["OPTION", () => odeint(field, start, [0, 1], { progress: value })],
        ["OPTION", () => odeint(field, start, [0, 1], { norm: value })],
        ["OPTION", () => odeint(field, start, [0, 1], { events: [{ when: value }] })],
        ["OPTION", () => valueAndGrad(field, start, [0, 1], value)],
        ["OPTION", () => leastSquares({ residuals: value, parameters: { a: 1 } })],
        ["OPTION", () => warmUp(2, value)],
        [
          "CALLBACK",
          () => leastSquares({ residuals: ({ a }) => ({ residuals: [a, 1], jacobian: value }), parameters: { a: 1 } }),
        ],
        [
          "CALLBACK",
          () =>
            hessianVectorProduct(field, start, [0], (y) => ({ value: 1, cotangent: y, curvature: value }), {
              y0: start,
            }),
        ],
      ] as const) {
        expect(thrown(code, call).given).toBe(value === Uncallable ? "a class" : "a revoked proxy");
      }
    }
  });

  test("what a loss gives that cannot be waited for", async () => {
    const pool = await parallel({ workers: 1 });
    await expect(pool.valueAndGrad(field, start, [0, 1], () => revoked())).rejects.toMatchObject({ code: "CALLBACK" });
    await expect(lbfgs({ field, value: () => revoked() })).rejects.toMatchObject({ code: "CALLBACK" });
    pool.close();
  });
});

describe("memory that was transferred elsewhere is refused", () => {
  const detached = <A extends Float32Array>(array: A): A => {
    structuredClone(array.buffer, { transfer: [array.buffer] });
    return array;
  };
  test("as data of a training", async () => {
    using network = mlp({ widths: [1, 2, 1] });
    using optimizer = adam(network);
    for (const data of [detached(Float32Array.of(1)), Float32Array.of(1)]) {
      const { argument } = thrown("OPTION", () => train({ field: network, optimizer, data: data as never, steps: 1 }));
      expect(argument).toBe("data");
    }
  });

  test("where a getter of a loss's data takes that of the states", () => {
    const squared = loss(({ y, target }) => y.sub(target).square().sum());
    const y = Float32Array.of(1, 2);
    const data = {
      get target() {
        detached(y);
        return [1, 2];
      },
    };
    expect(thrown("SHAPE", () => squared(y, data, [2, 1, 1])).argument).toBe("y");
  });
});
