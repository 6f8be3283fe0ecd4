import * as fc from "fast-check";
import { type FitProgress, type ParameterOptions, SymplecticAdjointError } from "symplectic-adjoint";
import { expect, test } from "vitest";
import { leastSquares } from "../../ts/estimate/least-squares.js";
import { startsOf } from "../../ts/estimate/multi-start.js";
import type { ResidualFitOptions } from "../../ts/estimate/residual-fit.js";
import { normals } from "../../ts/trace/random.js";
import { Dual, differentiated } from "./dual.js";
import { thrown } from "./helpers.js";
import { differences, REGRESSIONS, type Regression } from "./nist.js";

const named = (values: number[]) => Object.fromEntries(values.map((value, i) => [`b${i + 1}`, value]));

const residualsOf = (regression: Regression) => (parameters: Record<string, number>) =>
  differences(regression, Dual.variables(Object.values(parameters))).map(({ value }) => value);

const regressionOf = (name: string) => REGRESSIONS.find((regression) => regression.name === name) as Regression;

test.each(REGRESSIONS)("$name by differences, with the errors of NIST", (regression) => {
  const { name, starts, estimates, standardErrors, residualSumOfSquares, x } = regression;
  const fit = leastSquares({ residuals: residualsOf(regression), parameters: named(starts[1]), maxIterations: 500 });
  expect(fit.converged).toBe(true);
  expect(fit.degreesOfFreedom).toBe(x.length - estimates.length);
  for (const [i, value] of estimates.entries()) {
    const estimate = fit.parameters[`b${i + 1}`];
    // Less than a hundred-thousandth of a standard error, which for Lanczos1 is rounding itself.
    const error = name === "Lanczos1" ? 1e-7 * Math.abs(value) : 1e-5 * (standardErrors[i] as number);
    expect(Math.abs((estimate?.value ?? 0) - value)).toBeLessThan(error);
    if (name !== "Lanczos1") expect((estimate?.standardError ?? 0) / (standardErrors[i] as number)).toBeCloseTo(1, 4);
  }
  if (name !== "Lanczos1") expect(fit.residualSumOfSquares / residualSumOfSquares).toBeCloseTo(1, 7);
});

test("a result has all that a report needs", () => {
  const regression = regressionOf("Misra1a");
  const fit = leastSquares({ residuals: residualsOf(regression), parameters: { b1: 500, b2: 1e-4 } });
  const { b1, b2 } = fit.parameters;
  expect(Object.keys(fit.parameters)).toEqual(["b1", "b2"]);
  expect(fit.freeNames).toEqual(["b1", "b2"]);
  expect([...fit.values]).toEqual([b1.value, b2.value]);
  expect(b1).toMatchObject({ name: "b1", start: 500, fixed: false });
  expect(b1).not.toHaveProperty("atBound");
  // Student's t with twelve degrees of freedom, for 95 %.
  expect(b1.interval[1] - b1.value).toBeCloseTo(2.178812829667 * b1.standardError, 8);
  expect(b1.interval[0] + b1.interval[1]).toBeCloseTo(2 * b1.value, 8);
  expect(fit.covariance[0]).toBeCloseTo(b1.standardError ** 2, 10);
  expect(fit.correlation[1]).toBeCloseTo((fit.covariance[1] ?? 0) / (b1.standardError * b2.standardError), 10);
  expect(fit.correlation[0]).toBe(1);
  expect(fit.residuals).toHaveLength(14);
  // NIST's residual standard deviation.
  expect(fit.standardDeviation).toBeCloseTo(0.1018787633, 9);
  expect(fit.cost).toBeCloseTo(fit.residualSumOfSquares / 2, 12);
  // As R's logLik, AIC and BIC have them for nls.
  const logLikelihood = -7 * (Math.log((2 * Math.PI * fit.residualSumOfSquares) / 14) + 1);
  expect(fit.logLikelihood).toBeCloseTo(logLikelihood, 10);
  expect(fit.aic).toBeCloseTo(6 - 2 * logLikelihood, 10);
  expect(fit.bic).toBeCloseTo(3 * Math.log(14) - 2 * logLikelihood, 10);
  expect(fit.message).toMatch(/^Converged/);
  expect(fit.starts).toHaveLength(1);
  expect(fit.iterations).toBeGreaterThan(1);
  expect(() => Object.assign(fit, { cost: 0 })).toThrow(TypeError);
  expect(fit.warnings).toEqual([]);
});

