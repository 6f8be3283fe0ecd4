import * as fc from "fast-check";
import {
  adam,
  type Batch,
  cosineDecay,
  custom as customField,
  equations,
  exponentialDecay,
  type Field,
  fit,
  huberLoss,
  load,
  loadTensors,
  meanSquaredError,
  minibatches,
  mlp,
  nn,
  type ObservedTrajectory,
  odeint,
  save,
  saveTensors,
  sgd,
  type TrainOptions,
  train,
  vectorField,
  warmUp,
} from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { numbers, thrown } from "./helpers.js";

/** Turns about the origin, seen at some times. */
function turning(times: number[], phase: number): ObservedTrajectory {
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

test("a validation loss that is not finite is never the best", async () => {
  const field = mlp({ widths: [2, 8, 2], seed: 1 });
  const data = minibatches({ trajectories: [turning(regular, 0)] });
  const begin = field.parameters.slice();
  const train = (notFinite: (judgement: number) => number | undefined, more = {}) => {
    field.parameters = begin;
    let judgement = 0;
    const loss: TrainOptions<"float32">["loss"] = (y, { target, mask }, [times]) => {
      const own = meanSquaredError(y, target, mask);
      // The validation has fewer times.
      return times === regular.length ? own : { ...own, value: notFinite(judgement++) ?? own.value };
    };
    const validation = { data: minibatches({ trajectories: [turning(regular.slice(0, 15), 1)] }).epoch(), ...more };
    return fit({ field, optimizer: adam(field, { learningRate: 0.02 }), data, loss, validation, steps: 12 });
  };
  const whole = await train(() => undefined);
  const losses = whole.validations.map(({ validation }) => validation);
  expect(whole.best?.validation).toBe(Math.min(...losses));
  for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const { validations, best } = await train((judgement) => (judgement < 2 ? wrong : undefined));
    expect(validations.map(({ validation }) => validation)).toEqual([
      Number.POSITIVE_INFINITY,
      Number.POSITIVE_INFINITY,
      ...losses.slice(2),
    ]);
    expect(best?.validation).toBe(Math.min(...losses.slice(2)));
    const last = field.parameters.slice();
    const never = await train(() => wrong);
    expect(never.best).toBeUndefined();
    // Nothing to restore: the field is where the training ended.
    expect(field.parameters).not.toEqual(begin);
    const stopped = await train(() => wrong, { patience: 3 });
    expect([stopped.ended, stopped.losses.length]).toEqual(["patience", 3]);
    expect(last).toEqual(best?.parameters);
  }
});

test("the best that a training goes on with is checked, and its own", async () => {
  const field = mlp({ widths: [2, 4, 2] });
  const optimizer = adam(field);
  const data = minibatches({ trajectories: [turning(regular, 0)] });
  const parameters = field.parameters.slice();
  const good = { step: 0, validation: 0, parameters };
  const begun = (best: object) =>
    fit({ field, optimizer, data, steps: 1, validation: { data: data.epoch(), best: best as never } });
  for (const [code, wrong] of [
    ["OPTION", { validation: Number.NaN }],
    ["OPTION", { validation: Number.POSITIVE_INFINITY }],
    ["OPTION", { validation: null }],
    ["OPTION", { step: -1 }],
    ["OPTION", { step: Number.NaN }],
    ["NON_FINITE", { parameters: parameters.map(() => Number.NaN) }],
    ["SHAPE", { parameters: parameters.slice(1) }],
    ["NON_FINITE", { parameters: [...parameters].map(() => 1e39) }],
    ["OPTION", { parameters: "0.5" }],
  ] as const) {
    await expect(begun({ ...good, ...wrong })).rejects.toMatchObject({ code });
  }
  expect(optimizer.steps).toBe(0);
  // A loss of 0 is not to be beaten: its parameters come back, as they were when training began.
  const given = { ...good, parameters: parameters.slice() };
  await fit({
    ...{ field, optimizer, data, steps: 2, validation: { data: data.epoch(), best: given } },
    onStep: () => void given.parameters.fill(9),
  });
  expect(field.parameters).toEqual(parameters);
  for (const best of [{ ...good, parameters: [...parameters] }, JSON.parse(JSON.stringify(good))]) {
    const history = await fit({ field, optimizer, data, steps: 1, validation: { data, best } });
    expect(history.best).toEqual(good);
    expect(field.parameters).toEqual(parameters);
  }
});

