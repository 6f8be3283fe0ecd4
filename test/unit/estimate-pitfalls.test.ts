// What has gone wrong in fits, or easily could: stiff equations, neighbours that blow up, names that are taken, numbers near 0.
import { equations, leastSquares, memoryUsage, nn, odeint, vectorField } from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { normals } from "../../ts/trace/random.js";
import { collectGarbage, thrown } from "./helpers.js";

const decay = () => equations("y' = -k * y", { parameters: { k: 1 }, dtype: "float64" });
const data = { t0: 0, times: [1, 2, 3], y: [0.5, 0.2, 0.1], y0: [1] };

test("stiff equations: where the derivatives of the solution are useless, another method is taken, or a warning given", () => {
  const robertson = (k1: number) =>
    equations(
      `a' = -k1 * a + 1e4 * b * c
       b' = k1 * a - 1e4 * b * c - 3e7 * b^2
       c' = 3e7 * b^2`,
      { parameters: { k1 }, dtype: "float64" },
    );
  const times = [0.3, 1, 3, 8, 20];
  const truth = robertson(0.04);
  const { y } = odeint(truth, Float64Array.of(1, 0, 0), [0, ...times], { rtol: 1e-9, atol: 1e-12 });
  const a = times.map((_, i) => y[3 * (i + 1)] as number);
  const field = robertson(0.05);
  const given = { field, data: { t0: 0, times, y: a, y0: [1, 0, 0] }, observe: "a" };
  const fit = leastSquares(given);
  expect(fit.parameters.k1?.value).toBeCloseTo(0.04, 6);
  expect(fit.warnings.join()).not.toContain("stiff");
  expect(fit).toMatchObject({ method: "dopri5", converged: true });
  field.parameters = Float64Array.of(0.05);
  const useless = leastSquares({ ...given, method: "dopri8" });
  expect(useless).toMatchObject({ method: "dopri8", converged: false, reason: "derivatives" });
  expect(useless.warnings).toEqual([expect.stringMatching(/^Not converged: .*stiff for dopri8/)]);
  truth.dispose();
  field.dispose();
});

test("stiff equations: where a fit gets stuck beside the errors of predictions, it has converged, or another method is taken", () => {
  const robertson = (rates: { k1: number; k2: number; k3: number }) =>
    equations(
      `a' = -k1 * a + k3 * b * c
       b' = k1 * a - k2 * b^2 - k3 * b * c
       c' = k2 * b^2`,
      { parameters: rates, dtype: "float64" },
    );
  const times = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3];
  const truth = robertson({ k1: 0.04, k2: 3e7, k3: 1e4 });
  const solution = odeint(truth, Float64Array.of(1, 0, 0), [0, ...times], { rtol: 1e-10, atol: 1e-14 });
  const exact = Array.from(solution.y.subarray(3));
  const noise = normals(1);
  const noisy = exact.map((value) => value * Math.exp(0.02 * noise()));
  const fit = (y: number[], by: { method?: "dopri5" | "dopri8"; output?: "land" | "interpolate" } = {}) => {
    const field = robertson({ k1: 0.042, k2: 3.15e7, k3: 9500 });
    const parameters = { k1: { transform: "log" }, k2: { transform: "log" }, k3: { transform: "log" } } as const;
    const result = leastSquares({
      field,
      data: { t0: 0, times, y, y0: [1, 0, 0] },
      error: "lognormal",
      parameters,
      ...by,
    });
    field.dispose();
    return result;
  };
  // b is about 4e-5, which atol tells to a few parts in 1e8.
  const found = fit(exact);
  expect(found.converged).toBe(true);
  expect(found.parameters.k1?.value).toBeCloseTo(0.04, 6);
  expect(fit(noisy)).toMatchObject({ method: "dopri5", converged: true });
  // What was asked for is not changed.
  const stuck = fit(noisy, { method: "dopri8" });
  expect(stuck).toMatchObject({ method: "dopri8", converged: false });
  expect(stuck.message).toMatch(/stiff for dopri8/);
  expect(stuck.message).not.toContain("If you supply a Jacobian");
  truth.dispose();
});