test("a Jacobian of one's own, whole or as a function, spares calls", () => {
  const regression = regressionOf("Misra1a");
  const fitBy = (form: "differences" | "whole" | "function") => {
    let calls = 0;
    const fit = leastSquares({
      residuals(parameters) {
        calls++;
        const { values, jacobian } = differentiated(differences(regression, Dual.variables(Object.values(parameters))));
        if (form === "differences") return values;
        return { residuals: values, jacobian: form === "whole" ? jacobian : () => jacobian };
      },
      parameters: { b1: 500, b2: 1e-4 },
    });
    return { fit, calls };
  };
  const [plain, whole, lazy] = [fitBy("differences"), fitBy("whole"), fitBy("function")];
  expect(whole.calls).toBe(whole.fit.evaluations);
  expect(plain.calls).toBe(plain.fit.evaluations + 4 * plain.fit.jacobians);
  expect(lazy.fit.values).toEqual(whole.fit.values);
  expect(plain.fit.values[0]).toBeCloseTo(whole.fit.values[0] ?? 0, 6);
});

/** A decay a e^(−k t) + c with noise. */
const times = Array.from({ length: 30 }, (_, i) => 0.2 * i);
const noise = normals(3);
const measured = times.map((t) => 3 * Math.exp(-0.8 * t) + 0.5 + 0.05 * noise());
type Decay = Readonly<Record<"a" | "k" | "c", number>>;
const decay = ({ a, k, c }: Decay) => times.map((t, i) => a * Math.exp(-k * t) + c - (measured[i] as number));

const decayFit = (changed: Partial<ResidualFitOptions<"a" | "k" | "c">> = {}) =>
  leastSquares({ residuals: decay, parameters: { a: 1, k: 1, c: 0 }, ...changed });

test("transforms change the scale of intervals, not the estimates", () => {
  const plain = decayFit();
  const other = decayFit({
    parameters: {
      a: { start: 1, transform: "log" },
      k: { start: 1, lower: 0, upper: 2, transform: "logit" },
      c: { start: 0.1, lower: 0 },
    },
  });
  for (const name of ["a", "k", "c"] as const) {
    const [one, two] = [plain.parameters[name], other.parameters[name]];
    expect(two.value / one.value).toBeCloseTo(1, 8);
    expect(two.standardError / one.standardError).toBeCloseTo(1, 6);
  }
  const { value, interval } = other.parameters.a;
  expect(value / interval[0]).toBeCloseTo(interval[1] / value, 8);
  const [low, high] = other.parameters.k.interval;
  expect(low).toBeGreaterThan(0);
  expect(high).toBeLessThan(2);
  expect(plain.warnings).toEqual([]);
});

test("a scale of one's own leads to the same place", () => {
  const scaled = decayFit({ parameters: { a: { start: 1, scale: 2 }, k: { start: 1, scale: 0.5 }, c: 0 } });
  for (const [i, value] of decayFit().values.entries()) expect(scaled.values[i]).toBeCloseTo(value, 8);
});

test("fixed parameters stay, and bounds hold", () => {
  const fit = decayFit({ parameters: { a: { start: 1, upper: 2.5 }, k: 1, c: { start: 0.45, fixed: true } } });
  const c = { value: 0.45, standardError: 0, interval: [0.45, 0.45], start: 0.45, fixed: true };
  expect(fit.parameters.c).toEqual({ name: "c", ...c });
  expect(fit.parameters.a).toMatchObject({ value: 2.5, atBound: "upper", standardError: Number.NaN });
  expect(fit.freeNames).toEqual(["k"]);
  expect(fit.covariance).toHaveLength(1);
  expect(fit.warnings).toEqual([expect.stringMatching(/^a ended at its upper bound/)]);
  expect(fit.profile("a").interval[1]).toBeUndefined();
  const none = leastSquares({ residuals: () => [1, 2], parameters: { a: { start: 3, fixed: true } } });
  expect(none).toMatchObject({ converged: true, cost: 2.5, degreesOfFreedom: 2 });
});

