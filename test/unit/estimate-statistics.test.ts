import * as fc from "fast-check";
import { expect, test } from "vitest";
import { minimize } from "../../ts/estimate/levenberg-marquardt.js";
import { columnsOf, norm, svd, times, transposeTimes } from "../../ts/estimate/linear.js";
import {
  congruence,
  correlationOf,
  informationOf,
  masked,
  quantile,
  sandwich,
  twoSided,
} from "../../ts/estimate/statistics.js";
import { now, value } from "./coroutines.js";
import { Dual, differentiated } from "./dual.js";
import { differences, REGRESSIONS } from "./nist.js";

const NORMAL = Number.POSITIVE_INFINITY;

/** (JᵀJ)⁻¹ with what else a Jacobian says. */
const knownFrom = (jacobian: Float64Array, n: number) => {
  const information = informationOf(jacobian, n);
  return { ...information, inverse: masked(congruence(information.determined, n), information.unknown) };
};

// Of mpmath, with thirty digits: the incomplete beta function I_x(ν/2, 1/2) at x = ν/(ν + t²).
test.each([
  [0.3, 0.001, 0.999541361825538],
  [0.3, 15, 0.310171313262463],
  [1, 0.7, 0.61119977557157],
  [1, 15, 0.0423786092698928],
  [2.5, 2.3, 0.122479664424155],
  [3, 15, 0.000643119326933665],
  [7.7, 0.7, 0.504522382421441],
  [29, 2.3, 0.028837232417654],
  [29, 15, 3.3590540615816e-15],
  [100, 0.001, 0.999204107760103],
  [100, 15, 2.42473398846115e-27],
  [1e4, 0.7, 0.483943588180116],
  [1e4, 15, 2.58331503993918e-50],
  [1e8, 2.3, 0.0214482220923879],
  [1e8, 15, 7.34286991234299e-51],
  [NORMAL, 0.5, 0.617075077451974],
  [NORMAL, Math.SQRT2, 0.157299207050285],
  [NORMAL, 6, 1.9731752900754e-9],
])("Student's t with %d degrees of freedom is beyond %d with the probability that it has", (nu, t, probability) => {
  expect(Math.abs(twoSided(t, nu) / probability - 1)).toBeLessThan(1e-12);
});

test("quantiles", () => {
  const known: [level: number, nu: number, t: number][] = [
    [0.95, 1, 12.7062047361747],
    [0.95, 2, 4.302652729749464],
    [0.95, 3, 3.18244630528371],
    [0.95, 5, 2.570581835636314],
    [0.95, 10, 2.228138851986275],
    [0.99, 30, 2.749995653567231],
    [0.95, NORMAL, 1.959963984540054],
    [0.6826894921370859, NORMAL, 1],
    [0.99, NORMAL, 2.575829303548901],
  ];
  for (const [level, nu, t] of known) expect(Math.abs(quantile(level, nu) / t - 1)).toBeLessThan(1e-12);
  const levels = fc.double({ min: 1e-6, max: 1 - 1e-9, noNaN: true });
  const freedoms = fc.oneof(
    fc.integer({ min: 1, max: 1e6 }),
    fc.double({ min: 0.1, max: 50, noNaN: true }),
    fc.constant(NORMAL),
  );
  fc.assert(
    fc.property(levels, freedoms, (level, nu) => {
      const tail = twoSided(quantile(level, nu), nu);
      expect(Math.abs(tail - (1 - level))).toBeLessThan(1e-10 * (1 - level) + 1e-15);
    }),
  );
});

test.each(REGRESSIONS)("the standard errors of $name are those of NIST", (regression) => {
  const { estimates, standardErrors, residualSumOfSquares, x, name } = regression;
  const n = estimates.length;
  const at = (b: ArrayLike<number>) => differentiated(differences(regression, Dual.variables(b)));
  const problem = {
    evaluate(b: Float64Array) {
      const { values, jacobian } = at(b);
      const cost = 0.5 * values.reduce((sum, r) => sum + r * r, 0);
      return value({ cost, residuals: values, jacobian: () => value(jacobian) });
    },
  };
  const tolerances = { maxIterations: 500, costTolerance: 1e-12, stepTolerance: 1e-10, gradientTolerance: 1e-10 };
  const bounds = { lower: new Float64Array(n).fill(-NORMAL), upper: new Float64Array(n).fill(NORMAL) };
  const found = now(minimize(problem, Float64Array.from(estimates), { ...bounds, ...tolerances }));
  const { inverse, confounded, ineffective, conditionNumber } = knownFrom(found?.jacobian ?? new Float64Array(), n);
  expect([confounded, ineffective]).toEqual([[], []]);
  expect(conditionNumber).toBeGreaterThan(1);
  // The residuals of Lanczos1 are rounding.
  const variance = (name === "Lanczos1" ? residualSumOfSquares : 2 * (found?.evaluation.cost ?? 0)) / (x.length - n);
  for (const [i, error] of standardErrors.entries())
    expect(Math.sqrt(variance * (inverse[i * n + i] as number)) / error).toBeCloseTo(1, 7);
});