test("where equations switch by a comparison, a fit that suffers from it says so, and one by an event does not", () => {
  // x' = −k1 x above a threshold, −k2 x below it.
  const times = [0.5, 1, 1.5, 2, 3, 4, 5, 6];
  const switching = Math.log(10 / 4);
  const y = times.map(
    (t, i) => (t < switching ? 10 * Math.exp(-t) : 4 * Math.exp(-0.3 * (t - switching))) + 0.01 * (-1) ** i,
  );
  const data = { t0: 0, times, y, y0: [10] };
  const rates = { k1: 0.9, k2: 0.35, threshold: 4.2 };
  const fixedSteps = { method: "rk4", stepSize: 0.01 } as const;
  const chosen = equations("x' = x > threshold ? -k1 * x : -k2 * x", { parameters: rates, dtype: "float64" });
  const blind = leastSquares({ field: chosen, data, observe: "x", ...fixedSteps });
  expect(blind.warnings.some((warning) => /choose by a comparison/.test(warning))).toBe(true);
  // Where nothing else depends on the time of a switch, its derivative is 0.
  const timed = equations("b = t < tau ? 0.5 : 0.1 \n x' = b * x * (1 - x)", {
    parameters: { tau: 12 },
    dtype: "float64",
  });
  const days = Array.from({ length: 20 }, (_, i) => i + 1);
  timed.parameters = { tau: 9.3 };
  const seenDaily = odeint(timed, Float64Array.of(0.01), [0, ...days], { maxStep: 0.1 }).y.slice(1);
  timed.parameters = { tau: 12 };
  const missed = leastSquares({ field: timed, data: { t0: 0, times: days, y: seenDaily, y0: [0.01] } });
  expect(missed.converged).toBe(false);
  expect(missed.message + missed.warnings.join()).toMatch(/Write the switch as an event/);
  expect(missed.message).not.toMatch(/probably stiff/);
  const event = equations("x' = -(k2 + (k1 - k2) * high) * x \n high' = 0", { parameters: rates, dtype: "float64" });
  const seen = leastSquares({
    field: event,
    data: { ...data, y0: [10, 1] },
    observe: "x",
    events: [{ when: "x - threshold", direction: "falling", set: "high = 0" }],
  });
  expect(seen.converged).toBe(true);
  expect(seen.warnings).toEqual([]);
  expect(seen.parameters.threshold?.value).toBeCloseTo(4, 1);
  chosen.dispose();
  event.dispose();
});

test("a trajectory that blows up after its last measurement does not end the fit of another", () => {
  const field = equations("y' = k * y^2", { parameters: { k: 0.99 }, dtype: "float64" });
  const short = { t0: 0, times: [0.2, 0.5, 0.9], y: [1.25, 2, 10], y0: [1] };
  const long = { t0: 0, times: [1, 2, 5], y: [1 / 9, 1 / 8, 1 / 5], y0: [0.1] };
  const fit = leastSquares({ field, data: [short, long] });
  expect(fit.parameters.k?.value).toBeCloseTo(1, 8);
  expect(fit.curves({ points: 2 }).map(({ times }) => times[1])).toEqual([0.9, 5]);
  field.dispose();
});

test("where a solution has no derivative, the advice is about its start", () => {
  const field = equations("y' = k * sqrt(y)", { parameters: { k: 1 }, dtype: "float64" });
  const times = [1, 2, 3];
  const own = thrown("NON_FINITE", () => leastSquares({ field, data: { t0: 0, times, y: [0.2, 1, 2.2], y0: [0] } }));
  expect(own.message).toMatch(
    /^parameters: from the starting values k = 1, the model is solved, .* sqrt\(y\) at y0 = 0/,
  );
  expect(own.message).toMatch(/Start y0 elsewhere/);
  field.dispose();
});

