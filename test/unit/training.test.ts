import {
  adam,
  cosineDecay,
  exponentialDecay,
  type Field,
  fit,
  load,
  minibatches,
  mlp,
  odeint,
  save,
  sgd,
  type Trajectory,
  train,
  warmUp,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { numbers, thrown } from "./helpers.js";

/** Turns about the origin, seen at some times. */
function turning(times: number[], phase: number): Trajectory {
  return { times, values: times.flatMap((t) => [Math.cos(t + phase), Math.sin(t + phase)]) };
}

const regular = Array.from({ length: 21 }, (_, i) => 0.1 * i);

test("schedules", () => {
  const exponential = exponentialDecay(0.1, { factor: 0.5, steps: 10, least: 0.02 });
  expect([0, 10, 20, 1000].map(exponential)).toEqual([0.1, 0.05, 0.025, 0.02]);
  const cosine = cosineDecay(1, { steps: 100, least: 0.1 });
  expect(cosine(0)).toBe(1);
  expect(cosine(50)).toBeCloseTo(0.55, 12);
  expect([100, 1e6].map(cosine)).toEqual([0.1, 0.1]);
  const warm = warmUp(4, cosine);
  expect([0, 1, 3, 4, 104].map(warm)).toEqual([0.25, 0.5, 1, 1, 0.1]);
  expect([0, 9].map(warmUp(2, 0.3))).toEqual([0.15, 0.3]);
  thrown("OPTION", () => cosineDecay(1, { steps: 0 }));
  thrown("OPTION", () => exponentialDecay(-1, { factor: 0.5 }));
  thrown("OPTION", () => exponentialDecay(1, { factor: 2 }));
  thrown("OPTION", () => warmUp(3, Number.NaN));
});

test("train asks the schedule for each step, by the optimizer's count", async () => {
  const field = mlp({ widths: [2, 4, 2] });
  const optimizer = adam(field);
  optimizer.steps = 2;
  const rates: number[] = [];
  const schedule = exponentialDecay(1, { factor: 0.5 });
  const data = minibatches({ trajectories: [turning(regular, 0)] });
  for await (const { learningRate } of train({ field, optimizer, data, schedule, steps: 3 })) rates.push(learningRate);
  expect(rates).toEqual([0.25, 0.125, 0.0625]);
});

test("clipping scales the whole gradient down to the norm", async () => {
  const make = () => mlp({ widths: [2, 8, 2], seed: 2, dtype: "float64" });
  const data = minibatches({ trajectories: [turning(regular, 0)], dtype: "float64" });
  const moved = async (clipNorm?: number) => {
    const field = make();
    const before = field.parameters.slice();
    const options = {
      field,
      optimizer: sgd(field, { learningRate: 1 }),
      data,
      steps: 1,
      ...(clipNorm && { clipNorm }),
    };
    const { value } = await train(options).next();
    const step = value as { gradientNorm: number };
    return { way: Math.hypot(...field.parameters.map((p, i) => p - (before[i] as number))), norm: step.gradientNorm };
  };
  const free = await moved();
  expect(free.way).toBeCloseTo(free.norm, 10);
  expect((await moved(free.norm / 3)).way).toBeCloseTo(free.norm / 3, 10);
  expect((await moved(2 * free.norm)).way).toBeCloseTo(free.norm, 10);
});

test("validation, early stopping, and the best parameters in the end", async () => {
  const field = mlp({ widths: [2, 16, 2], seed: 1 });
  const optimizer = adam(field, { learningRate: 0.02 });
  const data = minibatches({ trajectories: [turning(regular, 0)] });
  const validation = minibatches({ trajectories: [turning(regular, 1)] }).epoch();
  let kept: Float32Array | undefined;
  const { best, ended, validations, losses } = await fit({
    field,
    optimizer,
    data,
    steps: 400,
    validation: { data: validation, every: 5, patience: 3 },
    // From some step on it goes astray.
    schedule: (n) => (n < 100 ? 0.02 : 0.5),
    onStep({ step, best }) {
      if (best?.step === step) kept = field.parameters.slice();
    },
  });
  expect(ended).toBe("patience");
  expect(losses.length).toBeLessThan(400);
  expect(validations).toHaveLength(losses.length / 5);
  expect(best?.validation).toBe(Math.min(...validations.map((one) => one.validation)));
  expect(field.parameters).toEqual(kept);
  const { y } = odeint(field, validation[0]?.y0 as Float32Array, regular);
  const error = y.reduce((sum, value, i) => sum + (value - (validation[0]?.target[i] as number)) ** 2, 0) / y.length;
  expect(error).toBeCloseTo(best?.validation as number, 4);
});

test("a callback ends a training", async () => {
  const field = mlp({ widths: [2, 4, 2] });
  const data = minibatches({ trajectories: [turning(regular, 0)] });
  const { losses, ended } = await fit({ field, optimizer: adam(field), data, onStep: ({ step }) => step < 3 });
  expect([losses.length, ended]).toEqual([3, "callback"]);
});

test("windows of regular trajectories share a batch where times are relative", () => {
  const data = minibatches({
    trajectories: [turning(regular, 0), turning(regular, 1)],
    window: 5,
    stride: 4,
    relative: true,
    batch: 4,
    shuffle: false,
  });
  // Five windows each.
  expect(data.length).toBe(3);
  const [first, , last] = data.epoch();
  expect(first?.times).toHaveLength(5);
  expect(first?.y0).toHaveLength(8);
  expect(last?.y0).toHaveLength(4);
  expect(first?.mask).toBeUndefined();
  // The second window's second observation is the trajectory's sixth.
  expect(first?.target[1 * 8 + 2]).toBeCloseTo(Math.cos(0.5), 6);
});

test("irregular times are united, and what is missing is masked", () => {
  const trajectories = [
    { times: [0, 1, 3], values: [1, 2, Number.NaN, 4, 5, 6] },
    { times: [0, 2, 3], values: [7, 8, 9, 10, 11, 12] },
  ];
  const [batch] = minibatches({ trajectories, shuffle: false, dtype: "float64" }).epoch();
  expect(batch).toEqual({
    y0: Float64Array.of(1, 2, 7, 8),
    times: Float64Array.of(0, 1, 2, 3),
    target: Float64Array.of(1, 2, 7, 8, 0, 4, 0, 0, 0, 0, 9, 10, 5, 6, 11, 12),
    mask: Uint8Array.of(1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1),
  });
});

test("an epoch has every window once, in an order of its own", () => {
  const trajectories = Array.from({ length: 7 }, (_, i) => ({ times: [0, 1], values: [i, i + 0.5] }));
  const data = minibatches({ trajectories, batch: 3, seed: 5 });
  const order = (epoch: number) => data.epoch(epoch).flatMap(({ y0 }) => [...y0]);
  expect(order(0).toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(order(0)).toEqual(order(0));
  expect(order(1)).not.toEqual(order(0));
  expect(
    minibatches({ trajectories, batch: 3, seed: 6 })
      .epoch(0)
      .flatMap(({ y0 }) => [...y0]),
  ).not.toEqual(order(0));
});

test.each(["adam", "sgd"] as const)("a training by %s goes on from a file bitwise", async (kind) => {
  const trajectories = Array.from({ length: 5 }, (_, i) => turning(regular, i));
  const data = () => minibatches({ trajectories, window: 4, relative: true, batch: 8, seed: 3 });
  const settings = { schedule: warmUp(5, cosineDecay(0.01, { steps: 25 })), clipNorm: 0.3 };
  const field = () => mlp({ widths: [2, 8, 2], seed: 1 });
  const optimizerOf = (field: Field<"float32">) => (kind === "adam" ? adam(field) : sgd(field, { momentum: 0.9 }));
  const begin = (own = field()) => ({ field: own, optimizer: optimizerOf(own), data: data(), ...settings });
  const whole = begin();
  const { losses } = await fit({ ...whole, steps: 30 });
  // In the middle of an epoch, and within the warm-up as well as after it.
  for (const stop of [3, 13]) {
    const first = begin();
    await fit({ ...first, steps: stop });
    const place = JSON.stringify(first.data.state);
    const file = save(first.field, { optimizer: first.optimizer, metadata: { place } });
    const { field, optimizer, metadata } = load(file, { dtype: "float32" });
    if (!optimizer) throw new Error("no optimizer came back");
    const second = { field, optimizer, data: data(), ...settings };
    second.data.state = JSON.parse(metadata.get("place") as string);
    const rest = await fit({ ...second, steps: 30 - stop });
    expect(rest.losses).toEqual(losses.slice(stop));
    expect(field.parameters).toEqual(whole.field.parameters);
    expect(optimizer.state).toEqual(whole.optimizer.state);
  }
});

test("bad data is refused by name", () => {
  const good = turning(regular, 0);
  const wrong =
    (trajectories: unknown, more = {}) =>
    () =>
      minibatches({ trajectories, ...more } as never);
  expect(thrown("OPTION", wrong([])).message).toMatch(/trajectories/);
  expect(thrown("OPTION", wrong([good, { times: [0, 0, 1], values: numbers("float64", 6, 1) }])).message).toMatch(
    /trajectories\[1\].times/,
  );
  thrown("NON_FINITE", wrong([{ times: [0, Number.NaN], values: [1, 2] }]));
  thrown("NON_FINITE", wrong([{ times: [0, 1], values: [1, Number.POSITIVE_INFINITY] }]));
  thrown("SHAPE", wrong([{ times: [0, 1], values: [1, 2, 3] }]));
  thrown("SHAPE", wrong([good, { times: [0, 1], values: [1, 2] }]));
  thrown("OPTION", wrong([good, { times: [1, 0], values: [1, 2, 3, 4] }]));
  thrown("OPTION", wrong([{ times: [0, 1], values: [Number.NaN, 2] }]));
  for (const more of [
    { window: 1 },
    { batch: 0 },
    { stride: 1.5 },
    { seed: -1 },
    { dtype: "int8" },
    { shufle: true },
  ]) {
    thrown("OPTION", wrong([good], more));
  }
  const data = minibatches({ trajectories: [good] });
  thrown("OPTION", () => {
    data.state = { epoch: 0, position: 9 };
  });
});
