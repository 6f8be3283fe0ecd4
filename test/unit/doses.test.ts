// Doses of tables: what rows mean, where trajectories begin, and what the model makes of it.
import { equations, type Jump, minibatches, mlp, odeint } from "symplectic-adjoint";
import { expect, test } from "vitest";
import { DOSE_OPTIONS, regimenOf } from "../../ts/cli/dose-options.js";
import { type Regimen, readDosed } from "../../ts/cli/dosed-table.js";
import { type DoseColumns, notesOn } from "../../ts/cli/doses.js";
import { trajectoryOf } from "../../ts/cli/equation.js";
import { infusedOf, jumpsOf } from "../../ts/cli/jumps.js";
import { type Description, modelBytes, readModel, type Settings } from "../../ts/cli/model.js";
import type { Dose } from "../../ts/cli/table.js";
import { equationsField, scaledField } from "../../ts/cli/text-model.js";
import { fromUnits, unitsOf } from "../../ts/cli/units.js";

const columns: DoseColumns = {
  ...{ apart: false, amount: "AMT", state: null },
  ...{ duration: null, rate: null, repeats: null, interval: null, factors: {} },
};
const none: Regimen = { doses: null, mdv: null, initial: {} };
const sourceOf = (name: string, lines: readonly string[]) => ({
  name,
  bytes: new TextEncoder().encode(`${lines.join("\n")}\n`),
});
const read = (
  lines: readonly string[],
  regimen: Partial<Regimen>,
  { states, apart }: { states?: readonly string[]; apart?: readonly string[] } = {},
) =>
  readDosed(
    sourceOf("data.csv", lines),
    { time: "TIME", id: "ID", state: states, equations: states !== undefined },
    {},
    { ...none, ...regimen },
    apart && sourceOf("doses.csv", apart),
    states,
  );
const refusal = (...given: Parameters<typeof read>): string => {
  try {
    read(...given);
  } catch (error) {
    expect((error as Error).constructor.name).toBe("Failure");
    return (error as Error).message;
  }
  throw new Error("expected a refusal");
};

const STATES = ["depot", "DV"];
const NONMEM = [
  "ID,TIME,AMT,RATE,ADDL,II,CMT,MDV,DV",
  "1,0,100,0,2,12,1,1,0",
  "1,1,.,.,.,.,2,0,4",
  "1,12,.,.,.,.,2,0,2",
  "1,36,60,20,0,0,2,1,0",
  "1,36,0,0,0,0,2,0,1.5",
  "2,0,0,0,0,0,2,0,0.2",
  "2,3,50,0,0,0,1,1,",
  "2,5,,,,,2,0,3",
];
const nonmem: Regimen = {
  doses: { ...columns, state: "CMT", rate: "RATE", repeats: "ADDL", interval: "II" },
  mdv: "MDV",
  initial: { depot: { number: 0 }, DV: { number: 0 } },
};

test("repeated doses are at times as one writes them", () => {
  const lines = ["ID,TIME,AMT,ADDL,II,x", "1,0,3,4,0.7,0", ...[0.7, 1.4, 2.1, 2.8].map((time) => `1,${time},,,,2`)];
  const { series } = read(lines, { doses: { ...columns, repeats: "ADDL", interval: "II" } }, { states: ["x"] });
  expect(series[0]?.doses?.map(({ time }) => time)).toEqual([0, 0.7, 1.4, 2.1, 2.8]);
});

test("the time of a table of doses is as in the data, or else called time", () => {
  const lines = ["TIME (h),x", "0,1", "1,2"];
  const regimen = { doses: { ...columns, apart: true, amount: "amount" }, mdv: null, initial: {} };
  const dosesBy = (name: string, more = "") =>
    readDosed(
      sourceOf("data.csv", lines),
      { time: "TIME (h)", state: ["x"] },
      {},
      regimen,
      sourceOf("doses.csv", [`${name}${more && ",time"},amount`, `0.5${more},3`]),
      ["x"],
    ).series[0]?.doses?.map(({ time }) => time);
  expect([dosesBy("TIME (h)"), dosesBy("time"), dosesBy("Time [h]"), dosesBy("TIME (h)", ",7")]).toEqual(
    Array(4).fill([0.5]),
  );
  expect(() => dosesBy("when")).toThrow(/no column "TIME \(h\)"; there are when, amount/);
});

