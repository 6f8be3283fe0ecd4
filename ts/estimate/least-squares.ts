// Nonlinear least squares, of a differential equation or of residuals that the user computes.

import type { Dtype } from "../checks/arrays.js";
import { argument, hinted, object, required } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import type { FieldNames, NamesOfField } from "../fields/field.js";
import type { ProgramField } from "../fields/program.js";
import type { Pool } from "../parallel/pool-types.js";
import { run } from "./coroutine.js";
import { fitField } from "./field-fit.js";
import type { FieldFitOptions } from "./field-options.js";
import type { AsyncFieldFitResult, EstimateName, FieldFitResult } from "./field-results.js";
import { fitResiduals, type ResidualFitOptions, type Residuals } from "./residual-fit.js";
import type { AsyncFitResult, FitResult } from "./results.js";

type PooledFitOptions = FieldFitOptions<Dtype, string, FieldNames, Pool | undefined>;

const optionsRule = required(
  hinted(object, (given) =>
    typeof given === "function" ? "write leastSquares({ residuals, parameters })" : undefined,
  ),
);

/**
 * Fits parameters to residuals that you compute, by nonlinear least squares, with bounds, robust losses, and several starts:
 * Levenberg–Marquardt with a trust region, as in MINPACK.
 *
 * @returns The estimates with their standard errors, and how the fit went; a promise of them if `residuals` returns promises.
 * @throws `OPTION` for invalid options, before any work starts; `NON_FINITE` where the residuals cannot be computed at the start, or the
 *   code of a solve that fails there; `CALLBACK`, `DTYPE` and `SHAPE` if `residuals` returns the wrong thing. What `residuals` throws
 *   reaches you unchanged, except for a failed solve.
 */
export function leastSquares<Name extends string, R extends Residuals | PromiseLike<Residuals> = Residuals>(
  options: ResidualFitOptions<Name, R> & { field?: never; pool?: never },
): 0 extends 1 & R
  ? FitResult<Name>
  : [R] extends [never]
    ? FitResult<Name>
    : R extends PromiseLike<unknown>
      ? Promise<AsyncFitResult<Name>>
      : FitResult<Name>;
/**
 * Fits the parameters of a differential equation to measurements, by nonlinear least squares or maximum likelihood: estimates, their
 * uncertainties, and diagnostics. Levenberg–Marquardt with a trust region and bounds, as in MINPACK; derivatives are those of the
 * solution, from forward sensitivities with step sizes held fixed. The field's parameters become the estimates.
 *
 * @returns The estimates with their standard errors, the measurements with their predictions, and how the fit went; with a `pool`, a
 *   promise of them.
 * @throws `OPTION`, `SHAPE`, `DTYPE`, `NON_FINITE` for invalid options and data, before any work starts; if the solve fails at the start,
 *   its code: `NON_FINITE`, `STEP_UNDERFLOW`, `MAX_STEPS`, `MAX_EVENTS`. With a `pool` the promise is rejected with them.
 */
export function leastSquares<
  D extends Dtype,
  A extends string,
  F extends ProgramField = ProgramField<D, A>,
  N extends FieldNames = NamesOfField<F>,
  P extends Pool | undefined = undefined,
>(
  options: Omit<FieldFitOptions<D, A, N, P>, "field"> & { field: F & ProgramField<D, A>; residuals?: never },
): P extends Pool ? Promise<AsyncFieldFitResult<EstimateName<N>>> : FieldFitResult<EstimateName<N>>;
// The compiler reports a mistake of the form that it is in, as the other form is ruled out by an option that it has not.
export function leastSquares(options: PooledFitOptions | ResidualFitOptions): unknown {
  argument("options", options, optionsRule);
  const signal = runUserCode(() => options.signal);
  if (!runUserCode(() => "field" in options)) return run(fitResiduals(options as ResidualFitOptions), signal);
  const fit = () => run(fitField(options as PooledFitOptions), signal);
  return runUserCode(() => (options as PooledFitOptions).pool) === undefined ? fit() : (async () => fit())();
}
