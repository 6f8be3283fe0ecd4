// The golden cases of the package in whatever runtime: first use to last without anything awaited.
import { GRADIENTS } from "../../wasm/constants.js";
import { runGolden, tolerance } from "../golden.mjs";

const EXACT = GRADIENTS.filter((gradient) => gradient !== "adjoint");

/** How many gradients all cases are. */
export const COUNT = 23 * 2 * EXACT.length;

/** Runs cases in both number types by all exact gradients; gives how many and what failed. */
export function runCases(api, cases) {
  const failures = [];
  let count = 0;
  for (const golden of cases) {
    for (const dtype of ["float64", "float32"]) {
      for (const gradient of EXACT) {
        const { errors } = runGolden(api, golden, { dtype, gradient });
        const worst = Math.max(...Object.values(errors));
        if (!(worst <= tolerance(golden, dtype))) failures.push(`${golden.name} ${dtype} ${gradient}: ${worst}`);
        count++;
      }
    }
  }
  return { count, failures, build: api.simd() ?? "native" };
}
