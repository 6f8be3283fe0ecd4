// Fits of differential equations, against closed forms, SciPy and each other.
import { readFileSync } from "node:fs";
import { equations, leastSquares, nn, odeint, sensitivities, type Value, vectorField } from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { normals } from "../../ts/trace/random.js";
import { estimateOf, thrown } from "./helpers.js";

const text = (name: string) => readFileSync(new URL(name, import.meta.url), "utf8");
const TIGHT = { method: "dopri8", rtol: 1e-11, atol: 1e-12 } as const;

/** Relative to what is expected. */
function expectClose(value: number | undefined, expected: number, tolerance: number, what = ""): void {
  expect(Math.abs((value as number) - expected), what).toBeLessThan(tolerance * Math.abs(expected));
}

describe("a straight line", () => {
  // y' = slope from y(0) = intercept: linear in both.
  const field = equations("y' = slope", { parameters: { slope: 0 }, dtype: "float64" });
  const times = [0.5, 1, 2.5, 3, 4, 6, 7.5];
  const y = [1.1, 2.3, 4.6, 6.2, 7.4, 12.9, 14.6];
  const weights = [1, 2, 1, 0.5, 4, 1, 3];

  /** Weighted regression by its closed form. */
  function regression(w: readonly number[]) {
    const sum = (of: (i: number) => number) => times.reduce((total, _, i) => total + (w[i] as number) * of(i), 0);
    const [t, v] = [(i: number) => times[i] as number, (i: number) => y[i] as number];
    const [S, St, Sy] = [sum(() => 1), sum(t), sum(v)];
    const [Stt, Sty] = [sum((i) => t(i) ** 2), sum((i) => t(i) * v(i))];
    const determinant = S * Stt - St ** 2;
    const slope = (S * Sty - St * Sy) / determinant;
    const intercept = (Stt * Sy - St * Sty) / determinant;
    const residual = sum((i) => (intercept + slope * t(i) - v(i)) ** 2);
    const variance = residual / (w.filter((weight) => weight > 0).length - 2);
    return {
      slope: [slope, Math.sqrt((variance * S) / determinant)] as const,
      "y(0)": [intercept, Math.sqrt((variance * Stt) / determinant)] as const,
      correlation: -St / Math.sqrt(S * Stt),
    };
  }

  test.each([
    ["equal weights", times.map(() => 1)],
    ["weights", weights],
    ["a weight of zero", weights.map((weight, i) => (i === 3 ? 0 : weight))],
  ])("has the standard errors of its closed form with %s", (_, w) => {
    const fit = leastSquares({ field, data: { times, y, y0: [0], t0: 0, weights: w }, initial: { y: true } });
    const { correlation, ...exact } = regression(w);
    for (const [name, [value, standardError]] of Object.entries(exact)) {
      expectClose(estimateOf(fit, name)?.value, value, 1e-9, name);
      expectClose(estimateOf(fit, name)?.standardError, standardError, 1e-9, name);
    }
    expect(fit.freeNames).toEqual(["slope", "y(0)"]);
    expectClose(fit.correlation[1], correlation, 1e-9);
    expect(fit.degreesOfFreedom).toBe(w.filter((weight) => weight > 0).length - 2);
  });

  test("has standard errors by the noise that is known", () => {
    const given = { field, data: { times, y, y0: [0], t0: 0, weights }, initial: { y: true } } as const;
    const [free, fit] = [leastSquares(given), leastSquares({ ...given, noise: 0.9 })];
    const s = free.standardDeviation;
    for (const [k, value] of fit.values.entries()) expectClose(value, free.values[k] as number, 1e-12);
    for (const [k, value] of fit.covariance.entries())
      expectClose(value, (free.covariance[k] as number) * (0.9 / s) ** 2, 1e-12);
    for (const { name, value, standardError, interval } of Object.values(fit.parameters)) {
      expectClose((interval[1] - value) / standardError, 1.959963984540054, 1e-9);
      const profiled = fit.profile(name).interval;
      for (const i of [0, 1] as const) expect(profiled[i]).toBeCloseTo(interval[i], 5);
    }
    expectClose(fit.standardDeviation, s, 1e-12);
    // The density of normal errors, whose variances are 0.9² over the weights.
    const density = fit.residuals.reduce((sum, r, i) => {
      const variance = 0.9 ** 2 / (weights[i] as number);
      return sum - 0.5 * (r ** 2 / variance + Math.log(2 * Math.PI * variance));
    }, 0);
    expectClose(fit.logLikelihood, density, 1e-12);
    expectClose(fit.aic, 4 - 2 * density, 1e-12);
    expect(fit.warnings).toEqual([]);
  });

  test("has standard errors of two measurements, if their noise is known", () => {
    const data = { times: [1, 3], y: [2, 8], y0: [0], t0: 0 };
    const fit = leastSquares({ field, data, initial: { y: true }, noise: 0.1 });
    expectClose(fit.parameters.slope?.value, 3, 1e-9);
    expectClose(fit.parameters.slope?.standardError, 0.1 / Math.SQRT2, 1e-9);
    expect(fit.warnings).toEqual([]);
  });

  test("warns of residuals far beyond the noise, and refuses it where it is estimated", () => {
    const given = { field, data: { times, y, y0: [0], t0: 0 }, initial: { y: true } } as const;
    const [warning] = leastSquares({ ...given, noise: 0.05 }).warnings;
    expect(warning).toMatch(/^Residuals are \d\S* times as large as noise says, so the standard errors are too small/);
    const refusedBy = (more: object) => thrown("OPTION", () => leastSquares({ ...given, noise: 1, ...more })).message;
    const expected = 'nothing, unless loss is "linear" and error is "additive" or "lognormal": other fits estimate it';
    expect(refusedBy({ error: "combined" })).toBe(`noise: expected ${expected}, given 1`);
    expect(refusedBy({ loss: "huber" })).toBe(`noise: expected ${expected}, given 1`);
    expect(refusedBy({ noise: 0 })).toBe("noise: expected a finite positive number, given 0");
    expect(refusedBy({ absolute_sigma: true })).toContain("did you mean noise?");
  });

  test("is fitted to a missing value as to none", () => {
    const fitTo = (times: readonly number[], y: readonly number[]) =>
      leastSquares({ field, data: { times, y, y0: [0], t0: 0 }, initial: { y: true } });
    const whole = fitTo(
      times,
      y.map((value, i) => (i === 2 ? Number.NaN : value)),
    );
    const [without, rest] = [times, y].map((all) => all.filter((_, i) => i !== 2)) as [number[], number[]];
    const part = fitTo(without, rest);
    expect(whole.measurements.map(({ time }) => time)).toEqual(without);
    for (const [name, { value, standardError }] of Object.entries(part.parameters)) {
      expectClose(estimateOf(whole, name)?.value, value, 1e-9, name);
      expectClose(estimateOf(whole, name)?.standardError, standardError, 1e-9, name);
    }
  });
});

