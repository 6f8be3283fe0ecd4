// Priors of parameters: against closed forms of posterior densities, the limits in which a prior does not matter or is all that does, and
// the marginal likelihood that the noise is estimated by.
import {
  type Estimate,
  equations,
  leastSquares,
  nn,
  odeint,
  type ParameterOptions,
  type Prior,
  sensitivities,
  vectorField,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { normals } from "../../ts/trace/random.js";
import { thrown } from "./helpers.js";

/** The inverse of a symmetric positive definite matrix, and the logarithm of its determinant. */
function inverted(matrix: readonly (readonly number[])[]) {
  const n = matrix.length;
  const rows = matrix.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))]);
  let logDeterminant = 0;
  for (let k = 0; k < n; k++) {
    const pivot = rows[k]?.[k] as number;
    logDeterminant += Math.log(pivot);
    rows[k] = (rows[k] as number[]).map((value) => value / pivot);
    for (let i = 0; i < n; i++) {
      const factor = rows[i]?.[k] as number;
      if (i !== k) rows[i] = (rows[i] as number[]).map((value, j) => value - factor * (rows[k]?.[j] as number));
    }
  }
  return { inverse: rows.map((row) => row.slice(n)), logDeterminant };
}

interface Line {
  readonly x: readonly (readonly number[])[];
  readonly y: readonly number[];
  readonly priors: readonly (Prior | undefined)[];
}

/** A linear model as residuals with their Jacobian. */
function fitOf({ x, y, priors }: Line, more: object = {}, parameter: Partial<ParameterOptions> = {}) {
  const parameters = Object.fromEntries(
    priors.map((prior, j) => [`b${j}`, { start: 0.3 + j, prior, ...(j === 0 ? parameter : {}) }]),
  );
  return leastSquares({
    residuals: (b) => {
      const values = Object.values(b);
      const residuals = x.map((row, i) =>
        row.reduce((sum, a, j) => sum + a * (values[j] as number), -(y[i] as number)),
      );
      return { residuals, jacobian: x.flat() };
    },
    parameters,
    ...more,
  });
}

/** The posterior density of a linear model with noise of that variance: normal, with this mean and covariance. */
function posterior({ x, y, priors }: Line, variance: number) {
  const p = priors.length;
  const of = (j: number) => priors[j] as { mean: number; sd: number } | undefined;
  const precision = Array.from({ length: p }, (_, i) =>
    Array.from({ length: p }, (_, j) => {
      const data = x.reduce((sum, row) => sum + (row[i] as number) * (row[j] as number), 0) / variance;
      return data + (i === j ? (of(j)?.sd ?? Number.POSITIVE_INFINITY) ** -2 : 0);
    }),
  );
  const right = Array.from({ length: p }, (_, i) => {
    const data = x.reduce((sum, row, k) => sum + (row[i] as number) * (y[k] as number), 0) / variance;
    return data + (of(i)?.mean ?? 0) * (of(i)?.sd ?? Number.POSITIVE_INFINITY) ** -2;
  });
  const { inverse, logDeterminant } = inverted(precision);
  const mean = inverse.map((row) => row.reduce((sum, value, j) => sum + value * (right[j] as number), 0));
  const residuals = x.map((row, i) => row.reduce((sum, a, j) => sum + a * (mean[j] as number), -(y[i] as number)));
  const squares = residuals.reduce((sum, r) => sum + r * r, 0);
  const penalty = mean.reduce((sum, value, j) => {
    const prior = of(j);
    return sum + (prior ? ((value - prior.mean) / prior.sd) ** 2 : 0);
  }, 0);
  /** −2 ln of the likelihood of the variance, the parameters integrated out. */
  const evidence = y.length * Math.log(variance) + squares / variance + penalty + logDeterminant;
  return { mean, covariance: inverse.flat(), evidence };
}

/** A polynomial with measurements. */
function polynomial(seed: number, degree: number, n: number, noise: number, priors: Line["priors"]): Line {
  const error = normals(seed);
  const x = Array.from({ length: n }, (_, i) => Array.from({ length: degree + 1 }, (_, j) => ((2 * i) / n - 1) ** j));
  const truth = priors.map((prior) => {
    const { mean, sd } = (prior as { mean: number; sd: number } | undefined) ?? { mean: 0, sd: 2 };
    return mean + sd * error();
  });
  const y = x.map((row) => row.reduce((sum, a, j) => sum + a * (truth[j] as number), noise * error()));
  return { x, y, priors };
}