test("what the data do not tell is said", () => {
  const residuals = ({ a, b }: Readonly<Record<"a" | "b", number>>) => [1, 2, 3].map((t) => a * b * t - t - 2);
  const fit = leastSquares<"a" | "b" | "unused">({ residuals, parameters: { a: 1, b: 1, unused: 1 } });
  expect(fit.converged).toBe(true);
  expect(fit.values[0]).toBeCloseTo(fit.values[1] ?? 0, 6);
  // Of three parameters the data determine one combination: as the rank that R's lm counts.
  expect(fit.degreesOfFreedom).toBe(2);
  expect(fit.warnings).toEqual([
    "The predictions do not depend on unused near this estimate. Fix it, or start elsewhere.",
    "The data cannot distinguish a and b: they can change together without changing the fit. Fix one of them, or measure something else that depends on them.",
  ]);
  const { a } = leastSquares({ residuals, parameters: { a: 1, b: 1 } }).parameters;
  expect(a.standardError).toBe(Number.POSITIVE_INFINITY);
  expect(a.interval).toEqual([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]);
});

test("a parameter without influence takes nothing from the others", () => {
  const line = (extra: object) =>
    leastSquares({
      residuals: ({ a, b }: Readonly<Record<string, number>>) =>
        [1.1, 1.9, 3.2, 3.9].map((y, t) => (a as number) + (b as number) * t - y),
      parameters: { a: 0, b: 1, ...extra },
    });
  const [without, fit] = [line({}), line({ unused: 3 })];
  for (const key of ["degreesOfFreedom", "standardDeviation", "aic", "bic"] as const)
    expect(fit[key]).toBe(without[key]);
  for (const name of ["a", "b"] as const) {
    expect(fit.parameters[name]?.standardError).toBeCloseTo(without.parameters[name]?.standardError as number, 12);
    expect(fit.parameters[name]?.interval[0]).toBeCloseTo(without.parameters[name]?.interval[0] as number, 10);
  }
  expect(fit.parameters.unused?.standardError).toBe(Number.POSITIVE_INFINITY);
  // Too few data say nothing, however many parameters there are.
  const few = leastSquares({
    residuals: ({ a, b }: Readonly<Record<"a" | "b", number>>) => [a + b - 1, a - b],
    parameters: { a: 1, b: 1 },
  });
  expect([few.degreesOfFreedom, few.parameters.a.standardError]).toEqual([0, Number.NaN]);
});

test("robust standard errors have the factor n/(n - p)", () => {
  const y = [1.1, 1.9, 3.2, 3.9, 5.3];
  const fit = leastSquares({
    residuals: ({ a }: Readonly<Record<"a", number>>) => y.map((value, t) => a * (t + 1) - value),
    parameters: { a: 1 },
    loss: "huber",
    lossScale: 100,
  });
  // Within the scale, Huber's loss is the square, and the sandwich Σ x²r² / (Σ x²)².
  const [squares, scores] = y.reduce(
    ([all, part], value, t) => [all + (t + 1) ** 2, part + ((t + 1) * (fit.parameters.a.value * (t + 1) - value)) ** 2],
    [0, 0],
  );
  expect(fit.parameters.a.standardError).toBeCloseTo(Math.sqrt((5 / 4) * scores) / squares, 10);
});

