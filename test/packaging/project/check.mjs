// A gradient or two, held to the golden values. golden.mjs and cases.mjs are put beside when the project is made.
import cases from "./cases.mjs";
import { runGolden, tolerance } from "./golden.mjs";

/** What was tried; throws where a gradient is off. */
export function check(api) {
  let count = 0;
  for (const golden of cases) {
    for (const dtype of ["float64", "float32"]) {
      const { errors } = runGolden(api, golden, { dtype, gradient: "auto" });
      if (!errors) throw new Error(`${golden.name} ${dtype}: not supported`);
      const worst = Math.max(...Object.values(errors));
      if (!(worst <= tolerance(golden, dtype))) throw new Error(`${golden.name} ${dtype}: off by ${worst}`);
      count++;
    }
  }
  return `${count} golden gradients, ${api.simd()}`;
}

/** The same by two workers as by none. */
export async function checkPool(api, options = {}) {
  const pool = await api.parallel({ workers: 2, ...options });
  try {
    const field = api.mlp({ widths: [3, 16, 3], seed: 2 });
    const y0 = Float32Array.from({ length: 3 * 64 }, (_, i) => Math.sin(i));
    const solve = { method: "rk4", steps: 10 };
    const one = api.odeint(field, y0, [0, 1], solve);
    const two = await pool.odeint(field, y0, [0, 1], solve);
    if (two.stats.workers !== 2) throw new Error(`${two.stats.workers} workers, not 2`);
    if (!one.y.every((y, i) => y === two.y[i])) throw new Error("the pool has another solution");
    return "pool right";
  } finally {
    pool.close();
  }
}

/** What a body throws, as a text. */
export async function refusal(body) {
  try {
    await body();
    return "nothing thrown";
  } catch ({ code, message }) {
    return `${code}: ${message}`;
  }
}
