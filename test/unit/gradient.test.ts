import * as fc from "fast-check";
import {
  equations,
  type GradientOptions,
  mlp,
  odeint,
  type SymplecticAdjointError,
  sensitivities,
  valueAndGrad,
  vjp,
} from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { ACTIVATIONS, GRADIENTS, METHODS } from "../../wasm/constants.js";
import { EXACT, numbers, RUNGE_KUTTA, relative } from "./helpers.js";

describe.each(["float32", "float64"] as const)("%s", (dtype) => {
  test("exact gradients agree bitwise whatever the network, batch, method and times", () => {
    const setting = fc.record({
      state: fc.integer({ min: 1, max: 6 }),
      hidden: fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 2 }),
      activation: fc.constantFrom(...ACTIVATIONS),
      time: fc.constantFrom("none", "concat", "concatsquash"),
      bias: fc.boolean(),
      batch: fc.constantFrom(1, 3, 16, 17, 100),
      method: fc.constantFrom(...METHODS),
      gaps: fc.array(fc.double({ min: 0.05, max: 0.5, noNaN: true }), { minLength: 1, maxLength: 4 }),
      sign: fc.constantFrom(1, -1),
      steps: fc.constantFrom({}, { steps: 2 }, { stepSize: 0.17 }),
      output: fc.constantFrom("land", "interpolate"),
      seed: fc.integer({ min: 0, max: 1000 }),
    });
    fc.assert(
      fc.property(
        setting,
        ({ state: size, hidden, gaps, sign, batch, method, steps, output: asked, seed, ...network }) => {
          const isRungeKutta = RUNGE_KUTTA.includes(method);
          const [state, output] = isRungeKutta ? [size, asked] : [2 * size, "land"];
          const field = mlp({ widths: [state, ...hidden, state], dtype, seed, ...network } as Parameters<
            typeof mlp
          >[0]);
          const times = [0.3];
          for (const gap of gaps) times.push((times.at(-1) ?? 0) + sign * gap);
          const y0 = numbers(dtype, batch * state, seed);
          const w = numbers(dtype, times.length * batch * state, seed + 1);
          const options = { method, output, rtol: 1e-4, atol: 1e-4, ...steps } as GradientOptions;
          const results = EXACT.map((gradient) => {
            const solve = vjp(field, y0, times, { ...options, gradient });
            const { y0: start, parameters, times: ends } = solve.pullback(w);
            solve.dispose();
            return { start, parameters, ends, y: solve.solution.y };
          });
          for (const result of results) expect(result).toEqual(results[0]);
          expect(odeint(field, y0, times, options as object).y).toEqual(results[0]?.y);
          field.dispose();
        },
      ),
      { numRuns: 150 },
    );
  });

  test("a sample's solution depends on nothing else in its batch", () => {
    const field = mlp({ widths: [3, 20, 3], dtype, time: "concat", activation: "silu" });
    const y0 = numbers(dtype, 100 * 3);
    const all = odeint(field, y0, [0, 1], { method: "rk4", steps: 3 }).y;
    for (const sample of [0, 15, 16, 99]) {
      const alone = odeint(field, y0.slice(3 * sample, 3 * sample + 3) as typeof y0, [0, 1], {
        method: "rk4",
        steps: 3,
      }).y;
      expect([...alone.slice(3)]).toEqual([...all.slice(300 + 3 * sample, 303 + 3 * sample)]);
    }
  });
});

