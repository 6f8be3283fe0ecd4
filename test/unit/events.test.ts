import {
  type EventInputs,
  equations,
  load,
  nn,
  odeint,
  restoreSolver,
  SymplecticAdjointError,
  save,
  solver,
  type Value,
  vectorField,
  vjp,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { thrown } from "./helpers.js";

const clock = () => equations("x' = 1", { dtype: "float64" });
const at0 = Float64Array.of(0);
const fixed = { method: "rk4", steps: 20 } as const;

/** The times of the events of x' = 1 from 0 at t = 0 to 2. */
function timesOf(when: string, options: object = {}): number[] {
  using field = clock();
  return [...odeint(field, at0, [0, 2], { events: [{ when }], ...options }).events.t];
}

test("a function that touches zero at the end of a step is seen once, and the solve goes on", () => {
  for (const when of ["(x - 1)^2", "abs(x - 1)", "(t - 1)^2", "-abs(t - 1)"]) {
    // The first step ends on x = t = 1; those of other methods may miss it by rounding.
    expect(timesOf(when, { method: "euler", steps: 2 }), when).toEqual([1]);
    for (const options of [fixed, { method: "rk4", stepSize: 0.25 }, {}]) {
      expect(timesOf(when, options).length, when).toBeLessThanOrEqual(1);
    }
  }
});

test("the time of a touch is not differentiable, and a gradient says so", () => {
  using field = clock();
  const { solution, pullback } = vjp(field, at0, [0, 2], {
    events: [{ when: "(t - 1)^2" }],
    ...{ method: "euler", steps: 2 },
  });
  expect([...solution.events.t]).toEqual([1]);
  thrown("EVENT_GRAZING", () => pullback(Float64Array.of(0, 0), { times: [1] }));
  // Where nothing depends on the time, there is a gradient.
  expect([...pullback(Float64Array.of(0, 1)).y0]).toEqual([1]);
});

test("a function that becomes zero and stays there has one event, where that begins", () => {
  const whens = ["min(x - 1, 0)", "max(1 - x, 0)", "x < 1 ? 1 : 0", "x < 1 ? -3 : 0"];
  for (const when of whens) {
    for (const options of [{}, fixed, { maxStep: 0.3 }, { method: "rk4", stepSize: 0.125 }]) {
      const times = timesOf(when, options);
      expect(times, when).toHaveLength(1);
      expect(times[0], when).toBeCloseTo(1, 13);
      const ended = timesOf(when, { ...options, events: [{ when, terminal: true }] });
      expect(ended[0], when).toBeCloseTo(1, 13);
    }
  }
});

test("a state that comes to rest on the zero has one event, and another when it has left and returns", () => {
  using resting = equations("x' = x > 0 ? -1 : 0", { dtype: "float64" });
  for (const options of [fixed, { method: "rk4", steps: 7 }] as const) {
    const { events } = odeint(resting, Float64Array.of(1), [0, 2], { events: [{ when: "max(x, 0)" }], ...options });
    expect(events.t).toHaveLength(1);
  }
  // It rests from t = 1 to 2, is lifted, falls again.
  using falling = equations("x' = t < 3 ? -1 : 1", { dtype: "float64" });
  const { events } = odeint(falling, Float64Array.of(1), [0, 8], {
    events: [{ when: "max(x, 0)" }],
    ...{ method: "rk4", steps: 64 },
  });
  // Down at 1; up again at 5, which is a way out and no crossing.
  expect([...events.t]).toHaveLength(1);
  expect(events.t[0]).toBeCloseTo(1, 13);
});

test("a crossing that ends exactly on the zero is one, with every direction and map", () => {
  using field = clock();
  const cases: [string, string, number][] = [
    ["x - 1", "both", 1],
    ["x - 1", "rising", 1],
    ["x - 1", "falling", 0],
    ["1 - x", "falling", 1],
    ["1 - x", "rising", 0],
  ];
  for (const [when, direction, count] of cases) {
    for (const steps of [2, 4, 20]) {
      const options = { method: "rk4", steps, events: [{ when, direction }] } as const;
      const { events } = odeint(field, at0, [0, 2], options as never);
      expect(events.t, `${when} ${direction}`).toHaveLength(count);
    }
  }
  // Back to 0 at each of them: a sawtooth.
  const { events, y } = odeint(field, at0, [0, 3.5], {
    events: [{ when: "x - 1", set: "x = 0" }],
    ...{ method: "rk4", stepSize: 0.25 },
  });
  expect(events.t).toHaveLength(3);
  for (const [i, t] of events.t.entries()) expect(t).toBeCloseTo(i + 1, 13);
  expect(y[1]).toBeCloseTo(0.5, 13);
});

test("a step behind which the function is not defined is shortened, or the error names the function", () => {
  using field = equations("x' = -1", { dtype: "float64" });
  const events = [{ when: "sqrt(x) - 0.1", terminal: true }];
  const { events: found } = odeint(field, Float64Array.of(1), [0, 2], { events });
  expect(found.t[0]).toBeCloseTo(0.99, 12);
  const solve = (options: object) => () => odeint(field, Float64Array.of(1), [0, 2], options);
  expect(thrown("NON_FINITE", solve({ events, method: "rk4", steps: 1 })).message).toContain("events[0].when");
  // Where it is defined nowhere behind, shorter steps do not help.
  const never = thrown("NON_FINITE", solve({ events: [{ when: "sqrt(x) + 1" }] }));
  expect(never.message).toContain("events[0].when");
});

test("what failed takes no cotangents of its events either", () => {
  using ball = equations("h' = v\nv' = -9.81", { dtype: "float64" });
  const { solution, pullback } = vjp(ball, Float64Array.of(1, 0, 1, 0), [0, 0.6], {
    ...{ batching: "independent", onFailure: "mask", maxEvents: 1, method: "rk4", steps: 7 },
    events: [{ when: "h", direction: "falling", set: "v = -0.1 * v" }],
  } as const);
  expect(solution.failures.map(({ trajectory }) => trajectory)).toEqual([0, 1]);
  const none = new Float64Array(8);
  expect(thrown("OPTION", () => pullback(none, { times: [0, 1] })).message).toContain("trajectory 1");
  const states = Float64Array.of(0, 1, 0, 0);
  expect(thrown("OPTION", () => pullback(none, { states })).message).toContain("trajectory 0");
  expect([...pullback(none, { times: [0, 0] }).y0]).toEqual([0, 0, 0, 0]);
});

test("a dense solution takes lists of times, and tells no rate where there was no step", () => {
  using field = equations("x' = v\nv' = -x", { dtype: "float64" });
  const y0 = Float64Array.of(0, 1, 1, 0);
  const dense = odeint(field, y0, [0, 3], { batching: "independent", dense: true });
  const times = [2.5, 0.1, 3, 0];
  for (const read of [dense.at, dense.derivative]) {
    expect([...read(times)]).toEqual(times.flatMap((t) => [...read(t)]));
    expect([...read(Float64Array.from(times), 1)]).toEqual(times.flatMap((t) => [...read(t, 1)]));
  }
  thrown("OPTION", () => dense.at([1, 4]));
  thrown("OPTION", () => dense.at("1" as never));
  const still = odeint(field, y0, [1], { batching: "independent", dense: true });
  expect([...still.at(1)]).toEqual([...y0]);
  thrown("OPTION", () => still.derivative(1));
});

test("what was saved of a solver is checked: a number that was changed is refused, or the solve ends all the same", () => {
  using field = clock();
  for (const options of [{ method: "rk4", stepSize: 0.1 }, {}] as const) {
    const events = [{ when: "x - 0.5" }];
    const original = solver(field, at0, 0, { ...options, events });
    for (let i = 0; i < 2; i++) original.step(1);
    const saved = original.save();
    for (let index = 0; index < saved.numbers.length; index++) {
      for (const number of [Number.NaN, Number.POSITIVE_INFINITY, -1, 0.5, 7, 1e300]) {
        const numbers = [...saved.numbers];
        numbers[index] = number;
        try {
          const restored = restoreSolver(field, { ...saved, numbers }, { ...options, events });
          restored.stepTo(1);
          restored.dispose();
        } catch (error) {
          expect(error).toBeInstanceOf(SymplecticAdjointError);
        }
      }
    }
    original.dispose();
  }
});

test("steps and dense solutions are counted, and memory that cannot be had is an error", () => {
  using field = equations("x' = 10 * (y - x)\ny' = x * (28 - z) - y\nz' = x * y - 8 / 3 * z", { dtype: "float64" });
  const y0 = Float64Array.of(1, 1, 1);
  const options = { method: "rk4", steps: 10_000, batching: "independent" } as const;
  const bytes = (more: object) => odeint(field, y0, [0, 10], { ...options, ...more }).stats.peakBytes.total;
  const plain = bytes({});
  // Times and states; and polynomials of the third degree.
  expect(bytes({ saveSteps: true }) - plain).toBeGreaterThanOrEqual(10_001 * 8 * (1 + 3));
  expect(bytes({ dense: true }) - plain).toBeGreaterThanOrEqual(10_001 * 8 * (1 + 3) + 10_000 * 8 * 3 * 3);
});

/** A field that falls, with a network of its state that is positive above 1, and two for jumps. */
function withNetworks() {
  const field = vectorField({
    state: 1,
    dtype: "float64",
    parameters: {
      rate: 1,
      nets: { ev: nn.sequential(nn.linear(1, 1)), to: nn.linear(1, 1) },
    },
    slope: ({ state, parameters: { rate, nets } }) => state.mul(rate.neg()).add(nets.ev(state).mul(0)),
  });
  field.parameters = { nets: { ev: { 0: { weight: [[1]], bias: [-1] } }, to: { weight: [[0.5]], bias: [3] } } };
  return field;
}

test("events and jumps call the networks of a field as its slope does, with exact gradients", () => {
  using field = withNetworks();
  const options = {
    rtol: 1e-10,
    atol: 1e-10,
    events: [
      {
        when: ({ state, parameters: { nets } }: EventInputs) => nets.ev(state),
        set: ({ state, parameters: { nets } }: EventInputs) => nets.to(state),
        terminal: 2,
      },
    ],
    jumps: [{ times: [0.5], set: ({ state, parameters: { nets } }: EventInputs) => nets.to(state).sub(1) }],
  };
  // 2 falls for 0.5, is set to half of it and 2, and falls to 1, from where it is set to 3.5, and falls to 1 once more.
  const [first, second] = [Math.exp(-0.5) + 2, 3.5];
  const solution = odeint(field, Float64Array.of(2), [0, 4], options);
  const [at, next] = solution.events.t as unknown as [number, number];
  expect(at).toBeCloseTo(0.5 + Math.log(first), 8);
  expect(next).toBeCloseTo(at + Math.log(second), 8);
  // By their arrays it is the same program.
  const byArrays = {
    ...options,
    events: [
      {
        ...options.events[0],
        when: ({ state, parameters: { nets } }: EventInputs) => nets.ev[0].weight.matvec(state).add(nets.ev[0].bias),
      },
    ],
  };
  expect([...odeint(field, Float64Array.of(2), [0, 4], byArrays as never).y]).toEqual([...solution.y]);
  const loss = () => {
    const { solution: own, pullback } = vjp(field, Float64Array.of(2), [0, 1.2], { ...options });
    return { value: own.y[1] as number, gradient: pullback(Float64Array.of(0, 1)).parameters };
  };
  const { gradient } = loss();
  const own = field.parameters.slice();
  for (const i of own.keys()) {
    const moved = (by: number) => {
      field.parameters = own.map((value, j) => (i === j ? value + by : value));
      return loss().value;
    };
    const difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
    field.parameters = own;
    expect(gradient[i], `${i}`).toBeCloseTo(difference, 5);
  }
});

test("an event that misspells a parameter, or calls a network from a file, is told so", () => {
  using field = withNetworks();
  const message = (of: typeof field, when: (inputs: EventInputs) => Value) =>
    thrown("CALLBACK", () => odeint(of, Float64Array.of(2), [0, 1], { events: [{ when }] })).message;
  expect(message(field, ({ parameters }) => parameters.rat)).toMatch(
    /^parameters\.rat: there is no parameter of that name; did you mean rate\? The names are rate, nets/,
  );
  expect(message(field, ({ parameters: { nets } }) => nets.eve)).toMatch(
    /^parameters\.nets\.eve: there is no parameter/,
  );
  const loaded = load(save(field)).field as typeof field;
  expect(message(loaded, ({ parameters }) => parameters.rat)).toMatch(/^parameters\.rat: there is no parameter/);
  expect(message(loaded, ({ state, parameters: { nets } }) => nets.ev(state))).toMatch(
    /^parameters\.nets\.ev: expected its arrays by their names, 0: the file of a field has no layers to call, given a call/,
  );
  const { events } = odeint(loaded, Float64Array.of(2), [0, 1], {
    events: [{ when: ({ state, parameters: { nets } }: EventInputs) => nets.ev[0].weight.mul(state).sub(1) }],
  });
  expect(events.t[0]).toBeCloseTo(Math.log(2), 3);
});

/** A double some units in the last place away. */
function neighbour(number: number, ulps: number): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, number);
  view.setBigInt64(0, view.getBigInt64(0) + BigInt(ulps));
  return view.getFloat64(0);
}

