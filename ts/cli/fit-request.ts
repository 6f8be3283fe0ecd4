// The options of a fit.
import type { FieldFitOptions } from "../index.js";
import type { Dosing } from "./fit-doses.js";
import type { Source } from "./input.js";
import type { Pair, ParameterBounds, Spread } from "./pairs.js";
import type { Format } from "./table.js";
import type { Time } from "./time.js";

/** Options for `leastSquares`, under its names. */
export interface FitCommandOptions {
  readonly error: NonNullable<FieldFitOptions["error"]>;
  readonly loss: NonNullable<FieldFitOptions["loss"]>;
  readonly lossScale: number;
  readonly noise?: number | undefined;
  readonly starts: number;
  readonly seed: number;
  readonly level: number;
  readonly maxIterations: number;
  /** Default: as in `leastSquares`, dopri8, or dopri5 for many times or if derivatives by dopri8 are useless. */
  readonly solver?: NonNullable<FieldFitOptions["method"]> | undefined;
  readonly rtol: number;
  readonly atol: number;
}

/** Options for the equations and the table. */
export interface TaskRequest {
  readonly time: string;
  readonly id: string | undefined;
  /** Observed columns, each with its expression if that is not the name; by default, the states that are columns. */
  readonly observe: readonly Pair[] | undefined;
  /** Arguments of the equations, each with its column or number if that is not the name. */
  readonly arguments: readonly Pair[];
  /** Arguments that are estimated for each trajectory. */
  readonly individual: readonly Pair[];
  /** Initial states: numbers, columns or expressions of columns. */
  readonly initial: readonly Pair[];
  /** Estimated initial states, as `hare(0)` or `hare`, optionally with a start: one for each trajectory, or one for all. */
  readonly estimate: readonly Pair[];
  readonly shared: readonly Pair[];
  /** The time of the initial states; default: that of the first row, which then is not a measurement. */
  readonly t0?: Time | undefined;
  /** The column with the weights of the rows, or with their standard deviations. */
  readonly weights?: string | undefined;
  readonly sd?: string | undefined;
  readonly start: ReadonlyMap<string, number>;
  readonly bounds: ReadonlyMap<string, ParameterBounds>;
  readonly log: readonly string[];
  readonly logit: readonly string[];
  readonly fix: readonly Pair[];
  /** Priors of parameters by mean and standard deviation, and of their logarithms by median and standard deviation. */
  readonly prior?: ReadonlyMap<string, Spread> | undefined;
  readonly logPrior?: ReadonlyMap<string, Spread> | undefined;
  readonly format: Format;
  /** Doses, and the separate table with them, if there is one. */
  readonly regimen?: Dosing;
  readonly dosing?: Source | undefined;
}

/** Estimates of an earlier fit, by name. */
export type Found = ReadonlyMap<string, number>;
