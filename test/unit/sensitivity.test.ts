// Forward sensitivities: solutions along directions, against gradients; second derivatives, against differences of gradients.
import fc from "fast-check";
import {
  cnf,
  custom,
  equations,
  hamiltonian,
  hessianVectorProduct,
  huberLoss,
  jvp,
  loss,
  meanSquaredError,
  mlp,
  odeint,
  sensitivities,
  valueAndGrad,
  vectorField,
  vjp,
} from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { EXACT } from "./helpers.js";

const pendulum = () =>
  equations(
    `x' = v
     v' = push * sin(rate * t) - stiffness * sin(x) - damping * v`,
    { parameters: { rate: 1.3, stiffness: 2, damping: 0.1 }, arguments: ["push"], dtype: "float64" },
  );

const y0 = new Float64Array([1, 0, 0.5, -0.3, -1, 0.2]);
const push = [0.5, -0.2, 1];
const times = [0, 0.4, 1.5, 2];
const numbers = (length: number, seed: number) =>
  Float64Array.from({ length }, (_, i) => Math.sin(12.9898 * (i + 1) + seed));
const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((sum, value, i) => sum + value * (b[i] as number), 0);

describe("jvp", () => {
  test("is the transpose of the gradient, in everything that moves", () => {
    const field = pendulum();
    fc.assert(
      fc.property(
        fc.constantFrom(
          { method: "rk4", steps: 3 } as const,
          { method: "dopri5", rtol: 1e-5 } as const,
          { method: "dopri8" } as const,
        ),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 0, max: 100 }),
        (method, directions, seed) => {
          const options = { ...method, arguments: { push } };
          const tangents = {
            directions,
            y0: numbers(directions * 6, seed),
            parameters: numbers(directions * 3, seed + 1),
            arguments: { push: numbers(directions * 3, seed + 2) },
            times: numbers(directions * 4, seed + 3),
          };
          const moved = jvp(field, y0, times, tangents, options);
          expect(moved.shape).toEqual([directions, 4, 3, 2]);
          expect(moved.solution.y).toEqual(odeint(field, y0, times, options).y);
          const w = numbers(24, seed + 4);
          const recorded = vjp(field, y0, times, { ...options, gradient: "symplectic" });
          const gradient = recorded.pullback(w);
          recorded.dispose();
          for (let d = 0; d < directions; d++) {
            const part = (all: Float64Array) =>
              all.subarray((d * all.length) / directions, ((d + 1) * all.length) / directions);
            const reverse =
              dot(gradient.y0, part(tangents.y0)) +
              dot(gradient.parameters, part(tangents.parameters)) +
              dot(gradient.arguments.push as Float64Array, part(tangents.arguments.push)) +
              dot(gradient.times as Float64Array, part(tangents.times));
            expect(Math.abs(dot(part(moved.tangents), w) - reverse)).toBeLessThan(1e-12 * (10 + Math.abs(reverse)));
          }
        },
      ),
      { numRuns: 25 },
    );
    field.dispose();
  });

  test("takes every field that is a program, in float32 too", () => {
    const network = { widths: [2, 8, 2], seed: 1 };
    const fields = [
      mlp(network),
      cnf({ network, trace: "hutchinson" }),
      hamiltonian({ energy: { widths: [2, 8, 1], seed: 1 }, structure: "canonical" }),
      vectorField({ state: 2, parameters: { k: [1, 2] }, slope: ({ state, parameters }) => state.mul(parameters.k) }),
    ];
    for (const field of fields) {
      const start = new Float32Array(field.stateSize).fill(0.5);
      const tangents = { parameters: new Float32Array(numbers(field.parameters.length, 1)) };
      const options = { method: "rk4", steps: 4, gradient: "symplectic" } as const;
      const moved = jvp(field, start, [0, 1], tangents, options);
      const recorded = vjp(field, start, [0, 1], options);
      const w = new Float32Array(numbers(moved.tangents.length, 2));
      expect(dot(moved.tangents, w)).toBeCloseTo(dot(recorded.pullback(w).parameters, tangents.parameters), 4);
      recorded.dispose();
      field.dispose();
    }
  });

  test("refuses what does not fit", () => {
    const field = pendulum();
    const options = { arguments: { push } };
    const wrong = (tangents: object) => () => jvp(field, y0, times, tangents, options);
    expect(wrong({ parameters: new Float64Array(2) })).toThrow(
      /tangents\.parameters: expected 3 numbers \[1, 3\], given 2/,
    );
    expect(wrong({ parameters: new Float32Array(3) })).toThrow(/tangents\.parameters: expected a Float64Array/);
    expect(wrong({ times: [1] })).toThrow(/tangents\.times: expected 4 numbers/);
    expect(wrong({ arguments: { pull: [1, 2, 3] } })).toThrow(
      /tangents\.arguments\.pull: there is no argument of that name; the names are push/,
    );
    expect(wrong({ theta: 1 })).toThrow(/tangents\.theta: there is no option of that name/);
    expect(wrong({ directions: 0 })).toThrow(/tangents\.directions: expected a positive integer/);
    expect(wrong({ y0: new Float64Array([Number.NaN, 0, 0, 0, 0, 0]) })).toThrow(/NaN/);
    const own = custom({ stateSize: 1, dtype: "float64", evaluate: (_t, y) => y, vjp: (_t, _y, w) => ({ y: w }) });
    expect(() => jvp(own, new Float64Array([1]), [0, 1], {})).toThrow(/field: expected a field that is a program/);
    own.dispose();
    field.dispose();
    expect(wrong({})).toThrow(/disposed/);
  });
});

