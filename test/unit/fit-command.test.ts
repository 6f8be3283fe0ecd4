// symplectic-adjoint fit, without its process: what options and tables become, what is fitted, written and drawn.
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { equations, odeint } from "symplectic-adjoint";
import { expect, test } from "vitest";
import { escaped, svgOf, ticksOf } from "../../ts/cli/charts.js";
import {
  adviceOnFit,
  alignedLines,
  estimateRows,
  isReliable,
  messageOf,
  notesOnColumns,
  notesOnFit,
  notesOnNames,
  qualitiesOf,
  shown,
  summaryOf,
} from "../../ts/cli/fit-advice.js";
import { estimatesOf, type FitDescription, fitBytes, readFit, trajectoriesOf } from "../../ts/cli/fit-file.js";
import type { FitCommandOptions, TaskRequest } from "../../ts/cli/fit-request.js";
import { type FitNumbers, type Listener, runFit } from "../../ts/cli/fit-run.js";
import { checkMeasurements, type FitTask, taskOf } from "../../ts/cli/fit-task.js";
import { byTableTimes, solveTimes } from "../../ts/cli/fit-times.js";
import { checkApart } from "../../ts/cli/output.js";
import { at, boundsByName, numbersByName, pairs, plainNames, spreadsByName } from "../../ts/cli/pairs.js";
import { predict } from "../../ts/cli/predict.js";
import { reportOf } from "../../ts/cli/report.js";
import { columnIn, type Format, readTable } from "../../ts/cli/table.js";
import { normals } from "../../ts/trace/random.js";

const lynx = new Uint8Array(readFileSync(fileURLToPath(new URL("../../data/lynx-hare.csv", import.meta.url))));
const prey = `param birth = 0.5
param hunt = 0.03  # by each lynx
param feed = 0.02
param death = 0.8
hare' = hare * (birth - hunt * lynx)
lynx' = lynx * (feed * hare - death)
`;
const dosing = `param ka = 1
param ke = 0.1
param V = 20
depot' = -ka * depot
central' = ka * depot - ke * central
concentration = central / V
`;

const options: FitCommandOptions = {
  ...{ error: "additive", loss: "linear", lossScale: 1, starts: 1, seed: 0, level: 0.95, maxIterations: 200 },
  ...{ solver: "dopri5", rtol: 1e-10, atol: 1e-12 },
};
const nothing: TaskRequest = {
  ...{ time: "time", id: undefined, observe: undefined, arguments: [], individual: [], initial: [] },
  ...{ estimate: [], shared: [], start: new Map(), bounds: new Map(), log: [], logit: [], fix: [], format: {} },
};
const source = (data: string | Uint8Array) => ({
  name: "data.csv",
  bytes: typeof data === "string" ? new TextEncoder().encode(data) : data,
});
const task = (text: string, data: string | Uint8Array, more: Partial<TaskRequest> = {}, found?: Map<string, number>) =>
  taskOf({ ...nothing, ...more }, "model.txt", text, source(data), found);
const both = pairs("hare_thousands = hare, lynx_thousands = lynx");
const years = (more: Partial<TaskRequest> = {}) => task(prey, lynx, { time: "year", observe: both, ...more });

/** What a fit says, all of it. */
async function fitted(
  own: FitTask,
  more: Partial<FitCommandOptions> = {},
  profile: readonly string[] | boolean = false,
  most = 1e9,
) {
  const said: Parameters<Listener["iteration"]>[0][] = [];
  let result: FitNumbers | undefined;
  const [curves, profiles]: [Parameters<Listener["curves"]>[0][number][], Parameters<Listener["profile"]>[0][]] = [
    [],
    [],
  ];
  await runFit(
    { task: own, options: { ...options, ...more }, profile, curves: true, servers: {} },
    {
      iteration: (progress) => said.push(progress) < most,
      goesOn: () => said.length < most,
      result: (given) => {
        result = given;
      },
      curves: (given) => void curves.push(...given),
      profile: (given) => void profiles.push(given),
      profiling: () => {},
      note: () => {},
      workers: () => {},
    },
  );
  return { result: result as FitNumbers, curves, profiles, said };
}

const refusal = (body: () => unknown): string => {
  try {
    body();
  } catch (error) {
    expect((error as Error).constructor.name).toMatch(/^(Failure|InvalidArgumentError)$/);
    return (error as Error).message;
  }
  throw new Error("expected a refusal");
};

/** Four patients, each with a dose and a rate of elimination of its own, without noise. */
const rates = { anna: 0.12, ben: 0.08, "cy, the third": 0.15, "<b>dora</b>": 0.1 };
const doses = { anna: 300, ben: 250, "cy, the third": 320, "<b>dora</b>": 280 };
const patients = (() => {
  const times = [0, 0.25, 0.5, 1, 2, 4, 6, 9, 12, 24];
  const rows = Object.entries(rates).flatMap(([name, ke], index) => {
    const field = equations(dosing, { parameters: { ka: 1.4, ke, V: 30 }, dtype: "float64" });
    const dose = doses[name as keyof typeof doses];
    const { y } = odeint(field, Float64Array.of(dose, 0), times, { rtol: 1e-11, atol: 1e-12 });
    field.dispose();
    // They do not begin at the same time.
    return times.map((t, i) => {
      const concentration = i === 0 ? "" : (y[2 * i + 1] as number) / 30;
      return `"${name}",${t + 100 * index},${i === 0 ? dose : ""},${concentration}`;
    });
  });
  return `patient,time,dose,concentration\n${rows.join("\n")}\n`;
})();
const trial: Partial<TaskRequest> = {
  ...{ id: "patient", observe: pairs("concentration"), initial: pairs("depot=dose, central=0") },
  individual: pairs("ke"),
};

test("lists of names with values are read", () => {
  expect(pairs('a, "b, c" = d, e = max(f, 2), "g=h" = i == 2 ? 1 : 0')).toEqual([
    { name: "a", value: undefined },
    { name: "b, c", value: "d" },
    { name: "e", value: "max(f, 2)" },
    { name: "g=h", value: "i == 2 ? 1 : 0" },
  ]);
  expect(pairs("b=2", pairs("a=1")).map(({ name }) => name)).toEqual(["a", "b"]);
  expect(plainNames("hare(0), lynx(0)")).toEqual(["hare(0)", "lynx(0)"]);
  expect([...numbersByName("a=-1e-3, hare(0)=30")]).toEqual([
    ["a", -1e-3],
    ["hare(0)", 30],
  ]);
  expect([...spreadsByName("a = -1 ± 0.5, hare(0)=3+-1e-2")]).toEqual([
    ["a", { center: -1, spread: 0.5 }],
    ["hare(0)", { center: 3, spread: 0.01 }],
  ]);
  expect(boundsByName("a=0:1, b=:2, c = -1 :").get("c")).toEqual({ lower: -1, upper: Number.POSITIVE_INFINITY });
});

