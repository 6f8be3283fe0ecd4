// What the command line makes of a table: units, delayed values, clocks, dimensions that nobody sees.
import { adam, meanSquaredError, minibatches, odeint, valueAndGrad } from "symplectic-adjoint";
import { expect, test } from "vitest";
import { adviceOn, errorOfMean } from "../../ts/cli/advice.js";
import { completed, fieldOf, networkOf, settle, stateOf, trajectoryOf, withDelays } from "../../ts/cli/equation.js";
import type { Settings } from "../../ts/cli/model.js";
import { layoutOf } from "../../ts/cli/model.js";
import { equationsField, scaledField, scalesOf, textWithValues, usesTime, valuesOf } from "../../ts/cli/text-model.js";
import { fromUnits, type Units, type UnitsRequest, unitsOf } from "../../ts/cli/units.js";
import { numbers, relative } from "./helpers.js";

const settings: Settings = {
  ...{
    model: "mlp",
    equations: null,
    hidden: [5],
    activation: "tanh",
    solver: "dopri5",
    rtol: 1e-6,
    steps: 10,
    learningRate: 0.01,
  },
  ...{ weightDecay: 0, batch: 64, window: null, seed: 3, validation: 0.2, patience: 0 },
  ...{ delays: 0, lag: null, extra: 0, withTime: false, period: null },
  ...{ doses: null, mdv: null, initial: {}, infused: [] },
};

const request = (columns: Record<string, number[]>, more: Partial<UnitsRequest> = {}): UnitsRequest => {
  const [first = []] = Object.values(columns);
  const rows = first.map((_, i) => Object.values(columns).map((column) => column[i] as number));
  const series = [{ id: "", times: first.map((_, i) => i), rows }];
  return { state: Object.keys(columns), time: "time", series, log: [], paired: false, lag: 0, ...more };
};

test("rows with those before them, at the rows of a grid and between those of none", () => {
  const grid = { id: "", times: [0, 0.1, 0.2, 0.3, 0.4], rows: [[1], [2], [4], [Number.NaN], [16]] };
  expect(withDelays(grid, 2, 0.1)).toEqual({
    id: "",
    times: [0.2, 0.3, 0.4],
    rows: [
      [4, 2, 1],
      [Number.NaN, 4, 2],
      [16, Number.NaN, 4],
    ],
  });
  const rows = [0, 1, 3, 6, 10].map((time) => [2 * time, -time]);
  const uneven = withDelays({ id: "a", times: [0, 1, 3, 6, 10], rows }, 1, 2.5);
  expect(uneven.times).toEqual([3, 6, 10]);
  expect(uneven.rows).toEqual([
    [6, -3, 1, -0.5],
    [12, -6, 7, -3.5],
    [20, -10, 15, -7.5],
  ]);
  expect(withDelays(grid, 1, 0.5).rows).toEqual([]);
  expect(withDelays(grid, 0, 0)).toBe(grid);
});

test("units: mean 0 and deviation 1; a column that never changes keeps its own", () => {
  const { mean, scale, timeScale } = unitsOf(request({ x: [1, 3, 1, 3], y: [0.1, 0.1, 0.1, 0.1] }));
  expect([mean, scale, timeScale]).toEqual([[2, 0.1], [1, 1], 1]);
  const logs = unitsOf(request({ x: [1, Math.E ** 2] }, { log: ["x"] }));
  expect(fromUnits([1], logs)[0]).toBeCloseTo(Math.E ** 2, 12);
  for (const [column, message] of [
    [[1e300, 2e300], /column x cannot be scaled: its values, as large as 2e\+300, have squares beyond/],
    [[-1e200, 1e200], /column x cannot be scaled/],
    [[1e-300, 2e-300], /column x cannot be scaled: its values, from 1e-300 to 2e-300, differ by too little/],
    [[1e16, 1e16 + 2], /column x cannot be scaled: .* differ by too little/],
  ] as const) {
    expect(() => unitsOf(request({ y: [0, 1], x: [...column] }))).toThrow(message);
  }
  const late = request({ x: [1, 2] }, { time: "t" });
  const far = { ...late, series: [{ id: "", times: [0, 1e200], rows: [[1], [2]] }] };
  expect(() => unitsOf(far)).toThrow(/column t cannot be scaled/);
});

