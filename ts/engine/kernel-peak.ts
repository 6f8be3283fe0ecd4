import { type Dtype, dtypeRule } from "../checks/arrays.js";
import { fallback, number, options as readOptions } from "../checks/rules.js";
import { call } from "./call.js";
import { instance } from "./instance.js";

/** Options of `kernelPeak`: in which number type to measure, and for how long. */
export interface KernelPeakOptions {
  /** The number type to compute in; default `float32`. */
  dtype?: Dtype | undefined;
  /** How long to measure, in milliseconds, at most 60,000; default 50. */
  milliseconds?: number | undefined;
}

const upToAMinute = number("a positive number, at most 60000", (value) => value > 0 && value <= 60_000);
const rules = { dtype: fallback(dtypeRule, "float32"), milliseconds: fallback(upToAMinute, 50) };

/**
 * The speed of the innermost loop of matrix products on this machine, with operands in the first-level cache, in GFLOP/s on one core: the
 * limit to compare a solve with. A multiply–add counts as two.
 */
export function kernelPeak(options: KernelPeakOptions = {}): number {
  const { dtype, milliseconds } = readOptions(options, rules);
  const engine = instance();
  const run = (repeats: number) => {
    const start = performance.now();
    const flops = call(engine, () => engine.bindings.kernelPeak(dtype, repeats));
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
