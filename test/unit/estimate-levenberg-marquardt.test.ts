import * as fc from "fast-check";
import { expect, test } from "vitest";
import { type MinimizeOptions, minimize, type Problem } from "../../ts/estimate/levenberg-marquardt.js";
import { now, value } from "./coroutines.js";
import { Dual, differentiated, type Variables } from "./dual.js";
import { FUNCTIONS } from "./more-garbow-hillstrom.js";
import { differences, REGRESSIONS } from "./nist.js";

const problemOf = (residuals: (x: Variables) => Dual[]): Problem => ({
  evaluate(x) {
    const { values, jacobian } = differentiated(residuals(Dual.variables(x)));
    const cost = 0.5 * values.reduce((sum, r) => sum + r * r, 0);
    return value({ cost, residuals: values, jacobian: () => value(jacobian) });
  },
});

const solve = (problem: Problem, start: ArrayLike<number>, changed: Partial<MinimizeOptions> = {}) =>
  now(
    minimize(problem, Float64Array.from(start), {
      lower: new Float64Array(start.length).fill(Number.NEGATIVE_INFINITY),
      upper: new Float64Array(start.length).fill(Number.POSITIVE_INFINITY),
      maxIterations: 500,
      costTolerance: 1e-12,
      stepTolerance: 1e-10,
      gradientTolerance: 1e-10,
      ...changed,
    }),
  );

const CONVERGED = ["gradient", "cost", "step"];

/** How many digits of the worst variable are right. */
const digits = (x: ArrayLike<number>, expected: number[]) =>
  Math.min(...expected.map((value, i) => -Math.log10(Math.abs((x[i] as number) / value - 1) + 1e-16)));

test.each(REGRESSIONS)("$name, of NIST, from both starts", (regression) => {
  const problem = problemOf((b) => differences(regression, b));
  for (const start of regression.starts) {
    const found = solve(problem, start);
    expect(CONVERGED).toContain(found?.reason);
    // As many as are certified, but for the last, which is rounded.
    expect(digits(found?.x ?? [], regression.estimates)).toBeGreaterThan(9.9);
    // The residuals of Lanczos1 are rounding themselves.
    if (regression.name !== "Lanczos1")
      expect((2 * (found?.evaluation.cost ?? 0)) / regression.residualSumOfSquares).toBeCloseTo(1, 9);
  }
});

test.each(FUNCTIONS)("$name, of Moré, Garbow and Hillstrom", ({ start, residuals, minima, at }) => {
  const found = solve(problemOf(residuals), start);
  expect(CONVERGED).toContain(found?.reason);
  const sum = 2 * (found?.evaluation.cost ?? 0);
  expect(minima.some((minimum) => Math.abs(sum - minimum) < Math.max(1e-16, 1e-10 * minimum))).toBe(true);
  for (const [i, value] of (at ?? []).entries())
    expect(Math.abs((found?.x[i] ?? Number.NaN) - value)).toBeLessThan(1e-6 * Math.max(1, Math.abs(value)));
});

test("from ten times the start, too", () => {
  for (const { name, start, residuals } of FUNCTIONS.filter(({ minima }) => minima[0] === 0)) {
    // The valleys of these two lead to infinity.
    if (["Beale", "Powell badly scaled", "Freudenstein and Roth"].includes(name)) continue;
    const found = solve(
      problemOf(residuals),
      start.map((value) => 10 * value),
    );
    expect(found?.evaluation.cost).toBeLessThan(1e-20);
  }
});

const rosenbrock = problemOf(FUNCTIONS.find(({ name }) => name === "Rosenbrock")?.residuals as never);
const wood = problemOf(FUNCTIONS.find(({ name }) => name === "Wood")?.residuals as never);

test("problems with bounds, of Hock and Schittkowski (1981)", () => {
  const first = solve(rosenbrock, [-2, 1], { lower: Float64Array.of(Number.NEGATIVE_INFINITY, -1.5) });
  expect([...(first?.x ?? [])]).toEqual([1, 1]);

  const second = solve(rosenbrock, [-2, 1], { lower: Float64Array.of(Number.NEGATIVE_INFINITY, 1.5) });
  // On the bound, the derivative is that of 100 (1.5 - x²)² + (1 - x)²; one of two minima is found.
  const x = second?.x[0] ?? 0;
  expect(second?.x[1]).toBe(1.5);
  expect(400 * x ** 3 - 598 * x - 2).toBeCloseTo(0, 6);
  expect(1200 * x ** 2).toBeGreaterThan(598);

  const third = solve(wood, [-3, -1, -3, -1], {
    lower: new Float64Array(4).fill(-10),
    upper: new Float64Array(4).fill(10),
  });
  expect(digits(third?.x ?? [], [1, 1, 1, 1])).toBeGreaterThan(12);

  const corner = solve(rosenbrock, [0.4, 1], { upper: Float64Array.of(0.5, 2), lower: Float64Array.of(-2, 0.3) });
  expect([...(corner?.x ?? [])]).toEqual([0.5, 0.3]);
});

