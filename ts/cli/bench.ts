// symplectic-adjoint bench: all gradients on small cases, on this machine.
import { cpus } from "node:os";
import { GRADIENTS } from "../../wasm/constants.js";
import { engine, type GradientMethod, meanSquaredError, memoryUsage, mlp, valueAndGrad } from "../index.js";

const CASES = [
  { name: "small", widths: [2, 50, 2], batch: 64, method: "rk4", steps: 40 },
  { name: "medium", widths: [2, 64, 64, 64, 2], batch: 256, method: "rk4", steps: 40 },
] as const;

/** Milliseconds spent on each gradient of each case. */
const BUDGET = 700;

export function bench() {
  const results = CASES.flatMap(({ name, widths, batch, method, steps }) => {
    const field = mlp({ widths, seed: 1 });
    const y0 = Float32Array.from({ length: 2 * batch }, (_, i) => Math.sin(i));
    const target = new Float32Array(4 * batch);
    const gradientOf = (gradient: GradientMethod) => {
      const loss = (y: Float32Array) => meanSquaredError(y, target);
      return valueAndGrad(field, y0, [0, 1], loss, { method, steps, gradient }).gradient;
    };
    const reference = gradientOf("backprop").parameters;
    const norm = length(reference);
    const measured = GRADIENTS.map((gradient) => {
      const { parameters, stats } = gradientOf(gradient);
      const times: number[] = [];
      const end = performance.now() + BUDGET;
      while (times.length < 3 || performance.now() < end) {
        const start = performance.now();
        gradientOf(gradient);
        times.push(performance.now() - start);
      }
      times.sort((a, b) => a - b);
      const error = length(parameters.map((value, i) => value - (reference[i] as number))) / norm;
      const ms = times[Math.floor(times.length / 2)] as number;
      return { case: name, widths, batch, method, steps, gradient, ms, bytes: stats.peakBytes.total, error };
    });
    field.dispose();
    return measured;
  });
  const machine = { cpu: cpus()[0]?.model ?? "unknown", node: process.version, ...engine() };
  return { machine, wasmBytes: memoryUsage().wasmBytes, results };
}

const length = (numbers: Float32Array) => Math.sqrt(numbers.reduce((sum, value) => sum + value ** 2, 0));
