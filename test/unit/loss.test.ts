// Losses that are traced: their values and derivatives, masks, and wherever a loss is taken.
import {
  absoluteLoss,
  adam,
  type Batch,
  custom,
  equations,
  exp,
  fit,
  gaussianLoss,
  hessianVectorProduct,
  huberLoss,
  type LossData,
  loss,
  meanSquaredError,
  memoryUsage,
  minibatches,
  mlp,
  odeint,
  parallel,
  poissonLoss,
  type TracedLoss,
  train,
  valueAndGrad,
  where,
} from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { collectGarbage, numbers, relative, thrown } from "./helpers.js";

const [T, B, S] = [4, 5, 3];
const shape = [T, B, S] as const;
const rows = T * B;

/** Solutions around 2, and targets around 1.5; counts for likelihoods of counts. */
const y = numbers("float64", rows * S, 1).map((x) => 2 + x);
const target = numbers("float64", rows * S, 2).map((x) => 1.5 + 2 * x);
const counts = target.map((x) => Math.max(0, Math.round(x)));

/** Weights, with some that are 0. */
const weights = (length: number, seed: number) => numbers("float64", length, seed).map((x) => (x < -0.3 ? 0 : 1.5 + x));

/** The central difference of a loss in each number of y. */
function differences(own: TracedLoss, data: LossData, at = y, sizes: readonly [number, number, number] = shape) {
  const h = 1e-6;
  return [...at].map((_, i) => {
    const moved = (by: number) => at.map((x, j) => (i === j ? x + by : x));
    return (own(moved(h), data, sizes).value - own(moved(-h), data, sizes).value) / (2 * h);
  });
}

const entrywise: [
  name: string,
  own: TracedLoss,
  wanted: Float64Array,
  of: (y: number, z: number, i: number) => number,
][] = [
  ["absolute", absoluteLoss(), target, (y, z) => Math.abs(y - z)],
  ["Huber", huberLoss(), target, (y, z) => (Math.abs(y - z) < 1 ? (y - z) ** 2 / 2 : Math.abs(y - z) - 0.5)],
  [
    "Huber with delta",
    huberLoss({ delta: 0.2 }),
    target,
    (y, z) => (Math.abs(y - z) < 0.2 ? (y - z) ** 2 / 2 : 0.2 * (Math.abs(y - z) - 0.1)),
  ],
  ["Gaussian", gaussianLoss(), target, (y, z) => (y - z) ** 2 / 2 + Math.log(2 * Math.PI) / 2],
  [
    "Gaussian with scales",
    gaussianLoss({ scale: [0.5, 1, 3] }),
    target,
    (y, z, i) => {
      const scale = [0.5, 1, 3][i % 3] as number;
      return (y - z) ** 2 / (2 * scale ** 2) + Math.log(scale * Math.sqrt(2 * Math.PI));
    },
  ],
  ["Poisson", poissonLoss(), counts, (y, z) => y - z * Math.log(y)],
  ["Poisson of logarithms", poissonLoss({ log: true }), counts, (y, z) => Math.exp(y) - z * y],
];

