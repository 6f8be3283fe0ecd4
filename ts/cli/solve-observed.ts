// Solves equations with doses, and evaluates the observations.
import { odeint, type ProgramField, type StepOptions } from "../index.js";
import { fitJumps, infusedBy } from "./fit-doses.js";
import { type Observed, observingField } from "./fit-observed.js";
import type { Dose } from "./table.js";
import { equationsField, infusedText } from "./text-model.js";

/** Equations with their parameters, and the observations. */
interface ObservedEquations {
  readonly field: ProgramField<"float64">;
  readonly observed: readonly Observed[];
  /** By state, what a dose of 1 adds to it; default 1. */
  readonly factors: Readonly<Record<string, string>>;
  readonly options: StepOptions;
}

/** Trajectories with their own steps, at the same times. */
interface SolveInputs {
  readonly y0: readonly (readonly number[])[];
  /** By name, a number for each trajectory. */
  readonly arguments: Readonly<Record<string, readonly number[]>>;
  readonly doses: readonly (readonly Dose[])[];
  readonly t0: number;
  readonly times: readonly number[];
}

/** The observations at the times, `[trajectories][times][observed]`. */
export function solveObserved(
  { field, observed, factors, options }: ObservedEquations,
  { y0, arguments: args, doses, t0, times }: SolveInputs,
): number[][][] {
  const { equations: text = "", states, argumentNames } = field;
  const infused = infusedBy(doses, states);
  const jumps = fitJumps(text, states, factors, doses);
  const values = Object.fromEntries(argumentNames.map((name) => [name, Float64Array.from(args[name] ?? [])]));
  const given = argumentNames.length > 0 ? { arguments: values } : {};
  const whole = infusedField(field, infused, factors);
  const width = states.length + infused.length;
  const begin = Float64Array.from(y0.flatMap((own) => [...own, ...infused.map(() => 0)]));
  let y: Float64Array;
  try {
    ({ y } = odeint(whole, begin, [t0, ...times], { ...options, ...given, jumps, batching: "independent" }));
  } finally {
    if (whole !== field) whole.dispose();
  }
  const observing = observingField(text, observed, states, argumentNames);
  try {
    const parameters = Float64Array.from(field.parameters);
    const none = observed.map(() => 0);
    const batch = y0.length;
    const slopes = times.map((t, i) => {
      const rows = y0.flatMap((_, k) => {
        const at = ((i + 1) * batch + k) * width;
        return [...y.subarray(at, at + states.length), ...none];
      });
      return observing.evaluate(t, Float64Array.from(rows), parameters, values);
    });
    const size = states.length + none.length;
    return y0.map((_, k) => slopes.map((all) => Array.from(all.subarray(k * size + states.length, (k + 1) * size))));
  } finally {
    observing.dispose();
  }
}

/** A field with the rates of infusions as further states. */
function infusedField(
  field: ProgramField<"float64">,
  infused: readonly string[],
  factors: Readonly<Record<string, string>>,
): ProgramField<"float64"> {
  if (infused.length === 0) return field;
  const text = infusedText(field.equations ?? "", infused, factors);
  const whole = equationsField("equations", text, "float64", field.argumentNames);
  whole.parameters = field.parameters.slice();
  return whole;
}
