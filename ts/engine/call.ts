import { isError, SymplecticAdjointError } from "../checks/errors.js";
import { type Instance, instance } from "./instance.js";
import { needStack } from "./stack.js";

/**
 * Calls into WebAssembly. Errors that Rust reports become `SymplecticAdjointError`; what a custom vector field has thrown
 * reaches the caller unchanged; after a trap the instance is given up.
 */
export function call<T>(wasm: Instance, body: () => T): T {
  needStack();
  if (!wasm.bindings.ensureReserve()) throw outOfMemory(RESERVE, "a call");
  wasm.calls++;
  try {
    return body();
  } catch (error) {
    throw translate(wasm, error);
  } finally {
    wasm.calls--;
    while (wasm.calls === 0 && !wasm.lost && wasm.abandoned.length > 0) wasm.abandoned.pop()?.free();
  }
}

/** What a call may take without asking: a reserve that Rust keeps. */
const RESERVE = 2 ** 20;

/** Refuses what takes memory in proportion to its size that nobody asks for with care: texts and lists on their way into Rust. */
export function needRoom(wasm: Instance, bytes: number, purpose: string): void {
  needStack();
  if (bytes > RESERVE / 8 && !wasm.bindings.hasRoom(Math.min(bytes, 2 ** 32 - 1))) throw outOfMemory(bytes, purpose);
}

function outOfMemory(bytes: number, purpose: string): SymplecticAdjointError {
  const message = `${bytes} bytes could not be had for ${purpose}; dispose of fields, optimizers and recorded solves`;
  return new SymplecticAdjointError("OUT_OF_MEMORY", message, { bytes });
}

/** Frees an object of this instance: at once, or when the call that may be using it has returned. */
export function release(wasm: Instance, object: { free(): void } | undefined): void {
  if (!object || wasm.lost) return;
  if (wasm.calls > 0) wasm.abandoned.push(object);
  else object.free();
}

function translate(wasm: Instance, error: unknown): unknown {
  const { thrown } = wasm;
  if (thrown) {
    wasm.thrown = undefined;
    return thrown.value;
  }
  if (error instanceof SymplecticAdjointError) return error;
  if (isError(error)) {
    wasm.lost = true;
    wasm.cut();
    const message = `a fault inside the package: ${error.message}; its fields are lost, new ones will work`;
    return new SymplecticAdjointError("INTERNAL", message, {}, { cause: error });
  }
  return fromRust(error);
}

/** An error that Rust reports as a plain object. */
export function fromRust(error: unknown): SymplecticAdjointError {
  const { code, message, ...details } = error as { code: SymplecticAdjointError["code"]; message: string };
  return new SymplecticAdjointError(code, message, details);
}

/** Bytes in use. */
export interface MemoryUsage {
  /** Bytes in buffers of fields, recorded solves and results that are alive. */
  liveBytes: number;
  /** The size of WebAssembly memory in bytes, which never shrinks. */
  wasmBytes: number;
}

/** What the package holds now: a loop that leaks raises `liveBytes`. */
export function memoryUsage(): MemoryUsage {
  const wasm = instance();
  needStack();
  return { liveBytes: wasm.bindings.liveBytes(), wasmBytes: wasm.memory.buffer.byteLength };
}

/** Refuses to go on inside a custom vector field. */
export function refuseReentry(wasm: Instance, what: string): void {
  if (wasm.callbacks === 0) return;
  const message = `${what} inside a custom vector field: only evaluate and vjp of fields may be called there`;
  throw new SymplecticAdjointError("REENTRANT", message);
}
