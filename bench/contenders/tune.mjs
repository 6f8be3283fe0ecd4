// The continuous adjoint at its best: the loosest tolerances of its backward solve whose gradient is as near to the converged
// one as the exact gradient is. Loosest is what takes the fewest evaluations.
import { numbers64 } from "./serve.mjs";

const RATIOS = [1, 1e-2, 1e-4, 1e-6];
/** From 1, by halves of a decade, as far as the type goes. */
const FINEST = { float32: 1e-6, float64: 1e-13 };
const SECONDS = 60;

/** The result and options of the search for a gradient that is off by no more than `error`. */
export async function tuned(gradient, options, dtype, { error, reference }) {
  const exact = numbers64(reference);
  const size = norm(exact);
  const length = Math.floor(-2 * Math.log10(FINEST[dtype])) + 1;
  const rtols = Array.from({ length }, (_, i) => 10 ** (-i / 2));
  const end = performance.now() + 1000 * SECONDS;
  let best;
  let tried = 0;
  for (const ratio of RATIOS) {
    for (const rtol of rtols) {
      if (performance.now() > end) return finish(best, tried, "the search ran out of time");
      const changed = { ...options, adjoint: { rtol, atol: ratio * rtol } };
      const result = await gradient(changed);
      tried++;
      const { parameters, stats } = result.gradient;
      const evaluations = stats.evaluations + 2 * stats.vjps;
      if (best && evaluations >= best.evaluations) break;
      if (norm(exact, parameters) / size > error) continue;
      best = { options: changed, result, evaluations };
      break;
    }
  }
  return finish(best, tried);
}

function finish(best, tried, caveat) {
  if (!best) throw new Error(`none of ${tried} tolerances was as exact${caveat ? `; ${caveat}` : ""}`);
  const { rtol, atol } = best.options.adjoint;
  const found = `backward rtol ${rtol.toExponential(1)}, atol ${atol.toExponential(1)}`;
  return { ...best, note: caveat ? `${found}; ${caveat}` : found };
}

/** ‖a − b‖, or ‖a‖. */
function norm(a, b) {
  return Math.sqrt(a.reduce((sum, value, i) => sum + (value - (b?.[i] ?? 0)) ** 2, 0));
}