test("durations, rates and intervals count in the unit of time", () => {
  const lines = ["ID,TIME,AMT,RATE,D,ADDL,II,x", "1,2024-01-31,6,3,5,1,12,0", "1,2024-02-01,,,,,,2"];
  const repeated = { ...columns, repeats: "ADDL", interval: "II" };
  const dosesBy = (own: Partial<DoseColumns>, timeUnit?: string) =>
    readDosed(
      sourceOf("data.csv", lines),
      { time: "TIME", id: "ID", state: ["x"] },
      { timeUnit },
      { ...none, doses: { ...repeated, ...own } },
      undefined,
      ["x"],
    ).series[0]?.doses?.map(({ time, duration }) => [time - 1706659200, duration]);
  expect(dosesBy({ rate: "RATE" }, "h")).toEqual([
    [0, 7200],
    [43_200, 7200],
  ]);
  expect(dosesBy({ duration: "D" }, "min")).toEqual([
    [0, 300],
    [720, 300],
  ]);
  expect(dosesBy({ duration: "D" })).toEqual([
    [0, 5],
    [12, 5],
  ]);
});

test("a table as NONMEM has it: doses and observations in rows of their own", () => {
  const { state, series, unmatched } = read(NONMEM, nonmem, { states: STATES });
  expect([state, unmatched]).toEqual([STATES, { unused: [], undosed: [] }]);
  const [first, second] = series;
  const dose = (time: number, amount: number, state: string, duration = 0): Dose => ({ time, amount, state, duration });
  const repeated = [0, 12, 24].map((time) => dose(time, 100, "depot"));
  expect(first?.doses).toEqual([...repeated, dose(36, 60, "DV", 3)]);
  // The first dose begins the trajectory; its cell of DV is no observation.
  expect(first?.times).toEqual([0, 1, 12, 36]);
  expect(first?.rows.map(([, value]) => value)).toEqual([Number.NaN, 4, 2, 1.5]);
  expect(first?.start).toEqual([0, 0]);
  expect(first?.lines).toEqual([2, 3, 4, 6]);
  // At 12 the observation comes before the dose, which is a repetition; at 36 after it, as its row does.
  expect(first?.early).toEqual([false, false, true, false]);
  expect(second?.doses).toEqual([dose(3, 50, "depot")]);
  expect([second?.times, second?.start]).toEqual([
    [0, 5],
    [0, 0],
  ]);
});

test("a table of doses of its own, by trajectories or for all of them", () => {
  const data = ["ID,TIME,depot,DV", "a,0,0,1", "a,2,1,2", "b,1,0,1", "b,2,1,1"];
  const doses = { ...columns, apart: true, amount: "amount" };
  const apart = ["ID,TIME,amount,state", "a,1,4,2", "c,0,1,DV", "a,2,5,depot"];
  const { series, unmatched } = read(data, { doses }, { states: STATES, apart });
  expect(series[0]?.doses).toEqual([
    { time: 1, amount: 4, state: "DV", duration: 0 },
    { time: 2, amount: 5, state: "depot", duration: 0 },
  ]);
  expect(series[0]?.early).toEqual([false, true]);
  expect(series[1]?.doses).toBeUndefined();
  expect(unmatched).toEqual({ unused: ["c"], undosed: ["b"] });
  expect(notesOn(unmatched)).toEqual([
    "not used: doses of c (no rows in the data)",
    "without doses: b (no rows in the table of doses)",
  ]);
  // A row of no amount says that there is no dose.
  const told = read(data, { doses }, { states: STATES, apart: [...apart, "b,0,0,DV"] });
  expect([told.unmatched.undosed, told.series[1]?.doses]).toEqual([[], undefined]);
  const all = read(data, { doses: { ...doses, state: "DV" } }, { states: STATES, apart: ["TIME,amount", "1.5,7"] });
  for (const { doses } of all.series) expect(doses).toEqual([{ time: 1.5, amount: 7, state: "DV", duration: 0 }]);
  expect(notesOn(all.unmatched)).toEqual([]);
  // One for all may have any column that is used, and those without a name that commas at the ends of lines make.
  const each = { ...doses, rate: "RATE", repeats: "ADDL", interval: "II" };
  const schedule = ["TIME,amount,state,RATE,ADDL,II,", "1.5,7,DV,0,1,2,"];
  const { series: both } = read(data, { doses: each }, { states: STATES, apart: schedule });
  expect(both.map(({ doses }) => doses?.map(({ time }) => time))).toEqual([
    [1.5, 3.5],
    [1.5, 3.5],
  ]);
  // Columns of a network's state are whatever else there is.
  const network = read(
    ["ID,TIME,x,y", "1,0,1,2", "1,2,2,3"],
    { doses: { ...doses, state: "y" } },
    { apart: ["ID,TIME,amount", "1,1,3"] },
  );
  expect(network.state).toEqual(["x", "y"]);
});