test("a linear problem with bounds is solved exactly", () => {
  const hundredths = (min: number, max: number) => fc.integer({ min: 100 * min, max: 100 * max }).map((n) => n / 100);
  const cases = fc.record({
    matrix: fc.array(hundredths(-1, 1), { minLength: 15, maxLength: 15 }),
    target: fc.array(hundredths(-2, 2), { minLength: 5, maxLength: 5 }),
    bounds: fc.array(fc.tuple(hundredths(-1, 0), hundredths(0, 1)), { minLength: 3, maxLength: 3 }),
  });
  fc.assert(
    fc.property(cases, ({ matrix, target, bounds }) => {
      const problem = problemOf((x) =>
        target.map((t, i) => x.reduce((sum, v, j) => sum.add(v.mul(matrix[3 * i + j] as number)), x[0].of(-t, 0))),
      );
      const [lower, upper] = [0, 1].map((k) => Float64Array.from(bounds, (b) => b[k] as number)) as [
        Float64Array,
        Float64Array,
      ];
      const found = solve(problem, [0, 0, 0], { lower, upper });
      if (!found) throw new Error("not computed");
      const { x, evaluation, jacobian } = found;
      // The conditions of Karush, Kuhn and Tucker, which are sufficient where the cost is convex.
      for (let j = 0; j < 3; j++) {
        let [gradient, size] = [0, 0];
        for (const [i, r] of evaluation.residuals.entries()) {
          gradient += r * (jacobian[3 * i + j] as number);
          size += Math.abs(jacobian[3 * i + j] as number);
        }
        const [least, most, value] = [lower[j] as number, upper[j] as number, x[j] as number];
        expect(value).toBeGreaterThanOrEqual(least);
        expect(value).toBeLessThanOrEqual(most);
        const bound = 1e-8 * size + 1e-14;
        if (value > least) expect(gradient).toBeLessThan(bound);
        if (value < most) expect(gradient).toBeGreaterThan(-bound);
      }
    }),
    { numRuns: 300 },
  );
});

test("variables with equal bounds stay, and the start is moved into the bounds", () => {
  const found = solve(rosenbrock, [3, 7], { lower: Float64Array.of(2, -9), upper: Float64Array.of(2, 9) });
  expect(found?.x[0]).toBe(2);
  expect(found?.x[1]).toBeCloseTo(4, 12);
  const none = solve(rosenbrock, [3, 7], { lower: Float64Array.of(2, 5), upper: Float64Array.of(2, 5) });
  expect(none).toMatchObject({ reason: "gradient", x: Float64Array.of(2, 5), iterations: 0, evaluations: 1 });
});

test("Jacobians without full rank", () => {
  // Only the sum and the first of four variables matter, and there are more variables than residuals.
  const problem = problemOf(([a, b, c, d]) => [a.add(b).add(c).add(d).exp().sub(2), a.sub(1).mul(3)]);
  const found = solve(problem, [0, 0, 0, 0]);
  expect(found?.evaluation.cost).toBeLessThan(1e-25);
  // The least change: the other three share it.
  expect(found?.x[1]).toBeCloseTo(found?.x[3] ?? 0, 10);
  const useless = solve(
    problemOf(([a, b]) => [a.sub(3), a.mul(2), b.mul(0)]),
    [1, 5],
  );
  expect(useless?.x[0]).toBeCloseTo(0.6, 12);
  expect(useless?.x[1]).toBe(5);
});

test("where nothing can be computed, steps are shorter", () => {
  // √x − 2 from far: the first steps lead to negative numbers.
  const root = problemOf(([x]) => [x.sqrt().sub(0.5)]);
  const found = solve({ evaluate: (x) => ((x[0] as number) < 0 ? value(undefined) : root.evaluate(x)) }, [100]);
  expect(found?.x[0]).toBeCloseTo(0.25, 10);
  const nan = solve(root, [100]);
  expect(nan?.x).toEqual(found?.x);
  // The Jacobian alone.
  const half: Problem = {
    *evaluate(x) {
      const evaluation = yield* root.evaluate(x);
      return evaluation && (x[0] as number) < 0.2 ? { ...evaluation, jacobian: () => value(undefined) } : evaluation;
    },
  };
  expect(solve(half, [100])?.x[0]).toBeCloseTo(0.25, 10);
  expect(solve({ evaluate: () => value(undefined) }, [1])).toBeUndefined();
  expect(solve(half, [0.1])).toBeUndefined();
});