test("many interpolated outputs in one step, and the slope that steps share", () => {
  for (const method of RUNGE_KUTTA) {
    const field = mlp({ widths: [2, 8, 2], dtype: "float64", time: "concat" });
    // Four steps, which end on none of these times.
    const times = Array.from({ length: 42 }, (_, i) => i / 41);
    const y0 = numbers("float64", 6);
    const w = numbers("float64", 42 * 6, 2);
    const options = { method, stepSize: 0.26, output: "interpolate" } as const;
    const solve = vjp(field, y0, times, options);
    const gradient = solve.pullback(w);
    const loss = (start: Float64Array, ends: number[]) =>
      odeint(field, start, ends, options).y.reduce((sum, y, i) => sum + y * (w[i] ?? 0), 0);
    const direction = numbers("float64", 6, 3);
    const ahead = (e: number) =>
      loss(
        y0.map((y, i) => y + e * (direction[i] ?? 0)),
        times,
      );
    const ours = gradient.y0.reduce((sum, g, i) => sum + g * (direction[i] ?? 0), 0);
    expect(ours).toBeCloseTo((ahead(1e-5) - ahead(-1e-5)) / 2e-5, 8);
    for (const index of [0, 1, 17, 20, 41]) {
      const moved = (e: number) =>
        loss(
          y0,
          times.map((t, i) => (i === index ? t + e : t)),
        );
      const difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
      expect(gradient.times?.[index], `${method} time ${index}`).toBeCloseTo(difference, 7);
    }
    solve.dispose();
  }
});

test("the adjoint's error falls with its tolerance; symplectic is exact at any", () => {
  const field = mlp({ widths: [2, 16, 16, 2], dtype: "float64", seed: 3 });
  const y0 = numbers("float64", 8);
  const w = numbers("float64", 24, 2);
  const gradient = (options: GradientOptions) => {
    const solve = vjp(field, y0, [0, 1, 2], options);
    const { parameters, times } = solve.pullback(w);
    solve.dispose();
    return [...parameters, ...(times ?? [])];
  };
  const converged = gradient({ rtol: 1e-12, atol: 1e-12, method: "dopri8" });
  const errors = [1e-3, 1e-5, 1e-7, 1e-9].map((rtol) => {
    const tolerances = { rtol, atol: rtol };
    const fine = { rtol: 1e-11, atol: 1e-11, method: "dopri8" } as const;
    return relative(
      gradient({ ...fine, gradient: "adjoint", adjoint: { ...tolerances, method: "dopri5" } }),
      converged,
    );
  });
  for (let i = 1; i < errors.length; i++) expect(errors[i]).toBeLessThan((errors[i - 1] ?? 0) / 5);
  for (const rtol of [1e-2, 1e-6, 1e-10]) {
    const [symplectic, backprop] = (["symplectic", "backprop"] as const).map((method) =>
      gradient({ rtol, gradient: method }),
    );
    expect(symplectic).toEqual(backprop);
  }
});

test("the first output's cotangent goes straight to y0", () => {
  const field = mlp({ widths: [2, 4, 2], dtype: "float64" });
  for (const gradient of GRADIENTS) {
    const solve = vjp(field, Float64Array.of(1, 2), [0, 1], { gradient });
    expect([...solve.pullback(Float64Array.of(3, 4, 0, 0)).y0]).toEqual([3, 4]);
    solve.dispose();
  }
});

test("float32: the error of the gradient does not grow with the number of steps", () => {
  const single = mlp({ widths: [2, 16, 2], seed: 3 });
  const double = mlp({ widths: [2, 16, 2], dtype: "float64" });
  double.parameters = Float64Array.from(single.parameters);
  const y0 = numbers("float32", 8);
  const w = new Float32Array(16).fill(1, 8);
  const error = (steps: number, summation: "compensated" | "plain") => {
    const options = { method: "rk4", steps, summation } as const;
    const [a, b] = [vjp(single, y0, [0, 4], options), vjp(double, Float64Array.from(y0), [0, 4], options)];
    const result = relative(a.pullback(w).parameters, b.pullback(Float64Array.from(w)).parameters);
    a.dispose();
    b.dispose();
    return result;
  };
  for (const steps of [100, 1_000, 10_000]) expect(error(steps, "compensated")).toBeLessThan(3e-7);
  expect(error(10_000, "plain")).toBeGreaterThan(10 * error(10_000, "compensated"));
});

