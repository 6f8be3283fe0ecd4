// Solvers that are taken on from call to call, norms of errors, and progress.
import {
  custom,
  type EventInputs,
  equations,
  type GradientOptions,
  max,
  memoryUsage,
  mlp,
  odeint,
  parallel,
  restoreSolver,
  type SolverOptions,
  type SymplecticAdjointError,
  solver,
  sqrt,
  square,
  type Value,
  valueAndGrad,
  vjp,
} from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { collectGarbage, numbers } from "./helpers.js";

function refusal(body: () => unknown): SymplecticAdjointError {
  try {
    body();
  } catch (error) {
    return error as SymplecticAdjointError;
  }
  throw new Error("nothing was thrown");
}

/** A pendulum that is pushed. */
const pendulum = (dtype: "float32" | "float64" = "float64") =>
  equations("angle' = speed\nspeed' = push - sin(angle) - 0.1 * speed", { arguments: ["push"], dtype });

describe("a solver", () => {
  const times = [0, 0.3, 0.30001, 1.7, 4];

  test.each<[string, SolverOptions]>([
    ["dopri5", {}],
    ["tsit5 with PI control", { method: "tsit5", controller: "pi", rtol: 1e-4 }],
    ["dopri8", { method: "dopri8", rtol: 1e-9 }],
    ["rk4 in equal steps", { method: "rk4", steps: 3 }],
    ["heun3 in steps of a size", { method: "heun3", stepSize: 0.07 }],
    ["a norm of its own", { norm: "max(abs(angle), abs(speed))" }],
  ])("%s: the steps of one solve", (_, options) => {
    for (const dtype of ["float32", "float64"] as const) {
      const field = pendulum(dtype);
      const batch = 20;
      const y0 = numbers(dtype, 2 * batch, 1);
      const push = numbers(dtype, batch, 2);
      const events = [{ when: "angle" }];
      const all = { ...options, events, arguments: { push } };
      const whole = odeint(field, y0, times, { ...all, batching: "independent", output: "land" });
      const own = solver(field, y0, 0, all);
      const found: number[] = [];
      for (const [k, t] of times.entries()) {
        own.stepTo(t);
        expect(own.t).toEqual(new Float64Array(batch).fill(t));
        expect(own.y).toEqual(whole.y.slice(2 * batch * k, 2 * batch * (k + 1)));
        found.push(...own.events.t);
      }
      expect(found.sort()).toEqual([...whole.events.t].sort());
      const { reached: _, ...stats } = own.trajectories;
      const { reached: __, ...expected } = whole.trajectories;
      expect(stats).toEqual(expected);
      own.dispose();
      field.dispose();
    }
  });

  test("with a first step of a given length, wherever the first stop is", () => {
    const field = equations("x' = v \n v' = -x", { dtype: "float64" });
    const y0 = Float64Array.of(1, 0);
    const difference = (first: number, options: object) => {
      const own = solver(field, y0, 0, options);
      for (const t of [first, 3]) own.stepTo(t);
      const whole = odeint(field, y0, [0, first, 3], { ...options, batching: "independent", output: "land" });
      const [x] = own.y;
      own.dispose();
      return Math.abs((x as number) - (whole.y[4] as number));
    };
    // Before the first step that would be chosen, the solver cannot know how far it is to go.
    expect(difference(1e-6, {})).toBeGreaterThan(0);
    expect(difference(0.5, {})).toBe(0);
    for (const first of [0.5, 1e-6]) expect(difference(first, { firstStep: 0.01 })).toBe(0);
    field.dispose();
  });

  test("copies and saved ones go the same way", () => {
    const field = pendulum();
    const options = { arguments: { push: [0.3, -0.2] } };
    const own = solver(field, Float64Array.of(1, 0, -1, 0.5), 0, options);
    own.stepTo(0.7);
    const copy = own.copy();
    const saved = JSON.parse(JSON.stringify(own.save()));
    const restored = restoreSolver(field, saved, options);
    own.setArguments({ push: [0.1, 0.2] });
    own.stepTo(5);
    for (const other of [copy, restored]) {
      expect(other.t).toEqual(Float64Array.of(0.7, 0.7));
      other.setArguments({ push: [0.1, 0.2] });
      other.stepTo(5);
      expect(other.y).toEqual(own.y);
      expect(other.trajectories).toEqual(own.trajectories);
      other.dispose();
    }
    expect(refusal(() => restoreSolver(field, { ...saved, numbers: saved.numbers.slice(1) }, options))).toMatchObject({
      code: "OPTION",
      argument: "saved",
    });
    expect(refusal(() => restoreSolver(field, { ...saved, state: 3 }, options)).argument).toBe("saved.state");
    expect(refusal(() => restoreSolver(field, { ...saved, batch: 2 ** 40 }, options)).code).toMatch(
      /OPTION|SHAPE|OUT_OF/,
    );
    expect(refusal(() => copy.y).code).toBe("DISPOSED");
    own.dispose();
    field.dispose();
  });

  test("a restored solver has the options and arguments that it was saved with, and refuses others", () => {
    const field = pendulum();
    const limits = { when: "angle - 2", direction: "rising" } as const;
    const options = {
      method: "tsit5",
      rtol: [1e-3, 1e-4],
      atol: 1e-5,
      maxStep: Number.POSITIVE_INFINITY,
      controller: { p: 0.3, i: 0.7 },
      norm: "max(abs(angle), abs(speed))",
      events: [limits],
      maxEvents: 7,
    } as const;
    const own = solver(field, Float64Array.of(1, 0, 0.5, 0.1), 0, { ...options, arguments: { push: [0.1, 0.2] } });
    own.stepTo(0.7);
    own.setArguments({ push: [0.3, -0.1] });
    const saved = JSON.parse(JSON.stringify(own.save()));
    own.stepTo(5);
    for (const given of [{}, options, { threads: 2 }, { events: [limits] }]) {
      const restored = restoreSolver(field, saved, given);
      expect(restored.save()).toEqual(saved);
      restored.stepTo(5);
      expect(restored.y).toEqual(own.y);
      expect(restored.trajectories).toEqual(own.trajectories);
      restored.dispose();
    }
    for (const [name, other] of Object.entries({
      method: "dopri5",
      rtol: 1e-9,
      atol: 1e-4,
      maxStep: 0.1,
      stepSize: 0.1,
      maxSteps: 10,
      controller: "pi",
      summation: "plain",
      norm: "rms",
      events: [{ ...limits, direction: "falling" }],
      maxEvents: 8,
    })) {
      const error = refusal(() => restoreSolver(field, saved, { [name]: other }));
      expect([error.code, error.argument], error.message).toEqual(["OPTION", name]);
    }
    expect(refusal(() => restoreSolver(field, saved, { rtol: 1e-9 })).message).toBe(
      "rtol: expected [0.001,0.0001], as the saved solver has, given 1e-9",
    );
    own.dispose();
    // Functions are not plain data: they are given again, and compute the same.
    const traced = {
      events: [{ when: ({ state: [angle] }: EventInputs) => (angle as Value).sub(2), direction: "rising" as const }],
      norm: ([angle]: Iterable<Value>) => (angle as Value).abs(),
    };
    const other = solver(field, Float64Array.of(1, 0), 0, { ...traced, arguments: { push: [0] } });
    other.stepTo(1);
    const again = JSON.parse(JSON.stringify(other.save()));
    other.stepTo(3);
    const restored = restoreSolver(field, again, traced);
    restored.stepTo(3);
    expect(restored.y).toEqual(other.y);
    for (const [name, wrong] of [
      ["events", {}],
      ["norm", { events: traced.events }],
      ["norm", { ...traced, norm: "rms" }],
      ["events", { ...traced, events: [{ ...traced.events[0], direction: "falling" }] }],
      ["events", { ...traced, events: [{ when: "speed", direction: "rising" }] }],
    ] as const) {
      expect(refusal(() => restoreSolver(field, again, wrong as never)).argument).toBe(name);
    }
    // The same in text computes the same.
    restoreSolver(field, again, { events: [limits], norm: "abs(angle)" }).dispose();
    for (const one of [other, restored, field]) one.dispose();
  });

  test("single steps, other states, failures and the end by an event", () => {
    const field = equations("x' = x * x", { dtype: "float64" });
    const own = solver(field, Float64Array.of(0.1, 1), 0, { maxSteps: 300 });
    let steps = 0;
    while (own.t.some((t) => t < 0.5)) {
      const before = own.t;
      own.step(0.5);
      steps++;
      own.t.forEach((t, i) => {
        expect(t === 0.5 || t > (before[i] as number)).toBe(true);
      });
    }
    expect(Math.max(...own.trajectories.accepted)).toBe(steps);
    const [t, y] = [own.t, own.y];
    const error = refusal(() => own.stepTo(2));
    expect(["STEP_UNDERFLOW", "NON_FINITE", "MAX_STEPS"]).toContain(error.code);
    expect(error.trajectory).toBe(1);
    expect([own.t, own.y]).toEqual([t, y]);
    own.y = Float64Array.of(0.1, 0.2);
    own.stepTo(2);
    for (const [i, x] of own.y.entries()) {
      const start = i ? 0.2 : 0.1;
      expect(x).toBeCloseTo(start / (1 - 1.5 * start), 6);
    }
    own.dispose();
    const falling = equations("h' = v\nv' = -9.81", { dtype: "float64" });
    const ball = solver(falling, Float64Array.of(10, 0, 1000, 0), 0, {
      events: [{ when: "h", direction: "falling", terminal: true }],
    });
    ball.stepTo(2);
    expect(ball.events.trajectory).toEqual(Uint32Array.of(0));
    expect(ball.t[0]).toBeCloseTo(Math.sqrt(20 / 9.81), 10);
    expect(ball.trajectories.reached).toEqual(Uint32Array.of(1, 0));
    const held = ball.y.slice(0, 2);
    ball.stepTo(5);
    expect(ball.y.slice(0, 2)).toEqual(held);
    expect(ball.t[1]).toBe(5);
    ball.dispose();
    falling.dispose();
    field.dispose();
  });

  test("an input that changes at an event", () => {
    const field = equations("h' = v\nv' = -g", { arguments: ["g"], dtype: "float64" });
    const bounce = { when: "h", direction: "falling", set: "v = -0.8 * v" } as const;
    const options = { arguments: { g: [9.81] }, events: [bounce] };
    const plain = solver(field, Float64Array.of(1, 0), 0, options);
    plain.stepTo(2);
    const own = solver(field, Float64Array.of(1, 0), 0, options);
    while ((own.t[0] as number) < 2) {
      own.step(2);
      if (own.events.t.length > 0) own.setArguments({ g: [9.81] });
    }
    expect(own.y[0]).toBeCloseTo(plain.y[0] as number, 6);
    for (const other of [own, plain]) other.dispose();
    field.dispose();
  });

  test("nobody reaches beyond its memory, nor into it while it computes", () => {
    let own: ReturnType<typeof solver> | undefined;
    const seen: unknown[] = [];
    const field = custom({
      stateSize: 1,
      dtype: "float64",
      evaluate: (_, y) => {
        for (const reach of [() => own?.save(), () => own?.copy(), () => own?.y, () => own?.stepTo(3)]) {
          try {
            if (own) reach();
          } catch (error) {
            seen.push((error as SymplecticAdjointError).code);
          }
        }
        return y.map((x) => -x);
      },
      vjp: (_, __, w) => ({ y: w.map((x) => -x) }),
    });
    own = solver(field, Float64Array.of(1), 0);
    expect(() => {
      (own as { batch: number }).batch = 1e5;
    }).toThrow(TypeError);
    own.stepTo(1);
    expect(new Set(seen)).toEqual(new Set(["REENTRANT"]));
    expect(own.y[0]).toBeCloseTo(Math.exp(-1), 6);
    own.dispose();
    field.dispose();
  });

  test("what it refuses", () => {
    const field = pendulum();
    const y0 = Float64Array.of(1, 0);
    const args = { arguments: { push: [0] } };
    const refused = (options: object) => refusal(() => solver(field, y0, 0, { ...args, ...options })).argument;
    expect(refused({ dense: true })).toBe("dense");
    expect(refused({ jumps: [{ times: [1], set: "angle = 0" }] })).toBe("jumps");
    expect(refused({ output: "interpolate" })).toBe("output");
    const own = solver(field, y0, 0, args);
    for (const t of [Number.NaN, Number.POSITIVE_INFINITY, "1", undefined]) {
      expect(refusal(() => own.stepTo(t as never)).argument).toBe("t");
      expect(refusal(() => own.step(t as never)).argument).toBe("towards");
    }
    expect(
      refusal(() => {
        own.y = Float64Array.of(1);
      }).code,
    ).toBe("SHAPE");
    expect(refusal(() => own.setArguments({ push: [1, 2] })).code).toBe("SHAPE");
    own.dispose();
    field.dispose();
  });
});