test("a callback ends a training", async () => {
  const field = mlp({ widths: [2, 4, 2] });
  const data = minibatches({ trajectories: [turning(regular, 0)] });
  const { losses, ended } = await fit({
    field,
    optimizer: adam(field),
    data,
    steps: Number.POSITIVE_INFINITY,
    onStep: ({ step }) => step < 3,
  });
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
    stateSize: 2,
    times: Float64Array.of(0, 1, 2, 3),
    target: Float64Array.of(1, 2, 7, 8, 0, 4, 0, 0, 0, 0, 9, 10, 5, 6, 11, 12),
    mask: Uint8Array.of(1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1),
  });
});

test("times of one window are never united, those of two that differ by rounding are", () => {
  const [near, far] = [1e-13, 2e-10];
  const of = (times: number[], first: number) => ({ times, values: times.map((_, i) => first + i) });
  const trajectories = [of([0, near, 0.3, 0.3 + near, 1], 10), of([0, 0.1 + 0.2, 1], 20), of([0, near, far, 1], 30)];
  const [batch] = minibatches({ trajectories, shuffle: false, dtype: "float64" }).epoch();
  const { times, target, mask } = batch as Batch<"float64">;
  expect([...(times as Float64Array)]).toEqual([0, near, far, 0.3, 0.3 + near, 1]);
  const rows = [0, 1, 2, 3, 4, 5].map((row) =>
    [0, 1, 2].map((i) => (mask?.[3 * row + i] ? target[3 * row + i] : null)),
  );
  expect(rows).toEqual([
    [10, 20, 30],
    [11, null, 31],
    [null, null, 32],
    [12, 21, null],
    [13, null, null],
    [14, 22, 33],
  ]);
  expect(batch?.y0).toEqual(Float64Array.of(10, 20, 30));
});

test("whatever the times, a batch says at them what its windows have observed, in their order", () => {
  const offsets = fc.array(fc.constantFrom(1e-13, 3e-11, 1e-9, 4e-9, 0.01, 0.5), { minLength: 1, maxLength: 6 });
  const descending = fc.boolean();
  fc.assert(
    fc.property(fc.array(offsets, { minLength: 1, maxLength: 4 }), descending, (all, descending) => {
      const trajectories = all.map((gaps, k) => {
        const times = [0];
        for (const gap of gaps) times.push((times.at(-1) as number) + (descending ? -gap : gap));
        return { times, values: times.map((_, i) => 100 * (k + 1) + i) };
      });
      const [batch] = minibatches({ trajectories, shuffle: false, dtype: "float64" }).epoch();
      const { y0, times, target, mask } = batch as Batch<"float64">;
      const span = Math.abs(times[times.length - 1] as number);
      const sign = descending ? -1 : 1;
      for (let i = 1; i < times.length; i++) {
        expect(sign * ((times[i] as number) - (times[i - 1] as number))).toBeGreaterThan(0);
      }
      for (const [k, { times: own, values }] of trajectories.entries()) {
        const rows = Array.from({ length: times.length }, (_, row) => row * all.length + k);
        const seen = rows.filter((at) => mask === undefined || mask[at] === 1);
        expect(seen.map((at) => target[at])).toEqual(values);
        for (const [i, at] of seen.entries()) {
          const time = times[Math.floor(at / all.length)] as number;
          expect(Math.abs(time - (own[i] as number))).toBeLessThanOrEqual(1e-9 * span);
        }
        expect([y0[k], target[k]]).toEqual([values[0], values[0]]);
      }
    }),
  );
});

