// What of a table is learned, and what is held out to try it on.
import { withDelays } from "./equation.js";
import { Failure } from "./failure.js";
import type { Settings } from "./model.js";
import { counted } from "./number.js";
import { beginOf, listOf, partOf, type Series, type Table } from "./table.js";

/** What is learned, what is held out, and the names of what can be neither. */
export interface Split {
  readonly training: readonly Series[];
  /** With the time from which on each is held out. */
  readonly held: readonly (Series & { readonly from: number })[];
  readonly skipped: readonly string[];
}

/** How long after each other rows are, from the least on. */
export const spacingsOf = (series: readonly Series[]): number[] =>
  series.flatMap(({ times }) => times.slice(1).map((time, i) => time - (times[i] as number))).sort((a, b) => a - b);

/** How long before each other delayed values are: about the time of change, on a grid of times one of its multiples. */
export function lagOf({ series }: Table, change: number, delays: number): number {
  const spacings = spacingsOf(series);
  const longest = series.reduce(
    (most, { times }) => Math.max(most, (times.at(-1) as number) - (times[0] as number)),
    0,
  );
  const [least = 0, spacing = 0, most = 0] = [spacings[0], spacings[spacings.length >> 1], spacings.at(-1)];
  // At least half of the longest trajectory has to be left.
  const lag = Math.max(spacing, Math.min(change, longest / (2 * delays)));
  return most - least < 1e-6 * spacing ? Math.round(lag / spacing) * spacing : lag;
}

/** What is learned and what is held out: whole trajectories where there are three or more, else the end of each. */
export function splitOf(table: Table, { validation, seed, delays, extra, infused }: Settings, lag: number): Split {
  // Dimensions that are known where a trajectory begins, and nowhere else.
  const isHidden = extra + infused.length > 0;
  const all = table.series.map((own) => withDelays(own, delays, lag));
  const series = all.filter((own) => beginOf(own) >= 0).map((own) => (isHidden ? partOf(own, beginOf(own)) : own));
  const skipped = all.filter((own) => beginOf(own) < 0).map(({ id }) => id || "the table");
  if (series.length === 0) throw new Failure(`nothing to learn from: ${emptyReason(table, delays, lag)}`);
  if (validation === 0) return { training: series, held: [], skipped };
  if (series.length >= 3) {
    const size = Math.min(series.length - 1, Math.max(1, Math.round(validation * series.length)));
    // Spread over the table, from a place that the seed decides.
    const held = new Set(
      Array.from({ length: size }, (_, i) => (seed + Math.floor((i * series.length) / size)) % series.length),
    );
    const part = (inside: boolean) => series.filter((_, index) => held.has(index) === inside);
    return {
      training: part(false),
      held: part(true).map((own) => ({ ...own, from: own.times[0] as number })),
      skipped,
    };
  }
  const cuts = series.map(({ times }) =>
    Math.max(2, times.length - Math.max(1, Math.round(validation * times.length))),
  );
  const training = series.map((own, i) => partOf(own, 0, cuts[i])).filter((own) => beginOf(own) >= 0);
  if (training.length === 0) {
    throw new Failure("nothing to learn from before the held-out data; --validation 0 holds nothing out");
  }
  // What is held out is predicted from the last row learned, or the first whole one after it; or, where there are dimensions
  // that are known at the beginning only, from there, what has been learned left out.
  const held = series
    .map((own, i) => {
      const last = (cuts[i] as number) - 1;
      const isBound = isHidden || own.start !== undefined;
      return { ...(isBound ? without(own, last) : partOf(own, last)), from: own.times[last] as number };
    })
    .filter((own) => beginOf(own) >= 0 && own.rows.slice(1).some((row) => row.some((value) => !Number.isNaN(value))));
  return { training, held, skipped };
}

/** A series whose rows up to and with that one count as missing, but for the first. */
const without = ({ rows, ...own }: Series, last: number): Series => ({
  ...own,
  rows: rows.map((row, i) => (i > last || (i === 0 && !own.start) ? row : row.map(() => Number.NaN))),
});

function emptyReason({ state, series }: Table, delays: number, lag: number): string {
  const whole = "no complete row is followed by another";
  if (delays > 0) return `${whole}, ${delays} times ${lag} after the first; use fewer --delays or a shorter --lag`;
  const rows = series.flatMap((own) => own.rows);
  const counts = state.map((_, i) => rows.reduce((count, row) => count + (Number.isNaN(row[i]) ? 0 : 1), 0));
  const most = counts.reduce((most, count) => Math.max(most, count), 0);
  const seen = state.map((name, i) => `${listOf([name])} in ${counts[i]}`).join(", ");
  if (state.length === 1 || most === 0) return whole;
  return `${whole}: of ${counted(rows.length, "row")}, there is ${seen}; --state names columns that are observed together`;
}
