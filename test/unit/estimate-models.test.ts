// Robust losses, error models and transforms.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ERROR_MODELS, type ErrorModelName } from "../../ts/estimate/error-models.js";
import { type Evaluation, minimize, type Problem } from "../../ts/estimate/levenberg-marquardt.js";
import { LOSSES, robust } from "../../ts/estimate/robust.js";
import { congruence, informationOf } from "../../ts/estimate/statistics.js";
import { TRANSFORMS, transformOf } from "../../ts/estimate/transforms.js";
import { normals } from "../../ts/trace/random.js";
import { now, value } from "./coroutines.js";
import { Dual, differentiated } from "./dual.js";

/** Residuals of a line with three parameters, one of which is squared. */
const plain = (x: Float64Array): Evaluation => {
  const [a, b, c] = Dual.variables(x);
  const all = [0.5, 1, 2, 4, 8].map((t, i) =>
    a
      .add(b.mul(t))
      .add(c.square().mul(i % 2))
      .sub(t === 4 ? 30 : t),
  );
  const { values, jacobian } = differentiated(all);
  return { cost: 0.5 * values.reduce((sum, r) => sum + r * r, 0), residuals: values, jacobian: () => value(jacobian) };
};

const gradientOf = ({ residuals, jacobian }: Evaluation, n: number) => {
  const slopes = now(jacobian()) as Float64Array;
  return Array.from({ length: n }, (_, j) =>
    residuals.reduce((sum, r, i) => sum + r * (slopes[i * n + j] as number), 0),
  );
};

/** Against central differences of the cost. */
const expectGradient = (evaluate: (x: Float64Array) => Evaluation | undefined, x: Float64Array) => {
  const gradient = gradientOf(evaluate(x) as Evaluation, x.length);
  for (const [j, slope] of gradient.entries()) {
    const h = 1e-5 * Math.max(0.1, Math.abs(x[j] as number));
    const cost = (by: number) => evaluate(x.with(j, (x[j] as number) + by))?.cost ?? Number.NaN;
    const difference = (8 * (cost(h) - cost(-h)) - (cost(2 * h) - cost(-2 * h))) / (12 * h);
    expect(Math.abs(difference - slope)).toBeLessThan(1e-6 * (1 + Math.abs(slope)));
  }
};

const unit = fc.double({ min: -1, max: 1, noNaN: true });

test.each(LOSSES)("%s has the gradient of its cost", (loss) => {
  fc.assert(
    fc.property(unit, unit, unit, fc.double({ min: 0.1, max: 10, noNaN: true }), (a, b, c, scale) => {
      const x = Float64Array.of(a, b, c);
      // Where a residual is at the scale, the second derivative of Huber's loss jumps, but not the first.
      expectGradient((values) => robust(plain(values), loss, scale), x);
    }),
  );
});

test("robust losses are those of SciPy", () => {
  const one = (r: number, loss: (typeof LOSSES)[number], scale: number) =>
    robust({ cost: 0, residuals: Float64Array.of(r), jacobian: () => value(Float64Array.of(1)) }, loss, scale);
  // C²/2 ρ((r/C)²) with C = 2.
  expect(one(1, "softL1", 2).cost).toBeCloseTo(2 * 2 * (Math.sqrt(1.25) - 1), 14);
  expect(one(1, "huber", 2).cost).toBeCloseTo(0.5, 14);
  expect(one(6, "huber", 2).cost).toBeCloseTo(2 * (2 * 3 - 1), 14);
  expect(one(6, "cauchy", 2).cost).toBeCloseTo(2 * Math.log(10), 14);
  expect(one(6, "linear", 2).residuals[0]).toBe(6);
  // Near 0 all are least squares, to the last digit.
  for (const loss of LOSSES) expect(one(1e-9, loss, 1).residuals[0]).toBeCloseTo(1e-9, 22);
  // The curvature is that of the cost, where it is positive.
  for (const loss of ["softL1", "cauchy"] as const) {
    const [h, r] = [1e-4, 0.6];
    const cost = (by: number) => one(r + by, loss, 1).cost;
    const second = (cost(h) - 2 * cost(0) + cost(-h)) / h ** 2;
    expect((now(one(r, loss, 1).jacobian())?.[0] ?? 0) ** 2).toBeCloseTo(second, 6);
  }
});