test("what is hardly told is said", () => {
  const fitOf = (name: string) => {
    const regression = regressionOf(name);
    return leastSquares({ residuals: residualsOf(regression), parameters: named(regression.starts[1]) });
  };
  expect(fitOf("Bennett5").warnings[0]).toMatch(/^The estimates of b1 and b2 are almost perfectly correlated \(/);
  expect(fitOf("BoxBOD").warnings).toEqual([]);
});

test("a parameter that the data hardly determine is named, and others are not", () => {
  const sines = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6].map((x, i) => [x, 0.3 * Math.sin(7 * i)] as const);
  // A line whose slope is nothing but the scatter, with a level that is well determined.
  const line = (slope: number | ParameterOptions, level: number, offset = 10) =>
    leastSquares({
      residuals: ({ a, b }: Readonly<Record<"a" | "b", number>>) =>
        sines.map(([x, y]) => b + a * (x - 0.35) - y - offset),
      parameters: { a: slope, b: level },
    });
  const { a } = line(0.1, 1).parameters;
  expect(a.standardError).toBeGreaterThan(Math.max(Math.abs(a.value), 0.1));
  const warning =
    "The data hardly determine a: its standard error is larger than the estimate. Look at its profile, fix it, or measure more.";
  expect(line(0.1, 1).warnings).toEqual([warning]);
  expect(line({ start: 0, scale: 0.1 }, 1).warnings).toEqual([warning]);
  // Near 0, but small beside its start, its scale or its bounds; and where nothing says what is small.
  for (const slope of [10, 0, { start: 0, scale: 10 }, { start: 0.1, lower: -100, upper: 100 }])
    expect(line(slope, 1).warnings).toEqual([]);
  const mean = sines.reduce((sum, [, y]) => sum + y / sines.length, 0);
  expect(line(0.1, 0.001, -mean).warnings).toEqual([
    "The data hardly determine a and b: their standard errors are larger than the estimates. Look at their profiles, fix some, or measure more.",
  ]);

  // Lines through 0, of scatter that leaves the slope where it is, on other scales.
  const along = sines.reduce((sum, [t, y]) => sum + t * y, 0) / sines.reduce((sum, [t]) => sum + t * t, 0);
  const through = (parameter: ParameterOptions, slope: number) =>
    leastSquares({
      residuals: ({ k }: Readonly<Record<"k", number>>) => sines.map(([t, y]) => (k - slope + along) * t - y),
      parameters: { k: parameter },
    });
  expect(through({ start: 0.1, transform: "log" }, 0.05).warnings).toEqual([warning.replace(" a:", " k:")]);
  expect(through({ start: 1, transform: "log" }, 3).warnings).toEqual([]);
  const part = { start: 0.5, lower: 0, upper: 1, transform: "logit" } as const;
  const narrow = { ...part, start: 0.06, lower: -0.1, upper: 0.2 };
  expect(through(narrow, 0.05).warnings).toEqual([
    "The data hardly determine k: its interval covers most of the range between its bounds. Look at its profile, fix it, or measure more.",
  ]);
  expect(through({ ...part, start: 3, upper: 20 }, 5).warnings).toEqual([]);
});

test("robust losses forgive outliers, with errors of their own", () => {
  const spoiled = measured.map((y, i) => (i % 10 === 4 ? y + 3 : y));
  const residuals = ({ a, k, c }: Decay) => times.map((t, i) => a * Math.exp(-k * t) + c - (spoiled[i] as number));
  const plain = decayFit({ residuals });
  for (const loss of ["softL1", "huber", "cauchy"] as const) {
    const fit = decayFit({ residuals, loss, lossScale: 0.05 });
    expect(fit.converged).toBe(true);
    expect(fit.logLikelihood).toBeNaN();
    const { c } = fit.parameters;
    expect(Math.abs(c.value - 0.5)).toBeLessThan(0.1);
    expect(c.standardError).toBeLessThan(plain.parameters.c.standardError / 3);
    expect(c.standardError).toBeGreaterThan(0.005);
    const [low, high] = fit.profile("c").interval;
    expect(low).toBeLessThan(c.value);
    expect(high).toBeGreaterThan(c.value);
  }
});

test("a profile of a linear model ends where its interval does", () => {
  const residuals = ({ a, b }: Readonly<Record<"a" | "b", number>>) =>
    times.map((t, i) => a + b * t - (measured[i] as number));
  const fit = leastSquares({ residuals, parameters: { a: 0, b: 0 } });
  for (const name of ["a", "b"] as const)
    for (const level of [0.5, 0.95, 0.999]) {
      const { interval: expected } = leastSquares({ residuals, parameters: { a: 0, b: 0 }, level }).parameters[name];
      const { interval, values, costs, limit } = fit.profile(name, { level });
      for (const end of [0, 1] as const) expect(interval[end]).toBeCloseTo(expected[end], 6);
      expect([...values]).toEqual([...values].sort((x, y) => x - y));
      expect(costs.some((cost) => Math.abs(cost / limit - 1) < 1e-6)).toBe(true);
      expect(Math.min(...costs)).toBeCloseTo(fit.cost, 10);
    }
});

