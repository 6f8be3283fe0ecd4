import { SymplecticAdjointError } from "../checks/errors.js";

/** The error of a fault inside the package, with what follows from it. */
export function internalError(error: Error, consequence = ""): SymplecticAdjointError {
  const message = `a fault inside the package: ${error.message}${consequence}`;
  return new SymplecticAdjointError("INTERNAL", message, {}, { cause: error });
}