test("equations count time in a unit of their own", () => {
  const network = equationsField("x.txt", "param k = 0.3\nx' = -k * x + t / 9", "float64");
  const units = { ...unitsOf(request({ x: [1, 3, 2, 5] })), timeScale: 2, origin: 10, spread: 3 };
  const [hours, seconds] = [units, { ...units, timeScale: 7200, origin: 36_000, spread: 10_800, unit: 3600 }];
  const state = Float64Array.of(0.2, -0.7);
  const [own, other] = [hours, seconds].map((units) => scaledField(network, units).evaluate(0, state));
  expect(other).toEqual(own);
});

test("clocks go on exactly, the rest by the network, and the gradient is that of both", () => {
  const own = { ...settings, withTime: true, period: 3, extra: 1, delays: 1 };
  const rows = Array.from({ length: 12 }, (_, i) => [Math.sin(i), Math.sin(i - 1)]);
  const series = { id: "", times: rows.map((_, i) => 100 + i), rows };
  const units = { ...unitsOf({ ...request({ x: [] }), series: [series], lag: 1 }), timeScale: 2 };
  const description = { settings: own, units };
  const layout = layoutOf(own, 1);
  expect(layout).toEqual({ clocks: 3, observed: 2, extra: 1, size: 6 });
  const network = networkOf(own, 1, "float64");
  expect([network.stateSize, network.outputSize]).toEqual([6, 3]);
  const field = fieldOf(network, own, units);
  const y0 = Float64Array.from(stateOf([0.5, 0.25], 100, description));
  // 100, 103 and 106 in the table: the period is over, and over again.
  const { y } = odeint(field, y0, [0, 1.5, 3], { rtol: 1e-11, atol: 1e-11 });
  for (const [row, time] of [100, 103, 106].entries()) {
    const clocks = y.subarray(6 * row, 6 * row + 3);
    expect(clocks[0]).toBeCloseTo((time - units.origin) / units.spread, 6);
    expect(clocks[1]).toBeCloseTo(Math.cos((2 * Math.PI * 100) / 3), 6);
    expect(clocks[2]).toBeCloseTo(Math.sin((2 * Math.PI * 100) / 3), 6);
  }
  const slopes = field.evaluate(0, y0);
  expect(slopes.subarray(3)).toEqual(network.evaluate(0, y0));
  // Against differences, in two samples.
  const two = Float64Array.from([...y0, ...numbers("float64", 6)]);
  const target = numbers("float64", 36, 3);
  const loss = (y: Float64Array) => meanSquaredError(y, target);
  const solver = { method: "rk4", steps: 3 } as const;
  const { gradient } = valueAndGrad(field, two, [0, 0.5, 1], loss, solver);
  const at = (index: number, by: number) => {
    const moved = two.map((value, i) => (i === index ? value + by : value));
    return loss(odeint(field, moved, [0, 0.5, 1], solver).y).value;
  };
  for (let i = 0; i < two.length; i++) {
    expect(gradient.y0[i]).toBeCloseTo((at(i, 1e-6) - at(i, -1e-6)) / 2e-6, 7);
  }
  expect(gradient.parameters.length).toBe(network.parameters.length);
  expect(fieldOf(networkOf(settings, 2, "float32"), settings, units).dtype).toBe("float32");
});

test("only what is observed counts, and what nobody sees begins at zero", () => {
  const own = { ...settings, withTime: true, extra: 2 };
  const layout = layoutOf(own, 1);
  const rows = [[1], [Number.NaN], [3], [5]];
  const series = { id: "", times: [0, 1, 2, 3], rows };
  const units = { ...unitsOf({ ...request({ x: [] }), series: [series] }), mean: [0], scale: [1] };
  const [batch] = minibatches({
    trajectories: [trajectoryOf(series, { settings: own, units })],
    relative: true,
    dtype: "float64",
  }).epoch();
  if (!batch) throw new Error("a batch is expected");
  const { y0, target, mask } = completed(batch, layout);
  const clock = (time: number) => expect.closeTo((time - units.origin) / units.spread, 12);
  expect([...y0]).toEqual([clock(0), 1, 0, 0]);
  expect([...target]).toEqual([0, 1, 2, 3].flatMap((time, i) => [clock(time), [1, 0, 3, 5][i], 0, 0]));
  expect([...(mask as Uint8Array)]).toEqual([1, 0, 1, 1].flatMap((seen) => [0, seen, 0, 0]));
});

