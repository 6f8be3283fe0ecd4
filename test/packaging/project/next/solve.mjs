// On the server and in the browser: a pool.
import * as api from "symplectic-adjoint";

export async function solve() {
  await api.init();
  const pool = await api.parallel({ workers: 2 });
  const { stats } = await pool.odeint(api.mlp({ widths: [2, 4, 2] }), new Float32Array(128), [0, 1], { steps: 3 });
  pool.close();
  return `${stats.workers} workers`;
}
