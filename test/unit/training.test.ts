// Schedules, clipping, validation and minibatches; a training that stops and goes on.
import {
  adam,
  type Batch,
  constant,
  cosine,
  exponential,
  load,
  meanSquaredError,
  minibatches,
  mlp,
  odeint,
  save,
  sgd,
  type Trajectory,
  train,
  valueAndGrad,
  warmUp,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { numbers, thrown } from "./helpers.js";

/** Rotations from some angle, seen at irregular times. */
function rotations(count: number, length = 8): Trajectory<"float32">[] {
  return Array.from({ length: count }, (_, index) => {
    const jitter = numbers("float64", length, index + 1);
    const times = Array.from({ length }, (_, i) => 0.3 * (i + 0.4 * (jitter[i] as number)) + index);
    const values = Float32Array.from(times.flatMap((t) => [Math.cos(t - index), Math.sin(t - index)]));
    return { times, values };
  });
}

test("schedules", () => {
  expect([0, 9].map(constant(0.1))).toEqual([0.1, 0.1]);
  expect([0, 1, 2].map(exponential({ rate: 8, factor: 0.5 }))).toEqual([8, 4, 2]);
  expect(exponential({ rate: 8, factor: 0.25, every: 4 })(2)).toBe(4);
  const half = cosine({ rate: 2, end: 1, steps: 10 });
  expect([0, 5, 10, 99].map(half)).toEqual([2, expect.closeTo(1.5), 1, 1]);
  expect([0, 1, 3, 4, 9].map(warmUp(4, half))).toEqual([0.5, 1, 2, 2, expect.closeTo(1.5)]);
  const wrongs = [() => constant(0), () => cosine({ rate: 1, steps: 0 }), () => warmUp(3, 1 as never)];
  for (const wrong of [...wrongs, () => exponential({ rate: 1 } as never)]) thrown("OPTION", wrong);
});

test("a schedule sets the rate by the optimizer's steps", async () => {
  const field = mlp({ widths: [2, 4, 2] });
  const optimizer = adam(field);
  const [data] = minibatches({ trajectories: rotations(1), stateSize: 2 });
  const schedule = (steps: number) => 1 / (steps + 1);
  const rates: number[] = [];
  for (const steps of [2, 1]) {
    const options = { field, optimizer, data: [data as Batch<"float32">], steps, schedule };
    for await (const { learningRate } of train(options)) rates.push(learningRate);
  }
  expect(rates).toEqual([1, 1 / 2, 1 / 3]);
});

test("gradients are clipped to a norm, and no others changed", async () => {
  const [data] = minibatches({ trajectories: rotations(1), stateSize: 2 }) as Iterable<Batch<"float32">>;
  const moved = async (clipNorm?: number) => {
    const field = mlp({ widths: [2, 4, 2], seed: 2 });
    const before = field.parameters.slice();
    const options = { field, optimizer: sgd(field, { learningRate: 1 }), data: [data as Batch<"float32">], steps: 1 };
    for await (const _ of train({ ...options, ...(clipNorm && { clipNorm }) }));
    return field.parameters.map((value, i) => value - (before[i] as number));
  };
  const free = await moved();
  const norm = Math.hypot(...free);
  const short = await moved(norm / 10);
  expect(Math.hypot(...short)).toBeCloseTo(norm / 10, 5);
  expect((short[3] as number) / (free[3] as number)).toBeCloseTo(0.1, 4);
  expect(await moved(norm * 10)).toEqual(free);
});

test("validation keeps the best parameters, and patience ends the training", async () => {
  const field = mlp({ widths: [2, 16, 2], seed: 1 });
  // A rate so high that it does not stay at its best.
  const optimizer = adam(field, { learningRate: 0.3 });
  const data = minibatches({ trajectories: rotations(4), stateSize: 2, shift: true });
  const held = [...minibatches({ trajectories: rotations(6).slice(4), stateSize: 2, shift: true, epochs: 1 })];
  const seen: [step: number, loss: number][] = [];
  const validate = { data: held, every: 5, patience: 4 };
  let best: { step: number; loss: number } | undefined;
  for await (const step of train({ field, optimizer, data, steps: 500, clipNorm: 1, validate })) {
    expect(step.validation === undefined).toBe(step.step % 5 !== 0);
    if (step.validation !== undefined) seen.push([step.step, step.validation]);
    best = step.best;
  }
  const least = seen.reduce((a, b) => (b[1] < a[1] ? b : a));
  expect([best?.step, best?.loss]).toEqual(least);
  expect(seen.at(-1)?.[0]).toBe(least[0] + 20);
  const losses = held.map(
    ({ y0, times, target, mask }) => meanSquaredError(odeint(field, y0, times).y, target, mask).value,
  );
  expect(losses).toEqual([least[1]]);
});

test("a validation whose solve fails is infinitely bad, and the training goes on", async () => {
  const field = mlp({ widths: [1, 1], activation: "identity", bias: false });
  field.parameters = Float32Array.of(0.5);
  const batch = { y0: Float32Array.of(1), times: [0, 1], target: Float32Array.of(1, 2) };
  const far = { ...batch, times: [0, 1000] };
  const losses: unknown[] = [];
  const options = { field, optimizer: sgd(field), data: [batch], steps: 2, validate: { data: [far], every: 1 } };
  for await (const { validation } of train(options)) losses.push(validation);
  expect(losses).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
});

test("windows are cut, gathered and masked", () => {
  const first = { times: [0, 1, 2, 4], values: Float32Array.of(0, 10, 20, 40) };
  const second = { times: [5, 6, 8], values: Float32Array.of(50, Number.NaN, 80), mask: [1, 1, 2] };
  const options = { stateSize: 1, window: 3, shuffle: false, epochs: 1 };
  const [batch, ...others] = minibatches({ ...options, trajectories: [first, second], shift: true });
  expect(others).toEqual([]);
  expect([...(batch?.y0 ?? [])]).toEqual([0, 10, 50]);
  expect([...Array.from(batch?.times ?? [])]).toEqual([0, 1, 2, 3]);
  expect([...(batch?.target ?? [])]).toEqual([0, 10, 50, 10, 20, 0, 20, 0, 0, 0, 40, 80]);
  expect([...Array.from(batch?.mask ?? [])]).toEqual([1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 1, 2]);
  const apart = [...minibatches({ ...options, trajectories: [first, second] })];
  expect(apart.map(({ y0, times }) => [[...y0], [...Array.from(times)]])).toEqual([
    [[0], [0, 1, 2]],
    [[10], [1, 2, 4]],
    [[50], [5, 6, 8]],
  ]);
  expect(apart[0]?.mask).toBeUndefined();
  const strided = [...minibatches({ ...options, trajectories: [first], window: 2, stride: 2 })];
  expect(strided.map(({ y0 }) => y0[0])).toEqual([0, 20]);
});

test("times that rounding keeps apart are one", () => {
  const times = Array.from({ length: 40 }, (_, i) => i * 0.1);
  const options = { trajectories: [{ times, values: numbers("float64", 40) }], stateSize: 1, window: 10, shift: true };
  const [batch] = minibatches({ ...options, epochs: 1 });
  expect([batch?.times.length, batch?.y0.length, batch?.mask]).toEqual([10, 31, undefined]);
});

test("a batch of irregular times has the gradient of its windows one by one", () => {
  const field = mlp({ widths: [2, 6, 2], dtype: "float64", seed: 3 });
  const trajectories = rotations(3).map(({ times, values }) => ({ times, values: Float64Array.from(values) }));
  const gradientOf = (batch: Batch<"float64">) => {
    const loss = (y: Float64Array) => meanSquaredError(y, batch.target, batch.mask);
    return valueAndGrad(field, batch.y0, batch.times, loss, { rtol: 1e-10, atol: 1e-12 }).gradient.parameters;
  };
  const [together] = minibatches({ trajectories, stateSize: 2, shift: true, shuffle: false });
  const apart = [...minibatches({ trajectories, stateSize: 2, batch: 1, shift: true, epochs: 1 })];
  expect([apart.length, together?.y0.length]).toEqual([3, 6]);
  expect(together?.times.length).toBeGreaterThan(15);
  const all = gradientOf(together as Batch<"float64">);
  const each = apart.map(gradientOf);
  for (const [i, value] of all.entries()) {
    const mean = each.reduce((sum, gradient) => sum + (gradient[i] as number) / 3, 0);
    expect(value).toBeCloseTo(mean, 7);
  }
});

test("trajectories that share their times may come in one array", () => {
  const target = Float32Array.of(0, 1, 2, 3, 4, 5, 6, Number.NaN, 8, 9, 10, 11);
  const shared = { times: [0, 1, 2], target };
  const [batch] = minibatches({ trajectories: shared, stateSize: 2, shuffle: false });
  expect([...(batch?.y0 ?? [])]).toEqual([0, 1, 2, 3]);
  expect([...(batch?.target ?? [])]).toEqual([0, 1, 2, 3, 4, 5, 6, 0, 8, 9, 10, 11]);
  expect([...Array.from(batch?.mask ?? [])]).toEqual([1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1]);
});

test("every epoch has all windows once, in an order of its own that the seed decides", () => {
  const options = { trajectories: rotations(5), stateSize: 2, window: 3, batch: 4, shift: true };
  const starts = (seed: number, from: number, count: number) => {
    const batches = minibatches({ ...options, seed });
    batches.position = from;
    const taken: number[][] = [];
    for (const { y0 } of batches) if (taken.push([...y0]) === count) break;
    return taken;
  };
  const { length } = minibatches(options);
  expect(length).toBe(8);
  const [first, second] = [starts(7, 0, length), starts(7, length, length)];
  expect(first.flat().sort()).toEqual(second.flat().sort());
  expect(new Set(first.flat()).size).toBeGreaterThan(50);
  expect(first).not.toEqual(second);
  expect(starts(8, 0, length)).not.toEqual(first);
  expect(starts(7, 0, 2 * length)).toEqual([...first, ...second]);
  expect(starts(7, 5, 6)).toEqual([...first, ...second].slice(5, 11));
});

test("training goes on from a file bitwise: schedule, order of the data, validation", async () => {
  const settings = { trajectories: rotations(6), stateSize: 2, window: 4, batch: 8, shift: true, seed: 3 };
  const schedule = warmUp(5, cosine({ rate: 0.02, steps: 40 }));
  const held = [...minibatches({ ...settings, shuffle: false, epochs: 1 })];
  const run = async (stops: number[]) => {
    let field = mlp({ widths: [2, 8, 2], seed: 4 });
    let optimizer = adam(field, { weightDecay: 0.01 });
    let best: import("symplectic-adjoint").Best<"float32"> | undefined;
    const losses: number[] = [];
    for (const stop of [...stops, 40]) {
      const data = minibatches(settings);
      data.position = optimizer.steps;
      const validate = { data: held, every: 3, best };
      for await (const step of train({ field, optimizer, data, schedule, clipNorm: 0.5, validate })) {
        losses.push(step.loss);
        best = step.best;
        if (optimizer.steps === stop) break;
      }
      const loaded = load(save(field, { optimizer }), { dtype: "float32" });
      field = loaded.field;
      optimizer = loaded.optimizer as typeof optimizer;
    }
    return { losses, best, parameters: field.parameters.slice() };
  };
  const whole = await run([]);
  expect(whole.losses).toHaveLength(40);
  expect(await run([7, 8, 23])).toEqual(whole);
  expect(await run([])).toEqual(whole);
});

test("what is wrong is refused before anything is computed", async () => {
  const trajectories = rotations(1);
  const good = { trajectories, stateSize: 2 };
  const values = new Float32Array(4);
  const wrongs: object[] = [
    { trajectories: [] },
    { trajectories: null },
    { trajectories: [{ times: [0, 0], values }] },
    { trajectories: [{ times: [0, Number.NaN], values }] },
    { trajectories: [{ times: [0, 1], values, weights: [] }] },
    { trajectories: [{ times: [0, 1], values: values.map(() => Number.NaN) }] },
    { stateSize: 0 },
    { stateSize: undefined },
    { window: 1 },
    { batch: 0 },
    { seed: -1 },
    { shift: 1 },
    { epoch: 3 },
  ];
  for (const wrong of wrongs) thrown("OPTION", () => minibatches({ ...good, ...wrong } as never));
  const other = (values: unknown, mask?: unknown) => () =>
    minibatches({ ...good, trajectories: [{ times: [0, 1], values, ...(mask !== undefined && { mask }) }] } as never);
  thrown("SHAPE", other(new Float32Array(3)));
  thrown("SHAPE", other(values, [1]));
  thrown("DTYPE", other([0, 0, 0, 0]));
  thrown("NON_FINITE", other(Float32Array.of(0, 0, Number.POSITIVE_INFINITY, 0)));
  thrown("NON_FINITE", other(values, [1, 1, -1, 1]));
  const batches = minibatches(good);
  thrown("OPTION", () => {
    batches.position = 0.5;
  });
  const field = mlp({ widths: [2, 2] });
  const before = field.parameters.slice();
  const [batch] = batches;
  const options = { field, optimizer: adam(field), data: [batch], steps: 1 };
  for (const wrong of [
    { schedule: 0.1 },
    { schedule: () => -1 },
    { clipNorm: 0 },
    { validate: { data: [] } },
    { validate: { data: [batch], every: 0 } },
    { validate: { data: [batch], patience: 0.5 } },
    { validate: { data: [batch], paitence: 2 } },
  ]) {
    await expect(train({ ...options, ...wrong } as never).next()).rejects.toMatchObject({ code: "OPTION" });
  }
  expect(field.parameters).toEqual(before);
});
