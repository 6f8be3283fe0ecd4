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

/** The part of numbers that belongs to one of so many directions. */
const of = (all: Float64Array, direction: number, directions: number) =>
  all.subarray((direction * all.length) / directions, ((direction + 1) * all.length) / directions);

/** ⟨gradient, direction⟩, for one of several directions. */
function along(gradient: Parts, tangents: Parts, direction: number, directions: number): number {
  const inner = (a: Float64Array, b: Float64Array) => dot(a, of(b, direction, directions));
  const names = Object.keys(tangents.arguments);
  return names.reduce(
    (sum, name) => sum + inner(gradient.arguments[name] as Float64Array, tangents.arguments[name] as Float64Array),
    inner(gradient.y0, tangents.y0) + inner(gradient.parameters, tangents.parameters),
  );
}

interface Parts {
  readonly y0: Float64Array;
  readonly parameters: Float64Array;
  readonly arguments: Readonly<Record<string, Float64Array>>;
}

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
      const forward = dot(w, of(moved.tangents, k, directions));
      const reverse = along(gradient, tangents, k, directions);
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
      [one, { dense: true }, "dense"],
      [one, { saveSteps: true }, "saveSteps"],
      [one, { onFailure: "mask" }, "onFailure"],
      [{ times: [0] }, {}, "tangents.times"],
      [{ y0: new Float64Array(3) }, {}, "tangents.y0"],
    ];
    for (const [towards, more, argument] of cases) {
      const error = refusal(() => jvp(field, Float64Array.of(1, 1), [0, 1], towards, { ...own, ...more }));
      expect(error.argument, argument).toBe(argument);
    }
    const error = refusal(() => sensitivities(field, Float64Array.of(1, 1), [0, 1], { ...own, dense: true }));
    expect(error.message).toContain("sensitivities does not take this option");
    const events = [{ when: "hare - 1" }];
    const loss = (y: Float64Array) => meanSquaredError(y, y);
    const product = () =>
      hessianVectorProduct(field, Float64Array.of(1, 1), [0, 1], loss, one, { arguments: own.arguments, events });
    expect(refusal(product).argument).toBe("events");
  });

  test("the rates of times are padded as the solution is", () => {
    const field = prey("float64");
    const rates = numbers("float64", 3 * batch, 11);
    const moved = jvp(field, y0, times, { times: rates }, options);
    const { solution, pullback } = vjp(field, y0, times, { ...options, timeGradients: true });
    const w = numbers("float64", solution.y.length, 12);
    solution.mask?.forEach((own, row) => {
      if (!own) w.fill(0, 2 * row, 2 * row + 2);
    });
    const reverse = dot(pullback(w).times as Float64Array, rates);
    expect(Math.abs(dot(w, moved.tangents) - reverse)).toBeLessThan(1e-10 * (1 + Math.abs(reverse)));
    expect(refusal(() => jvp(field, y0, times, { times: rates.slice(1) }, options)).argument).toBe("tangents.times");
  });
});