test("the profile of BoxBOD, and of what the data do not tell", () => {
  const regression = regressionOf("BoxBOD");
  const fit = leastSquares({ residuals: residualsOf(regression), parameters: { b1: 100, b2: 0.75 } });
  const profile = fit.profile("b2");
  // The F quantile, with four degrees of freedom, times s² above the least sum of squares.
  expect(2 * profile.limit).toBeCloseTo(fit.residualSumOfSquares * (1 + 2.776445105198 ** 2 / 4), 6);
  const [low, high] = profile.interval as [number, number];
  // Each end is where the least sum of squares, with b1 fitted again, is just that.
  for (const start of [low, high]) {
    const parameters = { b1: 200, b2: { start, fixed: true } };
    expect(leastSquares({ residuals: residualsOf(regression), parameters }).cost / profile.limit).toBeCloseTo(1, 6);
  }
  expect(high - fit.parameters.b2.value).toBeGreaterThan(fit.parameters.b2.value - low);
  expect(profile.parameters).toHaveLength(2 * profile.values.length);

  // Saturation that is never seen: its constant may be as large as it likes.
  const seen = [0.1, 0.2, 0.3, 0.4, 0.5].map((x, i) => [x, x + 0.01 * Math.sin(7 * i)] as const);
  const open = leastSquares({
    residuals: ({ v, k }: Readonly<Record<"v" | "k", number>>) => seen.map(([x, y]) => (v * x) / (k + x) - y),
    parameters: { v: { start: 5, transform: "log" }, k: { start: 5, transform: "log", upper: 1e4 } },
  });
  expect(open.profile("k").interval[1]).toBeUndefined();
  expect(open.profile("k").interval[0]).toBeGreaterThan(0.1);
  expect(thrown("OPTION", () => fit.profile("b3" as "b1")).message).toBe(
    'name: expected an estimated parameter, b1 or b2, given "b3"',
  );
  expect(thrown("OPTION", () => fit.profile("b1", { level: 95 })).message).toMatch(/^level: expected a number between/);
});

test("a profile that finds a lower minimum gives it", () => {
  const residuals = ({ k }: Readonly<Record<"k", number>>) => [(k - 1) * (k - 4), 0.3 * (k - 1) + 0.3, 0.2, 0.1];
  const fit = leastSquares({ residuals, parameters: { k: 4.2 } });
  const lower = leastSquares({ residuals, parameters: { k: 0.8 } });
  expect(lower.cost).toBeLessThan(fit.cost);
  expect(fit.profile("k", { level: 0.9999 }).improved?.[0]).toBeLessThan(2);
  expect(lower.profile("k")).not.toHaveProperty("improved");
});

test("several starts find the least of several minima", () => {
  const residuals = ({ w }: Readonly<Record<"w", number>>) => times.map((t) => Math.sin(w * t) - Math.sin(4.3 * t));
  const parameters = { w: { start: 0.5, lower: 0, upper: 8 } };
  const fitWith = (starts: number, seed: number) => leastSquares({ residuals, parameters, starts, seed });
  const many = fitWith(20, 1);
  expect(fitWith(1, 1).cost).toBeGreaterThan(1);
  expect(many.parameters.w.value).toBeCloseTo(4.3, 10);
  expect(many.parameters.w.start).toBe(0.5);
  expect(many.starts).toHaveLength(20);
  const costs = many.starts.map(({ cost }) => cost);
  expect(costs).toEqual([...costs].sort((a, b) => a - b));
  expect(many.starts[0]?.values).toEqual(many.values);
  // The same for the same seed.
  expect(fitWith(20, 1).starts).toEqual(many.starts);
  expect(fitWith(20, 2).starts).not.toEqual(many.starts);
});

test("starts are spread over their range", () => {
  const [none, all] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  const ranges = [
    { start: 1, lower: 0, upper: 10, spread: 1 },
    { start: 5, lower: none, upper: all, spread: 2 },
    { start: 0.1, lower: 0, upper: all, spread: 5 },
  ];
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 40 }), fc.nat(), (count, seed) => {
      const [own, ...drawn] = startsOf(ranges, count, seed);
      expect([...(own ?? [])]).toEqual([1, 5, 0.1]);
      expect(drawn).toHaveLength(count - 1);
      // One in each of as many parts.
      const parts = drawn.map((x) => Math.floor(((x[0] as number) / 10) * (count - 1)));
      expect(parts.sort((a, b) => a - b)).toEqual(parts.map((_, k) => k));
      for (const x of drawn) {
        expect(Math.abs((x[1] as number) - 5)).toBeLessThan(2 * 9);
        expect(x[2]).toBeGreaterThan(0);
      }
    }),
  );
});

