import {
  adam,
  cnf,
  custom,
  driven,
  type EventInputs,
  equations,
  type Field,
  type GradientOptions,
  type IndependentGradient,
  type Method,
  memoryUsage,
  mlp,
  odeint,
  type Value,
  valueAndGrad,
  vjp,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { GRADIENTS, METHODS } from "../../wasm/constants.js";
import { collectGarbage, EXACT, numbers, RUNGE_KUTTA, relative, thrown } from "./helpers.js";

/** A pendulum with friction: y = (angle, velocity), θ = (g / l, friction). */
function pendulum(hooks: { evaluate?: () => unknown; vjp?: () => unknown; noTime?: boolean } = {}): Field<"float64"> {
  return custom({
    stateSize: 2,
    dtype: "float64",
    parameters: Float64Array.of(2, 0.1),
    evaluate(t, y, [g = 0, c = 0]) {
      const odd = hooks.evaluate?.();
      if (odd !== undefined) return odd as Float64Array;
      const dy = new Float64Array(y.length);
      for (let i = 0; i < y.length; i += 2) {
        dy[i] = y[i + 1] ?? 0;
        dy[i + 1] = -g * Math.sin(y[i] ?? 0) - c * (y[i + 1] ?? 0) + 0.3 * Math.cos(t);
      }
      return dy;
    },
    vjp(t, y, w, [g = 0, c = 0]) {
      const odd = hooks.vjp?.();
      if (odd !== undefined) return odd as never;
      const pulled = { y: new Float64Array(y.length), parameters: new Float64Array(2), t: 0 };
      for (let i = 0; i < y.length; i += 2) {
        const [angle = 0, velocity = 0, w0 = 0, w1 = 0] = [y[i], y[i + 1], w[i], w[i + 1]];
        pulled.y[i] = -g * Math.cos(angle) * w1;
        pulled.y[i + 1] = w0 - c * w1;
        pulled.parameters[0] = (pulled.parameters[0] ?? 0) - Math.sin(angle) * w1;
        pulled.parameters[1] = (pulled.parameters[1] ?? 0) - velocity * w1;
        pulled.t -= 0.3 * Math.sin(t) * w1;
      }
      return hooks.noTime ? { y: pulled.y, parameters: pulled.parameters } : pulled;
    },
  });
}

const y0 = Float64Array.of(1, 0, -0.5, 0.7, 0.2, -1);
const times = [0, 0.4, 1.1, 2];
const outputOf = (method: Method) => (RUNGE_KUTTA.includes(method) ? ("interpolate" as const) : ("land" as const));
const w = numbers("float64", 24);

test("without a derivative by time there is none by the times of jumps, and all others stay", () => {
  const set = ({ state, amounts }: EventInputs) => [
    state.at(0).mul(amounts.scale as Value),
    state.at(1).add(amounts.kick as Value),
  ];
  const shared = { times: [0.3, 1.2], set, amounts: { scale: [0.9, 1.1], kick: [0.2, -0.1] } };
  const each = <T>(list: T) => [list, list, list];
  const own = { times: each(shared.times), set, amounts: { scale: each([0.9, 1.1]), kick: each([0.2, -0.1]) } };
  for (const jumps of [[shared], [own], [own, shared]]) {
    for (const ends of [times, each(times)]) {
      for (const timeGradients of [true, false]) {
        const [told, untold] = [false, true].map((noTime) => {
          const solve = vjp(pendulum({ noTime }), y0, ends as number[], { jumps, timeGradients });
          const gradient = solve.pullback(w);
          solve.dispose();
          return gradient;
        }) as [IndependentGradient<"float64">, IndependentGradient<"float64">];
        expect(untold.times).toBeUndefined();
        for (const [index, jump] of untold.jumps.entries()) {
          expect(jump.amounts).toEqual(told.jumps[index]?.amounts);
          const lists = (
            jump === untold.jumps.at(-1) && jumps.at(-1) === shared ? [jump.times] : jump.times
          ) as Float64Array[];
          for (const list of lists) expect([...list]).toEqual([...list].fill(Number.NaN));
        }
        expect(untold.y0).toEqual(told.y0);
        expect(untold.parameters).toEqual(told.parameters);
      }
    }
  }
});

test("exact gradients agree bitwise, and with differences, times included", () => {
  for (const method of METHODS) {
    for (const options of [{ steps: 3 }, { stepSize: 0.13, output: outputOf(method) }]) {
      const field = pendulum();
      const gradients = EXACT.map((gradient) => {
        const solve = vjp(field, y0, times, { method, gradient, ...options });
        const { y0: start, parameters, times: ends } = solve.pullback(w);
        solve.dispose();
        return [...start, ...parameters, ...(ends ?? [])];
      });
      for (const other of gradients) expect(other).toEqual(gradients[0]);
      const loss = (parameters: Float64Array, start: Float64Array, ends: number[]) => {
        field.parameters = parameters;
        return odeint(field, start, ends, { method, ...options }).y.reduce((sum, y, i) => sum + y * (w[i] ?? 0), 0);
      };
      const moved = (values: ArrayLike<number>, index: number, e: number) =>
        Float64Array.from(values, (v, i) => (i === index ? v + e : v));
      const theta = Float64Array.of(2, 0.1);
      const difference = (at: (e: number) => number) => (at(1e-5) - at(-1e-5)) / 2e-5;
      const expected = [
        ...y0.map((_, i) => difference((e) => loss(theta, moved(y0, i, e), times))),
        ...theta.map((_, i) => difference((e) => loss(moved(theta, i, e), y0, times))),
        ...times.map((_, i) => difference((e) => loss(theta, y0, [...moved(times, i, e)]))),
      ];
      // Moving an inner time of an evenly divided grid moves its steps; the gradient says how.
      expect(relative(gradients[0] ?? [], expected), method).toBeLessThan(3e-9);
      field.dispose();
    }
  }
});

test("without the derivative with respect to time there is no gradient of times", () => {
  const solve = vjp(pendulum({ noTime: true }), y0, times);
  expect(solve.pullback(w).times).toBeUndefined();
  expect(vjp(pendulum(), y0, times).pullback(w).times).toHaveLength(4);
});

test("statistics are what was called", () => {
  for (const method of METHODS) {
    for (const gradient of RUNGE_KUTTA.includes(method) ? GRADIENTS : EXACT) {
      for (const noTime of [false, true]) {
        for (const options of [{ steps: 2 }, { stepSize: 0.3, output: outputOf(method) }, { rtol: 1e-3 }]) {
          const calls = { evaluate: 0, vjp: 0 };
          const counting = { evaluate: () => void calls.evaluate++, vjp: () => void calls.vjp++ };
          const field = pendulum({ ...counting, noTime });
          const solve = vjp(field, y0, times, { method, gradient, ...options });
          const { stats } = solve.solution;
          expect({ ...calls }).toEqual({ evaluate: stats.evaluations, vjp: 0 });
          const back = solve.pullback(w).stats;
          expect(calls).toEqual({ evaluate: stats.evaluations + back.evaluations, vjp: back.vjps });
          expect(back.backwardSteps > 0).toBe(gradient === "adjoint");
          if ("steps" in options) expect(stats).toMatchObject({ accepted: 6, rejected: 0, firstStep: 0.2 });
          if ("steps" in options) expect(stats.lastStep).toBeCloseTo(0.45, 12);
          solve.dispose();
          field.dispose();
        }
      }
    }
  }
});

test("what is thrown inside reaches the caller unchanged, and the solver stays usable", () => {
  const own = { not: "even an error" };
  for (const where of ["evaluate", "vjp"] as const) {
    for (const gradient of EXACT) {
      // Going forward, and, for what is evaluated there, on the way back.
      for (const last of [5, 60]) {
        let calls = 0;
        const throws = () => {
          if (++calls === last) throw own;
          return undefined;
        };
        const field = pendulum({ [where]: throws });
        let caught: unknown;
        try {
          vjp(field, y0, times, { method: "rk4", steps: 4, gradient }).pullback(w);
        } catch (error) {
          caught = error;
        }
        if (last === 5 || where === "evaluate") expect(caught).toBe(own);
        expect(odeint(field, y0, times).y).toHaveLength(24);
      }
    }
  }
});

test("wrong results are typed errors", () => {
  for (const odd of [new Float64Array(5), new Float32Array(6), [1, 2, 3, 4, 5, 6], Promise.resolve(y0), null]) {
    thrown("CALLBACK", () => odeint(pendulum({ evaluate: () => odd }), y0, times));
  }
  const oddPulls = [null, 1, Promise.resolve({ y: y0 }), {}, { y: y0 }, { y: y0, parameters: new Float64Array(3) }];
  for (const odd of [...oddPulls, { y: y0, parameters: new Float64Array(2), t: "0" }]) {
    thrown("CALLBACK", () => vjp(pendulum({ vjp: () => odd }), y0, times).pullback(w));
  }
});

test("a solve, a gradient or a step inside is refused, evaluate and vjp are not", () => {
  const other = mlp({ widths: [2, 4, 2], dtype: "float64" });
  const recorded = vjp(other, y0, [0, 1]);
  const optimizer = adam(other);
  const inside = [
    () => odeint(other, y0, [0, 1]),
    () => vjp(other, y0, [0, 1]),
    () => valueAndGrad(other, y0, [0, 1], () => ({ value: 0, cotangent: y0 })),
    () => recorded.pullback(new Float64Array(12)),
    () => optimizer.step(new Float64Array(other.parameters.length)),
  ];
  for (const body of inside) {
    thrown("REENTRANT", () => odeint(pendulum({ evaluate: () => void body() }), y0, times));
    thrown("REENTRANT", () => vjp(pendulum({ vjp: () => void body() }), y0, times).pullback(w));
  }
  const allowed = () => void other.vjp(0, y0, other.evaluate(0, y0));
  expect(odeint(pendulum({ evaluate: allowed }), y0, times).y).toHaveLength(24);
  expect(recorded.pullback(new Float64Array(12)).y0).toHaveLength(6);
});

test("what is disposed inside is freed when the call returns", async () => {
  await collectGarbage();
  const { liveBytes } = memoryUsage();
  const other = mlp({ widths: [2, 4, 2] });
  const dying: { dispose(): void }[] = [];
  const die = () => void dying.forEach((object) => void object.dispose());
  const first = pendulum({ evaluate: die });
  dying.push(first);
  expect(odeint(first, y0, times).y).toHaveLength(24);
  thrown("DISPOSED", () => first.parameters);
  const second = pendulum({ vjp: die });
  const solve = vjp(second, y0, times);
  dying.push(solve, second);
  expect(solve.pullback(w).y0).toHaveLength(6);
  thrown("DISPOSED", () => solve.pullback(w));
  expect(other.evaluate(0, Float32Array.of(1, 0))).toHaveLength(2);
  other.dispose();
  expect(memoryUsage().liveBytes).toBe(liveBytes);
});

test("fields that evaluate each other without end are stopped", () => {
  const field: Field<"float64"> = pendulum({ evaluate: () => field.evaluate(0, y0) });
  thrown("REENTRANT", () => field.evaluate(0, y0));
});

test("memory that grows inside a callback does no harm", () => {
  const grow = () => void mlp({ widths: [600, 600, 600], dtype: "float64" });
  expect(odeint(pendulum({ evaluate: grow }), y0, [0, 1], { method: "rk4", steps: 5 }).y).toEqual(
    odeint(pendulum(), y0, [0, 1], { method: "rk4", steps: 5 }).y,
  );
});

test("a universal differential equation: known decay, and a network for the rest", () => {
  // dx/dt = −a x + network(x), with a and the network learned together.
  const network = mlp({ widths: [2, 8, 2], dtype: "float64", seed: 2 });
  const field = custom({
    stateSize: 2,
    dtype: "float64",
    parameters: Float64Array.of(0.5, ...network.parameters),
    evaluate(t, y, parameters) {
      const dy = network.evaluate(t, y, parameters.subarray(1));
      return dy.map((slope, i) => slope - (parameters[0] ?? 0) * (y[i] ?? 0));
    },
    vjp(t, y, w, parameters) {
      const pulled = network.vjp(t, y, w, parameters.subarray(1));
      const decay = -y.reduce((sum, value, i) => sum + value * (w[i] ?? 0), 0);
      const dy = pulled.y.map((value, i) => value - (parameters[0] ?? 0) * (w[i] ?? 0));
      return { y: dy, parameters: Float64Array.of(decay, ...pulled.parameters), t: pulled.t ?? 0 };
    },
  });
  const start = Float64Array.of(1, 0, 0, 1);
  // A spiral.
  const target = (t: number) =>
    [0, Math.PI / 2].flatMap((turn) => [Math.cos(t + turn), Math.sin(t + turn)].map((v) => v * Math.exp(-0.3 * t)));
  const ends = [0, 0.5, 1, 1.5, 2];
  const truth = Float64Array.from(ends.flatMap(target));
  const optimizer = adam(field, { learningRate: 0.02 });
  const losses: number[] = [];
  for (let step = 0; step < 150; step++) {
    const { value, gradient } = valueAndGrad(field, start, ends, (y) => {
      const error = y.map((v, i) => v - (truth[i] ?? 0));
      return { value: error.reduce((sum, e) => sum + e * e, 0), cotangent: error.map((e) => 2 * e) };
    });
    losses.push(value);
    optimizer.step(gradient);
  }
  expect(losses[149]).toBeLessThan((losses[0] ?? 0) / 100);
});

test("each call tells which trajectory comes first, and an input of each trajectory is its own", () => {
  const rates = [1, 2, 3];
  const field = custom({
    stateSize: 1,
    dtype: "float64",
    evaluate: (_t, y, _parameters, first) => y.map((x, i) => -(rates[first + i] as number) * x),
    vjp: (_t, y, w, _parameters, first) => ({
      y: w.map((x, i) => -(rates[first + i] as number) * x) as typeof y,
      t: 0,
    }),
  });
  const y0 = Float64Array.of(1, 1, 1);
  const inner = mlp({ widths: [1, 4, 1], dtype: "float64" });
  const pushed = driven(inner, { B: [1], u: () => [0.5, 1, 2] });
  const loss = (y: Float64Array) => ({ value: 0, cotangent: y.slice() });
  const [whole, ...others] = [{}, { dense: true }, { batching: "independent" }, { onFailure: "mask" }].map(
    (options) => {
      const all = { rtol: 1e-9, atol: 1e-9, ...options } as GradientOptions;
      const decay = valueAndGrad(field, y0, [0, 1], loss, all);
      const force = odeint(pushed, y0, [0, 1], all);
      return { y: [...decay.solution.y, ...force.y], y0: decay.gradient.y0 };
    },
  );
  expect(
    relative(
      whole?.y.slice(3, 6) as number[],
      rates.map((rate) => Math.exp(-rate)),
    ),
  ).toBeLessThan(1e-8);
  for (const { y, y0 } of others) {
    expect(relative(y, whole?.y as number[])).toBeLessThan(1e-7);
    expect(relative(y0, whole?.y0 as Float64Array)).toBeLessThan(1e-7);
  }
  const flow = cnf({ network: { widths: [2, 8, 2], dtype: "float64" }, trace: "hutchinson" });
  const still = driven(flow, { B: [0, 0, 0], u: () => [0] });
  const start = new Float64Array(9).fill(0.3);
  expect(thrown("OPTION", () => odeint(still, start, [0, 1], { batching: "independent" })).argument).toBe("batching");
  const withArguments = equations("x' = -k * x", { arguments: ["k"] });
  expect(thrown("OPTION", () => driven(withArguments, { B: [1], u: () => [0] })).argument).toBe("field");
});