test.each([1, 2, 3, 4, 5, 6])("a linear model has the posterior density of the closed form, seed %i", (seed) => {
  const priors = [undefined, { mean: 1, sd: 0.3 }, { mean: -2, sd: 0.05 }, { mean: 0, sd: 4 }].slice(seed % 2);
  const line = polynomial(seed, priors.length - 1, 15, 0.5, priors);
  const fit = fitOf(line);
  expect(fit.converged).toBe(true);
  const variance = fit.standardDeviation ** 2;
  const { mean, covariance, evidence } = posterior(line, variance);
  for (const [j, value] of mean.entries()) expect(fit.values[j]).toBeCloseTo(value, 7);
  for (const [k, value] of covariance.entries()) expect(fit.covariance[k]).toBeCloseTo(value, 7);
  // The noise has the greatest marginal likelihood.
  const slope = (posterior(line, variance * 1.001).evidence - posterior(line, variance / 1.001).evidence) / 0.002;
  expect(slope).toBeCloseTo(0, 5);
  for (const factor of [0.5, 0.9, 1.1, 2])
    expect(posterior(line, factor * variance).evidence).toBeGreaterThan(evidence);
  // As many parameters as the data tell: what is left of the noise.
  const effective = fit.degreesOfFreedom;
  expect(fit.residualSumOfSquares / effective).toBeCloseTo(variance, 7);
  for (const [j, prior] of priors.entries()) {
    const estimate = fit.parameters[`b${j}`];
    if (!prior) expect(estimate).not.toHaveProperty("prior");
    else {
      expect(estimate?.prior?.deviation).toBeCloseTo(((mean[j] as number) - prior.mean) / prior.sd, 5);
      expect(estimate?.prior?.contraction).toBeCloseTo(
        1 - (covariance[j * priors.length + j] as number) / prior.sd ** 2,
        5,
      );
    }
  }
});

test("beside a known noise, a linear model has the posterior density of the closed form, in one fit", () => {
  const line = polynomial(3, 2, 12, 0.4, [undefined, { mean: 1, sd: 0.3 }, { mean: -2, sd: 0.05 }]);
  const fit = fitOf(line, { noise: 0.4 });
  const { mean, covariance } = posterior(line, 0.4 ** 2);
  for (const [j, value] of mean.entries()) expect(fit.values[j]).toBeCloseTo(value, 7);
  for (const [k, value] of covariance.entries()) expect(fit.covariance[k]).toBeCloseTo(value, 7);
  expect(fit.evaluations).toBeLessThan(fitOf(line).evaluations);
});

test("a profile of a linear model has the interval of its posterior density", () => {
  const line = polynomial(3, 2, 12, 0.4, [undefined, { mean: 1, sd: 0.3 }, { mean: -2, sd: 0.05 }]);
  const fit = fitOf(line);
  for (const { name, interval } of Object.values(fit.parameters)) {
    const profiled = fit.profile(name).interval;
    for (const i of [0, 1] as const) expect(profiled[i]).toBeCloseTo(interval[i], 5);
  }
});

const kinds: readonly [string, object][] = [
  ["least squares", {}],
  ["a robust loss", { loss: "huber", lossScale: 0.4 }],
  ["a loss that all but ignores outliers", { loss: "cauchy", lossScale: 1 }],
];

