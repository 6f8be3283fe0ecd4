// A fit by this package, as its users call it; see ../shared/fits.mjs.
import { equations, leastSquares, simd } from "../../dist/index.js";
import { processorTime, serve } from "./serve.mjs";

await serve(async (problem) => {
  const { parameters, initial, observe, trajectories: data, rtol, atol } = problem;
  const start = processorTime();
  const field = equations(problem.equations, { parameters, dtype: "float64" });
  const fit = () => leastSquares({ field, data, observe, parameters, initial, rtol, atol });
  const found = fit();
  const firstMs = processorTime() - start;
  return {
    firstMs,
    estimates: [...found.values],
    cost: found.cost,
    iterations: found.iterations,
    solves: found.evaluations + found.jacobians,
    versions: { node: process.versions.node, simd: simd() },
    gradient: fit,
  };
}, processorTime);
