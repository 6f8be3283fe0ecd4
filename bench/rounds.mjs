// One problem: all its contenders are prepared, then asked in rounds, one after the other on the same core, so that what
// disturbs the machine disturbs them alike.
import { join } from "node:path";
import { root } from "../scripts/run.mjs";
import { place } from "./contenders.mjs";
import { start } from "./shared/child.mjs";
import { errorOf, gradientFile, gradientFlops, reference } from "./shared/problems.mjs";
import { median } from "./shared/table.mjs";

/** How much is measured; first fits, in so many fresh processes. */
export const efforts = {
  full: { rounds: 7, leastRounds: 3, roundMs: 250, warmMs: 1000, contenderMs: 12_000, limitSeconds: 420, fresh: 3 },
  brief: { rounds: 5, leastRounds: 3, roundMs: 100, warmMs: 300, contenderMs: 5_000, limitSeconds: 120, fresh: 1 },
  quick: { rounds: 3, leastRounds: 1, roundMs: 30, warmMs: 100, contenderMs: 1_000, limitSeconds: 60, fresh: 1 },
};
/** A gradient that takes longer is measured once: the first, or where that contains compilation, the second. */
const ONCE_MS = 60_000;

/** How gradients are checked, given what computes those in float64: by the error of what a contender has left in its file. */
export async function gradientErrors(problem, runtime) {
  const exact = {};
  const referenceOf = async (method) => {
    exact[method] ??= await reference(problem, runtime, method);
    return exact[method];
  };
  await referenceOf(problem.method);
  return async ({ references }) => errorOf(await referenceOf(references?.[problem.method] ?? problem.method), problem);
}

/**
 * The results of a problem, one for each contender: figures, or `{ skipped: reason }`. The error of a contender is what `errorsOf`
 * says, given it and what it knows.
 */
export async function measure(problem, contenders, effort, errorsOf, say) {
  const entries = contenders.flatMap((contender) => {
    const placed = place(contender, problem);
    if (!placed) return [];
    const { name, kind, runtime } = contender;
    const result = { case: problem.case, method: problem.method, contender: name, kind, runtime };
    if (placed.skipped) result.skipped = placed.skipped;
    return [{ contender, result }];
  });
  try {
    for (const entry of entries.filter(({ result }) => !result.skipped)) {
      say(`${entry.result.contender}, ${entry.result.runtime}: first time`);
      await prepare(entry, problem, effort, entries, errorsOf);
    }
    for (let round = 0; round < effort.rounds; round++) {
      const now = entries.filter(({ rounds }) => round < rounds);
      // There and back, so that nobody always follows the same one.
      for (const entry of round % 2 ? now.toReversed() : now) {
        say(`round ${round + 1} of ${effort.rounds}: ${entry.result.contender}, ${entry.result.runtime}`);
        await run(entry, effort);
      }
    }
  } finally {
    for (const { child } of entries) await child?.stop();
  }
  return entries.map(({ result }) => finished(result, problem));
}

async function prepare(entry, problem, effort, entries, errorsOf) {
  const { contender, result } = entry;
  const variant = { ...contender.variant };
  try {
    if (contender.tune) variant.tune = tuning(problem, entries, contender.runtime);
    entry.child = start(contender);
    const message = { ...problem, variant, files: { ...problem.files, gradient: gradientFile } };
    const { error, ...known } = await entry.child.ask({ prepare: message }, effort.limitSeconds);
    Object.assign(result, known, { rounds: [] });
    result.error = await errorsOf(contender, known);
    let once = known.firstMs;
    if (once < ONCE_MS || contender.compiles) {
      // A second one at least, as the first may be mostly compilation.
      const { ms } = await entry.child.ask({ run: effort.warmMs }, effort.limitSeconds);
      once = ms.at(-1);
    }
    if (once < ONCE_MS) {
      const wanted = Math.floor(effort.contenderMs / Math.max(once, effort.roundMs));
      entry.rounds = Math.min(effort.rounds, Math.max(effort.leastRounds, wanted));
    } else {
      result.rounds.push(once);
      result.note = "one gradient alone, for the time it takes";
    }
  } catch (error) {
    await fail(entry, error);
  }
}

async function run(entry, effort) {
  const { child, result } = entry;
  try {
    const { ms, ...beside } = await child.ask({ run: effort.roundMs }, effort.limitSeconds);
    result.rounds.push(median(ms));
    for (const [name, value] of Object.entries(beside)) result[name] = [...(result[name] ?? []), value];
  } catch (error) {
    await fail(entry, error);
  }
}

async function fail(entry, error) {
  entry.rounds = 0;
  await entry.child?.stop();
  entry.result.skipped = error.message;
}

/** What the tuned adjoint is tuned to: the error of the exact gradient by the same engine. */
function tuning(problem, entries, runtime) {
  const exact = entries.find(
    ({ contender }) => contender.name === "symplectic" && contender.runtime === runtime,
  )?.result;
  if (exact?.error === undefined) throw new Error("no exact gradient to be tuned to");
  return { error: exact.error, reference: join(root, `bench/.work/${problem.name}.${problem.method}.f64`) };
}

function finished(result, problem) {
  if (result.skipped) return result;
  const ms = median(result.rounds);
  // Fits have solves, and no steps.
  const figures = result.accepted ? { ...result, ms, msPerStep: ms / result.accepted } : { ...result, ms };
  // Models have no matrix products.
  return problem.widths ? { ...figures, gflops: gradientFlops(problem, result.accepted) / ms / 1e6 } : figures;
}
