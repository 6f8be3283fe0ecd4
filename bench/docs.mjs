// The figures of docs/benchmarks.md, between its markers, from the results kept beside this file.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../scripts/run.mjs";
import { adjointTable, coldStartTable, problemTables, targetsTable, where } from "./tables.mjs";
import { reached } from "./targets.mjs";

const page = join(root, "docs/benchmarks.md");
const [begin, end] = ["<!-- figures: begin -->", "<!-- figures: end -->"];

/** Everything that a run has found, as Markdown. */
export function report(run) {
  const { results, coldStart, crossover, runtime } = run;
  const adjoint = adjointTable([...results, ...(crossover ?? [])], runtime);
  return [
    where(run),
    ...problemTables(results, runtime),
    ...(adjoint ? ["### The continuous adjoint against exact gradients, times at equal error", adjoint] : []),
    ...(coldStart.length > 0 ? ["### Cold start", coldStartTable(coldStart)] : []),
    "### Targets",
    targetsTable(reached(results, runtime)),
  ].join("\n\n");
}

/** Fills the page. */
export function writeDocs(file) {
  if (!existsSync(file)) throw new Error(`${file} is not there yet: npm run bench -- --peers makes it`);
  const text = readFileSync(page, "utf8");
  const [before, rest] = text.split(begin);
  const after = rest?.split(end)[1];
  if (after === undefined) throw new Error(`${page} has lost its markers ${begin} and ${end}`);
  const figures = report(JSON.parse(readFileSync(file, "utf8")));
  writeFileSync(page, `${before}${begin}\n\n${figures}\n\n${end}${after}`);
}