test("an impact counts once, however close behind it an output, a jump or the end of a step lies", () => {
  for (const dtype of ["float64", "float32"] as const) {
    using ball = equations("h' = v\nv' = -9.81", { dtype });
    const start = (height: number) => (dtype === "float64" ? Float64Array : Float32Array).of(height, 0) as never;
    const bounce = (direction: "falling" | "both") => [{ when: "h", direction, set: "v = -0.8 * v" }] as const;
    for (const [height, direction] of [
      [0.3, "both"],
      [0.77, "falling"],
      [1, "both"],
    ] as const) {
      for (const solver of [{ method: "heun", steps: 7 }, { method: "dopri8" }, { method: "dopri5" }] as const) {
        const adaptive = { rtol: 1e-8, atol: 1e-8, output: "land" } as const;
        const options = { ...(solver.method !== "heun" && adaptive), ...solver, events: bounce(direction) };
        const end = 1.3 * Math.sqrt((2 * height) / 9.81);
        const [impact] = odeint(ball, start(height), [0, end], options).events.t as unknown as [number];
        for (let ulps = -12; ulps <= 12; ulps++) {
          const t = neighbour(impact, ulps);
          const text = `${dtype} ${height} ${solver.method} ${ulps}`;
          expect(odeint(ball, start(height), [0, t, end], options).events.t.length, text).toBe(1);
          const jumps = [{ times: [t], set: "h = h" }];
          expect(odeint(ball, start(height), [0, end], { ...options, jumps }).events.t.length, text).toBe(1);
        }
      }
    }
  }
});