test("a Jacobian that is wrong ends it, stuck", () => {
  const wrong: Problem = {
    *evaluate(x) {
      const evaluation = yield* rosenbrock.evaluate(x);
      if (!evaluation) return undefined;
      const slopes = now(evaluation.jacobian());
      return { ...evaluation, jacobian: () => value(slopes?.map((slope) => -slope)) };
    },
  };
  expect(solve(wrong, [-1.2, 1])?.reason).toBe("stuck");
});

test("it counts, reports, and ends where it is told to", () => {
  const seen: number[] = [];
  let computed = 0;
  const counted: Problem = {
    evaluate(x) {
      computed++;
      return rosenbrock.evaluate(x);
    },
  };
  const found = solve(counted, [-1.2, 1], { onIteration: ({ evaluation: { cost } }) => void seen.push(cost) });
  expect(seen).toEqual(seen.toSorted((a, b) => b - a));
  expect(found?.iterations).toBe(seen.length);
  expect(found?.evaluations).toBe(computed);
  expect(solve(rosenbrock, [-1.2, 1], { maxIterations: 3 })).toMatchObject({ reason: "iterations", iterations: 3 });
  expect(solve(rosenbrock, [-1.2, 1], { maxIterations: 0 })).toMatchObject({ iterations: 0, evaluations: 1 });
  const ended = solve(rosenbrock, [-1.2, 1], { onIteration: ({ iteration }) => iteration < 2 });
  expect(ended).toMatchObject({ reason: "callback", iterations: 2 });
});

test("a cost of its own, as that of a likelihood", () => {
  // Numbers with mean m and standard deviation e^s: the expected information is that of an error model.
  const numbers = [1.2, 0.4, 3.1, 2.2, 1.9, -0.3];
  const problem: Problem = {
    evaluate(x) {
      const [m, s] = [x[0] as number, x[1] as number];
      const r = numbers.map((y) => (y - m) / Math.exp(s));
      const cost = r.reduce((sum, value) => sum + (value * value) / 2 + s, 0);
      const residuals = Float64Array.from([...r.map((v) => -v), ...r.map((v) => (1 - v * v) / Math.SQRT2)]);
      const rows = [...r.flatMap(() => [1 / Math.exp(s), 0]), ...r.flatMap(() => [0, Math.SQRT2])];
      return value({ cost, residuals, jacobian: () => value(Float64Array.from(rows)) });
    },
  };
  const found = solve(problem, [0, 3]);
  const mean = numbers.reduce((sum, y) => sum + y) / numbers.length;
  const variance = numbers.reduce((sum, y) => sum + (y - mean) ** 2, 0) / numbers.length;
  expect(found?.x[0]).toBeCloseTo(mean, 10);
  expect(found?.x[1]).toBeCloseTo(Math.log(variance) / 2, 10);
});

test("where errors of the residuals hide what steps gain, it has converged if they are known", () => {
  // A line through the origin, whose residuals are off by up to 1e-6 in a way that no derivative shows.
  const times = [1, 2, 3, 4, 5];
  const lineTo = (data: readonly number[], error: number): Problem => ({
    evaluate([a = 0]) {
      const residuals = Float64Array.from(
        times,
        (t, i) => a * t - (data[i] as number) + error * Math.sin(1e12 * a * t),
      );
      const cost = 0.5 * residuals.reduce((sum, r) => sum + r * r, 0);
      return value({ cost, residuals, jacobian: () => value(Float64Array.from(times)) });
    },
  });
  const tight = { costTolerance: 0, stepTolerance: 0, gradientTolerance: 0 };
  const reasonOf = (data: readonly number[], known: object) =>
    solve(lineTo(data, 1e-6), [0.3], { ...tight, ...known })?.reason;
  const exact = times.map((t) => 0.5 * t);
  const scattered = exact.map((value, i) => value + 0.1 * (-1) ** i);
  expect(reasonOf(exact, {})).toBe("stuck");
  expect(reasonOf(exact, { residualTolerance: 1e-5 })).toBe("residuals");
  const seen = solve(lineTo(scattered, 1e-6), [0.3], { ...tight, residualTolerance: 1e-5 });
  expect(seen?.reason).toBe("cost");
  // It does not try ever shorter steps, whose gains would be lost too.
  expect((seen?.evaluations as number) - (seen?.iterations as number)).toBeLessThan(5);
  expect(solve(lineTo(scattered, 1e-6), [0.3], tight)?.evaluations).toBeGreaterThan(10);
});
