// Splits a table into training and held-out data.
import { withDelays } from "./equation.js";
import { Failure } from "./failure.js";
import type { Settings } from "./model.js";
import { counted } from "./number.js";
import { beginOf, listOf, partOf, type Series, type Table } from "./table.js";

/** Training data, held-out data, and the names of trajectories that are too short for either. */
export interface Split {
  readonly training: readonly Series[];
  /** With the time from which each is held out. */
  readonly held: readonly (Series & { readonly from: number })[];
  readonly skipped: readonly string[];
}

/** The times between rows, in ascending order. */
export const spacingsOf = (series: readonly Series[]): number[] =>
  series.flatMap(({ times }) => times.slice(1).map((time, i) => time - (times[i] as number))).sort((a, b) => a - b);

/** The time between delayed values: about the time in which the state changes; on a regular grid, a multiple of its spacing. */
export function lagOf({ series }: Table, change: number, delays: number): number {
  const spacings = spacingsOf(series);
  const longest = series.reduce(
    (most, { times }) => Math.max(most, (times.at(-1) as number) - (times[0] as number)),
    0,
  );
  const [least = 0, spacing = 0, most = 0] = [spacings[0], spacings[spacings.length >> 1], spacings.at(-1)];
  // At least half of the longest trajectory must remain.
  const lag = Math.max(spacing, Math.min(change, longest / (2 * delays)));
  return most - least < 1e-6 * spacing ? Math.round(lag / spacing) * spacing : lag;
}

/** Holds out whole trajectories if there are three or more, otherwise the end of each. */
export function splitOf(table: Table, { validation, seed, delays, extra, infused }: Settings, lag: number): Split {
  // With hidden dimensions, the whole state is known only where a trajectory begins.
  const isHidden = extra + infused.length > 0;
  const all = table.series.map((own) => withDelays(own, delays, lag));
  const series = all.filter((own) => beginOf(own) >= 0).map((own) => (isHidden ? partOf(own, beginOf(own)) : own));
  const skipped = all.filter((own) => beginOf(own) < 0).map(({ id }) => id || "the table");
  if (series.length === 0) throw new Failure(`nothing to learn from: ${emptyReason(table, delays, lag)}`);
  if (validation === 0) return { training: series, held: [], skipped };
  if (series.length >= 3) {
    const size = Math.min(series.length - 1, Math.max(1, Math.round(validation * series.length)));
    // Spread over the table, from an offset that the seed decides.
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
  // Held-out ends are predicted from the last training row, or the first complete row after it. With hidden dimensions they are predicted
  // from the beginning, with the training rows masked.
  const held = series
    .map((own, i) => {
      const last = (cuts[i] as number) - 1;
      const isBound = isHidden || own.start !== undefined;
      return { ...(isBound ? without(own, last) : partOf(own, last)), from: own.times[last] as number };
    })
    .filter((own) => beginOf(own) >= 0 && own.rows.slice(1).some((row) => row.some((value) => !Number.isNaN(value))));
  return { training, held, skipped };
}

/** A series whose rows up to `last` count as missing, except for the first. */
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