interface Found {
  readonly estimates: Readonly<Record<string, number>>;
  readonly standardErrors: Readonly<Record<string, number>>;
  readonly residualSumOfSquares: number;
  readonly cost: number;
}

describe("theophylline, as SciPy fits it", () => {
  // Made by theophylline.py, which stands beside it.
  const scipy: { pooled: Found; robust: Record<string, Found>; patients: Record<string, Found> } = JSON.parse(
    text("../data/theophylline.json"),
  );
  const rows = text("../../data/theophylline.csv").trim().split("\n").slice(1);
  const numbers = rows.map((row) => row.split(",").map(Number) as [number, number, number, number, number]);
  const data = Array.from(new Set(numbers.map(([subject]) => subject)), (subject) => {
    const own = numbers.filter(([other]) => other === subject);
    return {
      name: String(subject),
      times: own.map(([, , , time]) => time),
      y: own.map(([, , , , concentration]) => concentration),
      y0: { gut: 1, blood: 0 },
      arguments: { weight: own[0]?.[1] as number, dose: own[0]?.[2] as number },
    };
  });
  // The part of the dose that is still in the gut, and mg in the blood.
  const slopes = "gut' = -absorption * gut \n blood' = absorption * gut * dose * weight - clearance / volume * blood";
  const start = { absorption: 1, clearance: 0.05, volume: 0.5 };
  const own = ["dose", "weight"];
  const pooled = () => equations(slopes, { parameters: start, arguments: own, dtype: "float64" });
  const observe = "blood / (volume * weight)";

  test("with the parameters of all patients the same", () => {
    const fit = leastSquares({ field: pooled(), data, observe, ...TIGHT });
    for (const [name, value] of Object.entries(scipy.pooled.estimates)) {
      expectClose(estimateOf(fit, name)?.value, value, 1e-6, name);
      expectClose(estimateOf(fit, name)?.standardError, scipy.pooled.standardErrors[name] as number, 1e-6, name);
    }
    expectClose(fit.residualSumOfSquares, scipy.pooled.residualSumOfSquares, 1e-9);
    expect(fit.measurements).toHaveLength(132);
  });

  test("with the dose as a jump of each patient", () => {
    const taken = data.map(({ arguments: { dose } }) => [dose]);
    const fit = leastSquares({
      field: pooled(),
      data: data.map((patient) => ({ ...patient, y0: { gut: 0, blood: 0 }, t0: 0 })),
      jumps: [{ times: data.map(() => [0]), set: "gut = gut + taken / dose", amounts: { taken } }],
      observe,
      ...TIGHT,
    });
    for (const [name, value] of Object.entries(scipy.pooled.estimates)) {
      expectClose(estimateOf(fit, name)?.value, value, 1e-6, name);
      expectClose(estimateOf(fit, name)?.standardError, scipy.pooled.standardErrors[name] as number, 1e-6, name);
    }
    const [curve] = fit.curves({ points: 7 });
    expect(curve?.y[0]).toBe(0);
    expect(curve?.standardErrors.slice(1).every((error) => error > 0)).toBe(true);
    const wrong = () =>
      leastSquares({ field: pooled(), data, observe, jumps: [{ times: [[0], [0]], set: "gut = 0" }] });
    expect(wrong).toThrow(expect.objectContaining({ code: "SHAPE", argument: "jumps[0].times" }));
    // What no solve can have is told by the patient, before any start is blamed.
    const dosed = (times: number[], amounts: number[]) => () =>
      leastSquares({
        field: pooled(),
        data,
        observe,
        jumps: [
          {
            times: data.map((_, i) => (i === 3 ? times : [1])),
            set: "gut = gut + taken / dose",
            amounts: { taken: data.map((_, i) => (i === 3 ? amounts : [1])) },
          },
        ],
      });
    const refused = (code: string, argument: string) => expect.objectContaining({ code, argument });
    expect(dosed([1], [Number.NaN])).toThrow(refused("NON_FINITE", "jumps[0].amounts.taken[3]"));
    expect(dosed([Number.NaN], [1])).toThrow(refused("NON_FINITE", "jumps[0].times[3]"));
    expect(dosed([2, 1], [1, 1])).toThrow(refused("OPTION", "jumps[0].times[3]"));
    expect(dosed([-5], [1])).toThrow(refused("OPTION", "jumps[0].times[3]"));
    expect(dosed([-5], [1])).toThrow(/times no earlier than the first of data\[3\]\.times, /);
  });

  test.each(["softL1", "huber", "cauchy"] as const)("by the robust loss %s", (loss) => {
    const fit = leastSquares({ field: pooled(), data, observe, loss, lossScale: 0.8, ...TIGHT });
    const expected = scipy.robust[loss] as Found;
    for (const [name, value] of Object.entries(expected.estimates)) {
      expectClose(estimateOf(fit, name)?.value, value, 1e-6, name);
    }
    expectClose(fit.cost, expected.cost, 1e-9);
  });

  test("each patient by themselves, in one fit and in twelve", () => {
    const field = equations(slopes, { arguments: [...own, ...Object.keys(start)], dtype: "float64" });
    const together = leastSquares({ field, data, observe, individual: start, ...TIGHT });
    let squares = 0;
    for (const patient of data) {
      const expected = scipy.patients[patient.name] as Found;
      const alone = leastSquares({ field: pooled(), data: patient, observe, ...TIGHT });
      for (const [name, value] of Object.entries(expected.estimates)) {
        expectClose(estimateOf(alone, name)?.value, value, 1e-6, `${name} of ${patient.name}`);
        const all = estimateOf(together, `${name}[${patient.name}]`);
        expectClose(all?.value, value, 1e-6, `${name} of ${patient.name}`);
        // The same (JᵀJ)⁻¹, but another s².
        const factor = together.standardDeviation / alone.standardDeviation;
        expectClose(all?.standardError, factor * (estimateOf(alone, name)?.standardError as number), 1e-5, name);
      }
      squares += expected.residualSumOfSquares;
    }
    expectClose(together.residualSumOfSquares, squares, 1e-9);
  });

  test("individual parameters beside shared ones, from data simulated so", () => {
    const mixed = equations(slopes, {
      parameters: { absorption: 1.5, volume: 0.5 },
      arguments: [...own, "clearance"],
      dtype: "float64",
    });
    const clearances = [0.03, 0.04, 0.06];
    const times = [0, 0.5, 1, 2, 5, 9, 24];
    const simulated = clearances.map((clearance, k) => {
      const [dose, weight] = [4 + k, 80 - 10 * k];
      const { y } = odeint(mixed, Float64Array.of(1, 0), times, {
        ...TIGHT,
        arguments: { dose: [dose], weight: [weight], clearance: [clearance] },
      });
      const concentrations = times.map((_, i) => (y[2 * i + 1] as number) / (0.5 * weight));
      return { times, y0: { gut: 1, blood: 0 }, arguments: { dose, weight }, y: concentrations };
    });
    mixed.parameters = Float64Array.of(1, 0.4);
    const fit = leastSquares({ field: mixed, data: simulated, observe, individual: { clearance: 0.05 }, ...TIGHT });
    const expected = { absorption: 1.5, volume: 0.5, "clearance[1]": 0.03, "clearance[2]": 0.04, "clearance[3]": 0.06 };
    expect(Object.keys(fit.parameters)).toEqual(Object.keys(expected));
    for (const [name, value] of Object.entries(expected)) expectClose(estimateOf(fit, name)?.value, value, 1e-7, name);
    // What the field keeps of it.
    expectClose(mixed.parameters[0], 1.5, 1e-7);
  });
});

