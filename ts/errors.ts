import { fix } from "./frozen.js";

/** What kind of error it is; stable, for programs. */
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
  /** WebAssembly memory could not be had. */
  | "OUT_OF_MEMORY"
  /** The object was disposed. */
  | "DISPOSED"
  /** A solve or a gradient was started inside a custom vector field, or calls are nested more than 32 deep. */
  | "REENTRANT"
  /** A custom vector field, a loss or a schedule returned what it must not. */
  | "CALLBACK"
  /** A file is damaged, or not what was expected. */
  | "FILE"
  /** A worker of a pool could not be started, or has died. */
  | "WORKER"
  /** The runtime lacks what the package needs. */
  | "UNSUPPORTED"
  /** A fault of this package. */
  | "INTERNAL";

/** What a program may want to know of an error. */
export interface ErrorDetails {
  /** The argument or option that was refused. */
  argument?: string;
  /** What it must be. */
  expected?: string;
  /** What it was, in short. */
  given?: string;
  /** Where a solve stood: the last good time. */
  t?: number;
  /** The size of the step tried from there, signed as the times run. */
  h?: number;
  /** Accepted steps so far. */
  steps?: number;
  /** Evaluations of the field so far. */
  evaluations?: number;
  /** Bytes that could not be had, or with `memoryBudget` the least that would do. */
  bytes?: number;
}

/** The error of every function of this package; what a custom field or a loss throws comes through as it is. */
export class SymplecticAdjointError extends Error implements ErrorDetails {
  /** Always the name of the class. */
  override readonly name = "SymplecticAdjointError";
  /** What kind of error it is. */
  readonly code: ErrorCode;
  /** The argument or option that was refused. */
  declare readonly argument?: string;
  /** What it must be. */
  declare readonly expected?: string;
  /** What it was, in short. */
  declare readonly given?: string;
  /** Where a solve stood: the last good time. */
  declare readonly t?: number;
  /** The size of the step tried from there, signed as the times run. */
  declare readonly h?: number;
  /** Accepted steps so far. */
  declare readonly steps?: number;
  /** Evaluations of the field so far. */
  declare readonly evaluations?: number;
  /** Bytes that could not be had, or with `memoryBudget` the least that would do. */
  declare readonly bytes?: number;
  /** With the option `partial` of `odeint`: the solution up to where the solve failed, a `Solution` with `lastState`. */
  declare partial?: {
    /** The last good state, `[batch, state]`: that at the error's `t`. */
    readonly lastState: Float32Array | Float64Array;
    /** The states at the times that were reached. */
    readonly y: Float32Array | Float64Array;
    /** Of y; `times` counts those that were reached. */
    readonly shape: readonly [times: number, batch: number, state: number];
    /** A `SolveStats`. */
    readonly stats: object;
  };

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    Object.assign(this, details);
    fix(this, ["name", "code", ...(Object.keys(details) as (keyof ErrorDetails)[])]);
  }
}

/** An argument that is refused: names it, what was expected and what was given. */
export function refused(code: ErrorCode, argument: string, expected: string, value: unknown): SymplecticAdjointError {
  const given = typeof value === "string" ? value : describe(value);
  const message = `${argument}: expected ${expected}, given ${given}`;
  return new SymplecticAdjointError(code, message, { argument, expected, given });
}

/** The name of a value's built-in class, whatever its realm: that of a frame, say, or of a runner of tests. */
export function classOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** Whether it is an error of any realm. */
export function isError(value: unknown): value is Error {
  return ["Error", "DOMException"].includes(classOf(value));
}

/** What an error says, or whatever else was thrown. */
export function textOf(thrown: unknown): string {
  return isError(thrown) ? thrown.message : String(thrown);
}

/** A short text for any value. */
export function describe(value: unknown): string {
  if (typeof value === "string")
    return value.length > 60 ? `a text of ${value.length} characters` : JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (value === null || typeof value !== "object") return String(value);
  try {
    const kind = classOf(value);
    const { length } = value as { length?: unknown };
    return typeof length === "number" ? `${kind} of length ${length}` : `a value of kind ${kind}`;
  } catch {
    return "an object that cannot be read";
  }
}
