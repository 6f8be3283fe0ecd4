import { SymplecticAdjointError } from "./errors.js";

/** How deep the package and what it calls of the user's may call each other. */
const MAX_DEPTH = 32;
let depth = 0;

/** Runs what is the user's: a loss, a custom vector field, a getter of options or an element of a list. */
export function outside<T>(body: () => T): T {
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
