// Whether intervals hold what they promise: of data simulated many times, so many contain the truth.
import { type Estimate, equations, leastSquares, odeint } from "symplectic-adjoint";
import { expect, test } from "vitest";
import { normals } from "../../ts/trace/random.js";

/** npm run test:long simulates more. */
const SETS = process.env.LONG ? 2000 : 50;
const TRUTH = { rate: 0.9, capacity: 10, "population(0)": 1 };
const NOISE = 0.2;

const field = equations("population' = rate * population * (1 - population / capacity)", {
  parameters: { rate: TRUTH.rate, capacity: TRUTH.capacity },
  dtype: "float64",
});
const times = Array.from({ length: 16 }, (_, i) => i / 2);
const exact = odeint(field, Float64Array.of(TRUTH["population(0)"]), times, { rtol: 1e-10, atol: 1e-12 }).y;

test(`95 % intervals contain the truth in about 95 % of ${SETS} data sets`, () => {
  const normal = normals(1);
  const names = Object.keys(TRUTH) as (keyof typeof TRUTH)[];
  const inside = { rate: 0, capacity: 0, "population(0)": 0 };
  const squares = { rate: 0, capacity: 0, "population(0)": 0 };
  for (let set = 0; set < SETS; set++) {
    const y = exact.map((value) => value + NOISE * normal());
    const { parameters, converged, degreesOfFreedom } = leastSquares({
      field,
      data: { times, y, y0: [1] },
      parameters: { rate: 0.5, capacity: 8 },
      initial: { population: 0.5 },
    });
    expect(converged).toBe(true);
    for (const name of names) {
      const { value, standardError, interval } = parameters[name] as Estimate;
      const [lower, upper] = interval;
      if (lower <= TRUTH[name] && TRUTH[name] <= upper) inside[name]++;
      // Student's t with ν degrees of freedom has the variance ν/(ν − 2).
      const variance = degreesOfFreedom / (degreesOfFreedom - 2);
      squares[name] += ((value - TRUTH[name]) / standardError) ** 2 / variance / SETS;
    }
  }
  for (const name of names) {
    const part = inside[name] / SETS;
    if (SETS === 2000) {
      expect(part, name).toBeGreaterThan(0.92);
      expect(part, name).toBeLessThan(0.98);
    } else {
      // Of 50, fewer than 43 are inside with a probability of 0.4 %.
      expect(inside[name], name).toBeGreaterThanOrEqual(43);
    }
    // Too wide intervals contain too much. Four standard deviations of a mean of squares of normal numbers.
    expect(Math.abs(squares[name] - 1), name).toBeLessThan(4 * Math.sqrt(2 / SETS));
  }
});
