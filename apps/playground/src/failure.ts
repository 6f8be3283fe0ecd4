import { SymplecticAdjointError } from "symplectic-adjoint/slim";
import type { FailureReport } from "./messages.js";

/** An error as data that a message can carry. */
export function failureOf(during: FailureReport["during"], error: unknown): FailureReport {
  if (error instanceof SymplecticAdjointError) {
    const { code, message, argument, bytes, line, column } = error;
    return { during, code, message, argument, bytes, line, column };
  }
  return { during, code: "INTERNAL", message: error instanceof Error ? error.message : String(error) };
}
