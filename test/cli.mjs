// The command line as its users have it: a system that it has never seen, interruptions, mistakes.
import assert from "node:assert/strict";
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { uniforms } from "../bench/shared/random.mjs";
import { adam, custom, equations, load, odeint, save, vectorField } from "../dist/index.js";
import { interrupted, start, stepFrom } from "./command.mjs";

const pendulum = fileURLToPath(new URL("../data/pendulum.csv", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));
const file = (name) => join(folder, name);

const run = (args, options) => start(args, { cwd: folder, ...options }).done;

async function succeed(args) {
  const { code, out, err } = await run(args);
  assert.equal(code, 0, `${args.join(" ")}\n${err}`);
  return out;
}

const json = async (args) => JSON.parse(await succeed([...args, "--json"]));

const uniform = uniforms(12345);

/** FitzHugh and Nagumo's neuron at irregular times through noise, some values missing: `count` trajectories. */
function neurons(count, length) {
  const field = custom({
    stateSize: 2,
    dtype: "float64",
    evaluate: (_, [v, w]) => Float64Array.of(v - v ** 3 / 3 - w + 0.5, 0.08 * (v + 0.7 - 0.8 * w)),
    vjp: (_, [v], [a, b]) => ({ y: Float64Array.of((1 - v * v) * a + 0.08 * b, -a - 0.064 * b) }),
  });
  const noise = () => 0.03 * (Array.from({ length: 12 }, uniform).reduce((sum, value) => sum + value) - 6);
  return Array.from({ length: count }, (_, id) => {
    const start = Float64Array.of(4 * uniform() - 2, 2 * uniform() - 0.5);
    const times = [0];
    while (times.length < length) times.push((times.at(-1) ?? 0) + 0.4 + 1.2 * uniform());
    const { y } = odeint(field, start, times, { rtol: 1e-9, atol: 1e-9 });
    const truth = times.map((_, i) => [y[2 * i], y[2 * i + 1]]);
    const seen = truth.map((row, i) => row.map((value) => (i > 0 && uniform() < 0.03 ? Number.NaN : value + noise())));
    return { id: `neuron ${id}`, times, truth, seen };
  });
}

function table(name, series) {
  const rows = series.flatMap(({ id, times, seen }) =>
    times.map((time, i) =>
      [id, time, ...seen[i].map((value) => (Number.isNaN(value) ? "" : value.toFixed(4)))].join(","),
    ),
  );
  writeFileSync(file(name), `cell,t,voltage,recovery\n${rows.join("\n")}\n`);
  return file(name);
}

/** Linear between the rows, whose missing values are left out; beyond them the nearest. */
function interpolate({ times, seen }, column, time) {
  const points = times.map((at, i) => [at, seen[i][column]]).filter(([, value]) => !Number.isNaN(value));
  const next = points.findIndex(([at]) => at >= time);
  if (next <= 0) return points.at(next)[1];
  const [[t0, y0], [t1, y1]] = [points[next - 1], points[next]];
  return y0 + ((y1 - y0) * (time - t0)) / (t1 - t0);
}

/** Seconds between the rows of the oscillations below, and how long a force takes to repeat itself. */
const STEP = 0.2;
const PERIOD = 5.7;

/** A damped oscillator that is released from rest, and may be driven; or without inertia a state that only relaxes. */
function course(x, length, { force = 0, inertia = true } = {}) {
  /** @type {(t: number, y: Float64Array) => number[]} */
  const slope = (t, [x, v]) => {
    const push = force * Math.cos((2 * Math.PI * t) / PERIOD);
    return inertia ? [v, push - 1.69 * x - 0.2 * v] : [push - x, 0];
  };
  const field = custom({
    stateSize: 2,
    dtype: "float64",
    evaluate: (t, y) => Float64Array.from(slope(t, y)),
    vjp: () => ({ y: new Float64Array(2) }),
  });
  const times = Array.from({ length }, (_, i) => i * STEP);
  const { y } = odeint(field, Float64Array.of(x, 0), times, { rtol: 1e-9, atol: 1e-9 });
  return times.map((time, i) => [time, y[2 * i]]);
}

/** Rows at the beginning of a trajectory that have too little before them. */
const missed = ({ settings, units }) => Math.round((settings.delays * units.lag) / STEP);

const rms = (differences) => Math.sqrt(differences.reduce((sum, value) => sum + value ** 2, 0) / differences.length);

