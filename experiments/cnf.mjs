// Continuous normalizing flows: what the gradients of FFJORD's models take, and densities learnt with them.
import { DATASETS, learn } from "./cnf/real.mjs";
import { reportReal, reportTabular, reportToys } from "./cnf/report.mjs";
import { measureTabular } from "./cnf/tabular.mjs";
import { learnToys } from "./cnf/toys.mjs";

export const PARTS = ["tabular", "digits", "breast_cancer", "toys"];
/** Of a training in haste: to see that it works. */
const HASTE = { iterations: 40, batch: 64, every: 20 };

export async function run({ api, quick, seed, peers, only, data, previous, progress, save }) {
  const results = { ...previous };
  const wanted = only ? [only] : PARTS;
  // On one core nothing is gained by workers.
  const pool = quick || !wanted.some((part) => part !== "tabular") ? undefined : await api.parallel({ workers: 2 });
  const keep = (part) => (result) => {
    results[part] = result;
    save(results);
  };
  const measures = {
    tabular: (say) => measureTabular({ api, quick, seed, peers, data, say, save: keep("tabular") }),
    toys: (say) => learnToys({ api, quick, seed, pool, say }),
  };
  for (const [name, dataset] of Object.entries(DATASETS)) {
    measures[name] = (note) => learn({ api, dataset, seed, pool, limits: quick ? HASTE : {}, note });
  }
  try {
    for (const part of wanted) {
      const say = progress(part.replace("_", " "));
      keep(part)(await measures[part](say));
      say.done();
    }
  } finally {
    pool?.close();
  }
  return results;
}

export function report(results) {
  const sections = [
    ...(results.tabular ? reportTabular(results.tabular) : []),
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