const tight = { maxIterations: 300, costTolerance: 1e-13, stepTolerance: 1e-11, gradientTolerance: 1e-12 };
const open = (n: number) => ({
  lower: new Float64Array(n).fill(Number.NEGATIVE_INFINITY),
  upper: new Float64Array(n).fill(Number.POSITIVE_INFINITY),
});

test.each(["softL1", "huber", "cauchy"] as const)("%s ignores an outlier", (loss) => {
  const problem: Problem = { evaluate: (x) => value(robust(plain(x), loss, 0.1)) };
  const start = Float64Array.of(0.5, 0.5, 0.5);
  const found = now(minimize(problem, start, { ...open(3), ...tight }));
  expect(["gradient", "cost", "step"]).toContain(found?.reason);
  expect(found?.x[1]).toBeCloseTo(1, 1);
  const gradient = gradientOf(found?.evaluation as Evaluation, 3);
  for (const slope of gradient) expect(Math.abs(slope)).toBeLessThan(1e-7);
  const linear = now(minimize({ evaluate: (x) => value(plain(x)) }, start, { ...open(3), ...tight }));
  expect(linear?.x[1]).not.toBeCloseTo(1, 1);
});

const TIMES = Array.from({ length: 12 }, (_, i) => 0.4 * (i + 1));

/** A decay with two parameters, as an error model sees it, with those of the model behind. */
const decay = (y: Float64Array, x: Float64Array, weights?: Float64Array) => {
  const [a, k] = x as unknown as [number, number];
  const f = y.map((_, i) => a * Math.exp(-k * (TIMES[i % TIMES.length] as number)));
  const slopes = () =>
    value(Float64Array.from([...f].flatMap((own, i) => [own / a, -own * (TIMES[i % TIMES.length] as number)])));
  return { y, f, weights, slopes };
};

const evaluateBy = (name: ErrorModelName, y: Float64Array, weights?: Float64Array) => (x: Float64Array) => {
  const { names } = ERROR_MODELS[name];
  const evaluation = ERROR_MODELS[name].evaluate(decay(y, x, weights), x.slice(2));
  if (!evaluation) return undefined;
  const { residuals, jacobian } = evaluation;
  // The models of least squares have no parameters of their own.
  expect(now(jacobian())).toHaveLength(residuals.length * (2 + names.length));
  return evaluation;
};

const NAMES = Object.keys(ERROR_MODELS) as ErrorModelName[];

test.each(NAMES)("the %s error model has the gradient of its cost", (name) => {
  const { names } = ERROR_MODELS[name];
  const positive = fc.double({ min: 0.2, max: 3, noNaN: true });
  fc.assert(
    fc.property(positive, positive, unit, unit, fc.boolean(), (a, k, first, second, weighted) => {
      const y = Float64Array.from(TIMES, (t, i) => 2 * Math.exp(-0.7 * t) * (1 + 0.2 * Math.sin(5 * i)));
      const weights = weighted ? y.map((_, i) => 1 + (i % 3)) : undefined;
      const x = Float64Array.from([a, k, first - 1, second - 1].slice(0, 2 + names.length));
      expectGradient(evaluateBy(name, y, weights), x);
    }),
  );
});

test("costs are negative logarithms of likelihoods", () => {
  const y = Float64Array.from(TIMES, (t, i) => 2 * Math.exp(-0.7 * t) * (1 + 0.2 * Math.sin(5 * i)));
  const weights = y.map((_, i) => 1 + (i % 3));
  const x = Float64Array.of(2, 0.7, -1.2, -1.6);
  const data = decay(y, x, weights);
  const gaussian = (r: number, variance: number) => -0.5 * (Math.log(2 * Math.PI * variance) + (r * r) / variance);
  const sumOf = (term: (i: number, f: number) => number) => data.f.reduce((sum, f, i) => sum + term(i, f), 0);
  for (const [name, logs, variance] of [
    ["proportional", [-1.6], (f: number) => (Math.exp(-1.6) * f) ** 2],
    ["combined", [-1.2, -1.6], (f: number) => Math.exp(-2.4) + (Math.exp(-1.6) * f) ** 2],
  ] as const) {
    const model = ERROR_MODELS[name];
    const { cost } = model.evaluate(data, logs) as Evaluation;
    const expected = sumOf((i, f) => gaussian((y[i] as number) - f, variance(f) / (weights[i] as number)));
    expect(model.logLikelihood(data, cost)).toBeCloseTo(expected, 10);
  }
  // With the variance that makes it greatest.
  for (const [name, g, slope] of [
    ["additive", (v: number) => v, () => 0],
    ["lognormal", Math.log, (v: number) => -Math.log(v)],
  ] as const) {
    const model = ERROR_MODELS[name];
    const { cost } = model.evaluate(data, []) as Evaluation;
    const variance = (2 * cost) / y.length;
    const expected = sumOf(
      (i, f) => gaussian(g(y[i] as number) - g(f), variance / (weights[i] as number)) + slope(y[i] as number),
    );
    expect(model.logLikelihood(data, cost)).toBeCloseTo(expected, 10);
  }
});

