// Numbers that are not finite never pass in silence.
import {
  adam,
  type Batch,
  cnf,
  cosineDecay,
  exponentialDecay,
  fit,
  flow,
  meanSquaredError,
  minibatches,
  mlp,
  parallel,
  type TrainOptions,
  train,
  valueAndGrad,
  warmUp,
} from "symplectic-adjoint";
import { expect, test, vi } from "vitest";
import { thrown } from "./helpers.js";

const { NaN: nan, POSITIVE_INFINITY: infinity, MAX_VALUE: most } = Number;
const y0 = Float32Array.of(1, 0);

test("a number that is not finite is found among very many, whatever their type and where they begin", () => {
  const extremes = [-0, 1e-45, -1e-45, 3.4e18, -3.4e18];
  for (const Numbers of [Float32Array, Float64Array]) {
    const all = new Numbers(Array.from({ length: 4003 }, (_, i) => extremes[i % 5] as number)).subarray(3);
    for (const wrong of [nan, infinity, -infinity]) {
      for (const index of [0, 1999, 3999]) {
        const one = new Numbers([...all.slice(0, 3), ...all]).subarray(3);
        one[index] = wrong;
        const error = thrown("NON_FINITE", () => meanSquaredError(one, all));
        expect(error.message).toContain(`${wrong} at index ${index}`);
      }
    }
    expect(meanSquaredError(all, all).value).toBe(0);
  }
});

test("the weights of a mask are finite, zero or more, and so is their sum", () => {
  const [y, target] = [Float64Array.of(1, 2, 3), Float64Array.of(0, 0, 0)];
  const wrongs = [infinity, -infinity, -1, nan, "1", null, undefined, true, 1n, new Date(0), {}];
  for (const wrong of wrongs) {
    const error = thrown("OPTION", () => meanSquaredError(y, target, [1, wrong as number, 0]));
    expect(error.message).toMatch(/^mask: expected finite numbers, zero or more, given .* at index 1$/);
  }
  thrown("OPTION", () => meanSquaredError(y, target, [most, most, 0]));
  thrown("OPTION", () => meanSquaredError(y, target, [0, 0, 0]));
  thrown("DTYPE", () => meanSquaredError(y, target, "111" as never));
  thrown("DTYPE", () => meanSquaredError(y, target, { length: infinity }));
  thrown("SHAPE", () => meanSquaredError(y, target, [1, 1]));
  thrown("SHAPE", () => meanSquaredError(new Float64Array(), new Float64Array()));
  expect(meanSquaredError(y, target, [most / 2, 0, most / 2]).value).toBe(5);
});

test("a mean of squares is finite, or says where it is not", () => {
  const of = (y: number, target: number) => () => meanSquaredError(Float64Array.of(0, y), Float64Array.of(0, target));
  expect(thrown("NON_FINITE", of(nan, 0)).message).toMatch(/^y: .*NaN at index 1/);
  expect(thrown("NON_FINITE", of(0, infinity)).message).toMatch(/^target: .*Infinity at index 1/);
  expect(thrown("NON_FINITE", of(1e200, -1e200)).message).toMatch(/^target: .*1e\+200 and -1e\+200 at index 1/);
  // The mean of these squares is a number, but twice a difference is no float32.
  thrown("NON_FINITE", () => meanSquaredError(Float32Array.of(3e38), Float32Array.of(0)));
  expect(meanSquaredError(Float64Array.of(0, nan), Float64Array.of(1, 2), [1, 0])).toEqual({
    value: 1,
    cotangent: Float64Array.of(-2, 0),
  });
});

const losses = { NaN: nan, Infinity: infinity, "-Infinity": -infinity };
test.each(Object.entries(losses))(
  "a loss of %s ends a gradient and a training, with nothing changed",
  async (_, value) => {
    const field = mlp({ widths: [2, 4, 2] });
    const optimizer = adam(field);
    const before = field.parameters.slice();
    const loss = (y: Float32Array) => ({ value, cotangent: y });
    const expected = { code: "NON_FINITE", message: `loss's value: expected a finite number, given ${value}` };
    expect(thrown("NON_FINITE", () => valueAndGrad(field, y0, [0, 1], loss)).message).toBe(expected.message);
    const data = [{ y0, times: [0, 1], target: new Float32Array(4) }];
    await expect(fit({ field, optimizer, data, loss, steps: 3 })).rejects.toMatchObject(expected);
    const pool = await parallel({ workers: 1 });
    await expect(pool.valueAndGrad(field, y0, [0, 1], loss)).rejects.toMatchObject(expected);
    await expect(fit({ field, optimizer, data, loss, pool, steps: 3 })).rejects.toMatchObject(expected);
    pool.close();
    expect([optimizer.steps, field.parameters]).toEqual([0, before]);
  },
);

