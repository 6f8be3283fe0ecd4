import { fix } from "./frozen.js";

/** The kind of an error, such as `OPTION` or `MAX_STEPS`. It is stable: use it in programs, rather than the message. */
export type ErrorCode =
  /** An array has the wrong length or shape. */
  | "SHAPE"
  /** An array has the wrong number type. */
  | "DTYPE"
  /** An option is unknown or out of range. */
  | "OPTION"
  /** A number that must be finite is not: an input, a loss, or the vector field on the way. */
  | "NON_FINITE"
  /** `maxSteps` was reached. */
  | "MAX_STEPS"
  /** The step size fell below what the time can resolve. */
  | "STEP_UNDERFLOW"
  /** `maxEvents` was reached. */
  | "MAX_EVENTS"
  /** The time of an event has no derivative: its function touches zero without crossing it. */
  | "EVENT_GRAZING"
  /** WebAssembly memory ran out. */
  | "OUT_OF_MEMORY"
  /** The object was disposed. */
  | "DISPOSED"
  /** A solve, a gradient or the like was started inside a custom vector field or a progress function, or calls are nested more than 32 deep. */
  | "REENTRANT"
  /** One of your functions, such as a vector field, a loss or a schedule, did or returned something that it must not. */
  | "CALLBACK"
  /** A file is damaged, or not what was expected. */
  | "FILE"
  /** A worker of a pool could not be started, or has died. */
  | "WORKER"
  /** The servers of a cluster could not be reached, or do not allow what is needed. */
  | "CONNECTION"
  /** The runtime lacks what the package needs. */
  | "UNSUPPORTED"
  /** A bug in this package. */
  | "INTERNAL";

/** Details of an error, for programs. */
export interface ErrorDetails {
  /** The name of the argument or option at fault. */
  argument?: string;
  /** What that argument must be: in words, for people, as in the message. */
  expected?: string;
  /** What was given instead: in words, for people, as in the message. */
  given?: string;
  /** The time of the last accepted step, if a solve failed. */
  t?: number;
  /** The size of the step that failed, negative where time runs backward. */
  h?: number;
  /** The number of steps that a solve accepted before it failed. */
  steps?: number;
  /** How often a solve evaluated the field before it failed. */
  evaluations?: number;
  /** The index of the trajectory that failed, if trajectories are solved independently. */
  trajectory?: number;
  /** The number of bytes that could not be allocated; for a `memoryBudget` that is too small, the smallest that would do. */
  bytes?: number;
  /** The file with the mistake, as the runtime names it, if one of your traced functions did something that it must not. */
  file?: string;
  /** The line of the mistake, from 1: in `file`, or in a text such as that of `equations`. */
  line?: number;
  /** The column of the mistake within its line, from 1. */
  column?: number;
}

/** The error that the functions of this package throw. What your own functions throw, such as a loss, reaches you unchanged. */
export class SymplecticAdjointError extends Error implements ErrorDetails {
  /** The name of the class, which distinguishes these errors from others even if there are several copies of the package. */
  override readonly name = "SymplecticAdjointError";
  /** The kind of error, such as `OPTION` or `MAX_STEPS`: stable, for programs. */
  readonly code: ErrorCode;
  /** The name of the argument or option at fault. */
  declare readonly argument?: string;
  /** What that argument must be: in words, for people, as in the message. */
  declare readonly expected?: string;
  /** What was given instead: in words, for people, as in the message. */
  declare readonly given?: string;
  /** The time of the last accepted step, if a solve failed. */
  declare readonly t?: number;
  /** The size of the step that failed, negative where time runs backward. */
  declare readonly h?: number;
  /** The number of steps that a solve accepted before it failed. */
  declare readonly steps?: number;
  /** How often a solve evaluated the field before it failed. */
  declare readonly evaluations?: number;
  /** The index of the trajectory that failed, if trajectories are solved independently. */
  declare readonly trajectory?: number;
  /** The number of bytes that could not be allocated; for a `memoryBudget` that is too small, the smallest that would do. */
  declare readonly bytes?: number;
  /** The file with the mistake, as the runtime names it, if one of your traced functions did something that it must not. */
  declare readonly file?: string;
  /** The line of the mistake, from 1: in `file`, or in a text such as that of `equations`. */
  declare readonly line?: number;
  /** The column of the mistake within its line, from 1. */
  declare readonly column?: number;
  /** With the option `partial` of `odeint`: the solution up to where the solve failed, a `Solution` with `lastState`. */
  declare partial?: {
    /** The last good state, `[batch, state]`, at the error's `t`. */
    readonly lastState: Float32Array | Float64Array;
    /** The states at the times that were reached. */
    readonly y: Float32Array | Float64Array;
    /** The shape of y; `times` counts the times that were reached. */
    readonly shape: readonly [times: number, batch: number, state: number];
    /** How the solve went, a `SolveStats`. */
    readonly stats: object;
  };

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, options?: { readonly cause?: unknown }) {
    super(message, options);
    // JavaScriptCore has put those of this constructor there.
    Reflect.deleteProperty(this, "line");
    Reflect.deleteProperty(this, "column");
    this.code = code;
    Object.assign(this, details);
    fix(this, ["name", "code", ...(Object.keys(details) as (keyof ErrorDetails)[])]);
  }
}