describe("error models recover the deviations that the data were made with", () => {
  const field = equations("y' = -rate * y", { parameters: { rate: 0.3 }, dtype: "float64" });
  const times = Array.from({ length: 400 }, (_, i) => (i + 1) / 50);
  const exact = odeint(field, Float64Array.of(10), [0, ...times], TIGHT).y.slice(1);
  const fitTo = (y: Float64Array, error: "additive" | "proportional" | "combined" | "lognormal") =>
    leastSquares({ field, data: { times, y, y0: [10], t0: 0 }, error, parameters: { rate: 0.5 } });
  /** Within four standard errors, as 99.99 % are. */
  const expectRecovered = (estimate: { value: number; standardError: number } | undefined, truth: number) => {
    const { value, standardError } = estimate as { value: number; standardError: number };
    expect(Math.abs(value - truth)).toBeLessThan(4 * standardError);
    expect(standardError).toBeLessThan(0.2 * truth);
  };

  test("additive", () => {
    const normal = normals(2);
    const fit = fitTo(
      exact.map((value) => value + 0.3 * normal()),
      "additive",
    );
    expectRecovered(fit.parameters.rate, 0.3);
    // s of 399 degrees of freedom has a relative error of 1/√798.
    expect(Math.abs(fit.standardDeviation / 0.3 - 1)).toBeLessThan(4 / Math.sqrt(798));
  });

  test("proportional", () => {
    const normal = normals(3);
    const fit = fitTo(
      exact.map((value) => value * (1 + 0.1 * normal())),
      "proportional",
    );
    expectRecovered(fit.parameters.rate, 0.3);
    expectRecovered(fit.parameters["error.b"], 0.1);
  });

  test("combined", () => {
    const normal = normals(4);
    const fit = fitTo(
      exact.map((value) => value + Math.hypot(0.2, 0.1 * value) * normal()),
      "combined",
    );
    expectRecovered(fit.parameters.rate, 0.3);
    expectRecovered(fit.parameters["error.a"], 0.2);
    expectRecovered(fit.parameters["error.b"], 0.1);
  });

  test("lognormal", () => {
    const normal = normals(5);
    const fit = fitTo(
      exact.map((value) => value * Math.exp(0.2 * normal())),
      "lognormal",
    );
    expectRecovered(fit.parameters.rate, 0.3);
    expect(Math.abs(fit.standardDeviation / 0.2 - 1)).toBeLessThan(4 / Math.sqrt(798));
  });

  test("and the criteria prefer the model that made the data", () => {
    const normal = normals(6);
    const y = exact.map((value) => value * (1 + 0.1 * normal()));
    const models = (["additive", "proportional"] as const).map((error) => fitTo(y, error));
    const [additive, proportional] = models as [(typeof models)[number], (typeof models)[number]];
    expect(proportional.aic).toBeLessThan(additive.aic - 10);
    expect(proportional.bic).toBeLessThan(additive.bic - 10);
  });
});

