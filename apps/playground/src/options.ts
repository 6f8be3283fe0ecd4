import type { GradientMethod, GradientOptions } from "symplectic-adjoint/slim";
import type { Config } from "./config.js";

/** The options of a gradient as they are configured, by its own method or by another. */
export function optionsOf(config: Config, gradient: GradientMethod = config.gradient): GradientOptions {
  const { method, stepping, steps, tolerance, budget } = config;
  return {
    method,
    // A field that has become so stiff would hold the worker up for long.
    maxSteps: 10_000,
    gradient,
    ...(stepping === "fixed" ? { steps } : { rtol: tolerance, atol: tolerance }),
    ...(gradient === "auto" && { memoryBudget: 1024 * budget }),
  };
}
