// Problems of nonlinear regression that NIST has certified, whose models solve differential equations.
import { equations, leastSquares } from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { REGRESSIONS, type Regression } from "./nist.js";

/** Each solves its equation from y = 0 at t = 0. */
const EQUATIONS: Readonly<Record<string, string>> = {
  BoxBOD: "y' = b2 * (b1 - y)",
  Misra1a: "y' = b2 * (b1 - y)",
  Misra1b: "y' = b1 * b2 * (1 + b2 * t / 2) ^ -3",
  Misra1c: "y' = b1 * b2 * (1 + 2 * b2 * t) ^ -1.5",
  Misra1d: "y' = b1 * b2 / (1 + b2 * t) ^ 2",
};

const problems = REGRESSIONS.filter(({ name }) => name in EQUATIONS);
const cases = problems.flatMap((problem) => [0, 1].map((start) => ({ name: problem.name, problem, start })));

/** Fits a problem from one of its published starts. */
function fitOf(problem: Regression, start: number, solver: { output?: "land" } = {}) {
  const [b1, b2] = problem.starts[start] as [number, number];
  const field = equations(EQUATIONS[problem.name] as string, { parameters: { b1, b2 }, dtype: "float64" });
  const data = { times: problem.x as number[], y: problem.y, y0: [0], t0: 0 };
  return leastSquares({ field, data, ...solver });
}

/** The digits that a fit has of what is certified, at least. */
function worst(fit: ReturnType<typeof fitOf>, problem: Regression): number {
  const found = Object.values(fit.parameters);
  return Math.min(
    ...found.map(({ value }, i) => digits(value, problem.estimates[i] as number)),
    ...found.map(({ standardError }, i) => digits(standardError, problem.standardErrors[i] as number)),
  );
}

describe.each(cases)("$name from start $start", ({ problem, start }) => {
  const fit = fitOf(problem, start);

  test("ends at the certified estimates and standard errors", () => {
    expect(fit.converged, fit.message).toBe(true);
    expect(worst(fit, problem)).toBeGreaterThan(6);
    expect(digits(fit.residualSumOfSquares, problem.residualSumOfSquares)).toBeGreaterThan(6);
  });

  test("has three digits more where steps end on the measurements", () => {
    expect(worst(fitOf(problem, start, { output: "land" }), problem)).toBeGreaterThan(9);
  });

  test("derives s from its degrees of freedom", () => {
    const n = problem.x.length;
    expect(fit.degreesOfFreedom).toBe(n - 2);
    const s = Math.sqrt(problem.residualSumOfSquares / (n - 2));
    expect(digits(fit.standardDeviation, s)).toBeGreaterThan(6);
  });
});

/** How many digits agree: −log10 of the relative error, which NIST calls LRE. */
function digits(value: number, certified: number): number {
  return -Math.log10(Math.abs(value - certified) / Math.abs(certified));
}
