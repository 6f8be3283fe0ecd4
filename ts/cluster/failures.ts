// Errors of workers, as they travel to the coordinator.
import { SymplecticAdjointError, textOf } from "../checks/errors.js";
import type { TaskFailure } from "./messages.js";

/** Thrown by a worker that no longer has an earlier solve. */
export class Forgotten extends Error {}

export function failureOf(error: unknown): TaskFailure | "forgotten" {
  if (error instanceof Forgotten) return "forgotten";
  if (!(error instanceof SymplecticAdjointError)) return { code: "INTERNAL", message: textOf(error), details: {} };
  const { code, message, argument, expected, given, t, h, steps, evaluations, trajectory, bytes } = error;
  const all = { argument, expected, given, t, h, steps, evaluations, trajectory, bytes };
  return { code, message, details: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) };
}

/** The error for a failure. */
export function errorOf(failure: TaskFailure | "forgotten"): Error {
  if (failure === "forgotten") return new Forgotten();
  return new SymplecticAdjointError(failure.code, failure.message, failure.details);
}
