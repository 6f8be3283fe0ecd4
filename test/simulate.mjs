// The command that solves equations of a text file: the numbers of `odeint` and of `predict`, and what it says of mistakes.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { equations, odeint } from "../dist/index.js";
import { start } from "./command.mjs";

const lynx = fileURLToPath(new URL("../data/lynx-hare.csv", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));
const file = (name) => join(folder, name);
const run = (args, options) => start(args, { cwd: folder, ...options }).done;

async function succeed(args, options) {
  const { code, out, err } = await run(args, options);
  assert.equal(code, 0, `${args.join(" ")}\n${err}`);
  return out;
}

/** The cells of a CSV text below its header, as numbers. */
const numbersIn = (csv) =>
  csv
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.split(",").map(Number));

const text = `# Lotka and Volterra
param birth = 0.5
param hunt = 0.03    # by each lynx
hare' = hare * (birth - hunt * lynx)
lynx' = lynx * (feed * hare - death)
`;
const values = { birth: 0.45, hunt: 0.03, feed: 0.02, death: 0.8 };
const [begins, rates] = [
  ["--initial", "hare=30, lynx=4"],
  ["--parameters", "birth=0.45, feed=0.02, death=0.8"],
];
const grid = Array.from({ length: 9 }, (_, i) => i / 2);
/** @type {import("../dist/index.js").SolveOptions} */
const settings = { method: "dopri8", rtol: 1e-10, atol: 1e-12 };