/** The error of an argument: names it, what was expected and what was given, with a hint if there is one. */
export function refused(
  code: ErrorCode,
  argument: string,
  expected: string,
  given: string,
  hint = "",
): SymplecticAdjointError {
  const message = `${argument}: expected ${expected}, given ${given}${hint}`;
  return new SymplecticAdjointError(code, message, { argument, expected, given });
}

/** Whether a value is a revoked proxy, with which everything except `typeof` throws. */
export function isRevoked(value: unknown): boolean {
  try {
    // Looks through a proxy without calling its handler.
    Array.isArray(value);
    return false;
  } catch {
    return true;
  }
}

/** Whether it is an array; a proxy that was revoked is nothing. */
export function isArray(value: unknown): value is unknown[] {
  return !isRevoked(value) && Array.isArray(value);
}

/** Whether it is a class, which cannot be called as a function. */
export function isClass(value: unknown): boolean {
  return typeof value === "function" && !isRevoked(value) && /^class\b/.test(Function.prototype.toString.call(value));
}

/** The name of a value's built-in class in any realm, such as that of a frame or a test runner. */
export function classOf(value: unknown): string {
  return isRevoked(value) ? "Proxy" : Object.prototype.toString.call(value).slice(8, -1);
}

/** Whether it is an error of any realm. */
export function isError(value: unknown): value is Error {
  return ["Error", "DOMException"].includes(classOf(value));
}

/** Whether it says that a solve could not go on at the values that it was given, as it may at others; of any copy of the package. */
export function isFailedSolve(value: unknown): value is SymplecticAdjointError {
  const { name, code } = (isError(value) ? value : {}) as Partial<SymplecticAdjointError>;
  return (
    name === "SymplecticAdjointError" &&
    ["NON_FINITE", "STEP_UNDERFLOW", "MAX_STEPS", "MAX_EVENTS"].includes(code ?? "")
  );
}

/** The message of an error, or a description of another thrown value. */
export function textOf(thrown: unknown): string {
  return isError(thrown) ? thrown.message : typeof thrown === "object" ? describe(thrown) : String(thrown);
}

/** A short text for any value. */
export function describe(value: unknown): string {
  if (typeof value === "string")
    return value.length > 60 ? `a string of ${value.length} characters` : JSON.stringify(value);
  if (typeof value === "bigint") return `the BigInt ${value}n`;
  if (isRevoked(value)) return "a revoked proxy";
  if (typeof value === "function") return isClass(value) ? "a class" : "a function";
  if (value === null || typeof value !== "object") return String(value);
  try {
    const kind = classOf(value);
    if (kind === "Date") return "a date";
    const { length } = value as { length?: unknown };
    if (typeof length === "number") return `${kind} of length ${length}`;
    if (kind !== "Object") return `a value of kind ${kind}`;
    // Such a kind says nothing: its own text does, or its names do.
    const hasText = value.toString !== undefined && value.toString !== Object.prototype.toString;
    const own = hasText ? String(value.toString()) : "";
    if (own !== "" && own.length <= 100 && !own.startsWith("[object")) return own;
    const names = Object.keys(value).join(", ");
    return /^[\w$, ]{1,60}$/.test(names) ? `an object with ${names}` : "a value of kind Object";
  } catch {
    return "an object that cannot be read";
  }
}
