// Fits of differential equations to measurements.
import { constructors, type Dtype } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { withMethods } from "../checks/frozen.js";
import { options, type Read, type Rules, together } from "../checks/rules.js";
import { type ProgramOptions, programField, type WasmProgram } from "../fields/program.js";
import { readOptions } from "../solve/options.js";
import { ERROR_MODELS } from "./error-models.js";
import { FieldModel } from "./field-model.js";
import { type FieldFitOptions, fieldFitRules, solverRules } from "./field-options.js";
import type { FieldFitResult } from "./field-results.js";
import type { FitResult } from "./results.js";
import { fitRules } from "./settings.js";

/** Fits a field. */
export function fitField(given: FieldFitOptions): FieldFitResult {
  const solving = solverRules();
  const all = options(given, together(together(fieldFitRules, fitRules), solving));
  // A fit has no use for what a solution may have besides.
  const { dense: _, saveSteps: __, ...solver } = readOptions(present({ ...all, rtol: all.rtol ?? 1e-10 }, solving));
  if (solver.onFailure === "mask") {
    throw refused("OPTION", "onFailure", "throw: a fit needs a prediction for every measurement", "mask");
  }
  const { field, data, observe, error, loss, lossScale, ...read } = present(
    all,
    together(fieldFitRules, fitRules),
  ) as Read<typeof fieldFitRules & typeof fitRules>;
  const { parameters, initial, individual, updateField, ...settings } = read;
  if (loss !== "linear" && ERROR_MODELS[error].names.length > 0) {
    throw refused("OPTION", "loss", `linear, with error: "${error}"`, loss);
  }
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
  const own = { data, observe, error, loss, lossScale, solver, parameters, initial, individual };
  const model = new FieldModel(twin, own);
  return model.using(() => {
    const fitted = model.fit(settings);
    const { varianceOf: _, profile: profileOf, ...result } = fitted;
    if (updateField) {
      original.parameters = new constructors[original.dtype as Dtype](model.fieldParameters(result.values)) as never;
    }
    const told = model.told(fitted);
    const profile: FitResult["profile"] = (name, options) => model.profiling(() => profileOf(name, options));
    const { curves, ...numbers } = told;
    return withMethods({ ...result, ...numbers }, { profile, curves });
  });
}

/** Those with the names of some rules that have a value. */
function present(all: Readonly<Record<string, unknown>>, rules: Rules): object {
  const names = Object.keys(rules).filter((name) => all[name] !== undefined);
  return Object.fromEntries(names.map((name) => [name, all[name]]));
}