test.each(kinds)("a wide prior changes nothing and a narrow one fixes, by %s", (_, more) => {
  const line = polynomial(5, 2, 14, 0.5, [undefined, undefined, undefined]);
  const free = fitOf(line, more);
  const wide = fitOf(line, more, { prior: { mean: 40, sd: 1e7 } });
  const fixed = fitOf(line, more, { start: 1, fixed: true });
  const narrow = fitOf(line, more, { start: 1.4, prior: { mean: 1, sd: 1e-7 } });
  for (const [own, other] of [
    [wide, free],
    [narrow, fixed],
  ] as const) {
    expect(own.converged).toBe(true);
    expect(own.degreesOfFreedom).toBeCloseTo(other.degreesOfFreedom, 5);
    expect(own.standardDeviation).toBeCloseTo(other.standardDeviation, 6);
    for (const [j, value] of other.values.entries()) expect(own.values[j]).toBeCloseTo(value, 5);
    for (const { name, standardError, interval } of Object.values(other.parameters)) {
      expect(own.parameters[name]?.standardError).toBeCloseTo(standardError, 5);
      for (const i of [0, 1] as const) expect(own.parameters[name]?.interval[i]).toBeCloseTo(interval[i], 4);
    }
    expect(own.logLikelihood).toEqual(
      Number.isNaN(other.logLikelihood) ? Number.NaN : expect.closeTo(other.logLikelihood, 5),
    );
    if (!Number.isNaN(other.aic))
      expect([own.aic, own.bic]).toEqual([expect.closeTo(other.aic, 4), expect.closeTo(other.bic, 4)]);
  }
});

test("a robust loss that no residual reaches is least squares, beside priors too", () => {
  const line = polynomial(6, 2, 14, 0.5, [undefined, { mean: 1, sd: 0.3 }, { mean: -2, sd: 0.2 }]);
  const [plain, robust] = [fitOf(line), fitOf(line, { loss: "huber", lossScale: 100 })];
  for (const [j, value] of plain.values.entries()) expect(robust.values[j]).toBeCloseTo(value, 7);
});

test("priors are not made robust: an outlier pulls less, and a prior as much as before", () => {
  const line = polynomial(7, 1, 20, 0.2, [{ mean: 0, sd: 0.05 }, undefined]);
  const y = line.y.map((value, i) => value + (i === 4 ? 40 : 0));
  const [clean, spoilt] = [
    fitOf(line, { loss: "cauchy", lossScale: 0.3 }),
    fitOf({ ...line, y }, { loss: "cauchy", lossScale: 0.3 }),
  ];
  for (const [j, value] of clean.values.entries())
    expect(Math.abs((spoilt.values[j] as number) - value)).toBeLessThan(0.15);
  expect(Math.abs(spoilt.parameters.b0?.prior?.deviation as number)).toBeLessThan(2);
});

test("what the data do not tell is known by its prior alone, and that is said", () => {
  const x = Array.from({ length: 9 }, (_, i) => i / 3);
  const error = normals(2);
  const y = x.map((value) => 6 * value + 0.1 * error());
  const residuals = ({ a, b }: { a: number; b: number }) => x.map((value, i) => a * b * value - (y[i] as number));
  expect(leastSquares({ residuals, parameters: { a: 1, b: 1 } }).warnings.join()).toMatch(/cannot distinguish a and b/);
  const fit = leastSquares({ residuals, parameters: { a: { start: 1, prior: { mean: 2, sd: 0.1 } }, b: 1 } });
  const { a, b } = fit.parameters;
  expect(a.value).toBeCloseTo(2, 8);
  expect(a.standardError).toBeCloseTo(0.1, 8);
  expect(a.prior).toMatchObject({ mean: 2, sd: 0.1, contraction: expect.closeTo(0, 8) });
  // What was not estimated has no degrees of freedom to lose.
  expect(a.interval[1] - a.value).toBeCloseTo(1.959963985 * 0.1, 6);
  expect(fit.degreesOfFreedom).toBeCloseTo(8, 8);
  expect(b.standardError).toBeGreaterThan(0.1);
  expect(fit.warnings.join()).toMatch(/a is known by the prior alone: the data add next to nothing to it/);
  expect(fit.warnings.join()).not.toMatch(/cannot distinguish/);
  // A prior that nothing else speaks of.
  const idle = leastSquares({
    residuals: ({ k }) => x.map((value, i) => k * value - (y[i] as number)),
    parameters: { k: 1, idle: { start: 3, prior: { median: 2, logSd: 0.5 } } },
  });
  expect(idle.parameters.idle.value).toBeCloseTo(2, 7);
  expect(idle.parameters.idle.standardError).toBeCloseTo(1, 7);
  expect(idle.warnings).toEqual([expect.stringMatching(/^idle is known by the prior alone/)]);
});

