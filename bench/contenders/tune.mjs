// The continuous adjoint at its best: the norm and the loosest tolerances of its backward solve whose gradient is as near to the
// converged one as the exact gradient is. Loosest is what takes the fewest evaluations.
/** The norm, and atol over rtol. */
const SETTINGS = ["full", "seminorm"].flatMap((norm) => [1, 1e-3, 1e-6].map((ratio) => ({ norm, ratio })));
/** rtol goes from 1, by halves of a decade, as far as the type does. */
const FINEST = { float32: 1e-6, float64: 1e-13 };
/** For trying everything; what would take longer is bisected, as if errors fell steadily with the tolerance. */
const PATIENCE_MS = 60_000;

/** The result and options of the search for a gradient that is off from the `exact` one by no more than `error`; throws if none. */
export async function tuned(gradient, options, dtype, { error, exact }) {
  const size = distance(exact);
  const length = Math.floor(-2 * Math.log10(FINEST[dtype])) + 1;
  const rtols = Array.from({ length }, (_, i) => 10 ** (-i / 2));
  let tried = 0;
  const attempt = async (rtol, { norm, ratio }) => {
    tried++;
    const changed = { ...options, adjoint: { rtol, atol: ratio * rtol, norm } };
    const result = await gradient(changed);
    const { parameters, stats } = result.gradient;
    const evaluations = stats.evaluations + 2 * stats.vjps;
    return { options: changed, result, evaluations, passes: distance(exact, parameters) / size <= error };
  };
  const start = performance.now();
  await attempt(rtols[0], SETTINGS[0]);
  const cheap = (performance.now() - start) * SETTINGS.length * length < PATIENCE_MS;
  const found = [];
  for (const setting of SETTINGS)
    found.push(await (cheap ? firstPassing : bisected)(rtols, (rtol) => attempt(rtol, setting)));
  const best = found.filter((one) => one).toSorted((a, b) => a.evaluations - b.evaluations)[0];
  if (!best) throw new Error(`none of ${tried} tolerances was as exact`);
  const { rtol, atol, norm } = best.options.adjoint;
  return { ...best, note: `backward rtol ${rtol.toExponential(1)}, atol ${atol.toExponential(1)}, ${norm} norm` };
}

async function firstPassing(rtols, attempt) {
  for (const rtol of rtols) {
    const one = await attempt(rtol);
    if (one.passes) return one;
  }
  return undefined;
}

async function bisected(rtols, attempt) {
  let [low, high, best] = [0, rtols.length, undefined];
  while (low < high) {
    const middle = (low + high) >> 1;
    const one = await attempt(rtols[middle]);
    if (one.passes) [high, best] = [middle, one];
    else low = middle + 1;
  }
  return best;
}

/** ‖a − b‖, or ‖a‖. */
function distance(a, b) {
  return Math.sqrt(a.reduce((sum, value, i) => sum + (value - (b?.[i] ?? 0)) ** 2, 0));
}