test("data that are not finite are refused before anything is computed", async () => {
  const field = mlp({ widths: [2, 4, 2] });
  const optimizer = adam(field);
  const good: Batch<"float32"> = { y0, times: [0, 1], target: new Float32Array(4) };
  const wrongs: [string, string, Partial<Batch<"float32">>][] = [
    ["NON_FINITE", "target", { target: Float32Array.of(1, nan, 1, 1) }],
    ["OPTION", "mask", { mask: [1, infinity, 1, 1] }],
    ["SHAPE", "mask", { mask: [1, 1, 1] }],
    ["SHAPE", "target", { target: new Float32Array(6) }],
    ["DTYPE", "target", { target: new Float64Array(4) as never }],
  ];
  for (const [code, argument, wrong] of wrongs) {
    const bad = { ...good, ...wrong };
    const first = { code, argument: `data[1].${argument}` };
    await expect(fit({ field, optimizer, data: [good, bad], steps: 2 })).rejects.toMatchObject(first);
    const only = { code, argument: `data.${argument}` };
    await expect(fit({ field, optimizer, data: [bad].values(), steps: 2 })).rejects.toMatchObject(only);
    const validation = { data: [good, bad] };
    const held = { code, argument: `validation.data[1].${argument}` };
    await expect(fit({ field, optimizer, data: [good], validation, steps: 2 })).rejects.toMatchObject(held);
  }
  expect(optimizer.steps).toBe(0);
  const masked = { ...good, target: Float32Array.of(1, nan, 1, 1), mask: [1, 0, 1, 1] };
  expect((await fit({ field, optimizer, data: [masked], steps: 2 })).losses.every(Number.isFinite)).toBe(true);
});

test.each([
  [1e200, 0.25],
  [1e300, 1e-300],
  [1e-200, 1e-201],
  [3, 0.25],
])("clipping scales a gradient of numbers of about %d to a norm of %d", async (size, clipNorm) => {
  // dy/dt = w y over one step of Euler's method: the gradient is y0 times the cotangent.
  const field = mlp({ widths: [2, 2], dtype: "float64", bias: false });
  field.parameters.fill(0);
  const optimizer = adam(field);
  const given: Float64Array[] = [];
  const step = vi.spyOn(Object.getPrototypeOf(optimizer), "step");
  const start = Float64Array.of(1, 2);
  const options: TrainOptions<"float64"> = {
    ...{ field, optimizer, steps: 1, clipNorm, method: "euler" },
    data: [{ y0: start, times: [0, 1], target: new Float64Array(4) }],
    loss: () => ({ value: 0, cotangent: Float64Array.of(0, 0, size, 0) }),
  };
  const { value } = await train(options).next();
  given.push(step.mock.calls[0]?.[0] as Float64Array);
  step.mockRestore();
  const { gradientNorm, gradient } = value as { gradientNorm: number; gradient: { parameters: Float64Array } };
  expect(gradientNorm / (Math.sqrt(5) * size)).toBeCloseTo(1, 12);
  const [first = 0, second = 0] = gradient.parameters;
  expect([first / size, second / size]).toEqual([expect.closeTo(1, 12), expect.closeTo(2, 12)]);
  const [clipped] = given as [Float64Array];
  expect(Math.hypot(...clipped) / clipNorm).toBeCloseTo(1, 12);
  expect((clipped[1] ?? 0) / (clipped[0] ?? 0)).toBeCloseTo(2, 12);
});