test.each(ACTIVATIONS)("what is not a number goes through %s", (activation) => {
  for (const dtype of ["float32", "float64"] as const) {
    const field = mlp({ widths: [2, 8, 2], activation, dtype, time: "concatsquash", seed: 1 });
    const huge = dtype === "float32" ? 3e38 : 1.7e308;
    // Of the first hidden feature: ∞ · gate − ∞, which no fused operation avoids.
    field.parameters[field.layers[0]?.weight.offset ?? -1] = huge;
    field.parameters[field.layers[0]?.hyperBias?.offset ?? -1] = -huge;
    const y = (dtype === "float32" ? new Float32Array(2 * 20) : new Float64Array(2 * 20)).fill(10);
    expect([...field.evaluate(10, y as never)].every(Number.isNaN)).toBe(true);
  }
});

describe("leapfrog", () => {
  const orbit = () => equations("x' = v\nv' = -k * x^3", { parameters: { k: 1.5 }, dtype: "float64" });
  const y0 = Float64Array.of(0.4, 0.1, -0.3, 0.6);
  const times = [0, 0.7, 2];
  const loss = (y: Float64Array) => ({ value: y.reduce((sum, x) => sum + x * x, 0) / 2, cotangent: y });

  test("its gradient is that of the numbers that it computes", () => {
    const field = orbit();
    const options = { method: "leapfrog", stepSize: 0.1 } as const;
    const { gradient } = valueAndGrad(field, y0, times, loss, options);
    const at = (k: number) => {
      field.parameters = Float64Array.of(k);
      return valueAndGrad(field, y0, times, loss, options).value;
    };
    const h = 1e-3;
    const difference = (8 * (at(1.5 + h) - at(1.5 - h)) - (at(1.5 + 2 * h) - at(1.5 - 2 * h))) / (12 * h);
    expect(Math.abs((gradient.parameters[0] as number) - difference)).toBeLessThan(1e-9);
    field.dispose();
  });

  test("trajectories of their own have the same bits, and events", () => {
    const field = orbit();
    const options = { method: "leapfrog", stepSize: 0.1 } as const;
    const [together, own] = [options, { ...options, batching: "independent" } as const].map((options) =>
      valueAndGrad(field, y0, times, loss, options),
    );
    expect(own?.solution.y).toEqual(together?.solution.y);
    expect(own?.gradient.y0).toEqual(together?.gradient.y0);
    // The period of an oscillator, v = 0 on its way back, and the solution between the steps.
    const spring = equations("x' = v\nv' = -x", { dtype: "float64" });
    const { events, at } = odeint(spring, Float64Array.of(1, 0), [0, 7], {
      method: "leapfrog",
      stepSize: 0.01,
      dense: true,
      events: [{ when: "v", direction: "falling" }],
    });
    expect(events.t[0]).toBeCloseTo(2 * Math.PI, 3);
    expect(at(1.234, 0)[0]).toBeCloseTo(Math.cos(1.234), 4);
    for (const made of [spring, field]) made.dispose();
  });

  test("what it is not for has a typed error that names the argument", () => {
    const field = orbit();
    const refused = (body: () => unknown) => {
      try {
        body();
      } catch (error) {
        const { code, argument } = error as SymplecticAdjointError;
        return [code, argument];
      }
      throw new Error("nothing was thrown");
    };
    const method = "leapfrog";
    expect(refused(() => odeint(field, y0, times, { method, output: "interpolate" }))).toEqual(["OPTION", "output"]);
    expect(refused(() => sensitivities(field, y0, times, { method }))).toEqual(["OPTION", "method"]);
    expect(refused(() => vjp(field, y0, times, { method, gradient: "adjoint" }))).toEqual(["OPTION", "method"]);
    const odd = equations("x' = -x", { dtype: "float64" });
    expect(refused(() => odeint(odd, Float64Array.of(1), times, { method }))).toEqual(["SHAPE", "y0"]);
    odd.dispose();
    field.dispose();
  });
});
