// From which tolerance on an exact gradient is faster than the continuous adjoint that is as exact: dopri5 in float64, as
// float32 ends where it becomes interesting.

import { efforts, gradientErrors, measure } from "./rounds.mjs";
import { TIMED } from "./shared/gradients.mjs";
import { problemsOf, writeInputs } from "./shared/problems.mjs";

const CASES = ["small", "medium"];
const NAMES = [...TIMED, "adjoint, tuned"];
const RTOLS = [1e-3, 1e-5, 1e-7, 1e-9];

/** Results as `measure` gives them, each with the `rtol` asked for. */
export async function crossover(api, contenders, runtime, progress) {
  const ours = contenders.filter(
    ({ kind, name, command }) => kind === "ours" && NAMES.includes(name) && command[0] === runtime.command[0],
  );
  const results = [];
  for (const problem of problemsOf(CASES).filter(({ steps }) => !steps)) {
    for (const rtol of RTOLS) {
      const say = progress(`crossover: ${problem.case}, rtol ${rtol}`);
      const asked = writeInputs(api, { ...problem, rtol, atol: rtol / 100, dtype: "float64" });
      const found = await measure(asked, ours, efforts.brief, await gradientErrors(asked, runtime), say);
      results.push(...found.map((result) => ({ ...result, rtol })));
      say.done();
    }
  }
  return results;
}