test("where an event passes a measurement, a fit says so, and does not blame stiffness", () => {
  const ball = equations("height' = velocity \n velocity' = -gravity", {
    parameters: { gravity: 9.81, bounce: 0.8 },
    dtype: "float64",
  });
  const times = Array.from({ length: 40 }, (_, i) => i / 20);
  const events = [{ when: "height", direction: "falling", set: "velocity = -bounce * velocity" }] as const;
  const normal = normals(1);
  const y = odeint(ball, Float64Array.of(1, 0), times, { events }).y.map((value) => value + 0.003 * normal());
  const heights = y.filter((_, i) => i % 2 === 0);
  const fitOf = (gravity: number, bounce: number, what: "height" | "both") =>
    leastSquares({
      field: ball,
      ...(what === "height"
        ? { data: { times, y: heights, y0: [1, 0] }, observe: "height" }
        : { data: { times, y, y0: [1, 0] } }),
      ...{ parameters: { gravity, bounce }, events, updateField: false },
    });
  // What is continuous is fitted from all of them, without a word.
  for (const [gravity, bounce] of [
    [9, 0.7],
    [9.5, 0.78],
  ] as const) {
    const good = fitOf(gravity, bounce, "height");
    expect(good.warnings).toEqual([]);
    expect(good.parameters.bounce?.value).toBeCloseTo(0.8, 2);
  }
  const stuck = fitOf(9, 0.7, "both");
  expect(stuck).toMatchObject({ converged: false, reason: "derivatives" });
  expect(stuck.message).toMatch(/Probably an event passes a measurement, .*continuous across the event/);
  expect(stuck.message).not.toMatch(/The equations are probably stiff/);
  // It ends at a jump, as if it were a minimum.
  const ended = fitOf(9.5, 0.78, "both");
  expect(ended.converged).toBe(true);
  expect(ended.warnings.at(-1)).toMatch(
    /^An event passes the measurement of velocity at t = 1\.7 if the estimates change by a standard error: the prediction jumps there, by about \d/,
  );
  // From the truth both are fitted, and no event is near.
  const right = fitOf(9.81, 0.8, "both");
  expect(right.warnings).toEqual([]);
  // The field keeps what it had.
  expect([...ball.parameters]).toEqual([9.81, 0.8]);
  leastSquares({ field: ball, data: { times, y: heights, y0: [1, 0] }, observe: "height", events });
  expect([...ball.parameters]).not.toEqual([9.81, 0.8]);
  ball.dispose();
});

test("a fit that is hardly better than a constant says so, and what to try; one that is good does not", () => {
  const field = equations("x' = a*x - b*x*y \n y' = -c*y + d*x*y", {
    parameters: { a: 1.5, b: 1, c: 3, d: 1 },
    dtype: "float64",
  });
  const times = Array.from({ length: 51 }, (_, i) => 0.2 * i);
  const normal = normals(1);
  const y = odeint(field, Float64Array.of(1, 1), times).y.map((value) => value + 0.1 * normal());
  const data = { times, y, y0: { x: 1, y: 1 } };
  const far = Float64Array.of(1.2, 0.8, 2.8, 0.8);
  const fitOf = (more: object) => {
    field.parameters = far;
    return leastSquares({ field, data, ...more });
  };
  const quality = (name: string) =>
    `The fit of ${name} is hardly better than its mean: its error is \\d\\.\\d+, that of the mean \\d\\.\\d+ \\(root mean squares\\)\\.`;
  const remedy = ' There may be a better minimum: try starts: 20 with bounds, transform: "log" for positive rates, or ';
  const poor = fitOf({});
  expect(poor.converged).toBe(true);
  expect(poor.warnings).toEqual([
    expect.stringMatching(new RegExp(`^${quality("x")}$`)),
    expect.stringMatching(new RegExp(`^${quality("y")}${remedy}`)),
  ]);
  // At a bound, it is not the bound that is to blame.
  const within = {
    a: { lower: 0, upper: 3 },
    b: { lower: 0, upper: 3 },
    c: { lower: 0, upper: 5 },
    d: { lower: 0, upper: 3 },
  };
  const bounded = fitOf({ parameters: within });
  expect(bounded.parameters.a).toMatchObject({ atBound: "upper" });
  expect(bounded.warnings.at(-1)).toMatch(
    /^a ended at its upper bound; .* try starts: 20 before you widen the bound\.$/,
  );
  // What it says helps.
  const logs = Object.fromEntries(["a", "b", "c", "d"].map((name) => [name, { transform: "log" }]));
  for (const good of [fitOf({ parameters: logs }), fitOf({ parameters: within, starts: 20 })]) {
    expect(good.warnings.filter((warning) => /better than|bound;/.test(warning))).toEqual([]);
    expect(good.standardDeviation).toBeLessThan(0.12);
  }
  field.dispose();
});