test("first states: numbers, columns, or the first row", () => {
  const data = ["ID,TIME,weight,x", "a,0,70,1", "a,2,,3", "b,1,80,5", "b,2,80,6"];
  const states = ["y", "x"];
  const { series } = read(data, { initial: { y: { column: "weight" } } }, { states });
  expect(series.map(({ start }) => start)).toEqual([
    [70, 1],
    [80, 5],
  ]);
  expect(series[0]?.rows).toEqual([
    [Number.NaN, 1],
    [Number.NaN, 3],
  ]);
});

test.each<[string, string, readonly string[], Partial<Regimen>, { states?: readonly string[]; apart?: string[] }?]>([
  [
    "an amount that is negative",
    "data.csv:3: column AMT: expected an amount, zero or more, given -3",
    ["ID,TIME,AMT,x", "1,0,,1", "1,1,-3,", "1,2,,2"],
    { doses: columns },
    { states: ["x"] },
  ],
  [
    "a state that is none",
    "data.csv:3: column CMT: expected a state, depot, DV, or its number from 1, given 3",
    ["ID,TIME,AMT,CMT,depot,DV", "1,0,,2,1,1", "1,1,3,3,,", "1,2,,2,2,2"],
    { doses: { ...columns, state: "CMT" } },
    { states: STATES },
  ],
  [
    "no state",
    "--dose-state: expected the state that doses go into, depot, DV, or a column with their names or numbers",
    ["ID,TIME,AMT,depot,DV", "1,0,,1,1", "1,1,3,,", "1,2,,2,2"],
    { doses: columns },
    { states: STATES },
  ],
  [
    "a rate that NONMEM would estimate",
    "data.csv:3: column RATE: expected a number, zero or more, given -2",
    ["ID,TIME,AMT,RATE,x", "1,0,,,1", "1,1,3,-2,", "1,2,,,2"],
    { doses: { ...columns, rate: "RATE" } },
    { states: ["x"] },
  ],
  [
    "repetitions without a distance",
    "data.csv:3: column II: expected a time between doses, above 0, given 0",
    ["ID,TIME,AMT,ADDL,II,x", "1,0,,,,1", "1,1,3,2,,", "1,2,,,,2"],
    { doses: { ...columns, repeats: "ADDL", interval: "II" } },
    { states: ["x"] },
  ],
  [
    "a network without the columns of its state",
    "--dose-amount: expected --state as well",
    ["ID,TIME,AMT,x", "1,0,,1", "1,1,3,", "1,2,,2"],
    { doses: columns },
  ],
  [
    "an amount in every row",
    "data.csv: column AMT: expected an amount in rows with a dose, and none, or 0, in the others; given one in every row",
    ["ID,TIME,AMT,x", "1,0,4,1", "1,1,4,2", "1,2,4,2"],
    { doses: columns },
    { states: ["x"] },
  ],
  [
    "observations at the same time",
    "data.csv:4: column TIME: expected increasing times of observations, given 1 after 1",
    ["ID,TIME,AMT,x", "1,0,2,1", "1,1,,2", "1,1,,2", "1,2,,3"],
    { doses: columns },
    { states: ["x"] },
  ],
  [
    "a column that is not there",
    "data.csv:1: no column AMT; there are ID, TIME, x; --dose-amount names a column",
    ["ID,TIME,x", "1,0,2", "1,1,3"],
    { doses: columns },
    { states: ["x"] },
  ],
  [
    "a first state that nobody knows",
    'data.csv:2: column DV: expected a number before any dose where the trajectory 1 begins, at 0, given none; --initial "DV=0" sets it',
    ["ID,TIME,AMT,DV", "1,0,3,", "1,1,,2", "1,2,,2"],
    { doses: { ...columns, state: "depot" }, initial: { depot: { number: 0 } } },
    { states: STATES },
  ],
  [
    "a first state of something else",
    "--initial: expected states of the equations: depot, DV; given dept",
    ["ID,TIME,depot,DV", "1,0,3,1", "1,1,3,2"],
    { initial: { dept: { number: 0 } } },
    { states: STATES },
  ],
  [
    "doses of nobody",
    "doses.csv: expected doses of trajectories of the table, 1; given 7",
    ["ID,TIME,x", "1,0,2", "1,1,3"],
    { doses: { ...columns, apart: true, amount: "amount" } },
    { apart: ["ID,TIME,amount", "7,1,2"] },
  ],
  [
    "doses of who knows whom",
    "doses.csv: no column ID, which tells trajectories apart, but a column that nothing uses: subject; if one says whose the doses are, call it ID; if all trajectories have all doses, leave it out",
    ["ID,TIME,x", "1,0,2", "1,1,3"],
    { doses: { ...columns, apart: true, amount: "amount" } },
    { apart: ["subject,TIME,amount", "1,1,2"] },
  ],
  [
    "doses with several columns that nothing uses",
    "but columns that nothing uses: subject, note; if one says whose the doses are, call it ID; if all trajectories have all doses, leave them out",
    ["ID,TIME,x", "1,0,2", "1,1,3"],
    { doses: { ...columns, apart: true, amount: "amount" } },
    { apart: ["subject,TIME,amount,note", "1,1,2,late"] },
  ],
  [
    "a missing amount",
    "doses.csv:3: column amount: expected an amount, given a missing value",
    ["ID,TIME,x", "1,0,2", "1,1,3"],
    { doses: { ...columns, apart: true, amount: "amount" } },
    { apart: ["ID,TIME,amount", "1,1,2", "1,2,NA"] },
  ],
  [
    "dates where there are numbers",
    "doses.csv: column TIME: expected a number in each row, as in the table of observations, given a date",
    ["ID,TIME,x", "1,0,2", "1,1,3"],
    { doses: { ...columns, apart: true, amount: "amount" } },
    { apart: ["ID,TIME,amount", "1,2024-01-01,2"] },
  ],
])("refused: %s", (_, message, lines, regimen, more) => {
  expect(refusal(lines, regimen, more)).toContain(message);
});

