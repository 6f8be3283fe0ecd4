// A figure that others have published and that nobody runs here; ../published.json has what they say.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/run.mjs";
import { gradientFlops, problemsOf } from "./problems.mjs";

/** The case that is theirs too, who they are, and how long so many gradients took on all cores of some machines. */
export const published = JSON.parse(readFileSync(join(root, "bench/published.json"), "utf8"));

/** Their runs, each with its GFLOP/s on one core, operations counted as ours are. */
export const publishedRuns = published.runs.map((run) => {
  const [problem] = problemsOf([published.case]);
  const flops = gradientFlops(problem, problem.steps) * published.gradients;
  return { ...run, gflops: flops / run.seconds / run.cores / 1e9 };
});
