// npm run experiments -- NAME…: what the method claims, measured. See docs/claims.md.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildPackage } from "../../scripts/build.mjs";
import { progress } from "../../scripts/progress.mjs";
import { install, root } from "../../scripts/run.mjs";
import { engineOf } from "../shared/engine.mjs";

const EXPERIMENTS = {
  exactness: "the error of every gradient, by method and tolerance",
  memory: "peak memory by steps, stages and network",
  rounding: "the error of float32 gradients by steps and tolerance, with sums compensated or not",
  speed: "time per gradient at equal error, and where the adjoint method overtakes",
  cnf: "flows: memory and time in FFJORD's shapes, densities of real and drawn data",
  physics: "waves, mixtures and pendulums by their energy, against plain networks; memory and time of each gradient",
};

const usage = `npm run experiments -- NAME… [options]

${Object.entries(EXPERIMENTS)
  .map(([name, about]) => `  ${name.padEnd(12)}${about}`)
  .join("\n")}
  all         one after the other

  --quick         small and short: to see that it works, three minutes for all
  --seed N        of parameters, noise and batches; default 0
  --out FOLDER    where the results (NAME.json) and the report (NAME.html) go; default report/experiments
  --keep          also into bench/experiments/results, from which docs/claims.md is written
  --peers         with PyTorch and torchdiffeq where an experiment compares with them
  --only PART     measure a part of cnf anew, and leave the others as they are; may be repeated:
                  POWER, GAS, HEPMASS, MINIBOONE, BSDS300, steps, digits, breast_cancer, toys, torch
  --data FOLDER   where the tabular data of masked autoregressive flow are, for cnf; synthetic ones otherwise
  --report        measure nothing: draw the report of the results that are there
  --write-docs    measure nothing: write the results kept into docs/claims.md, and its figures
  --help`;

const { values: flags, positionals } = parse();
if (flags.help) {
  console.log(usage);
  process.exit();
}
const names = positionals.includes("all") ? Object.keys(EXPERIMENTS) : positionals;
const unknown = names.find((name) => !Object.hasOwn(EXPERIMENTS, name));
if (unknown !== undefined) refuse(`${unknown}: no such experiment`);
const seed = Number(flags.seed);
if (!Number.isSafeInteger(seed) || seed < 0) refuse(`--seed ${flags.seed}: not an integer, zero or more`);
if (flags.data && !existsSync(resolve(process.env.INIT_CWD ?? ".", flags.data)))
  refuse(`--data ${flags.data}: not there`);
if (flags.keep && flags.quick) refuse("--keep: not in haste");

install("bench");
const kept = join(root, "bench/experiments/results");
if (flags["write-docs"]) {
  const { writeDocs } = await import("./docs.mjs");
  for (const file of await writeDocs(kept)) console.log(`Written: ${relative(root, file)}`);
  process.exit();
}
if (names.length === 0) refuse("which experiment?");

buildPackage();
const folder = resolve(process.env.INIT_CWD ?? ".", flags.out ?? join(root, "report/experiments"));
const { writePage } = await import("./report.mjs");
for (const name of names) {
  const experiment = await import(`./${name}.mjs`);
  const { PARTS = [] } = experiment;
  const stranger = flags.only?.find((part) => !PARTS.includes(part));
  if (stranger) refuse(`--only ${stranger}: ${name} has ${PARTS.join(", ") || "no parts"}`);
  const file = join(folder, `${name}.json`);
  const run = flags.report ? read(file) : await measured(name, experiment, file);
  const page = join(folder, `${name}.html`);
  writePage(page, run, experiment.report(run.results));
  console.log(`${shown(file)}\n${shown(page)}`);
}

async function measured(name, experiment, file) {
  const api = await import("../../dist/index.js");
  const start = performance.now();
  const { quick, peers, only } = flags;
  const before = only && existsSync(file) ? read(file) : { results: {}, seconds: 0 };
  // What takes long keeps what it has as it goes.
  const save = (results) => {
    const run = { name, created: new Date().toISOString(), quick: flags.quick, seed, where: where(api), results };
    run.seconds = before.seconds + Math.round((performance.now() - start) / 1000);
    const text = `${JSON.stringify(run, shortened)}\n`;
    mkdirSync(folder, { recursive: true });
    writeFileSync(file, text);
    if (flags.keep) {
      mkdirSync(kept, { recursive: true });
      writeFileSync(join(kept, `${name}.json`), text);
    }
    return JSON.parse(text);
  };
  const say = (what) => progress(`${name}: ${what}`);
  const data = flags.data && resolve(process.env.INIT_CWD ?? ".", flags.data);
  return save(
    await experiment.run({ api, quick, seed, peers, only, data, previous: before.results, progress: say, save }),
  );
}

function where(api) {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
    node: process.versions.node,
    build: engineOf(api),
  };
}

function read(file) {
  if (existsSync(file)) return JSON.parse(readFileSync(file, "utf8"));
  return refuse(`${shown(file)} is not there: without --report it is made`);
}

function shown(file) {
  return relative(process.env.INIT_CWD ?? process.cwd(), file);
}

/** No measurement has more digits. */
function shortened(_, value) {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

function parse() {
  const flag = /** @type {const} */ ({ type: "boolean", default: false });
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        ...{ quick: flag, keep: flag, peers: flag, report: flag, "write-docs": flag, help: flag },
        seed: { type: "string", default: "0" },
        out: { type: "string" },
        only: { type: "string", multiple: true },
        data: { type: "string" },
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