describe("norms of errors", () => {
  const field = () => equations("a' = -a\nb' = 50 * (cos(t) - b)", { dtype: "float64" });
  const solve = (norm: GradientOptions["norm"]) =>
    odeint(field(), Float64Array.of(1, 0, 2, 1), [0, 1], { batching: "independent", norm }).trajectories;

  test("by name, by function and by text", () => {
    const rms = solve("rms");
    expect(solve(undefined)).toEqual(rms);
    expect(solve((errors) => sqrt(square(errors).sum().div(2)))).toEqual(rms);
    expect(solve("max(abs(a), abs(b))")).toEqual(solve("max"));
    expect(solve((errors) => max(errors[0] ?? 0, errors[1] ?? 0))).toBeDefined();
    expect(solve("max").accepted[0]).toBeGreaterThan(rms.accepted[0] as number);
    // Only the slow one counts.
    expect(solve("abs(a)").accepted[0]).toBeLessThan(rms.accepted[0] as number);
  });

  test("what is refused", () => {
    expect(refusal(() => solve(((errors: unknown) => errors) as never))).toMatchObject({ argument: "norm's result" });
    expect(refusal(() => solve("abs(c)")).message).toContain("norm");
    expect(refusal(() => solve(3 as never)).argument).toBe("norm");
    const y0 = Float64Array.of(1, 0);
    expect(refusal(() => odeint(field(), y0, [0, 1], { batching: "together", norm: "max" })).argument).toBe("batching");
  });
});