describe.each(entrywise)("%s", (_, own, wanted, of) => {
  test("the mean over all entries, and its derivative", () => {
    const { value, cotangent } = own(y, { target: wanted }, shape);
    const expected = y.reduce((sum, x, i) => sum + of(x, wanted[i] as number, i), 0) / y.length;
    expect(value).toBeCloseTo(expected, 12);
    expect(relative(cotangent, differences(own, { target: wanted }))).toBeLessThan(1e-8);
    const [y32, target32] = [Float32Array.from(y), Float32Array.from(wanted)];
    const single = own(y32, { target: target32 }, shape);
    expect(single.value).toBeCloseTo(expected, 5);
    expect(single.cotangent).toBeInstanceOf(Float32Array);
    expect(relative(single.cotangent, cotangent)).toBeLessThan(1e-5);
  });

  test("a mask weighs entries, or all features of a state; what does not count may be missing", () => {
    for (const mask of [weights(rows * S, 3), weights(rows, 4), [...weights(rows, 5)]]) {
      const at = (i: number) => mask[mask.length === rows ? Math.floor(i / S) : i] as number;
      const missing = wanted.map((x, i) => (at(i) === 0 ? Number.NaN : x));
      const { value, cotangent } = own(y, { target: missing, mask }, shape);
      const sum = y.reduce((sum, _, i) => sum + at(i), 0);
      const expected = y.reduce((sum, x, i) => sum + (at(i) && at(i) * of(x, wanted[i] as number, i)), 0) / sum;
      expect(value).toBeCloseTo(expected, 12);
      expect(relative(cotangent, differences(own, { target: missing, mask }))).toBeLessThan(1e-8);
      expect(cotangent.every((x, i) => at(i) > 0 || Object.is(x, 0))).toBe(true);
    }
  });
});

test("a loss of your own: one number for each trajectory at each time, of what it takes", () => {
  const seen: string[] = [];
  const own = loss(
    ({ y, target, t, noise, place }) => {
      seen.push("called");
      const [first, second] = target;
      return y
        .slice(0, 2)
        .sub(place)
        .square()
        .sum()
        .div(exp(noise))
        .add((first as never as typeof t).mul(t).sub(second as never as typeof t));
    },
    { inputs: { noise: "scalar", place: 2 }, target: 2 },
  );
  const data = {
    target: numbers("float64", rows * 2, 6),
    times: [0, 0.5, 1.5, 2],
    inputs: { noise: numbers("float64", rows, 7), place: numbers("float64", rows * 2, 8) },
  };
  const row = (i: number) => {
    const square = [0, 1].reduce(
      (sum, j) => sum + ((y[i * S + j] as number) - (data.inputs.place[2 * i + j] as number)) ** 2,
      0,
    );
    const t = data.times[Math.floor(i / B)] as number;
    const [first, second] = data.target.subarray(2 * i) as unknown as [number, number];
    return square / Math.exp(data.inputs.noise[i] as number) + first * t - second;
  };
  const all = Array.from({ length: rows }, (_, i) => row(i));
  const { value, cotangent } = own(y, data, shape);
  expect(value).toBeCloseTo(all.reduce((a, b) => a + b) / rows, 12);
  expect(relative(cotangent, differences(own, data))).toBeLessThan(1e-8);
  const mask = weights(rows, 3);
  const weighted = own(y, { ...data, mask }, shape);
  const sum = mask.reduce((a, b) => a + b);
  expect(weighted.value).toBeCloseTo(all.reduce((total, x, i) => total + x * (mask[i] as number), 0) / sum, 12);
  expect(relative(weighted.cotangent, differences(own, { ...data, mask }))).toBeLessThan(1e-8);
  // A mask of all features is one of states, where it is the same for each.
  const wide = mask.length * 2;
  const same = Float64Array.from({ length: wide }, (_, i) => mask[Math.floor(i / 2)] as number);
  expect(own(y, { ...data, mask: same }, shape)).toEqual(weighted);
  own(Float32Array.from(y), data, shape);
  expect(seen).toEqual(["called"]);
  own(y.subarray(0, rows * 2), data, [T, B, 2]);
  expect(seen).toHaveLength(2);
  own.dispose();
  own.dispose();
  expect(own(y, data, shape)).toEqual({ value, cotangent });
});

