// npm run bench -- --fits: what a fit takes, ours and others'. See docs/benchmarks.md.
import { measure } from "./rounds.mjs";
import { start } from "./shared/child.mjs";
import { AGREEMENT, describeFit, fits } from "./shared/fits.mjs";
import { digits, median, spread, table } from "./shared/table.mjs";
import { reasons, where } from "./tables.mjs";

/** Ratios of times, peer / ours, that are wanted: of fits after the first, or of first ones in fresh processes. */
const targets = [
  { peers: ["SciPy RK45", "SciPy DOP853", "SciPy LSODA"], of: "fit", wanted: 20 },
  { peers: ["optimistix, Dopri5", "optimistix, Tsit5"], of: "fit", wanted: 1 },
  { peers: ["optimistix, Dopri5", "optimistix, Tsit5"], of: "first fit", wanted: 50 },
  { peers: ["ml-levenberg-marquardt"], of: "fit", wanted: 5 },
  { peers: ["ml-levenberg-marquardt, told"], of: "fit", wanted: 5 },
];

/** The estimates that everyone's are compared with: ours by tight solves. */
export function withEstimates(api, problem) {
  const { parameters, initial, observe, trajectories: data } = problem;
  const field = api.equations(problem.equations, { parameters, dtype: "float64" });
  try {
    const found = api.leastSquares({ field, data, observe, parameters, initial, rtol: 1e-12, atol: 1e-13 });
    return { ...problem, agreement: AGREEMENT, estimates: [...found.values] };
  } finally {
    field.dispose();
  }
}

/** The results of a fit, one for each contender: those of `measure`, with the times of first fits in fresh processes. */
export async function measureFit(problem, contenders, effort, say) {
  const results = await measure(problem, contenders, effort, (_, known) => distance(known.estimates, problem), say);
  for (const [i, result] of results.entries()) {
    if (result.skipped) continue;
    result.firsts = [];
    for (let k = 0; k < effort.fresh; k++) {
      say(`${result.contender}: a fresh process, ${k + 1} of ${effort.fresh}`);
      const child = start(contenders[i]);
      try {
        const { variant } = contenders[i];
        const message = { ...problem, variant, iterations: result.iterations };
        result.firsts.push((await child.ask({ prepare: message }, effort.limitSeconds)).firstMs);
      } finally {
        await child.stop();
      }
    }
  }
  return results;
}

/** How far estimates are from those of the problem: the largest difference relative to the number itself. */
function distance(estimates, problem) {
  return Math.max(...problem.estimates.map((value, i) => Math.abs(estimates[i] / value - 1)));
}

/** Everything that a run has found, as Markdown. */
export function fitsReport(run) {
  return [where(run), ...fitTables(run.fits), targetsTable(run.fits)].filter(Boolean).join("\n\n");
}

const HEAD = ["fit by", "in", "ms", "first, ms", "iterations", "solves", "½ ‖r‖²", "off by", "against ours", "first"];

function fitTables(results) {
  return Object.keys(fits).flatMap((name) => {
    const here = results.filter((result) => result.case === name);
    if (here.length === 0) return [];
    const measured = here.filter(({ skipped }) => !skipped);
    const ours = measured.find(({ kind }) => kind === "ours");
    const rows = measured.map((result) => [
      result.contender,
      result.runtime,
      spread(result.rounds),
      spread(result.firsts),
      String(result.iterations),
      String(result.solves ?? "–"),
      result.cost.toPrecision(7),
      result.error === null ? "–" : `${result.error.toExponential(0)}${agrees(result) ? "" : ", not there"}`,
      ours ? digits(ratio(result, ours, "fit")) : "–",
      ours ? digits(ratio(result, ours, "first fit")) : "–",
    ]);
    const skipped = reasons(here.filter((result) => result.skipped));
    const parts = [`### ${name}: ${describeFit(name)}`, table(HEAD, rows)];
    return [[...parts, ...(skipped.length > 0 ? [`Skipped: ${skipped.join("; ")}.`] : [])].join("\n\n")];
  });
}

/** Whether the same was found. */
export const agrees = ({ error }) => error !== null && error <= AGREEMENT;

/** The time of `a` over that of `b`: the median of the ratios in the rounds that they share, or the ratio of the medians of firsts. */
function ratio(a, b, of) {
  if (of === "first fit") return median(a.firsts) / median(b.firsts);
  const rounds = Math.min(a.rounds.length, b.rounds.length);
  return median(Array.from({ length: rounds }, (_, i) => a.rounds[i] / b.rounds[i]));
}

/** What was wanted and what is reached, by the fastest of a peer's ways that finds the same. */
function targetsTable(results) {
  const lines = targets.flatMap(({ peers, of, wanted }) => {
    const cells = Object.keys(fits).map((name) => {
      const here = results.filter((result) => result.case === name && !result.skipped);
      const ours = here.find(({ kind }) => kind === "ours");
      const there = here.filter((result) => peers.includes(result.contender) && agrees(result));
      return ours && there.length > 0 ? digits(Math.min(...there.map((peer) => ratio(peer, ours, of)))) : "–";
    });
    if (cells.every((cell) => cell === "–")) return [];
    return [[peers.length > 1 ? peers[0].split(/[, ]/)[0] : peers[0], of, `at least ${wanted}`, ...cells]];
  });
  if (lines.length === 0) return undefined;
  return `### Times of peers over ours\n\n${table(["peer", "of a", "wanted", ...Object.keys(fits)], lines)}`;
}