describe("initial states", () => {
  const field = equations("x' = -rate * x + push \n v' = rate * x - v", {
    parameters: { rate: 0.7 },
    arguments: ["push"],
    dtype: "float64",
  });
  const times = [0.5, 1, 2, 3];
  const dataFrom = (x: readonly number[]) =>
    x.map((own, k) => {
      const args = { push: [0.1 * k] };
      const { y } = odeint(field, Float64Array.of(own, 1), [0, ...times], { ...TIGHT, arguments: args });
      return { times, y: y.slice(2), y0: { x: 1, v: 1 }, t0: 0, arguments: { push: 0.1 * k }, name: `run ${k}` };
    });

  test("of each trajectory, and shared by all", () => {
    const each = leastSquares({
      field,
      data: dataFrom([2, 3]),
      initial: { x: true },
      parameters: { rate: 1 },
      ...TIGHT,
    });
    expect(Object.keys(each.parameters)).toEqual(["rate", "x(0)[run 0]", "x(0)[run 1]"]);
    expectClose(each.parameters["x(0)[run 0]"]?.value, 2, 1e-7);
    expectClose(each.parameters["x(0)[run 1]"]?.value, 3, 1e-7);
    const data = dataFrom([2, 2]);
    const shared = leastSquares({
      field,
      data,
      initial: { x: { start: 1, shared: true } },
      parameters: { rate: 1 },
      ...TIGHT,
    });
    expect(Object.keys(shared.parameters)).toEqual(["rate", "x(0)"]);
    expectClose(shared.parameters["x(0)"]?.value, 2, 1e-7);
    expectClose(shared.parameters.rate?.value, 0.7, 1e-7);
  });
});