test("a loss that takes the mask weighs features itself; where nothing counts, it is left out", () => {
  const own = loss(({ y, target, mask }) => y.sub(target).square().mul(mask).sum().div(mask.sum()));
  const mask = weights(rows * S, 3).fill(0, 3, 6);
  const missing = target.map((x, i) => (mask[i] === 0 ? Number.NaN : x));
  const { value, cotangent } = own(y, { target: missing, mask }, shape);
  const means: number[] = [];
  for (let row = 0; row < rows; row++) {
    const own = mask.subarray(row * S, (row + 1) * S);
    const sum = own.reduce((a, b) => a + b);
    if (sum === 0) continue;
    const square = (i: number) => ((y[row * S + i] as number) - (target[row * S + i] as number)) ** 2;
    means.push(own.reduce((total, weight, i) => total + (weight && weight * square(i)), 0) / sum);
  }
  expect(means.length).toBeLessThan(rows);
  expect(value).toBeCloseTo(means.reduce((a, b) => a + b) / means.length, 12);
  expect(relative(cotangent, differences(own, { target: missing, mask }))).toBeLessThan(1e-8);
  const all = own(y, { target }, shape);
  expect(all.value).toBeCloseTo(meanSquaredError(y, target).value, 12);
  expect(own(y, { target, mask: new Uint8Array(rows).fill(1) }, shape)).toEqual(all);
});

test("a loss of nothing that is solved has no derivative", () => {
  const own = loss(({ target }) => target.square().mean());
  const { value, cotangent } = own(y, { target }, shape);
  expect(value).toBeCloseTo(target.reduce((sum, x) => sum + x * x, 0) / target.length, 12);
  expect(cotangent).toEqual(new Float64Array(y.length));
  // biome-ignore lint/suspicious/noExplicitAny: a number is more than the types promise.
  expect(loss(() => 2 as any)(y, { target }, shape)).toEqual({ value: 2, cotangent: new Float64Array(y.length) });
});

test("an untaken branch has no effect on the derivative", () => {
  const own = loss(({ y }) => where(y.greater(10), y.sub(10).sqrt(), y.square()).sum());
  const { cotangent } = own(y, { target }, shape);
  expect(
    relative(
      cotangent,
      y.map((x) => (2 * x) / rows),
    ),
  ).toBeLessThan(1e-14);
});

/** The decay of x, seen at some times. */
const decay = () => equations("x' = -k * x + dose", { parameters: { k: 0.2 }, arguments: ["dose"], dtype: "float64" });
const trajectories = [1, 2, 3].map((start) => {
  const times = [0, 0.5, 1.2, 2];
  const dose = start / 10;
  const values = times.map((t) => dose / 0.7 + (start - dose / 0.7) * Math.exp(-0.7 * t));
  return { times, values, arguments: { dose } };
});

test("valueAndGrad, here and in a pool, takes a loss of data", async () => {
  const field = decay();
  const [batch] = minibatches({ trajectories, dtype: "float64" }).epoch() as [Batch<"float64">];
  const { y0, times, target, arguments: args } = batch;
  expect([...(args as { dose: Float64Array }).dose].sort()).toEqual([0.1, 0.2, 0.3]);
  const own = huberLoss({ delta: 0.1 });
  const options = { method: "rk4", steps: 2, arguments: args as { dose: Float64Array } } as const;
  const { value, gradient, solution } = valueAndGrad(field, y0, times, own.of({ target }), options);
  expect(own(solution.y, batch, solution.shape).value).toBe(value);
  const at = (k: number) => {
    field.parameters = Float64Array.of(k);
    const { y, shape } = odeint(field, y0, times, options);
    return own(y, { target }, shape).value;
  };
  expect(gradient.parameters[0]).toBeCloseTo((at(0.2 + 1e-6) - at(0.2 - 1e-6)) / 2e-6, 8);
  field.parameters = Float64Array.of(0.2);
  const pool = await parallel({ workers: 2 });
  const shared = await pool.valueAndGrad(field, y0, times as ArrayLike<number>, own.of({ target }), options);
  expect(shared.value).toBe(value);
  expect(shared.gradient.parameters).toEqual(gradient.parameters);
  pool.close();
  field.dispose();
});