describe("jumps and events", () => {
  const ball = <D extends Dtype>(dtype: D) =>
    equations("height' = velocity\nvelocity' = -gravity - drag * velocity", {
      parameters: { gravity: 9.81, bounce: 0.8, kick: 0.3 },
      arguments: ["drag"],
      dtype,
    });
  const balls = 70;
  const start = Float64Array.from({ length: 2 * balls }, (_, k) => (k % 2 ? 0.02 * k - 1 : 1 + 0.01 * k));
  const drag = Float64Array.from({ length: balls }, (_, i) => 0.05 + 0.001 * i);
  const settings = {
    arguments: { drag },
    events: [
      { when: "height", direction: "falling", set: "velocity = -bounce * velocity" },
      { when: "velocity", direction: "falling" },
    ],
    jumps: [
      {
        times: Array.from({ length: balls }, (_, i) => [0.5 + 0.003 * i, 1.2].slice(i % 2)),
        set: "velocity = velocity + kick * amount",
        amounts: { amount: Array.from({ length: balls }, (_, i) => [1, -0.5].slice(i % 2)) },
      },
    ],
    norm: "max",
  } as const;
  const directions = 2;

  test("jvp is the transpose of the gradient, of event times and states too", () => {
    const field = ball("float64");
    const tangents = {
      directions,
      y0: numbers("float64", directions * 2 * balls, 1),
      parameters: numbers("float64", directions * 3, 2),
      arguments: { drag: numbers("float64", directions * balls, 3) },
    };
    for (const output of ["interpolate", "land"] as const) {
      const own = { ...settings, output };
      const moved = jvp(field, start, [0, 0.4, 1, 2], tangents, own);
      const { solution, pullback } = vjp(field, start, [0, 0.4, 1, 2], own);
      expect(moved.solution.y).toEqual(solution.y);
      expect(moved.solution.events).toEqual(solution.events);
      const count = solution.events.t.length;
      expect(count).toBeGreaterThan(2 * balls);
      const [w, times, states] = [solution.y.length, count, 2 * count].map((n, k) => numbers("float64", n, 4 + k)) as [
        Float64Array,
        Float64Array,
        Float64Array,
      ];
      const gradient = pullback(w, { times, states });
      for (let k = 0; k < directions; k++) {
        const pairs = [
          [w, moved.tangents],
          [times, moved.events.t],
          [states, moved.events.y],
        ] as const;
        const forward = pairs.reduce((sum, [cotangent, rates]) => sum + dot(cotangent, of(rates, k, directions)), 0);
        const reverse = along(gradient, tangents, k, directions);
        expect(Math.abs(forward - reverse)).toBeLessThan(1e-10 * (1 + Math.abs(reverse)));
      }
    }
  });

  test("bitwise what each is alone, in both number types", () => {
    for (const dtype of ["float64", "float32"] as const) {
      const own = dtype === "float64" ? Float64Array : Float32Array;
      const field = ball(dtype);
      const tangents = { parameters: own.of(0.1, 1, -0.3) };
      const of = (members: readonly number[]) => {
        const y0 = own.from(members.flatMap((i) => [...start.subarray(2 * i, 2 * i + 2)]));
        const pick = <T>(list: ArrayLike<T>) => members.map((i) => list[i] as T);
        const [{ times, set, amounts }] = settings.jumps;
        const jumps = [{ set, times: pick(times), amounts: { amount: pick(amounts.amount) } }];
        return jvp(field, y0, [0, 1, 2], tangents, { ...settings, jumps, arguments: { drag: own.from(pick(drag)) } });
      };
      const all = of(Array.from({ length: balls }, (_, i) => i));
      for (const i of [0, 33, 69]) {
        const solo = of([i]);
        for (let output = 0; output < 3; output++) {
          const row = (output * balls + i) * 2;
          expect(all.tangents.slice(row, row + 2)).toEqual(solo.tangents.slice(2 * output, 2 * output + 2));
        }
        const ours = [...all.events.t].filter((_, k) => all.solution.events.trajectory[k] === i);
        expect(ours).toEqual([...solo.events.t]);
      }
    }
  });

  test("the bounce of a ball as the formula says", () => {
    const field = ball("float64");
    const { solution, events } = jvp(
      field,
      Float64Array.of(1, 0),
      [0, 2],
      { directions: 2, y0: Float64Array.of(1, 0, 0, 0), parameters: Float64Array.of(0, 0, 0, 0, 1, 0) },
      { arguments: { drag: [0] }, events: [settings.events[0]] },
    );
    const fall = Math.sqrt(2 / 9.81);
    // The n-th landing is at fall (1 + 2 bounce + … + 2 bounce^(n−1)).
    for (const [n, t] of solution.events.t.entries()) {
      expect(events.t[n]).toBeCloseTo(t / 2, 10);
      let rate = 0;
      for (let k = 1; k <= n; k++) rate += 2 * fall * k * 0.8 ** (k - 1);
      expect(events.t[solution.events.t.length + n]).toBeCloseTo(rate, 9);
    }
  });

  test("a terminal event holds the derivatives, and one that only grazes is refused", () => {
    const field = equations("x' = v\nv' = -a", { parameters: { a: 2 }, dtype: "float64" });
    const along = { parameters: Float64Array.of(1) };
    const end = { when: "x", direction: "falling", terminal: true } as const;
    // x = 1 − a t²/2 is 0 at t = √(2/a), where v = −√(2a): dt/da = −t/(2a), dv/da = −1/√(2a).
    const held = jvp(field, Float64Array.of(1, 0), [0, 2, 3], along, { events: [end] });
    expect(held.events.t[0]).toBeCloseTo(-1 / 4, 12);
    for (const output of [1, 2]) {
      expect(held.tangents[2 * output]).toBeCloseTo(0, 12);
      expect(held.tangents[2 * output + 1]).toBeCloseTo(-1 / 2, 12);
    }
    // (t − 1)² touches 0 on the end of a step.
    const grazes = { method: "rk4", steps: 4, events: [{ when: "(t - 1)^2", terminal: true }] } as const;
    expect(refusal(() => jvp(field, Float64Array.of(1, 0), [0, 2], along, grazes)).code).toBe("EVENT_GRAZING");
    const told = jvp(field, Float64Array.of(1, 0), [0, 2], along, { ...grazes, events: [{ when: "(t - 1)^2" }] });
    expect(told.solution.events.t).toEqual(Float64Array.of(1));
    expect(told.events.t).toEqual(Float64Array.of(Number.NaN));
    expect(told.tangents[2]).toBeCloseTo(-2, 10);
  });
});