describe("Jacobians", () => {
  // A network: 14 parameters and 4 measurements are differentiated in reverse, a few parameters forward.
  const model = () =>
    vectorField({
      state: ["x", "v"],
      parameters: { pull: 1.5, net: nn.sequential(nn.linear(2, 3), nn.tanh, nn.linear(3, 1)) },
      arguments: { push: "scalar" },
      dtype: "float64",
      seed: 3,
      slope: ({ state, parameters: { pull, net }, arguments: { push } }) => [
        state[1] as Value,
        net(state)
          .sub(pull.mul(state[0] as Value))
          .add(push),
      ],
    });
  const namesOf = (field: ReturnType<typeof model>) =>
    Object.entries(field.entries).flatMap(([name, { shape }]) => {
      const size = shape.reduce((product, side) => product * side, 1);
      return shape.length === 0 ? [name] : Array.from({ length: size }, (_, i) => `${name}[${i}]`);
    });
  const y = [0.2, -0.9, -1, 0.1];
  const args = { push: [0.3] };

  /** Where the first steps of a fit lead: all that they follow from is residuals and Jacobian. */
  const steps = (fit: (onIteration: (progress: { parameters: Readonly<Record<string, number>> }) => void) => void) => {
    const values: number[] = [];
    fit(({ parameters }) => void values.push(...Object.values(parameters)));
    return values;
  };

  test.each([14, 3])("of %i parameters are those of forward sensitivities", (count) => {
    const field = model();
    const names = namesOf(field);
    expect(names).toHaveLength(14);
    const start = field.parameters.slice();
    const parameters = Object.fromEntries(
      names.map((name, i) => [name, { start: start[i] as number, fixed: i >= count }]),
    );
    const data = { times: [0.5, 1.5], y, y0: { x: 1, v: 0 }, t0: 0, arguments: { push: 0.3 } };
    const observe = ["x * pull", "v + push"];
    const own = steps((onIteration) => {
      leastSquares({ field: model(), data, observe, parameters, maxIterations: 3, onIteration, ...TIGHT });
    });
    const residuals = (values: Readonly<Record<string, number>>) => {
      field.parameters = Float64Array.from(names, (name) => values[name] as number);
      const options = { ...TIGHT, arguments: args, respectTo: ["parameters"] } as const;
      const { solution, parameters } = sensitivities(field, Float64Array.of(1, 0), [0, 0.5, 1.5], options);
      const pull = field.parameters[0] as number;
      const predictions = [2, 3, 4, 5].map((k) => {
        const state = solution.y[k] as number;
        return k % 2 === 0 ? state * pull : state + 0.3;
      });
      const jacobian = [2, 3, 4, 5].flatMap((k) =>
        names.map((_, j) => {
          const slope = parameters[k * 14 + j] as number;
          if (k % 2 === 1) return slope;
          return pull * slope + (j === 0 ? (solution.y[k] as number) : 0);
        }),
      );
      return { residuals: predictions.map((value, i) => value - (y[i] as number)), jacobian };
    };
    const general = steps((onIteration) => {
      leastSquares({ residuals, parameters, maxIterations: 3, onIteration });
    });
    expect(own.length).toBeGreaterThanOrEqual(14);
    expect(own).toEqual(general.map((value) => expect.closeTo(value, 8)));
    expect(Math.max(...own.slice(0, 14).map((value, i) => Math.abs(value - (start[i] as number))))).toBeGreaterThan(
      1e-3,
    );
  });

  test("of curves are those of the sensitivities", () => {
    const field = equations("y' = -rate * y", { parameters: { rate: 0.4 }, dtype: "float64" });
    const y = [9, 6.1, 4.3, 2.6];
    const fit = leastSquares({ field, data: { times: [0.5, 1, 2, 3], y, y0: [10], t0: 0 }, ...TIGHT });
    const [curve] = fit.curves({ points: 7 });
    const { parameters, solution } = sensitivities(field, Float64Array.of(10), curve?.times as Float64Array, TIGHT);
    const standardError = fit.parameters.rate?.standardError as number;
    for (const [i, value] of (curve?.y ?? []).entries()) {
      expectClose(value, solution.y[i] as number, 1e-8);
      const expected = Math.abs((parameters[i] as number) * standardError);
      expect(Math.abs((curve?.standardErrors[i] as number) - expected)).toBeLessThan(1e-8);
    }
  });
});

describe("jumps and events", () => {
  test("repeated doses, as the closed form is fitted", () => {
    // One compartment: each dose decays by itself.
    const doses = [
      { times: [0, 4, 8], amounts: [10, 5, 7] },
      { times: [1, 6], amounts: [8, 9] },
    ];
    const visits = [
      [0.5, 3, 5, 7.5, 9, 12],
      [2, 4.5, 5.5, 7, 10],
    ];
    const level = (i: number, t: number, ke: number, v: number) => {
      const { times, amounts } = doses[i] as (typeof doses)[number];
      return times.reduce(
        (sum, at, k) => sum + (t < at ? 0 : ((amounts[k] as number) / v) * Math.exp(-ke * (t - at))),
        0,
      );
    };
    const noise = (i: number, t: number) => 0.05 * Math.sin(17 * t + 5 * i);
    const y = visits.map((times, i) => times.map((t) => level(i, t, 0.3, 2.5) + noise(i, t)));
    const field = equations("drug' = -ke * drug", { parameters: { ke: 0.2, v: 2 }, dtype: "float64" });
    const fit = leastSquares({
      field,
      data: visits.map((times, i) => ({ times, y: y[i] as number[], y0: [0], t0: 0 })),
      observe: "drug / v",
      jumps: [
        {
          times: doses.map(({ times }) => times),
          set: "drug = drug + dose",
          amounts: { dose: doses.map(({ amounts }) => amounts) },
        },
      ],
      ...TIGHT,
    });
    const closed = leastSquares({
      residuals: ({ ke, v }) =>
        visits.flatMap((times, i) => times.map((t, k) => level(i, t, ke, v) - (y[i]?.[k] as number))),
      parameters: { ke: 0.2, v: 2 },
    });
    for (const name of ["ke", "v"] as const) {
      expectClose(fit.parameters[name].value, closed.parameters[name].value, 1e-6, name);
      expectClose(fit.parameters[name].standardError, closed.parameters[name].standardError, 1e-5, name);
    }
    field.dispose();
  });

  test("how much a ball keeps of its speed", () => {
    const field = equations("h' = v\nv' = -g", { parameters: { g: 9.81, e: 0.7 }, dtype: "float64" });
    const bounce = { when: "h", direction: "falling", set: "v = -e * v" } as const;
    const times = Array.from({ length: 40 }, (_, k) => 0.05 * (k + 1));
    const truth = equations("h' = v\nv' = -g", { parameters: { g: 9.81, e: 0.8 }, dtype: "float64" });
    const { y } = odeint(truth, Float64Array.of(1, 0), [0, ...times], { events: [bounce], rtol: 1e-10 });
    const heights = times.map((_, k) => y[2 * (k + 1)] as number);
    const data = { times, y: heights, y0: { h: 1, v: 0 }, t0: 0 };
    const fit = leastSquares({
      field,
      data,
      observe: "h",
      events: [bounce],
      parameters: { g: { start: 9.81, fixed: true }, e: 0.7 },
    });
    expectClose(fit.parameters.e?.value, 0.8, 1e-7, "e");
    field.dispose();
    truth.dispose();
  });
});

