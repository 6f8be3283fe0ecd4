// Run by each of the runners: the package in the realm of a test, on one core and in a pool.
import * as api from "symplectic-adjoint";
import { check } from "../check.mjs";

test("gradients, on one core and on two", async () => {
  check(api);
  const pool = await api.parallel({ workers: 2 });
  for (const dtype of /** @type {const} */ (["float32", "float64"])) {
    const Numbers = /** @type {Float32ArrayConstructor} */ (dtype === "float32" ? Float32Array : Float64Array);
    const field = api.mlp({ widths: [2, 8, 2], dtype });
    const y0 = Numbers.from({ length: 128 }, (_, i) => Math.sin(i));
    const [one, two] = [api.vjp(field, y0, [0, 1]), await pool.vjp(field, y0, [0, 1])];
    expect(two.solution.y).toBeInstanceOf(Numbers);
    expect(two.solution.y).toEqual(one.solution.y);
    const [here, there] = [one.pullback(one.solution.y), await two.pullback(one.solution.y)];
    expect(there.parameters).toBeInstanceOf(Numbers);
    expect(there.y0).toEqual(here.y0);
    // Retention is by the budget of a worker.
    const { retention, peakBytes, workers, ...counts } = there.stats;
    expect(here.stats).toEqual(expect.objectContaining(counts));
  }
  pool.close();
});