test("what the data do not tell is named", () => {
  // a, and b + 2c, but not d; e apart.
  const rows = [1, 2, 3, 4, 5].flatMap((t) => [1, t, 2 * t, 0, t * t]);
  const { inverse, conditionNumber, ineffective, confounded } = knownFrom(Float64Array.from(rows), 5);
  expect(ineffective).toEqual([3]);
  expect(confounded).toEqual([{ parameters: [1, 2], combinations: 1 }]);
  expect(conditionNumber).toBe(NORMAL);
  const variances = [0, 1, 2, 3, 4].map((i) => inverse[6 * i] as number);
  expect(variances.map(Number.isFinite)).toEqual([true, false, false, false, true]);
  expect(correlationOf(inverse)[1]).toBeNaN();
  expect(correlationOf(inverse)[4]).toBeGreaterThan(0.5);
  const known = knownFrom(Float64Array.from([1, 2, 3, 4, 5].flatMap((t) => [1, t, t * t])), 3).inverse;
  // The same without the parameters that are not told.
  for (const [i, j] of [
    [0, 0],
    [2, 2],
    [0, 2],
  ] as const)
    expect((inverse[(i + i) * 5 + 2 * j] as number) / (known[3 * i + j] as number)).toBeCloseTo(1, 10);
  // More parameters than data.
  expect(informationOf(Float64Array.of(1, 1), 2)).toMatchObject({
    confounded: [{ parameters: [0, 1], combinations: 1 }],
    ineffective: [],
  });
  // Two products of two, mixed by whatever basis the null space has; and one of three.
  const two = [1, 1, 0, 0, 0, 0, 2, 2, 1, 1, 2, 2, 0, 0, 3, 3];
  expect(informationOf(Float64Array.from(two), 4).confounded).toEqual([
    { parameters: [0, 1], combinations: 1 },
    { parameters: [2, 3], combinations: 1 },
  ]);
  expect(informationOf(Float64Array.of(1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4), 3).confounded).toEqual([
    { parameters: [0, 1, 2], combinations: 2 },
  ]);
  expect(informationOf(new Float64Array(0), 0)).toMatchObject({ conditionNumber: 1, confounded: [] });
});

test("scales of the parameters change no condition number", () => {
  const rows = [1, 2, 3, 4, 5, 6].map((t) => [1, t, Math.exp(-t)]);
  const of = (scales: number[]) =>
    knownFrom(Float64Array.from(rows.flatMap((row) => row.map((value, j) => value * (scales[j] as number)))), 3);
  const [plain, scaled] = [of([1, 1, 1]), of([1e-12, 1e9, 1e40])];
  expect(scaled.conditionNumber / plain.conditionNumber).toBeCloseTo(1, 10);
  expect(correlationOf(scaled.inverse)[1]).toBeCloseTo(correlationOf(plain.inverse)[1] ?? 0, 10);
});

test("the sandwich", () => {
  // A mean: H = n, Σ gᵢ² = Σ rᵢ², so that the variance is Σ rᵢ² / n².
  const residuals = Float64Array.of(1, -2, 0.5, 0.5);
  const one = sandwich([Float64Array.of(1 / 2)], new Float64Array(4).fill(1), residuals, 1);
  expect(one[0]).toBeCloseTo(5.5 / 16, 14);
  // Two parameters, by hand.
  const jacobian = Float64Array.of(1, 0, 1, 1, 1, 2, 1, 3);
  const { inverse, determined } = knownFrom(jacobian, 2);
  const two = sandwich(determined, jacobian, residuals, 2);
  const meat = [0, 0, 0, 0];
  for (const [k, r] of residuals.entries())
    for (const i of [0, 1])
      for (const j of [0, 1])
        meat[2 * i + j] =
          (meat[2 * i + j] as number) + r * r * (jacobian[2 * k + i] as number) * (jacobian[2 * k + j] as number);
  for (const i of [0, 1])
    for (const j of [0, 1]) {
      let sum = 0;
      for (const p of [0, 1])
        for (const q of [0, 1])
          sum += (inverse[2 * i + p] as number) * (meat[2 * p + q] as number) * (inverse[2 * q + j] as number);
      expect(two[2 * i + j]).toBeCloseTo(sum, 14);
    }
});

test("many parameters are determined as well as few", () => {
  // Lines of 20 groups with a curvature of all, or with two that cannot be told apart, or one without influence.
  const groups = 20;
  const rowsOf = (last: (t: number) => number[]) =>
    Float64Array.from(
      Array.from({ length: groups * 5 }, (_, i) => {
        const [group, t] = [Math.floor(i / 5), (i % 5) + 0.1 * i];
        const own = Array.from({ length: groups }, (_, g) => (g === group ? [1, t] : [0, 0]));
        return [...own.flat(), ...last(t)];
      }).flat(),
    );
  const n = 2 * groups + 2;
  const jacobian = rowsOf((t) => [t * t, Math.sin(t)]);
  const { determined, rank, conditionNumber, unknown } = informationOf(jacobian, n);
  expect([rank, unknown]).toEqual([n, []]);
  // JᵀJ times its inverse.
  const inverse = congruence(determined, n);
  const columns = columnsOf(jacobian, n);
  for (const [i, column] of columns.entries()) {
    const image = transposeTimes(columns, times(columns, inverse.subarray(i * n, (i + 1) * n)));
    for (let j = 0; j < n; j++) expect(image[j]).toBeCloseTo(i === j ? 1 : 0, 8);
    expect(norm(column)).toBeGreaterThan(0);
  }
  const { singularValues } = svd(columns.map((column) => column.map((value) => value / norm(column))));
  expect(conditionNumber / ((singularValues[0] as number) / (singularValues.at(-1) as number))).toBeCloseTo(1, 9);
  // What its own singular values tell.
  const confounded = informationOf(
    rowsOf((t) => [t * t, 3 * t * t]),
    n,
  );
  expect(confounded).toMatchObject({ rank: n - 1, confounded: [{ parameters: [n - 2, n - 1], combinations: 1 }] });
  const ineffective = informationOf(
    rowsOf((t) => [t * t, 0]),
    n,
  );
  expect(ineffective).toMatchObject({ rank: n - 1, ineffective: [n - 1], unknown: [n - 1], conditionNumber: NORMAL });
});
