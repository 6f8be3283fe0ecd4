// The figures of docs/benchmarks.md and docs/choosing.md, between their markers, from the results kept beside this file.
import { existsSync, readFileSync } from "node:fs";
import { fitsReport } from "./fits.mjs";
import { fill } from "./shared/pages.mjs";
import { published } from "./shared/published.mjs";
import {
  adjointTable,
  choiceTable,
  coldStartTable,
  enginesTable,
  machineLines,
  modelTables,
  problemTables,
  publishedTable,
  targetsTable,
  where,
} from "./tables.mjs";
import { reached } from "./targets.mjs";

/** The cases that docs/choosing.md compares: few steps, and many. */
const CHOICE_CASES = ["medium", "long"];

/** Everything that a run has found, as Markdown. */
export function report(run) {
  const { results, coldStart, crossover, runtime, created, earlier = [] } = run;
  const targets = reached(run);
  const adjoint = adjointTable([...results, ...(crossover ?? [])], runtime);
  const engines = enginesTable(results, created);
  const beside = publishedTable(results);
  return [
    where(run),
    ...machineLines(earlier).map((line) => `What is marked as measured before: ${line}`),
    ...(engines ? [engines] : []),
    ...problemTables(results, runtime, created),
    ...(beside ? [`### ${published.case}: beside ${published.name}`, beside] : []),
    ...modelTables(run.models ?? [], runtime, created),
    ...(adjoint ? ["### The continuous adjoint against exact gradients, times at equal error", adjoint] : []),
    ...(coldStart.length > 0 ? ["### Cold start", coldStartTable(coldStart)] : []),
    ...(targets.length > 0 ? ["### Targets", targetsTable(targets)] : []),
  ].join("\n\n");
}

/** Fills the pages. */
export function writeDocs(file, fitsFile) {
  const run = resultsOf(file, "npm run bench -- --peers");
  fill("docs/benchmarks.md", report(run));
  fill("docs/choosing.md", choiceTable(run.results, run.runtime, CHOICE_CASES));
  fill("docs/benchmarks.md", fitsReport(resultsOf(fitsFile, "npm run bench -- --fits --peers")), "fits");
}

function resultsOf(file, command) {
  if (!existsSync(file)) throw new Error(`${file} is not there yet: ${command} makes it`);
  return JSON.parse(readFileSync(file, "utf8"));
}