test("options are read together", () => {
  const names = DOSE_OPTIONS.map((option) => option.attributeName());
  expect(names).toContain("doseAmount");
  const { regimen, told, doses, rest } = regimenOf({ doses: "d.csv", doseState: "depot", steps: 3 });
  expect(regimen.doses).toEqual({ ...columns, apart: true, amount: "amount", state: "depot" });
  expect([told, doses, rest]).toEqual([{ doses: regimen.doses }, "d.csv", { steps: 3 }]);
  // A training that goes on has columns already, but needs the file.
  expect(regimenOf({ doses: "d.csv" }).told).toEqual({});
  for (const [given, message] of [
    [{ doseState: "depot" }, "--dose-state: expected --dose-amount or --doses as well"],
    [{ doseAmount: "AMT", doseRate: "R", doseDuration: "D" }, "--dose-rate: cannot be combined"],
    [{ doseAmount: "AMT", doseRepeats: "R" }, "expected both of --dose-repeats and --dose-interval"],
    [{ initial: [{ name: "x", value: undefined }] }, "--initial x: expected a number or a column"],
  ] as const) {
    expect(() => regimenOf(given)).toThrow(message);
  }
});

/** Jumps, as the types of the built package have them. */
const built = (jumps: readonly object[]) => jumps as readonly Jump[];

/** What is solved in a model's units, of doses and an infusion, at the times of rows. */
function solvedWith(log: readonly string[], factors: Record<string, string>) {
  const text = "param k = 0.3\nparam V = 5\nx' = -k * x\nz' = 0 * V";
  const lines = [
    "ID,TIME,AMT,D,x,z",
    ...["1,100,,,2,1", "1,101,,,,", "1,102,4,,1.5,", "1,102,,,5.2,", "1,103,6,1.5,,", "1,104,,,6,2", "1,106,,,5,1"],
  ];
  const states = ["x", "z"];
  const { series } = read(lines, { doses: { ...columns, state: "x", duration: "D" } }, { states });
  const units = unitsOf({ state: states, time: "TIME", series, log, paired: false, lag: 0 });
  const settings = {
    ...{ model: "equations", equations: text, delays: 0, extra: 0, withTime: false, period: null },
    ...{ infused: infusedOf(series, states), doses: { ...columns, factors } },
  } as unknown as Settings;
  const description = { state: states, settings, units };
  const field = scaledField(equationsField("x.txt", text, "float64"), units, settings.infused, factors);
  expect(field.stateSize).toBe(3);
  const trajectories = series.map((own) => trajectoryOf(own, description));
  const [{ times } = { times: [] }] = trajectories;
  const jumps = built(jumpsOf(series, description));
  const y0 = Float64Array.from([...(trajectories[0]?.values.slice(0, 2) ?? []), 0]);
  const { y } = odeint(field, y0, times, { jumps, rtol: 1e-11, atol: 1e-12 });
  const [batch] = minibatches({ trajectories, jumps, dtype: "float64" }).epoch();
  field.dispose();
  return { x: times.map((_, i) => fromUnits(y.subarray(3 * i), units)[0] as number), batch };
}