test("where residuals cannot be computed, the fit goes on elsewhere", () => {
  const fit = leastSquares({
    residuals({ k }: Readonly<Record<"k", number>>) {
      if (k < 0) throw new SymplecticAdjointError("STEP_UNDERFLOW", "the step size fell to 0");
      return times.map((t) => Math.exp(-Math.sqrt(k) * t) - Math.exp(-0.1 * t));
    },
    parameters: { k: 30 },
  });
  expect(fit.parameters.k.value).toBeCloseTo(0.01, 8);
  const error = new RangeError("not of the fit");
  const failing = () => {
    throw error;
  };
  expect(() => leastSquares({ residuals: failing, parameters: { k: 1 } })).toThrow(error);

  const message = (residuals: unknown, code = "NON_FINITE") =>
    thrown(code, () => leastSquares({ residuals: residuals as never, parameters: { k: 1, m: 2 } })).message;
  expect(message(() => [1, Number.NaN])).toBe(
    "parameters: the model cannot be solved from the starting values k = 1, m = 2: the residual at index 1 is NaN. Start from other values, or set bounds.",
  );
  const unsolved = () => {
    throw new SymplecticAdjointError("MAX_STEPS", "maxSteps was reached at t = 3");
  };
  expect(message(unsolved, "MAX_STEPS")).toMatch(/k = 1, m = 2: maxSteps was reached at t = 3\. Start from/);
  expect(message(() => ({ residuals: [1, 2], jacobian: [1, 2, 3, Number.NaN] }))).toMatch(/the Jacobian is not finite/);
  expect(message(() => 1, "CALLBACK")).toBe(
    "residuals' result: expected an array of numbers, or { residuals, jacobian }, given 1",
  );
  expect(message(() => Float32Array.of(1, 2), "DTYPE")).toBe(
    "residuals' result: expected numbers in float64, such as a Float64Array, or { residuals, jacobian }: differences of numbers in float32 are mostly rounding, given Float32Array of length 2",
  );
  const single = leastSquares({
    residuals: ({ k }: Readonly<Record<"k", number>>) => ({
      residuals: Float32Array.of(k - 1, 2 * k - 2),
      jacobian: Float32Array.of(1, 2),
    }),
    parameters: { k: 3 },
  });
  expect(single.parameters.k.value).toBeCloseTo(1, 6);
  expect(message(() => ["1"], "CALLBACK")).toBe('residuals\' result: expected a number at index 0, given "1"');
  expect(message(() => [], "SHAPE")).toBe("residuals' result: expected at least one residual, given none");
  expect(message(() => ({ residuals: [1, 2], jacobian: [1] }), "SHAPE")).toBe(
    "residuals' jacobian: expected 4 numbers [2, 2], given 1",
  );
  let calls = 0;
  expect(message(() => new Float64Array(2 + calls++), "SHAPE")).toBe(
    "residuals' result: expected 2 numbers, as before, given 3",
  );
});

test("derivatives are taken within the bounds", () => {
  const fit = leastSquares({
    residuals({ p }: Readonly<Record<"p", number>>) {
      expect(p).toBeGreaterThanOrEqual(0);
      expect(p).toBeLessThanOrEqual(1);
      return [p ** 2 - 0.25, p ** 3 - 0.125, 0.1];
    },
    parameters: { p: { start: 1, lower: 0, upper: 1 } },
  });
  expect(fit.parameters.p.value).toBeCloseTo(0.5, 9);
});

test("options are checked before anything is computed", () => {
  const residuals = () => {
    throw new Error("computed");
  };
  const message = (changed: object) =>
    thrown("OPTION", () => leastSquares({ residuals, parameters: { a: 1 }, ...changed } as never)).message;
  const ofA = (a: unknown) => message({ parameters: { a } });
  expect(message({ residuals: [1] })).toMatch(/^residuals: expected a function of the parameters/);
  expect(message({ parameters: undefined })).toBe("parameters: expected a plain object, given undefined");
  expect(message({ parameters: {} })).toBe("parameters: expected at least one parameter, given none");
  expect(ofA(Number.NaN)).toBe("parameters.a: expected a finite number, or { start }, given NaN");
  expect(ofA({ value: 1 })).toMatch(/^parameters\.a\.value: there is no option of that name/);
  expect(ofA({ lower: 1 })).toBe("parameters.a.start: expected a finite number, given undefined");
  expect(ofA({ start: 1, lower: 2 })).toBe(
    "parameters.a.start: expected a number between the bounds, 2 and Infinity, given 1",
  );
  expect(ofA({ start: 1, lower: 1, upper: 1 })).toBe("parameters.a.lower: expected a number below upper, 1, given 1");
  expect(ofA({ start: 0, transform: "log" })).toBe(
    "parameters.a.start: expected a positive number, since transform is log, given 0",
  );
  expect(ofA({ start: 0, lower: -1, transform: "logit" })).toBe(
    "parameters.a.upper: expected a finite number, since transform is logit, given Infinity",
  );
  expect(ofA({ start: 0, lower: 0, upper: 1, transform: "logit" })).toMatch(
    /^parameters\.a\.start: expected a number inside the bounds, 0 and 1/,
  );
  expect(ofA({ start: 1, scale: 0 })).toBe("parameters.a.scale: expected a finite positive number, given 0");
  expect(message({ loss: "l1" })).toBe('loss: expected one of linear, softL1, huber, cauchy, given "l1"');
  expect(message({ level: 1 })).toBe("level: expected a number between 0 and 1, given 1");
  expect(message({ starts: 0 })).toBe("starts: expected an integer from 1 to 100000, given 0");
  expect(message({ starts: 1e9 })).toBe("starts: expected an integer from 1 to 100000, given 1000000000");
  expect(message({ start: 0 })).toMatch(/^start: there is no option of that name/);
});

