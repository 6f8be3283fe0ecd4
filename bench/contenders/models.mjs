// This package on a model: as a program, or through `custom` with functions written by hand.
import { writeFileSync } from "node:fs";
import * as api from "../../dist/index.js";
import { engineOf } from "../shared/engine.mjs";
import { handwritten } from "./handwritten.mjs";
import { halfSquares } from "./loss.mjs";
import { programs } from "./programs.mjs";
import { growth, numbers, serve } from "./serve.mjs";

await serve(
  async ({ case: name, task, states, names, times, method, rtol, atol, dtype = "float32", variant, files }) => {
    const { field: kind, ...choice } = variant;
    const start = performance.now();
    const array = dtype === "float64" ? Float64Array : Float32Array;
    const [parameters, given, y0] = [files.parameters, files.arguments, files.y0].map((file) =>
      array.from(numbers(file)),
    );
    const program = kind !== "custom";
    const field = program
      ? programs[name](dtype, Object.fromEntries(names.parameters.map((each, i) => [each, parameters[i]])))
      : api.custom({ stateSize: states, parameters: Float32Array.of(...parameters, ...given), ...handwritten[name] });
    // There is at most one.
    const [argument] = names.arguments;
    const options = { method, rtol, atol, ...(program && argument ? { arguments: { [argument]: given } } : {}) };
    // Nobody else computes gradients of the times.
    const pull = () => api.valueAndGrad(field, y0, times, halfSquares, { ...options, ...choice, timeGradients: false });
    const body = task === "solve" ? () => api.odeint(field, y0, times, options) : pull;
    const { result, growthBytes } = await growth(body);
    const firstMs = performance.now() - start;
    const { stats } = task === "solve" ? result : result.solution;
    writeFileSync(
      files.gradient,
      task === "solve" ? result.y.subarray(y0.length) : flat(result.gradient, argument, array),
    );
    return {
      firstMs,
      growthBytes,
      countedBytes: (task === "solve" ? stats : result.gradient.stats).peakBytes?.total,
      accepted: stats.accepted,
      rejected: stats.rejected,
      registerBits: api.engine().registerBits,
      versions: { node: process.versions.node, simd: engineOf(api) },
      gradient: body,
    };
  },
);

/** The gradients of the parameters and, behind them, of the arguments. */
function flat({ parameters, arguments: given }, argument, array) {
  return array.of(...parameters, ...(given?.[argument] ?? []));
}
