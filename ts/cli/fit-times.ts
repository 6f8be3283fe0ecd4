// Times of a fit: those of the table, which everyone is told, and those that a solve takes.
import type { Dose } from "./table.js";
import { type Clock, writeTime } from "./time.js";

/** When a trajectory begins and is observed, at the times of its table. */
export interface Timing {
  readonly t0: number;
  readonly times: readonly number[];
  /** Which rows have the state before a dose at the same time; none where it is left out. */
  readonly early?: readonly boolean[] | undefined;
  /** What times of a solve count from, and in which unit. */
  readonly origin: number;
  readonly unit: number;
}

/** The times of a solve: a solve has the state after a dose, so that rows before it are as little earlier as rounding allows. */
export function solveTimes({ t0, times, early, origin, unit }: Timing): { t0: number; times: number[] } {
  const own = times.map((time) => (time - origin) / unit);
  const gaps = own.flatMap((time, i) => (i > 0 && time > (own[i - 1] as number) ? time - (own[i - 1] as number) : []));
  // Far less than lies between two rows, in whatever unit, but more than times are rounded by.
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

/** A time of a solve that is none of its table. */
const between = (time: number, { origin, unit }: Timing) => time * unit + origin;

/** From the times of a solve back to those of the table. */
export function tableTimes(timing: Timing): (time: number) => number {
  const { t0, times } = solveTimes(timing);
  const own = new Map(times.map((time, i) => [time, timing.times[i] as number]));
  own.set(t0, timing.t0);
  return (time) => own.get(time) ?? between(time, timing);
}

/** A message of solves of some trajectories, by the times of the table. */
export function byTableTimes(message: string, timings: readonly Timing[], clock: Clock): string {
  const tabular = timings.map((timing) => ({ timing, told: tableTimes(timing) }));
  const isOne = new Set(timings.map(({ origin }) => origin)).size === 1;
  return message.replace(/\bat t = (-?\d[\d.]*(?:e-?\d+)?)/g, (whole, text) => {
    const time = Number(text);
    // At one of the times of the table, or between them.
    const own = tabular.find(({ timing, told }) => told(time) !== between(time, timing)) ?? tabular[0];
    if (!own) return whole;
    const table = own.told(time);
    // Which of the trajectories it is, nobody knows.
    return isOne
      ? `at t = ${writeTime(table, clock)}`
      : `${(table - own.timing.origin) / own.timing.unit} after a trajectory begins`;
  });
}
