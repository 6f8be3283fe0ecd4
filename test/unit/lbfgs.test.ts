import * as fc from "fast-check";
import {
  adam,
  equations,
  type LbfgsOptions,
  lbfgs,
  meanSquaredError,
  mlp,
  odeint,
  SymplecticAdjointError,
  valueAndGrad,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { type QuasiNewtonOptions, quasiNewton, type ValueWithGradient } from "../../ts/train/quasi-newton.js";
import { thrown } from "./helpers.js";

const settings = {
  round: () => {},
  maxIterations: 500,
  memory: 10,
  gradientTolerance: 1e-9,
  costTolerance: 0,
  noise: 1e-14,
  onIteration: async () => true,
};

const minimize = (
  f: (x: Float64Array) => ValueWithGradient | undefined,
  start: number[],
  changed: Partial<QuasiNewtonOptions> = {},
) => {
  const x = Float64Array.from(start);
  return quasiNewton(x, f(x) as ValueWithGradient, { ...settings, evaluate: async (at) => f(at), ...changed });
};

/** Rosenbrock's function of pairs. */
const rosenbrock = (x: Float64Array): ValueWithGradient => {
  const gradient = new Float64Array(x.length);
  let value = 0;
  for (let i = 0; i < x.length; i += 2) {
    const [a, b] = [x[i] as number, x[i + 1] as number];
    value += 100 * (b - a * a) ** 2 + (1 - a) ** 2;
    gradient[i] = -400 * a * (b - a * a) - 2 * (1 - a);
    gradient[i + 1] = 200 * (b - a * a);
  }
  return { value, gradient };
};

test("Rosenbrock's function, of two and of a hundred variables", async () => {
  for (const n of [2, 100]) {
    const start = Array.from({ length: n }, (_, i) => (i % 2 === 0 ? -1.2 : 1));
    const found = await minimize(rosenbrock, start);
    expect(found.reason).toBe("gradient");
    expect(found.value).toBeLessThan(1e-15);
    expect(found.iterations).toBeLessThan(60);
    expect(found.evaluations).toBeLessThan(1.6 * found.iterations + 5);
  }
});

test("quadratics of any scale", async () => {
  const scales = fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 1, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(scales, fc.integer({ min: -6, max: 6 }), async (powers, size) => {
      const f = (x: Float64Array) => {
        const gradient = x.map((value, i) => 10 ** (powers[i] as number) * (value - i) * 10 ** size);
        return { value: gradient.reduce((sum, slope, i) => sum + 0.5 * slope * ((x[i] as number) - i), 0), gradient };
      };
      const found = await minimize(
        f,
        powers.map(() => 3),
        { gradientTolerance: 0, costTolerance: 1e-15 },
      );
      expect(found.value).toBeLessThan(1e-7 * f(Float64Array.from(powers, () => 3)).value + 1e-300);
    }),
    { numRuns: 100 },
  );
});

test("iterations fall, and it ends where it is told to", async () => {
  const values: number[] = [];
  const onIteration: QuasiNewtonOptions["onIteration"] = async (_, { value }) => void values.push(value);
  const found = await minimize(rosenbrock, [-1.2, 1], { onIteration });
  expect(values).toHaveLength(found.iterations);
  expect(values).toEqual([...values].sort((a, b) => b - a));
  expect(await minimize(rosenbrock, [-1.2, 1], { maxIterations: 4 })).toMatchObject({
    reason: "iterations",
    iterations: 4,
  });
  expect(await minimize(rosenbrock, [1, 1])).toMatchObject({ reason: "gradient", iterations: 0, evaluations: 1 });
  const once = async (iteration: number) => iteration < 3;
  expect(await minimize(rosenbrock, [-1.2, 1], { onIteration: once })).toMatchObject({
    reason: "callback",
    iterations: 3,
  });
  expect((await minimize(rosenbrock, [-1.2, 1], { costTolerance: 0.3 })).reason).toBe("cost");
});

test("it goes around what cannot be computed", async () => {
  // −ln x + x with its minimum at 1, from far; undefined below 0.
  const f = ([x]: Float64Array) => {
    const at = x as number;
    return at > 0 ? { value: at - Math.log(at), gradient: Float64Array.of(1 - 1 / at) } : undefined;
  };
  for (const start of [1e-3, 0.5, 30, 1e4]) {
    const { x } = await minimize(f, [start]);
    expect(x[0]).toBeCloseTo(1, 8);
  }
});

