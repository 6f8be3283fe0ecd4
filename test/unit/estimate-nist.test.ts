// Problems of nonlinear regression that NIST has certified (Statistical Reference Datasets), whose models solve differential equations.
import { readFileSync } from "node:fs";
import { equations, leastSquares } from "symplectic-adjoint";
import { describe, expect, test } from "vitest";

interface Problem {
  readonly equations: string;
  readonly y0: number;
  readonly t0: number;
  readonly x: readonly number[];
  readonly y: readonly number[];
  readonly starts: readonly (readonly [b1: number, b2: number])[];
  readonly estimates: readonly number[];
  readonly standardErrors: readonly number[];
  readonly residualSumOfSquares: number;
}

const file = new URL("../estimate/nist.json", import.meta.url);
const problems: Record<string, Problem> = JSON.parse(readFileSync(file, "utf8"));
const cases = Object.entries(problems).flatMap(([name, problem]) => [
  { name, problem, start: 0 },
  { name, problem, start: 1 },
]);

/** Fits a problem from one of its published starts. */
function fitOf(problem: Problem, start: number, solver: { method?: "dopri8"; rtol?: number; atol?: number }) {
  const [b1, b2] = problem.starts[start] as readonly [number, number];
  const field = equations(problem.equations, { parameters: { b1, b2 }, dtype: "float64" });
  const data = { times: problem.x, y: problem.y, y0: [problem.y0], t0: problem.t0 };
  return leastSquares({ field, data, ...solver });
}

/** The digits that a fit has of what is certified, at least. */
function worst(fit: ReturnType<typeof fitOf>, problem: Problem): number {
  const found = Object.values(fit.parameters);
  return Math.min(
    ...found.map(({ value }, i) => digits(value, problem.estimates[i] as number)),
    ...found.map(({ standardError }, i) => digits(standardError, problem.standardErrors[i] as number)),
  );
}

describe.each(cases)("$name from start $start", ({ problem, start }) => {
  // The published models are solutions in closed form: so exactly are they solved here.
  const fit = fitOf(problem, start, { method: "dopri8", rtol: 1e-12, atol: 1e-12 });

  test("ends at the certified estimates and standard errors", () => {
    expect(fit.converged, fit.message).toBe(true);
    expect(worst(fit, problem)).toBeGreaterThan(8);
    expect(digits(fit.residualSumOfSquares, problem.residualSumOfSquares)).toBeGreaterThan(8);
  });

  test("derives s from its degrees of freedom", () => {
    const n = problem.x.length;
    expect(fit.degreesOfFreedom).toBe(n - 2);
    const s = Math.sqrt(problem.residualSumOfSquares / (n - 2));
    expect(digits(fit.standardDeviation, s)).toBeGreaterThan(8);
  });
});

test.each(Object.keys(problems))("%s has five digits with the default tolerances", (name) => {
  const problem = problems[name] as Problem;
  expect(worst(fitOf(problem, 1, {}), problem)).toBeGreaterThan(5);
});

/** How many digits agree: −log10 of the relative error, which NIST calls LRE. */
function digits(value: number, certified: number): number {
  return -Math.log10(Math.abs(value - certified) / Math.abs(certified));
}
