// Whether the stack has room for a call into WebAssembly. One that overflows inside leaves its memory half changed; one that
// overflows before loses nothing.
import { isError } from "../checks/errors.js";

/** The function below holds the results of this many calls, and calls itself this often. */
const RESULTS = 100;
const CALLS = 30;
/** 48 KB in all, about twice what the deepest call takes. */
const AGAIN = 1;
/** 240 KB, for native code and what it calls in JavaScript. */
export const NATIVE = 9;

let stackProbe: ((again: number) => number) | undefined;

/** Throws the runtime's own error of a recursion without end, mostly a `RangeError`, where too little is left. Takes some 10 ns. */
export function needStack(again = AGAIN): void {
  stackProbe ??= makeProbe();
  stackProbe(again);
}

/**
 * A function with a branch that is never taken and would hold many numbers at once: runtimes make room for them, and check
 * that it is there, on entry.
 */
function makeProbe(): (again: number) => number {
  // Types: (result f64 × RESULTS); (param i32) (result f64). The first function, of the first type, calls itself.
  const types = [2, 0x60, 0, RESULTS, ...Array(RESULTS).fill(0x7c), 0x60, 1, 0x7f, 1, 0x7c];
  // The second: where its parameter is negative, the sum of what CALLS calls of the first give;
  const sum = new Uint8Array(2 * CALLS + CALLS * RESULTS - 1).fill(0xa0);
  for (let i = 0; i < CALLS; i++) sum.set([0x10, 0], 2 * i);
  const start = [0, 0x02, 0x40, 0x20, 0, 0x41, 0, 0x4e, 0x0d, 0];
  // where it is 0, 0; else itself with one less.
  const rest = [
    0x0f,
    0x0b,
    0x20,
    0,
    0x45,
    0x04,
    0x7c,
    0x44,
    ...Array(8).fill(0),
    0x05,
    0x20,
    0,
    0x41,
    1,
    0x6b,
    0x10,
    1,
  ];
  const size = start.length + sum.length + rest.length + 2;
  const head = [0, 97, 115, 109, 1, 0, 0, 0, 1, types.length, ...types, 3, 3, 2, 0, 1, 7, 4, 1, 0, 0, 1];
  const code = [10, ...leb128(size + 8), 2, 4, 0, 0x10, 0, 0x0b, ...leb128(size), ...start];
  const bytes = Uint8Array.of(...head, ...code, ...sum, ...rest, 0x0b, 0x0b);
  try {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
    return exports[""] as (again: number) => number;
  } catch (error) {
    if (isOverflow(error)) throw error;
    // Where no bytes are compiled, as in Cloudflare Workers, calls go without this.
    return (again) => again;
  }
}

/** A number of 14 bits, as WebAssembly writes it. */
function leb128(number: number): number[] {
  return [(number & 127) | 128, number >> 7];
}

/** Whether an error means that the stack or the memory is used up: Firefox has its own error for that. */
export function isOverflow(error: unknown): boolean {
  return isError(error) && ["RangeError", "InternalError"].includes(error.name);
}
