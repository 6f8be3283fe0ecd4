// Errors of pools, from failures of the parts of a job.
import { SymplecticAdjointError, textOf } from "../checks/errors.js";
import type { WorkerFailure } from "./protocol.js";

/** The failure of one part of a job. */
export class PartError extends Error {
  constructor(readonly failure: WorkerFailure) {
    super(failure.message);
  }
}

/** The error that the caller should see: the first that is not a consequence of another. */
export function causeOf(reasons: readonly unknown[]): unknown {
  const reason = reasons.find((reason) => !(reason instanceof PartError && reason.failure.isSecondary)) ?? reasons[0];
  if (!(reason instanceof PartError)) return reason;
  const { code, message, details } = reason.failure;
  return new SymplecticAdjointError(code, message, details);
}

/** The error of a pool one of whose workers ended by itself. */
export function workerDied(reason: unknown): SymplecticAdjointError {
  return new SymplecticAdjointError(
    "WORKER",
    `a worker died: ${textOf(reason)}; make a new pool`,
    {},
    { cause: reason },
  );
}

/** If a worker found its budget too small, the error about the budget of all workers together. */
export function poolBudgetError(error: unknown, workers: number): unknown {
  if (!(error instanceof SymplecticAdjointError) || error.argument !== "memoryBudget" || !error.bytes) return error;
  const { message, argument } = error;
  const bytes = error.bytes * workers;
  const details = { argument, expected: `at least ${bytes} bytes`, given: `${Number(error.given) * workers}`, bytes };
  const share = `${message} on each of ${workers} workers`;
  return new SymplecticAdjointError("OPTION", workers === 1 ? message : share, details);
}
