// A pool in whatever runtime: the solution and the gradient of one core.

/** What is wrong, if anything; `options` are the pool's, `shared` whether workers are to share adaptive steps. */
export async function poolFailures(api, options, shared) {
  const failures = [];
  const pool = await api.parallel({ workers: 2, ...options });
  if (pool.shared !== shared) failures.push(`shared is ${pool.shared}`);
  const field = api.mlp({ widths: [3, 32, 3], seed: 2 });
  const y0 = Float32Array.from({ length: 3 * 100 }, (_, i) => Math.sin(i));
  const loss = (y) => ({ value: 0, cotangent: y.fill(1) });
  for (const settings of [{ method: "dopri5" }, { method: "rk4", steps: 20 }]) {
    const one = api.valueAndGrad(field, y0, [0, 0.5, 1], loss, settings);
    const two = await pool.valueAndGrad(field, y0, [0, 0.5, 1], loss, settings);
    const workers = settings.method === "rk4" || shared ? 2 : 1;
    if (two.solution.stats.workers !== workers) failures.push(`${two.solution.stats.workers} workers, not ${workers}`);
    if (!one.solution.y.every((y, i) => y === two.solution.y[i])) failures.push(`${settings.method}: another solution`);
    const error = one.gradient.parameters.map((g, i) => g - two.gradient.parameters[i]);
    const relative = Math.hypot(...error) / Math.hypot(...one.gradient.parameters);
    if (!(relative < 1e-6)) failures.push(`${settings.method}: gradient off by ${relative}`);
  }
  pool.close();
  return failures;
}
