// npm run bench: what a gradient takes, ours and others'. See docs/benchmarks.md.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildPackage } from "../scripts/build.mjs";
import { progress } from "../scripts/progress.mjs";
import { attempt, install, root } from "../scripts/run.mjs";
import { coldStart } from "./cold.mjs";
import { contenders, enginesIn, fitContenders, modelContenders } from "./contenders.mjs";
import { crossover } from "./crossover.mjs";
import { report, writeDocs } from "./docs.mjs";
import { fitsReport, measureFit, withEstimates } from "./fits.mjs";
import { efforts, gradientErrors, measure } from "./rounds.mjs";
import { scaling } from "./scaling.mjs";
import { cores, pinned } from "./shared/child.mjs";
import { addonIn, nativeBench, PEERS, peerEnvironments } from "./shared/environments.mjs";
import { fitProblems, fits } from "./shared/fits.mjs";
import { modelProblems, models } from "./shared/models.mjs";
import { cases, describe, problemsOf, writeInputs } from "./shared/problems.mjs";
import { reached } from "./targets.mjs";

const OPTIONAL = ["addon", "native", ...PEERS];
const usage = `npm run bench -- [options]
  --peers         also PyTorch, JAX, diffrax, SciPy, jax-js and TensorFlow.js, installed into bench/.peers
  --fits          fits of differential equations instead of gradients; with --peers, by SciPy, optimistix and
                  ml-levenberg-marquardt too
  --case NAME     this case alone, may be repeated: ${[...Object.keys(cases), ...Object.keys(models)].join(", ")};
                  with --fits ${Object.keys(fits).join(", ")}
  --brief         fewer and shorter rounds: half the time
  --quick         few and short rounds, no scaling: to see that it works
  --node PATH     also in this Node, may be repeated; peers are compared with the last one
  --without NAME  leave out, may be repeated: ${OPTIONAL.join(", ")}; native is the crate alone, and node
                  jax-js and TensorFlow.js
  --update        with --case or --without: what is measured anew in bench/results/latest.json, the rest as it was
  --out FILE      where the JSON goes; bench/results unless the run is a partial one
  --write-docs    measure nothing: write what is in bench/results into docs/benchmarks.md and docs/choosing.md, and its plots
  --help`;

// Of the last minute: above 0, somebody else is at work.
const load = loadavg()[0];
const { values: flags } = parse();
if (flags.help) {
  console.log(usage);
  process.exit();
}
const results = join(root, "bench/results");
const latest = join(results, "latest.json");
const latestFits = join(results, "fits.json");
if (flags["write-docs"]) {
  await plots(latest);
  writeDocs(latest, latestFits);
  process.exit();
}

const everyName = Object.keys(flags.fits ? fits : { ...cases, ...models });
const names = flags.case ?? everyName;
for (const name of names)
  if (!everyName.includes(name)) refuse(`${name}: no such case; there are ${everyName.join(", ")}`);
const nodes = nodesOf(flags.node ?? []);
const main = nodes.at(-1);
const without = flags.without ?? [];
for (const name of without)
  if (!OPTIONAL.includes(name)) refuse(`${name}: nothing to leave out; there are ${OPTIONAL.join(", ")}`);
const effort = efforts[flags.quick ? "quick" : flags.brief ? "brief" : "full"];

buildPackage();
const api = await import("../dist/index.js");
// What prepares problems computes the same wherever the benchmark runs.
await api.init({ engine: "wasm" });
const addon = without.includes("addon") ? undefined : addonIn(main.path, { build: !flags.quick });
const native = without.includes("native") || flags.fits ? undefined : nativeBench();
const environments = flags.peers ? peerEnvironments(main.path, without) : undefined;
const networks = names.filter((name) => cases[name]);
// Peers that nobody asks for are not installed.
const allContenders = networks.length > 0 ? contenders({ nodes, addon, native, environments }) : [];
const modellers = modelContenders({ node: main, addon, native, environments });
const [runtime, modelRuntime] = ["ours.mjs", "models.mjs"].map((file) => ({
  command: [main.path, join(root, "bench/contenders", file)],
  env: enginesIn(main)[0].env,
}));

if (flags.update && flags.fits) refuse("--update goes with gradients: fits are measured together");
const short = flags.quick || flags.case !== undefined;
const partial = short || without.length > 0;
if (flags.update && (!partial || flags.quick)) refuse("--update goes with --case or --without, and not in haste");
const kind = flags.update ? "latest" : partial ? "partial" : flags.peers ? "latest" : "ours";
const name = flags.fits ? { latest: "fits", partial: "partial-fits", ours: "ours-fits" }[kind] : kind;
const file = flags.out ? resolve(process.env.INIT_CWD ?? ".", flags.out) : join(results, `${name}.json`);
/** @type {{ results: any[], runtime: string } & Record<string, any>} */
const run = {
  created: new Date().toISOString(),
  quick: flags.quick,
  brief: flags.brief,
  runtime: main.name,
  machine: {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    usableCores: cores.length,
    load,
    registerBits: addon?.registerBits,
    os: `${type()} ${release()} ${process.arch}`,
    memoryBytes: totalmem(),
    pinnedTo: pinned ?? "nothing, for want of taskset",
  },
  effort,
  versions: {},
  earlier: [],
  fits: [],
  results: [],
  models: [],
  coldStart: [],
  scaling: [],
  crossover: [],
  targets: [],
};