test.each([
  [[], {}, 1],
  [["x"], {}, 1],
  [[], { x: "1 / (2 * V)" }, 0.1],
  [["x"], { x: "1 / V" }, 0.2],
])(
  "doses act on scaled states as on those of the table, with logarithms of %j and factors %j",
  (log, factors, part) => {
    const { x, batch } = solvedWith(log, factors);
    const k = 0.3;
    const decayed = (value: number, time: number) => value * Math.exp(-k * time);
    const before = decayed(2, 2);
    const at103 = decayed(before + 4 * part, 1);
    // At a rate of 4 for 1.5, then nothing.
    const infused = (start: number, time: number) =>
      decayed(start, time) + ((4 * part) / k) * (1 - Math.exp(-k * time));
    const expected = [
      2,
      decayed(2, 1),
      before,
      before + 4 * part,
      infused(at103, 1),
      decayed(infused(at103, 1.5), 1.5),
    ];
    for (const [i, value] of expected.entries()) expect(x[i]).toBeCloseTo(value, 8);
    expect(batch?.jumps).toHaveLength(2);
  },
);

test("an infusion that has begun before the first row goes on, and what went in before is in the state", () => {
  const doses = [
    { time: 0, amount: 9, state: "x", duration: 0 },
    { time: 0, amount: 8, state: "x", duration: 4 },
  ];
  const units = { log: [false], mean: [0], scale: [1], timeScale: 1, lag: 0, origin: 0, spread: 1 };
  const settings = {
    delays: 0,
    extra: 0,
    withTime: false,
    period: null,
    infused: ["x"],
    doses: null,
  } as unknown as Settings;
  const series = [{ id: "", times: [1, 3, 6], rows: [[2], [3], [4]], doses }];
  const jumps = built(jumpsOf(series, { state: ["x"], settings, units }));
  expect(jumps).toHaveLength(1);
  expect([jumps[0]?.times, jumps[0]?.amounts]).toEqual([[[0, 3]], { amount_of_dose: [[2, -2]] }]);
  const field = equations("x' = rate\nrate' = 0", { dtype: "float64" });
  const { y } = odeint(field, Float64Array.of(2, 0), [0, 2, 5], { jumps });
  expect([y[2], y[4]]).toEqual([expect.closeTo(6, 10), expect.closeTo(8, 10)]);
});

test("a model file whose words on doses were changed is refused", () => {
  using network = mlp({ widths: [1, 4, 1] });
  const settings: Settings = {
    ...{ model: "mlp", equations: null, hidden: [4], activation: "tanh", solver: "dopri5", rtol: 1e-4, steps: 10 },
    ...{ learningRate: 0.01, weightDecay: 0, batch: 64, window: null, seed: 0, validation: 0.2, patience: 10 },
    ...{ delays: 0, lag: null, extra: 0, withTime: false, period: null, infused: [] },
    ...{ doses: columns, mdv: null, initial: {} },
  };
  const description: Description = {
    ...{ time: "TIME", clock: "number", id: "ID", state: ["x"], format: {}, best: null, finished: null },
    units: { log: [false], mean: [0], scale: [1], timeScale: 1, lag: 0, origin: 0, spread: 1 },
    settings,
    data: { sha256: "", trajectories: 1, observations: 2 },
  };
  const reading = (change: object) => () => {
    const bytes = modelBytes(network, { ...description, settings: { ...settings, ...change } as Settings });
    readModel({ name: "m", bytes }).network.dispose();
  };
  expect(reading({})).not.toThrow();
  expect(reading({ doses: null })).not.toThrow();
  for (const doses of [1e308, true, "x", [], {}, { ...columns, factors: null }, { ...columns, duration: 1 }]) {
    expect(reading({ doses }), JSON.stringify(doses)).toThrow("m: its columns and units cannot be read");
  }
  for (const change of [{ infused: "" }, { hidden: "" }, { initial: 5 }, { mdv: 1 }]) {
    expect(reading(change), JSON.stringify(change)).toThrow("m: its columns and units cannot be read");
  }
});