test("a standard deviation that vanishes is told by what it means", () => {
  const times = Array.from({ length: 10 }, (_, i) => i + 1);
  const exact = times.map((t) => 10 * Math.exp(-0.3 * t));
  const warnings = (y: number[], error: "combined" | "proportional") =>
    leastSquares({
      field: equations("y' = -rate * y", { parameters: { rate: 0.5 } }),
      data: { times, y, y0: [10], t0: 0 },
      error,
    }).warnings;
  const wave = times.map((t) => Math.sin(37 * (t - 1)));
  expect(
    warnings(
      exact.map((value, i) => value + 0.3 * (wave[i] as number)),
      "combined",
    ),
  ).toEqual([
    'error.b vanishes: the measurements show no errors that grow with the prediction. Fit with error: "additive".',
  ]);
  expect(
    warnings(
      exact.map((value, i) => value * (1 + 0.1 * (wave[i] as number))),
      "combined",
    ),
  ).toEqual([
    expect.stringMatching(/^error\.a vanishes: .* Fit with error: "proportional", if predictions are positive\.$/),
  ]);
  const none = "the predictions match the measurements to rounding, and the likelihood has no maximum.";
  expect(warnings(exact, "combined")[0]).toContain(`error.a and error.b vanish: ${none}`);
  expect(warnings(exact, "proportional")[0]).toContain(`error.b vanishes: ${none}`);
});

test("a solve that fails at the start has its code", () => {
  const field = equations("y' = -rate * y", { parameters: { rate: 0.5 } });
  const data = { times: [1, 2], y: [1, 2], y0: [10], t0: 0 };
  const error = thrown("MAX_STEPS", () => leastSquares({ field, data, maxSteps: 2 }));
  expect(error.message).toContain("from the starting values rate = 0.5: maxSteps was reached");
  field.dispose();
});

test("text may stand beside a vector argument, which it cannot name", () => {
  const field = vectorField({
    state: ["x"],
    parameters: { rate: 0.5 },
    arguments: { forcing: 2 },
    slope: ({ states, parameters: { rate }, arguments: { forcing } }) => [
      rate.mul(states.x).neg().add(forcing.at(0)).sub(forcing.at(1)),
    ],
    dtype: "float64",
  });
  const forcing = [0.3, 0.1];
  const times = [0, 1, 2, 4];
  const { y } = odeint(field, Float64Array.of(3), times, { arguments: { forcing }, rtol: 1e-12, atol: 1e-12 });
  field.parameters = Float64Array.of(0.2);
  const data = { times, y: y.map((x) => 2 * x + 1), y0: [3], arguments: { forcing } };
  const fit = leastSquares({ field, data, observe: "double = 2 * x + 1" });
  expect(fit.parameters.rate?.value).toBeCloseTo(0.5, 8);
  const named = () => leastSquares({ field, data, observe: "x + forcing" });
  expect(named).toThrow(/forcing/);
});

test("what is observed may be a network of the field", () => {
  using field = vectorField({
    state: 1,
    parameters: { rate: 1, out: nn.sequential(nn.linear(1, 1)) },
    slope: ({ state, parameters: { rate } }) => state.mul(rate).neg(),
  });
  field.parameters = { out: { 0: { weight: [2], bias: [1] } } };
  const times = [0.5, 1, 2, 3];
  const fit = leastSquares({
    field,
    data: { t0: 0, times, y: times.map((t) => 2 * Math.exp(-0.7 * t) + 1), y0: [1] },
    observe: ({ state, parameters: { out } }) => ({ seen: out(state) }),
    parameters: { "out.0.weight[0]": { fixed: true }, "out.0.bias[0]": { fixed: true } },
  });
  expect(fit.freeNames).toEqual(["rate"]);
  expectClose(fit.parameters.rate?.value, 0.7, 1e-6);
});

test("a network, a layer of it or an array is named as a whole", () => {
  using field = vectorField({
    state: 1,
    parameters: { rate: 1, nets: nn.sequential(nn.linear(1, 30), nn.tanh, nn.linear(30, 1)) },
    slope: ({ state, parameters: { rate, nets } }) => state.mul(rate).neg().add(nets(state).mul(0.01)),
    seed: 1,
  });
  const times = [0.5, 1, 2, 3];
  const data = { t0: 0, times, y: times.map((t) => Math.exp(-0.7 * t)), y0: [1] };
  const fitted = (parameters: Record<string, object>) =>
    leastSquares({ field, data, parameters, maxIterations: 1 }).parameters;
  const estimated = (parameters: Record<string, object>) =>
    Object.values(fitted(parameters))
      .filter(({ fixed }) => !fixed)
      .map(({ name }) => name);
  expect(estimated({ nets: { fixed: true } })).toEqual(["rate"]);
  // What is named more closely goes first.
  const two = { nets: { fixed: true }, "nets.2.bias": { fixed: false }, "nets.0.weight[3]": { lower: -10 } };
  expect(estimated(two)).toEqual(["rate", "nets.0.weight[3]", "nets.2.bias[0]"]);
  expect(estimated({ "nets.0": { fixed: true }, "nets.2.weight": { fixed: true } })).toEqual([
    "rate",
    "nets.2.bias[0]",
  ]);
  expect(thrown("OPTION", () => fitted({ net: { fixed: true } })).message).toBe(
    "parameters.net: there is no parameter of that name; did you mean nets? The names are rate, nets.0.weight, nets.0.bias, nets.2.weight, nets.2.bias",
  );
  // However many there are, messages are short.
  const many = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`k${i}`, 1]));
  using wide = equations(`x' = -x * (${Object.keys(many).join(" + ")})`, { parameters: many, dtype: "float64" });
  const given = { field: wide, data: { times: [0, 1, 2], y: [1, 0.5, 0.2], y0: [1] } };
  const error = thrown("OPTION", () => leastSquares({ ...given, parameters: { rate: 1 } }));
  expect(error.message).toMatch(/The names are k0, .*, k19 and 30 more$|names are k0, .*, k19 and 30 more$/);
  expect(error.expected).toMatch(/, k19 and 30 more$/);
  const fit = leastSquares({ ...given, parameters: { k0: { fixed: true } }, maxIterations: 1 });
  expect(thrown("OPTION", () => fit.profile("k0")).message.length).toBeLessThan(300);
});