test("train, fit and validation take it, with missing values and arguments of trajectories", async () => {
  const some = trajectories.map((own, i) => ({
    ...own,
    values: own.values.map((x, j) => (j === i + 1 ? Number.NaN : x)),
  }));
  const data = minibatches({ trajectories: some, batch: 2, dtype: "float64" });
  const validation = { data: minibatches({ trajectories, dtype: "float64" }).epoch() };
  const losses = {
    mse: "mse",
    own: loss(({ y, target }) => y.sub(target).square().mean()),
    huber: huberLoss(),
    gaussian: gaussianLoss({ scale: 0.1 }),
    absolute: absoluteLoss(),
  } as const;
  const fitted: Record<string, number[]> = {};
  for (const [name, own] of Object.entries(losses)) {
    const field = decay();
    const history = await fit({
      ...{ field, optimizer: adam(field, { learningRate: 0.02 }), data, steps: 120, loss: own, validation },
      ...{ method: "rk4", solverSteps: 3 },
    });
    expect(field.parameters[0], name).toBeCloseTo(0.7, 1);
    fitted[name] = [...history.losses, ...history.validations.map(({ validation }) => validation)];
    data.state = { epoch: 0, position: 0 };
    field.dispose();
  }
  // With one feature, the mean over trajectories and times is that over entries.
  expect(relative(fitted.own as number[], fitted.mse as number[])).toBeLessThan(1e-9);
});

test("mse takes a mask of states too", async () => {
  const field = mlp({ widths: [2, 4, 2] });
  const target = numbers("float32", 12, 3).map((x, i) => (i === 4 ? Number.NaN : x));
  const narrow = { y0: numbers("float32", 4), times: [0, 1, 2], target, mask: [1, 1, 0, 1, 1, 1] };
  const wide = { ...narrow, mask: narrow.mask.flatMap((weight) => [weight, weight]) };
  const [one, two] = await Promise.all(
    [narrow, wide].map(async (batch) => {
      const own = mlp({ widths: [2, 4, 2] });
      for await (const step of train({ field: own, optimizer: adam(own), data: [batch], steps: 1 })) return step;
    }),
  );
  expect(one?.loss).toBe(two?.loss);
  expect(one?.gradient.parameters).toEqual(two?.gradient.parameters);
  field.dispose();
});