test("measurements without errors leave what they do not tell to the prior, from any start", () => {
  const x = [1, 2, 3, 4, 5];
  for (const [a, b] of [
    [2, 3],
    [1, 1],
  ] as const) {
    const fit = leastSquares({
      residuals: (values) => x.map((value) => values.a * values.b * value - 6 * value),
      parameters: { a: { start: a, prior: { mean: 2.2, sd: 0.1 } }, b },
    });
    expect(fit.converged).toBe(true);
    expect(fit.values[0]).toBeCloseTo(2.2, 6);
    expect(fit.values[1]).toBeCloseTo(6 / 2.2, 6);
    expect(fit.parameters.a.standardError).toBeCloseTo(0.1, 4);
  }
});

test("robust fits with a prior come from far to what the data say", () => {
  const line = polynomial(10, 1, 16, 0.2, [undefined, undefined]);
  const more = { loss: "cauchy", lossScale: 0.3 } as const;
  const free = fitOf(line, more);
  const prior = { mean: (free.values[0] as number) + 0.2, sd: 1 };
  for (const start of [-40, 5, 100]) {
    const fit = fitOf(line, more, { start, prior });
    expect(fit.converged).toBe(true);
    for (const [j, value] of free.values.entries()) expect(fit.values[j]).toBeCloseTo(value, 1);
  }
});

test("a prior that the data contradict is named", () => {
  const line = polynomial(8, 1, 60, 0.1, [undefined, undefined]);
  const far = (fitOf(line).values[0] as number) + 1;
  const fit = fitOf(line, {}, { prior: { mean: far, sd: 0.1 } });
  expect(fit.warnings).toEqual([
    expect.stringMatching(/contradict the prior of b0: the estimate is .* standard deviations/),
  ]);
});

test("a lognormal prior is a normal one of the logarithm, on any scale of the estimation", () => {
  const t = [1, 2, 3, 4, 5, 6];
  const y = [7.1, 5.6, 3.9, 3.1, 2.0, 1.7];
  const residuals = (rate: number) => t.map((time, i) => 10 * Math.exp(-rate * time) - (y[i] as number));
  const prior = { median: 0.2, logSd: 0.05 };
  const [identity, log, logit] = [{}, { transform: "log" }, { transform: "logit", lower: 0, upper: 2 }].map((scale) =>
    leastSquares({
      residuals: ({ rate }) => residuals(rate),
      parameters: { rate: { start: 0.5, prior, ...scale } as ParameterOptions },
    }),
  );
  const byLogarithm = leastSquares({
    residuals: ({ logarithm }) => residuals(Math.exp(logarithm)),
    parameters: { logarithm: { start: -1, prior: { mean: Math.log(0.2), sd: 0.05 } } },
  });
  for (const fit of [identity, log, logit]) {
    expect(fit?.values[0]).toBeCloseTo(Math.exp(byLogarithm.values[0] as number), 7);
    expect(fit?.logPrior).toBeCloseTo(byLogarithm.logPrior, 5);
    expect(fit?.parameters.rate?.standardError).toBeCloseTo(
      (byLogarithm.parameters.logarithm.standardError as number) * Math.exp(byLogarithm.values[0] as number),
      6,
    );
  }
});

test("more parameters than measurements have estimates beside priors: ridge regression", () => {
  const priors = Array.from({ length: 12 }, () => ({ mean: 0, sd: 1 }));
  const line = polynomial(9, 11, 8, 0.3, priors);
  const fit = fitOf(line);
  const { mean, covariance } = posterior(line, fit.standardDeviation ** 2);
  expect(fit.converged).toBe(true);
  expect(fit.degreesOfFreedom).toBeGreaterThan(1);
  for (const [j, value] of mean.entries()) expect(fit.values[j]).toBeCloseTo(value, 6);
  for (const [k, value] of covariance.entries()) expect(fit.covariance[k]).toBeCloseTo(value, 6);
});

