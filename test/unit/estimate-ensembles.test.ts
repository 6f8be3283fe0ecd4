// Fits of trajectories that are solved by themselves: with jumps, events or steps of their own.
import { equations, leastSquares, nn, odeint, vectorField } from "symplectic-adjoint";
import { expect, test } from "vitest";
import { normals } from "../../ts/trace/random.js";

/** Patients with doses of their own, times of their own, and a value that is missing. */
const patients = [
  { k: 0.5, w: 1.2, times: [0.5, 1, 2, 3.5, 5], doses: [0, 2.5], amounts: [2, 1] },
  { k: 0.8, w: 0.7, times: [1, 2, 4], doses: [0.25], amounts: [3] },
  { k: 0.3, w: 1, times: [0, 1, 3, 3, 6, 8], doses: [0, 1, 4], amounts: [1, 0.5, 2] },
];
const concentration = (i: number, t: number, at: { k: number; F: number; V: number; x: number }) => {
  const { doses, amounts, w } = patients[i] as (typeof patients)[number];
  const decay = (from: number) => Math.exp(-at.k * (t - from));
  const dosed = doses.reduce((sum, from, j) => sum + (from <= t ? at.F * (amounts[j] as number) * decay(from) : 0), 0);
  return ((at.x * decay(0) + dosed) / at.V) * w + 0.1 * at.V;
};
const scatter = normals(3);
const data = patients.map(({ k, w, times }, i) => ({
  t0: 0,
  times,
  y: times.map((t, j) => {
    const y = concentration(i, t, { k, F: 0.6, V: 2, x: 0.4 }) + 0.02 * scatter();
    return i === 1 && j === 1 ? Number.NaN : y;
  }),
  y0: [0.4],
  arguments: { k: 0.5, w },
}));

test.each([
  ["as one ensemble", {}],
  ["with a norm", { norm: "max" as const }],
])("estimates and errors with doses are those of the closed form, %s", (_, more) => {
  const field = equations("x' = -k * x", { parameters: { F: 0.5, V: 1.5 }, arguments: ["k", "w"], dtype: "float64" });
  const fit = leastSquares({
    field,
    data,
    observe: "x / V * w + V / 10",
    individual: { k: { transform: "log" } },
    initial: { x: { shared: true } },
    parameters: { F: { lower: 0 } },
    jumps: [
      {
        times: patients.map(({ doses }) => doses),
        amounts: { dose: patients.map(({ amounts }) => amounts) },
        set: "x = x + F * dose",
      },
    ],
    ...more,
  });
  const closed = leastSquares({
    parameters: {
      ...{ F: 0.5, V: 1.5, x: 0.4 },
      ...{ k1: { start: 0.5, transform: "log" }, k2: { start: 0.5, transform: "log" } },
      k3: { start: 0.5, transform: "log" },
    },
    residuals: ({ F, V, x, ...k }: Readonly<Record<"F" | "V" | "x" | "k1" | "k2" | "k3", number>>) =>
      data.flatMap(({ times, y }, i) =>
        times.flatMap((t, j) => {
          const datum = y[j] as number;
          const own = { k: k[`k${i + 1}` as "k1"], F, V, x };
          return Number.isNaN(datum) ? [] : [concentration(i, t, own) - datum];
        }),
      ),
  });
  expect(fit.converged).toBe(true);
  expect(Object.keys(fit.parameters)).toEqual(["F", "V", "x(0)", "k[1]", "k[2]", "k[3]"]);
  const [own, expected] = [fit, closed].map(({ parameters }) => Object.values(parameters));
  for (const [i, { value, standardError }] of (expected ?? []).entries()) {
    expect((own?.[i]?.value as number) / value).toBeCloseTo(1, 6);
    expect((own?.[i]?.standardError as number) / standardError).toBeCloseTo(1, 4);
  }
  const [curve] = fit.curves({ points: 3 });
  expect(curve?.standardErrors.every((error) => error > 0 && error < 0.1)).toBe(true);
  field.dispose();
});

test("an event that a parameter changes: a ball that bounces", () => {
  const ball = (bounce: number, g: number) =>
    equations("h' = v\nv' = -g", { parameters: { bounce, g }, dtype: "float64" });
  const events = [{ when: "h", direction: "falling" as const, set: "h = 0\nv = -bounce * v" }];
  const truth = ball(0.8, 9.81);
  const times = [0.1, 0.3, 0.6, 0.8, 1];
  const heights = [1, 1.5];
  const solved = odeint(truth, Float64Array.of(1, 0, 1.5, 0), [0, ...times], { events, rtol: 1e-10, atol: 1e-12 });
  const measured = heights.map((h, i) => ({
    t0: 0,
    times,
    y: times.map((_, j) => solved.y[4 * (j + 1) + 2 * i] as number),
    y0: [h, 0],
  }));
  const field = ball(0.7, 9.5);
  const fit = leastSquares({ field, data: measured, observe: "h", events });
  expect(fit.parameters.bounce?.value).toBeCloseTo(0.8, 8);
  expect(fit.parameters.g?.value).toBeCloseTo(9.81, 7);
  truth.dispose();
  field.dispose();
});

test("an event beside a measurement is no sign of stiffness", () => {
  const events = [{ when: "h", direction: "falling" as const, set: "h = 0\nv = -0.8 * v" }];
  const field = equations("h' = v\nv' = -g", { parameters: { g: 9.81 }, dtype: "float64" });
  // The speed, a few microseconds behind the landing: a part of 1e-4 of g moves that over the measurement.
  const times = [0.2, Math.sqrt(2 / 9.81) + 6e-6, 0.6];
  const { y } = odeint(field, Float64Array.of(1, 0), [0, ...times], { events, rtol: 1e-10, atol: 1e-12 });
  const speeds = times.map((_, j) => y[2 * (j + 1) + 1] as number);
  field.parameters = Float64Array.of(9.81 * (1 + 1e-6));
  const fit = leastSquares({ field, data: { t0: 0, times, y: speeds, y0: [1, 0] }, observe: "v", events });
  expect(fit).toMatchObject({ converged: true, warnings: [] });
  expect(fit.parameters.g?.value).toBeCloseTo(9.81, 8);
  field.dispose();
});

test("a network with jumps, whose parameters all trajectories share", () => {
  const make = () =>
    vectorField({
      state: ["x"],
      dtype: "float64",
      seed: 1,
      parameters: { net: nn.sequential(nn.linear(1, 3), nn.tanh, nn.linear(3, 1)) },
      slope: ({ state: [x], parameters: { net } }) => [net(x).sub(x)],
    });
  const jumps = [{ times: [[1], [0.5]], set: "x = x + 1" }];
  const [truth, field] = [make(), make()];
  const times = [0.5, 1.5, 2];
  truth.parameters = truth.parameters.map((value) => 0.8 * value);
  const { y } = odeint(truth, Float64Array.of(1, 0.5), [0, ...times], { jumps, rtol: 1e-10, atol: 1e-12 });
  const measured = [0, 1].map((i) => ({
    t0: 0,
    times,
    y: times.map((_, j) => y[2 * (j + 1) + i] as number),
    y0: [i ? 0.5 : 1],
  }));
  const fit = leastSquares({ field, data: measured, jumps, maxIterations: 50 });
  expect(fit.cost).toBeLessThan(1e-12);
  truth.dispose();
  field.dispose();
});
