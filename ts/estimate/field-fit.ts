// Fits of differential equations to measurements.
import { constructors, type Dtype } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { withMethods } from "../checks/frozen.js";
import { options, type Read, type Rules, together } from "../checks/rules.js";
import type { FieldNames } from "../fields/field.js";
import { type ProgramOptions, programField, type WasmProgram } from "../fields/program.js";
import type { Pool } from "../parallel/pool-types.js";
import { readOptions } from "../solve/options.js";
import { type Coroutine, inTurn, run } from "./coroutine.js";
import { ERROR_MODELS } from "./error-models.js";
import { FieldModel } from "./field-model.js";
import { type FieldFitOptions, fieldFitRules, solverRules } from "./field-options.js";
import type { AsyncFieldFitResult, FieldFitResult } from "./field-results.js";
import type { ProfileOptions } from "./results.js";
import { fitRules } from "./settings.js";

/** Fits a field; in a pool, profiles are promises. */
export function* fitField(
  given: FieldFitOptions<Dtype, string, FieldNames, Pool | undefined>,
): Coroutine<FieldFitResult | AsyncFieldFitResult> {
  const solving = solverRules();
  const all = options(given, together(together(fieldFitRules, fitRules), solving));
  // A fit has no use for what a solution may have besides.
  const {
    dense: _,
    saveSteps: __,
    ...solver
  } = readOptions(definedOptions({ ...all, rtol: all.rtol ?? 1e-10 }, solving));
  if (solver.onFailure === "mask") {
    throw refused("OPTION", "onFailure", "throw: a fit needs a prediction for every measurement", "mask");
  }
  const { field, data, observe, error, loss, lossScale, pool, ...read } = definedOptions(
    all,
    together(fieldFitRules, fitRules),
  ) as Read<typeof fieldFitRules & typeof fitRules>;
  const { parameters, initial, individual, updateField, ...settings } = read;
  if (loss !== "linear" && ERROR_MODELS[error].names.length > 0) {
    throw refused("OPTION", "loss", `linear, with error: "${error}"`, loss);
  }
  if (pool && solver.batching === "together") {
    throw refused("OPTION", "batching", "independent, with a pool", "together");
  }
  const solverOptions = pool ? { ...solver, batching: "independent" as const } : solver;
  const original: WasmProgram<Dtype> = field;
  original.use();
  const made = original.recipe?.options as ProgramOptions;
  const initialParameters = Float64Array.from(original.copyParameters() as ArrayLike<number>);
  const standIns = original.standIns && { standIns: original.standIns };
  const twin = () =>
    programField(
      { ...made, ...standIns, initial: initialParameters },
      "float64",
      made.equations,
    ) as WasmProgram<"float64">;
  const wanted = {
    data,
    observe,
    error,
    loss,
    lossScale,
    solver: solverOptions,
    parameters,
    initial,
    individual,
    pool,
  };
  const model = new FieldModel(twin, wanted);
  const inOrder = inTurn(settings.signal);
  return yield* model.using(function* () {
    const fitted = yield* model.fit(settings);
    const { varianceOf: _, profile: profileOf, ...result } = fitted;
    if (updateField) {
      original.parameters = new constructors[original.dtype as Dtype](model.fieldParameters(result.values)) as never;
    }
    const { curves, ...numbers } = yield* model.measurementsOf(fitted);
    const profiling = (name: string, options?: ProfileOptions) => model.profiling(() => profileOf(name, options));
    // Those in a pool wait for solves, and share the field.
    const profile = (name: string, options?: ProfileOptions) =>
      pool ? inOrder(() => profiling(name, options)) : run(profiling(name, options));
    return withMethods({ ...result, ...numbers }, { profile, curves }) as FieldFitResult | AsyncFieldFitResult;
  });
}

/** Those with the names of some rules that have a value. */
function definedOptions(all: Readonly<Record<string, unknown>>, rules: Rules): object {
  const names = Object.keys(rules).filter((name) => all[name] !== undefined);
  return Object.fromEntries(names.map((name) => [name, all[name]]));
}
