import {
  adam,
  type Batch,
  fit,
  meanSquaredError,
  memoryUsage,
  mlp,
  sgd,
  train,
  valueAndGrad,
  vectorField,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { collectGarbage, numbers, thrown } from "./helpers.js";

/** Turns by the angle t. */
const batch = (): Batch<"float32"> => {
  const times = [0, 0.5, 1];
  const y0 = Float32Array.of(1, 0, 0, 1);
  const target = times.flatMap((t) => [Math.cos(t), Math.sin(t), -Math.sin(t), Math.cos(t)]);
  return { y0, times, target: Float32Array.from(target) };
};

test.each(["adam", "sgd"] as const)("%s learns a rotation", async (name) => {
  const field = mlp({ widths: [2, 16, 2], seed: 1 });
  const optimizer =
    name === "adam" ? adam(field, { learningRate: 0.02 }) : sgd(field, { learningRate: 0.05, momentum: 0.9 });
  const losses: number[] = [];
  for await (const { step, loss } of train({ field, optimizer, data: [batch()], steps: 150 })) {
    losses.push(loss);
    expect(step).toBe(losses.length);
  }
  expect(losses).toHaveLength(150);
  expect(losses[149]).toBeLessThan((losses[0] ?? 0) / 50);
  expect(optimizer.steps).toBe(150);
});

test("data may be any iterable, the loss any function", async () => {
  const field = mlp({ widths: [2, 4, 2] });
  const optimizer = adam(field);
  async function* stream() {
    for (let i = 0; i < 3; i++) yield batch();
  }
  const loss = (y: Float32Array) => ({ value: 1, cotangent: y });
  const steps: number[] = [];
  for await (const { step } of train({ field, optimizer, data: stream(), loss, method: "rk4", solverSteps: 2 }))
    steps.push(step);
  expect(steps).toEqual([1, 2, 3]);
});

test("a signal ends it between steps, with nothing half done", async () => {
  await collectGarbage();
  const field = mlp({ widths: [2, 4, 2] });
  const optimizer = adam(field);
  const controller = new AbortController();
  const { liveBytes } = memoryUsage();
  let taken = 0;
  const loop = async () => {
    for await (const { step } of train({ field, optimizer, data: [batch()], steps: 1e6, signal: controller.signal })) {
      taken = step;
      if (step === 5) controller.abort();
    }
  };
  await expect(loop()).rejects.toMatchObject({ name: "AbortError" });
  expect([taken, optimizer.steps]).toEqual([5, 5]);
  expect(memoryUsage().liveBytes).toBe(liveBytes);
});

test("no more batches are taken than steps", async () => {
  const field = mlp({ widths: [2, 4, 2] });
  let taken = 0;
  function* endless() {
    for (;;) {
      taken++;
      yield batch();
    }
  }
  for await (const _ of train({ field, optimizer: adam(field), data: endless(), steps: 2 }));
  expect(taken).toBe(2);
});

test("other tasks get their turn", async () => {
  const field = mlp({ widths: [2, 32, 32, 2] });
  let turns = 0;
  const timer = setInterval(() => turns++, 5);
  for await (const _ of train({ field, optimizer: adam(field), data: [batch()], steps: 300 }));
  clearInterval(timer);
  expect(turns).toBeGreaterThan(0);
});

test("an optimizer goes on from its saved state bitwise", () => {
  const run = (stop: boolean) => {
    let field = mlp({ widths: [2, 4, 2], seed: 4 });
    let optimizer = adam(field, { weightDecay: 0.01 });
    for (let step = 0; step < 20; step++) {
      if (stop && step === 10) {
        const [parameters, state, { steps }] = [field.parameters.slice(), optimizer.state.slice(), optimizer];
        field = mlp({ widths: [2, 4, 2], seed: 9 });
        field.parameters = parameters;
        optimizer = adam(field, { weightDecay: 0.01 });
        optimizer.state.set(state);
        optimizer.steps = steps;
      }
      optimizer.step(numbers("float32", field.parameters.length, step));
    }
    return [...field.parameters];
  };
  expect(run(true)).toEqual(run(false));
});

test("refused options and gradients change nothing", async () => {
  const field = mlp({ widths: [2, 4, 2] });
  const optimizer = adam(field);
  const before = field.parameters.slice();
  thrown("SHAPE", () => optimizer.step(new Float32Array(3)));
  thrown("NON_FINITE", () => optimizer.step(new Float32Array(before.length).fill(Number.NaN)));
  thrown("OPTION", () => adam(field, { learningRate: -1 }));
  thrown("OPTION", () => adam(field, { beta1: 1 }));
  thrown("OPTION", () => sgd(field, { nesterov: true } as never));
  thrown("OPTION", () => {
    optimizer.learningRate = Number.NaN;
  });
  thrown("OPTION", () => {
    optimizer.learningRate = undefined as never;
  });
  const wrongs = [{ data: [] }, { steps: undefined }, { loss: "huber" }, { epochs: 3 }, { steps: 2.5 }, { data: 3 }];
  const more = [{ data: undefined }, { data: [null] }, { optimizer: {} }, { signal: "x" }, { solverSteps: 0 }];
  for (const wrong of [...wrongs, ...more, { field: {} }]) {
    const options = { field, optimizer, data: [batch()], steps: 2, ...wrong };
    thrown("OPTION", () => train(options as never));
  }
  expect(field.parameters).toEqual(before);
  expect(optimizer.steps).toBe(0);
  optimizer.dispose();
  thrown("DISPOSED", () => optimizer.step(before));
});

test("an optimizer of another field is refused before anything is computed", async () => {
  const [field, other] = [mlp({ widths: [2, 4, 2], seed: 1 }), mlp({ widths: [2, 4, 2], seed: 2 })];
  const before = [field, other].map(({ parameters }) => parameters.slice());
  let taken = 0;
  function* data() {
    taken++;
    yield batch();
  }
  const disposed = adam(field);
  disposed.dispose();
  const wrongs: [string, unknown][] = [
    ["OPTION", adam(other)],
    ["OPTION", sgd(other)],
    ["OPTION", new Proxy(adam(field), {})],
    ["OPTION", Object.create(adam(field))],
    ["OPTION", { step: () => {}, steps: 0, learningRate: 1 }],
    ["DISPOSED", disposed],
  ];
  for (const [code, optimizer] of wrongs) {
    for (const run of [async (options: never) => train(options), fit]) {
      await expect(run({ field, optimizer, data: data() } as never)).rejects.toMatchObject({ code });
    }
  }
  expect(taken).toBe(0);
  expect([field, other].map(({ parameters }) => parameters)).toEqual(before);
});

test("adam without a first average is RMSprop, but for the bias of the first steps", () => {
  const field = vectorField({ state: 1, parameters: { w: [1, -2] }, dtype: "float64", slope: ({ state }) => state });
  const [learningRate, alpha, epsilon] = [0.01, 0.99, 1e-8];
  const optimizer = adam(field, { learningRate, beta1: 0, beta2: alpha, epsilon });
  const [parameters, squares] = [
    [1, -2],
    [0, 0],
  ];
  for (let step = 1; step <= 20; step++) {
    const gradient = numbers("float64", 2, step);
    optimizer.step(gradient);
    for (const [i, g] of gradient.entries()) {
      squares[i] = alpha * (squares[i] as number) + (1 - alpha) * g * g;
      const unbiased = (squares[i] as number) / (1 - alpha ** step);
      parameters[i] = (parameters[i] as number) - (learningRate * g) / (Math.sqrt(unbiased) + epsilon);
    }
  }
  for (const [i, value] of parameters.entries()) expect(field.parameters[i]).toBeCloseTo(value, 12);
  const given = { field, optimizer: "RMSprop", data: [] };
  expect(thrown("OPTION", () => train(given as never)).message).toMatch(/given "RMSprop"; adam\(field, \{ beta1: 0/);
});

test.each([
  ["adam", "float32"],
  ["adam", "float64"],
  ["sgd", "float32"],
  ["sgd", "float64"],
] as const)("%s changes an array as it does the parameters of a field, bitwise, and goes on: %s", (name, dtype) => {
  const array = numbers(dtype, 5, 7);
  // A part of a larger one.
  const whole = dtype === "float32" ? new Float32Array(9).fill(8) : new Float64Array(9).fill(8);
  whole.set(array, 2);
  const part = whole.subarray(2, 7) as Float32Array;
  const field = vectorField({ state: 1, parameters: { w: [...array] }, dtype, slope: ({ state }) => state });
  const make = <T>(target: T) => {
    const [common, any] = [{ learningRate: 0.02, weightDecay: 0.1 }, target as Float32Array];
    return name === "adam" ? adam(any, common) : sgd(any, { ...common, momentum: 0.9 });
  };
  const ofField = make(field);
  let ofArray = make(part);
  for (let step = 1; step <= 20; step++) {
    const gradient = numbers(dtype, 5, step) as Float32Array;
    const learningRate = 0.1 / step;
    for (const optimizer of [ofField, ofArray]) {
      if (step === 7) optimizer.learningRate = learningRate;
      optimizer.step(gradient);
    }
    if (step === 10) {
      const { state, steps, learningRate } = ofArray;
      const again = make(part);
      again.state.set(state);
      Object.assign(again, { steps, learningRate });
      ofArray.dispose();
      ofArray = again;
    }
  }
  expect([...part]).toEqual([...field.parameters]);
  expect([...whole.subarray(0, 2), ...whole.subarray(7)]).toEqual([8, 8, 8, 8]);
  expect([ofArray.steps, [...ofArray.state]]).toEqual([20, [...ofField.state]]);
});

test("an optimizer of an array finds initial states", () => {
  const field = vectorField({ state: ["x", "v"], dtype: "float64", slope: ({ state: [x, v] }) => [v, x.neg()] });
  const times = [0, 1, 2, 3];
  const target = Float64Array.from(times.flatMap((t) => [Math.cos(t + 1), -Math.sin(t + 1)]));
  const y0 = Float64Array.of(0, 0);
  const optimizer = adam(y0, { learningRate: 0.05 });
  for (let step = 0; step < 400; step++) {
    optimizer.step(valueAndGrad(field, y0, times, (y) => meanSquaredError(y, target)).gradient.y0);
  }
  expect(y0[0]).toBeCloseTo(Math.cos(1), 4);
  expect(y0[1]).toBeCloseTo(-Math.sin(1), 4);
});

test("what an optimizer of an array cannot take is refused, and nothing changes", async () => {
  await collectGarbage();
  const { liveBytes } = memoryUsage();
  const array = Float64Array.of(1, 2, 3);
  const optimizer = adam(array, { learningRate: 0.1 });
  optimizer.step(Float64Array.of(1, -1, 0));
  const [before, state] = [array.slice(), optimizer.state.slice()];
  const refusals: [string, unknown, RegExp][] = [
    [
      "DTYPE",
      new Float32Array(3),
      /^gradient: expected a Float64Array, as the array that it is for, given Float32Array/,
    ],
    ["DTYPE", [1, 2, 3], /^gradient: /],
    ["DTYPE", { parameters: array }, /^gradient: /],
    ["SHAPE", new Float64Array(2), /^gradient: expected 3 numbers, given 2$/],
    ["NON_FINITE", Float64Array.of(0, Number.NaN, 0), /gradient/],
    // The second moment would overflow.
    ["NON_FINITE", Float64Array.of(0, 1e300, 0), /optimizer/],
  ];
  for (const [code, gradient, message] of refusals) {
    expect(thrown(code, () => optimizer.step(gradient as Float64Array)).message).toMatch(message);
  }
  array[1] = Number.NaN;
  expect(thrown("NON_FINITE", () => optimizer.step(before)).message).toMatch(/^array: expected finite numbers/);
  array[1] = before[1] as number;
  expect([array, optimizer.state, optimizer.steps]).toEqual([before, state, 1]);
  for (const wrong of [{ fixed: ["x"] }, { learningRate: { x: 1 } }, { weightDecay: { x: 1, "*": 1 } }]) {
    expect(thrown("OPTION", () => adam(array, wrong)).message).toMatch(/there is no parameter of that name; there are/);
  }
  const field = mlp({ widths: [2, 4, 2] });
  const other = adam(new Float32Array(field.parameters.length));
  const given = thrown("OPTION", () => train({ field, optimizer: other, data: [batch()], steps: 1 }));
  expect(given.message).toMatch(/given one for an array$/);
  const gone = new Float32Array(3);
  const late = sgd(gone);
  structuredClone(gone, { transfer: [gone.buffer] });
  thrown("SHAPE", () => late.step(new Float32Array(3)));
  for (const one of [optimizer, other, late, field]) one.dispose();
  thrown("DISPOSED", () => optimizer.step(array));
  await collectGarbage();
  expect(memoryUsage().liveBytes).toBe(liveBytes);
});