test("data that do not fit are refused, before a training takes a step", async () => {
  const own = loss(({ y, target, t, noise }) => y.sub(target).square().mean().mul(noise).add(t), {
    inputs: { noise: "scalar" },
  });
  const data = { target, times: [0, 1, 2, 3], inputs: { noise: new Float64Array(rows) } };
  const message = (code: string, changed: object, sizes: unknown = shape, given: unknown = y) =>
    thrown(code, () => own(given as typeof y, { ...data, ...changed }, sizes as typeof shape)).message;
  expect(message("SHAPE", { target: target.slice(1) })).toBe("target: expected 60 numbers [4, 5, 3], given 59");
  expect(message("DTYPE", { target: 1 })).toBe("target: expected an array of numbers, given 1");
  expect(message("DTYPE", { target: ["1"] })).toBe('target: expected a number at index 0, given "1"');
  expect(message("NON_FINITE", { target: target.with(7, Number.NaN) })).toBe(
    "target: expected finite numbers where the mask is not 0, given NaN at index 7",
  );
  expect(message("SHAPE", { mask: [1, 1] })).toBe("mask: expected [4, 5] or [4, 5, 3] numbers, given 2");
  expect(message("OPTION", { mask: new Float64Array(rows) })).toBe(
    "mask: expected at least one positive weight, given none",
  );
  expect(message("OPTION", { mask: new Float64Array(rows * S).fill(1).with(4, 0) })).toBe(
    "mask: expected one weight for all features of a trajectory at a time, or a loss that takes mask, given 1, 0, 1 from index 3",
  );
  expect(message("SHAPE", { times: undefined })).toBe(
    "times: expected the output times: the loss takes t, given undefined",
  );
  expect(message("SHAPE", { times: [0, 1] })).toBe("times: expected 4 numbers, given 2");
  expect(message("OPTION", { inputs: undefined })).toBe("inputs.noise: expected an array of numbers, given undefined");
  expect(message("OPTION", { inputs: 3 })).toBe("inputs: expected an object of arrays by their names, given 3");
  expect(message("SHAPE", { inputs: { noise: [1] } })).toBe("inputs.noise: expected 20 numbers [4, 5], given 1");
  expect(message("SHAPE", {}, [4, 5])).toBe(
    "shape: expected that of the solution, [times, batch, state], given Array of length 2",
  );
  expect(message("SHAPE", {}, [4, 5, 2])).toBe("y: expected 40 numbers [4, 5, 2], given 60");
  expect(message("DTYPE", {}, shape, [1])).toMatch(/^y: expected a Float32Array/);
  expect(message("NON_FINITE", {}, shape, y.with(37, Number.POSITIVE_INFINITY))).toBe(
    "y: expected finite numbers, given Infinity at index 37",
  );
  expect(thrown("OPTION", () => own(y, null as never, shape)).message).toBe("data: expected { target }, given null");

  const field = custom({ stateSize: 1, dtype: "float64", evaluate: (_, y) => y, vjp: (_t, _y, w) => ({ y: w }) });
  const optimizer = adam(field);
  const batch = { y0: Float64Array.of(1), times: [0, 1], target: new Float64Array(2) };
  const training = async (changed: object, losses: unknown = absoluteLoss()) =>
    train({ field, optimizer, data: [batch, { ...batch, ...changed }], steps: 1, loss: losses as TracedLoss }).next();
  await expect(training({ target: new Float64Array(3) })).rejects.toThrow(
    "data[1].target: expected 2 numbers [2, 1, 1], given 3",
  );
  await expect(training({ mask: [1, 2, 3] })).rejects.toThrow(
    "data[1].mask: expected [2, 1] or [2, 1, 1] numbers, given 3",
  );
  await expect(training({}, own)).rejects.toThrow(
    "data[0].inputs.noise: expected an array of numbers, given undefined",
  );
  await expect(training({}, absoluteLoss().of({ target: batch.target }))).rejects.toThrow(
    "loss: expected the loss itself, which takes the data of each batch, given one with data; leave out .of(…)",
  );
  await expect(training({}, "mae")).rejects.toThrow('loss: expected mse or a function, given "mae"');
  expect(optimizer.steps).toBe(0);
});

