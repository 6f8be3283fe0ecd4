// Least squares for residuals that the user computes.
import { anyNumbersOf, checkLength, checkSome, isFloats } from "../checks/arrays.js";
import { describe, type ErrorCode, isFailedSolve, refused, type SymplecticAdjointError } from "../checks/errors.js";
import { withMethods } from "../checks/frozen.js";
import {
  argument,
  callable,
  fallback,
  finitePositive,
  inCallback,
  isObject,
  oneOf,
  options as readOptions,
  record,
  required,
  together,
} from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { isPromise } from "../trace/value.js";
import { awaited, type Coroutine, run } from "./coroutine.js";
import { logDensity } from "./error-models.js";
import { fitModel } from "./fit.js";
import type { FitModel, ModelEvaluation } from "./model.js";
import { type ModelParameter, type ParameterOptions, readParameters } from "./parameters.js";
import type { AsyncFitResult, FitResult, ProfileOptions } from "./results.js";
import { LOSSES, type LossName, robust } from "./robust.js";
import { type FitSettings, fitRules } from "./settings.js";

/** The result of a function of residuals: the residuals, or also their derivatives. */
export type Residuals =
  | ArrayLike<number>
  | {
      /** The residuals, the same number at each call. */
      residuals: ArrayLike<number>;
      /**
       * The derivatives of the residuals with respect to all parameters in their order, `[residuals, parameters]`, row-major; or a
       * function that computes them. The function may return a promise if that of the residuals does.
       */
      jacobian: ArrayLike<number> | (() => ArrayLike<number> | PromiseLike<ArrayLike<number>>);
    };

/** Options of `leastSquares` for residuals that you compute: the residuals, their parameters, and how to fit these. */
export interface ResidualFitOptions<
  Name extends string = string,
  R extends Residuals | PromiseLike<Residuals> = Residuals,
> extends FitSettings<Name> {
  /**
   * Returns the residuals for the given parameters, by name: prediction minus measurement, say, each divided by its standard deviation if
   * these differ. If they are not finite, or a solve fails with `NON_FINITE`, `STEP_UNDERFLOW` or `MAX_STEPS`, the fit takes a shorter
   * step. If it returns no Jacobian, central differences approximate one, with two more calls for each parameter. They need float64, so a
   * Float32Array throws. It may return a promise, as of a solve in a pool; the fit then returns one too.
   */
  residuals: (parameters: Readonly<Record<Name, number>>) => R;
  /** The parameters by name: each a value to start from, or `{ start, lower, upper, transform, scale, fixed, prior }`. */
  parameters: Readonly<Record<Name, number | ParameterOptions>>;
  /** How much a residual counts; default `linear`, its square. The others give outliers less influence. */
  loss?: LossName | undefined;
  /** Residuals beyond this have less influence, for a loss other than `linear`; default 1. */
  lossScale?: number | undefined;
}

/** A function of residuals that returns at once, or a promise. */
type ResidualsOf = ResidualFitOptions<string, Residuals | PromiseLike<Residuals>>["residuals"];

const rules = together(fitRules, {
  residuals: required(callable<ResidualsOf>("a function of the parameters")),
  parameters: required(record<unknown>()),
  loss: fallback(oneOf(LOSSES), "linear"),
  lossScale: fallback(finitePositive, 1),
});

/**
 * Fits parameters by nonlinear least squares, with bounds, robust losses, and several starts: Levenberg–Marquardt with a trust
 * region, as in MINPACK.
 *
 * @returns The estimates with their standard errors, and how the fit went.
 * @throws `OPTION` for invalid options, before anything is computed; `NON_FINITE` where the residuals cannot be computed at the start, or
 *   the code of a solve that fails there; `CALLBACK`, `DTYPE` and `SHAPE` if `residuals` returns the wrong thing. What it throws reaches
 *   you unchanged, except a failed solve.
 */
