// What a loss can find out about the outputs of a solve, besides their numbers.
import type { ArrayOf, Dtype } from "../checks/arrays.js";
import { refused, type SymplecticAdjointError } from "../checks/errors.js";
import { argument, callable, required } from "../checks/rules.js";
import type { Lists } from "./changes.js";
import type { Solution } from "./results.js";

/** The outputs of a solve. */
export interface Outputs {
  /** The times of the outputs, as they were given. */
  readonly times?: Lists;
  /** Which of them count, `[times, batch]`; undefined where all do. */
  readonly mask?: Uint8Array | undefined;
  /** Why the first trajectory failed that has none which counts. */
  readonly failure?: SymplecticAdjointError | undefined;
}

/** By the array of their numbers. */
const known = /* @__PURE__ */ new WeakMap<object, Outputs>();

/** What is known about the outputs of a solve; nothing about other arrays. */
export function outputsIn(y: object): Outputs {
  return known.get(y) ?? {};
}

/** Has losses find out about outputs. */
export function registerOutputs(y: object, outputs: Outputs): void {
  known.set(y, outputs);
}

/** A copy of a solution's outputs for a loss, which may change it. */
export function outputsForLoss<D extends Dtype>(solution: Solution<D>, times: Lists): ArrayOf<D> {
  const y = solution.y.slice() as ArrayOf<D>;
  known.set(y, { ...outputsIn(solution.y), times });
  return y;
}

/** Losses that take data beside the solution. */
export const lossesWithData = /* @__PURE__ */ new WeakSet<object>();

/** The error of such a loss that is handed over as it is. */
export function missingDataError(): SymplecticAdjointError {
  const expected = "a function of the solution alone: for a loss made by loss(…), write myLoss.of({ target: … })";
  return refused("OPTION", "loss", expected, "the loss without its data");
}

/** Refuses what is no loss of a solution alone. */
export function checkLoss(loss: unknown): void {
  argument("loss", loss, required(callable()));
  if (lossesWithData.has(loss as object)) throw missingDataError();
}
