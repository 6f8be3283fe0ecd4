// Learning rates that change as a training goes on: functions of the steps taken before, which `train` asks anew each step.
import { describe, refused } from "./errors.js";
import { checked, checkNames, count, finite, numberOption } from "./options.js";

/** The learning rate of the step that follows so many others: a finite number, zero or more. */
export type Schedule = (steps: number) => number;

/** How fast a rate decays. */
export interface ExponentialDecayOptions {
  /** What the rate is multiplied by over `steps` steps, smoothly. */
  factor: number;
  /** Default 1. */
  steps?: number;
  /** Below this it does not fall; default 0. */
  least?: number;
}

/** How long a rate decays. */
export interface CosineDecayOptions {
  /** After which it stays at `least`. */
  steps: number;
  /** Default 0. */
  least?: number;
}

/** rate · factor^(n / steps). */
export function exponentialDecay(rate: number, options: ExponentialDecayOptions): Schedule {
  checkNames(options, ["factor", "steps", "least"]);
  const from = rateOf("rate", rate);
  const factor = numberOption(
    "factor",
    options.factor ?? Number.NaN,
    Number.NaN,
    "a number above 0, at most 1",
    (f) => f > 0 && f <= 1,
  );
  const steps = checked("steps", options.steps, finite) ?? 1;
  const least = leastOf(options.least);
  return (n) => Math.max(least, from * factor ** Math.min(Number.MAX_VALUE, taken(n) / steps));
}

/** From the rate down to `least` along half a cosine (Loshchilov and Hutter, ICLR 2017, without restarts). */
export function cosineDecay(rate: number, options: CosineDecayOptions): Schedule {
  checkNames(options, ["steps", "least"]);
  const from = rateOf("rate", rate);
  if (!count.valid(options.steps)) throw refused("OPTION", "steps", count.expected, describe(options.steps));
  const { steps } = options;
  const least = leastOf(options.least);
  return (n) => least + 0.5 * (from - least) * (1 + Math.cos((Math.PI * Math.min(taken(n), steps)) / steps));
}

/** Over the first `steps` steps rises in proportion to what `then`, a rate or a schedule of the steps after them, begins with. */
export function warmUp(steps: number, then: number | Schedule): Schedule {
  if (!count.valid(steps)) throw refused("OPTION", "steps", count.expected, describe(steps));
  if (typeof then !== "function") rateOf("then", then);
  const after = typeof then === "function" ? (n: number) => rateAt(then, n) : () => then;
  return (n) => (taken(n) < steps ? (after(0) * (n + 1)) / steps : after(n - steps));
}

/** What a schedule gives, checked. */
export function rateAt(schedule: Schedule, steps: number): number {
  const rate = schedule(steps);
  if (typeof rate === "number" && nonNegative(rate)) return rate;
  throw refused("CALLBACK", "schedule's result", "a finite number, zero or more", describe(rate));
}

/** Checked steps. */
function taken(steps: number): number {
  if (typeof steps === "number" && nonNegative(steps)) return steps;
  throw refused("OPTION", "steps", "a finite number, zero or more", describe(steps));
}

function rateOf(argument: string, rate: number): number {
  return numberOption(argument, rate ?? Number.NaN, Number.NaN, "a finite number, zero or more", nonNegative);
}

function leastOf(least: number | undefined): number {
  return numberOption("least", least, 0, "a finite number, zero or more", nonNegative);
}

const nonNegative = (value: number) => value >= 0 && value < Number.POSITIVE_INFINITY;
