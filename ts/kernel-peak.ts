import type { Dtype } from "./memory.js";
import { checked, checkNames, numberOption, oneOf } from "./options.js";
import { call, instance } from "./wasm.js";

/** What to measure. */
export interface KernelPeakOptions {
  /** Default `float32`. */
  dtype?: Dtype;
  /** How long to measure, a minute at most; default 50. */
  milliseconds?: number;
}

/**
 * What the innermost loop of the matrix products reaches on this machine, on operands in the first cache, in GFLOP/s on one
 * core: the limit by which to judge a solve. A multiply–add counts as two.
 */
export function kernelPeak(options: KernelPeakOptions = {}): number {
  checkNames(options, ["dtype", "milliseconds"]);
  const dtype = checked("dtype", options.dtype, oneOf(["float32", "float64"])) ?? "float32";
  const minute = (value: number) => value > 0 && value <= 60_000;
  const expected = "a positive number, at most 60000";
  const milliseconds = numberOption("milliseconds", options.milliseconds, 50, expected, minute);
  const wasm = instance();
  const run = (repeats: number) => {
    const start = performance.now();
    const flops = call(wasm, () => wasm.bindings.kernelPeak(dtype, repeats));
    const time = performance.now() - start;
    return { time, rate: flops / time / 1e6 };
  };
  // A millisecond or so each: the best of many is least disturbed.
  let repeats = 100;
  while (repeats < 2 ** 30 && run(repeats).time < 1) repeats *= 2;
  let best = 0;
  const end = performance.now() + milliseconds;
  do best = Math.max(best, run(repeats).rate);
  while (performance.now() < end);
  return best;
}