test("too few measurements to estimate the noise give no standard errors", () => {
  const fit = fitOf({
    x: [
      [1, 0],
      [1, 1],
    ],
    y: [1, 3],
    priors: [{ mean: 0, sd: 5 }, undefined],
  });
  expect(fit.degreesOfFreedom).toBeLessThan(1);
  expect(fit.parameters.b0?.standardError).toBeNaN();
  expect(fit.warnings[0]).toMatch(/2 measurements for 2 parameters/);
});

test("intervals hold the truth as often as they say where it comes from the prior", () => {
  let [held, all] = [0, 0];
  const error = normals(11);
  for (let simulation = 0; simulation < 300; simulation++) {
    const priors = [
      { mean: 1, sd: 0.5 },
      { mean: -1, sd: 0.2 },
      { mean: 0, sd: 1 },
    ];
    const truth = priors.map(({ mean, sd }) => mean + sd * error());
    const x = Array.from({ length: 9 }, (_, i) => [1, i / 4 - 1, (i / 4 - 1) ** 2]);
    const y = x.map((row) => row.reduce((sum, a, j) => sum + a * (truth[j] as number), 0.4 * error()));
    const fit = fitOf({ x, y, priors });
    for (const [j, value] of truth.entries()) {
      const { interval } = fit.parameters[`b${j}`] as Estimate;
      const [lower, upper] = interval;
      all++;
      if (value > lower && value < upper) held++;
    }
  }
  expect(held / all).toBeGreaterThan(0.93);
  expect(held / all).toBeLessThan(0.97);
});

test("the iterations of a fit are counted on, and it can be ended in any", () => {
  const line = polynomial(4, 2, 14, 0.5, [undefined, { mean: 3, sd: 0.1 }, { mean: -2, sd: 0.1 }]);
  const seen: number[] = [];
  const evaluations: number[] = [];
  const fit = fitOf(line, {
    onIteration: (progress: { iteration: number; evaluations: number }) => {
      seen.push(progress.iteration);
      evaluations.push(progress.evaluations);
    },
  });
  expect(seen).toEqual(Array.from({ length: fit.iterations }, (_, i) => i + 1));
  expect(evaluations).toEqual([...evaluations].sort((a, b) => a - b));
  const ended = fitOf(line, { onIteration: ({ iteration }: { iteration: number }) => iteration < 2 });
  expect([ended.reason, ended.iterations]).toEqual(["callback", 2]);
  expect(fitOf(line, { maxIterations: 1 }).iterations).toBe(1);
});

test("several starts end at one cost, and the best is the result", () => {
  const t = Array.from({ length: 16 }, (_, i) => i / 4);
  const error = normals(5);
  const y = t.map((time) => Math.cos(3 * time) + 0.1 * error());
  const fit = leastSquares({
    residuals: ({ frequency, size }) => t.map((time, i) => size * Math.cos(frequency * time) - (y[i] as number)),
    parameters: {
      frequency: { start: 1, lower: 0.1, upper: 6, prior: { mean: 2.9, sd: 0.5 } },
      size: { start: 1, prior: { mean: 1, sd: 0.2 } },
    },
    starts: 12,
  });
  expect(fit.parameters.frequency.value).toBeCloseTo(3, 1);
  expect(fit.starts[0]?.cost).toBeCloseTo(fit.cost, 10);
  expect(fit.starts.filter(({ cost }) => Math.abs(cost - fit.cost) < 1e-6 * fit.cost).length).toBeGreaterThan(2);
});

const decay = "y' = -rate * y + feed";
const decayed = { times: [1, 2, 3, 4, 5, 6], y: [7.1, 5.6, 3.9, 3.3, 2.4, 1.9], y0: [10], t0: 0 };

