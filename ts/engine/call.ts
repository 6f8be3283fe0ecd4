import { describe, isError, SymplecticAdjointError } from "../checks/errors.js";
import { isObject } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import type { Instance } from "./engine.js";
import { internalError } from "./fault.js";
import { instance } from "./instance.js";
import { fields, optimizers, solvers, solves } from "./live-objects.js";

/**
 * Calls into the engine. Errors that Rust reports become `SymplecticAdjointError`; what a custom vector field has thrown
 * reaches the caller unchanged; after a trap in WebAssembly the instance is given up.
 */
export function call<T>(engine: Instance, body: () => T): T {
  engine.needStack();
  if (!engine.bindings.ensureReserve()) throw outOfMemory(RESERVE, "a call");
  engine.calls++;
  try {
    return body();
  } catch (error) {
    throw translateError(engine, error);
  } finally {
    engine.calls--;
    while (engine.calls === 0 && !engine.lost && engine.abandoned.length > 0) engine.abandoned.pop()?.free();
  }
}

/** The least number of milliseconds between calls of a user's progress function. */
const PROGRESS_MS = 50;

/**
 * Does what `call` does, for solves that report their progress, from 0 to 1, to a function. An error of the function ends the solve and
 * reaches the caller, after `discard` has freed the result.
 */
export function callWithProgress<T>(
  engine: Instance,
  progress: ((fraction: number) => void) | undefined,
  body: () => T,
  discard: (result: T) => void,
): T {
  if (!progress) return call(engine, body);
  // What may not be called on the way is refused at the end too, or it would depend on the speed of the machine.
  const tell = (fraction: number): void => {
    engine.callbacks++;
    try {
      runUserCode(() => progress(fraction));
    } finally {
      engine.callbacks--;
    }
  };
  let last = performance.now();
  const watch = (fraction: number) => {
    if (performance.now() - last < PROGRESS_MS || fraction >= 1) return true;
    try {
      tell(fraction);
      return true;
    } catch (value) {
      engine.thrown = { value };
      return false;
    } finally {
      last = performance.now();
    }
  };
  const result = call(engine, () => {
    engine.bindings.watch(watch);
    try {
      return body();
    } finally {
      if (!engine.lost) engine.bindings.watch(undefined);
    }
  });
  try {
    tell(1);
    return result;
  } catch (error) {
    discard(result);
    throw error;
  }
}

/** The bytes that a call may take without asking, from a reserve that Rust keeps. */
const RESERVE = 2 ** 20;

/** Checks that there is memory for texts and lists on their way into Rust, since their allocations are not checked there. */
export function ensureMemory(engine: Instance, bytes: number, purpose: string): void {
  engine.needStack();
  if (bytes > RESERVE / 8 && !engine.bindings.hasRoom(Math.min(bytes, 2 ** 32 - 1))) throw outOfMemory(bytes, purpose);
}

function outOfMemory(bytes: number, purpose: string): SymplecticAdjointError {
  const message = `could not allocate ${bytes} bytes for ${purpose}; dispose of fields, optimizers and recorded solves`;
  return new SymplecticAdjointError("OUT_OF_MEMORY", message, { bytes });
}

/** Frees an object of this instance: at once, or when the call that may be using it has returned. */
export function release(engine: Instance, object: { free(): void } | undefined): void {
  if (!object || engine.lost) return;
  if (engine.calls > 0) engine.abandoned.push(object);
  else object.free();
}

function translateError(engine: Instance, error: unknown): unknown {
  const { thrown } = engine;
  if (thrown) {
    engine.thrown = undefined;
    return thrown.value;
  }
  if (error instanceof SymplecticAdjointError) return error;
  if (isError(error)) return engine.fault(error);
  return errorFromRust(error);
}

/** An error that Rust reports as a plain object; anything else, as an instance that was lost may give, is a fault. */
export function errorFromRust(error: unknown): SymplecticAdjointError {
  const { code, message, ...details } = (isObject(error) ? error : {}) as Partial<SymplecticAdjointError>;
  if (code === undefined || message === undefined) {
    return internalError(isError(error) ? error : new Error(`a call failed with ${describe(error)}`));
  }
  const text = code === "OUT_OF_MEMORY" ? addRemedy(message) : message.replaceAll(INFINITE, "$1 $2Infinity");
  const { given } = details;
  const own = given === undefined ? details : { ...details, given: given.replace(/^(-?)inf$/, "$1Infinity") };
  return new SymplecticAdjointError(code, text, own);
}

/** Infinite numbers as Rust writes them. */
const INFINITE = /\b(given|finite,) (-?)inf\b/g;

/** Adds a remedy to an error about memory: use a smaller network, or dispose of objects. Rust's own remedies are about solves. */
function addRemedy(message: string): string {
  const many = [solves, solvers, optimizers, fields].find(({ isMany }) => isMany);
  const remedy = many ? String(many) : / for network;/.test(message) ? "use smaller widths" : undefined;
  return remedy ? message.replace(/;.*$/, `; ${remedy}`) : message;
}

/** The memory that the package holds at the moment, in bytes. */
export interface MemoryUsage {
  /** Bytes in buffers of fields, recorded solves and results that are alive; with the native engine, of all threads. */
  liveBytes: number;
  /** The size of WebAssembly memory in bytes, which never shrinks; 0 with the native engine. */
  wasmBytes: number;
}

/** The memory that the package holds now, in bytes. In a loop that leaks, `liveBytes` grows. */
export function memoryUsage(): MemoryUsage {
  const engine = instance();
  engine.needStack();
  return { liveBytes: engine.bindings.liveBytes(), wasmBytes: engine.wasmBytes };
}

/** Refuses to go on inside a custom vector field. */
export function refuseReentry(engine: Instance, what: string): void {
  if (engine.callbacks === 0) return;
  const message = `${what} inside a custom vector field or a progress function: only evaluate and vjp of fields may be called there`;
  throw new SymplecticAdjointError("REENTRANT", message);
}