test("logarithms and proportions need predictions above 0", () => {
  const y = Float64Array.from(TIMES, (t) => Math.exp(-t));
  for (const name of NAMES) {
    const evaluation = ERROR_MODELS[name].evaluate(decay(y, Float64Array.of(-1, 0.5)), [0, 0]);
    expect(evaluation === undefined).toBe(ERROR_MODELS[name].positive);
    expect(ERROR_MODELS[name].positive).toBe(name === "proportional" || name === "lognormal");
  }
});

test.each([
  ["proportional", [0.15]],
  ["combined", [0.05, 0.1]],
  ["lognormal", []],
  ["additive", []],
] as const)("the %s model finds what data were made with, as exactly as the information says", (name, sds) => {
  const model = ERROR_MODELS[name];
  const normal = normals(7);
  const truth = [2, 0.7, ...sds.map(Math.log)];
  const n = truth.length;
  const estimates: Float64Array[] = [];
  const y = new Float64Array(TIMES.length * 20);
  const noise = (f: number) => {
    if (name === "lognormal") return f * Math.exp(0.1 * normal());
    const [a, b] = name === "additive" ? [0.1, 0] : name === "proportional" ? [0, sds[0]] : (sds as readonly number[]);
    return f + Math.hypot(a as number, (b as number) * f) * normal();
  };
  const f = decay(y, Float64Array.from(truth)).f;
  for (let k = 0; k < 200; k++) {
    const data = f.map(noise);
    const start = Float64Array.of(1.5, 0.5);
    const own = model.start(decay(data, start));
    const problem: Problem = { evaluate: (x) => value(evaluateBy(name, data)(x)) };
    const found = now(minimize(problem, Float64Array.of(...start, ...own), { ...open(n), ...tight }));
    expect(["gradient", "cost", "step"]).toContain(found?.reason);
    estimates.push(found?.x as Float64Array);
  }
  // The information is expected: it does not depend on the data, but for their number.
  const at = model.evaluate(decay(f.slice(), Float64Array.from(truth)), truth.slice(2)) as Evaluation;
  const inverse = congruence(informationOf(now(at.jacobian()) as Float64Array, n).determined, n);
  const unit = name === "additive" || name === "lognormal" ? 0.1 ** 2 : 1;
  for (let j = 0; j < n; j++) {
    const mean = estimates.reduce((sum, x) => sum + (x[j] as number), 0) / estimates.length;
    const variance = estimates.reduce((sum, x) => sum + ((x[j] as number) - mean) ** 2, 0) / estimates.length;
    const expected = unit * (inverse[j * n + j] as number);
    // Three standard deviations of such a ratio are 0.3.
    expect(variance / expected).toBeGreaterThan(0.7);
    expect(variance / expected).toBeLessThan(1.4);
    expect(Math.abs(mean - (truth[j] as number))).toBeLessThan(0.5 * Math.sqrt(expected));
  }
});

test.each(TRANSFORMS)("%s leads there and back", (name) => {
  const inside = fc.double({ min: 2.0001, max: 4.9999, noNaN: true });
  fc.assert(
    fc.property(inside, (natural) => {
      const { toInternal, toNatural, slope } = transformOf(name, 2, 5);
      const u = toInternal(natural);
      expect(toNatural(u) / natural).toBeCloseTo(1, 13);
      const h = 1e-5;
      expect((toNatural(u + h) - toNatural(u - h)) / (2 * h)).toBeCloseTo(slope(u), 7);
    }),
  );
});

test("far out, a logit is at a bound", () => {
  const { toNatural, slope, toInternal } = transformOf("logit", -1, 3);
  expect([toNatural(-800), toNatural(800), slope(800), slope(-800)]).toEqual([-1, 3, 0, 0]);
  expect([toInternal(-1), toInternal(3)]).toEqual([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]);
  expect([toNatural(Number.NEGATIVE_INFINITY), toNatural(Number.POSITIVE_INFINITY)]).toEqual([-1, 3]);
});