test("null and undefined are missing values, as NaN is; what is no number is refused with its place", () => {
  const epoch = (values: unknown[]) =>
    minibatches({ trajectories: [{ times: [0, 1, 2], values: values as number[] }], dtype: "float64" }).epoch();
  const expected = epoch([1, 2, Number.NaN, 4, 5, Number.NaN]);
  expect(expected[0]?.mask).toEqual(Uint8Array.of(1, 1, 0, 1, 1, 0));
  expect(epoch(JSON.parse("[1, 2, null, 4, 5, null]"))).toEqual(expected);
  expect(epoch([1, 2, undefined, 4, 5, null])).toEqual(expected);
  for (const wrong of ["", "3", true, false, new Date(0), [3], {}, 3n, Symbol("3"), () => 3]) {
    const error = thrown("OPTION", () => epoch([1, 2, wrong, 4, 5, 6]));
    expect(error.argument).toBe("trajectories[0].values");
    expect(error.message).toMatch(/at index 2$/);
    const times = { times: [0, wrong as number, 2], values: [1, 2, 3] };
    expect(thrown("NON_FINITE", () => minibatches({ trajectories: [times] })).message).toMatch(/at index 1$/);
  }
  for (const missing of [null, undefined, Number.NaN]) {
    const times = { times: [0, missing as number, 2], values: [1, 2, 3] };
    thrown("NON_FINITE", () => minibatches({ trajectories: [times] }));
  }
  // Counted from their first time these would be one.
  const collapsing = { trajectories: [{ times: [-1e17, 1, 2], values: [1, 2, 3] }] };
  thrown("OPTION", () => minibatches({ ...collapsing, relative: true }));
  expect(minibatches(collapsing).epoch()[0]?.times).toHaveLength(3);
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

test("an iterator is one epoch, and the next one the next epoch", async () => {
  const trajectories = Array.from({ length: 7 }, (_, i) => ({ times: [0, 1], values: [i, i + 0.5] }));
  const data = minibatches({ trajectories, batch: 3, seed: 5 });
  expect([...data]).toEqual(data.epoch(0));
  expect(data.state).toEqual({ epoch: 0, position: 3 });
  expect([...data]).toEqual(data.epoch(1));
  // What was begun is brought to its end.
  for (const batch of data) {
    expect(batch).toEqual(data.epoch(2)[0]);
    break;
  }
  expect([...data]).toEqual(data.epoch(2).slice(1));
  // Whoever takes the last batch, an epoch ends for all iterators.
  const [first, second] = [data[Symbol.iterator](), data[Symbol.iterator]()];
  const taken = [first, second, first, second].map((iterator) => iterator.next());
  expect(taken.map(({ value }) => value)).toEqual([...data.epoch(3), undefined]);
  // A training takes the same batches in the same order, over the ends of epochs.
  data.state = { epoch: 1, position: 1 };
  const field = mlp({ widths: [1, 2, 1] });
  const seen: Batch[] = [];
  const loss: TrainOptions<"float32">["loss"] = (y, batch) => {
    seen.push(batch);
    return meanSquaredError(y, batch.target);
  };
  await fit({ field, optimizer: adam(field), data, loss, steps: 7 });
  expect(seen).toEqual([1, 2, 3].flatMap((epoch) => data.epoch(epoch)).slice(1, 8));
  expect(data.state).toEqual({ epoch: 3, position: 2 });
});

test("data that end, and nothing to give, end a training", async () => {
  const field = mlp({ widths: [2, 2] });
  const batch = { y0: Float32Array.of(1, 0), times: [0, 1], target: new Float32Array(4) };
  const steps = async (data: TrainOptions<"float32">["data"]) =>
    (await fit({ field, optimizer: adam(field), data, steps: 5 })).losses.length;
  expect(await steps(new Set([batch]))).toBe(1);
  expect(await steps({ *[Symbol.iterator]() {}, length: 3 } as Iterable<Batch<"float32">>)).toBe(0);
  expect(await steps([batch, batch])).toBe(5);
});

test("validation takes minibatches, each batch of an epoch once", async () => {
  const trajectories = [0, 1, 2].map((phase) => turning(regular, phase));
  const data = minibatches({ trajectories, window: 4, relative: true, batch: 8 });
  const losses = async (held: NonNullable<TrainOptions<"float32">["validation"]>["data"]) => {
    const field = mlp({ widths: [2, 4, 2] });
    const train = minibatches({ trajectories });
    const { validations } = await fit({
      field,
      optimizer: adam(field),
      data: train,
      steps: 3,
      validation: { data: held },
    });
    return validations;
  };
  expect(await losses(data)).toEqual(await losses(data.epoch()));
  expect(data.state).toEqual({ epoch: 0, position: 0 });
});

test("entries of other names are refused in batches, losses and trajectories, with what to write", () => {
  const field = mlp({ widths: [2, 2] });
  const optimizer = adam(field);
  const batch = { y0: Float32Array.of(1, 0), times: [0, 1], target: new Float32Array(4) };
  const [times, values] = [
    [0, 1],
    [1, 2],
  ];
  const robust = huberLoss();
  const calls = {
    "data[0]": (more: object) => train({ field, optimizer, data: [{ ...batch, ...more }], steps: 1 }),
    "validation.data[0]": (more: object) =>
      train({ field, optimizer, data: [batch], steps: 1, validation: { data: [{ ...batch, ...more }] } }),
    loss: (more: object) => robust(batch.target, { target: batch.target, ...more }, [2, 1, 2]),
    "trajectories[0]": (more: object) => minibatches({ trajectories: [{ times, values, ...more }] }),
  };
  for (const [where, name, hint] of [
    ["data[0]", "masks", "did you mean mask? The entries are y0, stateSize, times, "],
    ["data[0]", "weights", "did you mean mask?"],
    ["data[0]", "weight", "did you mean mask?"],
    ["data[0]", "Y0", "did you mean y0?"],
    ["data[0]", "y", "did you mean target?"],
    ["data[0]", "values", "minibatches({ trajectories }) makes batches of { times, values }. The"],
    ["validation.data[0]", "masks", "did you mean mask?"],
    ["loss", "masks", "did you mean mask?"],
    ["trajectories[0]", "mask", "did you mean weights? The entries are times, values, weights, arguments, y0"],
    ["trajectories[0]", "masks", "did you mean weights?"],
    ["trajectories[0]", "weight", "did you mean weights?"],
    ["trajectories[0]", "y", "did you mean values?"],
    ["trajectories[0]", "ts", "did you mean times?"],
    ["trajectories[0]", "Y0", "did you mean y0?"],
    ["trajectories[0]", "jumps", "they go next to trajectories"],
    ["trajectories[0]", "patient", "the entries are"],
  ] as const) {
    const { message } = thrown("OPTION", () => calls[where]({ [name]: [1] }));
    expect(message).toContain(`${where === "loss" ? "" : `${where}.`}${name}: there is no entry of that name; ${hint}`);
  }
  const rows = [[1], [2]] as never;
  expect(thrown("OPTION", () => minibatches({ trajectories: [{ times, values: rows }] })).message).toBe(
    "trajectories[0].values: expected one flat array of numbers, as flat() makes of rows, given rows",
  );
});

test("weights of observations are the mask of their batches", () => {
  const trajectories = [
    { times: [0, 1], values: [1, 2, 3, 4], weights: [0.5, 0] },
    { times: [0, 1], values: [5, 6, Number.NaN, 8], weights: [1, 2, 3, 4] },
    { times: [0, 1], values: [0, 0, 0, 0] },
  ];
  for (const batching of ["together", "independent"] as const) {
    const [batch] = minibatches({ trajectories, shuffle: false, batching }).epoch();
    expect(batch?.y0).toEqual(Float32Array.of(1, 2, 5, 6, 0, 0));
    expect(batch?.mask).toEqual(Float64Array.of(0.5, 0.5, 1, 2, 1, 1, 0, 0, 0, 4, 1, 1));
    expect(batch?.target).toEqual(Float32Array.of(1, 2, 5, 6, 0, 0, 0, 0, 0, 8, 0, 0));
  }
  for (const weights of [[1], [1, -1], [0, 0], [1, Number.NaN]]) {
    const error = thrown(weights.length === 1 ? "SHAPE" : "OPTION", () =>
      minibatches({ trajectories: [{ times: [0, 1], values: [1, 2, 3, 4], weights }] }),
    );
    expect(error.argument).toBe("trajectories[0].weights");
  }
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

test("trajectories of another width than the field are refused before the first step", async () => {
  // Three windows of two features have as many numbers as two of three.
  const data = minibatches({ trajectories: [0, 1, 2].map((start) => turning(regular, start)) });
  const field = mlp({ widths: [3, 8, 3] });
  const optimizer = adam(field);
  const before = field.parameters.slice();
  const expected = {
    code: "SHAPE",
    message: /y0: expected states of 3 features, as the field has, given states of 2, by its stateSize$/,
  };
  await expect(fit({ field, optimizer, data, steps: 3 })).rejects.toMatchObject({
    ...expected,
    message: expect.stringMatching(expected.message),
  });
  const right = { y0: Float32Array.of(1, 0, 0), times: [0, 1], target: new Float32Array(6) };
  const [narrow] = data.epoch() as [Batch<"float32">];
  expect(narrow.stateSize).toBe(2);
  for (const [where, wrong] of [
    ["data[1]", { data: [right, narrow] }],
    ["validation.data[0]", { data: [right], validation: { data: [narrow] } }],
  ] as const) {
    const error = thrown("SHAPE", () => train({ field, optimizer, steps: 3, ...wrong }));
    expect(error.message).toMatch(expected.message);
    expect(error.argument).toBe(`${where}.y0`);
  }
  expect([...field.parameters]).toEqual([...before]);
  expect(optimizer.steps).toBe(0);
});

test("without a number of steps, training takes one epoch of minibatches", async () => {
  const trajectories = [turning(regular, 0), turning(regular, 1)];
  const data = minibatches({ trajectories, window: 4, relative: true, batch: 8 });
  expect(data.length).toBeGreaterThan(2);
  const field = mlp({ widths: [2, 4, 2] });
  const optimizer = adam(field);
  const { losses, ended } = await fit({ field, optimizer, data });
  expect([losses.length, ended]).toEqual([data.length, "done"]);
  let last = 0;
  for await (const { step } of train({ field, optimizer, data })) last = step;
  expect([last, optimizer.steps]).toEqual([data.length, 2 * data.length]);
  // The next training begins with the next epoch.
  expect(data.state).toEqual({ epoch: 1, position: data.length });
});

test("fixed parameters stay as they are, with decay and momentum, clipped, saved and resumed", async () => {
  const field = vectorField({
    state: ["x", "y"],
    dtype: "float64",
    parameters: { rate: 0.5, other: [1, 2], net: nn.sequential(nn.linear(2, 4), nn.tanh, nn.linear(4, 2)) },
    slope: ({ state, parameters: { rate, other, net } }) => net(state).add(state.mul(rate)).add(other),
  });
  const data = [{ y0: Float64Array.of(1, 0), times: [0, 1], target: Float64Array.of(1, 0, 0, 1) }];
  const fixed = ["other", "net.0"] as const;
  const partOf = (name: string) => {
    const { offset, shape } = field.entries[name as "rate"];
    return [...field.parameters.slice(offset, offset + shape.reduce((product, side) => product * side, 1))];
  };
  const names = Object.keys(field.entries);
  const isFixed = (name: string) => name === "other" || name.startsWith("net.0.");
  const before = names.map(partOf);
  const optimizer = adam(field, { fixed, weightDecay: 0.1, learningRate: 0.01 });
  for await (const { gradient, gradientNorm } of train({ field, optimizer, data, steps: 3, clipNorm: 0.1 })) {
    const own = names.flatMap((name) => {
      const { offset, shape } = field.entries[name as "rate"];
      const size = shape.reduce((product, side) => product * side, 1);
      return isFixed(name) ? [] : [...gradient.parameters.slice(offset, offset + size)];
    });
    expect(gradientNorm).toBeCloseTo(Math.hypot(...own), 12);
  }
  for (const [i, name] of names.entries()) {
    if (isFixed(name)) expect(partOf(name)).toEqual(before[i]);
    else expect(partOf(name)).not.toEqual(before[i]);
  }
  // From a file it goes on in the same way, bitwise.
  const again = load(save(field, { optimizer }));
  const options = { data, steps: 2 } as const;
  await fit({ field, optimizer, ...options });
  await fit({ field: again.field as typeof field, optimizer: again.optimizer as typeof optimizer, ...options });
  expect(again.field.parameters).toEqual(field.parameters);
  // Of a network by itself, by the names of its file.
  const network = mlp({ widths: [2, 3, 2] });
  const bias = network.parameters.slice(6, 9);
  sgd(network, { fixed: ["0.bias"], momentum: 0.9 }).step(new Float32Array(17).fill(1));
  expect(network.parameters.slice(6, 9)).toEqual(bias);
  const wrong = thrown("OPTION", () => adam(field, { fixed: ["net.1"] }));
  expect(wrong.message).toMatch(/^fixed\[0\]: net\.1: there is no parameter of that name; did you mean net/);
  thrown("OPTION", () => adam(field, { fixed: "net" as never }));
});

/** A field of known physics with a network, whose arrays have names at every depth. */
function hybrid<D extends "float32" | "float64">(dtype: D) {
  return vectorField({
    state: ["x", "y"],
    dtype,
    seed: 3,
    parameters: { rate: 0.5, other: [1, 2], net: nn.sequential(nn.linear(2, 4), nn.tanh, nn.linear(4, 2)) },
    slope: ({ state, parameters: { rate, other, net } }) => net(state).add(state.mul(rate)).add(other),
  });
}

const makers = {
  adam: (field: Field, options: object) => adam(field, options),
  momentum: (field: Field, options: object) => sgd(field, { ...options, momentum: 0.9 }),
  sgd: (field: Field, options: object) => sgd(field, options),
};
const rates = { rate: 0.1, "net.0": 1e-3, net: 0.02, "*": 3e-3 };
const decays = { net: 0.3, "net.2.bias": 0.1, other: 2 };
/** What each array of the field has, by the nearest name. */
const expected: Record<string, [rate: number, decay: number]> = {
  rate: [0.1, 0],
  other: [3e-3, 2],
  "net.0.weight": [1e-3, 0.3],
  "net.0.bias": [1e-3, 0.3],
  "net.2.weight": [0.02, 0.3],
  "net.2.bias": [0.02, 0.1],
};

for (const dtype of ["float32", "float64"] as const) {
  describe.each(Object.entries(makers))(`rates by name: %s, ${dtype}`, (_, make) => {
    /** The parameters after some steps, by name; learningRates are set before steps. */
    const trained = (options: object, learningRates: Readonly<Record<number, number>> = {}) => {
      const field = hybrid(dtype);
      const optimizer = make(field, options);
      for (let step = 0; step < 20; step++) {
        optimizer.learningRate = learningRates[step] ?? optimizer.learningRate;
        optimizer.step(numbers(dtype, field.parameters.length, step + 1));
      }
      return Object.fromEntries(
        Object.entries(field.entries).map(([name, { offset, shape }]) => {
          const size = shape.reduce((product, side) => product * side, 1);
          return [name, [...field.parameters.slice(offset, offset + size)]];
        }),
      );
    };

    test("equal rates are one rate, bitwise", () => {
      const changes = { 5: 0.003, 9: 0, 12: 0.7 / 3 };
      const one = trained({ learningRate: 0.01, weightDecay: 0.2 }, changes);
      expect(trained({ learningRate: { "*": 0.01 }, weightDecay: { "*": 0.2 } }, changes)).toEqual(one);
      const each = { rate: 0.01, other: 0.01, "net.0": 0.01, "net.2": 0.01 };
      expect(trained({ learningRate: each, weightDecay: { net: 0.2, "*": 0.2 } }, changes)).toEqual(one);
    });

    test("each parameter steps as with its rate alone, bitwise, also where rates change in proportion", () => {
      const changes = { 5: 0.03, 9: 0, 12: 0.1, 15: 0.7 };
      const together = trained({ learningRate: rates, weightDecay: decays }, changes);
      expect(Object.keys(together)).toEqual(Object.keys(expected));
      for (const [name, [learningRate, weightDecay]] of Object.entries(expected)) {
        // The largest rate is 0.1; as it is again from step 12 on, all rates are as they were given.
        const ownAt = (rate: number) => (rate === 0.1 ? learningRate : rate * (learningRate / 0.1));
        const own = Object.fromEntries(Object.entries(changes).map(([step, rate]) => [step, ownAt(rate)]));
        expect(together[name]).toEqual(trained({ learningRate, weightDecay }, own)[name]);
      }
    });

    test("a rate of 0 leaves parameters as fixed ones, also where the others have none of their own", () => {
      const all = { learningRate: 0.02, weightDecay: 0.1 };
      const fixed = trained({ ...all, fixed: ["net.0", "rate"] });
      expect(trained({ ...all, learningRate: { "net.0": 0, rate: 0, "*": 0.02 } })).toEqual(fixed);
      // Fixed ones need no rate.
      expect(trained({ ...all, learningRate: { other: 0.02, "net.2": 0.02 }, fixed: ["net.0", "rate"] })).toEqual(
        fixed,
      );
      const still = trained({ ...all, learningRate: 0 });
      expect(trained({ ...all, learningRate: { "*": 0, net: 0.02 } })).toMatchObject({
        rate: still.rate,
        other: still.other,
      });
    });
  });
}

test("a schedule gives the largest of several rates, and training goes on from a file bitwise", async () => {
  const data = [{ y0: Float64Array.of(1, 0), times: [0, 1], target: Float64Array.of(1, 0, 0, 1) }];
  const schedule = cosineDecay(0.05, { steps: 8, least: 0.001 });
  const reported: number[] = [];
  const run = async (stop: boolean) => {
    let field: Field<"float64"> = hybrid("float64");
    let optimizer = adam(field, { learningRate: rates, weightDecay: decays, fixed: ["net.2.bias"] });
    expect(optimizer.learningRate).toBe(0.1);
    const onStep = ({ learningRate }: { learningRate: number }) => void reported.push(learningRate);
    await fit({ field, optimizer, data, steps: 4, schedule, clipNorm: 0.5, onStep });
    if (stop) {
      const file = save(field, { optimizer });
      const model = load(file, { dtype: "float64" });
      field = model.field as typeof field;
      optimizer = model.optimizer as typeof optimizer;
      expect([optimizer.steps, optimizer.learningRate]).toEqual([4, schedule(3)]);
      expect(save(field, { optimizer })).toEqual(file);
    }
    // Without the schedule it goes on with the rates of its last step, and then by the schedule.
    await fit({ field, optimizer, data, steps: 2 });
    await fit({ field, optimizer, data, steps: 2, schedule });
    return [[...field.parameters], [...optimizer.state], optimizer.learningRate];
  };
  expect(await run(true)).toEqual(await run(false));
  expect(reported).toEqual([...[0, 1, 2, 3], ...[0, 1, 2, 3]].map(schedule));
});

test("a file with rates that are none, or of names that the field does not have, is refused", () => {
  const field = hybrid("float32");
  const file = loadTensors(save(field, { optimizer: adam(field, { learningRate: rates }) }));
  const key = "symplectic-adjoint";
  const changed = (change: (optimizer: Record<string, unknown> & { options: object }) => void) => {
    const header = JSON.parse(file.metadata.get(key) as string);
    change(header.optimizer);
    return saveTensors(Object.fromEntries(file.tensors), { [key]: JSON.stringify(header) });
  };
  const rated = (learningRate: unknown) => changed(({ options }) => Object.assign(options, { learningRate }));
  const loaded = load(changed(() => {})).optimizer;
  expect(loaded?.learningRate).toBe(0.1);
  for (const bytes of [
    changed((optimizer) => Object.assign(optimizer, { learningRate: -1 })),
    changed((optimizer) => Object.assign(optimizer, { learningRate: null })),
    rated({ rate: 0.1 }),
    rated({ "*": -1 }),
    rated({ "*": 0.1, birth: 0.1 }),
    rated([0.1]),
  ]) {
    thrown("FILE", () => load(bytes));
  }
});

test("rates by name that cannot be are refused, with what to write", () => {
  const field = hybrid("float32");
  const messageOf = (options: object) => thrown("OPTION", () => adam(field, options)).message;
  expect(messageOf({ learningRate: { raet: 0.1, "*": 0.1 } })).toBe(
    "learningRate.raet: there is no parameter of that name; did you mean rate? The names are rate, other, net.0.weight, net.0.bias, net.2.weight, net.2.bias",
  );
  expect(messageOf({ weightDecay: { "net.1": 0.1 } })).toMatch(/^weightDecay\.net\.1: there is no parameter/);
  expect(messageOf({ learningRate: { rate: 0.1, net: 0.01 } })).toBe(
    'learningRate: expected a rate for other too, or one for all others as "*", given rates for rate, net',
  );
  expect(messageOf({ learningRate: {} })).toMatch(/a rate for rate, other, net\.0\.weight, .* too, .* given none$/);
  for (const wrong of [-1, Number.NaN, Number.POSITIVE_INFINITY, "0.1", undefined, null, { 0: 0.1 }]) {
    const numbers = { rate: wrong, "*": 0.1 };
    expect(messageOf({ learningRate: numbers })).toMatch(/^learningRate\.rate: expected a finite number, zero or more/);
    expect(messageOf({ weightDecay: numbers })).toMatch(/^weightDecay\.rate: expected a finite number, zero or more/);
  }
  for (const wrong of [[0.1], new Map([["rate", 0.1]]), new Float32Array(1), "0.1", null]) {
    expect(messageOf({ learningRate: wrong })).toMatch(
      /^learningRate: expected a finite number, zero or more, or such numbers by the names of parameters, given /,
    );
  }
  // What was given is read once, and stays the caller's.
  const own = { "*": 0.1 };
  const optimizer = adam(field, { learningRate: own });
  own["*"] = 5;
  expect([optimizer.learningRate, `${optimizer}`]).toEqual([
    0.1,
    "adam optimizer (learning rates up to 0.1, 0 steps taken)",
  ]);
  // One rate is what it is, also where there is nothing left to change.
  expect(adam(field, { learningRate: 0.2, fixed: ["rate", "other", "net"] }).learningRate).toBe(0.2);
  // A field of one's own functions has parameters without names.
  const custom = customField({
    ...{ stateSize: 1, parameters: new Float32Array(2), evaluate: (_, y) => y },
    vjp: (_, y, w) => ({ y: w, parameters: y }),
  });
  expect(adam(custom, { learningRate: { "*": 0.3 } }).learningRate).toBe(0.3);
  expect(thrown("OPTION", () => adam(custom, { learningRate: { a: 1 } })).message).toMatch(/; there are none$/);
});

test("a mask of rows counts all numbers of each, beside batches without a mask", async () => {
  const field = equations("a' = -p * a\nb' = -p * b", { parameters: { p: 0 }, dtype: "float64" });
  const plain = { y0: Float64Array.of(0, 0), times: [0, 1], target: new Float64Array(4) };
  const masked = { ...plain, target: Float64Array.of(1, 1, 1, 1), mask: [1, 1] };
  const losses: (number | undefined)[] = [];
  await fit({
    field,
    optimizer: sgd(field, { learningRate: 0 }),
    data: [plain],
    steps: 1,
    method: "rk4",
    loss: (y, { target }) => meanSquaredError(y, target as Float64Array),
    validation: { data: [plain, masked] },
    onStep: ({ validation }) => {
      losses.push(validation);
    },
  });
  expect(losses).toEqual([0.5]);
});