test("the quality of a fit is that on the scale of its errors: of logarithms, by weights, beside outliers", () => {
  const times = [1, 2, 3, 4, 5, 6];
  const good = times.map((t, i) => Math.exp(-0.5 * t) * (1 + 0.02 * (-1) ** i));
  const told = (y: readonly number[], more: object = {}, weights = y.map(() => 1)) => {
    const field = decay();
    const { warnings } = leastSquares({ field, data: { t0: 0, times, y, y0: [1], weights }, ...more });
    field.dispose();
    return warnings.filter((warning) => /better than/.test(warning));
  };
  expect(told(good, { error: "lognormal" })).toEqual([]);
  expect(told([3, 0.3, 3, 0.3, 3, 0.3], { error: "lognormal" })).toEqual([
    expect.stringMatching(/^The fit of y is hardly better than its mean/),
  ]);
  // One outlier is all of the squares, and nothing to a robust loss, or without weight.
  const slip = good.with(4, 40);
  expect(told(slip)).toHaveLength(1);
  expect(told(slip, { loss: "cauchy", lossScale: 0.01 })).toEqual([]);
  expect(told(slip, {}, [1, 1, 1, 1, 0, 1])).toEqual([]);
  // Constants that are met are no poor fit, and two measurements say nothing.
  const still = equations("y' = -k * (y - 1)", { parameters: { k: 1 }, dtype: "float64" });
  const level = { t0: 0, times, y: times.map(() => 1), y0: [1] };
  expect(leastSquares({ field: still, data: level }).warnings.join()).not.toMatch(/better than/);
  still.dispose();
});

test("starts that failed are told, with why, and of few others nothing is concluded", () => {
  const field = equations("y' = k * y^2", { parameters: { k: 0.1 }, dtype: "float64" });
  const times = [1, 2, 3, 4];
  const data = { t0: 0, times, y: times.map((t) => 1 / (1 - 0.12 * t)), y0: [1] };
  const fit = leastSquares({ field, data, starts: 6, parameters: { k: { start: 0.1, lower: 0, upper: 50 } } });
  const failed = fit.starts.filter(({ reason }) => reason === "failed");
  expect(failed.length).toBeGreaterThan(2);
  for (const { failure } of failed) expect(failure).toMatch(/step size fell below/);
  const text = `${failed.length} of 6 starts failed: ${failed[0]?.failure}. Set bounds`;
  expect(fit.warnings).toEqual([expect.stringContaining(text)]);
  field.dispose();
});

test("parameters that are confounded in several ways are named once", () => {
  const residuals = ({ a, b, c }: Readonly<Record<"a" | "b" | "c", number>>) =>
    [1, 2, 3, 4].map((t, i) => a * b * c * t - t + 0.1 * (-1) ** i);
  const fit = leastSquares({ residuals, parameters: { a: 1, b: 1.1, c: 0.9 } });
  expect(fit.warnings).toEqual([
    "The data cannot distinguish a, b and c: 2 combinations of them can change without changing the fit. Fix 2 of them, or measure something else that depends on them.",
  ]);
});

test("with more weights than measurements a fit ends where the residuals vanish", () => {
  const field = vectorField({
    state: ["x", "v"],
    dtype: "float64",
    seed: 1,
    parameters: { net: nn.sequential(nn.linear(2, 6), nn.tanh, nn.linear(6, 2)) },
    slope: ({ state, parameters: { net } }) => net(state),
  });
  const times = [0.4, 0.8, 1.2, 1.6, 2];
  const y = times.flatMap((t) => [Math.cos(t), -Math.sin(t)]);
  const fit = leastSquares({ field, data: { t0: 0, times, y, y0: [1, 0] } });
  expect(fit).toMatchObject({ reason: "residuals", converged: true });
  expect(fit.iterations).toBeLessThan(100);
  expect(fit.cost).toBeLessThan(0.5 * 5 * 1e-10 ** 2);
  field.dispose();
});