test("progress, and ends before the end", () => {
  const seen: FitProgress[] = [];
  const fit = decayFit({ onIteration: (progress) => void seen.push(progress) });
  expect(seen).toHaveLength(fit.iterations);
  const first = { start: 0, iteration: 1, parameters: { a: expect.any(Number), k: expect.any(Number) } };
  expect(seen[0]).toMatchObject(first);
  // Errors settle as the estimates do; the last digits of both come after the last iteration.
  for (const { name, standardError, interval } of Object.values(fit.parameters)) {
    const errors = seen.map(({ standardErrors }) => standardErrors[name] as number);
    expect(errors.every((error) => error > 0)).toBe(true);
    expect((errors.at(-1) as number) / standardError).toBeCloseTo(1, 4);
    expect((seen.at(-1)?.intervals[name]?.[1] as number) / interval[1]).toBeCloseTo(1, 5);
  }
  const ended = decayFit({ onIteration: ({ iteration }) => iteration < 2, starts: 3 });
  expect(ended).toMatchObject({ reason: "callback", converged: false, iterations: 2 });
  expect(ended.starts).toHaveLength(1);
  expect(decayFit({ maxIterations: 1 })).toMatchObject({ reason: "iterations", converged: false });
  expect(decayFit({ maxIterations: 1 }).warnings[0]).toMatch(/^Not converged: maxIterations/);
  const controller = new AbortController();
  expect(() => decayFit({ signal: controller.signal, onIteration: () => controller.abort() })).toThrow(/abort/);
});

/** One compartment with absorption: the same curves with ka and ke exchanged. */
const absorbed = (t: number, { ka, ke, V }: Readonly<Record<"ka" | "ke" | "V", number>>) =>
  ((8 * ka) / (ka - ke) / V) * (Math.exp(-ke * t) - Math.exp(-ka * t));

test("a profile ends at the limit, and not in a minimum that only its steps led to", () => {
  const taken = [0.35, 1.25, 1.72, 2.41, 3.37, 4.02];
  const y = [1.51, 4.07, 2.59, 2.24, 1.85, 2.21];
  const fit = leastSquares({
    residuals: (values) => taken.map((t, i) => absorbed(t, values) - (y[i] as number)),
    parameters: { ka: 1.3, ke: 0.27, V: 1.6 },
    level: 0.9,
  });
  const { interval, values, costs, limit } = fit.profile("ka");
  // By SciPy from many starts.
  expect(interval[0]).toBeCloseTo(-0.089506, 6);
  expect(costs[values.indexOf(interval[0] as number)]).toBeCloseTo(limit, 6);
  expect(interval[1]).toBeUndefined();
  expect(fit.profile("ke").interval[0]).toBeCloseTo(interval[0] as number, 6);
});

