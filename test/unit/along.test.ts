// Derivatives along directions of trajectories that take their own steps.
import {
  type Dtype,
  equations,
  hessianVectorProduct,
  jvp,
  meanSquaredError,
  sensitivities,
  valueAndGrad,
  vjp,
} from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { numbers, refusal } from "./helpers.js";

/** A predator and its prey, whose hunger differs from trajectory to trajectory. */
const prey = <D extends Dtype>(dtype: D) =>
  equations("hare' = hare * (birth - hunger * lynx)\nlynx' = lynx * (0.3 * hare - death) + 0.1 * sin(t)", {
    parameters: { birth: 0.8, death: 0.6 },
    arguments: ["hunger"],
    dtype,
  });

const batch = 300;
const times = Array.from({ length: batch }, (_, i) => [0, 0.7 + 0.01 * i, 2.5 + 0.005 * i].slice(0, 2 + (i % 2)));
const hunger = Float64Array.from({ length: batch }, (_, i) => 0.4 + 0.1 * Math.sin(i));
const options = { batching: "independent", arguments: { hunger }, rtol: 1e-8, atol: 1e-10 } as const;
const y0 = numbers("float64", 2 * batch, 3).map((x) => 1.5 + 0.5 * x);
const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
};

describe("trajectories that take their own steps", () => {
  const directions = 2;
  const tangents = {
    directions,
    y0: numbers("float64", directions * 2 * batch, 5),
    parameters: numbers("float64", directions * 2, 6),
    arguments: { hunger: numbers("float64", directions * batch, 7) },
  };

  test("jvp is the transpose of the gradient", () => {
    const field = prey("float64");
    const moved = jvp(field, y0, times, tangents, options);
    const { solution, pullback } = vjp(field, y0, times, options);
    expect(moved.solution.y).toEqual(solution.y);
    expect(moved.solution.mask).toEqual(solution.mask);
    expect(moved.solution.trajectories).toEqual(solution.trajectories);
    expect(moved.shape).toEqual([directions, 3, batch, 2]);
    const w = numbers("float64", solution.y.length, 8);
    solution.mask?.forEach((own, row) => {
      if (!own) w.fill(0, 2 * row, 2 * row + 2);
    });
    const gradient = pullback(w);
    for (let k = 0; k < directions; k++) {
      const part = (all: Float64Array) =>
        all.subarray((k * all.length) / directions, ((k + 1) * all.length) / directions);
      const forward = dot(w, part(moved.tangents));
      const reverse =
        dot(gradient.y0, part(tangents.y0)) +
        dot(gradient.parameters, part(tangents.parameters)) +
        dot(gradient.arguments.hunger as Float64Array, part(tangents.arguments.hunger));
      expect(Math.abs(forward - reverse)).toBeLessThan(1e-10 * (1 + Math.abs(reverse)));
    }
  });

  test("bitwise what each is alone", () => {
    for (const dtype of ["float64", "float32"] as const) {
      const field = prey(dtype);
      const own = dtype === "float64" ? Float64Array : Float32Array;
      const start = own.from(y0);
      const rates = own.from(tangents.parameters.subarray(0, 2));
      const moved = jvp(
        field,
        start,
        [0, 1, 2],
        { parameters: rates },
        { ...options, arguments: { hunger: own.from(hunger) } },
      );
      for (const i of [0, 1, 77, batch - 1]) {
        const solo = jvp(
          field,
          start.slice(2 * i, 2 * i + 2),
          [0, 1, 2],
          { parameters: rates },
          {
            ...options,
            arguments: { hunger: own.of(hunger[i] as number) },
          },
        );
        for (let output = 0; output < 3; output++) {
          const row = (output * batch + i) * 2;
          expect(moved.tangents.slice(row, row + 2)).toEqual(solo.tangents.slice(2 * output, 2 * output + 2));
        }
      }
    }
  });

  test("sensitivities are those of each trajectory", () => {
    const field = prey("float64");
    const all = sensitivities(field, y0, times, options);
    for (const i of [3, 150]) {
      const own = times[i] as number[];
      const alone = sensitivities(field, y0.slice(2 * i, 2 * i + 2), own, {
        ...options,
        batching: "together",
        arguments: { hunger: hunger.slice(i, i + 1) },
      });
      own.forEach((_, output) => {
        const row = (output * batch + i) * 4;
        for (let k = 0; k < 4; k++) {
          expect(all.y0[row + k]).toBeCloseTo(alone.y0[4 * output + k] as number, 9);
          expect(all.parameters[row + k]).toBeCloseTo(alone.parameters[4 * output + k] as number, 9);
        }
        for (let k = 0; k < 2; k++) {
          const [ours, theirs] = [all.arguments.hunger, alone.arguments.hunger] as [Float64Array, Float64Array];
          expect(ours[row / 2 + k]).toBeCloseTo(theirs[2 * output + k] as number, 9);
        }
      });
    }
  });

  test("products with the Hessian are differences of gradients", () => {
    const field = prey("float64");
    const target = numbers("float64", 3 * 2 * batch, 9);
    const loss = (y: Float64Array) => meanSquaredError(y, target);
    // Fixed steps: those of an error move with the state, which differences would see.
    const fixed = { batching: "independent", arguments: { hunger }, method: "rk4", stepSize: 0.05 } as const;
    const parameters = Float64Array.of(0.3, -0.7);
    const direction = { y0: numbers("float64", 2 * batch, 10), parameters };
    const product = hessianVectorProduct(field, y0, [0, 1, 2], loss, direction, fixed);
    const at = (h: number) => {
      const moved = prey("float64");
      moved.parameters = field.parameters.map((p, k) => p + h * (parameters[k] as number));
      const start = y0.map((y, k) => y + h * (direction.y0[k] as number));
      return valueAndGrad(moved, start, [0, 1, 2], loss, fixed).gradient;
    };
    const h = 1e-5;
    const [up, down] = [at(h), at(-h)];
    const close = (ours: ArrayLike<number>, up: ArrayLike<number>, down: ArrayLike<number>) => {
      for (let k = 0; k < ours.length; k++) {
        const difference = ((up[k] as number) - (down[k] as number)) / (2 * h);
        expect(Math.abs((ours[k] as number) - difference)).toBeLessThan(1e-7 * (1 + Math.abs(difference)));
      }
    };
    close(product.y0, up.y0, down.y0);
    close(product.parameters, up.parameters, down.parameters);
    close(
      product.arguments.hunger as Float64Array,
      up.arguments.hunger as Float64Array,
      down.arguments.hunger as Float64Array,
    );
    expect(product.tangent).toEqual(jvp(field, y0, [0, 1, 2], direction, fixed).tangents);
  });

  test("what cannot be followed is refused by its name", () => {
    const field = prey("float64");
    const one = { y0: new Float64Array(2), parameters: Float64Array.of(1, 0) };
    const own = { batching: "independent", arguments: { hunger: [0.4] } } as const;
    const cases: [object, object, string][] = [
      [one, { jumps: [{ times: [0.5], set: "hare = hare + 1" }] }, "jumps"],
      [one, { events: [{ when: "hare - 1" }] }, "events"],
      [one, { dense: true }, "dense"],
      [one, { saveSteps: true }, "saveSteps"],
      [one, { norm: "max" }, "norm"],
      [one, { onFailure: "mask" }, "onFailure"],
      [{ times: [0, 1] }, {}, "tangents.times"],
      [{ y0: new Float64Array(3) }, {}, "tangents.y0"],
    ];
    for (const [along, more, argument] of cases) {
      const error = refusal(() => jvp(field, Float64Array.of(1, 1), [0, 1], along, { ...own, ...more }));
      expect(error.argument, argument).toBe(argument);
    }
    const error = refusal(() => sensitivities(field, Float64Array.of(1, 1), [0, 1], { ...own, dense: true }));
    expect(error.message).toContain("sensitivities does not take it");
  });
});