describe("differences in place of a Jacobian", () => {
  test("are of some size where an estimate is nearly 0", () => {
    const y = [-1.1, 1.1, -2.3, 2.3, 0.7, -0.7];
    const { a } = leastSquares({ parameters: { a: 1 }, residuals: ({ a }) => y.map((value) => a - value) }).parameters;
    expect(a.value).toBeCloseTo(0, 8);
    const variance = y.reduce((sum, value) => sum + value * value, 0) / 5;
    expect(a.standardError).toBeCloseTo(Math.sqrt(variance / 6), 6);
  });

  test("stay within bounds that are close together", () => {
    const { t } = leastSquares({
      parameters: { t: { start: 2459000, lower: 2458999, upper: 2459001 } },
      residuals: ({ t }) => [t - 2459000.2, t - 2459000.4],
    }).parameters;
    expect(t.value).toBeCloseTo(2459000.3, 6);
    expect(t.standardError).toBeCloseTo(0.1, 6);
  });
});

test("the errors of robust estimates take the curvature of the loss itself: Cauchy's, of many outliers", () => {
  const normal = normals(3);
  const scale = 0.6;
  const y = Float64Array.from({ length: 2000 }, (_, i) => normal() * (i % 10 < 3 ? 8 : 1));
  const fit = leastSquares({
    parameters: { a: 0.1 },
    residuals: ({ a }) => ({ residuals: y.map((value) => a - value), jacobian: new Float64Array(y.length).fill(1) }),
    loss: "cauchy",
    lossScale: scale,
  });
  let [curvature, scores] = [0, 0];
  for (const value of y) {
    const z = ((fit.parameters.a.value - value) / scale) ** 2;
    curvature += (1 - z) / (1 + z) ** 2;
    scores += ((fit.parameters.a.value - value) / (1 + z)) ** 2;
  }
  const expected = Math.sqrt((scores / curvature ** 2) * (y.length / (y.length - 1)));
  expect(fit.parameters.a.standardError / expected).toBeCloseTo(1, 6);
});

test("names that mean two things are refused, and those of built-in properties are names like others", () => {
  const field = decay();
  const named = { ...data, name: "a" };
  expect(thrown("OPTION", () => leastSquares({ field, data: [named, named] })).message).toMatch(
    /data\[1\]\.name: expected a name/,
  );
  const noisy = vectorField({
    state: 1,
    parameters: { error: { b: 0.5 } },
    slope: ({ state, parameters: { error } }) => [state.mul(error.b).neg()],
  });
  expect(thrown("OPTION", () => leastSquares({ field: noisy, data, error: "proportional" })).message).toMatch(
    /error\.b twice/,
  );
  const odd = vectorField({
    state: 1,
    parameters: { toString: 0.5 },
    slope: ({ state, parameters }) => [state.mul(parameters.toString).neg()],
  });
  const { values } = leastSquares({ field: odd, data });
  expect(values[0]).toBeCloseTo(0.748, 3);
  expect(thrown("OPTION", () => leastSquares({ field, data, individual: { toString: 1 } })).message).toMatch(
    /no argument/,
  );
  const polluting = vectorField({
    state: 1,
    parameters: JSON.parse('{ "__proto__": { "polluted": 1 } }'),
    slope: ({ state }) => [state.neg()],
  });
  leastSquares({ field: polluting, data, observe: ({ state }) => ({ y: state as never }) });
  expect("polluted" in {}).toBe(false);
  for (const one of [field, noisy, odd, polluting]) one.dispose();
});

test("weights count in the sum of squares whatever the loss and the error model", () => {
  const field = decay();
  const weighted = { ...data, weights: [4, 4, 4] };
  const [plain, huber] = [{}, { loss: "huber", lossScale: 100 } as const].map((options) =>
    leastSquares({ field, data: weighted, ...options }),
  );
  expect(huber?.residualSumOfSquares).toBeCloseTo(plain?.residualSumOfSquares as number, 10);
  const { measurements, residualSumOfSquares } = leastSquares({ field, data: weighted, error: "combined" });
  const squares = measurements.reduce((sum, { residual }) => sum + 4 * residual ** 2, 0);
  expect(residualSumOfSquares).toBeCloseTo(squares, 10);
  field.dispose();
});