try {
  // What it has never seen: trained on twelve neurons, tried on four others.
  const all = neurons(16, 40);
  const [training, unseen] = [all.slice(0, 12), all.slice(12)];
  const [learned, tried] = [table("neurons.csv", training), table("unseen.csv", unseen)];
  const columns = ["--time", "t", "--id", "cell"];
  const result = await json(["train", learned, ...columns, "--out", "neurons.safetensors"]);
  assert.deepEqual(result.state, ["voltage", "recovery"]);
  const [, ...lines] = (await succeed(["predict", "neurons.safetensors", tried])).trim().split("\n");
  const predicted = lines.map((line) => line.split(",").slice(2).map(Number));
  const points = unseen.flatMap(({ times, truth }) => times.map((time, i) => ({ time, i, truth: truth[i] })));
  assert.equal(predicted.length, points.length);
  for (const column of [0, 1]) {
    const ours = rms(points.flatMap(({ i, truth }, p) => (i === 0 ? [] : [predicted[p][column] - truth[column]])));
    const mean = (time) => training.reduce((sum, own) => sum + interpolate(own, column, time) / training.length, 0);
    const theirs = rms(points.flatMap(({ i, time, truth }) => (i === 0 ? [] : [mean(time) - truth[column]])));
    console.log(
      `${["voltage", "recovery"][column]}: error ${ours.toPrecision(3)}, of the mean of the training ${theirs.toPrecision(3)}`,
    );
    assert.ok(ours < theirs / 2, "better by far than the mean of the training");
  }
  console.log(`trained in ${result.seconds.toFixed(1)} s, held out ${result.validation.toPrecision(3)}`);

  // The gradient on those data, what the file holds, predictions from a state.
  assert.ok((await json(["gradcheck", "neurons.safetensors", tried])).error < 1e-6);
  const { training: told, optimizer } = await json(["info", "neurons.safetensors"]);
  assert.deepEqual([told.id, told.time, told.finished.steps, optimizer], ["cell", "t", 1500, null]);
  const forward = await succeed(["predict", "neurons.safetensors", "--at", "1,0.5", "--times", "5:7:0.5"]);
  assert.equal(forward.split("\n").length, 7);
  assert.match(forward, /^t,voltage,recovery\n5,1,0\.5\n5\.5,/);

  // Interrupted in whichever window and by whatever ends a program in order, and resumed: the same file, byte for byte.
  const short = ["train", pendulum, "--id", "trajectory", "--steps", "800", "--seed", "3"];
  const bytesOf = (name) => new Uint8Array(readFileSync(file(name)));
  await succeed([...short, "--out", "whole.safetensors", "--json"]);
  const stops = [];
  for (const [signal, status, step] of [
    ["SIGINT", 130, 80],
    ["SIGTERM", 143, 240],
    ["SIGHUP", 129, 440],
  ]) {
    const checkpoint = stops.length > 0 ? readFileSync(file("parts.safetensors")) : undefined;
    const before = () => checkpoint && writeFileSync(file("parts.safetensors"), checkpoint);
    const args = [...short, "--out", "parts.safetensors", ...(checkpoint ? ["--resume"] : [])];
    const stopped = await interrupted(args, { cwd: folder, signal, step, before });
    assert.equal(stopped.code, status, stopped.err);
    stops.push(Number(stopped.err.match(/stopped at step (\d+); continue with the same command and --resume/)[1]));
  }
  assert.ok(stops.every((step, i) => step > (stops[i - 1] ?? 0) && step < 800));
  const other = await run([...short, "--out", "parts.safetensors", "--resume", "--batch", "8"]);
  assert.equal(other.code, 2);
  assert.match(other.err, /batch 64, not 8/);
  const narrower = await run([...short, "--out", "parts.safetensors", "--resume", "--state", "angle"]);
  assert.equal(narrower.code, 2);
  assert.match(narrower.err, /state \["angle","velocity"\], not \["angle"\]/);
  const changed = await run(["train", learned, "--out", "parts.safetensors", "--resume"]);
  assert.match(changed.err, /not the data/);
  await succeed(["train", pendulum, "--out", "parts.safetensors", "--resume", "--json"]);
  assert.deepEqual(bytesOf("parts.safetensors"), bytesOf("whole.safetensors"));
  assert.match((await run([...short, "--out", "parts.safetensors", "--resume"])).err, /finished/);
  console.log(`stopped at steps ${stops.join(", ")}, resumed to the same file`);

  // What has been learned is not lost with the place that it was for: it is put elsewhere, and the command says where.
  const spare = { TMPDIR: file("spare"), TEMP: file("spare"), HOME: file("spare") };
  mkdirSync(file("spare"));
  const away = async (options) => {
    const { child, done, said } = start([...short, "--out", "gone/model.safetensors"], { cwd: folder, env: spare });
    await said(stepFrom(80));
    rmSync(file("gone"), { recursive: true });
    if (options?.signal) child.kill(options.signal);
    return await done;
  };
  mkdirSync(file("gone"));
  const orphan = await away();
  assert.equal(orphan.code, 1, orphan.err);
  const [, found] = orphan.err.match(
    /gone\/model\.safetensors could not be written: .*; the trained model is in (.*)\n/,
  );
  assert.deepEqual(new Uint8Array(readFileSync(found)), bytesOf("whole.safetensors"));
  mkdirSync(file("gone"));
  const halfway = await away({ signal: "SIGTERM" });
  assert.ok([143, 1].includes(halfway.code), halfway.err);
  const [, checkpoint] = halfway.err.match(/--resume and --out (.*?): gone|the trained model is in .*/);
  if (halfway.code === 143) {
    await succeed(["train", pendulum, "--out", checkpoint, "--resume", "--json"]);
    assert.deepEqual(new Uint8Array(readFileSync(checkpoint)), bytesOf("whole.safetensors"));
  }

  // A file that is there stays whole until there is another; a link stays a link; nothing is left beside them.
  mkdirSync(file("results"));
  writeFileSync(file("results/predictions.csv"), "precious\n");
  const predicting = ["predict", "whole.safetensors", pendulum, "--out", "results/predictions.csv"];
  if (process.platform !== "win32") {
    const { code, err } = await run(predicting, { shell: 'ulimit -f 2; exec "$@"' });
    assert.equal(code, 1, err);
    assert.match(err, /error: .*it would exceed the largest file size here\n$/);
    assert.equal(readFileSync(file("results/predictions.csv"), "utf8"), "precious\n");
    symlinkSync("predictions.csv", file("results/link.csv"));
    symlinkSync("model.safetensors", file("results/new.safetensors"));
    await succeed([...predicting.slice(0, -1), "results/link.csv"]);
    assert.ok(lstatSync(file("results/link.csv")).isSymbolicLink());
    assert.match(readFileSync(file("results/predictions.csv"), "utf8"), /^trajectory,time,angle,velocity\n/);
    const few = ["train", pendulum, "--id", "trajectory", "--steps", "30", "--json", "--checkpoint", "0", "--out"];
    await Promise.all(["new", "new", "model", "model"].map((name) => succeed([...few, `results/${name}.safetensors`])));
    assert.ok(lstatSync(file("results/new.safetensors")).isSymbolicLink());
    load(readFileSync(file("results/model.safetensors")));
    assert.deepEqual(readdirSync(file("results")).sort(), [
      ...["link.csv", "model.safetensors", "new.safetensors", "predictions.csv"],
    ]);
  }

  // Tables from pipes, which give their bytes once, and models too.
  const bytes = readFileSync(pendulum);
  const piped = (name) => ["train", name, "--id", "trajectory", "--steps", "800", "--seed", "3", "--json"];
  for (const [name, options] of [
    ["-", { input: bytes }],
    ["/dev/stdin", { input: bytes }],
    ["/dev/fd/0", { shell: 'cat "$DATA" | "$@"', env: { DATA: pendulum } }],
  ]) {
    if (process.platform === "win32" && name !== "-") continue;
    const { code, err } = await run([...piped(name), "--out", "piped.safetensors"], options);
    assert.equal(code, 0, err);
    assert.deepEqual(bytesOf("piped.safetensors"), bytesOf("whole.safetensors"));
  }
  const fromPipe = await run(["info", "-"], { input: readFileSync(file("whole.safetensors")) });
  assert.match(fromPipe.out, /^standard input: mlp/);

  // An energy instead of a network of slopes: springs, drawn out to different lengths.
  const springs = [0.5, 0.8, 1.1, 1.4].flatMap((length) =>
    Array.from({ length: 30 }, (_, i) =>
      [length, i / 4, length * Math.cos(i / 4), -length * Math.sin(i / 4)].join(","),
    ),
  );
  writeFileSync(file("springs.csv"), `length,time,q,p\n${springs.join("\n")}\n`);
  const energy = ["--id", "length", "--model", "hamiltonian", "--out", "energy.safetensors", "--steps", "300"];
  const { validation } = await json(["train", "springs.csv", ...energy]);
  console.log(`springs by their energy: held out ${validation.toPrecision(3)}`);
  assert.ok(validation < 0.05);
  assert.ok((await json(["gradcheck", "energy.safetensors", "springs.csv"])).passed);

  // Equations instead of a network: their parameters are found, and the file holds them whole.
  const lynx = fileURLToPath(new URL("../data/lynx-hare.csv", import.meta.url));
  const prey = `# Lotka and Volterra
param birth = 0.4
  param hunt=0.05   # by each lynx
param feed = 0.05
param death = 1
hunted = hunt * hare_thousands * lynx_thousands
hare_thousands' = hare_thousands * birth - hunted
lynx_thousands' = lynx_thousands * (feed * hare_thousands - death)
`;
  writeFileSync(file("prey.txt"), prey);
  const fitting = ["train", lynx, "--time", "year", "--equations", "prey.txt"];
  const caught = await json([...fitting, "--steps", "1000", "--out", "prey.safetensors"]);
  assert.deepEqual(caught.state, ["hare_thousands", "lynx_thousands"]);
  assert.deepEqual(Object.keys(caught.fitted), ["birth", "hunt", "feed", "death"]);
  // As others have found them: 0.55, 0.028, 0.026, 0.84.
  for (const [name, value] of Object.entries({ birth: 0.55, hunt: 0.028, feed: 0.026, death: 0.84 })) {
    assert.ok(Math.abs(caught.fitted[name] / value - 1) < 0.15, `${name} ${caught.fitted[name]}`);
  }
  assert.ok(caught.validation < 0.1 && caught.advice === null);
  assert.ok((await json(["gradcheck", "prey.safetensors", lynx])).passed);
  const { field: ofPrey, training: howPrey } = await json(["info", "prey.safetensors"]);
  assert.equal(ofPrey.kind, "equations");
  const valued = prey
    .replace("= 0.4", `= ${caught.fitted.birth}`)
    .replace("=0.05", `= ${caught.fitted.hunt}`)
    .replace("= 0.05", `= ${caught.fitted.feed}`)
    .replace("= 1", `= ${caught.fitted.death}`);
  assert.equal(ofPrey.equations, valued.trimEnd());
  assert.equal(howPrey.settings.equations, prey);
  const printed = await succeed(["info", "prey.safetensors"]);
  assert.match(printed, /prey\.safetensors: equations, 4 parameters, float32, state of 2\n/);
  assert.match(printed, /\n {2}hare_thousands' = hare_thousands \* birth - hunted\n/);
  // In the table's units, and by the library.
  const { field: preyField } = load(readFileSync(file("prey.safetensors")));
  assert.equal(/** @type {any} */ (preyField).equations, prey);
  assert.deepEqual(
    [...preyField.parameters].map((x) => Number(x.toPrecision(7))),
    Object.values(caught.fitted),
  );
  const ahead = await succeed(["predict", "prey.safetensors", "--at", "30,4", "--times", "1900:1905:1"]);
  const solvedPrey = odeint(preyField, Float32Array.of(30, 4), [0, 1, 2, 3, 4, 5], { rtol: 1e-6, atol: 1e-6 }).y;
  const rowsAhead = ahead.trim().split("\n").slice(1);
  for (const [i, row] of rowsAhead.entries()) {
    const [year, ...states] = row.split(",").map(Number);
    assert.equal(year, 1900 + i);
    for (const [j, x] of states.entries()) assert.ok(Math.abs(x / solvedPrey[2 * i + j] - 1) < 0.01);
  }
  // What was fitted is a text to go on from, with logarithms as well.
  writeFileSync(file("fitted.txt"), ofPrey.equations);
  const logs = ["--log", "hare_thousands,lynx_thousands"];
  const again = await json([
    "train",
    lynx,
    "--time",
    "year",
    "--equations",
    "fitted.txt",
    ...logs,
    "--steps",
    "200",
    "--out",
    "logs.safetensors",
  ]);
  assert.ok(again.validation < 0.5);
  assert.ok((await json(["gradcheck", "logs.safetensors", lynx])).passed);
  // Interrupted and resumed: the same file.
  const long = [...fitting, "--steps", "4000"];
  await succeed([...long, "--out", "long.safetensors", "--json"]);
  const cut = await interrupted([...long, "--out", "cut.safetensors"], { cwd: folder, signal: "SIGINT", step: 700 });
  assert.equal(cut.code, 130, cut.err);
  writeFileSync(file("other.txt"), prey.replace("0.4", "0.6"));
  const others = await run(["train", lynx, "--equations", "other.txt", "--out", "cut.safetensors", "--resume"]);
  assert.equal(others.code, 2);
  assert.match(others.err, /this training has equations .*, not /);
  await succeed(["train", lynx, "--out", "cut.safetensors", "--resume", "--json"]);
  assert.deepEqual(bytesOf("cut.safetensors"), bytesOf("long.safetensors"));

  // Estimates with their errors, from the same equations and columns by other names.
  const fitPrey = prey.replaceAll("_thousands", "");
  writeFileSync(file("fit.txt"), fitPrey);
  const columnsOfPrey = ["--observe", "hare_thousands = hare, lynx_thousands = lynx"];
  const estimating = ["fit", lynx, "--time", "year", "--equations", "fit.txt", ...columnsOfPrey];
  const starts = ["--estimate", "hare(0), lynx(0)", "--log", "birth,hunt,feed,death"];
  const estimated = await json([
    ...estimating,
    ...starts,
    "--profile",
    "birth",
    "--report",
    "fit.html",
    "--out",
    "fit.st",
  ]);
  assert.ok(estimated.converged && estimated.degreesOfFreedom === 36 && estimated.warnings.length === 0);
  assert.deepEqual(estimated.notes, []);
  // First rows that are taken as exact are told: in the text, as JSON and in the report.
  const exactly = await run([...estimating, "--out", "exact.st", "--report", "exact.html"]);
  const exact = /hare\(0\), lynx\(0\) are taken from the first row as exact\. .*--estimate .*hare\(0\), lynx\(0\)/;
  assert.match(exactly.out, new RegExp(`^note: ${exact.source}`, "m"));
  assert.match(readFileSync(file("exact.html"), "utf8"), new RegExp(`<p>Note: ${exact.source}`));
  assert.match((await json([...estimating, "--out", "exact.st"])).notes.join(), exact);
  for (const [name, value] of Object.entries({ birth: 0.55, hunt: 0.028, feed: 0.026, death: 0.84 })) {
    const { value: own, standardError } = estimated.parameters[name];
    assert.ok(
      Math.abs(own - value) < 3 * standardError && standardError < 0.2 * value,
      `${name} ${own} ± ${standardError}`,
    );
  }
  const [birthProfile] = estimated.profiles;
  assert.ok(birthProfile.interval[0] < estimated.parameters.birth.value && birthProfile.interval[1] > 0.55);
  assert.equal(estimated.measurements.length, 42);
  assert.deepEqual(Object.keys(estimated.starts[0].start), ["birth", "hunt", "feed", "death", "hare(0)", "lynx(0)"]);
  const fitReport = readFileSync(file("fit.html"), "utf8");
  assert.doesNotMatch(fitReport, /<(script|link|img|iframe)[ >]|src=|url\(|@import|NaN/);
  assert.match(fitReport, /<h2>Correlation of the estimates<\/h2>[\s\S]*<h2>Profiles<\/h2>/);
  console.log(
    `lynx and hare: ${Object.values(estimated.parameters).map(({ name, value, standardError }) => `${name} ${value.toPrecision(3)} ± ${standardError.toPrecision(2)}`)}`,
  );
  // The file: a field of the library, what info tells, and predictions that are those of the fit.
  const { field: fittedField } = load(readFileSync(file("fit.st")));
  assert.deepEqual(
    [...fittedField.parameters],
    ["birth", "hunt", "feed", "death"].map((name) => estimated.parameters[name].value),
  );
  const { fit: toldFit, field: toldField } = await json(["info", "fit.st"]);
  assert.equal(toldFit.estimates.birth.standardError, estimated.parameters.birth.standardError);
  assert.ok(toldField.equations.includes(`param birth = ${estimated.parameters.birth.value}`));
  assert.match(await succeed(["info", "fit.st"]), /\n {2}birth 0\.\d+ ± 0\.0\d+\n/);
  const backward = (await succeed(["predict", "fit.st", lynx])).trim().split("\n").slice(1);
  for (const { time, column, prediction } of estimated.measurements) {
    const [, ...states] = backward[time - 1900].split(",").map(Number);
    const state = states[column === "hare_thousands" ? 0 : 1];
    assert.ok(Math.abs(state / prediction - 1) < 1e-8, `${time} ${column}: ${state}, ${prediction}`);
  }
  assert.equal((await succeed(["predict", "fit.st", "--times", "1900:1930:1"])).split("\n").length, 33);
  assert.match(await succeed(["predict", "fit.st", "--at", "30,4", "--times", "1900:1901:1"]), /\n1900,30,4\n/);
  // What the documentation shows.
  const guide = readFileSync(new URL("../docs/command-line.md", import.meta.url), "utf8");
  const [, equationsShown] = /```text\n(# lynx\.txt[\s\S]*?)```/.exec(guide) ?? [];
  const [, commandShown, outputShown] =
    /npx symplectic-adjoint (fit [\s\S]*?)\n```\n\n```text\n([\s\S]*?)```/.exec(guide) ?? [];
  writeFileSync(file("lynx.txt"), equationsShown);
  const shownWords = [...commandShown.replaceAll("\\\n", "").matchAll(/"([^"]*)"|\S+/g)].map(
    ([word, quoted]) => quoted ?? word,
  );
  const shownArgs = shownWords.map((word) => (word === "data/lynx-hare.csv" ? lynx : word));
  assert.equal(await succeed(shownArgs), outputShown);
  // Of fit and train, neither writes over the model of the other.
  mkdirSync(file("defaults"));
  const inDefaults = async (args) => {
    const { code, err } = await run(args, { cwd: file("defaults") });
    assert.equal(code, 0, err);
  };
  writeFileSync(file("defaults/fit.txt"), fitPrey);
  await inDefaults(estimating);
  await inDefaults(["train", lynx, "--time", "year", "--steps", "20"]);
  assert.deepEqual(readdirSync(file("defaults")).sort(), ["fit.safetensors", "fit.txt", "model.safetensors"]);
  // A column that only counts the rows is learned, but told.
  const counted = readFileSync(lynx, "utf8")
    .trim()
    .split("\n")
    .map((line, i) => `${line},${i === 0 ? "sample" : i}`);
  writeFileSync(file("counted.csv"), `${counted.join("\n")}\n`);
  const brief5 = ["train", "counted.csv", "--time", "year", "--steps", "20", "--out", "counted.st"];
  const leaves =
    "sample only counts the rows, but is learned as a part of the state; --state hare_thousands,lynx_thousands leaves it out";
  assert.match((await run(brief5)).err, new RegExp(`^note: ${leaves}$`, "m"));
  assert.deepEqual((await json(brief5)).notes, [leaves]);
  assert.deepEqual((await json([...brief5, "--state", "hare_thousands,lynx_thousands"])).notes, []);
  // Predictions are written as the table is: with a semicolon and a decimal comma, say.
  const german = (text) => text.replaceAll(",", ";").replaceAll(".", ",");
  writeFileSync(file("semicolons.csv"), german(readFileSync(lynx, "utf8")));
  for (const model of ["fit.st", "defaults/model.safetensors"]) {
    const plain = await succeed(["predict", model, lynx]);
    assert.equal(await succeed(["predict", model, "semicolons.csv"]), german(plain));
  }
  // What is given is predicted as it is given.
  const given = await succeed(["predict", "defaults/model.safetensors", "--at", "30.123,0", "--times", "1900:1901:1"]);
  assert.match(given, /^year,hare_thousands,lynx_thousands\n1900,30\.123,0\n1901,/);
  // A column that varies little, far from zero, is predicted as closely.
  const offset = (text, shift) =>
    text.replace(/^(\d+),([\d.]+),/gm, (_, year, hares) => `${year},${(Number(hares) + shift).toFixed(5)},`);
  writeFileSync(file("far.csv"), offset(readFileSync(lynx, "utf8"), 1e8));
  await succeed(["train", "far.csv", "--time", "year", "--steps", "20", "--out", "far.st"]);
  const far = offset(await succeed(["predict", "far.st", "far.csv"]), -1e8);
  const near = await succeed(["predict", "defaults/model.safetensors", lynx]);
  const numbers = (text) =>
    text
      .trim()
      .split("\n")
      .slice(1)
      .flatMap((line) => line.split(",").map(Number));
  const differences = numbers(far).map((number, i) => Math.abs(number - numbers(near)[i]));
  assert.ok(Math.max(...differences) < 1e-3, `off by ${Math.max(...differences)}`);
  // Cut short, and gone on from: the same estimates.
  const brief4 = await run([...estimating, ...starts, "--max-iterations", "3", "--out", "short.st"]);
  assert.equal(brief4.code, 3, brief4.err);
  assert.match(brief4.out, /\nNot converged after 3 iterations\.\n/);
  assert.match(brief4.err, /warning: not converged: try --resume/);
  const resumedFit = await json([...estimating, ...starts, "--resume", "--out", "short.st"]);
  assert.ok(Math.abs(resumedFit.cost / estimated.cost - 1) < 1e-9 && resumedFit.iterations < estimated.iterations);
  // Ctrl-C: what there is, and where there is nothing yet.
  const slow = [...estimating, "--starts", "100000", "--seed", "1", "--out", "stopped.st"];
  const halted = start(slow, { cwd: folder });
  await halted.said((text) => /iteration 1 /.exec(text) ?? undefined);
  halted.child.kill("SIGINT");
  const afterwards = await halted.done;
  assert.equal(afterwards.code, 130, afterwards.err);
  assert.match(afterwards.out, /\nStopped /);
  assert.ok((await json(["info", "stopped.st"])).fit.estimates.birth.value > 0);
  assert.ok((await json([...estimating, "--resume", "--out", "stopped.st"])).converged);
  // Estimates that nobody can rely on are no success: two that go together, and stiff equations by a method that is no good for them.
  writeFileSync(file("twice.txt"), "param a = 1\nparam b = 0.9\nx' = -a * b * x\n");
  writeFileSync(file("decaying.csv"), "time,x\n0,1\n1,0.7\n2,0.4\n3,0.3\n4,0.2\n");
  const undetermined = ["fit", "decaying.csv", "--equations", "twice.txt", "--out", "twice.st"];
  const untold = await run(undetermined);
  assert.equal(untold.code, 3, untold.err);
  assert.match(untold.out, /^a .* ∞ .*\n[\s\S]*the data do not determine a, b\.\n/m);
  assert.doesNotMatch(untold.out, /Converged/);
  assert.equal(untold.err.match(/warning: The data cannot distinguish/g)?.length, 1);
  assert.equal(JSON.parse((await run([...undetermined, "--json"])).out).converged, false);
  assert.equal((await json([...undetermined, "--fix", "b"])).converged, true);
  writeFileSync(
    file("robertson.txt"),
    "param k1 = 0.04\na' = -k1*a + 1e4*b*c\nb' = k1*a - 1e4*b*c - 3e7*b^2\nc' = 3e7*b^2\n",
  );
  writeFileSync(
    file("robertson.csv"),
    "time,a,b,c\n0,1,0,0\n.4,.985,3.4e-5,.0148\n4,.9055,2.2e-5,.0945\n40,.716,9.2e-6,.284\n",
  );
  const stiff = ["fit", "robertson.csv", "--equations", "robertson.txt", "--out", "robertson.st"];
  const switched = await json(stiff);
  assert.equal(switched.method, "dopri5");
  assert.ok(Math.abs(switched.parameters.k1.value - 0.04) < 2e-4);
  assert.match(await succeed(["predict", "robertson.st", "robertson.csv"]), /^time,a,b,c\n/);
  const useless = await run([...stiff, "--method", "dopri8"]);
  assert.equal(useless.code, 3, useless.err);
  assert.match(useless.err, /warning: not converged: the equations are probably stiff for dopri8.* --method dopri5/);
  assert.doesNotMatch(useless.err, /output:/);
  // Whole trajectories from a pipe: a dose, a rate for each patient, errors in proportion.
  const pharmacokinetics =
    "param ka = 1\nparam ke = 0.1\nparam V = 20\ndepot' = -ka * depot\ncentral' = ka * depot - ke * central\n";
  writeFileSync(file("pk.txt"), pharmacokinetics);
  const rates = { anna: 0.12, ben: 0.08, cy: 0.15, dora: 0.1 };
  const hours = [0, 0.25, 0.5, 1, 2, 4, 6, 9, 12, 24];
  const samples = Object.entries(rates).flatMap(([id, ke], index) => {
    const truth = equations(pharmacokinetics, { parameters: { ka: 1.4, ke, V: 30 }, dtype: "float64" });
    const dose = 250 + 20 * index;
    const { y } = odeint(truth, Float64Array.of(dose, 0), hours, { rtol: 1e-9, atol: 1e-9 });
    const noise = () => 0.05 * (Array.from({ length: 12 }, uniform).reduce((sum, value) => sum + value) - 6);
    return hours.map((time, i) => `${id},${time},${i ? "" : dose},${i ? (y[2 * i + 1] / 30) * (1 + noise()) : ""}`);
  });
  const samplesText = `patient,time,dose,concentration\n${samples.join("\n")}\n`;
  const trial = ["fit", "-", "--id", "patient", "--equations", "pk.txt", "--observe", "concentration = central / V"];
  const dosed = [...trial, "--initial", "depot=dose,central=0", "--individual", "ke", "--log", "ka,ke,V", "--json"];
  const treated = await run([...dosed, "--error", "proportional", "--out", "pk.st"], { input: samplesText });
  assert.equal(treated.code, 0, treated.err);
  const { parameters: ofPatients } = JSON.parse(treated.out);
  const truths = { ka: 1.4, V: 30, ...Object.fromEntries(Object.entries(rates).map(([id, ke]) => [`ke[${id}]`, ke])) };
  for (const [name, truth] of Object.entries(truths)) {
    const { value, standardError } = ofPatients[name];
    assert.ok(
      Math.abs(value - truth) < 4 * standardError && standardError < 0.2 * truth,
      `${name} ${value} ± ${standardError}`,
    );
  }
  assert.ok(ofPatients["error.b"].value > 0.02 && ofPatients["error.b"].value < 0.1);
  // A dose before the first row, and rows that count by their standard deviations: of 2 exp(−k t), the first is all but exact.
  writeFileSync(file("decay.txt"), "param k = 0.2\nx' = -k * x\n");
  writeFileSync(file("decay.csv"), `time,x,amt,sd\n1,${2 * Math.exp(-0.7)},2,1e-4\n2,0.4,,1\n`);
  const decaying = ["fit", "decay.csv", "--equations", "decay.txt", "--initial", "x=amt", "--t0", "0", "--sd", "sd"];
  const { parameters: decayed, measurements: both } = await json([...decaying, "--out", "decay.st"]);
  assert.ok(Math.abs(decayed.k.value - 0.7) < 1e-6 && both.length === 2, JSON.stringify(decayed));
  assert.match(await succeed(["predict", "decay.st", "--times", "0,1", "--out", "-"]), /^time,x\n0,2\n1,0\.9931/);
  assert.ok(!existsSync(file("-")));
  // What the table and the options may have wrong.
  writeFileSync(file("doses.csv"), samplesText);
  writeFileSync(file("changed.csv"), samplesText.replace("anna,1,,", "anna,1,7,"));
  writeFileSync(file("words.csv"), samplesText.replace(/ben,1,,.*/, "ben,1,,<script>"));
  writeFileSync(file("blow.txt"), "param k = 2\nx' = k * x^2\n");
  writeFileSync(file("blow.csv"), "time,x\n0,1\n1,1.2\n2,1.6\n");
  const wrong = (table, ...more) => [
    "fit",
    table,
    "--id",
    "patient",
    "--equations",
    "pk.txt",
    "--out",
    "wrong.st",
    ...more,
  ];
  const observing = ["--observe", "concentration = central / V", "--initial", "depot=dose,central=0"];
  /** @type {[args: string[], code: number, message: RegExp][]} */
  const fitMistakes = [
    [["fit", lynx], 2, /required option '--equations/],
    [["fit", lynx, "--equations", "no.txt"], 1, /no\.txt: no such file/],
    [
      wrong("changed.csv", ...observing, "--arguments", "V=dose"),
      1,
      /changed\.csv:5: column dose: .* trajectory anna, given 7 after 250/,
    ],
    [wrong("words.csv", ...observing), 1, /words\.csv:15: column concentration: expected a number, given "<script>"/],
    [wrong("doses.csv", ...observing, "--start", "kE=1"), 2, /--start: .*ka, ke, V; given kE/],
    [wrong("doses.csv", ...observing, "--bounds", "ke=1"), 2, /birth=0:1/],
    [
      wrong("doses.csv", ...observing, "--loss", "huber", "--error", "combined"),
      2,
      /--loss huber: expected --error additive/,
    ],
    [wrong("doses.csv", ...observing, "--noise", "1", "--loss", "huber"), 2, /--noise: expected --loss linear/],
    [wrong("doses.csv", ...observing, "--profile", "kE"), 2, /--profile: expected some of ka, ke, V; given kE/],
    [wrong("doses.csv", ...observing, "--resume"), 1, /wrong\.st: no such file/],
    [wrong("doses.csv", "--initial", "depot=dose"), 2, /--observe "column = expression"/],
    [wrong("doses.csv", ...observing, "--report", "doses.csv"), 2, /--report doses\.csv: expected a different file/],
    [wrong("doses.csv", ...observing, "--report", "-"), 2, /--report -: expected a file/],
    [wrong("doses.csv", ...observing, "--level", "95"), 2, /between 0 and 1/],
    [
      ["fit", "blow.csv", "--equations", "blow.txt"],
      1,
      /the model cannot be solved from the starting values k = 2: .*\ntry --start/,
    ],
    [["fit", "-", "--equations", "-"], 2, /one of the equations and the table/],
    [["gradcheck", "fit.st", lynx], 1, /a model of fit, which predict and info read/],
    [[...estimating, "--resume", "--out", "whole.safetensors"], 1, /a model in float64|not fitted by this command/],
  ];
  for (const [args, code, message] of fitMistakes) {
    const { code: given, err, out } = await run(args);
    assert.equal(given, code, `${args.join(" ")}\n${err}`);
    assert.match(err + out, message);
    assert.doesNotMatch(err, /\n\s+at /);
  }

  // Names from files do not steer the terminal.
  writeFileSync(file("names.csv"), "ti\u001b[31mme,x\n0,1\n1,2\n");
  const { err: named } = await run(["train", "names.csv"]);
  assert.match(named, /there are ti\\x1b\[31mme, x;/);

  // A rate that changes with the time, from trajectories at other times, with names that the command would have used.
  const tide = "param k = 1\nparam clock_scaled = 0\nx' = -k * x + clock_scaled * cos(t)\n";
  writeFileSync(file("tide.txt"), tide);
  const driven = equations(tide, { parameters: { k: 0.4, clock_scaled: 1.5 }, dtype: "float64" });
  const tides = [0, 10, 21, 35, 47].flatMap((begin, id) => {
    const times = Array.from({ length: 30 }, (_, i) => begin + 0.3 * i);
    const { y } = odeint(driven, Float64Array.of(Math.sin(id)), times, { rtol: 1e-9, atol: 1e-9 });
    return times.map((time, i) => `${id},${time.toFixed(1)},${y[i].toFixed(5)}`);
  });
  writeFileSync(file("tide.csv"), `id,time,x\n${tides.join("\n")}\n`);
  const flood = await json([
    "train",
    "tide.csv",
    "--id",
    "id",
    "--equations",
    "tide.txt",
    "--steps",
    "1000",
    "--out",
    "t.st",
  ]);
  console.log(`tide by its equation: ${JSON.stringify(flood.fitted)}`);
  assert.ok(Math.abs(flood.fitted.k - 0.4) < 0.02 && Math.abs(flood.fitted.clock_scaled - 1.5) < 0.05);
  // Where there is a gradient left to check.
  await json(["train", "tide.csv", "--id", "id", "--equations", "tide.txt", "--steps", "20", "--out", "begun.st"]);
  assert.ok((await json(["gradcheck", "begun.st", "tide.csv"])).passed);
  assert.ok((await json(["predict", "t.st", "tide.csv", "--out", "t.csv"])).errors.x < 0.05);

  // Models of the library, that are programs.
  const traced = vectorField({
    state: ["x"],
    parameters: { k: 1 },
    slope: ({ state, parameters: { k } }) => state.mul(k),
  });
  writeFileSync(file("traced.safetensors"), save(traced));
  assert.match(
    await succeed(["info", "traced.safetensors"]),
    /: program, 1 parameter, .*\n.*\narchitecture: .*"operations":3/,
  );
  const beside = equations("x' = -k * x", { parameters: { k: 2 } });
  writeFileSync(file("beside.safetensors"), save(beside));
  assert.equal((await json(["info", "beside.safetensors"])).field.equations, "param k = 2\nx' = -k * x");

  // Oscillations of which one column is seen: by its past, by a hidden dimension, by the force from outside.
  const oscillations = {
    damped: { series: [course(1, 150)] },
    forced: { series: [course(1, 200, { force: 2 })] },
    released: { series: [1, 0.8, 0.6, 1.2, 1.4, -0.5, -0.9, -1.1].map((x) => course(x, 60)) },
    relaxing: { series: [1, -1, 0.5, 1.5, -0.7, 0.2].map((x) => course(x, 60, { force: 2, inertia: false })) },
  };
  for (const [name, { series }] of Object.entries(oscillations)) {
    const rows = series.flatMap((own, id) => own.map(([time, x]) => `${id},${time.toFixed(1)},${x.toFixed(5)}`));
    writeFileSync(file(`${name}.csv`), `id,time,x\n${rows.join("\n")}\n`);
  }
  const force = ["--period", String(PERIOD)];
  /** @type {[name: string, options: string[], best: number | undefined][]} */
  const courses = [
    ["damped", [], undefined],
    ["damped", ["--delays", "1"], 0.01],
    ["forced", ["--delays", "3"], 0.1],
    ["forced", ["--delays", "1", ...force], 0.1],
    ["released", [], undefined],
    ["released", ["--extra", "1"], 0.1],
    ["released", ["--extra", "1", "--delays", "1", "--lag", "0.6", "--with-time"], 0.1],
    ["relaxing", [], undefined],
    ["relaxing", ["--with-time", "--activation", "sin", "--hidden", "32,32"], 0.1],
    ["relaxing", force, 0.1],
  ];
  for (const [name, options, best] of courses) {
    const model = ["--id", "id", "--hidden", "16", "--steps", "400", ...options];
    const args = ["train", `${name}.csv`, ...model, "--out", "course.safetensors", "--json"];
    const { code, out, err } = await run(args);
    assert.equal(code, 0, err);
    const { validation, advice } = JSON.parse(out);
    console.log(`${name} ${options.join(" ")}: held out ${validation.toPrecision(3)}`);
    if (best === undefined) {
      assert.match(
        advice,
        /the model is (no|hardly) better than the mean .*\n.*--delays 2.*--extra 1.*--period.*--with-time/,
      );
      assert.equal(err, `${advice}\n`);
      continue;
    }
    assert.ok(validation < best && advice === null, "better by far than the mean of what is held out");
    assert.ok((await json(["gradcheck", "course.safetensors", `${name}.csv`, "--directions", "3"])).passed);
    const { training, field } = await json(["info", "course.safetensors"]);
    assert.deepEqual(
      [training.settings.delays, training.settings.extra, training.settings.withTime, training.settings.period],
      [
        options.includes("--delays") ? Number(options[options.indexOf("--delays") + 1]) : 0,
        options.includes("--extra") ? 1 : 0,
        options.includes("--with-time"),
        options.includes("--period") ? PERIOD : null,
      ],
    );
    // From the beginning to the end, of which the last part was held out.
    const { series } = oscillations[name];
    const solved = await succeed(["predict", "course.safetensors", `${name}.csv`]);
    const states = solved
      .trim()
      .split("\n")
      .slice(1)
      .map((line) => line.split(",").map(Number));
    const [, first] = states;
    assert.equal(states.length + series.length * missed(training), series.flat().length);
    const begin = Math.round(first[1] / STEP);
    const truth = series[0];
    const own = states.filter(([id]) => id === 0).map(([, time, x]) => [x, truth[Math.round(time / STEP)][1]]);
    assert.ok(rms(own.map(([x, right]) => x - right)) < rms(own.map(([, right]) => right)) / 2);
    // The same from what has been seen until then.
    const { delays } = training.settings;
    const past = Array.from(
      { length: delays + 1 },
      (_, i) => truth[begin - 1 - i * Math.round(training.units.lag / STEP)][1],
    );
    const at = past.map((x) => x.toFixed(5)).join(",");
    const from = states[0][1];
    const one = await succeed([
      "predict",
      "course.safetensors",
      `--at=${at}`,
      "--times",
      `${from},${from + 1},${from + 2}`,
    ]);
    const [, , later] = one
      .trim()
      .split("\n")
      .map((line) => line.split(",").map(Number));
    assert.ok(Math.abs(later.at(-1) - states.find(([, time]) => Math.abs(time - from - 1) < 1e-9)[2]) < 1e-3);
    assert.equal(
      field.stateSize,
      training.settings.extra +
        delays +
        1 +
        (options.includes("--with-time") ? 1 : 0) +
        (options.includes("--period") ? 2 : 0),
    );
  }
  // Interrupted and resumed, with a clock and dimensions that nobody sees.
  const clocked = [
    "train",
    "released.csv",
    "--id",
    "id",
    "--extra",
    "1",
    "--delays",
    "1",
    "--with-time",
    ...force,
    "--steps",
    "200",
  ];
  await succeed([...clocked, "--out", "clocked.safetensors", "--json"]);
  const clock = await interrupted([...clocked, "--out", "clock.safetensors"], {
    cwd: folder,
    signal: "SIGINT",
    step: 120,
  });
  assert.equal(clock.code, 130, clock.err);
  assert.equal((await run([...clocked, "--out", "clock.safetensors", "--resume", "--extra", "2"])).code, 2);
  await succeed([...clocked, "--out", "clock.safetensors", "--resume", "--json"]);
  assert.deepEqual(bytesOf("clock.safetensors"), bytesOf("clocked.safetensors"));

  // Doses from a table of their own, as the guide shows it.
  const pharmacy = readFileSync(new URL("../docs/pharmacokinetics.md", import.meta.url), "utf8");
  const theophylline = fileURLToPath(new URL("../data/theophylline.csv", import.meta.url));
  const doses = fileURLToPath(new URL("../data/theophylline-doses.csv", import.meta.url));
  const [, modelShown] = /```text\n(# theophylline\.txt[\s\S]*?)```/.exec(pharmacy) ?? [];
  const [, trainShown, fittedShown] =
    /npx symplectic-adjoint (train [\s\S]*?)\n```\n\n```text\n([\s\S]*?)```/.exec(pharmacy) ?? [];
  const [, regimen, predictShown] =
    /```text\n(time,amount\n[\s\S]*?)```\n\n```sh\nnpx symplectic-adjoint (.*)\n/.exec(pharmacy) ?? [];
  const wordsOf = (shown) =>
    [...shown.replaceAll("\\\n", "").matchAll(/"([^"]*)"|\S+/g)].map(([word, quoted]) => {
      const files = { "data/theophylline.csv": theophylline, "data/theophylline-doses.csv": doses };
      return quoted ?? files[word] ?? word;
    });
  writeFileSync(file("theophylline.txt"), modelShown);
  writeFileSync(file("regimen.csv"), regimen);
  const fittedHere = await succeed(wordsOf(trainShown));
  // Rounding is that of the build; what is said is not.
  const withoutNumbers = (text) => text.replace(/\d+\.\d+/g, "#");
  const numbersIn = (text) => (text.match(/\d+\.\d+/g) ?? []).map(Number);
  assert.equal(withoutNumbers(fittedHere), withoutNumbers(fittedShown));
  for (const [i, value] of numbersIn(fittedShown).entries()) {
    assert.ok(Math.abs(numbersIn(fittedHere)[i] / value - 1) < 0.01, fittedHere);
  }
  const hourly = (await succeed(wordsOf(predictShown))).trim().split("\n");
  assert.equal(hourly[0], "time,gut,concentration");
  const guts = hourly.slice(1).map((line) => Number(line.split(",")[1]));
  // 4 at once, and the next dose on top of what is left.
  assert.ok(Math.abs(guts[0] - 4) < 1e-3 && guts[7] < 0.1 && Math.abs(guts[8] - 4 - guts[7] / Math.E) < 0.01);
  const dosedFile = ["theophylline.safetensors", theophylline];
  assert.ok((await json(["gradcheck", ...dosedFile, "--doses", doses])).passed);
  const { errors: dosedErrors } = await json(["predict", ...dosedFile, "--doses", doses]);
  assert.deepEqual(Object.keys(dosedErrors), ["concentration"]);
  assert.ok(dosedErrors.concentration < 1.6);

  const [, amountsShown] = /```text\n(# amounts\.txt[\s\S]*?)```/.exec(pharmacy) ?? [];
  const [, fitShown, estimatesShown] =
    /npx symplectic-adjoint (fit [\s\S]*?)\n```\n\n```text\n([\s\S]*?)```/.exec(pharmacy) ?? [];
  writeFileSync(file("amounts.txt"), amountsShown);
  assert.equal(await succeed(wordsOf(fitShown)), estimatesShown);
  const { errors: fitErrors } = await json(["predict", "fit.safetensors", theophylline, "--doses", doses]);
  assert.ok(fitErrors.concentration < 1.6);

  // Doses in rows of the table, as NONMEM has them: by mouth and again, and infusions into the blood.
  const pk = equations(
    `gut' = -1.2 * gut
     DV' = 1.2 * gut / 20 + rate / 20 - 0.15 * DV
     rate' = 0`,
    { dtype: "float64" },
  );
  const records = Array.from({ length: 6 }, (_, k) => {
    const id = `${k + 1}`;
    const amount = 80 + 20 * k;
    const infused = k % 2 === 1;
    /** @type {import("symplectic-adjoint").Jump[]} */
    const jumps = [
      { times: [0, 12], set: "gut = gut + dose", amounts: { dose: [amount, amount] } },
      { times: infused ? [6, 8] : [], set: "rate = rate + speed", amounts: { speed: infused ? [30, -30] : [] } },
    ];
    const visits = [0.5, 2, 5, 9, 12, 13, 16, 23].map((time) => time + (time === 12 ? 0 : uniform()));
    // At 12 it is measured before the dose.
    const solved = odeint(pk, new Float64Array(3), [0, ...visits.map((time) => (time === 12 ? time - 1e-9 : time))], {
      jumps,
      rtol: 1e-9,
    }).y;
    const seen = visits.map((time, i) => ({ time, text: `${id},${time},.,.,.,.,2,0,${solved[3 * i + 4].toFixed(5)}` }));
    const given = [
      { time: 0, text: `${id},0,${amount},0,1,12,1,1,0` },
      ...(infused ? [{ time: 6, text: `${id},6,60,30,0,0,2,1,0` }] : []),
    ];
    return [...given, ...seen].sort((a, b) => a.time - b.time).map(({ text }) => text);
  });
  writeFileSync(file("nonmem.csv"), `ID,TIME,AMT,RATE,ADDL,II,CMT,MDV,DV\n${records.flat().join("\n")}\n`);
  const pkText = "param ka = 0.8\nparam ke = 0.1\nparam V = 30\ngut' = -ka * gut\nDV' = ka * gut / V - ke * DV\n";
  writeFileSync(file("pk.txt"), pkText);
  const clinical = ["train", "nonmem.csv", "--id", "ID", "--time", "TIME", "--equations", "pk.txt"];
  const dosing = ["--dose-amount", "AMT", "--dose-state", "CMT", "--mdv", "MDV", "--initial", "gut=0, DV=0"];
  const more = ["--dose-rate", "RATE", "--dose-repeats", "ADDL", "--dose-interval", "II", "--dose-factor", "DV=1/V"];
  const pkTrained = await json([...clinical, ...dosing, ...more, "--out", "pk.safetensors"]);
  for (const [name, value] of Object.entries({ ka: 1.2, ke: 0.15, V: 20 })) {
    assert.ok(Math.abs(pkTrained.fitted[name] / value - 1) < 0.01, `${name} ${pkTrained.fitted[name]}`);
  }
  console.log(`doses as NONMEM has them: ${JSON.stringify(pkTrained.fitted)}`);
  assert.ok((await json(["gradcheck", "pk.safetensors", "nonmem.csv"])).passed);
  const { errors: pkErrors, trajectories: pkCount } = await json(["predict", "pk.safetensors", "nonmem.csv"]);
  assert.ok(pkErrors.DV < 0.02 && pkCount === 6, JSON.stringify(pkErrors));
  assert.deepEqual((await json(["info", "pk.safetensors"])).training.settings.infused, ["DV"]);
  const pkCut = await interrupted([...clinical, ...dosing, ...more, "--out", "pkcut.safetensors"], {
    cwd: folder,
    signal: "SIGINT",
    step: 700,
  });
  assert.equal(pkCut.code, 130, pkCut.err);
  const otherDoses = await run([...clinical, ...dosing, "--out", "pkcut.safetensors", "--resume"]);
  assert.equal(otherDoses.code, 2);
  assert.match(otherDoses.err, /this training has doses /);
  await succeed(["train", "nonmem.csv", "--out", "pkcut.safetensors", "--resume", "--json"]);
  assert.deepEqual(bytesOf("pkcut.safetensors"), bytesOf("pk.safetensors"));

  // Dates, semicolons and decimal commas, from the table to the prediction.
  const days = Array.from({ length: 40 }, (_, i) => {
    const day = new Date(Date.UTC(2024, 1, 1 + i)).toISOString().slice(0, 10);
    return `${day};${Math.exp(-0.1 * i)
      .toFixed(4)
      .replace(".", ",")}`;
  });
  writeFileSync(file("days.csv"), `\ufeffDatum;Wert\r\n${days.join("\r\n")}\r\n`);
  await succeed(["train", "days.csv", "--time", "Datum", "--steps", "100", "--out", "days.safetensors", "--json"]);
  const forecast = ["predict", "days.safetensors", "--at", "1", "--times"];
  const daily = await succeed([...forecast, "2024-02-01:2024-02-04:86400"]);
  assert.match(daily, /^Datum,Wert\n2024-02-01,1\n2024-02-02,0\.\d+\n2024-02-03,0\.\d+\n2024-02-04,/);
  assert.match(await succeed([...forecast, "2024-02-01,2024-02-01T12:00:00"]), /\n2024-02-01T12:00:00,0\.\d+\n$/);
  assert.match(await succeed(["predict", "days.safetensors", "days.csv"]), /\n2024-03-11;0,\d+\n$/);
  // Rates are per second, which is told, or per what --time-unit says, which the model remembers.
  writeFileSync(file("decay.txt"), "param k = 0.2\nWert' = -k * Wert\n");
  const decay = ["train", "days.csv", "--time", "Datum", "--equations", "decay.txt", "--steps", "200"];
  const perSecond = await run([...decay, "--out", "seconds.st"]);
  assert.match(
    perSecond.err,
    /^note: times are dates: t is in seconds, and rates are per second; --time-unit d makes that days\n/,
  );
  const perDay = await json([...decay, "--time-unit", "day", "--out", "perday.st"]);
  assert.deepEqual(perDay.notes, []);
  assert.ok(Math.abs(perDay.fitted.k - 0.1) < 1e-3, `${perDay.fitted.k}`);
  const atDays = ["--at", "1", "--times", "2024-02-01:2024-02-11:5d"];
  const [half, whole10] = (await succeed(["predict", "perday.st", ...atDays]))
    .match(/,0\.\d+/g)
    .map((text) => +text.slice(1));
  assert.ok(Math.abs(half - Math.exp(-0.5)) < 1e-2 && Math.abs(whole10 - Math.exp(-1)) < 1e-2);
  assert.ok((await json(["gradcheck", "perday.st", "days.csv"])).passed);
  const fitDays = ["fit", "days.csv", "--time", "Datum", "--equations", "decay.txt", "--out", "fitdays.st"];
  assert.match((await run(fitDays)).err, /cannot be solved from .*\n.*\ntimes are dates: t is in seconds, .*\n$/);
  assert.match((await json([...fitDays, "--start", "k=1e-6"])).notes[0], /^times are dates: t is in seconds/);
  const fitted = await json([...fitDays, "--time-unit", "d"]);
  assert.ok(Math.abs(fitted.parameters.k.value - 0.1) < 1e-3 && !fitted.notes.join().includes("dates"));
  // A period of less than two rows is a slip of the unit.
  const periodic = ["train", "days.csv", "--time", "Datum", "--steps", "1", "--out", "period.st", "--period"];
  const slip = "--period, 7 s, is shorter than two intervals between rows, of 86400 s, which cannot show it";
  assert.match((await run([...periodic, "7"])).err, new RegExp(`^note: ${slip}; a number alone counts seconds`, "m"));
  assert.deepEqual((await json([...periodic, "7d"])).notes, []);
  assert.equal((await json(["info", "period.st"])).training.settings.period, 604_800);
  assert.deepEqual((await json([...periodic, "168", "--time-unit", "h"])).notes, []);
  assert.equal((await json(["info", "period.st"])).training.settings.period, 604_800);

  // Units in the header, a time with a capital, texts of missing values: the model knows them all.
  writeFileSync(file("units.csv"), "Time [h];conc (mg/L)\n0;10\n1;8,2\n2;ND\n3;5,5\n4;4,5\n5;3,7\n");
  writeFileSync(file("conc.txt"), "param k = 0.3\nconc' = -k * conc\n");
  const unitful = ["train", "units.csv", "--missing", "ND,-", "--steps", "50", "--out"];
  const kinds = { "network.st": ["--state", "conc", "--log", "Conc"], "equations.st": ["--equations", "conc.txt"] };
  for (const [name, options] of Object.entries(kinds)) {
    await succeed([...unitful, name, ...options, "--json"]);
    assert.match(await succeed(["predict", name, "units.csv"]), /^Time \[h\];conc \(mg\/L\)\n0;10\n1;/);
  }
  assert.deepEqual((await json(["info", "network.st"])).training.state, ["conc (mg/L)"]);
  // A training that is resumed takes the same names as before.
  const first = await interrupted([...unitful, "cutunits.st", ...kinds["network.st"], "--steps", "4000"], {
    ...{ cwd: folder, signal: "SIGINT", step: 200 },
  });
  assert.equal(first.code, 130, first.err);
  await succeed([...unitful, "cutunits.st", ...kinds["network.st"], "--steps", "4000", "--resume", "--json"]);
  const unitfulFit = await json([
    "fit",
    "units.csv",
    "--missing",
    "ND",
    "--equations",
    "conc.txt",
    "--out",
    "unitsfit.st",
  ]);
  assert.deepEqual(unitfulFit.observed, [{ column: "conc (mg/L)", expression: "conc" }]);
  assert.equal(unitfulFit.notes[0], 'conc is measured by the column "conc (mg/L)"');
  assert.match(await succeed(["predict", "unitsfit.st", "units.csv"]), /^Time \[h\];conc \(mg\/L\)\n0;10\n/);
  // Without it, the text is told with the option.
  const unread = await run(["fit", "units.csv", "--equations", "conc.txt", "--out", "unitsfit.st"]);
  assert.equal(unread.code, 1);
  assert.match(unread.err, /units\.csv:4: column conc \(mg\/L\): .* given "ND"; --missing "ND" reads it as a missing/);

  // More trajectories and more parameters than a call can have arguments.
  const brief = Array.from({ length: 200_000 }, (_, id) => `${id},0,${id % 7}\n${id},1,${id % 5}`);
  writeFileSync(file("brief.csv"), `id,time,x\n${brief.join("\n")}\n`);
  const crowd = await json([
    "train",
    "brief.csv",
    "--id",
    "id",
    "--steps",
    "3",
    "--hidden",
    "4",
    "--validation",
    "0.001",
    "--out",
    "crowd.safetensors",
  ]);
  assert.equal(crowd.trajectories, 200_000);
  const wide = ["--hidden", "632,632", "--steps", "1", "--out", "wide.safetensors"];
  assert.ok((await json(["train", pendulum, "--id", "trajectory", ...wide])).parameters > 400_000);
  const checks = ["--directions", "1", "--trajectories", "1", "--steps", "1"];
  assert.ok((await json(["gradcheck", "wide.safetensors", pendulum, ...checks])).passed);

  // What is the most to lose: a file that is read is never written, whatever it is called.
  writeFileSync(file("precious.csv"), readFileSync(pendulum));
  linkSync(file("precious.csv"), file("link.csv"));
  const onto = (out) => ["train", "precious.csv", "--id", "trajectory", "--steps", "2", "--out", out];
  const reading = ["predict", "whole.safetensors", "precious.csv", "--out"];
  const whole = readFileSync(file("whole.safetensors"));
  for (const args of [
    onto("./precious.csv"),
    onto("link.csv"),
    [...reading, "link.csv"],
    [...reading, "whole.safetensors"],
  ]) {
    const { code, err } = await run(args);
    assert.equal(code, 2, `${args.join(" ")}\n${err}`);
    assert.match(err, /expected a different file from .*, which is an input/);
  }
  assert.deepEqual(readFileSync(file("precious.csv")), readFileSync(pendulum));
  assert.deepEqual(readFileSync(file("whole.safetensors")), whole);

  // Whoever has nothing to begin from is left out, and which one is held out does not depend on it.
  const gaps = "id,time,x,y\na,0,1,1\na,1,1,2\na,2,2,2\nb,0,,2\nb,1,3,\nc,0,1,1\nc,1,2,2\nd,0,1,2\n";
  writeFileSync(file("gaps.csv"), gaps);
  for (const seed of ["0", "1", "2"]) {
    const some = await json([
      "train",
      "gaps.csv",
      "--id",
      "id",
      "--steps",
      "10",
      "--seed",
      seed,
      "--out",
      "g.safetensors",
    ]);
    assert.deepEqual(some.skipped, ["b", "d"]);
    assert.ok(Number.isFinite(some.validation));
  }

  // A file of another origin, and files whose words have been changed.
  const foreign = fileURLToPath(new URL("files/sequential.safetensors", import.meta.url));
  assert.deepEqual((await json(["info", foreign])).tensors.length, 4);
  const KEY = "symplectic-adjoint.training";
  const { field, metadata } = load(whole);
  const words = JSON.parse(metadata.get(KEY) ?? "");
  const { settings, units } = words;
  for (const [index, change] of [
    "{",
    "null",
    { ...words, settings: undefined },
    { ...words, data: undefined },
    { ...words, settings: { ...settings, hidden: undefined } },
    { ...words, settings: { ...settings, steps: "many" } },
    { ...words, state: ["angle", "angle"] },
    { ...words, units: { ...units, log: ["no", "no"] } },
  ].entries()) {
    const text = typeof change === "string" ? change : JSON.stringify(change);
    writeFileSync(file("changed.safetensors"), save(field, { optimizer: adam(field), metadata: { [KEY]: text } }));
    const uses = [["predict", "changed.safetensors", pendulum]];
    if (index % 3 === 0) uses.push(["gradcheck", "changed.safetensors", pendulum]);
    if (index % 3 === 0) uses.push(["train", pendulum, "--out", "changed.safetensors", "--resume"]);
    if (index === 0) uses.push(["info", "changed.safetensors"]);
    for (const args of uses) {
      const { code, err } = await run(args);
      assert.equal(code, 1, `${text.slice(0, 60)}\n${args.join(" ")}\n${err}`);
      assert.match(err, /^error: changed\.safetensors: .*cannot be read\n$/);
    }
  }

  // As long as no solve of what is held out comes to its end, the best is infinite: a number that JSON does not have.
  const later = adam(field);
  later.steps = 700;
  const stand = {
    ...words,
    settings: { ...settings, steps: 800 },
    best: { step: 690, validation: null },
    finished: null,
  };
  const best = { "best.parameters": { shape: [field.parameters.length], data: field.parameters.slice() } };
  const unfinished = save(field, { optimizer: later, metadata: { [KEY]: JSON.stringify(stand) }, tensors: best });
  writeFileSync(file("infinite.safetensors"), unfinished);
  const goneOn = await json(["train", pendulum, "--out", "infinite.safetensors", "--resume"]);
  assert.ok(goneOn.validation < 0.1 && goneOn.bestStep > 690, "something is better than infinity");

  // Mistakes: in the command 2, in what it is given 1, and never a stack.
  writeFileSync(file("bad.csv"), "time,x\n0,1\n1,two\n");
  writeFileSync(file("back.csv"), "time,x\n0,1\n2,2\n1,3\n");
  writeFileSync(file("ragged.csv"), "time,x\n0,1\n1\n");
  writeFileSync(file("twice.csv"), "time,x,x\n0,1,2\n1,2,3\n");
  writeFileSync(file("huge.csv"), "time,x,y\n0,1e300,1\n1,2e300,2\n2,3e300,3\n");
  writeFileSync(file("tiny.csv"), "time,x\n0,1e-300\n1,2e-300\n2,3e-300\n");
  writeFileSync(file("long.csv"), "time,x\n0,1\n1e200,2\n2e200,3\n");
  writeFileSync(file("apart.csv"), "time,x,y\n0,1,\n1,,2\n2,3,\n3,,4\n");
  writeFileSync(file("times.csv"), "Times,x\n0,1\n1,2\n");
  mkdirSync(file("folder"));
  writeFileSync(file("broken.safetensors"), readFileSync(file("whole.safetensors")).subarray(0, 500));
  writeFileSync(file("unknown.txt"), "param g = 9.81\nangle' = velocity\nvelocity' = -g / length * sin(angle)\n");
  writeFileSync(file("latin.txt"), Buffer.from("# caf\xe9\nx' = 1\n", "latin1"));
  const unknownName =
    /^error: unknown\.txt:3:18: expected one of t, angle, velocity, g, or a line param length = 1 with its initial value, or a line length = expression above; given length\n$/;
  /** @type {[args: string[], code: number, message: RegExp][]} */
  const mistakes = [
    [[], 2, /Usage/],
    [["learn"], 2, /unknown command/],
    [["train"], 2, /missing required argument/],
    [["train", "bad.csv", "--steps", "0"], 2, /positive integer/],
    [["train", "bad.csv", "--method", "rk9"], 2, /dopri5/],
    [["train", "bad.csv"], 1, /bad\.csv:3: column x: expected a number, given "two"/],
    [["train", "back.csv"], 1, /back\.csv:4: column time: expected increasing times, given 1 after 2/],
    [["train", "ragged.csv"], 1, /ragged\.csv:3/],
    [["train", "twice.csv"], 1, /twice\.csv:1: there are two columns x/],
    [["train", pendulum, "--state", "angle,time"], 2, /--state: .* given time/],
    [["train", pendulum, "--id", "trajectory", "--window", "1"], 2, /two or more/],
    [["train", pendulum, "--id", "trajectory", "--out", "no/model.safetensors"], 1, /there is no folder no/],
    [["train", pendulum, "--id", "trajectory", "--out", "."], 1, /is not a regular file/],
    [["predict", "whole.safetensors", pendulum, "--out", "no/where.csv"], 1, /there is no folder no/],
    [["train", "missing.csv"], 1, /missing\.csv: no such file/],
    [["train", "."], 1, /^error: \.: is a folder\n$/],
    [["train", "folder"], 1, /folder: is a folder/],
    [["train", "bad.csv/x"], 1, /a part of its path is not a folder/],
    [["predict", "folder", pendulum], 1, /folder: is a folder/],
    [["gradcheck", "whole.safetensors", "folder"], 1, /folder: is a folder/],
    [["info", "folder"], 1, /folder: is a folder/],
    [["predict", "-", "-"], 2, /only one of the model and the table can come/],
    [["train", pendulum, "--out", "bad.csv/model.safetensors"], 1, /there is no folder bad\.csv/],
    [["train", "huge.csv"], 1, /the column x cannot be scaled: its values, as large as 2e\+300, have squares beyond/],
    [
      ["train", "tiny.csv"],
      1,
      /the column x cannot be scaled: its values, from 1e-300 to 2e-300, differ by too little/,
    ],
    [["train", "long.csv"], 1, /the column time cannot be scaled/],
    [["train", "apart.csv"], 1, /of 4 rows, there is x in 2, y in 2; --state names columns that are observed together/],
    [["train", "times.csv"], 1, /no column time; there are Times, x; --time names .*, such as --time Times/],
    [["train", pendulum, "--steps", "0x10"], 2, /positive integer/],
    [["train", pendulum, "--steps", "1_0"], 2, /positive integer/],
    [["train", pendulum, "--encoding", "runes"], 2, /name of an encoding/],
    [["train", pendulum, "--decimal", "x"], 2, /Allowed choices are \., ,/],
    [
      ["train", pendulum, "--id", "trajectory", "--period", "1e-300"],
      2,
      /--period: expected one for which times up to/,
    ],
    [["train", pendulum, "--id", "trajectory", "--period", "1d"], 2, /--period: expected a number without a unit/],
    [["train", pendulum, "--id", "trajectory", "--time-unit", "d"], 2, /--time-unit: expected dates or times of day/],
    [["train", pendulum, "--time-unit", "month"], 2, /Expected s, min, h or d/],
    [["train", pendulum, "--missing", "-,,ND"], 2, /Expected names separated by commas/],
    [["sweep", pendulum, "--period", "1d,2d"], 2, /--period: expected numbers in a sweep/],
    [["train", pendulum, "--na-values", "ND"], 2, /Did you mean --missing\?/],
    [["train", pendulum, "--lag", "1"], 2, /--lag: expected --delays as well/],
    [["train", pendulum, "--model", "hamiltonian", "--extra", "1"], 2, /--model hamiltonian: expected none of/],
    [["train", pendulum, "--id", "trajectory", "--delays", "400"], 1, /nothing to learn from: .* fewer --delays/],
    [["train", pendulum, "--equations", "no.txt"], 1, /no\.txt: no such file/],
    [
      ["train", pendulum, "--equations", "x' = -x"],
      2,
      /x' = -x: no such file; expected the name of a file that contains/,
    ],
    [["fit", lynx, "--equations", "x' = -x"], 2, /x' = -x: no such file; expected the name of a file that contains/],
    [["train", pendulum, "--equations", "unknown.txt"], 1, unknownName],
    [
      ["train", pendulum, "--equations", "prey.txt", "--id", "trajectory"],
      1,
      /no column hare_thousands; there are trajectory, time, angle, velocity; the equations have a state of that name, and each is a column/,
    ],
    [
      ["train", pendulum, "--equations", "prey.txt", "--with-time"],
      2,
      /--equations: expected none of --model, .*, given --with-time/,
    ],
    [["train", pendulum, "--equations", "prey.txt", "--model", "mlp"], 2, /given --model/],
    [["train", "-", "--equations", "-"], 2, /only one of the equations and the table can come/],
    [["train", pendulum, "--equations", "latin.txt"], 1, /latin\.txt: is not text in UTF-8/],
    [
      ["train", pendulum, "--equations", "prey.txt", "--out", "prey.txt"],
      2,
      /expected a different file from prey\.txt/,
    ],
    [["train", pendulum, "--out", "-"], 2, /--out -: expected a file/],
    [["predict", "whole.safetensors", pendulum, "--times", "2024-01-01,2024-01-02"], 2, /expected a number/],
    [["train", pendulum, "--time", "hour"], 1, /pendulum\.csv:1: no column hour; there are trajectory, time/],
    [["train", pendulum, "--id", "trajectory", "--log", "angle"], 1, /not positive/],
    [["train", pendulum], 1, /expected increasing times.*--id/],
    [
      ["train", pendulum, "--lr", "0.1"],
      2,
      /unknown option '--lr'\n\(Did you mean --learning-rate\?\)\n\(see --help\)/,
    ],
    [["train", pendulum, "--epochs=9"], 2, /unknown option '--epochs=9'\n\(Did you mean --steps\?\)/],
    [["train", pendulum, "--learningrate", "0.1"], 2, /\(Did you mean --learning-rate\?\)/],
    [["predict", "whole.safetensors", "--epochs", "9"], 2, /unknown option '--epochs'\n\(see --help\)/],
    [["train", pendulum, "--id", "trajectory", "--resume"], 1, /model\.safetensors: no such file/],
    [["predict", "broken.safetensors", pendulum], 1, /broken\.safetensors: not a safetensors file/],
    [
      ["predict", pendulum, "whole.safetensors"],
      2,
      /expected the model first, then the table: whole\.safetensors is a/,
    ],
    [["predict", pendulum, pendulum], 1, /pendulum\.csv: not a safetensors file: .*; it looks like text/],
    [
      ["predict", "whole.safetensors", "back.csv"],
      1,
      /no column trajectory; .*the model was trained on a table that has it/,
    ],
    [
      [...clinical, "--dose-lag", "lag"],
      2,
      /unknown option '--dose-lag'\n\(a lag of doses is estimated by leastSquares/,
    ],
    [[...clinical, "--dose-state", "gut"], 2, /--dose-state: expected --dose-amount or --doses as well/],
    [
      [...clinical, "--dose-amount", "AMT"],
      1,
      /no column gut; .*; --initial "gut=0" starts a state that is not a column/,
    ],
    [[...clinical, ...dosing.slice(0, 6), "--initial", "gut=0"], 1, /nonmem\.csv:2: column DV: .* --initial "DV=0"/],
    [
      [...clinical, ...dosing, "--dose-factor", "DV=1/W"],
      2,
      /--dose-factor DV: expected .* parameters, ka, ke, V; given/,
    ],
    [[...clinical, ...dosing, "--dose-rate", "CMT", "--dose-repeats", "II"], 2, /--dose-repeats and --dose-interval/],
    [["train", "nonmem.csv", "--id", "ID", "--time", "TIME", "--dose-amount", "AMT"], 2, /expected --state as well/],
    [["train", pendulum, "--initial", "angle=0"], 2, /--initial: expected --equations as well/],
    [["predict", ...dosedFile], 2, /expected --doses as well/],
    [["predict", "pk.safetensors", "nonmem.csv", "--doses", doses], 2, /--doses: expected the doses in the table/],
    [["predict", "whole.safetensors", pendulum, "--doses", doses], 2, /trained without doses/],
    [["predict", "whole.safetensors"], 2, /--at with --times/],
    [["predict", "whole.safetensors", "--at", "1", "--times", "0:1:0.5"], 2, /angle, velocity/],
    [["predict", "whole.safetensors", "--at", "1,2", "--times", "1,0"], 2, /increasing/],
    [["info", "bad.csv"], 1, /bad\.csv: not a safetensors file: .*; it looks like text/],
  ];
  for (const [args, code, message] of mistakes) {
    const { code: given, err, out } = await run(args);
    assert.equal(given, code, `${args.join(" ")}\n${err}`);
    assert.match(err + out, message);
    assert.doesNotMatch(err, /\n\s+at /);
  }
  const help = await succeed(["train", "--help"]);
  assert.match(help, /default: 32,32\)/, "a default as one types it");
  assert.doesNotMatch(help, /default: (\[\]|false|")/, "no default that says nothing");
  for (const args of [["--help"], ["train", "--help"], ["fit", "--help"], ["--version"]])
    assert.ok((await succeed(args)).length > 4);

  const { results } = await json(["bench"]);
  const of = (gradient) => results.find((result) => result.case === "small" && result.gradient === gradient);
  assert.ok(of("symplectic").bytes < of("backprop").bytes / 5);
  assert.ok(results.every(({ ms, error, gradient }) => ms > 0 && (error === 0) === (gradient !== "adjoint")));
} finally {
  rmSync(folder, { recursive: true });
}