describe("what happens at one time", () => {
  // x' = 1, so x crosses 1 at 1 − x(0), and z counts the times at which something happened.
  const clockwork = equations("x' = 1 \n z' = 0", { dtype: "float64" });
  const add = { set: "z = z + t" };
  const start = Float64Array.of(0.3, 0);
  const fixed = { method: "rk4", steps: 3 } as const;

  test.each([2, 3])("%i events move with it, each", (count) => {
    const options = { ...fixed, events: Array.from({ length: count }, () => ({ when: "x - 1", ...add })) };
    const moved = jvp(clockwork, start, [0, 2], { y0: Float64Array.of(1, 0) }, options);
    expect([...moved.events.t]).toEqual(Array(count).fill(-1));
    expect(moved.tangents[3]).toBeCloseTo(-count, 12);
    expect(sensitivities(clockwork, start, [0, 2], options).y0[6]).toBeCloseTo(-count, 12);
    const { pullback } = vjp(clockwork, start, [0, 2], options);
    expect(pullback(Float64Array.of(0, 0, 0, 1)).y0[0]).toBeCloseTo(-count, 12);
    pullback.dispose();
  });

  test("jumps at the first time move with it, each", () => {
    const options = {
      ...fixed,
      jumps: [
        { times: [0.5], ...add },
        { times: [0.5], ...add },
      ],
    };
    expect(jvp(clockwork, start, [0.5, 2], { times: [1, 0] }, options).tangents[3]).toBeCloseTo(2, 12);
  });

  test.each([
    [[0, 0, 2], 0, [-1, 0, 1]],
    [[0, 1, 1, 2, 2, 3], 1, [-1, 0, 0, 0, 0, 1]],
    [[0, 1, 1, 1, 2], 1, [-1, 0, 0, 0, 1]],
  ])("a jump between %j does not hide which of them a solution goes on from", (times, at, expected) => {
    const options = { ...fixed, jumps: [{ times: [at], set: "z = z + 1" }] };
    const w = new Float64Array(2 * times.length);
    w[2 * times.length - 2] = 1;
    const { pullback } = vjp(clockwork, start, times, options);
    const gradient = [...(pullback(w).times as Float64Array)];
    pullback.dispose();
    for (const [k, rate] of expected.entries()) {
      expect(gradient[k], `times[${k}]`).toBeCloseTo(rate, 12);
      const along = times.map((_, j) => (j === k ? 1 : 0));
      const moved = jvp(clockwork, start, times, { times: along }, options).tangents;
      expect(moved[2 * times.length - 2], `times[${k}]`).toBeCloseTo(rate, 12);
    }
  });

  test("the time of a jump among several at one time is its own", () => {
    // Jumps that add commute, so that each of them may move by itself: x(2) = Σ dₖ exp(−0.7 (2 − tₖ)) beside the start.
    const decay = equations("x' = -0.7 * x", { dtype: "float64" });
    const left = (t: number) => 0.7 * Math.exp(-0.7 * (2 - t));
    const add = { set: "x = x + d" };
    const several = [
      [{ times: [0.5, 0.5, 1], ...add, amounts: { d: [2, 3, 1] } }],
      [0, 1].map((k) => ({ times: [0.5], ...add, amounts: { d: [2 + k] } })),
    ];
    const expected = [
      [2 * left(0.5), 3 * left(0.5), left(1)],
      [2 * left(0.5), 3 * left(0.5)],
    ];
    for (const [i, jumps] of several.entries()) {
      const options = { jumps, method: "dopri8", rtol: 1e-11, atol: 1e-12 } as const;
      const { pullback } = vjp(decay, Float64Array.of(1), [0, 2], options);
      const moved = pullback(Float64Array.of(0, 1)).jumps.flatMap(({ times }) => [...(times as Float64Array)]);
      pullback.dispose();
      for (const [k, rate] of moved.entries()) expect(rate, `${i} ${k}`).toBeCloseTo(expected[i]?.[k] as number, 9);
      expect(moved).toHaveLength(expected[i]?.length as number);
    }
    decay.dispose();
  });

  test("it does not matter which of two events is found first", () => {
    const field = equations("x' = 1 \n z' = -0.5 * z", { dtype: "float64" });
    const events = [{ when: "x - 0.5", set: "z = z - 2 \n x = x + 0.5" }, { when: "(x - 0.5) * (1 + z^2)" }];
    for (let i = 0; i < 100; i++) {
      const begin = Float64Array.of(-0.0005 * i, 1);
      const along = { y0: Float64Array.of(1, 0) };
      const moved = jvp(field, begin, [0, 1.5], along, { events });
      for (const rate of moved.events.t) expect(rate, String(i)).toBeCloseTo(-1, 9);
      const { pullback } = vjp(field, begin, [0, 1.5], { events });
      const { y0: gradient } = pullback(Float64Array.of(0, 0, 0, 1));
      pullback.dispose();
      expect(moved.tangents[3], String(i)).toBeCloseTo(gradient[0] as number, 9);
    }
    field.dispose();
  });

  test("behind its end a trajectory does not depend on the times", () => {
    const field = equations("x' = 1 \n z' = -0.5 * z", { dtype: "float64" });
    const times = [-0.5, 0.25, 0.25, 0.5];
    for (const output of ["land", "interpolate"] as const) {
      for (const [terminal, ends] of [
        [true, true],
        [2, false],
      ] as const) {
        const options = { method: "dopri5", output, events: [{ when: "x - 1", terminal }] } as const;
        const { pullback, solution } = vjp(field, Float64Array.of(0.25, 1), times, options);
        const gradient = pullback(Float64Array.of(0, 0, 0, 0, 0, 0, 0, 1)).times as Float64Array;
        pullback.dispose();
        const rate = -0.5 * (solution.y[7] as number);
        expect(gradient[1], output).toBeCloseTo(0, 9);
        expect(gradient[2], output).toBeCloseTo(0, 9);
        expect(gradient[3], output).toBeCloseTo(ends ? 0 : rate, 6);
      }
    }
    field.dispose();
  });

  test("an event just behind an output crosses its zero like any other", () => {
    for (const dtype of ["float64", "float32"] as const) {
      const field = equations("x' = 1 \n z' = -0.5 * z", { dtype });
      const array = field.parameters.constructor as typeof Float64Array;
      for (let i = 0; i < 40; i++) {
        const x0 = -1 + 0.0237 * i;
        const options = { method: "rk4", steps: 3, events: [{ when: "x - 0.5", set: "z = z + 1" }] } as const;
        const { pullback } = vjp(field, array.of(x0, 1), [0, 0.5 - x0, 2.5], options);
        expect(pullback(array.of(0, 0, 0, 0, 0, 1)).y0[0]).toBeLessThan(0);
        pullback.dispose();
      }
      field.dispose();
    }
  });

  test("forward and reverse mode agree on repeated times with several jumps and events", () => {
    const field = equations("x' = 1 - k * z + 0.2 * sin(3 * t) \n z' = k * x - z * t", {
      parameters: { k: 0.8 },
      dtype: "float64",
    });
    const events = [
      { when: "x - 1.2", set: "z = z + 0.3 * t * x" },
      { when: "2 * x - 2.4", set: "x = x + 0.1 * z \n z = 0.9 * z + 0.05 * t" },
    ];
    const jumps = [
      { times: [0, 1, 2], set: "z = z + dose * t", amounts: { dose: [0.5, 0.2, -0.3] } },
      { times: [0, 1, 2], set: "x = x * (1 + 0.1 * t) \n z = z + x" },
    ];
    const times = [0, 0, 0.7, 1, 1, 1, 1.6, 2, 2, 2.3];
    const direction = {
      y0: numbers("float64", 2, 21),
      parameters: numbers("float64", 1, 22),
      times: numbers("float64", times.length, 23),
    };
    const w = numbers("float64", 2 * times.length, 24);
    for (const output of ["land", "interpolate"] as const) {
      for (const more of [{ jumps }, { events }, { jumps, events }]) {
        const options = { ...more, output, rtol: 1e-6, atol: 1e-8 };
        const forward = dot(w, jvp(field, start, times, direction, options).tangents);
        const { pullback } = vjp(field, start, times, options);
        const gradient = pullback(w);
        pullback.dispose();
        const reverse =
          dot(gradient.y0, direction.y0) +
          dot(gradient.parameters, direction.parameters) +
          dot(gradient.times as Float64Array, direction.times);
        expect(Math.abs(forward - reverse), `${output} ${Object.keys(more)}`).toBeLessThan(1e-11 * Math.abs(reverse));
      }
    }
    field.dispose();
  });
});