test("what measurements are called elsewhere is understood", () => {
  using field = equations("x' = -k * x", { parameters: { k: 1 }, dtype: "float64" });
  const hint = (data: object) => thrown("OPTION", () => leastSquares({ field, data: [data] as never })).message;
  expect(hint({ times: [1], values: [1], y0: [1] })).toMatch(/^data\[0\]\.values: .*did you mean y\?/);
  expect(hint({ times: [1], y: [1], y0: [1], mask: [1] })).toMatch(/^data\[0\]\.mask: .*did you mean weights\?/);
  expect(hint({ times: [1], y: [1], y0: [1], weight: [1] })).toMatch(/^data\[0\]\.weight: .*did you mean weights\?/);
});

describe("whatever the scale of the data", () => {
  const decay = () => equations("y' = -k * y", { parameters: { k: 0.4 }, dtype: "float64" });
  const times = [1, 2, 3, 4, 5, 6, 7, 8];
  const y = [7.6, 5.3, 4.2, 2.9, 2.3, 1.6, 1.3, 0.87];

  test.each([1e-14, 1e-6, 1e8])("weights of %s count as those of 1 for error models", (weight) => {
    for (const error of ["proportional", "combined"] as const) {
      const fitOf = (weights: number[]) =>
        leastSquares({ field: decay(), data: { t0: 0, times, y, y0: [10], weights }, error });
      const [plain, weighed] = [fitOf(times.map(() => 1)), fitOf(times.map(() => weight))];
      expectClose(weighed.parameters.k?.value, plain.parameters.k?.value as number, 1e-6, error);
      expectClose(weighed.parameters.k?.standardError, plain.parameters.k?.standardError as number, 1e-4, error);
      expect(weighed.warnings).toEqual(plain.warnings);
    }
  });

  test("combined errors of counts over eight orders of magnitude are found", () => {
    const normal = normals(7);
    const many = Array.from({ length: 60 }, (_, i) => 0.35 * (i + 1));
    const counts = many.map((t) => {
      const f = 1e8 * Math.exp(-t);
      return f + Math.hypot(2, 0.1 * f) * normal();
    });
    const fit = leastSquares({ field: decay(), data: { t0: 0, times: many, y: counts, y0: [1e8] }, error: "combined" });
    const [a, b] = [estimateOf(fit, "error.a"), estimateOf(fit, "error.b")];
    expect(Math.abs((a?.value as number) - 2)).toBeLessThan(4 * (a?.standardError as number));
    expect(Math.abs((b?.value as number) - 0.1)).toBeLessThan(4 * (b?.standardError as number));
    expect(a?.standardError).toBeLessThan(1);
    expect(fit.warnings).toEqual([]);
  });

  test("a deviation that vanishes is at its bound, from wherever the fit comes", () => {
    const normal = normals(5);
    for (let k = 0; k < 25; k++) {
      const noisy = times.map((t) => 10 * Math.exp(-0.3 * t) + 0.3 * normal());
      const fit = leastSquares({ field: decay(), data: { t0: 0, times, y: noisy, y0: [10] }, error: "combined" });
      const b = estimateOf(fit, "error.b");
      if ((b?.value as number) < 1e-3) expect(b?.atBound).toBe("lower");
      expect(fit.converged).toBe(true);
    }
  });

  test("a parameter called as what every object has is none of an error model", () => {
    const field = equations("y' = -constructor * y", { parameters: { constructor: 0.4 }, dtype: "float64" });
    const parameters = { constructor: { lower: 0.1, upper: 1 } };
    const fit = leastSquares({ field, data: { t0: 0, times, y, y0: [10] }, parameters, error: "proportional" });
    expect(fit.values[0]).toBeCloseTo(0.3, 2);
    expect(fit.warnings).toEqual([]);
  });

  test.each([1e-9, 1e-12, 1e-15])("states of %s are solved as those of 1", (size) => {
    const rateOf = (size: number) => {
      const field = equations("a' = -rate * a\nb' = rate * a - 0.1 * b", {
        parameters: { rate: 0.3 },
        dtype: "float64",
      });
      const late = [5, 10, 15, 20, 25, 30, 35, 40];
      const b = late.map((t, i) => {
        return size * 12.5 * (Math.exp(-0.1 * t) - Math.exp(-0.5 * t)) * (1 + 0.001 * Math.sin(3 * i * i));
      });
      return leastSquares({ field, data: { t0: 0, times: late, y: b, y0: [10 * size, 0] }, observe: ["b"] }).parameters
        .rate;
    };
    expectClose(rateOf(size).value, rateOf(1).value, 1e-8);
    expectClose(rateOf(size).standardError, rateOf(1).standardError, 1e-6);
  });

  test.each([2.46e6, 1.7e9])("times from %s on, such as dates, fit as those from 0 on", (date) => {
    const fitFrom = (from: number, tau: number) => {
      const field = equations("y' = rate / (1 + exp(-(t - onset) / tau))", {
        parameters: { rate: 2.5, onset: from + 0.4 * tau, tau },
        dtype: "float64",
      });
      const ramp = (t: number) => 3 * tau * Math.log1p(Math.exp((t - from) / tau));
      const t0 = from - 8 * tau;
      const late = Array.from({ length: 12 }, (_, i) => t0 + 2 * tau * (i + 0.5));
      const measured = late.map((t, i) => ramp(t) + 0.02 * tau * Math.sin(i * i));
      const data = { t0, times: late, y: measured, y0: [ramp(t0)] };
      return leastSquares({ field, data, parameters: { tau: { fixed: true } } });
    };
    const [far, near] = [fitFrom(date, 10), fitFrom(0, 10)];
    expect(far.reason).toBe(near.reason);
    expectClose(far.parameters.rate?.standardError, near.parameters.rate?.standardError as number, 1e-3);
    expectClose(far.parameters.onset?.standardError, near.parameters.onset?.standardError as number, 1e-3);
  });
});

