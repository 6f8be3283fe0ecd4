// Learning-rate schedules: plain functions of the steps taken before.
import { describe, refused } from "./errors.js";
import { checked, checkNames, count, numberOption } from "./options.js";

/** The learning rate of the step that follows so many; any function of them will do. */
export type Schedule = (steps: number) => number;

const positive = (value: number) => value > 0 && value < Number.POSITIVE_INFINITY;
const nonNegative = (value: number) => value >= 0 && value < Number.POSITIVE_INFINITY;
const rateOf = (rate: unknown) => numberOption("rate", rate ?? Number.NaN, 0, "a finite positive number", positive);

/** Always the same rate. */
export function constant(rate: number): Schedule {
  const always = rateOf(rate);
  return () => always;
}

/** rate · factor^(steps / every): falls by `factor` every so many steps, smoothly. `every` is 1 by default. */
export function exponential(options: { rate: number; factor: number; every?: number }): Schedule {
  checkNames(options, ["rate", "factor", "every"]);
  const rate = rateOf(options.rate);
  const factor = numberOption("factor", options.factor ?? Number.NaN, 1, "a finite positive number", positive);
  const every = checked("every", options.every, count) ?? 1;
  return (steps) => rate * factor ** (steps / every);
}

/** From `rate` to `end` along half a cosine, within so many steps (Loshchilov and Hutter 2017), and `end` from there on. */
export function cosine(options: { rate: number; steps: number; end?: number }): Schedule {
  checkNames(options, ["rate", "steps", "end"]);
  const rate = rateOf(options.rate);
  const length = checked("steps", options.steps ?? Number.NaN, count) as number;
  const end = numberOption("end", options.end, 0, "a number, zero or more", nonNegative);
  return (steps) => end + ((rate - end) * (1 + Math.cos(Math.PI * Math.min(1, steps / length)))) / 2;
}

/** Up to the first rate of another schedule in so many equal steps, and then that schedule from its beginning. */
export function warmUp(length: number, schedule: Schedule): Schedule {
  const ramp = checked("length", length ?? Number.NaN, count) as number;
  if (typeof schedule !== "function") throw refused("OPTION", "schedule", "a schedule", describe(schedule));
  return (steps) => (steps < ramp ? (schedule(0) * (steps + 1)) / ramp : schedule(steps - ramp));
}