if (flags.fits) {
  const fitters = fitContenders({ node: main, addon, environments });
  for (const problem of fitProblems(api, names).map((problem) => withEstimates(api, problem))) {
    const say = progress(problem.case);
    run.fits.push(...(await measureFit(problem, fitters, effort, say)));
    say.done();
    save();
  }
  console.log(`\n${fitsReport(run)}\n`);
  console.log(`Written: ${file}`);
  process.exit();
}
if (flags.update) {
  const before = JSON.parse(readFileSync(latest, "utf8"));
  if (before.runtime !== main.name)
    refuse(`--update of a run that compares peers with ${before.runtime}: give its --node`);
  const dated = (results = []) => results.map((result) => ({ created: before.created, ...result }));
  Object.assign(run, { results: dated(before.results), models: dated(before.models) });
  Object.assign(run, { scaling: before.scaling, crossover: before.crossover });
  const { created, quick, brief, machine, versions, earlier = [] } = before;
  run.earlier = [...earlier, { created, quick, brief, machine, versions }];
}
for (const problem of problemsOf(networks).map((problem) => writeInputs(api, problem))) {
  const title = `${problem.case}: ${describe(problem)}`;
  const say = progress(title);
  keep(run.results, await measure(problem, allContenders, effort, await gradientErrors(problem, runtime), say));
  say.done();
  // As it goes: a run that is broken off leaves what it had.
  save();
}
const modelNames = names.filter((name) => models[name]);
for (const problem of modelProblems(modelNames, Boolean(flags.quick))) {
  const { case: name, task, batch } = problem;
  const say = progress(`${name}: batch ${batch}, ${task}`);
  const found = await measure(problem, modellers, effort, await gradientErrors(problem, modelRuntime), say);
  const placed = found.map((result) => ({ ...result, task, batch }));
  keep(run.models, placed);
  say.done();
  save();
}
run.coldStart = nodes.flatMap((node) =>
  enginesIn(node, addon)
    .filter(({ missing }) => !missing)
    .map((engine) => coldStart(node, engine, flags.quick ? 3 : 9)),
);
if (!short) {
  const say = progress("scaling");
  run.scaling = await scaling(api, runtime, effort, say);
  say.done();
  run.crossover = await crossover(api, allContenders, runtime, progress);
}
save();
console.log(`\n${report(run)}\n`);
console.log(`Written: ${file}`);
if (!flags.quick) await plots(file);

/** Puts results in the place of those, of a run before, of the same contenders on the same problem. */
function keep(results, found) {
  const identity = ({ case: name, method, task, batch, contender, runtime }) =>
    [name, method, task, batch, contender, runtime].join();
  const anew = new Set(found.map(identity));
  const others = results.filter((result) => !anew.has(identity(result)));
  const all = [...others, ...found.map((result) => ({ ...result, created: run.created }))];
  // Before those of the same case that nobody has measured anew.
  const order = (result) => 2 * everyName.indexOf(result.case) + (result.created === run.created ? 0 : 1);
  results.splice(0, results.length, ...all.toSorted((a, b) => order(a) - order(b)));
}

function save() {
  const everything = [...run.results, ...run.models, ...run.fits];
  run.earlier = run.earlier.filter(({ created }) => everything.some((result) => result.created === created));
  const fresh = everything.filter(({ created }) => !run.earlier.some((one) => one.created === created));
  // Those of WebAssembly builds go with the Node.
  const known = Object.assign({}, ...fresh.map(({ versions }) => versions));
  delete known.simd;
  run.versions = { ...known, node: nodes.map(({ version }) => version).join(" and ") };
  run.targets = reached(run);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, `${JSON.stringify(run, shortened)}\n`);
}

function parse() {
  const list = /** @type {const} */ ({ type: "string", multiple: true });
  const flag = /** @type {const} */ ({ type: "boolean", default: false });
  try {
    return parseArgs({
      options: {
        ...{ peers: flag, quick: flag, brief: flag, update: flag, fits: flag, help: flag, "write-docs": flag },
        ...{ case: list, node: list, without: list },
        out: { type: "string" },
      },
    });
  } catch (error) {
    return refuse(error.message);
  }
}

/** @returns {never} */
function refuse(message) {
  console.error(`${message}\n\n${usage}`);
  process.exit(2);
}

/** The Nodes to measure in, this one first. */
function nodesOf(paths) {
  const given = paths.map((path) => {
    const found = resolve(process.env.INIT_CWD ?? ".", path);
    const { status, stdout } = attempt(found, ["--version"], { shell: false });
    if (status !== 0) refuse(`${path}: not a Node that runs here`);
    return { path: found, version: stdout.trim().slice(1) };
  });
  const all = [{ path: process.execPath, version: process.versions.node }, ...given];
  return all.map((node) => ({ ...node, name: `Node ${node.version.split(".")[0]}` }));
}

/** Four digits are more than a measurement has. */
function shortened(key, value) {
  // But for what is estimated, and its cost.
  if (key === "estimates" || key === "cost") return value;
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
}

async function plots(file) {
  install("bench");
  const { writePlots } = await import("./plots.mjs");
  for (const made of writePlots(file)) console.log(`Written: ${made}`);
}