test("curves within a profile, changed results, and no field left behind", async () => {
  await collectGarbage();
  const field = decay();
  const before = memoryUsage().liveBytes;
  let calls = 0;
  const fit = leastSquares({
    field,
    data,
    signal: {
      throwIfAborted() {
        if (calls++ === 20) fit.curves({ points: 3 });
      },
    },
  });
  const expected = fit.curves({ points: 3 });
  calls = 15;
  expect(fit.profile("k").interval.every(Number.isFinite)).toBe(true);
  expect(calls).toBeGreaterThan(21);
  fit.values.fill(99);
  fit.covariance.fill(0);
  expect(fit.curves({ points: 3 })).toEqual(expected);
  expect(thrown("OPTION", () => leastSquares({ field: equations("y' = -y"), data })).message).toMatch(
    /something to estimate/,
  );
  expect(memoryUsage().liveBytes - before).toBeLessThanOrEqual(64);
  field.dispose();
});

test("what people write who come from elsewhere", () => {
  const field = decay();
  const wrong = (given: object, message: RegExp) =>
    expect(thrown("OPTION", () => leastSquares({ field, data, ...given } as never)).message).toMatch(message);
  wrong({ p0: { k: 1 } }, /did you mean parameters\?/);
  wrong({ ftol: 1e-8 }, /did you mean costTolerance\?/);
  wrong({ sigma: [1, 1, 1] }, /weights of the measurements, 1 \/ sigma\^2, belong to data/);
  wrong({ individual: { k: 1 } }, /expected an argument: list k in the option arguments of the field/);
  expect(thrown("NON_FINITE", () => leastSquares({ field, data: { ...data, y0: undefined } })).message).toMatch(
    /^data\.y0: expected a number for y of trajectory 1, or y among the options of initial, given none, or NaN$/,
  );
  const rows = { ...data, y: [[0.5], [0.2], [0.1]] };
  expect(thrown("OPTION", () => leastSquares({ field, data: rows as never })).message).toMatch(/one flat array/);
  expect(leastSquares({ field, data, initial: { "y(0)": true } }).freeNames).toEqual(["k", "y(0)"]);
  field.dispose();
});

test("a profile ends though equations become stiff on its way, and where the closed form has it", () => {
  let calls = 0;
  const field = equations("gut' = -ka * gut\nblood' = ka * gut - ke * blood", {
    parameters: { ka: 1.3, ke: 0.27, V: 1.6 },
    dtype: "float64",
  });
  const fit = leastSquares({
    field,
    data: {
      times: [0.35, 1.25, 1.72, 2.41, 3.37, 4.02],
      y: [1.51, 4.07, 2.59, 2.24, 1.85, 2.21],
      y0: [8, 0],
      t0: 0,
    },
    observe: "blood / V",
    level: 0.9,
    signal: { throwIfAborted: () => void calls++ },
  });
  calls = 0;
  const { interval } = fit.profile("ka");
  expect(interval[0]).toBeCloseTo(-0.089506, 6);
  expect(interval[1]).toBeUndefined();
  expect(calls).toBeLessThan(5000);
  field.dispose();
});

