// Continuous normalizing flows: what the gradients of FFJORD's models take, and densities learnt with them.
import { DATASETS, learn } from "./cnf/real.mjs";
import { reportReal, reportTabular, reportToys } from "./cnf/report.mjs";
import { measureShape, measureSteps, measureTorch, QUICK, SHAPES } from "./cnf/tabular.mjs";
import { learnToys } from "./cnf/toys.mjs";

export const PARTS = [...Object.keys(SHAPES), "steps", ...Object.keys(DATASETS), "toys", "torch"];
/** Of a training in haste: to see that it works. */
const QUICK_LIMITS = { iterations: 40, batch: 64, every: 20 };

export async function run({ api, quick, seed, peers, only, data, previous, progress, save }) {
  const results = { ...previous };
  const missing = (part) => (part === "torch" && !peers) || (quick && part in SHAPES && !(part in QUICK));
  const wanted = only ?? PARTS.filter((part) => !missing(part));
  const learns = wanted.some((part) => part in DATASETS || part === "toys");
  // In haste workers would take longer to start than what they have to do.
  const pool = learns && !quick ? await api.parallel({ workers: 2 }) : undefined;
  const measures = {
    steps: (say) => measureSteps({ quick, seed, say }),
    toys: (say) => learnToys({ api, quick, seed, pool, say }),
    torch: (say) => measureTorch({ api, quick, seed, say }),
  };
  for (const name of Object.keys(SHAPES)) {
    measures[name] = (say) => measureShape({ name, quick, seed, data, say });
  }
  for (const [name, dataset] of Object.entries(DATASETS)) {
    measures[name] = (note) => learn({ api, dataset, seed, pool, limits: quick ? QUICK_LIMITS : {}, note });
  }
  try {
    for (const part of wanted) {
      const say = progress(part);
      results[part] = await measures[part](say);
      say.done();
      save(results);
    }
  } finally {
    pool?.close();
  }
  return results;
}

export function report(results) {
  const sections = [
    ...reportTabular(
      Object.keys(SHAPES).flatMap((name) => results[name] ?? []),
      results,
    ),
    ...Object.keys(DATASETS)
      .filter((name) => results[name])
      .map((name) => reportReal(name, DATASETS[name], results[name])),
    ...(results.toys ? [reportToys(results.toys)] : []),
  ];
  return {
    title: "Continuous normalizing flows",
    lead: "A density is what a flow takes to a standard normal distribution (FFJORD, Grathwohl et al. 2019). First what its gradients take, by method, in the shapes of FFJORD's tabular data; then densities learnt with them.",
    sections,
  };
}
