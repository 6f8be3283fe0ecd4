// The golden cases of the package in whatever runtime: first use to last without anything awaited.
import { GRADIENTS } from "../../wasm/constants.js";
import { runGolden, tolerance } from "../golden.mjs";

const EXACT = GRADIENTS.filter((gradient) => gradient !== "adjoint");

/** How many gradients all cases are. */
export const COUNT = 23 * 2 * EXACT.length;

/** What is wrong with the place in this file that an error of tracing has. */
function placeFailures(api) {
  let before = 0;
  try {
    api.vectorField({
      state: 1,
      slope: ({ state }) => {
        before = Number(/cases\.mjs:(\d+)/.exec(new Error().stack ?? "")?.[1]);
        // In a list: JavaScriptCore forgets functions that end with a call.
        return [state.mul("2")];
      },
    });
    return ["a string was taken for a value"];
  } catch ({ message, file, line }) {
    const wanted = before + 2;
    const isRight = file?.endsWith("cases.mjs") && line === wanted && message.includes(`(at cases.mjs:${wanted}:`);
    return isRight ? [] : [`${message}: that is line ${wanted} of cases.mjs`];
  }
}

/** Runs cases in both number types by all exact gradients; gives how many and what failed. */
export function runCases(api, cases) {
  const failures = placeFailures(api);
  let count = 0;
  for (const golden of cases) {
    for (const dtype of ["float64", "float32"]) {
      for (const gradient of EXACT) {
        const { errors } = runGolden(api, golden, { dtype, gradient });
        const worst = Math.max(...Object.values(errors ?? { unsupported: Number.NaN }));
        if (!(worst <= tolerance(golden, dtype))) failures.push(`${golden.name} ${dtype} ${gradient}: ${worst}`);
        count++;
      }
    }
  }
  return { count, failures, build: api.simd() ?? "native" };
}