test.each(["linear", "softL1"] as const)(
  "with %s loss, a curve has its errors though only a combination of its parameters is known",
  (loss) => {
    const field = equations("y' = -(k + c) * y\nz' = -c * z", { parameters: { k: 0.3, c: 0.2 }, dtype: "float64" });
    const curveOf = (c: object, observe: string | string[]) => {
      const measured = { times: [1, 2, 3, 4], y: [0.6, 0.35, 0.23, 0.13], y0: [1, 1], t0: 0 };
      const y = Array.isArray(observe) ? measured.y.flatMap((value) => [value, Number.NaN]) : measured.y;
      const given = { field, data: { ...measured, y }, observe, loss, lossScale: 0.01, updateField: false };
      return leastSquares({ ...given, parameters: { c } }).curves({ points: 5 })[0]?.standardErrors as Float64Array;
    };
    const [open, fixed] = [curveOf({}, "y"), curveOf({ fixed: true }, "y")];
    for (const [i, error] of fixed.entries()) expect(open[i]).toBeCloseTo(error, 8);
    // What was never measured and depends on one of them alone is not known, but for its start.
    const unknown = curveOf({}, ["y", "z"]).filter((_, i) => i % 2 === 1);
    expect([...unknown]).toEqual([0, ...new Array(4).fill(Number.POSITIVE_INFINITY)]);
    field.dispose();
  },
);

test("jumps and events that change after a fit change neither its curves nor its profiles", () => {
  const field = equations("x' = -k * x", { parameters: { k: 0.5 }, dtype: "float64" });
  const jumps = [{ times: [1], set: "x = x + dose", amounts: { dose: [1] } }];
  const times = [0.5, 1.5, 2, 3, 4];
  const at = (t: number) => Math.exp(-0.4 * t) + (t >= 1 ? Math.exp(-0.4 * (t - 1)) : 0) + 0.01 * Math.sin(9 * t);
  const fit = leastSquares({ field, data: { times, y: times.map(at), y0: [1], t0: 0 }, jumps });
  const { interval } = fit.profile("k");
  (jumps[0] as (typeof jumps)[0]).amounts.dose[0] = 5;
  (jumps[0] as (typeof jumps)[0]).times[0] = 2;
  expect(fit.curves({ points: 2 })[0]?.y[1]).toBeCloseTo(fit.measurements[4]?.prediction as number, 8);
  expect(fit.profile("k").interval).toEqual(interval);
});

test("a scale of a robust loss that hardly any residual lies within is warned of", () => {
  const normal = normals(3);
  const residuals = Array.from({ length: 41 }, () => 2000 * normal());
  const fit = (lossScale: number) =>
    leastSquares({
      residuals: ({ mean }) => Float64Array.from(residuals, (r) => r - mean),
      parameters: { mean: { start: 0 } },
      loss: "huber",
      lossScale,
    });
  expect(fit(1).warnings.join()).toContain("Hardly any residual lies within lossScale");
  expect(fit(2500).warnings.join()).not.toContain("lossScale");
});

test("a time of y0 that was forgotten is asked for", () => {
  const field = decay();
  const times = [1, 2, 3, 4];
  const y = times.map((t, i) => 2 * Math.exp(-0.5 * t) + 0.002 * (-1) ** i);
  const asked = (more: object, options: object = {}) => {
    field.parameters = Float64Array.of(1);
    const { warnings } = leastSquares({ field, data: { times, y, y0: [2], ...more }, ...options });
    return warnings.filter((warning) => /did you mean t0/i.test(warning));
  };
  expect(asked({})).toEqual([
    expect.stringMatching(/^The measurement of y at the first time, 1, depends on no .* from y0 by 0\.78/),
  ]);
  expect(asked({ t0: 0 })).toEqual([]);
  // Said on purpose, estimated, right, or only as wrong as the others.
  expect(asked({ t0: 1 })).toEqual([]);
  expect(asked({}, { initial: { y: true } })).toEqual([]);
  expect(asked({ y0: [y[0]] })).toEqual([]);
  expect(asked({ y0: [(y[0] as number) + 0.004] })).toEqual([]);
  field.dispose();
});

test("a time of a jump that is a formula is refused with what does instead", () => {
  const field = equations("x' = -k * x", { parameters: { k: 1, lag: 0.5 }, dtype: "float64" });
  const refused = (times: unknown) =>
    thrown("OPTION", () =>
      leastSquares({ field, data: { ...data, y0: [1] }, jumps: [{ times, set: "x = x + 1" }] as never }),
    ).message;
  for (const times of ["lag", ["0 + lag"], () => [0]])
    expect(refused(times)).toMatch(/^jumps\[0\]\.times: .* is an event: \{ when:/);
  expect(refused(5)).not.toMatch(/event/);
  field.dispose();
});