test("two functions with their zeros at one time each have one event", () => {
  using pair = equations("h1' = v1\nv1' = -9.81\nh2' = v2\nv2' = -9.81", { dtype: "float64" });
  const start = Float64Array.of(0.77, 0, 0.77 * (1 - 2 * 2 ** -52), 0);
  const { events, y } = odeint(pair, start, [0, 1.5 * Math.sqrt((2 * 0.77) / 9.81)], {
    method: "heun",
    steps: 9,
    events: [
      { when: "h1", direction: "falling", set: "v1 = -0.8 * v1" },
      { when: "h2", direction: "falling", set: "v2 = -0.7 * v2" },
    ],
  });
  expect([...events.event]).toEqual([0, 1]);
  expect(Math.min(y[4] as number, y[6] as number)).toBeGreaterThan(0);
  using ball = equations("h' = v\nv' = -9.81", { dtype: "float32" });
  const seen = odeint(ball, Float32Array.of(44.145, 0), [0, 3, 3.6], {
    method: "dopri8",
    rtol: 1e-4,
    atol: 1e-4,
    events: [
      { when: "h", direction: "falling", set: "v = -0.8 * v" },
      { when: "3 * h", direction: "falling" },
    ],
  });
  expect([...seen.events.event]).toEqual([0, 1]);
  expect(seen.y[4]).toBeCloseTo(0.8 * 9.81 * 3 * 0.6 - (9.81 / 2) * 0.36, 3);
});