test.each(["additive", "lognormal", "proportional", "combined"] as const)(
  "fields take priors with %s errors: wide ones change nothing, narrow ones fix",
  (error) => {
    const field = equations(decay, { parameters: { rate: 0.3, feed: 0.1 }, dtype: "float64" });
    const fit = (parameters: Record<string, Partial<ParameterOptions>>) =>
      leastSquares({ field, data: decayed, error, parameters, updateField: false });
    const pairs = [
      [fit({ feed: { prior: { mean: 0.3, sd: 1e6 } } }), fit({})],
      [fit({ feed: { prior: { mean: 0.15, sd: 1e-7 } } }), fit({ feed: { start: 0.15, fixed: true } })],
    ] as const;
    for (const [own, other] of pairs) {
      expect(own.parameters.rate?.value).toBeCloseTo(other.parameters.rate?.value as number, 5);
      expect(own.parameters.rate?.standardError).toBeCloseTo(other.parameters.rate?.standardError as number, 5);
      expect(own.aic).toBeCloseTo(other.aic, 3);
      expect(own.curves({ points: 3 })[0]?.standardErrors[2]).toBeCloseTo(
        other.curves({ points: 3 })[0]?.standardErrors[2] as number,
        4,
      );
    }
  },
);

test("priors of a network count for each of its weights, by reverse mode too", () => {
  const make = () =>
    vectorField({
      state: 1,
      parameters: { net: nn.sequential(nn.linear(1, 3), nn.tanh, nn.linear(3, 1)), k: 0.3 },
      slope: ({ state, parameters: { net, k } }) => net(state.mul(0.1)).mul(0.3).sub(state.mul(k)),
      dtype: "float64",
      seed: 3,
    });
  const field = make();
  const data = { times: [1, 2, 4], y: [7.6, 5.2, 3.4], y0: [10], t0: 0 };
  // Three measurements and eleven parameters: derivatives come in reverse.
  const fit = leastSquares({
    field,
    data,
    parameters: { net: { prior: { mean: 0, sd: 1 } }, k: { prior: { median: 0.25, logSd: 0.3 } } },
    updateField: false,
  });
  expect(Object.values(fit.parameters).every(({ prior }) => prior !== undefined)).toBe(true);
  // The same by forward sensitivities, put together by hand.
  const names = Object.keys(fit.parameters);
  const start = Float64Array.from(field.parameters);
  const other = make();
  const byHand = leastSquares({
    residuals: (values) => {
      other.parameters = Float64Array.from(names, (name) => values[name] as number);
      const { solution, parameters } = sensitivities(other, Float64Array.of(10), [0, 1, 2, 4], {
        method: "dopri8",
        rtol: 1e-10,
        atol: 1e-12,
      });
      const residuals = data.y.map((y, i) => (solution.y[i + 1] as number) - y);
      return { residuals, jacobian: parameters.subarray(names.length) };
    },
    parameters: Object.fromEntries(
      names.map((name, i) => [
        name,
        { start: start[i] as number, prior: name === "k" ? { median: 0.25, logSd: 0.3 } : { mean: 0, sd: 1 } },
      ]),
    ),
  });
  expect(fit.cost).toBeCloseTo(byHand.cost, 6);
  for (const [j, value] of byHand.values.entries()) expect(fit.values[j]).toBeCloseTo(value, 4);
});

test("arguments of trajectories and initial states take priors", () => {
  const field = equations("y' = -rate * y", { parameters: {}, arguments: ["rate"], dtype: "float64" });
  const rates = [0.2, 0.3, 0.45];
  const data = rates.map((rate, i) => {
    const one = equations("y' = -rate * y", { parameters: { rate }, dtype: "float64" });
    const times = [0, 1, 2, 3];
    const { y } = odeint(one, Float64Array.of(10), times);
    return {
      name: `${i}`,
      t0: 0,
      times: times.slice(1),
      y: y.slice(1).map((v, k) => v + 0.2 * Math.sin(9 * k + i)),
      y0: [10.3],
    };
  });
  const fit = (sd: number) =>
    leastSquares({
      field,
      data,
      individual: { rate: { start: 0.3, prior: { median: 0.3, logSd: sd } } },
      initial: { y: { shared: true, prior: { mean: 10, sd: 0.05 } } },
    });
  const [wide, narrow] = [fit(10), fit(0.05)];
  const spread = ({ parameters }: typeof wide) =>
    Math.abs((parameters["rate[2]"]?.value as number) - (parameters["rate[0]"]?.value as number));
  expect(spread(narrow)).toBeLessThan(0.7 * spread(wide));
  expect(wide.parameters["y(0)"]?.value).toBeCloseTo(10, 0);
  expect(wide.parameters["y(0)"]?.prior).toMatchObject({ mean: 10, sd: 0.05 });
});

