// Converts between the times of the table, which users see, and the times of solves.
import type { Dose } from "./table.js";
import { type Clock, writeTime } from "./time.js";

/** When a trajectory begins and is observed, as in its table. */
export interface Timing {
  readonly t0: number;
  readonly times: readonly number[];
  /** The rows that have the state before a dose at the same time; default: none. */
  readonly early?: readonly boolean[] | undefined;
  /** The origin and the unit of the times of a solve. */
  readonly origin: number;
  readonly unit: number;
}

/** The times of a solve. At a dose a solve has the state after it, so rows before it are moved earlier by as little as rounding allows. */
export function solveTimes({ t0, times, early, origin, unit }: Timing): { t0: number; times: number[] } {
  const own = times.map((time) => (time - origin) / unit);
  const gaps = own.flatMap((time, i) => (i > 0 && time > (own[i - 1] as number) ? time - (own[i - 1] as number) : []));
  // Much less than the time between two rows in any unit, but more than times are rounded by.
  const least = 2 ** -20 * gaps.reduce((least, gap) => Math.min(least, gap), Number.POSITIVE_INFINITY);
  const justBefore = (time: number) => {
    const usual = 2 ** -40 * Math.max(1, Math.abs(time));
    return time - Math.max(Math.min(usual, least), 2 ** -46 * Math.abs(time));
  };
  const shifted = own.map((time, i) => (early?.[i] ? justBefore(time) : time));
  // A first row before a dose is where the solve begins.
  return { t0: Math.min((t0 - origin) / unit, shifted[0] ?? Number.POSITIVE_INFINITY), times: shifted };
}

/** Doses at the times of a solve. */
export const solveDoses = (doses: readonly Dose[], { origin, unit }: Pick<Timing, "origin" | "unit">): Dose[] =>
  doses.map((dose) => ({ ...dose, time: (dose.time - origin) / unit, duration: dose.duration / unit }));

/** A time of a solve that is not in the table. */
const between = (time: number, { origin, unit }: Timing) => time * unit + origin;

/** Converts times of a solve to those of the table. */
export function tableTimes(timing: Timing): (time: number) => number {
  const { t0, times } = solveTimes(timing);
  const own = new Map(times.map((time, i) => [time, timing.times[i] as number]));
  own.set(t0, timing.t0);
  return (time) => own.get(time) ?? between(time, timing);
}

/** A message about solves, with the times of the table. */
export function byTableTimes(message: string, timings: readonly Timing[], clock: Clock): string {
  const tabular = timings.map((timing) => ({ timing, told: tableTimes(timing) }));
  const isOne = new Set(timings.map(({ origin }) => origin)).size === 1;
  return message.replace(/\bat t = (-?\d[\d.]*(?:e-?\d+)?)/g, (whole, text) => {
    const time = Number(text);
    // A time of the table, or one between them.
    const own = tabular.find(({ timing, told }) => told(time) !== between(time, timing)) ?? tabular[0];
    if (!own) return whole;
    const table = own.told(time);
    // The message does not say which trajectory it is.
    return isOne
      ? `at t = ${writeTime(table, clock)}`
      : `${(table - own.timing.origin) / own.timing.unit} after a trajectory begins`;
  });
}