test("advice where a model is hardly better than the mean", () => {
  const target = Float32Array.of(0, 1, -1, 1, -1);
  const batch = { y0: Float32Array.of(0), times: [0, 1, 2, 3, 4], target };
  const mean = errorOfMean([batch], layoutOf(settings, 1));
  expect(mean).toEqual({ error: 1, share: 0.8 });
  if (!mean) throw new Error("a mean is expected");
  expect(adviceOn(0.39, mean, settings, 1)).toBeNull();
  expect(adviceOn(0.5, mean, settings, 1)).toMatch(
    /hardly better than the mean .*0\.625, that of the mean 1\.00\ndx\/dt/,
  );
  expect(adviceOn(0.9, mean, settings, 2)).toMatch(/no better than .*\nthe columns may not determine/);
  expect(adviceOn(Number.POSITIVE_INFINITY, mean, { ...settings, delays: 1 }, 1)).toMatch(/no better .*\nmore --steps/);
  expect(errorOfMean([{ ...batch, target: target.subarray(0, 3) }], layoutOf(settings, 1))).toBeUndefined();
});

test("equations in scaled units are the same equations", () => {
  const text = [
    "param k = 0.3 # of x",
    "param zero = 0",
    "param far=-70",
    "rate = k * sin(t) + x^2",
    "x' = rate - y * k  # a comment with x' = 1",
    "y' = (t < 2 ? y : -y) * far + zero + x_scaled",
    "x_scaled' = t",
  ].join("\n");
  const network = equationsField("text", text, "float64");
  expect(network.states).toEqual(["x", "y", "x_scaled"]);
  expect(usesTime(text)).toBe(true);
  expect(usesTime("x' = -x # at t\nt2 = 3")).toBe(false);
  expect(scalesOf(text)).toEqual([0.25, 1, 64]);
  network.parameters = Float64Array.of(0.4, 0.1, -60);
  const units: Units = {
    ...{ log: [false, true, false], mean: [3, -1, 1e-7], scale: [0.5, 2, 1e21] },
    ...{ timeScale: 4, lag: 0, origin: 100, spread: 8 },
  };
  const field = scaledField(network, units);
  expect([...field.parameters]).toEqual([1.6, 0.1, -60 / 64]);
  const state = [0.2, 0.7, -0.3, 0.1];
  const [clock, ...scaled] = state as [number, number, number, number];
  const [x, y, z] = [3 + 0.5 * scaled[0], Math.exp(-1 + 2 * scaled[1]), 1e-7 + 1e21 * (scaled[2] as number)];
  const slopes = network.evaluate(100 + 8 * clock, Float64Array.of(x, y, z));
  const expected = [
    4 / 8,
    (4 / 0.5) * (slopes[0] as number),
    ((4 / 2) * (slopes[1] as number)) / y,
    (4 / 1e21) * (slopes[2] as number),
  ];
  expect(relative(field.evaluate(12, Float64Array.from(state)), expected)).toBeLessThan(1e-13);
  // What has been learned goes back, in every bit.
  const optimizer = adam(field);
  optimizer.step(numbers("float64", 3));
  const own = adam(network);
  const settings = { equations: text } as Settings;
  settle([field, optimizer], [network, own], settings);
  expect(scaledField(network, units).parameters).toEqual(field.parameters);
  expect(own.steps).toBe(1);
  expect(valuesOf(network)).toEqual({
    k: network.parameters[0],
    zero: network.parameters[1],
    far: network.parameters[2],
  });
  const lines = textWithValues(network).split("\n");
  expect(lines[0]).toBe(`param k = ${network.parameters[0]} # of x`);
  expect(lines[2]).toBe(`param far= ${network.parameters[2]}`);
  expect(lines.slice(3)).toEqual(text.split("\n").slice(3));
  expect(() => equationsField("a.txt", "x' = -k*x", "float32")).toThrow(
    "a.txt:1:7: expected one of t, x, or a line param k = 1 with its initial value, or a line k = expression above; given k",
  );
});