test.each<[(text: string) => unknown, string, RegExp]>([
  [pairs, "a,,b", /Given: nothing/],
  [pairs, "a=", /Given: a=/],
  [pairs, "=2", /Given: =2/],
  [pairs, 'a, "b', /a closing "/],
  [pairs, "a, a=2", /given a twice/],
  [plainNames, "a=2", /names alone, given a=2/],
  [numbersByName, "a", /birth=0.5; given a/],
  [numbersByName, "a=0x10", /given a=0x10/],
  [boundsByName, "a=1", /Expected name=lower:upper, such as birth=0:1 or birth=0: \(no upper bound\); given a=1/],
  [boundsByName, "a=2:1", /Expected a lower bound below the upper one; given a=2:1/],
  [boundsByName, "a=1:1", /Expected a lower bound below the upper one; given a=1:1/],
  [boundsByName, "a=1:2:3", /given a=1:2:3/],
  [spreadsByName, "a=1", /Expected name=center±spread .*birth=0.5±0.1.*; given a=1/],
  [spreadsByName, "a=1±0", /Expected name=center±spread .*; given a=1±0/],
  [spreadsByName, "a=1±2±3", /given a=1±2±3/],
  [spreadsByName, "a=b±1", /given a=b±1/],
])("%o refuses %s", (read, text, message) => {
  expect(refusal(() => read(text))).toMatch(message);
});

test("an initial state may be a column that is measured, or one that is the same in all rows", () => {
  const table = "time,x,dose\n0,2,3\n1,1,3\n2,0.5,\n";
  const startsOf = (initial: string) =>
    task("param k = 1\nx' = -k * x\n", table, { initial: pairs(initial) }).members[0]?.y0;
  expect(startsOf("x=dose")).toEqual([3]);
  expect(startsOf("x=x")).toEqual([2]);
});

test("first rows are starts, and no measurements", () => {
  const own = years();
  const [member] = own.members as [FitTask["members"][number]];
  expect(member.y0).toEqual([30, 4]);
  expect(Array.from(member.y.slice(0, 4))).toEqual([Number.NaN, Number.NaN, 47.2, 6.1]);
  // An initial state that is estimated is compared.
  const estimated = years({ estimate: pairs("hare(0)") }).members[0] as typeof member;
  expect(Array.from(estimated.y.slice(0, 2))).toEqual([30, Number.NaN]);
  expect(years({ estimate: pairs("hare(0)=33, lynx=5") }).members[0]?.y0).toEqual([33, 5]);
  // One that is given beside the table says nothing of the first row.
  expect(years({ initial: pairs("hare=31") }).members[0]?.y.slice(0, 1)).toEqual([30]);
  // Without t in the equations, the solve of each trajectory begins at 0.
  expect([member.times[0], member.origin]).toEqual([1900, 1900]);
  const timed = task(prey.replace("birth -", "birth * cos(0 * t) -"), lynx, { time: "year", observe: both });
  expect([timed.members[0]?.times[0], timed.members[0]?.origin]).toEqual([1900, 0]);
});

test("initial states that were measured, but are taken as exact, are told with the option that estimates them", async () => {
  const notes = async (own: FitTask) => notesOnFit((await fitted(own, { rtol: 1e-7, atol: 1e-9 })).result, own.exact);
  expect(await notes(years())).toEqual([
    'hare(0), lynx(0) are taken from the first row as exact. If they have an error there, the standard errors and intervals above are too small; --estimate "hare(0), lynx(0)" estimates them too',
  ]);
  expect(await notes(years({ estimate: pairs("hare(0)") }))).toEqual([
    expect.stringMatching(/^lynx\(0\) is taken .* --estimate "lynx\(0\)" estimates it too$/),
  ]);
  for (const none of [
    { estimate: pairs("hare, lynx") },
    { shared: pairs("hare, lynx") },
    { initial: pairs("hare=30, lynx=4") },
  ]) {
    expect(years(none).exact).toEqual([]);
  }
  // What --initial takes from a column that is measured later is a measurement too; a dose is none.
  expect(years({ initial: pairs("hare=hare_thousands, lynx=4") }).exact).toEqual(["hare"]);
  expect(years({ initial: pairs("hare=2 * pi * lynx_thousands, lynx=4") }).exact).toEqual(["hare"]);
  expect(task(dosing, patients, trial).exact).toEqual([]);
  // A column with a first row alone, which may be known; and data that tell of no errors at all.
  const pair = "param k = 1\nx' = -k * x\nv' = x\n";
  expect(task(pair, "time,x,v\n0,1,0\n1,,0.5\n2,,0.8\n").exact).toEqual(["v"]);
  const single = task("param k = 1\nx' = -k * x\n", "time,x\n0,1\n1,0.5\n");
  expect([single.exact, await notes(single)]).toEqual([["x"], []]);
  const fixed = years({
    fix: pairs("birth, hunt, feed, death"),
    estimate: pairs("hare(0)"),
    bounds: boundsByName("hare(0)=0:30"),
  });
  expect(fixed.exact).toEqual(["lynx"]);
});

test("a column may have a unit behind the name of its state, or other letters", async () => {
  const text = "param k = 1\nposition' = v\nv' = -k * position\n";
  const observed = (header: string, more: Partial<TaskRequest> = {}) =>
    task(text, `${header}\n0,1,0\n1,0.5,-0.8\n`, more).mapping.observed.map(({ column }) => column);
  expect(observed("Time [s],position (m),v [m/s]")).toEqual(["position (m)", "v [m/s]"]);
  expect(observed("TIME,Position,V (m/s)")).toEqual(["Position", "V (m/s)"]);
  expect(observed("time,position,q (m)", { observe: pairs("position, Q = v") })).toEqual(["position", "q (m)"]);
  const own = task(text, "Time [s],position (m),V\n0,1,0\n1,0.5,-0.8\n");
  expect([own.mapping.time, own.mapping.initial.position]).toEqual(["Time [s]", { first: "position (m)" }]);
  expect(notesOnNames(own)).toEqual([
    'position is measured by the column "position (m)", v is measured by the column V',
  ]);
  // Predictions have the names of the table.
  const { result } = await fitted(own);
  const { csv } = predict({
    ...{ model: saved(own, result), at: [1, 0], data: undefined, format: {} },
    times: { clock: "number", values: [0, 1] },
  });
  expect(csv).toMatch(/^Time \[s\],position \(m\),V\n/);
  // Arguments, weights, starts; what they name is no state.
  const more = { arguments: pairs("k = Stiffness"), weights: "w", initial: pairs("v = v0") } as const;
  const table = "time,position,stiffness (N),W,V0\n0,1,2,1,0\n1,0.5,2,1,\n";
  const named = task(`${text}param m = 1\n`, table, { ...more, observe: pairs("position") });
  expect(named.members[0]).toMatchObject({ arguments: { k: 2 }, y0: [1, 0] });
  expect(named.unread).toEqual([]);
  // Neither of two, nor one that is a state's own.
  expect(refusal(() => observed("time,v (m),v (s)", { observe: pairs("v"), initial: pairs("position=0") }))).toMatch(
    /no column v; there are/,
  );
  expect(refusal(() => task("X' = -k * X * x\nx' = X\nparam k = 1", "time,X,y\n0,1,2\n1,2,3\n"))).toMatch(
    /^the state x has no initial value/,
  );
  // Numbers in parentheses are no unit.
  expect(columnIn(["x(0)", "y (0)", "z (%)", "u (1/h) (old)"], "x")).toBeUndefined();
  expect(columnIn(["z (%)", "zz (%)"], "Z")).toBe("z (%)");
});

test("a column by another name than its state is offered as that", () => {
  const text = "param k = 1\nposition' = v\nv' = -k * position\n";
  const refused = (header: string, more: Partial<TaskRequest> = {}) =>
    refusal(() => task(text, `${header}\n0,1,0\n1,0.5,-0.8\n`, more));
  expect(refused('time,"position, m",v')).toMatch(
    /^the state position has no initial value, because no column measures it; --observe '"position, m" = position, v' says that "position, m" measures it; --initial "position=0"/,
  );
  expect(refused("time,where,v")).toContain('--observe "where = position, v" says that where measures it;');
  expect(refused("time,Position_m,V_0")).toMatch(
    /which column measures what: --observe "Position_m = position, V_0 = v"$/,
  );
  expect(refused("time,p,q")).toMatch(/--observe "column = expression"$/);
  // What something else uses is not it, and of several that nothing uses, none is chosen.
  for (const [header, more] of [
    ["time,w,v", { weights: "w" }],
    ["time,w,v", { observe: pairs("v") }],
    ["time,w,v", { arguments: pairs("k=w") }],
  ] as const) {
    expect(refused(header, more)).toMatch(/because no column measures it; --initial/);
  }
  const wide = "time,a,b,v\n0,1,2,0\n1,2,3,0.5\n";
  expect(refusal(() => task(text, wide))).toMatch(/because no column measures it; --initial/);
});

test("rows before a dose come a little earlier, in whatever unit the times are", () => {
  for (const unit of [1e-13, 1e-6, 1, 1e6]) {
    const times = [0, 0.5, 0.5, 1].map((time) => time * unit);
    const shifted = solveTimes({ t0: 0, times, early: [false, true, false, false], origin: 0, unit: 1 }).times;
    const early = (times[1] as number) - (shifted[1] as number);
    expect(early).toBeGreaterThan(0);
    expect(early).toBeLessThan(1e-5 * unit);
    expect(shifted.filter((_, i) => i !== 1)).toEqual(times.filter((_, i) => i !== 1));
  }
});

test("outputs that are one file are refused, by whatever names", () => {
  const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-apart-"));
  const out = join(folder, "a.st");
  symlinkSync(out, join(folder, "link"));
  for (const other of [out, join(folder, ".", "a.st"), `${folder}/../${basename(folder)}/a.st`, join(folder, "link")]) {
    const apart = () => checkApart({ "--out": out, "--table": undefined, "--report": other });
    expect(apart).toThrow(`--report ${other}: expected a different file from --out`);
  }
  checkApart({ "--out": out, "--report": join(folder, "b.html") });
  rmSync(folder, { recursive: true });
});

test("intervals hold the truth as often as they say where the first row is estimated, and less often where it is exact", async () => {
  const text = "param k = 1\nx' = -k * x\n";
  const normal = normals(3);
  const times = Array.from({ length: 30 }, (_, i) => i / 15);
  const held = { exact: 0, estimated: 0 };
  for (let i = 0; i < 60; i++) {
    const table = `time,x\n${times.map((t) => `${t},${Math.exp(-t) + 0.05 * normal()}`).join("\n")}\n`;
    for (const [name, more] of [
      ["exact", {}],
      ["estimated", { estimate: pairs("x(0)") }],
    ] as const) {
      const { interval } = (await fitted(task(text, table, more), { rtol: 1e-6, atol: 1e-8 })).result.parameters.k as {
        interval: readonly [number, number];
      };
      if (interval[0] < 1 && 1 < interval[1]) held[name]++;
    }
  }
  expect(held.estimated).toBeGreaterThan(50);
  expect(held.exact).toBeLessThan(45);
});

test("initial states may be of a time before the first row", async () => {
  const decay = "param k = 1\nx' = -k * x\n";
  // 5 exp(−0.3 t), from the time 10 on.
  const table = `time,x,dose\n${[1, 2, 4].map((t) => `${10 + t},${5 * Math.exp(-0.3 * t)},5`).join("\n")}\n`;
  const t0 = { clock: "number", value: 10 } as const;
  for (const text of [decay, decay.replace("-k", "-k * cos(0 * t)")]) {
    const own = task(text, table, { t0, initial: pairs("x=dose") });
    const { result, curves } = await fitted(own);
    expect(result.measurements.length).toBe(3);
    expect(result.parameters.k?.value).toBeCloseTo(0.3, 8);
    expect(curves[0]?.times[0]).toBe(10);
    const model = saved(own, result);
    const common = { model, format: {}, at: undefined };
    const { csv, errors } = predict({ ...common, data: source(table), times: undefined });
    expect(csv.split("\n")[1]).toMatch(/^11,3\.7/);
    expect(errors?.x).toBeLessThan(1e-8);
    const { csv: first } = predict({ ...common, data: undefined, times: { clock: "number", values: [10, 11] } });
    expect(first).toMatch(/\n10,5\n11,3\.7/);
    const early = source(table.replace("11,", "9,"));
    expect(refusal(() => predict({ ...common, data: early, times: undefined }))).toMatch(
      /data\.csv:2: column time: expected no time before --t0, 10, given 9/,
    );
  }
  const { result } = await fitted(task(decay, table, { t0, estimate: pairs("x(0)") }));
  expect(result.parameters["x(0)"]?.value).toBeCloseTo(5, 7);
  expect(refusal(() => task(decay, table, { t0 }))).toMatch(/^--t0: expected the initial value of x.*--initial "x=0"/);
  expect(refusal(() => task(decay, table, { t0: { clock: "date", value: 0 }, initial: pairs("x=5") }))).toBe(
    "--t0: expected a number, as in the table, given a date",
  );
  expect(refusal(() => task(decay, table, { t0: { clock: "number", value: 11.5 }, initial: pairs("x=5") }))).toMatch(
    /^data\.csv:2: column time: expected no time before --t0, 11\.5, given 11$/,
  );
});

test("rows count by their weights", async () => {
  const rows = (cells: string) => `time,x,sd,w\n0,1,,\n1,2,0.5,4\n2,3.5,2,0.25\n3,,,\n4,6,${cells}\n`;
  const line = "param b = 1\nx' = b\n";
  const started = { initial: pairs("x=1"), observe: pairs("x") };
  // The first row is the start, and is not fitted: the slope by hand.
  const [b, weights] = [(4 * 1 + 0.25 * 2 * 2.5 + 4 * 5) / (4 + 0.25 * 4 + 16), [1, 4, 0.25, 1, 1]];
  const own = { observe: pairs("x") };
  for (const more of [{ weights: "w" }, { sd: "sd" }]) {
    const read = task(line, rows("1,1"), { ...own, ...more });
    expect(read.members[0]?.weights).toEqual(weights);
    expect((await fitted(read)).result.parameters.b?.value).toBeCloseTo(b, 10);
  }
  for (const [more, cells, message] of [
    [{ weights: "w" }, "1,", /^data\.csv:6: column w: expected a positive number .* given a missing value$/],
    [{ weights: "w" }, "1,0", /^data\.csv:6: column w: .* given 0$/],
    [{ sd: "sd" }, "-1,1", /^data\.csv:6: column sd: .* given -1$/],
    [{ sd: "s" }, "1,1", /no column s; there are time, x, sd, w; --weights, --sd and --individual name columns$/],
    [{ sd: "sd", weights: "w" }, "1,1", /^--sd: cannot be combined with --weights/],
  ] as const)
    expect(refusal(() => task(line, rows(cells), { ...own, ...more }))).toMatch(message);
  // A first row that is fitted needs one.
  expect(refusal(() => task(line, rows("1,1"), { ...started, sd: "sd" }))).toMatch(/^data\.csv:2: column sd: /);
});

test("estimates of the lynx and the hare are those of the record", async () => {
  const { result, said } = await fitted(
    years({ estimate: pairs("hare, lynx(0)"), log: ["birth", "hunt", "feed", "death"] }),
  );
  // As Stan's case study of these data finds them by a lognormal error: 0.55, 0.028, 0.024, 0.80.
  for (const [name, value] of Object.entries({ birth: 0.55, hunt: 0.028, feed: 0.024, death: 0.8 })) {
    const { value: own, standardError, interval } = result.parameters[name] as FitNumbers["parameters"][string];
    expect(Math.abs(own - value)).toBeLessThan(3 * standardError);
    expect(interval[0] < own && own < interval[1]).toBe(true);
  }
  expect(result.converged).toBe(true);
  expect(result.degreesOfFreedom).toBe(42 - 6);
  // A last step may lower it by rounding.
  expect(Math.abs((said.at(-1)?.cost as number) / result.cost - 1)).toBeLessThan(1e-9);
  expect(adviceOnFit(result, years().mapping.observed)).toEqual([]);
});

test("trajectories have their own starts, arguments and parameters", async () => {
  const { result, curves } = await fitted(task(dosing, patients, trial));
  const value = (name: string) => result.parameters[name]?.value as number;
  expect(Math.abs(value("V") / 30 - 1)).toBeLessThan(1e-6);
  expect(Math.abs(value("ka") / 1.4 - 1)).toBeLessThan(1e-6);
  for (const [name, ke] of Object.entries(rates)) expect(Math.abs(value(`ke[${name}]`) / ke - 1)).toBeLessThan(1e-6);
  expect(curves.map(({ name }) => name)).toEqual(Object.keys(rates));
  // The dose as an argument is the same model.
  const arriving = dosing.replace(/depot'.*/, "").replace("ka * depot", "dose * ka * exp(-ka * (t - begin))");
  const more = { arguments: pairs("dose, begin"), initial: pairs("central=0") };
  const begun = patients.replace(/\n(?=.)/g, (end, at) => (at === patients.indexOf("\n") ? `,begin${end}` : end));
  const rows = begun.trim().split("\n");
  const withBegin = [rows[0], ...rows.slice(1).map((row, i) => `${row},${100 * Math.floor(i / 10)}`)].join("\n");
  const again = (await fitted(task(arriving, withBegin, { ...trial, ...more }))).result;
  expect(Math.abs((again.parameters.V?.value as number) / 30 - 1)).toBeLessThan(1e-6);
});

test("priors are of parameters and initial states, and stand beside their estimates", async () => {
  const request = { estimate: pairs("hare(0)"), logPrior: spreadsByName("birth=0.4±0.01, hare(0)=30±0.1") };
  const own = years({ ...request, prior: spreadsByName("hunt=0.028+-0.001") });
  expect(own.options.parameters).toMatchObject({
    birth: { prior: { median: 0.4, logSd: 0.01 } },
    hunt: { prior: { mean: 0.028, sd: 0.001 } },
  });
  expect(own.options.initial).toMatchObject({ hare: { prior: { median: 30, logSd: 0.1 } } });
  const [{ result }, { result: free }] = [await fitted(own), await fitted(years({ estimate: request.estimate }))];
  expect(result.parameters.birth?.standardError).toBeLessThan(free.parameters.birth?.standardError as number);
  const rows = estimateRows(result, 0.95).map((row) => row.at(-1));
  expect(rows[1]).toMatch(/^lognormal prior 0.4 ± 0.01, contraction \d+ %$/);
  expect(rows[2]).toMatch(/^prior 0.028 ± 0.001, contraction \d+ %$/);
  expect(rows[3]).toBe("");
  expect(summaryOf(result, "additive")).toMatch(/ \d+\.?\d{0,2} degrees of freedom/);
});

test("fixed, bounded and found parameters start where they should", async () => {
  const request = { fix: pairs("hunt, death=0.9"), start: numbersByName("birth=0.4"), bounds: boundsByName("feed=0:") };
  const own = task(
    prey,
    lynx,
    { time: "year", observe: both, ...request },
    new Map([
      ["birth", 9],
      ["feed", 0.5],
    ]),
  );
  expect(own.options.parameters).toEqual({
    birth: { start: 0.4 },
    hunt: { start: 0.03, fixed: true },
    feed: { start: 0.5, lower: 0, upper: Number.POSITIVE_INFINITY },
    death: { start: 0.9, fixed: true },
  });
  const { result } = await fitted(own);
  expect(result.parameters.death).toMatchObject({ value: 0.9, standardError: 0, fixed: true });
  expect(estimateRows(result, 0.95)[4]).toEqual(["death", "0.9", "", "", "", "fixed"]);
});

test("initial states and arguments may be expressions of columns", () => {
  const data = `id,time,concentration,dose,weight,a-b
1,0,,4,80,3
1,1,5,,,
2,0,,5,70,4
2,1,6,5,70,4
`;
  const { members, mapping } = task(dosing, data, {
    id: "id",
    observe: pairs("concentration"),
    initial: pairs("depot=dose * weight, central=max(dose, 2) / 2"),
    arguments: pairs("V=weight^2 / 100, ka=a-b"),
  });
  expect(mapping.initial).toEqual({
    depot: { expression: "dose * weight" },
    central: { expression: "max(dose, 2) / 2" },
  });
  // A column of that name is meant.
  expect(mapping.arguments.ka).toEqual({ column: "a-b" });
  expect(members.map(({ y0 }) => y0)).toEqual([
    [320, 2],
    [350, 2.5],
  ]);
  expect(members.map(({ arguments: { V, ka } }) => [V, ka])).toEqual([
    [64, 3],
    [49, 4],
  ]);
  const angle = (table: string) =>
    task(dosing, table, {
      id: "id",
      observe: pairs("concentration"),
      initial: pairs("depot=dose * pi, central=0"),
      arguments: pairs("V=1, ka=1"),
    }).members.map(({ y0 }) => y0[0]);
  expect(angle(data)).toEqual([4 * Math.PI, 5 * Math.PI]);
  expect(angle(data.replace("a-b", "pi"))).toEqual([12, 20]);
  const refused = (initial: string) =>
    refusal(() => task(dosing, data, { id: "id", observe: pairs("concentration"), initial: pairs(initial) }));
  expect(refused("depot=dose*height, central=0")).toMatch(/height.*--initial name columns, expressions of columns/);
  expect(refused("depot=dose*, central=0")).toMatch(/dose\*/);
  expect(refused("depot=log(-dose), central=0")).toMatch(
    /data\.csv:2: log\(-dose\): expected a finite number, .*given NaN/,
  );
});

test("a fit that is ended has the estimates of its last iteration", async () => {
  const { result, said, profiles } = await fitted(years(), {}, true, 2);
  expect([result.reason, result.converged, said.length, profiles.length]).toEqual(["callback", false, 2, 0]);
  expect(result.parameters.birth?.value).toBe(said[1]?.parameters.birth);
  expect(messageOf(result)).toBe("Stopped after 2 iterations, not converged.");
  expect(adviceOnFit(result, [])).toEqual([expect.stringMatching(/--resume/)]);
});

test("a line says what to try where a fit is no good", async () => {
  const advice = async (own: FitTask, more: Partial<FitCommandOptions> = {}) => {
    const { result } = await fitted(own, { rtol: 1e-7, atol: 1e-9, ...more });
    return adviceOnFit(result, own.mapping.observed);
  };
  const twice = prey.replace("birth -", "birth * more -");
  const unidentified = await advice(
    task(`param more = 1\nparam idle = 3\n${twice}`, lynx, { time: "year", observe: both }),
  );
  expect(unidentified).toEqual([
    expect.stringMatching(/do not depend on idle.* Try --fix "idle"\.$/),
    expect.stringMatching(/cannot distinguish more and birth: .* Try --fix "more"\.$/),
  ]);
  expect(await advice(years(), { maxIterations: 1 })).toEqual([expect.stringMatching(/--max-iterations/)]);
  expect(await advice(years({ bounds: boundsByName("birth=0:0.5") }))).toEqual([
    expect.stringMatching(/birth ended at its upper bound.*--bounds "birth=…", or --fix/),
  ]);
  const astray = await advice(years({ start: numbersByName("birth=50") }));
  expect(astray.join("\n")).toMatch(/the fit of \w+ is no better than its mean/);
  expect(
    astray.filter((line) => /better than its mean: .*try --starts 20 with --bounds, --log/.test(line)),
  ).toHaveLength(1);
  // A decay that has hardly begun, in scatter.
  const early = task("param k = 0.01\nx' = -k * x\n", "time,x\n0,1\n1,1.1\n2,0.86\n3,1.1\n4,0.96\n");
  expect((await advice(early))[0]).toMatch(
    /^The data hardly determine k: .* Try --fix "k", or look at --profile "k"\.$/,
  );
  const blowing = task("param k = 0.1\nx' = k * x^2\n", "time,x\n0,1\n1,1.2\n2,1.6\n3,2\n4,2.9\n", {
    bounds: boundsByName("k=0:5"),
  });
  expect((await advice(blowing, { starts: 4 })).join("\n")).toMatch(/\d of 4 starts failed: .*: try --bounds/);
});

test("without --method a fit of stiff equations takes another method; with it, it has not converged", async () => {
  const robertson = `param k1 = 0.04
param k2 = 3e7
param k3 = 1e4
a' = -k1 * a + k3 * b * c
b' = k1 * a - k3 * b * c - k2 * b^2
c' = k2 * b^2
`;
  const data = "time,a,b,c\n0,1,0,0\n.4,.985,3.4e-5,.0148\n4,.9055,2.2e-5,.0945\n40,.716,9.2e-6,.284\n";
  const own = task(robertson, data);
  const { result } = await fitted(own, { solver: undefined });
  expect(result).toMatchObject({ method: "dopri5", converged: true });
  expect(result.parameters.k1?.value).toBeCloseTo(0.04009, 5);
  expect(isReliable(result)).toBe(true);
  const { result: useless } = await fitted(own, { solver: "dopri8" });
  expect(isReliable(useless)).toBe(false);
  expect(messageOf(useless)).toMatch(/^Not converged after \d+ iterations?: the derivatives of the solution/);
  expect(adviceOnFit(useless, [])).toEqual([expect.stringMatching(/stiff for dopri8.*try --method dopri5/)]);
});

test("estimates that the data do not determine are no success", async () => {
  const own = task(
    "param k = 1\nparam m = 1\nparam n = 1\nx' = -k * m * n * x\n",
    "time,x\n0,1\n1,.6\n2,.38\n3,.21\n4,.14\n5,.07\n",
  );
  const { result } = await fitted(own);
  expect(result.converged).toBe(true);
  expect(isReliable(result)).toBe(false);
  expect(messageOf(result)).toMatch(/^Stopped after \d+ iterations, .*; the data do not determine k, m, n\.$/);
  expect(adviceOnFit(result, [])).toEqual([
    expect.stringMatching(/cannot distinguish k, m and n: 2 combinations .* Try --fix "k, m"\.$/),
  ]);
});

/** An epidemic, a row for each day; `clock` writes the day. */
const epidemic = (clock: (day: number) => string | number) => {
  const field = equations(sir, { dtype: "float64" });
  const days = Array.from({ length: 21 }, (_, day) => day);
  const { y } = odeint(field, Float64Array.of(0.98, 0.02), days, { method: "dopri8", rtol: 1e-10, atol: 1e-12 });
  field.dispose();
  return `time,S,I\n${days.map((day) => `${clock(day)},${y[2 * day]},${y[2 * day + 1]}\n`).join("")}`;
};
const sir = "param beta = 0.4\nparam gamma = 0.1\nS' = -beta * S * I\nI' = beta * S * I - gamma * I\n";
const date = (day: number) => new Date(86_400_000 * (19_753 + day)).toISOString().slice(0, 10);

test("errors far beyond the estimates, which only together are determined, are no success", async () => {
  // By the second, all is over in the first row.
  const { result } = await fitted(task(sir, epidemic(date)), { solver: undefined });
  expect(result.converged).toBe(true);
  expect(isReliable(result)).toBe(false);
  expect(messageOf(result)).toMatch(/; the data do not determine beta, gamma\.$/);
  const { result: daily } = await fitted(
    task(
      sir,
      epidemic((day) => day),
    ),
  );
  expect([isReliable(daily), messageOf(daily)]).toEqual([true, expect.stringMatching(/^Converged/)]);
});

test("with a unit of time, dates are what numbers of it are", async () => {
  const format = { timeUnit: "d" };
  const [dated, plain] = [
    task(sir, epidemic(date), { format, start: new Map([["beta", 0.5]]) }),
    task(
      sir,
      epidemic((day) => day),
      { start: new Map([["beta", 0.5]]) },
    ),
  ];
  const [own, other] = [(await fitted(dated)).result, (await fitted(plain)).result];
  expect(own.covariance).toEqual(other.covariance);
  expect(own.parameters.beta?.value).toBe(other.parameters.beta?.value);
  // Results tell the dates of the table, and files the unit.
  expect(own.measurements.at(-1)?.time).toBe(86_400 * (19_753 + 20));
  const model = { name: "fit.st", bytes: saved(dated, own, format).bytes };
  const days = (text: string) => text.replace(/\d{4}-\d\d-\d\d/g, (day) => `${Date.parse(day) / 86_400_000 - 19_753}`);
  const number = { name: "fit.st", bytes: saved(plain, other).bytes };
  const grid = Array.from({ length: 5 }, (_, day) => day);
  const at = { at: [0.9, 0.1], data: undefined, format: {} };
  const { csv } = predict({
    ...at,
    model,
    times: { clock: "date", values: grid.map((day) => 86_400 * (19_753 + day)) },
  });
  expect(days(csv)).toBe(predict({ ...at, model: number, times: { clock: "number", values: grid } }).csv);
  const table = { at: undefined, times: undefined, format: {} };
  expect(days(predict({ ...table, model, data: source(epidemic(date)) }).csv)).toBe(
    predict({ ...table, model: number, data: source(epidemic((day) => day)) }).csv,
  );
  // Equations of t: days since 1970.
  const forced = "param w = 1\nx' = w * (t - 19753)\n";
  const ramp = Array.from({ length: 5 }, (_, day) => `${date(day)},${day ** 2}\n`).join("");
  expect((await fitted(task(forced, `time,x\n${ramp}`, { format }))).result.parameters.w?.value).toBeCloseTo(2, 8);
  expect(
    refusal(() =>
      task(
        sir,
        epidemic((day) => day),
        { format },
      ),
    ),
  ).toMatch(/^--time-unit: expected dates or times of day in the column time, given numbers/);
});

test("a start from which nothing can be solved is told, with one advice", async () => {
  const own = task("param k = 2\nx' = k / (x - 1)\n", "time,x\n0,1\n1,1.2\n2,1.6\n");
  let message = "";
  try {
    await fitted(own);
  } catch (error) {
    message = (error as Error).message;
  }
  expect(message).toMatch(
    /^parameters: the model cannot be solved from the starting values k = 2: the vector field or the state is not finite at t = 0.*evaluations?\. Start from other values, or set bounds\.$/,
  );
});

/** A model file of a fit, as the command writes it. */
function saved(own: FitTask, result: FitNumbers, format: Format = {}) {
  const values = Object.fromEntries(Object.values(result.parameters).map(({ name, value }) => [name, value]));
  const description: FitDescription = {
    ...own.mapping,
    ...{ clock: own.clock, format, settings: options, estimates: estimatesOf(result), fit: {} },
    ...{ freeNames: result.freeNames, covariance: [...result.covariance], trajectories: trajectoriesOf(own, values) },
  };
  return { name: "model.safetensors", bytes: fitBytes(own, values, description), description, values };
}

test("predictions are those of the fit", async () => {
  const own = task(dosing, patients, trial);
  const { result } = await fitted(own);
  const model = saved(own, result);
  const common = { model, format: {}, at: undefined };
  const { csv, errors } = predict({ ...common, data: source(patients), times: undefined });
  const predicted = readTable(source(csv), { time: "time", id: "patient" }).series;
  for (const [index, { id, rows }] of predicted.entries()) {
    const measured = result.measurements.filter(({ trajectory }) => trajectory === index);
    expect(id).toBe(Object.keys(rates)[index]);
    // All rows but the first, in which nothing was measured.
    const differences = measured.map(({ prediction }, i) => Math.abs(prediction - (rows[i + 1]?.[0] as number)));
    expect(Math.max(...differences)).toBeLessThan(1e-8);
  }
  expect(errors?.concentration).toBeLessThan(1e-6);
  // The same without the table, at other times.
  const times = { clock: "number", values: [300, 301] } as const;
  expect(refusal(() => predict({ ...common, data: undefined, times: { ...times, values: [0, 1] } }))).toMatch(
    /none before 100, where the trajectory ben begins/,
  );
  expect(predict({ ...common, data: undefined, times }).rows).toBe(8);
  expect(refusal(() => predict({ ...common, data: undefined, times, at: [1, 2] }))).toMatch(
    /ke was estimated for each/,
  );
  const stranger = patients.replaceAll('"ben"', '"bea"');
  expect(refusal(() => predict({ ...common, data: source(stranger), times: undefined }))).toMatch(
    /bea is not one of them/,
  );
});

/** Two people with doses at first rows and between, y0 and k of their own, and measurements before and after doses. */
const decaying = "param k = 0.1\ny' = -k * y\n";
const doseRows = ["id,time,amount", "1,10,0.5", "1,13,2", "2,0,0.5", "2,4,3"];
const decayRows = ["id,time,y", "1,10,10", "1,11,8", "1,13,6.5", "1,14,4.1", "2,0,12", "2,1,11", "2,3,9.2", "2,5,7.6"];
/** The same in one table, with first measurements below the doses. */
const mixedRows = [
  ...["id,time,amount,y", "1,10,0.5,", "1,10,,10", "1,11,,8", "1,13,,6.5", "1,13,2,", "1,14,,4.1"],
  ...["2,0,0.5,", "2,0,,12", "2,1,,11", "2,3,,9.2", "2,4,3,", "2,5,,7.6"],
];
const decayTable = (lines: readonly string[]) => `${lines.join("\n")}\n`;
const intoY = { duration: null, rate: null, repeats: null, interval: null, state: "y", factors: {} };
const dosesOfDecay = (apart: boolean): Partial<TaskRequest> => ({
  id: "id",
  ...(apart && { dosing: { name: "doses.csv", bytes: new TextEncoder().encode(decayTable(doseRows)) } }),
  regimen: { doses: { ...intoY, apart, amount: "amount" } },
});

test.each<[string, boolean, Partial<TaskRequest>, string]>([
  ["estimated initial states", true, { estimate: pairs("y(0)=7") }, decaying],
  ["initial states of all", true, { shared: pairs("y(0)=7") }, decaying],
  ["parameters of their own", true, { individual: pairs("k") }, decaying],
  [
    "absolute times",
    true,
    { estimate: pairs("y(0)=7"), individual: pairs("k") },
    decaying.replace("-k", "-k*cos(0*t)"),
  ],
  ["doses above first measurements", false, { estimate: pairs("y(0)=7") }, decaying],
  ["doses above, and parameters of their own", false, { initial: pairs("y=12"), individual: pairs("k") }, decaying],
])("predictions are those of the fit where trajectories begin with a dose: %s", async (_, apart, more, text) => {
  const rows = apart ? decayRows : mixedRows;
  const own = task(text, decayTable(rows), { ...dosesOfDecay(apart), ...more });
  const { result, curves } = await fitted(own);
  const times = rows.slice(1).map((row) => Number(row.split(",")[1]));
  const compared = rows.slice(1).flatMap((row, i) => (row.endsWith(",") ? [] : [times[i] as number]));
  // Without an estimate the first row is where the solve begins.
  const isStart = apart && more.individual !== undefined && more.estimate === undefined;
  const measured = result.measurements.map(({ time }) => time);
  expect(measured).toEqual(isStart ? compared.filter((time) => time !== 10 && time !== 0) : compared);
  expect(curves.map((curve) => [curve.times[0], curve.times.at(-1)])).toEqual([
    [10, 14],
    [0, 5],
  ]);
  const model = saved(own, result);
  const { field, description } = readFit(model);
  field.dispose();
  expect(description.trajectories.map(({ begin, end }) => [begin, end])).toEqual([
    [10, 14],
    [0, 5],
  ]);
  expect(description.trajectories.flatMap(({ doses = [] }) => doses.map(({ time }) => time))).toEqual([10, 13, 0, 4]);
  const doses = apart ? { doses: source(decayTable(doseRows)) } : {};
  const given = { model, data: source(decayTable(rows)), ...doses, format: {}, at: undefined, times: undefined };
  const { csv, unused, undosed } = predict(given);
  expect([unused, undosed]).toEqual([[], []]);
  const lines = csv.trim().split("\n").slice(1);
  expect(lines.map((line) => Number(line.split(",")[1]))).toEqual(times);
  const predicted = lines.flatMap((line, i) => {
    const isMeasured = !(rows[i + 1] as string).endsWith(",");
    const isFirst = isStart && (times[i] === 10 || times[i] === 0);
    return isMeasured && !isFirst ? [Number(line.split(",")[2])] : [];
  });
  expect(predicted.length).toBe(result.measurements.length);
  for (const [i, { prediction }] of result.measurements.entries()) expect(predicted[i]).toBeCloseTo(prediction, 8);
  // Without the table, a time of a dose has the state after it.
  const clock = { clock: "number", values: [10, 11] } as const;
  const alone = predict({ model, data: undefined, format: {}, at: undefined, times: clock }).csv.split("\n");
  const begin = description.trajectories[0]?.y0[0] as number;
  expect(Number(alone[1]?.split(",")[2])).toBeCloseTo(begin + 0.5, 8);
});

test("a first row whose state a fit estimates is compared with what was before the dose, with --t0 too", async () => {
  const t0 = { clock: "number", value: 0 } as const;
  const lines = mixedRows.filter((line) => !line.startsWith("1,"));
  const text = decayTable(lines);
  const [own, timed] = [undefined, t0].map((t0) => {
    return task(decaying, text, { ...dosesOfDecay(false), estimate: pairs("y(0)=7"), ...(t0 && { t0 }) });
  }) as [FitTask, FitTask];
  const [one, other] = [(await fitted(own)).result, (await fitted(timed)).result];
  expect(other.parameters["y(0)"]?.value).toBeCloseTo(one.parameters["y(0)"]?.value as number, 8);
  const given = { data: source(text), format: {}, at: undefined, times: undefined };
  const predictions = [saved(own, one), saved(timed, other)].map((model) => predict({ ...given, model }).csv);
  expect(predictions[1]).toBe(predictions[0]);
  const [, before, after] = (predictions[0] as string).split("\n").map((line) => Number(line.split(",")[2]));
  expect(before).toBeCloseTo(one.parameters["y(0)"]?.value as number, 8);
  expect((after as number) - (before as number)).toBeCloseTo(0.5, 8);
  // Of somebody else the first state is missing, and no option of predict sets it.
  const stranger = text.replace(/^2,/gm, "7,");
  const refused = refusal(() => predict({ ...given, model: saved(own, one), data: source(stranger) }));
  expect(refused).toMatch(
    /^data\.csv:2: column y: expected the initial value of y in the first row, of the trajectory 7, given a missing value$/,
  );
});

test("a dose below a measurement that is after another dose at the same time leaves times in order", async () => {
  const rows = ["id,time,amount,y", "1,0,,3", "1,1,2,", "1,1,,4.5", "1,1,1,", "1,2,,4"];
  const own = task(decaying, decayTable(rows), dosesOfDecay(false));
  expect(own.members[0]?.early).toEqual([false, true, false, false, false]);
  expect((await fitted(own)).result.measurements.map(({ time }) => time)).toEqual([1, 2]);
});

test("failures of solves tell times of the table", async () => {
  const timings = [
    { t0: 10, times: [10, 12], early: [true, false], origin: 10, unit: 1 },
    { t0: 10, times: [11], origin: 10, unit: 1 },
  ];
  const message = (t: number) => `the step size is too small at t = ${t}, step 1e-17`;
  const { t0 } = solveTimes(timings[0] as (typeof timings)[number]);
  expect(t0).toBeLessThan(0);
  expect(byTableTimes(message(t0), timings, "number")).toBe(message(10));
  expect(byTableTimes(message(1.5), timings, "number")).toBe(message(11.5));
  const apart = [...timings, { t0: 20, times: [20, 21], origin: 20, unit: 1 }];
  for (const [t, told] of [
    [t0, 0],
    [1.5, 1.5],
  ] as const) {
    expect(byTableTimes(message(t), apart, "number")).toBe(
      `the step size is too small ${told} after a trajectory begins, step 1e-17`,
    );
  }
  // What a fit and its predictions say.
  const blow = "param k = 9\ny' = k * y^2\n";
  const late = "time,y\n100,10\n101,8\n";
  const tame = task(blow.replace("9", "0.001"), "time,y\n100,1\n101,1.001\n102,1.002\n");
  const model = saved(tame, (await fitted(tame)).result);
  const above = { model, data: source(late.replace("100,10", "100,1e6")), format: {}, at: undefined, times: undefined };
  expect(refusal(() => predict(above))).toMatch(/at t = 100\.00/);
});

test.each(["lognormal", "proportional"] as const)(
  "a measurement that %s errors do not have is refused by its line",
  (error) => {
    const rows = decayRows.map((row) => (row === "2,1,11" ? "2,1,0" : row));
    const own = task(decaying, decayTable(rows), { ...dosesOfDecay(true), estimate: pairs("y(0)=7") });
    expect(refusal(() => checkMeasurements(own, error, "data.csv"))).toMatch(
      new RegExp(
        `^data\\.csv:7: column y: expected measurements above 0, as --error is ${error}, given 0 of the trajectory 2; `,
      ),
    );
    checkMeasurements(own, "additive", "data.csv");
    checkMeasurements(task(decaying, decayTable(decayRows), dosesOfDecay(true)), error, "data.csv");
  },
);

test("doses and trajectories that have no match are told", async () => {
  const dosing = (lines: readonly string[]) => ({
    name: "doses.csv",
    bytes: new TextEncoder().encode(decayTable(lines)),
  });
  const given = { ...dosesOfDecay(true), estimate: pairs("y(0)=7") };
  const with9 = doseRows.map((line) => line.replace(/^2,/, "9,"));
  const own = task(decaying, decayTable(decayRows), { ...given, dosing: dosing(with9) });
  expect(own.unmatched).toEqual({ unused: ["9"], undosed: ["2"] });
  const model = saved(own, (await fitted(own)).result);
  const common = { model, data: source(decayTable(decayRows)), format: {}, at: undefined, times: undefined };
  expect(predict({ ...common, doses: dosing(with9) })).toMatchObject(own.unmatched);
  const misnamed = dosing(doseRows.map((line) => line.replace("id", "subject")));
  const message =
    /^doses\.csv: no column id, which tells trajectories apart, but a column that nothing uses: subject; /;
  expect(refusal(() => task(decaying, decayTable(decayRows), { ...given, dosing: misnamed }))).toMatch(message);
  expect(refusal(() => predict({ ...common, doses: misnamed }))).toMatch(message);
});

test("files whose words were changed are refused", async () => {
  const own = years();
  const { result } = await fitted(own);
  const { description, values } = saved(own, result);
  const doseColumns = {
    ...{ apart: false, amount: "AMT", state: null },
    ...{ duration: null, rate: null, repeats: null, interval: null, factors: {} },
  };
  const [trajectory] = description.trajectories;
  const changes: Partial<Record<keyof FitDescription, unknown>>[] = [
    ...[{ time: 3 }, { clock: "sundial" }, { observed: [] }, { observed: [{ column: "hare" }] }, { estimates: {} }],
    ...[
      { initial: {} },
      { initial: { hare: { number: "x" }, lynx: { number: 1 } } },
      { arguments: { dose: { number: 1 } } },
    ],
    ...[
      { trajectories: [{ name: "a", begin: 0, end: 1, y0: [1], arguments: {} }] },
      { covariance: [1] },
      { settings: {} },
    ],
    // What a property of seems to be there.
    ...[1e308, true, "x", [], { ...doseColumns, factors: 1 }, { ...doseColumns, rate: 3 }].map((doses) => ({ doses })),
    ...[{ mdv: 1 }, { individual: "" }, { arguments: 5 }, { estimates: [] }, { fit: null }, { freeNames: 3 }],
    { trajectories: [{ ...trajectory, doses: [{ state: "hare", time: 0, amount: 1 }] }] },
    { trajectories: [{ ...trajectory, doses: 7 }] },
  ];
  for (const change of changes) {
    const bytes = fitBytes(own, values, { ...description, ...change } as FitDescription);
    expect(refusal(() => readFit({ name: "m", bytes }))).toBe("m: its description of the fit cannot be read");
  }
  readFit({ name: "m", bytes: fitBytes(own, values, { ...description, doses: doseColumns }) }).field.dispose();
  const { field } = readFit({ name: "m", bytes: fitBytes(own, values, description) });
  expect([...field.parameters]).toEqual(Object.values(values));
  field.dispose();
});

test.each<[string, string, string, Partial<TaskRequest>, RegExp]>([
  ["a text among numbers", prey, "time,hare,lynx\n0,1,2\n1,two,3\n", {}, /^data\.csv:3: column hare: .* given "two"/],
  ["no column", prey, "time,hase,luchs\n0,1,2\n", {}, /--observe "column = expression"/],
  [
    "a column that is not there",
    prey,
    "time,hare\n0,1\n1,2\n",
    { observe: pairs("hare, lynx") },
    /no column lynx; there are time, hare; the left side of --observe is a column: --observe "column = lynx"$/,
  ],
  [
    "a column that is misspelled",
    prey,
    "time,hares,lynx\n0,1,2\n1,2,3\n",
    { observe: pairs("haers = hare") },
    /^data\.csv:1: no column haers; there are time, hares, lynx; did you mean hares\? The left side .* --observe "hares = hare"$/,
  ],
  [
    "a column by another name",
    "param k = 1\ny' = k\n",
    "time,OD 600\n0,1\n1,2\n",
    { observe: pairs("OD = y") },
    /no column OD; there are time, "OD 600"; the left side of --observe is a column: --observe "OD 600 = y"$/,
  ],
  [
    "a column on the wrong side",
    "param k = 1\ny' = k\n",
    "time,OD600\n0,1\n1,2\n",
    { observe: pairs("y = OD600") },
    /--observe "y = OD600": expected .*; given OD600; the left side is a column: --observe "OD600 = y"$/,
  ],
  [
    "a column with a comma on the wrong side",
    "param k = 1\ny' = k\n",
    'time,"OD, 600"\n0,1\n1,2\n',
    { observe: pairs('y = "OD, 600"') },
    /the left side is a column: --observe '"OD, 600" = y'$/,
  ],
  [
    "two starts",
    prey,
    "time,hare,lynx\n0,1,2\n1,1,3\n",
    { estimate: pairs("hare=2"), start: numbersByName("hare(0)=3") },
    /--estimate hare=2: expected one start, but --start has another/,
  ],
  [
    "a start that is no number",
    prey,
    "time,hare,lynx\n0,1,2\n1,1,3\n",
    { shared: pairs("hare(0)=many") },
    /--shared hare\(0\): expected a number to start from, given many/,
  ],
  ["a time that goes back", prey, "time,hare,lynx\n1,1,2\n0,1,3\n", {}, /data\.csv:3: .*increasing times.*--id/],
  [
    "no first value",
    prey,
    "time,hare,lynx\n0,,2\n1,1,3\n",
    {},
    /data\.csv:2: column hare: .*first row.*--initial "hare=…".*--estimate "hare\(0\)"/,
  ],
  ["nothing to compare", prey, "time,hare,lynx\n0,1,2\n", {}, /nothing to fit to/],
  [
    "a dose that changes",
    dosing,
    "time,dose,concentration\n0,3,0\n1,4,1\n",
    { ...trial, id: undefined, initial: pairs("depot=3, central=0"), arguments: pairs("V=dose") },
    /data\.csv:3: column dose: expected the same number.* given 4 after 3; --id/,
  ],
  [
    "no dose",
    dosing,
    "time,dose,concentration\n0,,0\n1,,1\n",
    { ...trial, id: undefined },
    /data\.csv:2: column dose: .*depot/,
  ],
  [
    "an unknown name",
    prey,
    "time,hare,lynx\n0,1,2\n1,1,3\n",
    { observe: pairs("hare = hair") },
    /--observe "hare = hair": expected one of t, hare, lynx, birth, .*; given hair/,
  ],
  [
    "no expression",
    prey,
    "time,hare,lynx\n0,1,2\n1,1,3\n",
    { observe: pairs("hare = hare +") },
    /--observe .* given the end/,
  ],
  [
    "an unknown name in the equations",
    prey.replace("death)", "death * season)"),
    "time,hare,lynx\n0,1,2\n",
    {},
    /^model\.txt:6:39: .*line param season = 1.*; --arguments "season" takes it from a column/,
  ],
  ["a comment", prey, "time,hare,lynx\n0,1,2\n1,1,3\n", { observe: pairs("hare = hare # 2") }, /without #/],
  [
    "a state without a start",
    prey,
    "time,hare\n0,1\n1,1\n",
    {},
    /the state lynx has no initial value.*--estimate "lynx\(0\)=1"/,
  ],
  [
    "a start of nothing",
    prey,
    "time,hare,lynx\n0,1,2\n1,1,3\n",
    { start: numbersByName("brith=1") },
    /--start: .* birth, hunt, feed, death; given brith/,
  ],
  [
    "a start of a state",
    prey,
    "time,hare,lynx\n0,1,2\n1,1,3\n",
    { start: numbersByName("hare(0)=1") },
    /--estimate "hare\(0\)" estimates it/,
  ],
  [
    "a start out of bounds",
    prey,
    "time,hare,lynx\n0,1,2\n1,1,3\n",
    { bounds: boundsByName("hunt=1:2") },
    /hunt: expected a start between its --bounds, 1 and 2, given 0.03/,
  ],
  [
    "a logarithm of nothing",
    prey,
    "time,hare,lynx\n0,1,2\n1,0,3\n",
    { log: ["hunt"], start: numbersByName("hunt=0") },
    /--log hunt: expected a start above 0/,
  ],
  [
    "a prior of nothing that is estimated",
    prey,
    "time,hare,lynx\n0,1,1\n1,2,2\n",
    { prior: spreadsByName("hair=1±1") },
    /--prior: expected an estimate, one of birth, hunt, feed, death; given hair/,
  ],
  [
    "two priors",
    prey,
    "time,hare,lynx\n0,1,1\n1,2,2\n",
    { prior: spreadsByName("hunt=1±1"), logPrior: spreadsByName("hunt=1±1") },
    /--log-prior hunt: cannot be combined with --prior/,
  ],
  [
    "a prior of what is fixed",
    prey,
    "time,hare,lynx\n0,1,1\n1,2,2\n",
    { logPrior: spreadsByName("hunt=1±1"), fix: pairs("hunt") },
    /--log-prior hunt: cannot be combined with --fix/,
  ],
  [
    "a prior beyond bounds",
    prey,
    "time,hare,lynx\n0,1,1\n1,2,2\n",
    { prior: spreadsByName("hunt=3±1"), bounds: boundsByName("hunt=0:1") },
    /--prior hunt: expected a number between its --bounds, 0 and 1, given 3/,
  ],
  [
    "a lognormal prior of 0",
    prey,
    "time,hare,lynx\n0,1,1\n1,2,2\n",
    { logPrior: spreadsByName("hunt=0±1") },
    /--log-prior hunt: expected a median above 0, given 0/,
  ],
  [
    "a lognormal prior of what starts below 0",
    prey,
    "time,hare,lynx\n0,1,1\n1,2,2\n",
    { logPrior: spreadsByName("hunt=1±1"), start: numbersByName("hunt=-1") },
    /--log-prior hunt: expected a start above 0, given -1; --start "hunt=…" sets it/,
  ],
  [
    "a logit without bounds",
    prey,
    "time,hare,lynx\n0,1,2\n1,0,3\n",
    { logit: ["hunt"] },
    /--logit hunt: expected bounds/,
  ],
  [
    "an idle argument",
    prey,
    "time,hare,lynx,dose\n0,1,2,1\n1,0,3,1\n",
    { arguments: pairs("dose") },
    /neither the equations nor --observe depend on the argument dose/,
  ],
  [
    "a dose that is repeated",
    dosing,
    "patient,time,dose,concentration\nanna,0,3,\nanna,1,,1\nanna,2,4,1\n",
    trial,
    /^data\.csv:4: column dose: .* of the trajectory anna, given 4 after 3; --initial takes the first row; .*--doses read repeated doses/,
  ],
  [
    "a constant that is no parameter",
    "# k = 3\nk = 0.5\nx' = -k * x\n",
    "time,x\n0,1\n1,0.5\n",
    {},
    /^nothing to estimate; write "param k = 0\.5" to estimate k$/,
  ],
  [
    "nothing to estimate",
    "x' = -x\n",
    "time,x\n0,1\n1,0.5\n",
    {},
    /^nothing to estimate; write "param k = 0\.5" to estimate a parameter k$/,
  ],
  [
    "nothing that is not fixed",
    "param k = 0.5\nx' = -k * x\n",
    "time,x\n0,1\n1,0.5\n",
    { fix: pairs("k") },
    /^nothing to estimate; --fix holds all parameters: k$/,
  ],
  [
    "a fixed state",
    prey,
    "time,hare,lynx\n0,1,2\n1,0,3\n",
    { fix: pairs("hare(0)") },
    /--fix: expected one of the parameters birth, /,
  ],
  [
    "a stranger to estimate",
    prey,
    "time,hare,lynx\n0,1,2\n1,0,3\n",
    { estimate: pairs("wolf(0)") },
    /--estimate: expected states/,
  ],
])("%s is refused with its place", (_, text, data, more, message) => {
  expect(refusal(() => task(text, data, more))).toMatch(message);
});

test("a table may repeat times, and leave trajectories without measurements", async () => {
  const own = task("param k = 1\nx' = -k * x\n", "id,time,x\na,0,2\na,1,1\na,1,1.1\nb,0,3\nc,5,2\nc,6,\nc,7,0.3\n", {
    id: "id",
  });
  expect(own.skipped).toEqual(["b"]);
  expect(own.members.map(({ name, times }) => [name, ...times])).toEqual([
    ["a", 0, 1, 1],
    ["c", 5, 6, 7],
  ]);
  expect((await fitted(own)).result.measurements.length).toBe(3);
});

test("the report is one page, with everything in it", async () => {
  const own = task(dosing, patients, trial);
  const { result, curves, profiles } = await fitted(own, {}, ["V"]);
  const qualities = qualitiesOf(result, own.mapping.observed);
  const page = reportOf({
    ...{ title: "<i>pk</i>.txt", data: "doses.csv", task: own, options, result, curves, profiles, qualities },
    advice: ["try & see"],
    notes: ["x(0) is < exact"],
  });
  expect(page).not.toMatch(/<(script|link|img|iframe|i|b)[ >]|src=|href=|url\(|@import/);
  expect(page).toContain("&#60;b&#62;dora&#60;/b&#62;");
  expect(page).toContain("try &#38; see");
  expect(page).toContain("Note: x(0) is &#60; exact.");
  // Four curves, two views of residuals, a profile; and the correlations.
  expect(page.match(/<svg viewBox/g)?.length).toBe(4 + 2 + 1 + 1);
  expect(page.match(/<circle /g)?.length).toBe(3 * result.measurements.length + (profiles[0]?.values.length as number));
  expect(page).toContain(`param V = ${result.parameters.V?.value}`);
  expect(page).not.toMatch(/NaN|undefined|Infinity/);
});

test("plots stay within their frame, whatever is known", () => {
  const x = [0, 1, 2];
  const inputs = { x, y: [1, Number.NaN, 3], colour: "red" };
  const band = { kind: "band", x, low: [0, -1e300, Number.NaN], high: [2, 1e300, 4], colour: "red" } as const;
  const svg = svgOf({
    ...{ width: 400, height: 200, x: { label: "<t>" }, y: { label: "y" } },
    marks: [band, { kind: "line", ...inputs }, { kind: "points", ...inputs }, { kind: "level", y: 2 }],
  });
  expect(svg).not.toMatch(/NaN|Infinity|e\+/);
  const coordinates = [...svg.matchAll(/[ML](-?[\d.]+),(-?[\d.]+)/g)].map(([, u, v]) => [Number(u), Number(v)]);
  expect(coordinates.length).toBeGreaterThan(4);
  for (const [u = 0, v = 0] of coordinates) expect(u >= 0 && u <= 400 && v >= -20 && v <= 220).toBe(true);
  expect(ticksOf(0.1, 0.9, 4)).toEqual([0.2, 0.4, 0.6000000000000001, 0.8]);
  expect(ticksOf(0, 3 * 86400, 3, "date")).toEqual([0, 86400, 2 * 86400, 3 * 86400]);
  expect(ticksOf(5, 5, 4)).toEqual([5]);
  expect(escaped(`<a b='c' d="&">`)).toBe("&#60;a b=&#39;c&#39; d=&#34;&#38;&#34;&#62;");
});

test("a fit is told in a line", async () => {
  const table = "time,x\n0,1\n1,0.8\n2,0.6\n";
  const { result } = await fitted(task("param k = 1\nx' = -k * x\n", table));
  expect(summaryOf(result, "additive")).toMatch(
    /^2 measurements, 1 parameter, 1 degree of freedom, residual standard error 0\.0\d{4,5}, AIC/,
  );
  const proportional = (await fitted(task("param k = 1\nx' = -k * x\n", table), { error: "proportional" })).result;
  expect(summaryOf(proportional, "proportional")).toMatch(/^2 measurements, 2 parameters, 0 degrees of freedom, AIC/);
  expect(estimateRows(result, 0.9)[0]).toEqual(["", "estimate", "standard error", "90 % CI lower", "upper", ""]);
});

test("numbers have the digits that their errors leave", () => {
  expect([shown(0.547512, 0.02318), shown(34.912, 1.58), shown(0.1, 0.1)]).toEqual(["0.5475", "34.91", "0.100"]);
  expect([shown(Number.NaN), shown(undefined), shown(Number.POSITIVE_INFINITY), shown(3.00000001)]).toEqual([
    "–",
    "–",
    "∞",
    "3",
  ]);
  expect(shown(123456789, 1234)).toBe("123456790");
  expect(
    alignedLines([
      ["", "a"],
      ["bcd", "12", "x"],
    ]),
  ).toEqual(["      a", "bcd   12   x"].map((line) => line));
});

/** Two people with doses by mouth and into the blood, measured with rate constants 0.9 and 0.2 and a volume of 10. */
const dosedRows = (() => {
  const rows = ["id,time,amt,cmt,mdv,concentration"];
  const truth = equations("depot' = -0.9 * depot\ncentral' = 0.9 * depot - 0.2 * central", { dtype: "float64" });
  for (const [id, doses] of [
    ["a", { 1: [0, 12], 2: [20] }],
    ["b", { 1: [1], 2: [] as number[] }],
  ] as const) {
    const records = [
      ...doses[1].map((time) => ({ time, order: 1, text: `${id},${time},50,1,1,0` })),
      ...doses[2].map((time) => ({ time, order: 1, text: `${id},${time},30,2,1,0` })),
    ];
    const jumps = [
      { times: doses[1], set: "depot = depot + 50" },
      { times: doses[2], set: "central = central + 30" },
    ];
    const begin = doses[1][0];
    // At 12 just before the dose, at 20 just after it.
    const times = [begin, 2, 5, 9, 12 - 1e-12, 15, 20, 26];
    const { y } = odeint(truth, new Float64Array(2), times, { jumps, rtol: 1e-11, atol: 1e-12 });
    for (const [i, time] of times.entries()) {
      if (i === 0) continue;
      const text = `${id},${Math.round(time)},.,2,0,${(y[2 * i + 1] as number) / 10}`;
      records.push({ time: Math.round(time), order: Math.round(time) === 20 ? 2 : 0, text });
    }
    records.sort((one, other) => one.time - other.time || one.order - other.order);
    rows.push(...records.map(({ text }) => text));
  }
  truth.dispose();
  return rows;
})();
const dosedColumns = {
  ...{ apart: false, amount: "amt", state: "cmt", duration: null, rate: null, repeats: null, interval: null },
  factors: {},
};

test("columns of doses that no option reads are noted", () => {
  const rows = [
    "id,time,amt,EVID,rate,ii,comment,concentration",
    "a,0,100,1,0,0,,",
    "a,1,0,0,0,0,late,2",
    "a,2,0,0,0,0,,1",
  ];
  const given = { id: "id", observe: pairs("concentration"), initial: pairs("depot=100, central=0") };
  const notes = (more: object = {}) => notesOnColumns(task(dosing, `${rows.join("\n")}\n`, { ...given, ...more }));
  expect(notes()).toEqual([
    "columns not used: amt, EVID, rate, ii. If they are about doses, add --dose-amount amt --mdv EVID --dose-rate rate --dose-interval ii",
  ]);
  const doses = { ...dosedColumns, state: "depot", rate: "rate" };
  expect(notes({ regimen: { doses, mdv: "EVID" } })).toEqual([
    "columns not used: ii. If they are about doses, add --dose-interval ii",
  ]);
  expect(notesOnColumns(years())).toEqual([]);
});

test("doses of a table are jumps of a fit, and its predictions have them too", async () => {
  const given = { id: "id", observe: pairs("concentration"), initial: pairs("depot=0, central=0") };
  const regimen = { doses: dosedColumns, mdv: "mdv" };
  const own = task(dosing, `${dosedRows.join("\n")}\n`, { ...given, regimen });
  expect(own.options.jumps).toHaveLength(2);
  const { result } = await fitted(own);
  for (const [name, value] of Object.entries({ ka: 0.9, ke: 0.2, V: 10 })) {
    expect((result as FitNumbers).parameters[name]?.value).toBeCloseTo(value, 5);
  }
  expect(result?.degreesOfFreedom).toBe(14 - 3);
  // A model where doses are concentrations, half of each: the volume is in the factor.
  const text =
    "param ka = 1\nparam ke = 0.1\nparam V = 20\ndepot' = -ka * depot\ncentral' = ka * depot - ke * central\n";
  const factors = { depot: "1 / V", central: "1 / V" };
  const other = task(text, `${dosedRows.join("\n")}\n`, {
    ...{ ...given, observe: pairs("concentration = central") },
    regimen: { ...regimen, doses: { ...dosedColumns, factors } },
  });
  const { result: found } = await fitted(other);
  expect((found as FitNumbers).parameters.V?.value).toBeCloseTo(10, 5);
  // Predictions, of the table and of the trajectories as they were fitted.
  const model = saved(own, result as FitNumbers);
  const table = source(`${dosedRows.join("\n")}\n`);
  const { errors, rows } = predict({ model, data: table, format: {}, at: undefined, times: undefined });
  expect(errors?.concentration).toBeLessThan(1e-6);
  expect(rows).toBe(dosedRows.length - 1);
  const later = predict({
    model,
    data: undefined,
    format: {},
    at: undefined,
    times: { clock: "number", values: [9, 26] },
  });
  const lineOf = (csv: string, start: string) =>
    Number(
      csv
        .split("\n")
        .find((line) => line.startsWith(start))
        ?.split(",")[2],
    );
  const seenAt = (start: string) =>
    Number(
      dosedRows
        .find((line) => line.startsWith(start))
        ?.split(",")
        .at(-1),
    );
  for (const start of ["a,9,", "a,26,", "b,26,"]) expect(lineOf(later.csv, start)).toBeCloseTo(seenAt(start), 5);
  const regimenTable = { name: "regimen.csv", bytes: new TextEncoder().encode("time,amt,cmt\n0,50,1\n") };
  const alone = predict({
    ...{ model, data: undefined, doses: regimenTable, format: {}, at: [0, 0] },
    times: { clock: "number", values: [0, 1] },
  });
  // A state is of no trajectory, and its numbers may have names.
  expect(alone.csv).not.toMatch(/^id,|^,/m);
  const stateful = (text: string, doses = regimenTable) =>
    predict({
      ...{ model, data: undefined, doses, format: {}, at: at(text) },
      times: { clock: "number", values: [0, 1] },
    }).csv;
  expect(stateful("central=0, depot(0)=0")).toBe(alone.csv);
  expect(stateful("0,0")).toBe(alone.csv);
  for (const [given, message] of [
    ["1", /^--at: expected 2 numbers, those of depot, central in this order, or --at "depot=…, central=…"; given 1$/],
    ["depot=1", /^--at: expected a number for each of depot, central; given none for central$/],
    ["depot=1,V=2", /^--at: expected numbers for depot, central; given one for V$/],
  ] as const) {
    expect(refusal(() => stateful(given))).toMatch(message);
  }
  const exact = ((0.9 / 0.7) * 50 * (Math.exp(-0.2) - Math.exp(-0.9))) / 10;
  expect(Number(alone.csv.trim().split("\n").at(-1)?.split(",").at(-1))).toBeCloseTo(exact, 5);
});

test("a fit takes infusions, overlapping ones too, and so do its predictions", async () => {
  // What is in the blood of amounts that go in at a constant rate, of which a part of 0.8 arrives.
  const [ke, V, bioavailable] = [0.3, 12, 0.8];
  const infused = (t: number, begin: number, duration: number, amount: number) => {
    const [since, after] = [Math.max(0, t - begin), Math.max(0, t - begin - duration)];
    return ((bioavailable * amount) / duration / ke) * (Math.exp(-ke * after) - Math.exp(-ke * since));
  };
  const regimens = [
    {
      id: 1,
      doses: [
        [0, 2, 100],
        [1, 4, 60],
      ],
    },
    { id: 2, doses: [[0.5, 1, 80]] },
  ] as const;
  const rows = ["id,time,amt,dur,concentration"];
  for (const { id, doses } of regimens) {
    const lines: [number, string][] = doses.map(([t, duration, amount]) => [t, `${id},${t},${amount},${duration},`]);
    for (const t of [0.25, 1.5, 3, 4.5, 6, 9]) {
      const blood = doses.reduce((sum, [begin, duration, amount]) => sum + infused(t, begin, duration, amount), 0);
      lines.push([t, `${id},${t},,,${blood / V}`]);
    }
    lines.sort(([a], [b]) => a - b);
    rows.push(...lines.map(([, line]) => line));
  }
  const text = "param ke = 0.1\nparam V = 20\nconcentration = blood / V\nblood' = -ke * blood # leaves\n";
  const columns = { ...dosedColumns, state: null, duration: "dur", factors: { blood: "0.8" } };
  const own = task(text, `${rows.join("\n")}\n`, {
    ...{ id: "id", observe: pairs("concentration"), initial: pairs("blood=0") },
    regimen: { doses: columns },
  });
  expect(own.infused).toEqual(["blood"]);
  const { result } = await fitted(own);
  expect((result as FitNumbers).parameters.ke?.value).toBeCloseTo(ke, 6);
  expect((result as FitNumbers).parameters.V?.value).toBeCloseTo(V, 5);
  const model = saved(own, result as FitNumbers);
  const { errors } = predict({
    model,
    data: source(`${rows.join("\n")}\n`),
    format: {},
    at: undefined,
    times: undefined,
  });
  expect(errors?.concentration).toBeLessThan(1e-6);
  // Of the trajectories as they were fitted, at other times: behind the end of both infusions.
  const later = predict({
    ...{ model, data: undefined, format: {}, at: undefined },
    times: { clock: "number", values: [1, 12] },
  });
  const exact = (infused(12, 0, 2, 100) + infused(12, 1, 4, 60)) / V;
  expect(Number(later.csv.trim().split("\n")[2]?.split(",").at(-1))).toBeCloseTo(exact, 6);
  // And from a state, with a table of doses, of which one has begun before.
  const doses = source("time,amt,dur\n-1,40,2\n");
  const alone = predict({
    model,
    data: undefined,
    doses,
    format: {},
    at: [5],
    times: { clock: "number", values: [0, 3] },
  });
  const rest = (5 * Math.exp(-ke * 3) + infused(3, 0, 1, 20)) / V;
  expect(Number(alone.csv.trim().split("\n").at(-1)?.split(",").at(-1))).toBeCloseTo(rest, 6);
});

test.each<[string, Partial<TaskRequest>]>([
  ["--dose-factor: expected states", { regimen: { doses: { ...dosedColumns, factors: { blood: "1" } } } }],
  [
    "--dose-factor central: expected an expression",
    { regimen: { doses: { ...dosedColumns, factors: { central: "1/W" } } } },
  ],
  ["column amt: expected a state", { regimen: { doses: { ...dosedColumns, state: "amt" } } }],
])("doses that do not fit: %s", (message, more) => {
  const given = { id: "id", observe: pairs("concentration"), initial: pairs("depot=0, central=0") };
  expect(() => task(dosing, `${dosedRows.join("\n")}\n`, { ...given, ...more })).toThrow(message);
});
