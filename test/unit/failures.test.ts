// Solves that go on where a trajectory fails: what their masks say, and that losses go by them.
import {
  absoluteLoss,
  adam,
  type Batch,
  equations,
  fit,
  huberLoss,
  type IndependentLoss,
  type Loss,
  leastSquares,
  loss,
  meanSquaredError,
  odeint,
  parallel,
  valueAndGrad,
} from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { thrown } from "./helpers.js";

/** x' = k x² blows up at t = 1/(k x_0): the second of three trajectories fails before t = 1. */
const blowUp = () => equations("x' = k * x^2 \n v' = -v", { parameters: { k: 1 }, dtype: "float64" });
const y0 = Float64Array.of(0.1, 1, 2, 1, 0.2, 3);
const times = [0, 0.2, 1];
const target = new Float64Array(18).map((_, i) => Math.sin(i));
const masked = { onFailure: "mask" } as const;
/** The numbers of the two trajectories that go on, of those of all three. */
const others = (numbers: Float64Array) => numbers.filter((_, i) => i % 6 < 2 || i % 6 > 3);

test("the mask leaves out trajectories that failed, with shared times and with their own", () => {
  const shared = odeint(blowUp(), y0, times, masked);
  expect([...(shared.mask ?? [])]).toEqual([1, 0, 1, 1, 0, 1, 1, 0, 1]);
  expect([...shared.trajectories.reached]).toEqual([3, 2, 3]);
  const own = odeint(blowUp(), y0, [[0, 1], times, times], masked);
  expect([...(own.mask ?? [])]).toEqual([1, 0, 1, 1, 0, 1, 0, 0, 1]);
  expect(odeint(blowUp(), y0, [0, 0.2], masked).mask).toBeUndefined();
});

const curved = loss(({ y, target }) => y.sub(target).square().square().sum());
const solutionLosses = {
  meanSquaredError: (y: Float64Array, wanted: Float64Array) => meanSquaredError(y, wanted),
  "meanSquaredError with weights": (y: Float64Array, wanted: Float64Array) =>
    meanSquaredError(y, wanted, new Float64Array(y.length).fill(2)),
};

/** A loss for `valueAndGrad`, of a target. */
type OfTarget = (wanted: Float64Array) => IndependentLoss<"float64">;

describe("a loss leaves out what the mask does", () => {
  const field = blowUp();
  const alone = (of: OfTarget) =>
    valueAndGrad(field, others(y0), times, of(others(target)), { batching: "independent" });
  const all = (of: OfTarget) => valueAndGrad(field, y0, times, of(target), masked);
  test.each([
    ...Object.entries(solutionLosses).map(([name, of]) => [name, (w: Float64Array) => (y: Float64Array) => of(y, w)]),
    ["huberLoss", (w: Float64Array) => huberLoss().of({ target: w })],
    ["absoluteLoss", (w: Float64Array) => absoluteLoss().of({ target: w })],
    ["a loss of one's own", (w: Float64Array) => curved.of({ target: w })],
  ] as [string, OfTarget][])("%s", (_, of) => {
    const [expected, given] = [alone(of), all(of)];
    expect(given.value).toBeCloseTo(expected.value, 12);
    expect(given.gradient.parameters[0]).toBeCloseTo(expected.gradient.parameters[0] as number, 10);
    expect(others(given.gradient.y0)).toHaveLength(4);
    expect([...given.gradient.y0.subarray(2, 4)]).toEqual([0, 0]);
  });

  test("in a pool as well", async () => {
    const pool = await parallel({ workers: 1 });
    const { value } = await pool.valueAndGrad(field, y0, times, (y) => meanSquaredError(y, target), masked);
    expect(value).toBe(valueAndGrad(field, y0, times, (y) => meanSquaredError(y, target), masked).value);
    pool.close();
  });

  test("of the solution of odeint, and rows behind a trajectory's own last time", () => {
    const { y } = odeint(field, y0, times, masked);
    expect(meanSquaredError(y, target).value).toBeCloseTo(meanSquaredError(others(y), others(target)).value, 12);
    const ragged = odeint(field, others(y0), [[0], [0, 0.5]]);
    const wanted = Float64Array.of(0, 0, 0, 0, 7, 7, 0, 0);
    expect(meanSquaredError(ragged.y, wanted).value).toBeCloseTo(
      [0, 1, 2, 3, 6, 7].reduce((sum, i) => sum + (ragged.y[i] as number) ** 2 / 6, 0),
      12,
    );
  });
});

test.each([
  ["mse", "mse" as Loss<"float64">],
  ["huberLoss", huberLoss() as Loss<"float64">],
  [
    "a function",
    ((y, batch, shape) => {
      expect(batch.mask).toHaveLength(shape[0] * shape[1]);
      const mask = y.map((_, i) => batch.mask?.[Math.floor(i / shape[2])] as number);
      return meanSquaredError(y, batch.target, mask);
    }) as Loss<"float64">,
  ],
])("fit by %s goes on without a trajectory that failed", async (_, own) => {
  const train = async (data: Batch<"float64">, options: object) => {
    const field = blowUp();
    const optimizer = adam(field, { learningRate: 0.01 });
    const validation = { data: [data] };
    return fit({ field, optimizer, data: [data], steps: 3, loss: own, validation, ...options });
  };
  const some = await train({ y0, times, target }, masked);
  const without = { y0: others(y0), times, target: others(target), mask: new Float64Array(6).fill(1) };
  const expected = await train(without, { batching: "independent" });
  for (const [i, value] of some.losses.entries()) expect(value).toBeCloseTo(expected.losses[i] as number, 12);
  expect(some.best?.validation).toBeCloseTo(expected.best?.validation as number, 12);
});

test("where none is left, the error of the first is thrown", async () => {
  const field = blowUp();
  const data = { y0: y0.subarray(2, 4), times, target: new Float64Array(6) };
  for (const of of [(y: Float64Array) => meanSquaredError(y, data.target), huberLoss().of(data)]) {
    const error = thrown("STEP_UNDERFLOW", () => valueAndGrad(field, data.y0, times, of as never, masked));
    expect(error.message).toContain("trajectory 0");
  }
  const failing = fit({ field, optimizer: adam(field), data: [data], steps: 1, ...masked });
  await expect(failing).rejects.toMatchObject({ code: "STEP_UNDERFLOW" });
});

test("leastSquares needs all predictions", () => {
  const data = { times: [1], y: [1, 1], y0: [0.1, 1], t0: 0 };
  const error = thrown("OPTION", () => leastSquares({ field: blowUp(), data, ...masked } as never));
  expect(error.argument).toBe("onFailure");
  expect(error.message).toContain("a prediction for every measurement");
});

test("thousands of failures are told of, each with its reason", () => {
  const field = equations("x' = -x", { dtype: "float64" });
  const y0 = new Float64Array(16_384).fill(0.3);
  // Twice, since the second time runs optimised code.
  for (let time = 0; time < 2; time++) {
    const { failures } = odeint(field, y0, [0, 1], { maxSteps: 1, rtol: 1e-9, onFailure: "mask" });
    expect(failures.length).toBe(y0.length);
    const { trajectory, error } = failures.at(-1) as (typeof failures)[number];
    expect([trajectory, error.code, error.steps, error.message]).toEqual([
      y0.length - 1,
      "MAX_STEPS",
      1,
      expect.stringContaining(`trajectory ${y0.length - 1}: maxSteps was reached`),
    ]);
  }
});