test("a gradient that is wrong ends it", async () => {
  const wrong = (x: Float64Array) => {
    const { value, gradient } = rosenbrock(x);
    return { value, gradient: gradient.map((slope) => -slope) };
  };
  expect(await minimize(wrong, [-1.2, 1])).toMatchObject({ reason: "stuck", x: Float64Array.of(-1.2, 1) });
});

/** Turns by the angle t. */
const times = [0, 0.5, 1];
const rotation = times.flatMap((t) => [Math.cos(t), Math.sin(t), -Math.sin(t), Math.cos(t)]);

const problem = (dtype: "float32" | "float64") => {
  const field = mlp({ widths: [2, 12, 2], seed: 1, dtype });
  const ArrayType = dtype === "float32" ? Float32Array : Float64Array;
  const [y0, target] = [ArrayType.of(1, 0, 0, 1), ArrayType.from(rotation)];
  const value = () =>
    valueAndGrad(field as never, y0 as never, times, (y) => meanSquaredError(y, target as never) as never);
  return { field, value: value as LbfgsOptions["value"] };
};

test.each(["float32", "float64"] as const)("a %s network learns, in fewer gradients than Adam needs", async (dtype) => {
  const first = problem(dtype);
  const { field, value } = first;
  const reached = await lbfgs({ field: field as never, value: value as never, maxIterations: 200 });
  expect(reached.evaluations).toBeLessThan(400);
  expect(reached.value).toBeLessThan(dtype === "float32" ? 1e-7 : 1e-10);
  // The parameters are those of the value.
  const { value: again } = await value();
  expect(again).toBe(reached.value);

  const other = problem(dtype);
  const optimizer = adam(other.field as never, { learningRate: 0.02 });
  let loss = 0;
  for (let i = 0; i < reached.evaluations; i++) {
    const result = await other.value();
    loss = result.value;
    optimizer.step(result.gradient as never);
  }
  expect(loss).toBeGreaterThan(2 * reached.value);
  optimizer.dispose();
  for (const made of [field, other.field]) made.dispose();
});

test("progress is reported with the parameters that it is about", async () => {
  const { field, value } = problem("float64");
  const seen: number[] = [];
  const result = await lbfgs({
    field: field as never,
    value: value as never,
    async onIteration({ iteration, value: reported, gradientNorm, evaluations }) {
      seen.push(reported);
      expect(iteration).toBe(seen.length);
      expect((await value()).value).toBe(reported);
      expect(gradientNorm).toBeGreaterThan(0);
      expect(evaluations).toBeGreaterThan(iteration);
      return iteration < 5;
    },
  });
  expect(result).toMatchObject({ reason: "callback", iterations: 5, value: seen[4] });
  field.dispose();
});

test("solves that fail, and values that are not finite, shorten the step", async () => {
  const { field, value } = problem("float64");
  let calls = 0;
  const failing = async () => {
    calls++;
    if (calls % 5 === 2) throw new SymplecticAdjointError("MAX_STEPS", "maxSteps was reached");
    if (calls % 5 === 4) return { value: Number.NaN, gradient: new Float64Array(field.parameters.length) };
    return value();
  };
  const before = (await value()).value;
  const result = await lbfgs({ field: field as never, value: failing as never, maxIterations: 60 });
  expect(result.evaluations).toBe(calls);
  expect(result.value).toBeLessThan(before / 100);
  expect((await value()).value).toBe(result.value);
  field.dispose();
});

test("what ends it early leaves the best parameters", async () => {
  const { field, value } = problem("float64");
  const controller = new AbortController();
  let least = Number.POSITIVE_INFINITY;
  const watched = async () => {
    const result = await value();
    least = Math.min(least, result.value);
    return result;
  };
  const aborted = lbfgs({
    field: field as never,
    value: watched as never,
    signal: controller.signal,
    onIteration({ iteration }) {
      if (iteration === 3) controller.abort();
    },
  });
  await expect(aborted).rejects.toMatchObject({ name: "AbortError" });
  expect((await value()).value).toBe(least);

  let calls = 0;
  const error = new RangeError("not of the training");
  const throwing = () => {
    calls++;
    if (calls === 8) throw error;
    return watched();
  };
  await expect(lbfgs({ field: field as never, value: throwing as never })).rejects.toBe(error);
  expect((await value()).value).toBe(least);
  field.dispose();
});

