// Errors that are shown without a stack.
import { SymplecticAdjointError } from "../index.js";

/** The exit status of a training that diverged. */
export const DIVERGED = 3;

/** An error for the user, without a stack. Status 2 is a mistake in the command itself, 128 and more a signal. */
export class Failure extends Error {
  constructor(
    message: string,
    readonly status = 1,
  ) {
    super(message);
  }
}

/** Descriptions of the system's error codes. */
const REASONS: Record<string, string> = {
  ENOENT: "no such file",
  ENOTDIR: "a part of its path is not a folder",
  EACCES: "not allowed",
  EPERM: "not allowed",
  EISDIR: "is a folder",
  ELOOP: "its links form a circle",
  ENAMETOOLONG: "its name is too long",
  ENOSPC: "the disk is full",
  EDQUOT: "the quota is used up",
  EFBIG: "it would exceed the largest file size here",
  EROFS: "the disk is read-only",
  ENXIO: "there is nothing to read",
};

/** Why a file could not be read or written. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return REASONS[code ?? ""] ?? message;
}

/** Turns the errors of the package and of the system into failures of the command. Internal errors are returned as they are. */
export function failureOf(error: unknown): unknown {
  if (error instanceof SymplecticAdjointError && error.code !== "INTERNAL") return new Failure(error.message);
  const { code, path, syscall } = error as NodeJS.ErrnoException;
  if (typeof code !== "string" || typeof syscall !== "string") return error;
  return new Failure(path === undefined ? reasonOf(error) : `${path}: ${reasonOf(error)}`);
}