test("a function that crosses its zero again in the next step has an event there", () => {
  using spring = equations("x' = v\nv' = -x\nn' = 0", { dtype: "float64" });
  const angle = 64 * 0.0126;
  const times = (options: object) => {
    const events = [{ when: "x - 0.9 - 0.1 * sin(2 * t)", set: "n = n + 1\nv = 0.9 * v" }];
    const start = Float64Array.of(Math.sin(angle), Math.cos(angle), 0);
    return [...odeint(spring, start, [0, 6], { events, ...options }).events.t];
  };
  const exact = times({ rtol: 1e-12, atol: 1e-12, maxStep: 0.02 });
  expect(exact.length).toBe(2);
  for (const method of ["dopri5", "tsit5", "bosh3", "dopri8"] as const) {
    const found = times({ method, rtol: 1e-5 });
    expect(found.length, method).toBe(2);
    for (const [i, t] of found.entries()) expect(t, method).toBeCloseTo(exact[i] as number, 2);
  }
  // A stone passes a level on its way up and down, in one step; the function has the rounding of larger terms.
  using stone = equations("x' = v\nv' = -9.81\nc' = 0\nn' = 0", { dtype: "float64" });
  for (let i = 1; i <= 100; i++) {
    const speed = 0.002 * i;
    const events = [{ when: "x + 0.5 * sin(t) - c - 0.5 * sin(t)", set: "n = n + 1\nv = v > 0 ? 0.9 * v : v" }];
    const start = Float64Array.of(0, Math.sqrt(2 * 9.81 * 3 + speed ** 2), 3, 0);
    const { y } = odeint(stone, start, [0, 3], { rtol: 1e-4, atol: 1e-4, events });
    expect(y[7], `${speed}`).toBe(2);
  }
});
