// The model of a fit by measurements, predictions and an error model.
import { type Coroutine, mapped } from "./coroutine.js";
import { type DataWithPredictions, ERROR_MODELS, type ErrorModelName } from "./error-models.js";
import { gather } from "./linear.js";
import type { FitModel, ModelEvaluation } from "./model.js";
import type { ModelParameter } from "./parameters.js";
import { type LossName, robust } from "./robust.js";

/** The predictions of the measurements at some values. */
interface Prediction {
  /** f, one for each measurement, missing ones too. */
  readonly f: Float64Array;
  /** ∂f/∂p, `[measurements, estimated parameters]`, row-major: with respect to those that are not fixed. */
  slopes(): Coroutine<Float64Array | undefined>;
}

/** Measurements, and how they are predicted. */
export interface MeasurementModel {
  readonly parameters: readonly ModelParameter[];
  /** The measurements; those that are NaN are missing. */
  readonly y: Float64Array;
  /** How much each counts: its variance is divided by it. Those with 0 are left out. Default 1. */
  readonly weights?: Float64Array | undefined;
  /** The names of the measured quantities, and for each measurement the index of its quantity; by default unknown. */
  readonly quantities?: { readonly names: readonly string[]; readonly which: readonly number[] } | undefined;
  readonly errorModel: ErrorModelName;
  /** For the error models that are least squares. */
  readonly loss?: LossName;
  /** In the units of the differences; default 1. */
  readonly lossScale?: number;
  /** At the values of `parameters`; a text says why nothing can be predicted there. */
  predict(values: Float64Array): Coroutine<Prediction | string>;
  /** How exact predictions are, relative to the measurements; default 0. */
  readonly predictionError?: number;
  /** The tolerance of predictions, relative to the measurements and beside that; default 0. */
  readonly tolerance?: { readonly rtol: number; readonly atol: number };
  /** The relative error of Jacobians: see `FitModel`. */
  readonly jacobianError?: number;
}

/** The least standard deviation that an error model may have, beside the smallest measurement, or relative to all of them. */
const LEAST_DEVIATION = 1e-9;
const INFINITE = Number.POSITIVE_INFINITY;

/** The measurements that are there, by their index. */
export function measuredIndices(y: Float64Array, weights?: Float64Array): number[] {
  return Array.from(y.keys()).filter((i) => !Number.isNaN(y[i]) && (weights?.[i] ?? 1) > 0);
}

/**
 * A model to fit. Standard deviations that the error model estimates follow the parameters, as `error.a` and `error.b`, each on the
 * scale of its logarithm.
 */
export function* observationModel(observations: MeasurementModel): Coroutine<FitModel> {
  const { parameters, weights, loss = "linear", lossScale = 1, jacobianError, predictionError = 0 } = observations;
  const { rtol, atol } = observations.tolerance ?? { rtol: 0, atol: 0 };
  const { quantities } = observations;
  const model = ERROR_MODELS[observations.errorModel];
  const present = measuredIndices(observations.y, weights);
  const pick = (of: Float64Array) => gather(of, present);
  const y = pick(observations.y);
  const presentWeights = weights && pick(weights);
  const structural = parameters.filter(({ fixed }) => !fixed).length;
  function* predict(values: Float64Array): Coroutine<DataWithPredictions | string> {
    const prediction = yield* observations.predict(values.subarray(0, parameters.length));
    if (typeof prediction === "string") return prediction;
    const picked = (all: Float64Array | undefined) => all && pickRows(all, structural, present);
    const slopes = () => mapped(prediction.slopes(), picked);
    return { y, f: pick(prediction.f), weights: presentWeights, slopes };
  }

  function* evaluate(values: Float64Array): Coroutine<ModelEvaluation | string> {
    const data = yield* predict(values);
    if (typeof data === "string") return data;
    const tail = values.subarray(parameters.length);
    const plain = model.evaluate(data, tail.map(Math.log));
    if (!plain) return "a prediction is not positive, as the error model needs it";
    const differences = model.differences(data);
    const { jacobian, ...working } = robust(plain, loss, lossScale);
    let squares = 0;
    for (const [i, difference] of differences.entries())
      squares += (presentWeights?.[i] ?? 1) * difference * difference;
    const natural = (slopes: Float64Array | undefined) => {
      if (tail.length === 0) return slopes;
      // By the values themselves, as everything is, and not by their logarithms.
      const width = structural + tail.length;
      return slopes?.map((slope, k) =>
        k % width < structural ? slope : slope / (tail[(k % width) - structural] as number),
      );
    };
    const { cost } = working;
    const logLikelihood = (noise?: number) => {
      return loss === "linear" ? model.logLikelihood(data, cost, noise) : Number.NaN;
    };
    return { ...working, jacobian: () => mapped(jacobian(), natural), differences, squares, logLikelihood };
  }
  const kind = model.names.length > 0 ? "likelihood" : loss === "linear" ? "leastSquares" : "robust";
  return {
    parameters: [...parameters, ...(yield* tailOf())],
    kind,
    evaluate,
    // Of a likelihood, residuals are in units of deviations that are estimated.
    ...(kind !== "likelihood" && {
      residualError: lengthOf(predictionError, 0),
      residualTolerance: lengthOf(rtol, atol),
    }),
    ...(jacobianError !== undefined && { jacobianError }),
    measured: quantities && {
      names: quantities.names,
      which: present.map((i) => quantities.which[i] as number),
      y: observations.errorModel === "lognormal" ? y.map(Math.log) : y,
      weights: presentWeights,
    },
  };

  /** The length of residuals that are no more than errors of predictions; those of logarithms are relative. */
  function lengthOf(relative: number, absolute: number): number {
    const error = (size: number) =>
      observations.errorModel === "lognormal" ? relative + absolute / size : relative * size + absolute;
    return Math.sqrt(y.reduce((sum, value, i) => sum + (presentWeights?.[i] ?? 1) * error(Math.abs(value)) ** 2, 0));
  }

  /** Where the error model's own parameters start: from the residuals there. */
  function* tailOf(): Coroutine<ModelParameter[]> {
    if (model.names.length === 0) return [];
    const data = yield* predict(Float64Array.from(parameters, ({ start }) => start));
    // If nothing can be predicted there, the fit says so.
    const logs = typeof data === "string" ? [] : model.start(data);
    const roots = y.map((_, i) => Math.sqrt(presentWeights?.[i] ?? 1));
    const smallestOf = (sizes: Float64Array) =>
      sizes.reduce((least, size) => (size > 0 ? Math.min(least, size) : least), INFINITE);
    const smallest = smallestOf(y.map((value, i) => Math.abs(value) * (roots[i] as number)));
    const least = { a: smallest < INFINITE ? smallest : smallestOf(roots), b: smallestOf(roots) };
    return model.names.map((name, k) => {
      // A likelihood without these bounds is infinite, where predictions meet the data and the deviation goes to 0.
      const lower = LEAST_DEVIATION * least[name];
      const start = Math.max(Math.exp(logs[k] ?? 0), 2 * lower);
      const rest = { upper: INFINITE, transform: "log", scale: undefined, fixed: false } as const;
      return { name: `error.${name}`, start, lower, ...rest };
    });
  }
}

/** Some rows of a row-major matrix, in their order. */
function pickRows(matrix: Float64Array, columns: number, rows: readonly number[]): Float64Array {
  if (rows.length * columns === matrix.length) return matrix;
  const picked = new Float64Array(rows.length * columns);
  for (const [k, row] of rows.entries()) {
    picked.set(matrix.subarray(row * columns, (row + 1) * columns), k * columns);
  }
  return picked;
}
