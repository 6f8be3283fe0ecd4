// Errors that the user is told of without a stack.
import { SymplecticAdjointError } from "../index.js";

/** What went wrong, for the user; status 2 is a mistake in the command itself, 130 an interruption. */
export class Failure extends Error {
  constructor(
    message: string,
    readonly status: 1 | 2 | 130 = 1,
  ) {
    super(message);
  }
}

/** The package's own errors, and those of files, as failures of the command; faults of the program stay what they are. */
export function failureOf(error: unknown): unknown {
  if (error instanceof SymplecticAdjointError && error.code !== "INTERNAL") return new Failure(error.message);
  const { code, path, message } = error as NodeJS.ErrnoException;
  const reasons: Record<string, string> = { ENOENT: "no such file", EACCES: "not allowed", EISDIR: "is a folder" };
  if (typeof code === "string" && path) return new Failure(`${path}: ${reasons[code] ?? message}`);
  return error;
}