test("a norm beyond what a number holds is infinite, and the gradient clipped all the same", async () => {
  const field = mlp({ widths: [1, 1], dtype: "float64" });
  const optimizer = adam(field);
  const data = [{ y0: Float64Array.of(1), times: [0, 1], target: new Float64Array(2) }];
  const loss = () => ({ value: 0, cotangent: Float64Array.of(0, 1.5e308) });
  const step = await train({ field, optimizer, data, loss, steps: 1, clipNorm: 1, method: "euler" }).next();
  expect((step.value as { gradientNorm: number }).gradientNorm).toBe(infinity);
  expect(field.parameters.every(Number.isFinite)).toBe(true);
  // Both moments are of 1/√2, and so tell of the gradient that came.
  for (const moment of optimizer.state.subarray(0, 2)) expect(moment).toBeCloseTo(0.1 * Math.SQRT1_2, 12);
});

test("a schedule gives finite rates, zero or more, and takes such steps", async () => {
  const field = mlp({ widths: [2, 4, 2] });
  const optimizer = adam(field, { learningRate: 0.5 });
  const data = [{ y0, times: [0, 1], target: new Float32Array(4) }];
  for (const wrong of [nan, infinity, -0.1, "0.1", undefined, null, Promise.resolve(0.1)]) {
    for (const schedule of [() => wrong as number, warmUp(2, () => wrong as number)]) {
      const error = { code: "CALLBACK", argument: "schedule's result" };
      await expect(fit({ field, optimizer, data, steps: 2, schedule })).rejects.toMatchObject(error);
    }
  }
  expect([optimizer.steps, optimizer.learningRate]).toEqual([0, 0.5]);
  for (const schedule of [exponentialDecay(1, { factor: 0.5 }), cosineDecay(1, { steps: 5 }), warmUp(3, 1)]) {
    for (const wrong of [nan, -1, infinity, "1", undefined]) thrown("OPTION", () => schedule(wrong as number));
  }
  expect(exponentialDecay(1, { factor: 1, steps: Number.MIN_VALUE })(1)).toBe(1);
});

test("a flow says where a density is no number", async () => {
  const still = cnf({ network: { widths: [2, 2] }, kinetic: true });
  still.parameters.fill(0);
  const density = flow({ blocks: [still] });
  const far = Float32Array.of(0, 0, 1e20, 0);
  const options = { method: "euler" } as const;
  expect(density.logDensity(Float32Array.of(0, 0), options)[0]).toBeCloseTo(-Math.log(2 * Math.PI), 6);
  expect(thrown("NON_FINITE", () => density.logDensity(far, options)).message).toMatch(/-Infinity for sample 1/);
  thrown("NON_FINITE", () => density.valueAndGrad(far, options));
  const pool = await parallel({ workers: 1 });
  await expect(density.valueAndGradIn(pool, far, options)).rejects.toMatchObject({ code: "NON_FINITE" });
  pool.close();
  const near = Float32Array.of(0, 0);
  thrown("NON_FINITE", () => density.valueAndGrad(near, { ...options, kineticWeight: 1e300 }));
  still.parameters.fill(1);
  thrown("NON_FINITE", () => density.valueAndGrad(Float32Array.of(1e15, 0), { ...options, kineticWeight: 1e300 }));
});

test("a gradient that overflows only in the sum over workers is an error", async () => {
  const field = mlp({ widths: [1, 1] });
  const pool = await parallel({ workers: 2 });
  // ∂L/∂bias: 16 samples of each worker.
  const cotangent = () => ({ value: 0, cotangent: new Float32Array(64).fill(1.8e37) });
  const solved = pool.valueAndGrad(field, new Float32Array(32), [0, 1], cotangent, { method: "euler" });
  await expect(solved).rejects.toMatchObject({ code: "NON_FINITE" });
  pool.close();
});

test("observations are numbers that the batches can hold", () => {
  const of = (value: number, dtype: "float32" | "float64") => () =>
    minibatches({ trajectories: [{ times: [0, 1], values: [1, value] }], dtype });
  thrown("NON_FINITE", of(1e300, "float32"));
  expect(of(1e300, "float64")().epoch()[0]?.target).toEqual(Float64Array.of(1, 1e300));
  thrown("NON_FINITE", of(infinity, "float64"));
  thrown("OPTION", () => minibatches({ trajectories: [{ times: [-most, most], values: [1, 2] }] }));
});
