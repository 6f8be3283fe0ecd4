import { SymplecticAdjointError } from "./errors.js";

/** How deeply calls of the package and of the user's functions may be nested. */
const MAX_DEPTH = 32;
let depth = 0;

/** Runs the user's code: a loss, a custom vector field, a getter of options or of an element of a list. */
export function runUserCode<T>(body: () => T): T {
  if (depth === MAX_DEPTH) {
    const message = `calls are nested more than ${MAX_DEPTH} deep: a loss, a custom vector field or a getter of options calls the function that called it`;
    throw new SymplecticAdjointError("REENTRANT", message);
  }
  depth++;
  try {
    return body();
  } finally {
    depth--;
  }
}