test("functions that are no losses are refused", () => {
  const message = (code: string, apply: unknown, given?: object) =>
    thrown(code, () => loss(apply as never, given)(y, { target }, shape)).message;
  expect(message("OPTION", 1)).toBe("loss: expected a function, given 1");
  expect(message("OPTION", () => 0, { input: {} })).toMatch(/^input: there is no option of that name/);
  expect(message("OPTION", () => 0, { inputs: { y: 1 } })).toBe(
    "inputs.y: expected another name than y, target, mask or t, given y",
  );
  expect(message("OPTION", () => 0, { inputs: { noise: 0 } })).toMatch(
    /^inputs\.noise: expected "scalar", or how many/,
  );
  expect(message("OPTION", () => 0, { target: 0.5 })).toBe("target: expected a positive integer, given 0.5");
  expect(message("SHAPE", ({ y, target }: never) => (y as never as { sub(x: unknown): unknown }).sub(target))).toBe(
    "loss's result: expected one number, such as the mean() of rows, given 3 rows",
  );
  expect(message("CALLBACK", () => undefined)).toBe(
    "loss's result: expected a value, as a value or a list of values, given undefined; is a return missing?",
  );
  expect(message("CALLBACK", ({ targets }: never) => targets)).toMatch(
    /^loss's targets: there is no input of that name; did you mean target\? The names are y, target, mask, t \(at loss\.test\.ts/,
  );
  expect(message("CALLBACK", ({ y }: never) => Math.abs(y))).toMatch(/a traced value has no number yet/);
  expect(
    message("SHAPE", ({ y, target }: never) => (y as never as { sub(x: unknown): unknown }).sub(target), { target: 2 }),
  ).toMatch(/^target: expected 40 numbers \[4, 5, 2\], given 60|^sub's operands/);
  const options = (body: () => unknown) => thrown("OPTION", body).message;
  expect(options(() => huberLoss({ delta: 0 }))).toBe("delta: expected a finite positive number, given 0");
  expect(options(() => gaussianLoss({ scale: -1 }))).toBe("scale: expected a finite positive number, given -1");
  expect(options(() => gaussianLoss({ scale: [1, Number.NaN] }))).toBe(
    "scale[1]: expected a finite positive number, given NaN",
  );
  expect(options(() => gaussianLoss({ sigma: 1 } as never))).toMatch(/^sigma: there is no option of that name/);
  expect(options(() => poissonLoss({ log: 1 } as never))).toBe("log: expected true or false, given 1");
  expect(thrown("SHAPE", () => gaussianLoss({ scale: [1, 2] })(y, { target }, shape)).message).toBe(
    "scale: expected one number, or 3, as the state has features, given 2",
  );
  const rate = y.with(4, -1);
  expect(thrown("NON_FINITE", () => poissonLoss()(rate, { target: counts.with(4, 2) }, shape)).message).toBe(
    "loss's value: expected a finite number, given NaN at time 0 of trajectory 1, from 0",
  );
  const root = loss(({ y }) => y.sub(2).sqrt().sum());
  expect(thrown("NON_FINITE", () => root(Float64Array.of(3, 2, 4), { target: [0, 0, 0] }, [3, 1, 1])).message).toBe(
    "loss's derivative: expected a finite number, given Infinity at time 1 of trajectory 0, from 0",
  );
  // Of a mean of 0, no counts are as likely as can be.
  const none = poissonLoss()(Float64Array.of(0, 1), { target: [0, 0] }, [2, 1, 1]);
  expect(none).toEqual({ value: 0.5, cotangent: Float64Array.of(0.5, 0.5) });
});

test("trajectories of a batch have the same arguments", () => {
  const [first, second] = trajectories as [(typeof trajectories)[0], (typeof trajectories)[0]];
  const message = (code: string, changed: unknown) =>
    thrown(code, () => minibatches({ trajectories: [first, { ...second, arguments: changed as never }] })).message;
  expect(message("OPTION", undefined)).toBe("trajectories[1].arguments: expected those of the first, dose, given none");
  expect(message("OPTION", { dose: [1, 2] })).toBe(
    "trajectories[1].arguments: expected those of the first, dose, given dose [2]",
  );
  expect(message("OPTION", { dose: 1, weight: 2 })).toMatch(/given dose, weight$/);
  expect(message("NON_FINITE", { dose: Number.NaN })).toMatch(/^trajectories\[1\]\.arguments\.dose: expected finite/);
  expect(message("OPTION", 1)).toBe("trajectories[1].arguments: expected a plain object, given 1");
});

test("a training with a traced loss does not grow", async () => {
  await collectGarbage();
  const field = mlp({ widths: [2, 8, 2] });
  const optimizer = adam(field);
  const data = [{ y0: numbers("float32", 4), times: [0, 1], target: numbers("float32", 8) }];
  const own = huberLoss();
  const run = async () => {
    for await (const _ of train({ field, optimizer, data, steps: 5, loss: own }));
    return memoryUsage().liveBytes;
  };
  expect(await run()).toBe(await run());
  own.dispose();
  for (const made of [field, optimizer]) made.dispose();
});

describe("a loss of given data", () => {
  const field = equations("x' = -x", { dtype: "float64" });
  const y0 = Float64Array.of(1, 2);

  test("is asked for where the loss itself is handed over", async () => {
    const own = loss(({ y, target }) => y.sub(target).square().sum());
    const calls = [
      () => valueAndGrad(field, y0, [0, 1], own as never),
      () => hessianVectorProduct(field, y0, [0, 1], own as never, { y0 }),
    ];
    for (const call of calls) expect(thrown("OPTION", call).message).toContain("write myLoss.of({ target: … })");
    const pool = await parallel({ workers: 1 });
    await expect(pool.valueAndGrad(field, y0, [0, 1], own as never)).rejects.toThrow("write myLoss.of");
    pool.close();
  });

  test("needs a target only if the loss takes it", () => {
    const own = loss(({ y }) => y.square().sum());
    const { value } = valueAndGrad(field, y0, [0, 1], own.of());
    expect(value).toBe(valueAndGrad(field, y0, [0, 1], own.of({ target: new Float64Array(4) })).value);
    expect(valueAndGrad(field, y0, [0, 1], own.of({ mask: [1, 0, 1, 0] })).value).toBeLessThan(value);
    const wants = loss(({ y, target }) => y.sub(target).square().sum());
    expect(thrown("DTYPE", () => valueAndGrad(field, y0, [0, 1], wants.of())).argument).toBe("target");
  });

  test("takes the times of the solve", async () => {
    const own = loss(({ y, t }) => y.sum().mul(t));
    for (const times of [
      [0, 1, 3],
      [
        [0, 1, 3],
        [0, 2],
      ],
    ]) {
      const { value, solution } = valueAndGrad(field, y0, times as number[], own.of());
      expect(value).toBe(valueAndGrad(field, y0, times as number[], own.of({ times })).value);
      const pool = await parallel({ workers: 1 });
      expect((await pool.valueAndGrad(field, y0, times as number[], own.of())).value).toBe(value);
      pool.close();
      expect(thrown("SHAPE", () => own(solution.y.slice(), {}, solution.shape)).argument).toBe("times");
    }
  });
});

test("entries that do not count need no derivative, nor a value", async () => {
  const own = poissonLoss();
  const mask = Float64Array.from({ length: rows * S }, (_, i) => (i % 3 === 1 ? 0 : 1 + (i % 2)));
  const spoiled = y.map((value, i) => (mask[i] === 0 ? -(i % 2) : value));
  const seen = counts.map((count, i) => (mask[i] === 0 ? 2 : count));
  const missing = seen.map((count, i) => (mask[i] === 0 ? Number.NaN : count));
  const tangent = numbers("float64", rows * S, 6);
  const wanted = own.of({ target: missing, mask })(y, shape, tangent);
  expect(own.of({ target: seen, mask })(spoiled, shape, tangent)).toEqual(wanted);
  for (const i of mask.keys()) if (mask[i] === 0) expect([wanted.cotangent[i], wanted.curvature[i]]).toEqual([0, 0]);
  // In float32 and in solves, here and in pools.
  const field = equations("a' = -k * a\nb' = 0 * a", { parameters: { k: 0.3 } });
  const y0 = Float32Array.of(5, 0);
  const given = own.of({ target: [5, 2, 3, 2, 2, 2], mask: [1, 0, 1, 0, 1, 0] });
  const sizes = [0, 1, 2].map((t) => 5 * Math.exp(-0.3 * t));
  const [first, second, third] = sizes as [number, number, number];
  const value = (first - 5 * Math.log(first) + second - 3 * Math.log(second) + third - 2 * Math.log(third)) / 3;
  const slope = (3 - second + 2 * (2 - third)) / 3;
  const alone = valueAndGrad(field, y0, [0, 1, 2], given);
  expect(alone.value).toBeCloseTo(value, 3);
  expect(alone.gradient.parameters[0]).toBeCloseTo(slope, 3);
  const pool = await parallel({ workers: 2 });
  const twice = own.of({ target: [5, 2, 5, 2, 3, 2, 3, 2, 2, 2, 2, 2], mask: [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0] });
  const shared = await pool.valueAndGrad(field, Float32Array.of(5, 0, 5, 0), [0, 1, 2], twice);
  expect(shared.gradient.parameters[0]).toBeCloseTo(slope, 3);
  pool.close();
  field.dispose();
  own.dispose();
});