export function* fitResiduals<Name extends string>(
  options: ResidualFitOptions<Name, Residuals | PromiseLike<Residuals>>,
): Coroutine<FitResult<Name> | AsyncFitResult<Name>> {
  const { residuals, parameters: given, loss, lossScale, ...settings } = readOptions(options, rules);
  const parameters = readParameters(given);
  const { signal } = settings;
  const model = residualModel(residuals, parameters, { loss, lossScale, signal });
  const { varianceOf: _, profile: profileOf, ...result } = yield* fitModel<Name>(model, settings);
  const profile = (name: string, options?: ProfileOptions) => {
    const profiling = () => run(profileOf(name, options), signal);
    return model.isAsync ? (async () => profiling())() : profiling();
  };
  return withMethods(result, { profile }) as FitResult<Name> | AsyncFitResult<Name>;
}

/** How exact central differences are, beside the residuals. */
const DIFFERENCES_ERROR = 1e-8;
/** The step that balances their rounding with what they leave out. */
const STEP = Math.cbrt(2 ** -52);

const RESULT = "an array of numbers, or { residuals, jacobian }";

/** The error of a Jacobian that fails after its residuals have been used. */
function unawaited(promise: PromiseLike<unknown>): SymplecticAdjointError {
  Promise.resolve(promise).catch(() => {});
  const expected = "numbers at once, as residuals are returned at once";
  return refused("CALLBACK", "residuals' jacobian", expected, "a Promise: is it an async function?");
}

/** Residuals, with what was returned beside them. */
interface Computed {
  readonly numbers: Float64Array;
  readonly jacobian: unknown;
}

/** A Jacobian that is computed when it is needed. */
const jacobianRule = inCallback(callable());

