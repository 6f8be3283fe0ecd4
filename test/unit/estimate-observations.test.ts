// Fits by measurements and error models, as a differential equation needs them.
import { expect, test } from "vitest";
import { options as readOptions } from "../../ts/checks/rules.js";
import { ERROR_MODELS, type ErrorModelName } from "../../ts/estimate/error-models.js";
import { fitModel } from "../../ts/estimate/fit.js";
import { type MeasurementModel, measuredIndices, observationModel } from "../../ts/estimate/observations.js";
import { readParameters } from "../../ts/estimate/parameters.js";
import { fitRules } from "../../ts/estimate/settings.js";
import { normals } from "../../ts/trace/random.js";
import { now, value } from "./coroutines.js";
import { Dual, differentiated } from "./dual.js";
import { thrown } from "./helpers.js";

const settings = readOptions({}, fitRules);

function* fitting(observations: MeasurementModel) {
  return yield* fitModel(yield* observationModel(observations), settings);
}
const fitOf = (observations: MeasurementModel) => now(fitting(observations));

const times = Array.from({ length: 30 }, (_, i) => 0.2 * i);

/** A decay. */
const predict = (values: Float64Array) => {
  const [a, k] = Dual.variables(values);
  const { values: f, jacobian } = differentiated(times.map((t) => k.mul(-t).exp().mul(a)));
  return value({ f, slopes: () => value(jacobian) });
};

const SPREADS: Record<ErrorModelName, (f: number, normal: number) => number> = {
  additive: (f, normal) => f + 0.05 * normal,
  proportional: (f, normal) => f + 0.1 * f * normal,
  combined: (f, normal) => f + Math.hypot(0.03, 0.1 * f) * normal,
  lognormal: (f, normal) => f * Math.exp(0.1 * normal),
};

test.each(Object.keys(ERROR_MODELS) as ErrorModelName[])(
  "measurements with the %s error model, some of which are missing",
  (errorModel) => {
    const normal = normals(11);
    const y = Float64Array.from(times, (t, i) => {
      const measured = SPREADS[errorModel](3 * Math.exp(-0.4 * t), normal());
      return i % 7 === 3 ? Number.NaN : measured;
    });
    const parameters = readParameters({ a: { start: 1, transform: "log" }, k: 1 });
    const fitBy = (y: Float64Array, weights?: Float64Array) => fitOf({ parameters, y, weights, errorModel, predict });
    const fit = fitBy(y);
    const { a, k } = fit.parameters as Record<string, NonNullable<(typeof fit.parameters)[string]>>;
    expect(fit.converged).toBe(true);
    expect(Math.abs((a?.value ?? 0) - 3)).toBeLessThan(4 * (a?.standardError ?? 0));
    expect(Math.abs((k?.value ?? 0) - 0.4)).toBeLessThan(4 * (k?.standardError ?? 0));
    const { names } = ERROR_MODELS[errorModel];
    expect(Object.keys(fit.parameters)).toEqual(["a", "k", ...names.map((name) => `error.${name}`)]);
    expect(fit.residuals).toHaveLength(measuredIndices(y).length);
    if (errorModel === "proportional") expect(fit.parameters["error.b"]?.value).toBeCloseTo(0.1, 1);
    expect(Number.isFinite(fit.logLikelihood)).toBe(true);

    // Weights of four are half the standard deviation, and change nothing else; those of 0 leave out.
    const weighted = fitBy(
      y,
      y.map((_, i) => (i === 0 ? 0 : 4)),
    );
    const without = fitBy(y.map((value, i) => (i === 0 ? Number.NaN : value)));
    expect(weighted.parameters.k?.value).toBeCloseTo(without.parameters.k?.value ?? 0, 6);
    expect(weighted.parameters.k?.standardError).toBeCloseTo(without.parameters.k?.standardError ?? 0, 6);
    for (const name of names.map((name) => `error.${name}`))
      expect((weighted.parameters[name]?.value ?? 0) / 2).toBeCloseTo(without.parameters[name]?.value ?? 0, 6);
    expect(weighted.logLikelihood).toBeCloseTo(without.logLikelihood, 6);

    const { interval } = now(fit.profile("k"));
    for (const end of [0, 1] as const)
      expect(Math.abs((interval[end] ?? 0) / (k?.interval[end] ?? 0) - 1)).toBeLessThan(0.05);
  },
);

test("a constant with proportional errors has its mean, and a relative deviation around it", () => {
  const y = Float64Array.of(1.1, 0.9, 1.3, 0.7, 1.05, 1.2);
  const fit = fitOf({
    parameters: readParameters({ m: 2 }),
    y,
    errorModel: "proportional",
    predict: ([m]) => value({ f: y.map(() => m as number), slopes: () => value(y.map(() => 1)) }),
  });
  const [m, b] = fit.values as unknown as [number, number];
  const mean = y.reduce((sum, value) => sum + value) / y.length;
  const variance = y.reduce((sum, value) => sum + (value - mean) ** 2, 0) / y.length;
  expect(m).toBeCloseTo(mean, 9);
  expect(b).toBeCloseTo(Math.sqrt(variance) / mean, 9);
});

test("a robust loss of measurements", () => {
  const y = Float64Array.from(times, (t, i) => 3 * Math.exp(-0.4 * t) + (i === 5 ? 4 : 0.01 * Math.sin(9 * i)));
  const parameters = readParameters({ a: 1, k: 1 });
  const given = { parameters, y, errorModel: "additive", predict } as const;
  const fit = fitOf({ ...given, loss: "cauchy", lossScale: 0.02 });
  expect(fit.parameters.k?.value).toBeCloseTo(0.4, 2);
  expect(fit.logLikelihood).toBeNaN();
});

test("fixed parameters have no slopes", () => {
  const y = Float64Array.from(times, (t, i) => 3 * Math.exp(-0.4 * t) + 0.01 * Math.sin(9 * i));
  const parameters = readParameters({ a: { start: 3, fixed: true }, k: 1 });
  const fit = fitOf({
    parameters,
    y,
    errorModel: "combined",
    predict: ([a, k]) => {
      const f = Float64Array.from(times, (t) => (a as number) * Math.exp(-(k as number) * t));
      return value({ f, slopes: () => value(f.map((own, i) => -own * (times[i] as number))) });
    },
  });
  expect(fit.parameters.k?.value).toBeCloseTo(0.4, 2);
  expect(fit.parameters.a).toMatchObject({ value: 3, fixed: true });
});

test("predictions that are not positive are refused where they must be", () => {
  const y = new Float64Array(times.length).fill(1);
  const parameters = readParameters({ a: -1, k: 1 });
  const message = (errorModel: ErrorModelName, how: MeasurementModel["predict"]) =>
    thrown("NON_FINITE", () => fitOf({ parameters, y, errorModel, predict: how })).message;
  expect(message("lognormal", predict)).toMatch(/a prediction is not positive/);
  expect(message("combined", () => value("the solve failed"))).toMatch(/: the solve failed\./);
});
