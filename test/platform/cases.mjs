// The golden cases of the package in whatever runtime: first use to last without anything awaited.
import { runGolden, tolerance } from "../golden.mjs";

const GRADIENTS = ["auto", "symplectic", "backprop", "baseline", "aca"];

/** How many gradients all cases are. */
export const COUNT = 23 * 2 * GRADIENTS.length;

/** Runs cases in both number types by all exact methods; gives how many and what failed. */
export function runCases(api, cases) {
  const failures = [];
  let count = 0;
  for (const golden of cases) {
    for (const dtype of ["float64", "float32"]) {
      for (const gradient of GRADIENTS) {
        const { errors } = runGolden(api, golden, { dtype, gradient });
        const worst = Math.max(...Object.values(errors));
        if (!(worst <= tolerance(golden, dtype))) failures.push(`${golden.name} ${dtype} ${gradient}: ${worst}`);
        count++;
      }
    }
  }
  return { count, failures, build: api.simd() ?? "native" };
}