describe("progress", () => {
  // Slow enough to be asked about, however fast the machine: it waits for the clock.
  const waiting = () =>
    custom({
      stateSize: 1,
      dtype: "float64",
      evaluate: (_, y) => {
        for (const until = performance.now() + 2; performance.now() < until; );
        return y.map((x) => -x);
      },
      vjp: (_, __, w) => ({ y: w.map((x) => -x) }),
    });

  test.each(["together", "independent"] as const)("%s: fractions rise to 1", (batching) => {
    const field = waiting();
    const told: number[] = [];
    const options = {
      method: "rk4",
      steps: 64,
      batching,
      progress: (fraction: number) => told.push(fraction),
    } as const;
    odeint(field, Float64Array.of(1), [0, 1], options);
    expect(told.length).toBeGreaterThan(2);
    expect(told.at(-1)).toBe(1);
    told.forEach((fraction, i) => {
      expect(fraction).toBeGreaterThan(i ? (told[i - 1] as number) : 0);
    });
    field.dispose();
  });

  test("what it throws ends the solve, and nothing is lost", () => {
    const field = waiting();
    const stop = () => {
      throw new RangeError("enough");
    };
    for (const batching of ["together", "independent"] as const) {
      const options = { method: "rk4", steps: 64, batching, progress: stop } as const;
      expect(() => odeint(field, Float64Array.of(1), [0, 1], options)).toThrow(new RangeError("enough"));
    }
    const inside = () => odeint(field, Float64Array.of(1), [0, 1], { method: "rk4" });
    const options = { method: "rk4", steps: 64, progress: inside } as const;
    expect(refusal(() => odeint(field, Float64Array.of(1), [0, 1], options)).code).toBe("REENTRANT");
    expect(odeint(field, Float64Array.of(1), [0, 1], { method: "rk4" }).stats.accepted).toBe(1);
    field.dispose();
  });

  test("what it throws at the end frees the solve", async () => {
    await collectGarbage();
    const field = mlp({ widths: [2, 4, 2], seed: 1 });
    const y0 = numbers("float32", 2000, 1);
    const stop = () => {
      throw new RangeError("enough");
    };
    const before = memoryUsage().liveBytes;
    for (const batching of ["together", "independent"] as const) {
      const options = { batching, progress: stop };
      expect(() => vjp(field, y0, [0, 1], options)).toThrow("enough");
      expect(() => odeint(field, y0, [0, 1], options)).toThrow("enough");
    }
    expect(memoryUsage().liveBytes).toBe(before);
    field.dispose();
  });

  test("in gradients and pools", async () => {
    const field = mlp({ widths: [2, 4, 2], seed: 1 });
    const y0 = numbers("float32", 2 * 200, 1);
    const told: number[] = [];
    const progress = (fraction: number) => void told.push(fraction);
    const loss = (y: Float32Array) => ({ value: 0, cotangent: y });
    valueAndGrad(field, y0, [0, 1], loss, { progress });
    vjp(field, y0, [0, 1], { batching: "independent", progress }).dispose();
    expect(told.filter((fraction) => fraction === 1)).toHaveLength(2);
    const pool = await parallel({ workers: 2 });
    told.length = 0;
    await pool.odeint(field, y0, [0, 1], { batching: "independent", progress });
    await pool.odeint(field, y0, [0, 1], { method: "rk4", progress });
    expect(told).toEqual([0.5, 1, 0.5, 1]);
    pool.close();
    field.dispose();
  });
});