test("where a profile ends, the cost is at the limit, and no fit from the estimates or from beside it finds a lower one", () => {
  const t = Array.from({ length: 8 }, (_, i) => 0.25 + (5.75 * i) / 7);
  const names = ["a", "k", "b", "l"] as const;
  for (let seed = 0; seed < 12; seed++) {
    const normal = normals(seed);
    const y = t.map((t) => 3 * Math.exp(-1.5 * t) + 1.5 * Math.exp(-0.25 * t) + 0.1 * normal());
    const residuals = ({ a, k, b, l }: Readonly<Record<(typeof names)[number], number>>) =>
      t.map((t, i) => a * Math.exp(-k * t) + b * Math.exp(-l * t) - (y[i] as number));
    const fit = leastSquares({ residuals, parameters: { a: 3, k: 1.5, b: 1.5, l: 0.25 } });
    for (const [j, name] of names.entries()) {
      const { interval, values, costs, parameters, limit } = fit.profile(name);
      const rise = limit - fit.cost;
      for (const end of interval) {
        if (end === undefined) continue;
        expect(Math.abs((costs[values.indexOf(end)] as number) - limit)).toBeLessThan(1e-6 * rise);
        const [place, middle] = [values.indexOf(end), values.indexOf(fit.parameters[name].value)];
        for (const i of [middle, place + Math.sign(middle - place)]) {
          const start = parameters.slice(i * names.length, (i + 1) * names.length);
          start[j] = end;
          const own = names.map((other, k) => [other, { start: start[k], fixed: other === name }]);
          const { cost } = leastSquares({ residuals, parameters: Object.fromEntries(own) });
          expect(cost).toBeGreaterThan(limit - 1e-3 * rise);
        }
      }
    }
  }
});

test("a cost that jumps over the limit sets no end to an interval", () => {
  const residuals = ({ k }: Readonly<Record<"k", number>>) =>
    [1, 2, 3].map((x) => x * (k < 1.5 ? k - 1 : 9) + 0.1 * x * x);
  const { interval, limit, costs } = leastSquares({ residuals, parameters: { k: 1 } }).profile("k", { level: 0.999 });
  expect(interval[0]).toBeLessThan(1);
  expect(interval[1]).toBeUndefined();
  expect(costs.at(-1)).toBeLessThan(limit);
});

test.each(["linear", "softL1", "huber", "cauchy"] as const)(
  "with %s loss, what the data do not tell leaves the errors of the others as they are with it fixed",
  (loss) => {
    const y = [1.1, 2.9, 5.2, 6.8, 9.1, 11.3, 12.8, 15.1];
    type Line = Readonly<Record<"a" | "b" | "c", number>>;
    const errorsOf = (line: (x: number, values: Line) => number, isFixed: boolean) => {
      const residuals = (values: Line) => y.map((value, x) => line(x, values) - value);
      const parameters = { a: 1, b: 2, c: { start: 0.5, fixed: isFixed } };
      const fit = leastSquares({ residuals, parameters, loss, lossScale: 0.2 });
      return Object.values(fit.parameters).map(({ standardError }) => standardError);
    };
    for (const [line, known] of [
      [(x: number, { a, b }: Line) => a + b * x, [true, true, false]],
      [(x: number, { a, b, c }: Line) => a + (b + c) * x, [true, false, false]],
    ] as const) {
      const [open, fixed] = [errorsOf(line, false), errorsOf(line, true)];
      for (const [i, isKnown] of known.entries()) {
        if (isKnown) expect((open[i] as number) / (fixed[i] as number)).toBeCloseTo(1, 6);
        else expect(open[i]).toBe(Number.POSITIVE_INFINITY);
      }
    }
  },
);

test("residuals of 0 have a likelihood beside noise that is known", () => {
  const fit = leastSquares({ residuals: ({ a }) => [a - 1, a - 1], parameters: { a: 1 }, noise: 0.5 });
  expect(fit.logLikelihood).toBeCloseTo(-Math.log(2 * Math.PI * 0.25), 12);
  expect(Number.isFinite(fit.aic) && Number.isFinite(fit.bic)).toBe(true);
});

test("a scale sets the step of differences, for a value that is large beside its effect", () => {
  const fitAt = (day: number) => {
    const x = Array.from({ length: 40 }, (_, i) => 0.36 * (i - 20));
    const y = x.map((t) => Math.exp(-0.5 * (t - 0.3) ** 2) + 0.01 * Math.sin(9 * t));
    return leastSquares({
      residuals: ({ center, width }) =>
        x.map((t, i) => Math.exp(-0.5 * ((day + t - center) / width) ** 2) - (y[i] as number)),
      parameters: { center: { start: day + 0.8, scale: 1 }, width: 1.3 },
    });
  };
  const [near, far] = [fitAt(0), fitAt(60000)];
  expect(far.converged).toBe(true);
  expect(far.parameters.center.value - 60000).toBeCloseTo(near.parameters.center.value, 6);
  expect(far.parameters.center.standardError).toBeCloseTo(near.parameters.center.standardError, 6);
});