test("a first measurement that is y0 itself is told of, unless the state is estimated", () => {
  const field = equations("y' = -k * y", { parameters: { k: 0.4 }, dtype: "float64" });
  const fitOf = (y: number[], more = {}) =>
    leastSquares({ field, data: { times: [0, 1, 2, 3], y, y0: [1] }, updateField: false, ...more });
  expect(fitOf([1, 0.62, 0.36, 0.24]).warnings).toEqual([
    expect.stringMatching(/^A measurement at the first time is y0 itself, and counts as if it had no error/),
  ]);
  expect(fitOf([Number.NaN, 0.62, 0.36, 0.24]).warnings).toEqual([]);
  expect(fitOf([1, 0.62, 0.36, 0.24], { initial: { y: true } }).warnings).toEqual([]);
});

test("a field in float32 may start on its bounds", () => {
  const field = equations("y' = -k * y", { parameters: { k: 0.1 } });
  const data = { t0: 0, times: [1, 2, 3], y: [0.95, 0.88, 0.85], y0: [1] };
  const { k } = leastSquares({ field, data, parameters: { k: { upper: 0.1 } } }).parameters;
  expect([k?.start, (k?.value as number) < 0.1]).toEqual([0.1, true]);
});

test("where trajectories are separated in the middle of a fit, the estimates keep their derivatives", () => {
  // A start whose second trajectory blows up before the last time of the first.
  const field = equations("y' = k * y^2", { parameters: { k: 0.15 }, dtype: "float64" });
  const data = [
    { t0: 0, times: [0.5, 1, 2], y0: [1.2], y: [1.36, 1.58, 2.31] },
    { t0: 0, times: [1, 2, 3], y0: [1], y: [1.25, 1.66, 2.5] },
  ];
  const parameters = { k: { start: 0.15, lower: 0.05, upper: 50 } };
  const [once, twice] = [1, 2].map((starts) => leastSquares({ field, data, parameters, starts, updateField: false }));
  expect(twice?.starts.map(({ reason }) => reason)).toContain("failed");
  expect([twice?.converged, twice?.method]).toEqual([true, once?.method]);
  expectClose(twice?.parameters.k?.value, once?.parameters.k?.value as number, 1e-8);
  expectClose(twice?.parameters.k?.standardError, once?.parameters.k?.standardError as number, 1e-6);
});

test("a result can be posted from a worker, and y0 may be left out where all of it is estimated", () => {
  using field = equations("x' = -k * x", { parameters: { k: 0.5 }, dtype: "float64" });
  const times = [0, 1, 2, 3, 4];
  const y = times.map((t, i) => 3 * Math.exp(-0.8 * t) + 0.01 * (-1) ** i);
  const found = leastSquares({ field, data: { times, y }, initial: { x: 2 } });
  const given = leastSquares({ field, data: { times, y, y0: [2] }, initial: { x: true }, parameters: { k: 0.5 } });
  expect(found.values).toEqual(given.values);
  const posted = structuredClone(found);
  expect(posted.parameters).toEqual(found.parameters);
  expect(posted.measurements).toEqual(found.measurements);
  expect(found.profile("k").name).toBe("k");
  const plain = leastSquares({ residuals: ({ a }) => [a - 1, a - 2, a - 3], parameters: { a: 0 } });
  expect(structuredClone(plain).values).toEqual(plain.values);
  expect(thrown("NON_FINITE", () => leastSquares({ field, data: { times, y } })).message).toMatch(
    /^data\.y0: expected a number for x of trajectory 1, or x among the options of initial/,
  );
});
