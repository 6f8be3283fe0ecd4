// Trajectories that keep their own times in training: batches, jumps, losses.
import {
  absoluteLoss,
  adam,
  type Batch,
  equations,
  fit,
  gaussianLoss,
  huberLoss,
  load,
  loss,
  meanSquaredError,
  minibatches,
  mlp,
  type ObservedTrajectory,
  odeint,
  parallel,
  save,
  type TrainOptions,
  train,
  valueAndGrad,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { thrown } from "./helpers.js";

/** The error of a promise, checked for its code. */
async function rejected(code: string, promise: Promise<unknown>): Promise<Error> {
  const error = await promise.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toMatchObject({ name: "SymplecticAdjointError", code });
  return error;
}

/** A drug that leaves: doses, and visits at other times for everyone. */
const DOSES = [[0, 6], [2, 4, 8], []];
const AMOUNTS = [[3, 1], [2, 1, 0.5], []];
const VISITS = [
  [0, 1, 5.5, 7],
  [0, 3, 4.5, 5, 9, 10],
  [1, 2],
];
const jumps = [{ times: DOSES, set: "x = x + dose", amounts: { dose: AMOUNTS } }];

const decay = (rate = 0.4) => equations("x' = -rate * x", { parameters: { rate }, dtype: "float64" });

/** What is seen with another rate; the second value of the second trajectory is missing. */
function patients(): ObservedTrajectory[] {
  const y0 = Float64Array.of(1, 0.5, 2);
  const { y } = odeint(decay(0.3), y0, VISITS, { jumps });
  return VISITS.map((times, k) => ({
    times,
    values: times.map((_, i) =>
      i === 0 ? (y0[k] as number) : k === 1 && i === 1 ? Number.NaN : (y[3 * i + k] as number),
    ),
  }));
}

const lists = (batch: Batch<"float64">) => batch.times as readonly Float64Array[];
/** Of the first jump of a batch the times and doses of each trajectory. */
const dosesOf = ({ jumps: [first] = [] }: Batch<"float64">) =>
  [first?.times, first?.amounts?.dose].map((all) => Array.from((all ?? []) as Float64Array[], (own) => [...own]));

test("a batch has the times, targets, arguments and jumps of its own trajectories", () => {
  const trajectories = patients().map((own, k) => ({ ...own, arguments: { weight: 10 + k } }));
  const all = minibatches({ trajectories, jumps, batch: 2, seed: 5, dtype: "float64" });
  expect(all.length).toBe(2);
  const seen = all.epoch().flatMap((batch) => {
    const { y0, target, mask, arguments: own } = batch;
    const [times, amounts] = dosesOf(batch);
    const size = y0.length;
    return lists(batch).map((visits, sample) => {
      const k = Number(own?.weight?.[sample]) - 10;
      const { values } = trajectories[k] as ObservedTrajectory;
      expect([...visits]).toEqual(VISITS[k]);
      expect(y0[sample]).toBe(values[0]);
      for (let i = 0; i < target.length / size; i++) {
        // What is not there, is missing, or is the state before a dose does not count.
        const counts = i < visits.length && !Number.isNaN(values[i]) && !(k === 0 && i === 0);
        expect(mask?.[i * size + sample] ?? 1).toBe(counts ? 1 : 0);
        if (counts) expect(target[i * size + sample]).toBe(values[i]);
      }
      expect([times?.[sample], amounts?.[sample]]).toEqual([DOSES[k], AMOUNTS[k]]);
      return k;
    });
  });
  expect(seen.sort()).toEqual([0, 1, 2]);
});

test("windows take the jumps that follow their first observation, at times that may count from there", () => {
  const own = { times: [0, 1, 2, 3, 4], values: [1, 2, 3, 4, 5] };
  const doses = { times: [0, 0.5, 2, 3.5], set: "x = x + dose", amounts: { dose: [10, 20, 30, 40] } };
  const options = { trajectories: [own], jumps: [doses], window: 3, shuffle: false, dtype: "float64" } as const;
  for (const relative of [false, true]) {
    const [batch] = minibatches({ ...options, relative }).epoch() as [Batch<"float64">];
    const origin = (start: number) => (relative ? start : 0);
    const [times, amounts] = dosesOf(batch);
    // The first begins before the dose at 0; the third at 2 after the dose there.
    expect(times?.map((own, start) => own.map((t) => t + origin(start)))).toEqual([[0, 0.5, 2], [2], [3.5]]);
    expect(amounts).toEqual([[10, 20, 30], [30], [40]]);
    expect(lists(batch).map(([first]) => first)).toEqual(relative ? [0, 0, 0] : [0, 1, 2]);
    // The first observation is the state before the dose, and the solution has that after it.
    expect(Array.from(batch.mask ?? [])).toEqual([0, 1, 1, 1, 1, 1, 1, 1, 1]);
  }
});

test("a first state that is given needs no observation, and those at its time count", () => {
  const own = { times: [0, 1, 2], values: [Number.NaN, 4, Number.NaN, 5, Number.NaN, 6], y0: [1, 0] };
  for (const batching of ["together", "independent"] as const) {
    const data = minibatches({ trajectories: [own], batching, window: 2, dtype: "float64" });
    const batches = data.epoch();
    expect(batches).toHaveLength(1);
    const [{ y0, target, mask }] = batches as [Batch<"float64">];
    expect([...y0]).toEqual([1, 0]);
    expect([...target]).toEqual([0, 4, 0, 5]);
    expect(Array.from(mask ?? [])).toEqual([0, 1, 0, 1]);
  }
  thrown("SHAPE", () => minibatches({ trajectories: [{ ...own, y0: [1] }] }));
  thrown("NON_FINITE", () => minibatches({ trajectories: [{ ...own, y0: [1, Number.NaN] }] }));
  // There is nothing to compare in a window of the first row alone.
  const none = { ...own, values: own.values.map(() => Number.NaN) };
  expect(thrown("OPTION", () => minibatches({ trajectories: [none] })).message).toContain("something to compare");
});

test("each observed number counts once, whatever the loss and the company", async () => {
  const trajectories = patients();
  const [batch] = minibatches({ trajectories, jumps, shuffle: false, dtype: "float64" }).epoch() as [Batch<"float64">];
  const field = decay();
  const step = async (own: Batch<"float64">, given?: TrainOptions<"float64">["loss"]) => {
    const optimizer = adam(field);
    const before = field.parameters.slice();
    const options = { field, optimizer, data: [own], steps: 1, ...(given && { loss: given }) };
    const { value } = await train(options).next();
    field.parameters = before;
    optimizer.dispose();
    return value as { loss: number; gradient: { parameters: Float64Array; y0: Float64Array } };
  };
  /** The mean over all numbers that count, from each trajectory alone. */
  const alone = async (given?: TrainOptions<"float64">["loss"]) => {
    let [sum, slope, count] = [0, 0, 0];
    for (const [k, one] of trajectories.entries()) {
      const [{ times: DOSED, amounts }] = [{ times: [DOSES[k] ?? []], amounts: { dose: [AMOUNTS[k] ?? []] } }];
      const own = [{ times: DOSED, amounts, set: "x = x + dose" }];
      const [single] = minibatches({ trajectories: [one], jumps: own, dtype: "float64" }).epoch() as [Batch<"float64">];
      const counted = single.mask ? single.mask.length - [...Array.from(single.mask)].filter((w) => w === 0).length : 2;
      const { loss, gradient } = await step(single, given);
      sum += counted * loss;
      slope += counted * (gradient.parameters[0] as number);
      count += counted;
    }
    expect(count).toBe(3 + 5 + 2);
    return [sum / count, slope / count] as const;
  };
  const ours: TrainOptions<"float64">["loss"] = (y, { target, mask }) => meanSquaredError(y, target, mask);
  for (const given of [undefined, ours, absoluteLoss(), gaussianLoss({ scale: 0.5 })]) {
    const whole = await step(batch, given);
    const [value, slope] = await alone(given);
    expect(whole.loss).toBeCloseTo(value, 12);
    expect(whole.gradient.parameters[0]).toBeCloseTo(slope, 12);
    // Of rows that nobody has, neither the target nor the weight matters.
    const { mask, target } = batch;
    const size = batch.y0.length;
    const padding = (i: number) => Math.floor(i / size) >= (lists(batch)[i % size] as Float64Array).length;
    const other = {
      ...batch,
      target: target.map((value, i) => (padding(i) ? Number.NaN : value)),
      mask: Float64Array.from(mask as Uint8Array, (weight, i) => (padding(i) ? 7 : weight)),
    };
    const same = await step(other, given);
    expect(same.loss).toBe(whole.loss);
    expect(same.gradient).toEqual(whole.gradient);
  }
});

test("a loss by itself takes the mask of the solution, and times of rows", () => {
  const field = decay();
  const y0 = Float64Array.of(1, 2);
  const times = [
    [0, 1, 2],
    [0, 3],
  ];
  const target = Float64Array.of(1, 2, 0.5, 0.7, 0.4, Number.NaN);
  const whole = absoluteLoss();
  const { value, gradient } = valueAndGrad(field, y0, times, whole.of({ target }));
  const masked = valueAndGrad(field, y0, times, whole.of({ target, mask: [1, 1, 1, 1, 1, 0] }));
  expect(value).toBe(masked.value);
  expect(gradient.parameters).toEqual(masked.gradient.parameters);
  expect(valueAndGrad(field, y0, times, (y, shape) => whole(y, { target, times }, shape)).value).toBe(value);
  const clocked = loss(({ y, t }) => y.mul(0).add(t).sum());
  // Of five rows: 0, 0, 1, 3, 2.
  const at = valueAndGrad(field, y0, times, clocked.of({ target, times })).value;
  expect(at).toBeCloseTo(6 / 5, 12);
  const wrong = thrown("SHAPE", () =>
    valueAndGrad(
      field,
      y0,
      times,
      clocked.of({
        target,
        times: [
          [0, 1],
          [0, 3],
        ],
      }),
    ),
  );
  expect(wrong.message).toContain("times: expected lists of up to 3 times");
});

test("training with doses finds the rate, judges it, and goes on after a checkpoint to the same", async () => {
  const data = () => minibatches({ trajectories: patients(), jumps, batch: 2, seed: 2, dtype: "float64" });
  const validation = { data: data().epoch(), every: 5 };
  const run = async (
    steps: number,
    field = decay(),
    optimizer = adam(field, { learningRate: 0.02 }),
    from = data(),
  ) => {
    const { best, losses } = await fit({ field, optimizer, data: from, steps, validation });
    return { field, optimizer, from, best, losses };
  };
  const whole = await run(60);
  expect(whole.field.parameters[0]).toBeCloseTo(0.3, 2);
  expect(whole.best?.validation).toBeLessThan(1e-5);
  const field = decay();
  const optimizer = adam(field, { learningRate: 0.02 });
  const from = data();
  const options = { field, optimizer, data: from, steps: 21 };
  await fit(options);
  const saved = load(save(field, { optimizer }), { dtype: "float64" });
  const later = data();
  later.state = from.state;
  const rest = { field: saved.field, optimizer: saved.optimizer as typeof optimizer, data: later, steps: 39 };
  const { losses } = await fit(rest);
  const straight = decay();
  const once = await fit({
    field: straight,
    optimizer: adam(straight, { learningRate: 0.02 }),
    data: data(),
    steps: 60,
  });
  expect(losses).toEqual(once.losses.slice(21));
  expect(saved.field.parameters).toEqual(straight.parameters);
});

test("a pool trains to the same bits", async () => {
  const pool = await parallel({ workers: 2 });
  try {
    const [one, shared] = await Promise.all(
      [undefined, pool].map(async (own) => {
        const field = decay();
        const data = minibatches({ trajectories: patients(), jumps, dtype: "float64" });
        const validation = { data: data.epoch() };
        const common = { field, optimizer: adam(field, { learningRate: 0.02 }), data, steps: 4, validation };
        const { losses, validations } = await fit({ ...common, loss: huberLoss(), ...(own && { pool: own }) });
        return { losses, validations, parameters: field.parameters.slice() };
      }),
    );
    expect(shared).toEqual(one);
  } finally {
    pool.close();
  }
});

test("a loss of events trains", async () => {
  // When does what decays reach a half? The first has farther to go.
  const field = decay(1);
  const batch: Batch<"float64"> = {
    y0: Float64Array.of(2, 1),
    times: [
      [0, 20],
      [0, 10],
    ],
    target: new Float64Array(4),
  };
  const wanted = [4, 2];
  const reach: TrainOptions<"float64">["loss"] = (y, _, __, solution) => {
    if (!solution) throw new Error("no solution");
    const { t, trajectory } = solution.events;
    const off = [...t].map((time, i) => time - (wanted[trajectory[i] as number] as number));
    return {
      value: off.reduce((sum, own) => sum + own ** 2, 0),
      cotangent: new Float64Array(y.length),
      events: { times: off.map((own) => 2 * own) },
    };
  };
  const events = [{ when: "x - 0.5", direction: "falling" }] as const;
  const { losses } = await fit({
    ...{ field, optimizer: adam(field, { learningRate: 0.02 }), data: [batch], steps: 200, loss: reach, events },
    rtol: 1e-8,
  });
  expect(losses[0]).toBeCloseTo((Math.log(4) - 4) ** 2 + (Math.log(2) - 2) ** 2, 4);
  // Both are exact where the rate is log(2)/2.
  expect(field.parameters[0]).toBeCloseTo(Math.log(2) / 2, 4);
});

test("independent windows need no common start, and learn the same as those that share times", async () => {
  const trajectories = [0, 1, 2].map((phase) => {
    const times = Array.from({ length: 12 }, (_, i) => 0.3 * i + 0.1 * Math.sin(5 * i + phase));
    return { times, values: times.flatMap((t) => [Math.cos(t + phase), Math.sin(t + phase)]) };
  });
  const independent = minibatches({ trajectories, window: 4, batching: "independent" });
  expect(independent.length).toBe(1);
  expect(minibatches({ trajectories, window: 4 }).length).toBeGreaterThan(9);
  const losses = await Promise.all(
    (["together", "independent"] as const).map(async (batching) => {
      const field = mlp({ widths: [2, 8, 2], seed: 3, dtype: "float64" });
      const data = minibatches({ trajectories, window: 4, relative: true, batching, dtype: "float64" });
      const options = { field, optimizer: adam(field, { learningRate: 0.01 }), data, steps: 5, rtol: 1e-9, atol: 1e-9 };
      return (await fit(options)).losses;
    }),
  );
  for (const [i, value] of (losses[0] ?? []).entries()) expect(losses[1]?.[i]).toBeCloseTo(value, 7);
});

test("what does not fit is refused before a step", async () => {
  const trajectories = patients();
  const message = (options: object) => thrown("OPTION", () => minibatches({ trajectories, ...options })).message;
  expect(message({ jumps, batching: "together" })).toContain("batching: expected independent, for jumps");
  expect(message({ jumps: [{ times: [2, 1], set: "x = 0" }] })).toMatch(
    /^jumps\[0\]\.times: expected finite times in the order .* 2, 1 at index 1/,
  );
  expect(message({ jumps: [{ times: [[0], [3, 2], []], set: "x = 0" }] })).toContain("jumps[0].times[1]");
  expect(
    thrown("SHAPE", () => minibatches({ trajectories, jumps: [{ times: [[1], [2]], set: "x = 0" }] })).message,
  ).toContain("one for each of 3 trajectories");
  const field = decay();
  const optimizer = adam(field);
  const batch = {
    y0: Float64Array.of(1, 2),
    times: [
      [0, 1],
      [0, 1, 2],
    ],
    target: new Float64Array(6),
  };
  const refused = (own: object, more: object = {}) =>
    ({ field, optimizer, data: [{ ...batch, ...own }], steps: 1, ...more }) as TrainOptions<"float64">;
  const next = async (options: TrainOptions<"float64">) => train(options).next();
  expect((await rejected("SHAPE", next(refused({ times: [[0, 1]] })))).message).toContain("data[0].times");
  expect((await rejected("SHAPE", next(refused({ target: new Float64Array(4) })))).message).toContain("data[0].target");
  expect((await rejected("SHAPE", next(refused({ mask: [1, 1, 1] })))).message).toContain("data[0].mask");
  // Behind the last time of the first nothing counts.
  const onlyThere = { mask: [0, 0, 0, 0, 1, 0] };
  expect((await rejected("OPTION", next(refused(onlyThere)))).message).toContain("at least one positive weight");
  expect(field.parameters[0]).toBe(0.4);
});