/** The model of a function of residuals. */
function residualModel(
  residuals: ResidualsOf,
  parameters: readonly ModelParameter[],
  { loss, lossScale, signal }: Pick<FitSettings, "signal"> & { loss: LossName; lossScale: number },
): FitModel & { readonly isAsync: boolean } {
  const estimated = parameters.flatMap(({ fixed }, i) => (fixed ? [] : [i]));
  let count: number | undefined;
  let hasJacobian = true;
  let isAsync = false;
  let failureCode: ErrorCode | undefined;

  /** Residuals, and their Jacobian with respect to all parameters if it came with them; a text where they cannot be computed. */
  function* compute(values: Float64Array): Coroutine<Computed | string> {
    const named = Object.fromEntries(parameters.map(({ name }, i) => [name, values[i] as number]));
    failureCode = undefined;
    signal?.throwIfAborted();
    try {
      const given = runUserCode(() => residuals(named));
      isAsync ||= isPromise(given);
      const returned = yield* awaited(given);
      const isRecord = isObject(returned) && !("length" in returned);
      const { residuals: plain, jacobian } = isRecord ? runUserCode(() => ({ ...returned })) : { residuals: returned };
      const numbers = numbersOf("residuals' result", plain);
      if (jacobian === undefined && isFloats(plain, "float32")) {
        const expected =
          "numbers in float64, such as a Float64Array, or { residuals, jacobian }: differences of numbers in float32 are mostly rounding";
        throw refused("DTYPE", "residuals' result", expected, describe(plain));
      }
      count ??= numbers.length;
      checkSome("residuals' result", numbers, "residual");
      if (numbers.length !== count) {
        throw refused("SHAPE", "residuals' result", `${count} numbers, as before`, String(numbers.length));
      }
      const bad = numbers.findIndex((value) => !Number.isFinite(value));
      if (bad >= 0) return `the residual at index ${bad} is ${numbers[bad]}`;
      return { numbers, jacobian };
    } catch (error) {
      if (!isFailedSolve(error)) throw error;
      failureCode = error.code;
      return error.message;
    }
  }

  /** The given Jacobian, with respect to the parameters that are estimated. */
  function* select(jacobian: unknown, rows: number): Coroutine<Float64Array | undefined> {
    try {
      if (typeof jacobian === "function") argument("residuals' jacobian", jacobian, jacobianRule);
      const returned = typeof jacobian === "function" ? runUserCode(() => jacobian()) : jacobian;
      if (isPromise(returned) && !isAsync) throw unawaited(returned);
      const given = yield* awaited(returned);
      const all = numbersOf("residuals' jacobian", given);
      const width = parameters.length;
      checkLength("residuals' jacobian", all, rows * width, `[${rows}, ${width}]`);
      return Float64Array.from({ length: rows * estimated.length }, (_, k) => {
        const [i, j] = [Math.floor(k / estimated.length), estimated[k % estimated.length] as number];
        return all[i * width + j] as number;
      });
    } catch (error) {
      if (isFailedSolve(error)) return undefined;
      throw error;
    }
  }

  /** Central differences; from one side at a bound, or where the other side cannot be computed. */
  function* differences(values: Float64Array, center: Float64Array): Coroutine<Float64Array | undefined> {
    const jacobian = new Float64Array(center.length * estimated.length);
    for (const [k, j] of estimated.entries()) {
      const { lower, upper, scale, start } = parameters[j] as ModelParameter;
      const value = values[j] as number;
      // A value near 0 says nothing of its size; where it started says something. A value far from 0, such as a date, is more than its size.
      const size = scale ?? Math.max(Math.abs(value), 1e-4 * Math.abs(start) || (value === 0 ? 1 : 0));
      // Between bounds there has to be room for two steps to one side.
      const h = Math.min(STEP * size, 0.5 * Math.max(value - lower, upper - value));
      function* at(by: number) {
        const moved = values.slice();
        moved[j] = value + by;
        if (!((moved[j] as number) >= lower && (moved[j] as number) <= upper)) return undefined;
        const computed = yield* compute(moved);
        return typeof computed === "string" ? undefined : computed.numbers;
      }
      const [below, above] = [yield* at(-h), yield* at(h)];
      const slopes =
        below && above ? central(below, above, h) : yield* oneSided(center, at, above ? h : -h, above ?? below);
      if (!slopes) return undefined;
      for (const [i, slope] of slopes.entries()) jacobian[i * estimated.length + k] = slope;
    }
    return jacobian;
  }

  return {
    parameters,
    get failureCode() {
      return failureCode;
    },
    kind: loss === "linear" ? "leastSquares" : "robust",
    get jacobianError() {
      return hasJacobian ? 1e-10 : DIFFERENCES_ERROR;
    },
    get isAsync() {
      return isAsync;
    },
    *evaluate(values): Coroutine<ModelEvaluation | string> {
      const computed = yield* compute(values);
      if (typeof computed === "string") return computed;
      const { numbers, jacobian } = computed;
      hasJacobian = jacobian !== undefined;
      let cost = 0;
      for (const r of numbers) cost += 0.5 * r * r;
      const n = numbers.length;
      const slopes = () => (jacobian === undefined ? differences(values, numbers) : select(jacobian, n));
      return {
        ...robust({ cost, residuals: numbers, jacobian: slopes }, loss, lossScale),
        differences: numbers,
        squares: 2 * cost,
        logLikelihood: (noise) => (loss === "linear" ? logDensity(n, 2 * cost, noise) : Number.NaN),
      };
    },
  };
}

function central(below: Float64Array, above: Float64Array, h: number): Float64Array {
  return above.map((value, i) => (value - (below[i] as number)) / (2 * h));
}

/** Differences of the same order from one side; undefined where that cannot be computed either. */
function* oneSided(
  center: Float64Array,
  at: (by: number) => Coroutine<Float64Array | undefined>,
  h: number,
  near: Float64Array | undefined,
): Coroutine<Float64Array | undefined> {
  const far = near && (yield* at(2 * h));
  if (!(near && far)) return undefined;
  return far.map((value, i) => (4 * (near[i] as number) - value - 3 * (center[i] as number)) / (2 * h));
}

/** A copy of numbers that the user's function returned; they may be infinite or NaN. */
const numbersOf = (what: string, values: unknown) => anyNumbersOf(what, values, ["CALLBACK", RESULT]);