describe("sensitivities", () => {
  test("are those of the closed form", () => {
    const field = equations("y' = a - k * y", { parameters: { k: 0.7 }, arguments: ["a"], dtype: "float64" });
    const starts = new Float64Array([1, 3]);
    const a = [0.5, 2];
    const options = { arguments: { a }, rtol: 1e-11, atol: 1e-12 };
    const all = sensitivities(field, starts, [0, 2], options);
    const e = Math.exp(-1.4);
    for (const [i, start] of starts.entries()) {
      const level = (a[i] as number) / 0.7;
      expect(all.y0[2 + i]).toBeCloseTo(e, 10);
      expect(all.arguments.a?.[2 + i]).toBeCloseTo((1 - e) / 0.7, 10);
      const byRate = (-level / 0.7) * (1 - e) - 2 * (start - level) * e;
      expect(all.parameters[2 + i]).toBeCloseTo(byRate, 9);
    }
    const some = sensitivities(field, starts, [0, 2], { ...options, respectTo: ["parameters"] });
    for (const [i, slope] of some.parameters.entries()) expect(slope).toBeCloseTo(all.parameters[i] as number, 13);
    expect([some.y0.length, some.arguments.a?.length]).toEqual([0, 0]);
    expect(() => sensitivities(field, starts, [0, 1], { ...options, respectTo: ["times" as never] })).toThrow(
      /respectTo\[0\]: expected one of y0, parameters, arguments/,
    );
    field.dispose();
  });

  test("are the rows of gradients", () => {
    const field = pendulum();
    const options = { arguments: { push }, method: "tsit5", gradient: "symplectic" } as const;
    const all = sensitivities(field, y0, times, options);
    const recorded = vjp(field, y0, times, options);
    for (let row = 0; row < 24; row++) {
      const w = new Float64Array(24);
      w[row] = 1;
      const gradient = recorded.pullback(w);
      const batch = Math.floor(row / 2) % 3;
      const near = (got: ArrayLike<number>, expected: ArrayLike<number>) => {
        for (let i = 0; i < expected.length; i++) {
          expect(Math.abs((got[i] as number) - (expected[i] as number))).toBeLessThan(1e-13);
        }
      };
      near(all.parameters.subarray(row * 3, row * 3 + 3), gradient.parameters);
      near(all.y0.subarray(row * 2, row * 2 + 2), gradient.y0.subarray(batch * 2, batch * 2 + 2));
      near([all.arguments.push?.[row] as number], [gradient.arguments.push?.[batch] as number]);
    }
    recorded.dispose();
    field.dispose();
  });
});

describe("hessianVectorProduct", () => {
  const target = numbers(24, 5);
  const along = { y0: numbers(6, 1), parameters: numbers(3, 2), arguments: { push: numbers(3, 3) } };
  const options = { method: "dopri5", steps: 4, gradient: "auto" } as const;

  // Some count more than others, and some not at all.
  const weights = target.map((_, i) => i % 4);
  const ofSquares = () => (y: Float64Array) => meanSquaredError(y, target, weights);
  test.each([
    ["the mean squared error", { of: ofSquares, dispose: () => {} }],
    ["Huber's loss", huberLoss({ delta: 0.5 })],
    ["one of several features together", loss(({ y, target }) => y.sub(target).square().sum().exp().mul(0.1))],
  ])("is the difference of gradients of %s", (_, made) => {
    const field = pendulum();
    const of = made.of({ target });
    const theta = field.parameters.slice();
    const gradient = (by: number) => {
      field.parameters = theta.map((value, i) => value + by * (along.parameters[i] as number));
      const start = y0.map((value, i) => value + by * (along.y0[i] as number));
      const args = { push: push.map((value, i) => value + by * (along.arguments.push[i] as number)) };
      const { gradient } = valueAndGrad(field, start, times, of, { ...options, arguments: args });
      field.parameters = theta;
      return [...gradient.y0, ...gradient.parameters, ...(gradient.arguments.push as Float64Array)];
    };
    const product = hessianVectorProduct(field, y0, times, of, along, { ...options, arguments: { push } });
    const got = [...product.y0, ...product.parameters, ...(product.arguments.push as Float64Array)];
    const [plus, minus] = [gradient(1e-5), gradient(-1e-5)];
    for (const [i, value] of got.entries()) {
      const expected = ((plus[i] as number) - (minus[i] as number)) / 2e-5;
      expect(Math.abs(value - expected)).toBeLessThan(1e-7 * (1 + Math.abs(expected)));
    }
    for (const gradient of EXACT) {
      const other = hessianVectorProduct(field, y0, times, of, along, { ...options, gradient, arguments: { push } });
      expect([...other.parameters, ...other.y0]).toEqual([...product.parameters, ...product.y0]);
    }
    made.dispose();
    field.dispose();
  });

  test("refuses a loss without curvature, and an inexact gradient", () => {
    const field = pendulum();
    const plain = (y: Float64Array) => ({ value: 0, cotangent: y });
    const own = { arguments: { push } };
    expect(() => hessianVectorProduct(field, y0, times, plain as never, along, own)).toThrow(/curvature/);
    const of = huberLoss().of({ target });
    const adjoint = { ...own, gradient: "adjoint" } as const;
    expect(() => hessianVectorProduct(field, y0, times, of, along, adjoint)).toThrow(/gradient: expected an exact/);
    field.dispose();
  });
});

test("directions through many lists of times take no more than through one", () => {
  const field = equations("x' = v\nv' = -k * x", { parameters: { k: 1 }, dtype: "float64" });
  const [batch, times] = [1300, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]];
  const y0 = new Float64Array(2 * batch).fill(1);
  const shared = jvp(field, y0, times, { y0 }, { batching: "independent" });
  const own = jvp(
    field,
    y0,
    Array.from({ length: batch }, () => times),
    { y0 },
  );
  expect(own.tangents.length).toBe(shared.tangents.length);
});
