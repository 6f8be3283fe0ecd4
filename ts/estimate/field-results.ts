// The results of the fit of a field.
import type { FieldNames } from "../fields/field.js";
import type { Method } from "../solve/options.js";
import type { AsyncFitResult, FitResult } from "./results.js";

/** A measurement with its prediction. */
export interface Residual {
  /** The index of the trajectory in `data`, from 0. */
  readonly trajectory: number;
  /** The name of the trajectory. */
  readonly name: string;
  /** The time of the measurement. */
  readonly time: number;
  /** Which quantity was measured: an index into `observed` of the result. */
  readonly observed: number;
  /** The measured value. */
  readonly y: number;
  /** The value that the fitted model predicts for the measurement. */
  readonly prediction: number;
  /** Prediction minus measurement; the difference of their logarithms if `error` is lognormal. */
  readonly residual: number;
}

/** The fitted curve of a trajectory. */
export interface Curve {
  /** The name of the trajectory. */
  readonly name: string;
  /** The times of the curve: evenly spaced, from the trajectory's `t0` to its last measurement. */
  readonly times: Float64Array;
  /** The predictions at `times`, `[times, observed]`, row-major. */
  readonly y: Float64Array;
  /** The standard errors of the predictions, from those of the estimates (delta method): `[times, observed]`, row-major;
   * Infinity where a prediction depends on what the data do not determine. */
  readonly standardErrors: Float64Array;
}

/** Options of `curves`: at how many times the fitted curves are computed. */
export interface CurveOptions {
  /** The number of times of each curve, 2 or more; default 100. */
  points?: number | undefined;
}

/** The names of numbers in a record of parameters; those of nested records have a dot. For other values, any name is allowed after the dot. */
type NumberName<P> = P extends unknown
  ? {
      [K in keyof P & string]: P[K] extends number
        ? K
        : P[K] extends ArrayLike<unknown> | ((...of: never[]) => unknown)
          ? `${K}.${string}`
          : `${K}.${NumberName<P[K]>}`;
    }[keyof P & string]
  : never;

/**
 * The names of what is estimated of a field: its parameters, where its type knows them; numbers of arrays and arguments, such as `w[0]`;
 * initial states, such as `hare(0)`; deviations of the error model, such as `error.b`.
 */
export type EstimateName<N extends FieldNames = FieldNames> = 0 extends 1 & N["parameters"]
  ? string
  : NumberName<N["parameters"]> | `${string}[${string}]` | `${string}(0)` | `error.${string}`;

/** The results of the fit of a field that are about measurements, besides its estimates. */
interface FittedMeasurements {
  /** The names of the quantities that were measured, as in the option `observe`. */
  readonly observed: readonly string[];
  /** The method that the solves used, such as `dopri8`. */
  readonly method: Method;
  /** Each measurement with its prediction, in the order of the data; missing ones are left out. */
  readonly measurements: readonly Residual[];
  /** The fitted curve of each trajectory from its `t0` to its last measurement, with standard errors. */
  curves(options?: CurveOptions): readonly Curve[];
}

/** The result of the fit of a field. */
export interface FieldFitResult<Name extends string = string> extends FitResult<Name>, FittedMeasurements {}

/** The result of the fit of a field in a pool: as `FieldFitResult`, with profiles as promises. */
export interface AsyncFieldFitResult<Name extends string = string> extends AsyncFitResult<Name>, FittedMeasurements {}
