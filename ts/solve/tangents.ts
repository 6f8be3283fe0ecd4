// Directions to differentiate along: what forward mode takes, checked.
import { type ArrayOf, arrayOf, batchOf, checkLength, type Dtype, timesOf } from "../checks/arrays.js";
import { anything, checkAbsent, fallback, options, size } from "../checks/rules.js";
import { refuseReentry } from "../engine/call.js";
import { type ArgumentArrays, type Field, useField, wasmField } from "../fields/field.js";
import type { Lists } from "./changes.js";
import { EnsembleJvp, type EnsembleJvpProblem, flatTimeTangents, readJvpProblem } from "./ensemble-jvp.js";
import type { OdeintOptions } from "./options.js";

/**
 * Directions to differentiate along: ẏ0, θ̇, ȧ and ṫ, the rates of change of the inputs. An input that is left out is held constant.
 */
export interface Tangents<D extends Dtype = Dtype, A extends string = string> {
  /** How many directions there are; default 1. */
  directions?: number | undefined;
  /** ẏ0, the directions in the initial states, `[directions, batch, state]`; zero by default. */
  y0?: ArrayOf<D> | undefined;
  /**
   * θ̇, the directions in the parameters, `[directions, parameters]`, each of the layout of `field.parameters`; zero by default.
   */
  parameters?: ArrayOf<D> | undefined;
  /**
   * ȧ, the directions in all arguments, by name: `[directions, batch]`, or `[directions, batch, length]` of a vector; zero by
   * default.
   */
  arguments?: ArgumentArrays<A> | undefined;
  /**
   * ṫ, the directions in the output times, `[directions, times]`; where trajectories have their own, `[directions, times, batch]`, padded
   * as the solution is. Zero by default. The times of jumps are held constant.
   */
  times?: ArrayLike<number> | undefined;
}

const tangentRules = {
  directions: fallback(size, 1),
  y0: anything<unknown>(),
  parameters: anything<unknown>(),
  arguments: anything<unknown>(),
  times: anything<ArrayLike<number>>(),
};

/** A solve's inputs, checked, with directions along which they move. */
export function prepareJvp<D extends Dtype>(
  field: Field<D>,
  y0: unknown,
  times: ArrayLike<number>,
  given: unknown,
  settings: OdeintOptions,
  caller: string,
) {
  const { partial: _, arguments: args, ...rest } = settings;
  const ends = timesOf(times);
  const { engine } = useField(field);
  refuseReentry(engine, caller);
  const wasm = wasmField(field);
  const { dtype, stateSize } = field;
  const start = engine.steady(arrayOf("y0", y0, dtype));
  const batch = batchOf("y0", start, stateSize);
  const packed = wasm.packArguments(args, batch);
  const { directions, tangentArrays, rates } = readTangents(field, given, batch);
  if (rates) checkLength("tangents.times", rates, directions * ends.length, `[${directions}, ${ends.length}]`);
  // Whoever gives these may have disposed of the field.
  const { rust } = useField(field);
  return {
    rust,
    engine,
    own: wasm,
    start,
    batch,
    ends,
    packed,
    tangentArrays: { ...tangentArrays, times: rates },
    directions,
    settings: rest,
  };
}

/** Directions, checked, flat; those of the times apart, whose length depends on the solve. */
function readTangents<D extends Dtype>(field: Field<D>, given: unknown, batch: number) {
  const { engine } = useField(field);
  const wasm = wasmField(field);
  const { dtype, stateSize } = field;
  const read = options(given, tangentRules, "tangents.");
  const { directions } = read;
  const list = (name: "y0" | "parameters", length: number, shape: string) => {
    if (read[name] === undefined) return undefined;
    const numbers = engine.steady(arrayOf(`tangents.${name}`, read[name], dtype));
    checkLength(`tangents.${name}`, numbers, directions * length, `[${directions}, ${shape}]`);
    return numbers;
  };
  const tangentArrays = {
    y0: list("y0", batch * stateSize, `${batch}, ${stateSize}`),
    parameters: list("parameters", wasm.parameterCount, String(wasm.parameterCount)),
    arguments:
      read.arguments === undefined
        ? undefined
        : (wasm.packArguments(read.arguments, directions * batch, "tangents.arguments") as ArrayOf<D>),
  };
  const rates = read.times === undefined ? undefined : timesOf(read.times, "tangents.times");
  return { directions, tangentArrays, rates };
}

/** Checked directions along which independent trajectories are differentiated. */
export function readEnsembleJvp<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  given: unknown,
  settings: OdeintOptions,
  caller: string,
): EnsembleJvpProblem<D> {
  const problem = readJvpProblem(field, y0, times, settings, caller);
  const { directions, tangentArrays, rates } = readTangents(field, given, problem.batch);
  const tangents = { ...tangentArrays, times: rates && flatTimeTangents(problem, directions, rates) };
  return { problem, directions, tangents };
}

/** A solve of independent trajectories, with derivatives along directions. */
export function solveEnsembleJvp<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  given: unknown,
  settings: OdeintOptions,
  { keep, caller }: { keep: boolean; caller: string },
) {
  const whole = readEnsembleJvp(field, y0, times, given, settings, caller);
  const { problem, directions } = whole;
  if (keep) checkAbsent({ events: problem.changes.events }, `, as ${caller} does not take this option`);
  const { progress } = settings;
  const solve = { keep, caller, ...(progress && { progress }) };
  const solved = new EnsembleJvp(field, whole, solve);
  return { problem, directions, solved };
}