test("what is wrong throws before anything changes", async () => {
  const { field, value } = problem("float32");
  const before = field.parameters.slice();
  const message = async (code: string, changed: object) => {
    const error = await lbfgs({ field, value, ...changed } as never).then(
      () => undefined,
      (error) => error,
    );
    return thrown(code, () => {
      throw error;
    }).message;
  };
  expect(await message("OPTION", { maxIterations: 0 })).toBe("maxIterations: expected a positive integer, given 0");
  expect(await message("OPTION", { steps: 3 })).toMatch(/^steps: there is no option of that name/);
  expect(await message("OPTION", { value: 3 })).toMatch(/^value: expected a function without arguments, given 3/);
  expect(await message("OPTION", { field: {} })).toMatch(/^field: expected a field/);
  expect(await message("CALLBACK", { value: () => 3 })).toBe("value's result: expected { value, gradient }, given 3");
  const gradient = new Float32Array(field.parameters.length);
  expect(await message("NON_FINITE", { value: () => ({ value: Number.NaN, gradient }) })).toBe(
    "value's value: expected a finite number, given NaN",
  );
  expect(await message("NON_FINITE", { value: () => ({ value: 1, gradient: gradient.map(() => Number.NaN) }) })).toBe(
    "value's gradient: expected finite numbers, given NaN at index 0",
  );
  expect(await message("SHAPE", { value: () => ({ value: 1, gradient: gradient.slice(1) }) })).toMatch(
    /^value's gradient: expected \d+ numbers, given \d+$/,
  );
  expect(await message("DTYPE", { value: () => ({ value: 1, gradient: Float64Array.from(gradient) }) })).toMatch(
    /^value's gradient: expected a Float32Array/,
  );
  const failed = new SymplecticAdjointError("MAX_STEPS", "maxSteps was reached");
  const failing = () => {
    throw failed;
  };
  await expect(lbfgs({ field, value: failing } as never)).rejects.toBe(failed);
  expect(field.parameters).toEqual(before);
  field.dispose();
});

test.each([1, 1e-3, 1e-5])("states of %s are fitted as those of 1", async (size) => {
  const field = equations("y' = -k * y", { parameters: { k: 1 }, dtype: "float64" });
  const times = [0, 1, 2, 3];
  const target = Float64Array.from(times, (t) => size * Math.exp(-0.4 * t));
  const value = () =>
    valueAndGrad(field, Float64Array.of(size), times, (y) => meanSquaredError(y, target), { rtol: 1e-10, atol: 1e-24 });
  await lbfgs({ field, value });
  expect(field.parameters[0]).toBeCloseTo(0.4, 6);
});

test("an array is changed in place, and what is fixed of a field stays", async () => {
  using field = equations("y' = -k * y + f", { parameters: { k: 0.4, f: 0.2 }, dtype: "float64" });
  const times = [0, 1, 2, 3];
  const exact = { rtol: 1e-10, atol: 1e-12 };
  const from = (y0: Float64Array) => valueAndGrad(field, y0, times, (y) => meanSquaredError(y, target), exact);
  const target = odeint(field, Float64Array.of(2), times, exact).y;
  // The state at the beginning, from its gradient.
  const start = Float64Array.of(1.3);
  const ended = await lbfgs({
    array: start,
    value: () => {
      const { value, gradient } = from(start);
      return { value, gradient: gradient.y0 };
    },
  });
  expect(start[0]).toBeCloseTo(2, 5);
  expect(ended.value).toBe(from(start).value);
  // A parameter, where another is known.
  field.parameters = { k: 0.7, f: 0.2 };
  await lbfgs({ field, fixed: ["f"], value: () => from(Float64Array.of(2)) });
  expect([...field.parameters]).toEqual([expect.closeTo(0.4, 5), 0.2]);
  const refusal = async (options: object) => {
    const error = await lbfgs({ value: () => from(Float64Array.of(2)), ...options } as never).catch((error) => error);
    return (error as Error).message;
  };
  expect(await refusal({ field, array: start })).toBe("array: expected a field or an array, given both");
  expect(await refusal({ field, fixed: ["g"] })).toMatch(/^fixed\[0\]: g: there is no parameter of that name/);
  expect(await refusal({ array: start, fixed: ["k"] })).toMatch(/^fixed: expected no value for an array/);
  expect(await refusal({ array: [1] })).toMatch(
    /^array: expected a Float32Array or a Float64Array, given Array of length 1; write Float32Array.of/,
  );
  expect(await refusal({ array: Float64Array.of(Number.NaN) })).toMatch(/^array: expected finite numbers/);
  // A view of a field's parameters moves with the engine's memory.
  expect(await refusal({ array: field.parameters })).toMatch(/^array: expected the field itself/);
  expect(thrown("OPTION", () => adam(field.parameters)).message).toMatch(/^array: expected the field itself/);
});
