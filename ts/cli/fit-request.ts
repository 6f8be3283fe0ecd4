// What the options of a fit say.
import type { FieldFitOptions } from "../index.js";
import type { Dosing } from "./fit-doses.js";
import type { Source } from "./input.js";
import type { Pair, ParameterBounds, Spread } from "./pairs.js";
import type { Format } from "./table.js";
import type { Time } from "./time.js";

/** How a fit is done; the names are those of `leastSquares`. */
export interface FitCommandOptions {
  readonly error: NonNullable<FieldFitOptions["error"]>;
  readonly loss: NonNullable<FieldFitOptions["loss"]>;
  readonly lossScale: number;
  readonly noise?: number | undefined;
  readonly starts: number;
  readonly seed: number;
  readonly level: number;
  readonly maxIterations: number;
  /** By default what `leastSquares` takes: dopri8, and dopri5 for many times or where derivatives by dopri8 are useless. */
  readonly solver?: NonNullable<FieldFitOptions["method"]> | undefined;
  readonly rtol: number;
  readonly atol: number;
}

/** What the options say of the equations and the table. */
export interface TaskRequest {
  readonly time: string;
  readonly id: string | undefined;
  /** Columns, each with the expression that predicts it if that is not its name; by default the states that are columns. */
  readonly observe: readonly Pair[] | undefined;
  /** Arguments of the equations, each with its column or number if that is not its name. */
  readonly arguments: readonly Pair[];
  /** Arguments that are estimated for each trajectory. */
  readonly individual: readonly Pair[];
  /** Initial states: a number, a column or an expression of columns. */
  readonly initial: readonly Pair[];
  /** Initial states that are estimated, as `hare(0)` or `hare`, perhaps with a start; for each trajectory, or for all together. */
  readonly estimate: readonly Pair[];
  readonly shared: readonly Pair[];
  /** The time of the initial states; by default that of the first row, where what is taken for one is no measurement. */
  readonly t0?: Time | undefined;
  /** How much rows count: a column of weights, or one of standard deviations. */
  readonly weights?: string | undefined;
  readonly sd?: string | undefined;
  readonly start: ReadonlyMap<string, number>;
  readonly bounds: ReadonlyMap<string, ParameterBounds>;
  readonly log: readonly string[];
  readonly logit: readonly string[];
  readonly fix: readonly Pair[];
  /** Priors: of parameters, by mean and standard deviation, and of their logarithms, by median and standard deviation. */
  readonly prior?: ReadonlyMap<string, Spread> | undefined;
  readonly logPrior?: ReadonlyMap<string, Spread> | undefined;
  readonly format: Format;
  /** Doses, and the table that has them where they are apart. */
  readonly regimen?: Dosing;
  readonly dosing?: Source | undefined;
}

/** Values that an earlier fit found, by the names of its results. */
export type Found = ReadonlyMap<string, number>;
