// The command line as its users have it: a system that it has never seen, interruptions, mistakes.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { linkSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { adam, custom, load, loadTensors, odeint, save } from "../dist/index.js";

const command = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
const pendulum = fileURLToPath(new URL("../data/pendulum.csv", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));
const file = (name) => join(folder, name);

/** Runs the command, interrupted so many milliseconds after its progress appears. */
function run(args, interruptAfter) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [command, ...args], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    let [out, err] = ["", ""];
    child.stdout.on("data", (data) => (out += data));
    child.stderr.on("data", (data) => (err += data));
    if (interruptAfter) child.stderr.once("data", () => setTimeout(() => child.kill("SIGINT"), interruptAfter));
    child.on("close", (code) => resolve({ code, out, err }));
  });
}

async function succeed(args) {
  const { code, out, err } = await run(args);
  assert.equal(code, 0, `${args.join(" ")}\n${err}`);
  return out;
}

const json = async (args) => JSON.parse(await succeed([...args, "--json"]));

/** Numbers in [0, 1), always the same. */
let state = 12345;
function uniform() {
  state = (state * 48271) % 2147483647;
  return state / 2147483647;
}

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
    while (times.length < length) times.push(times.at(-1) + 0.4 + 1.2 * uniform());
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
  assert.match(forward, /^cell,t,voltage,recovery\n,5,1,0\.5\n,5\.5,/);

  // Interrupted in whichever window, and resumed: bitwise the same model.
  const short = ["train", pendulum, "--id", "trajectory", "--steps", "800", "--seed", "3"];
  await succeed([...short, "--out", "whole.safetensors", "--json"]);
  const stops = [];
  for (const resume of [[], ["--resume"]]) {
    const stopped = await run([...short, "--out", "parts.safetensors", ...resume], 600);
    assert.equal(stopped.code, 130, stopped.err);
    stops.push(stopped.err.match(/stopped at step (\d+); go on by the same command with --resume/)[1]);
  }
  assert.ok(Number(stops[0]) < Number(stops[1]));
  const other = await run([...short, "--out", "parts.safetensors", "--resume", "--batch", "8"]);
  assert.equal(other.code, 2);
  assert.match(other.err, /batch 64, not 8/);
  const narrower = await run([...short, "--out", "parts.safetensors", "--resume", "--state", "angle"]);
  assert.equal(narrower.code, 2);
  assert.match(narrower.err, /state \["angle","velocity"\], not \["angle"\]/);
  const changed = await run(["train", learned, "--out", "parts.safetensors", "--resume"]);
  assert.match(changed.err, /not the data/);
  await succeed(["train", pendulum, "--out", "parts.safetensors", "--resume", "--json"]);
  const tensors = (name) => new Map([...loadTensors(readFileSync(file(name))).tensors].sort());
  assert.deepEqual(tensors("parts.safetensors"), tensors("whole.safetensors"));
  assert.match((await run([...short, "--out", "parts.safetensors", "--resume"])).err, /finished/);
  console.log(`stopped at steps ${stops.join(" and ")}, resumed to bitwise the same model`);

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
    assert.match(err, /expected another file than .*, which is read/);
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
  const words = JSON.parse(metadata.get(KEY));
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
  writeFileSync(file("unnamed.csv"), ",time,x\n0,0,1\n1,1,2\n");
  writeFileSync(file("broken.safetensors"), readFileSync(file("whole.safetensors")).subarray(0, 500));
  /** @type {[args: string[], code: number, message: RegExp][]} */
  const mistakes = [
    [[], 2, /Usage/],
    [["learn"], 2, /unknown command/],
    [["train"], 2, /missing required argument/],
    [["train", "bad.csv", "--steps", "0"], 2, /positive integer/],
    [["train", "bad.csv", "--solver", "rk9"], 2, /dopri5/],
    [["train", "bad.csv"], 1, /bad\.csv:3: column x: expected a number, given "two"/],
    [["train", "back.csv"], 1, /back\.csv:4: column time: expected times that increase, given 1 after 2/],
    [["train", "ragged.csv"], 1, /ragged\.csv:3/],
    [["train", "twice.csv"], 1, /twice\.csv:1: there are two columns x/],
    [["train", "unnamed.csv"], 1, /unnamed\.csv:1: a column without a name; --state/],
    [["train", pendulum, "--state", "angle,time"], 2, /--state: .* given time/],
    [["train", pendulum, "--id", "trajectory", "--window", "1"], 2, /two or more/],
    [["train", pendulum, "--id", "trajectory", "--out", "no/model.safetensors"], 1, /there is no folder no/],
    [["train", pendulum, "--id", "trajectory", "--out", "."], 1, /is no file/],
    [["predict", "whole.safetensors", pendulum, "--out", "no/where.csv"], 1, /there is no folder no/],
    [["train", "missing.csv"], 1, /missing\.csv: no such file/],
    [["train", pendulum, "--time", "hour"], 1, /pendulum\.csv:1: no column hour; there are trajectory, time/],
    [["train", pendulum, "--id", "trajectory", "--log", "angle"], 1, /not positive/],
    [["train", pendulum], 1, /expected times that increase.*--id/],
    [["train", pendulum, "--id", "trajectory", "--resume"], 1, /model\.safetensors: no such file/],
    [["predict", "broken.safetensors", pendulum], 1, /safetensors file/],
    [["predict", "whole.safetensors"], 2, /--at with --times/],
    [["predict", "whole.safetensors", "--at", "1", "--times", "0:1:0.5"], 2, /angle, velocity/],
    [["predict", "whole.safetensors", "--at", "1,2", "--times", "1,0"], 2, /increase/],
    [["info", "bad.csv"], 1, /safetensors file/],
  ];
  for (const [args, code, message] of mistakes) {
    const { code: given, err, out } = await run(args);
    assert.equal(given, code, `${args.join(" ")}\n${err}`);
    assert.match(err + out, message);
    assert.doesNotMatch(err, /\n\s+at /);
  }
  for (const args of [["--help"], ["train", "--help"], ["--version"]]) assert.ok((await succeed(args)).length > 4);

  const { results } = await json(["bench"]);
  const of = (gradient) => results.find((result) => result.case === "small" && result.gradient === gradient);
  assert.ok(of("symplectic").bytes < of("backprop").bytes / 5);
  assert.ok(results.every(({ ms, error, gradient }) => ms > 0 && (error === 0) === (gradient !== "adjoint")));
} finally {
  rmSync(folder, { recursive: true });
}