try {
  writeFileSync(file("prey.txt"), text);
  writeFileSync(
    file("pk.txt"),
    "param ka = 1.2\nparam ke = 0.2\nparam V = 20\ngut' = -ka * gut\nblood' = ka * gut - ke * blood\n",
  );
  writeFileSync(file("forced.txt"), "x' = k * cos(w * t) - x\n");
  writeFileSync(file("explodes.txt"), "x' = k * x^2\n");

  // The numbers of odeint, bit by bit, in the order of the text whatever that of the options.
  /** @type {import("symplectic-adjoint").ProgramField<"float64">} */
  const field = equations(text, { parameters: values, dtype: "float64" });
  const whole = await succeed(["simulate", "prey.txt", ...begins, ...rates, "--times", "0:4:0.5"]);
  assert.match(whole, /^time,hare,lynx\n0,30,4\n0\.5,/);
  // Statements that go on in further lines are the same.
  writeFileSync(file("lines.txt"), text.replace("hare * (birth", "hare * ( # grazing\n  birth"));
  assert.equal(await succeed(["simulate", "lines.txt", ...begins, ...rates, "--times", "0:4:0.5"]), whole);
  const solved = (y0, times, options = settings, of = field) => {
    const { y } = odeint(of, Float64Array.from(y0), times, options);
    return times.map((t, i) => [t, ...y.subarray(i * y0.length, (i + 1) * y0.length)]);
  };
  assert.deepEqual(numbersIn(whole), solved([30, 4], grid));
  const swapped = ["--initial", "lynx=4", "--initial", "hare(0)=30", "--parameters", "death=0.8,feed=0.02,birth=0.45"];
  assert.equal(await succeed(["simulate", "-", ...swapped, "--times", grid.join()], { input: text }), whole);
  const loose = ["--method", "bosh3", "--rtol", "1e-3", "--atol", "1e-4", "--times", "0:4:0.5"];
  assert.deepEqual(
    numbersIn(await succeed(["simulate", "prey.txt", ...begins, ...rates, ...loose])),
    solved([30, 4], grid, { method: "bosh3", rtol: 1e-3, atol: 1e-4 }),
  );
  const fixed = ["--method", "rk4", "--step-size", "0.1", "--times", "0:4:0.5"];
  assert.deepEqual(
    numbersIn(await succeed(["simulate", "prey.txt", ...begins, ...rates, ...fixed])),
    solved([30, 4], grid, { method: "rk4", stepSize: 0.1 }),
  );
  // More times, and it is dopri5; the times are those that one would write.
  const many = numbersIn(await succeed(["simulate", "prey.txt", ...begins, ...rates, "--times", "0:30:0.1"]));
  const tenths = Array.from({ length: 301 }, (_, i) => Number((i / 10).toFixed(1)));
  assert.deepEqual(many, solved([30, 4], tenths, { ...settings, method: "dopri5" }));
  // Equations that depend on the time are solved at the times given; the initial states may be earlier than these.
  const forced = equations("x' = k * cos(w * t) - x", { parameters: { k: 2, w: 3 }, dtype: "float64" });
  const pushed = ["simulate", "forced.txt", "--initial", "x=1", "--parameters", "k=2,w=3"];
  assert.deepEqual(
    numbersIn(await succeed([...pushed, "--times", "5:7:0.5"])),
    solved([1], [5, 5.5, 6, 6.5, 7], settings, forced),
  );
  const later = solved([1], [2, 5, 5.5], settings, forced).slice(1);
  assert.deepEqual(numbersIn(await succeed([...pushed, "--t0", "2", "--times", "5,5.5"])), later);

  // Dates, of which rates, t and steps count days, are numbers of days.
  const daily = ["--times", "2024-01-01:2024-01-03:12h", "--time-unit", "d"];
  for (const more of [[], ["--step-size", "0.1"]]) {
    const dated = await succeed(["simulate", "prey.txt", ...begins, ...rates, ...daily, ...more]);
    const counted = await succeed(["simulate", "prey.txt", ...begins, ...rates, "--times", "0:2:0.5", ...more]);
    const statesOf = (csv) => csv.replace(/^[^,]*/gm, "");
    assert.equal(statesOf(dated), statesOf(counted));
    assert.match(dated, /\n2024-01-01T12:00:00,/);
  }
  writeFileSync(file("ramp.txt"), "x' = 2 * (t - 19723)\n");
  const ramp = numbersIn(await succeed(["simulate", "ramp.txt", "--initial", "x=0", ...daily]));
  for (const [i, row] of ramp.entries()) assert.ok(Math.abs(row[1] - (i / 2) ** 2) < 1e-8);

  // Several values: each trajectory is what it is alone, the last name changing fastest.
  const several = ["--initial", "hare=30, lynx=4,5", "--parameters", "birth=0.4:0.5:0.05, feed=0.02, death=0.8"];
  const ensemble = await succeed(["simulate", "prey.txt", ...several, "--times", "0:4:0.5"]);
  assert.match(ensemble, /^birth,lynx\(0\),time,hare,lynx\n0\.4,4,0,30,4\n/);
  const expected = [0.4, 0.45, 0.5].flatMap((birth) =>
    [4, 5].flatMap((lynx) => {
      const own = equations(text, { parameters: { ...values, birth }, dtype: "float64" });
      return solved([30, lynx], grid, settings, own).map((row) => [birth, lynx, ...row]);
    }),
  );
  assert.deepEqual(numbersIn(ensemble), expected);

  // What predict says for a model of fit, to all of its digits; whose values are those of the text that info shows.
  writeFileSync(file("full.txt"), text.replace("hare'", "param feed = 0.02\nparam death = 0.8\nhare'"));
  const observe = "hare_thousands = hare, lynx_thousands = lynx, both = hare + lynx";
  const shown = observe.split(", ").slice(0, 2).join();
  const fit = ["fit", lynx, "--time", "year", "--equations", "full.txt", "--observe", shown, "--out", "fit.st"];
  await succeed([...fit, "--json"]);
  const described = JSON.parse(await succeed(["info", "fit.st", "--json"]));
  const estimates = Object.entries(described.fit.estimates).map(([name, { value }]) => `${name}=${value}`);
  const { solver, rtol, atol } = described.fit.settings;
  const ahead = (await succeed(["predict", "fit.st", "--at", "lynx=4,hare=30", "--times", "1900:1930:0.5"])).replace(
    /,+$/gm,
    "",
  );
  const same = ["--initial", "hare=30,lynx=4", "--parameters", estimates.join(), "--times", "1900:1930:0.5"];
  const again = ["--time", "year", "--observe", shown, "--method", solver, "--rtol", `${rtol}`, "--atol", `${atol}`];
  const simulated = await succeed(["simulate", "full.txt", ...same, ...again]);
  assert.equal(simulated.split("\n")[0], ahead.split("\n")[0]);
  assert.deepEqual(
    numbersIn(simulated).map((row) => row.map((value) => Number(value.toPrecision(12)))),
    numbersIn(ahead),
  );

  // Expressions; doses and infusions, against the sums of their exact solutions; dates.
  const total = ["--observe", `${observe}, "hare, per lynx" = hare / (lynx * scale)`, "--time", "year"];
  const scaled = ["--parameters", "birth=0.45, feed=0.02, death=0.8, scale=2", "--times", "0,1"];
  const seen = await succeed(["simulate", "prey.txt", ...begins, ...scaled, ...total]);
  assert.match(seen, /^year,hare_thousands,lynx_thousands,both,"hare, per lynx"\n0,30,4,34,3\.75\n/);
  writeFileSync(file("regimen.csv"), "time;amount;state;hours\n0;100;gut;0\n6;50;gut;0\n12;60;2;3\n");
  const dosed = ["--doses", "regimen.csv", "--dose-duration", "hours", "--dose-factor", "blood=1/2"];
  const levels = await succeed([
    ...["simulate", "pk.txt", "--initial", "gut=0, blood=0", "--parameters", "ke=0.2,0.3", "--times", "0:24:1"],
    ...["--observe", "level = blood / V", ...dosed],
  ]);
  const [ka, volume] = [1.2, 20];
  for (const [ke, time, level] of numbersIn(levels)) {
    const after = (amount, t) =>
      t < 0 ? 0 : (amount * ka * (Math.exp(-ke * t) - Math.exp(-ka * t))) / (ka - ke) / volume;
    const into = (10 * (1 - Math.exp(-ke * Math.min(3, Math.max(0, time - 12))))) / ke;
    const infused = (into * Math.exp(-ke * Math.max(0, time - 15))) / volume;
    assert.ok(Math.abs(level - after(100, time) - after(50, time - 6) - infused) < 1e-8, `${ke} ${time}`);
  }
  const slow = ["--parameters", "ka=1e-4,ke=1e-5", "--initial", "gut=1,blood=0"];
  const dated = await succeed(["simulate", "pk.txt", ...slow, "--times", "2024-01-01:2024-01-02:43200"]);
  assert.match(
    dated,
    /^time,gut,blood\n2024-01-01,1,0\n2024-01-01T12:00:00,0\.0132\d+,.*\n2024-01-02,0\.00017\d+,.*\n$/,
  );

  // What the documentation shows.
  const guideOf = (name) => readFileSync(new URL(`../docs/${name}.md`, import.meta.url), "utf8");
  const [guide, pharmacy] = [guideOf("command-line"), guideOf("pharmacokinetics")];
  const shownIn = (guide) =>
    [...guide.matchAll(/npx symplectic-adjoint (simulate [^`]*?)\n```/g)].map(([, command]) =>
      [...command.replaceAll("\\\n", "").matchAll(/"([^"]*)"|\S+/g)].map(([word, quoted]) => quoted ?? word),
    );
  const shownBy = (pattern, page) => pattern.exec(page)?.[1] ?? "";
  mkdirSync(file("guide"));
  writeFileSync(file("guide/lynx.txt"), shownBy(/```text\n(# lynx\.txt[\s\S]*?)```/, guide));
  const [first, second] = shownIn(guide);
  const rowsShown = shownBy(/\n```text\n(time,hare,lynx\n[\s\S]*?)…\n```/, guide);
  const shownRows = numbersIn(await succeed(first, { cwd: file("guide") }));
  for (const [i, row] of numbersIn(rowsShown).entries()) {
    for (const [j, value] of row.entries()) assert.ok(Math.abs(shownRows[i][j] - value) <= 1e-9 * Math.abs(value));
  }
  await succeed(second, { cwd: file("guide") });
  assert.equal(numbersIn(readFileSync(file("guide/ensemble.csv"), "utf8")).length, 3 * 5 * 41);
  writeFileSync(file("guide/regimen.csv"), shownBy(/```text\n(time,amount\n[\s\S]*?)```/, pharmacy));
  writeFileSync(file("guide/amounts.txt"), shownBy(/```text\n(# amounts\.txt[\s\S]*?)```/, pharmacy));
  const [regimenShown] = shownIn(pharmacy);
  assert.match(await succeed(regimenShown, { cwd: file("guide") }), /^time,concentration\n0,0\n1,4\.77/);

  // To a file and as JSON.
  assert.equal(
    await succeed(["simulate", "prey.txt", ...begins, ...rates, "--times", "0:4:0.5", "--out", "prey.csv"]),
    "",
  );
  assert.equal(readFileSync(file("prey.csv"), "utf8"), whole);
  const told = JSON.parse(await succeed(["simulate", "prey.txt", ...several, "--times", "0:4:0.5", "--json"]));
  assert.deepEqual(told, {
    ...{ out: null, rows: 54, trajectories: 6 },
    parameters: { birth: [0.4, 0.45, 0.5], hunt: 0.03, feed: 0.02, death: 0.8 },
    initial: { hare: 30, lynx: [4, 5] },
    ...settings,
    notes: [],
    csv: ensemble,
  });

  // Names that objects have by themselves, and texts that are none.
  const names =
    "param __proto__ = 1\nparam constructor = 2\nx' = -__proto__ * x * constructor\nhasOwnProperty' = toString";
  writeFileSync(file("names.txt"), names);
  const odd = ["--initial", "x=1,hasOwnProperty=0", "--parameters", "__proto__=1,2,toString=3", "--times", "0,1"];
  const [, alone] = numbersIn(await succeed(["simulate", "names.txt", ...odd]));
  assert.deepEqual(
    alone.map((value) => Number(value.toFixed(6))),
    [1, 1, 0.135335, 3],
  );
  writeFileSync(file("crlf.txt"), "\ufeffx' = -k * x\r\nhalf = 0.5\r\n");
  const [, decayed] = numbersIn(
    await succeed(["simulate", "crlf.txt", ...pushed.slice(2, 4), "--parameters", "k=1", "--times", "0,1"]),
  );
  assert.ok(Math.abs(decayed[1] - Math.exp(-1)) < 1e-10);
  writeFileSync(file("binary.txt"), Uint8Array.of(120, 39, 61, 255, 254));
  writeFileSync(file("escape.txt"), "x' = \u0000y\u001b[31m\n");
  writeFileSync(file("empty.txt"), "# nothing\n");
  writeFileSync(file("deep.txt"), `x' = ${"(".repeat(1e5)}x${")".repeat(1e5)}\n`);
  writeFileSync(file("unknown.txt"), `x' = ${Array.from({ length: 600 }, (_, i) => `rate${i}`).join(" + ")}\n`);

  const x = ["simulate", "crlf.txt", "--times", "0,1", "--parameters", "k=1"];
  const prey = ["simulate", "prey.txt", "--times", "0:4:0.5"];
  /** @type {readonly (readonly [args: string[], code: number, message: RegExp])[]} */
  const mistakes = [
    // All that is missing at once.
    [
      prey,
      2,
      /^error: prey\.txt: no value for feed \(line 5\), death \(line 5\), and no initial value for hare, lynx; expected --parameters "feed=…, death=…" and --initial "hare=…, lynx=…" as well\n$/,
    ],
    [[...prey, ...rates, "--initial", "hare=30"], 2, /no initial value for lynx; expected --initial "lynx=…" as well/],
    [
      [...prey, ...begins, "--parameters", "deth=0.8"],
      2,
      /--parameters: expected parameters .*: birth, hunt, feed, death; given deth; did you mean death\?/,
    ],
    [
      [...prey, ...rates, "--initial", "hare=30, lynks=4"],
      2,
      /--initial: expected states of the equations: hare, lynx; given lynks; did you mean lynx\?/,
    ],
    [[...prey, ...rates, "--parameters", "lynx=4"], 2, /given lynx; --initial gives the initial states/],
    [
      [...x, "--initial", "x=1", "--parameters", "half=1"],
      2,
      /given half; crlf\.txt defines it: write "param half = 0\.5" there to set it/,
    ],
    [
      [...x, "--initial", "x=1", "--observe", "y = x * q"],
      2,
      /no value for q \(in --observe\); expected --parameters "q=…" as well/,
    ],
    [
      [...x, "--initial", "x=1", "--observe", "y = Sin(x)"],
      2,
      /--observe "y = Sin\(x\)": expected a function .* did you mean sin\?/,
    ],
    [[...x, "--initial", "x=1", "--observe", "y = x\nz = 2"], 2, /--observe y: expected an expression on one line/],
    [[...x, "--initial", "x=1,2", "--time", "x(0)"], 2, /expected another name for one of two columns x\(0\)/],
    // Numbers and their lists.
    [[...x, "--initial", "x"], 2, /Expected name=number, a list .*; given x\./],
    [[...x, "--initial", "x=0x10"], 2, /given x=0x10/],
    [[...x, "--initial", "x=1:0:1"], 2, /given x=1:0:1/],
    [[...x, "--initial", "x=1, 2, x=3"], 2, /Expected each name once, given x twice/],
    [[...x, "--initial", "x=1, 2", "--initial", "x(0)=3"], 2, /expected each state once, given x twice/],
    [[...x, "--initial", "x=0:1000000:1"], 2, /at most 100000 trajectories .* given 1000001 trajectories of 2 times/],
    [["simulate", "crlf.txt", "--initial", "x=1"], 2, /required option '--times <times>' not specified/],
    [["simulate", "crlf.txt", "--initial", "x=1", "--parameters", "k=1", "--times", "1,0"], 2, /increasing/],
    // A range without its step would be a time of day.
    [
      [...x, "--initial", "x=1", "--times", "0:10"],
      2,
      /--times: expected from:to:step, such as 0:10:STEP with a number for STEP, given 0:10 alone, which is a time of day/,
    ],
    [
      ["simulate", "crlf.txt", "--times", "0:100"],
      2,
      /Expected from:to:step, such as 0:100:STEP with a number for STEP/,
    ],
    [["simulate", "crlf.txt", "--times", "2024-01-01:2024-01-02"], 2, /such as 2024-01-01:2024-01-02:STEP/],
    [
      [...x, "--time-unit", "d", "--initial", "x=1"],
      2,
      /--time-unit: expected dates or times of day in --times, given/,
    ],
    [[...x, "--initial", "x=1", "--t0", "0.5"], 2, /--times: expected none before --t0, 0\.5/],
    [[...x, "--initial", "x=1", "--t0", "2024-01-01"], 2, /--t0: expected a number, as in --times, given a date/],
    // How it is solved.
    [[...x, "--initial", "x=1", "--method", "rk4"], 2, /--method rk4: expected --step-size as well/],
    [[...x, "--initial", "x=1", "--step-size", "0.1", "--atol", "1"], 2, /--atol: cannot be combined with --step-size/],
    [[...x, "--y0", "x=1"], 2, /unknown option '--y0'\n\(Did you mean --initial\?\)/],
    [[...x, "--params", "k=1"], 2, /Did you mean --parameters\?/],
    [[...x, "--equations", "crlf.txt"], 2, /the file of equations has no option before it/],
    [[...x, "--solver", "rk4"], 2, /Did you mean --method\?/],
    [
      ["simulate", "explodes.txt", "--initial", "x=1", "--parameters", "k=0.1,1", "--times", "5:7:1"],
      1,
      /^error: k=1: the step size fell below what the time can resolve at t = 6\.0/,
    ],
    [
      ["simulate", "explodes.txt", "--initial", "x=1", "--parameters", "k=1", "--times", "2024-01-01:2024-01-02:3600"],
      1,
      /^error: the step size .* at t = 2024-01-01T00:00:01, /,
    ],
    // Doses.
    [["simulate", "pk.txt", "--times", "0,1", "--dose-amount", "AMT"], 2, /--dose-amount: expected --doses as well/],
    [
      ["simulate", "pk.txt", "--times", "0,1", "--dose-state", "gut"],
      2,
      /--dose-state: expected --dose-amount or --doses/,
    ],
    [["simulate", "-", "--doses", "-", "--times", "0,1"], 2, /only one of the equations and the doses/],
    [
      ["simulate", "pk.txt", "--times", "0,1", ...slow, "--doses", "regimen.csv", "--dose-factor", "gut=F"],
      2,
      /--dose-factor gut: expected an expression of parameters; given F/,
    ],
    [
      ["simulate", "pk.txt", "--times", "0,1", ...slow, "--doses", "regimen.csv", "--dose-amount", "mg"],
      1,
      /no column mg/,
    ],
    [
      ["simulate", "pk.txt", "--times", "2024-01-01,2024-01-02", ...slow, "--doses", "regimen.csv"],
      1,
      /expected a date in each row/,
    ],
    // Files.
    [[...x, "--initial", "x=1", "--out", "crlf.txt"], 2, /--out crlf\.txt: expected a different file/],
    [["simulate", "fit.st", "--times", "0,1"], 2, /fit\.st: is a model file, which predict solves/],
    [["predict", "prey.txt", lynx], 1, /looks like text, such as a table, or equations, which simulate solves/],
    [
      ["simulate", "x' = -x", "--times", "0,1"],
      2,
      /^error: x' = -x: no such file; expected the name of a file that contains the equations\n$/,
    ],
    [["simulate", "none.txt", "--times", "0,1"], 1, /none\.txt: no such file/],
    [["simulate", lynx, "--times", "0,1"], 1, /lynx-hare\.csv:1:1: expected name' = expression, .* given year,/],
    [["simulate", "binary.txt", "--times", "0,1"], 1, /binary\.txt: is not text in UTF-8/],
    [["simulate", "escape.txt", "--times", "0,1"], 1, /escape\.txt:1:6: expected a value/],
    [["simulate", "empty.txt", "--times", "0,1"], 1, /at least one line name' = expression/],
    [["simulate", "deep.txt", "--times", "0,1"], 1, /deep\.txt:1:\d+: expected/],
    [
      ["simulate", "unknown.txt", "--times", "0,1"],
      1,
      /more than 500 names have no value; lines such as param rate500 = 1/,
    ],
  ];
  // A time at which nothing is solved yet; with --t0 it may be any.
  const one = ["simulate", "crlf.txt", "--initial", "x=1", "--parameters", "k=1"];
  const still = await run([...one, "--times", "5"]);
  assert.equal(still.code, 0);
  assert.match(
    still.err,
    /^note: --times has only 5, the time of the initial states, .* --t0 an earlier time of these\n$/,
  );
  for (const span of [
    ["0", "5"],
    ["08:00", "9:30"],
  ]) {
    const { code, err } = await run([...one, "--t0", span[0], "--times", span[1]]);
    assert.deepEqual([code, err], [0, ""]);
  }
  for (const [args, code, message] of mistakes) {
    const { code: given, err, out } = await run(args);
    assert.equal(given, code, `${args.join(" ")}\n${err}`);
    assert.match(err, message);
    assert.equal(out, "", "a mistake has no result");
    assert.doesNotMatch(err, /\n\s+at /);
    assert.ok(!err.includes("\u001b"), "no control characters");
  }
  assert.match(await succeed(["simulate", "--help"]), /Examples:\n {2}\$ symplectic-adjoint simulate prey\.txt/);
  assert.match(await succeed(["--help"]), /simulate \[options\] <equations> +solve equations in a text file/);
  console.log("simulate: the numbers of odeint and of predict");
} finally {
  rmSync(folder, { recursive: true });
}