test.each<[string, unknown, RegExp]>([
  [
    "an sd of 0",
    { prior: { mean: 1, sd: 0 } },
    /^parameters\.b\.prior\.sd: expected a finite positive number, given 0/,
  ],
  ["a negative logSd", { prior: { median: 1, logSd: -1 } }, /^parameters\.b\.prior\.logSd: expected a finite positive/],
  ["NaN", { prior: { mean: Number.NaN, sd: 1 } }, /^parameters\.b\.prior\.mean: expected a finite number, given NaN/],
  [
    "an infinite sd",
    { prior: { mean: 1, sd: Number.POSITIVE_INFINITY } },
    /^parameters\.b\.prior\.sd: expected a finite/,
  ],
  ["no sd", { prior: { mean: 1 } }, /^parameters\.b\.prior\.sd: expected a finite positive number/],
  ["a number", { prior: 3 }, /^parameters\.b\.prior: expected \{ mean, sd \}, or \{ median, logSd \}.*, given 3/],
  ["null", { prior: null }, /^parameters\.b\.prior: expected \{ mean, sd \}/],
  ["both forms", { prior: { mean: 1, sd: 1, logSd: 1 } }, /^parameters\.b\.prior/],
  ["a name of Stan", { prior: { mu: 1, sigma: 1 } }, /^parameters\.b\.prior.*mean/],
  ["a median of 0", { prior: { median: 0, logSd: 1 } }, /^parameters\.b\.prior\.median: expected a finite positive/],
  [
    "a mean out of bounds",
    { lower: 2, start: 3, prior: { mean: 1, sd: 1 } },
    /^parameters\.b\.prior\.mean: expected a number between the bounds, 2 and Infinity, given 1/,
  ],
  [
    "a start that a lognormal prior forbids",
    { start: -1, prior: { median: 1, logSd: 1 } },
    /^parameters\.b\.start: expected a positive number, since the prior is lognormal, given -1/,
  ],
  [
    "a fixed parameter",
    { fixed: true, prior: { mean: 1, sd: 1 } },
    /^parameters\.b\.prior: expected no prior, since the parameter is fixed/,
  ],
])("%s is refused before anything is computed", (_, given, message) => {
  let calls = 0;
  const residuals = () => {
    calls++;
    return [1, 2, 3];
  };
  const error = thrown("OPTION", () =>
    leastSquares({ residuals, parameters: { b: { start: 1, ...(given as object) } as ParameterOptions } }),
  );
  expect(error).toMatchObject({ name: "SymplecticAdjointError", code: "OPTION" });
  expect(error.message).toMatch(message);
  expect(calls).toBe(0);
});

test("a prior at another place is pointed to its own", () => {
  const message = (options: object) =>
    (thrown("OPTION", () => leastSquares({ residuals: () => [1], parameters: { b: 1 }, ...options } as never)) as Error)
      .message;
  expect(message({ priors: {} })).toMatch(/parameters/);
  const field = equations(decay, { parameters: { rate: 0.3, feed: 0.1 } });
  const wrong = thrown("OPTION", () =>
    leastSquares({ field, data: decayed, parameters: { rates: { prior: { mean: 1, sd: 1 } } } as never }),
  );
  expect(wrong.message).toMatch(/rate/);
});

test("a prior of one parameter counts alike, however large another one is", () => {
  const x = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const slopeFrom = (base: number) => {
    const y = x.map((t, i) => base + 0.3 * t + 0.01 * Math.sin(5 * i * i));
    return leastSquares({
      residuals: ({ a, b }) => x.map((t, i) => a + b * t - (y[i] as number)),
      parameters: { a: base, b: { start: 0.5, prior: { mean: 0.5, sd: 0.2 } } },
    });
  };
  const near = slopeFrom(0);
  for (const base of [1e5, 1e7]) {
    const far = slopeFrom(base);
    expect(far.parameters.b.value).toBeCloseTo(near.parameters.b.value, 5);
    expect(far.parameters.b.standardError / near.parameters.b.standardError).toBeCloseTo(1, 3);
    expect(far.standardDeviation / near.standardDeviation).toBeCloseTo(1, 4);
  }
});
