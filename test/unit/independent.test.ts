// Trajectories of their own: golden cases, bitwise equality, events, dense solutions.
import { readdirSync, readFileSync } from "node:fs";
import { equations, hamiltonian, odeint, roll, valueAndGrad, vectorField, vjp } from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { EXACT, refusal } from "./helpers.js";

const folder = new URL("../golden-models/", import.meta.url);

interface Case {
  name: string;
  equations: string;
  states: string[];
  parameters: Record<string, number>;
  arguments: Record<string, number[]>;
  method: "dopri5" | "rk4" | "tsit5" | "dopri8";
  steps: number | null;
  rtol: number | null;
  atol: number | null;
  t?: number[];
  times?: number[][];
  y0: number[][];
  jumps?: { times: number[] | number[][]; set: string };
  events?: {
    when: string;
    direction: "rising" | "falling" | "both";
    set?: string;
    terminal: boolean;
    expected: number[][];
    eventCotangent: number[][];
  };
  cotangent: number[][][];
  y: number[][][];
  gradY0: number[][];
  gradParameters: Record<string, number>;
  gradArguments: Record<string, number[]>;
  tolerance: number;
}

const cases = readdirSync(folder)
  .filter((name) => /^(adaptive|jumps|event)-.*\.json$/.test(name))
  .map((name): Case => JSON.parse(readFileSync(new URL(name, folder), "utf8")));

/** Relative l2 error. */
function error(ours: ArrayLike<number>, theirs: ArrayLike<number>): number {
  expect(ours.length).toBe(theirs.length);
  let [difference, size] = [0, 0];
  for (let i = 0; i < ours.length; i++) {
    difference += ((ours[i] as number) - (theirs[i] as number)) ** 2;
    size += (theirs[i] as number) ** 2;
  }
  return Math.sqrt(difference) / (size > 0 ? Math.sqrt(size) : 1);
}

/** A trajectory's rows in those of all: `[times, batch, state]`. */
const place = (batch: number, state: number) => (output: number, trajectory: number) =>
  (output * batch + trajectory) * state;

describe("golden cases", () => {
  test("there are some", () => expect(cases.length).toBeGreaterThanOrEqual(12));

  for (const one of cases) {
    test.each(EXACT)(`${one.name}, %s`, (gradient) => {
      const args = one.arguments;
      const field = equations(one.equations, {
        parameters: one.parameters,
        arguments: Object.keys(args),
        state: one.states,
        dtype: "float64",
      });
      const [batch, state] = [one.y0.length, one.states.length];
      const solved = vjp(field, Float64Array.from(one.y0.flat()), one.times ?? (one.t as number[]), {
        batching: "independent",
        method: one.method,
        ...(one.steps === null
          ? { rtol: one.rtol as number, atol: one.atol as number, output: "land" as const }
          : { steps: one.steps }),
        ...(Object.keys(args).length > 0 && { arguments: args }),
        ...(one.jumps && { jumps: [one.jumps] }),
        ...(one.events && {
          events: [
            {
              when: one.events.when,
              direction: one.events.direction,
              terminal: one.events.terminal,
              ...(one.events.set !== undefined && { set: one.events.set }),
            },
          ],
        }),
        gradient,
      });
      const { solution, pullback } = solved;
      const at = place(batch, state);
      const w = new Float64Array(solution.y.length);
      const [ours, theirs]: [number[], number[]] = [[], []];
      for (let i = 0; i < batch; i++) {
        const count = one.times?.[i]?.length ?? (one.t as number[]).length;
        for (let k = 0; k < count; k++) {
          const [y, cotangent] = one.times
            ? [one.y[i]?.[k] as number[], one.cotangent[i]?.[k] as number[]]
            : [one.y[k]?.[i] as number[], one.cotangent[k]?.[i] as number[]];
          w.set(cotangent, at(k, i));
          ours.push(...solution.y.subarray(at(k, i), at(k, i) + state));
          theirs.push(...y);
        }
      }
      expect(error(ours, theirs)).toBeLessThan(one.tolerance);
      const events = one.events;
      if (events) expect(error(solution.events.t, events.expected.flat())).toBeLessThan(one.tolerance);
      const pulled = pullback(w, events && { times: events.eventCotangent.flat() });
      expect(error(pulled.y0, one.gradY0.flat())).toBeLessThan(one.tolerance);
      for (const [name, expected] of Object.entries(one.gradParameters)) {
        const offset = field.entries[name]?.offset as number;
        expect(error([pulled.parameters[offset] as number], [expected])).toBeLessThan(one.tolerance);
      }
      for (const [name, expected] of Object.entries(one.gradArguments)) {
        expect(error(pulled.arguments[name] as Float64Array, expected)).toBeLessThan(one.tolerance);
      }
      solved.dispose();
      field.dispose();
    });
  }
});

const prey = (dtype: "float32" | "float64" = "float64") =>
  vectorField({
    state: ["hare", "lynx"],
    parameters: { birth: 0.5, hunt: 0.25, death: 0.8 },
    arguments: { feed: "scalar" },
    slope: ({ state: [hare, lynx], parameters: { birth, hunt, death }, arguments: { feed } }) => [
      hare.mul(birth.sub(lynx.mul(hunt))),
      lynx.mul(hare.mul(feed).sub(death)),
    ],
    dtype,
  });

const ball = () =>
  equations("height' = velocity\nvelocity' = -g", { parameters: { g: 9.81, bounce: 0.7 }, dtype: "float64" });

/** The refusal of a call. */
test("each trajectory is what it is alone, in whatever company", () => {
  for (const dtype of ["float64", "float32"] as const) {
    const field = prey(dtype);
    const array = (values: number[]) => (dtype === "float64" ? Float64Array : Float32Array).from(values);
    const batch = 37;
    const y0 = array(Array.from({ length: 2 * batch }, (_, i) => 1 + Math.sin(i) ** 2));
    const feed = array(Array.from({ length: batch }, (_, i) => 0.2 + 0.1 * Math.cos(i)));
    const times = [0, 1, 2.5, 7];
    const all = odeint(field, y0 as never, times, { batching: "independent", arguments: { feed } });
    for (const i of [0, 1, 17, 36]) {
      const own = { arguments: { feed: feed.subarray(i, i + 1) } };
      const start = y0.slice(2 * i, 2 * i + 2) as never;
      const alone = odeint(field, start, times, { batching: "independent", ...own });
      const together = odeint(field, start, times, own);
      const rows = times.flatMap((_, k) => [...all.y.subarray((k * batch + i) * 2, (k * batch + i + 1) * 2)]);
      expect(rows).toEqual([...alone.y]);
      expect(rows).toEqual([...together.y]);
      expect(all.trajectories.accepted[i]).toBe(together.stats.accepted);
    }
    field.dispose();
  }
});

test("times of their own come back padded, with a mask", () => {
  const field = prey();
  const times = [[0, 1], [0, 0.5, 2, 4], [1]];
  const y0 = Float64Array.of(1, 1, 2, 1, 3, 0.5);
  const options = { arguments: { feed: [0.2, 0.3, 0.4] } };
  const solved = vjp(field, y0, times, options);
  const { y, shape, mask } = solved.solution;
  expect(shape).toEqual([4, 3, 2]);
  expect([...(mask as Uint8Array)]).toEqual([1, 1, 1, 1, 1, 0, 0, 1, 0, 0, 1, 0]);
  const alone = odeint(field, y0.slice(2, 4), [0, 0.5, 2, 4], { arguments: { feed: [0.3] } });
  for (let k = 0; k < 4; k++)
    expect([...y.subarray(k * 6 + 2, k * 6 + 4)]).toEqual([...alone.y.subarray(2 * k, 2 * k + 2)]);
  // Behind its last time a trajectory stays.
  expect([...y.subarray(18, 20)]).toEqual([...y.subarray(6, 8)]);
  const w = new Float64Array(24);
  for (const [row, own] of (mask as Uint8Array).entries()) if (own) w.fill(1, 2 * row, 2 * row + 2);
  const gradient = solved.pullback(w);
  expect(gradient.times).toHaveLength(12);
  expect(gradient.y0.subarray(4)).toEqual(Float64Array.of(1, 1));
  w[22] = 1;
  expect(refusal(() => solved.pullback(w))).toMatchObject({ code: "OPTION", argument: "cotangent" });
  solved.dispose();
  field.dispose();
});

test("a loss may depend on events", () => {
  const field = ball();
  const [g, e, h0] = [9.81, 0.7, 2];
  const first = Math.sqrt((2 * h0) / g);
  const events = [{ when: "height", direction: "falling" as const, set: "velocity = -bounce * velocity" }];
  const { value, gradient, solution } = valueAndGrad(
    field,
    Float64Array.of(h0, 0),
    [0, 2],
    (y, _, { events }) => ({
      value: events.t[1] as number,
      cotangent: new Float64Array(y.length),
      events: { times: Array.from(events.t, (_, i) => (i === 1 ? 1 : 0)) },
    }),
    { events },
  );
  expect(value).toBeCloseTo(first * (1 + 2 * e), 13);
  expect(gradient.y0[0]).toBeCloseTo((first * (1 + 2 * e)) / (2 * h0), 12);
  expect(gradient.parameters[0]).toBeCloseTo((-first * (1 + 2 * e)) / (2 * g), 12);
  expect(gradient.parameters[1]).toBeCloseTo(2 * first, 12);
  expect([...solution.events.event]).toEqual([0, 0]);
  expect(solution.events.y[1]).toBeCloseTo(-g * first, 12);
  field.dispose();
});

test("functions and text mean the same", () => {
  const field = ball();
  const options = { saveSteps: true as const, steps: 7 };
  const y0 = Float64Array.of(2, 0.3, 1, 0);
  const text = odeint(field, y0, [0, 1, 2], {
    ...options,
    events: [{ when: "height", direction: "falling", set: "velocity = -bounce * velocity" }],
    jumps: [{ times: [0.3], set: "velocity = velocity + kick", amounts: { kick: [0.5] } }],
  });
  const traced = odeint(field, y0, [0, 1, 2], {
    ...options,
    events: [
      {
        when: ({ state: [height] }) => height as never,
        direction: "falling",
        set: ({ states: { height, velocity }, parameters }) => [height, parameters.bounce.mul(velocity).neg()],
      },
    ],
    jumps: [
      {
        times: [0.3],
        // What it leaves out stays as it is.
        set: ({ states, amounts }) => ({ velocity: states.velocity?.add(amounts.kick as never) as never }),
        amounts: { kick: [0.5] },
      },
    ],
  });
  expect(traced.y).toEqual(text.y);
  expect(traced.events).toEqual(text.events);
  expect(traced.steps(1)).toEqual(text.steps(1));
  field.dispose();
});

test("dense solutions and steps", () => {
  const field = ball();
  const solution = odeint(field, Float64Array.of(2, 0), [0, 1.5], {
    dense: true,
    saveSteps: true,
    events: [{ when: "height", direction: "falling", set: "velocity = -bounce * velocity" }],
    jumps: [{ times: [0.25], set: "height = height + 0.5" }],
  });
  const { t, y } = solution.steps(0);
  for (const [n, time] of t.entries()) {
    const again = t[n + 1] === time;
    if (!again) expect([...solution.at(time, 0)]).toEqual([...y.subarray(2 * n, 2 * n + 2)]);
  }
  // The flight of a ball is a polynomial.
  expect(solution.at(0.2)[0]).toBeCloseTo(2 - (9.81 * 0.04) / 2, 13);
  expect(solution.derivative(0.2)[1]).toBeCloseTo(-9.81, 12);
  expect(solution.at(0.25)[0]).toBeCloseTo(2.5 - (9.81 * 0.0625) / 2, 13);
  expect(refusal(() => solution.at(2))).toMatchObject({ code: "OPTION", argument: "t" });
  expect(refusal(() => solution.at(1, 1))).toMatchObject({ code: "OPTION", argument: "trajectory" });
  const plain = odeint(field, Float64Array.of(2, 0), [0, 1], { batching: "independent" });
  expect(refusal(() => plain.at(0.5))).toMatchObject({ code: "OPTION", argument: "dense" });
  expect(refusal(() => plain.steps(0))).toMatchObject({ code: "OPTION", argument: "saveSteps" });
  field.dispose();
});

test("a solution can be posted: its numbers are cloned, its functions left out", () => {
  const field = equations("x' = -x", { dtype: "float64" });
  const [y0, times] = [Float64Array.of(1, 2), [0, 1, 2]];
  const events = [{ when: "x - 0.5", set: "x = 1" }];
  for (const options of [{}, { dense: true, saveSteps: true }, { events, onFailure: "mask" }] as const) {
    const solution = odeint(field, y0, times, { batching: "independent", ...options });
    const copy = structuredClone(solution);
    expect(copy).toEqual(solution);
    expect(copy).not.toHaveProperty("at");
    expect(solution.at).toBeTypeOf("function");
  }
});

test("a trajectory that fails names itself, or leaves the others as they are", () => {
  const field = equations("x' = x^2", { dtype: "float64" });
  const y0 = Float64Array.of(0.1, 0.5, 2, 0.3, 4);
  const error = refusal(() => odeint(field, y0, [0, 1], { batching: "independent" }));
  expect(error).toMatchObject({ trajectory: 2 });
  const masked = odeint(field, y0, [0, 1], { batching: "independent", onFailure: "mask" });
  expect(masked.failures.map(({ trajectory }) => trajectory)).toEqual([2, 4]);
  expect([...masked.trajectories.reached]).toEqual([2, 2, 1, 2, 1]);
  for (const i of [0, 1, 3]) {
    expect(masked.y[5 + i]).toBe(odeint(field, y0.slice(i, i + 1), [0, 1]).y[1]);
  }
  expect(masked.y[7]).toBeNaN();
  const solved = vjp(field, y0, [0, 1], { batching: "independent", onFailure: "mask" });
  expect(refusal(() => solved.pullback(new Float64Array(10).fill(1)))).toMatchObject({ argument: "cotangent" });
  const gradient = solved.pullback(Float64Array.of(0, 0, 0, 0, 0, 1, 1, 0, 1, 0));
  expect(gradient.y0[2]).toBe(0);
  solved.dispose();
  field.dispose();
});

test("events have defined ends", () => {
  const field = ball();
  const bouncing = [{ when: "height", direction: "falling" as const, set: "velocity = -bounce * velocity" }];
  // Bounces follow each other faster and faster.
  const chattering = refusal(() => odeint(field, Float64Array.of(1, 0), [0, 10], { events: bouncing, maxEvents: 50 }));
  expect(chattering).toMatchObject({ code: "MAX_EVENTS" });
  // A zero at the beginning is no event.
  const from = odeint(field, Float64Array.of(0, 1), [0, 0.1], { events: [{ when: "height" }] });
  expect(from.events.t).toHaveLength(0);
  // After a terminal event the state stays.
  const ended = odeint(field, Float64Array.of(1, 0), [0, 1, 2], { events: [{ when: "height", terminal: true }] });
  expect([...ended.y.subarray(2, 4)]).toEqual([...ended.y.subarray(4, 6)]);
  expect(ended.events.t[0]).toBeCloseTo(Math.sqrt(2 / 9.81), 13);
  const second = odeint(field, Float64Array.of(1, 0), [0, 2], {
    events: [{ ...bouncing[0], when: "height", terminal: 2 }],
  });
  expect(second.events.t).toHaveLength(2);
  field.dispose();
});

test("what is wrong is refused, and says where", () => {
  const field = ball();
  const y0 = Float64Array.of(1, 0, 2, 0);
  const cases: [object, string][] = [
    [{ jumps: [{ times: [0.5] }] }, "jumps[0].set"],
    [{ jumps: [{ times: [-1], set: "height = 1" }] }, "jumps[0].times"],
    [{ jumps: [{ times: [0.5, 0.2], set: "height = 1" }] }, "jumps[0].times"],
    [{ jumps: [{ times: [[0.5]], set: "height = 1" }] }, "jumps[0].times"],
    [{ jumps: [{ times: [0.5], set: "width = 1" }] }, "jumps[0].set"],
    [{ jumps: [{ times: [0.5], set: "height = a" }] }, "jumps[0].set"],
    [{ jumps: [{ times: [0.5], set: "height = a", amounts: { a: [1, 2] } }] }, "jumps[0].amounts.a"],
    [{ jumps: [{ times: [0.5], set: () => [1] }] }, "jumps[0].set's result"],
    [{ events: [{ when: "height +" }] }, "events[0].when"],
    [{ events: [{ when: "height", direction: "up" }] }, "events[0].direction"],
    [{ events: [{ when: "height", terminal: 0 }] }, "events[0].terminal"],
    [{ events: [{ when: () => [1, 2] }] }, "events[0].when's result"],
    [{ events: [{}] }, "events[0].when"],
    [{ events: [{ when: "height" }], batching: "together" }, "batching"],
    [{ events: [{ when: "height" }], gradient: "adjoint" }, "gradient"],
    [{ jumps: [{ times: [0.5], set: "height = 1" }], gradient: "adjoint" }, "gradient"],
    [{ maxEvents: 0 }, "maxEvents"],
    [{ rtol: [1e-3, 1e-3, 1e-3] }, "rtol"],
    [{ atol: [1e-3, -1] }, "atol[1]"],
    [{ method: { c: [0], a: [[]], b: [2], order: 1 } }, "method"],
    [{ method: { c: [0, 1], a: [[], [1]], b: [1], order: 1 } }, "method"],
    [{ controller: { q: 1 } }, "controller.q"],
  ];
  for (const [options, argument] of cases) {
    const error = refusal(() => vjp(field, y0, [0, 1], options as object));
    expect(error.argument, JSON.stringify(options)).toBe(argument);
  }
  field.dispose();
});

test("a tableau is the method that has it, and controllers differ", () => {
  const field = prey();
  const y0 = Float64Array.of(1, 1);
  const args = { arguments: { feed: [0.3] } };
  const bosh3 = {
    c: [0, 1 / 2, 3 / 4, 1],
    a: [[], [1 / 2], [0, 3 / 4], [2 / 9, 1 / 3, 4 / 9]],
    b: [2 / 9, 1 / 3, 4 / 9, 0],
    bHat: [7 / 24, 1 / 4, 1 / 3, 1 / 8],
    order: 3,
  };
  for (const own of [{ output: "land" as const }, { steps: 5 }]) {
    const named = odeint(field, y0, [0, 2, 5], { method: "bosh3", ...own, ...args });
    const given = odeint(field, y0, [0, 2, 5], { method: bosh3, ...own, ...args });
    expect(given.y).toEqual(named.y);
  }
  const exact = odeint(field, y0, [0, 20], { rtol: 1e-12, atol: 1e-12, ...args }).y;
  const counts = (["standard", "torchdiffeq", "pi", "pid"] as const).map((controller) => {
    const { y, stats } = odeint(field, y0, [0, 20], { controller, rtol: 1e-7, atol: 1e-9, ...args });
    expect(error(y, exact)).toBeLessThan(1e-4);
    return stats.accepted;
  });
  expect(new Set(counts).size).toBeGreaterThan(2);
  // The coefficients of pi.
  const pi = odeint(field, y0, [0, 20], { controller: "pi", ...args });
  expect(odeint(field, y0, [0, 20], { controller: { p: 0.2, i: 0.65 }, ...args }).y).toEqual(pi.y);
  // Equal tolerances of each feature are one for all.
  const one = odeint(field, y0, [0, 20], { rtol: 1e-5, atol: 1e-6, ...args });
  expect(odeint(field, y0, [0, 20], { rtol: [1e-5, 1e-5], atol: [1e-6, 1e-6], ...args }).y).toEqual(one.y);
  const loose = odeint(field, y0, [0, 20], { rtol: [1e-2, 1e-5], atol: [1e3, 1e-6], ...args });
  expect(loose.stats.accepted).toBeLessThan(one.stats.accepted);
  field.dispose();
});

test("simultaneous events all act, in their order", () => {
  const line = equations("x' = 1\nz' = 0", { dtype: "float64" });
  for (let i = 0; i < 200; i++) {
    const zero = 0.1 + 0.8 * ((i * 0.6180339887) % 1);
    const events = [1, 10].map((size) => ({ when: `x - ${zero}`, set: `z = z + ${size}` }));
    const { y, events: happened } = odeint(line, Float64Array.of(0, 0), [0, 1], { events });
    expect(y[3], String(zero)).toBe(11);
    expect(happened.t[0]).toBe(happened.t[1]);
    // A jump at the time of an event takes nothing away.
    const both = odeint(line, Float64Array.of(0, 0), [0, 1], {
      events: [{ when: `x - ${zero}`, set: "z = z + 1" }],
      jumps: [{ times: [zero], set: "z = z + 10" }],
    });
    expect(both.y[3], String(zero)).toBe(11);
  }
  line.dispose();
});

test("events without end are an error, and never a ball beneath the floor", () => {
  const field = ball();
  for (const dtype of ["float64", "float32"] as const) {
    const own = dtype === "float64" ? field : equations("height' = velocity\nvelocity' = -9.81", { dtype });
    for (const method of ["dopri5", "rk4", "bosh3", "dopri8"] as const) {
      for (const set of ["velocity = -0.5 * velocity", "velocity = -0.1 * velocity", "velocity = 0 * velocity"]) {
        const y0 = (dtype === "float64" ? Float64Array : Float32Array).of(1, 0) as never;
        const options = { method, events: [{ when: "height", direction: "falling" as const, set }], steps: 20 };
        const { steps: _, ...adaptive } = options;
        const error = refusal(() => odeint(own, y0, [0, 10], method === "rk4" ? options : adaptive));
        expect(error.code, `${dtype} ${method} ${set}`).toBe("MAX_EVENTS");
      }
    }
    if (own !== field) own.dispose();
  }
  field.dispose();
});

test("events are seen however late it is", () => {
  const field = equations("x' = v\nv' = 0");
  const walls = [
    { when: "x", direction: "falling" as const, set: "v = -v" },
    { when: "x - 1", direction: "rising" as const, set: "v = -v" },
  ];
  for (const start of [0, 1e4, 1e5]) {
    const { events, y } = odeint(field, Float32Array.of(0.5, 1), [start, start + 10], { events: walls });
    expect(events.t).toHaveLength(10);
    expect(y[2]).toBeCloseTo(0.5, 4);
  }
  field.dispose();
  const falling = equations("y' = -1");
  const jumped = odeint(falling, Float32Array.of(5), [100, 101, 102], {
    events: [{ when: "y", direction: "falling" }],
    jumps: [{ times: [101], set: "y = 0.01" }],
  });
  expect([...jumped.events.t].map((t) => t.toFixed(3))).toEqual(["101.010"]);
  falling.dispose();
  // A ball that starts on the floor comes back to it.
  const thrown = ball();
  const from = { method: "rk4" as const, steps: 1, events: [{ when: "height", terminal: true }] };
  expect(odeint(thrown, Float64Array.of(0, 1), [0, 0.3], from).events.t[0]).toBeCloseTo(2 / 9.81, 12);
  thrown.dispose();
});

test("a trajectory that fails at once leaves the others as they are", () => {
  const field = equations("x' = log(u)*x + sin(3*u*t) - k*x^3", {
    parameters: { k: 0.3 },
    arguments: ["u"],
    dtype: "float64",
  });
  const both = odeint(field, Float64Array.of(1, 1.1), [0, 1, 2], { arguments: { u: [-1, 3.5] }, onFailure: "mask" });
  const alone = odeint(field, Float64Array.of(1.1), [0, 1, 2], { arguments: { u: [3.5] } });
  expect([both.y[1], both.y[3], both.y[5]]).toEqual([...alone.y]);
  expect(both.failures).toHaveLength(1);
  expect(both.failures[0]?.error).toMatchObject({ code: "NON_FINITE", trajectory: 0 });
  field.dispose();
  const decay = equations("x' = -x", { dtype: "float64" });
  const rooted = odeint(decay, Float64Array.of(-1.5, 0.5), [0, 1], {
    jumps: [{ times: [0], set: "x = sqrt(x)" }],
    onFailure: "mask",
  });
  expect(rooted.failures.map(({ trajectory }) => trajectory)).toEqual([0]);
  decay.dispose();
  const pole = equations("x' = x*x", { dtype: "float64" });
  const dense = odeint(pole, Float64Array.of(1, 0.1), [0, 0.5, 2], { dense: true, onFailure: "mask" });
  expect(refusal(() => dense.at(2))).toMatchObject({ code: "OPTION", argument: "t" });
  expect(dense.at(2, 1)[0]).toBeCloseTo(1 / 8, 5);
  pole.dispose();
});

test("the time of a repeated first output has its derivative", () => {
  const field = equations("x' = v\nv' = -x + 0.1*x*x", { dtype: "float64" });
  const options = { method: "euler" as const, stepSize: 0.26, output: "interpolate" as const };
  const times = [0, 0, 0.55, 1.03];
  const gradients = (["together", "independent"] as const).map((batching) => {
    const solved = vjp(field, Float64Array.of(1, 0.3), times, { ...options, batching });
    const { times: own } = solved.pullback(Float64Array.from(solved.solution.y, (_, i) => Math.cos(1 + i * 1.7)));
    solved.dispose();
    return own as Float64Array;
  });
  expect(error(gradients[1] as Float64Array, gradients[0] as Float64Array)).toBeLessThan(1e-13);
  field.dispose();
});

test("a budget holds, or says what it should be", () => {
  const field = prey();
  const batch = 300;
  const y0 = Float64Array.from({ length: 2 * batch }, (_, i) => 1 + Math.sin(i) ** 2);
  const options = { batching: "independent" as const, arguments: { feed: new Float64Array(batch).fill(0.3) } };
  const w = new Float64Array(4 * batch).fill(1);
  const free = vjp(field, y0, [0, 20], options);
  const expected = free.pullback(w);
  free.dispose();
  const { code, ...least } = refusal(() => vjp(field, y0, [0, 20], { ...options, memoryBudget: 1000 }));
  expect(code).toBe("OPTION");
  const { bytes } = least as unknown as { bytes: number };
  expect(bytes).toBeLessThan(expected.stats.peakBytes.total);
  const tight = vjp(field, y0, [0, 20], { ...options, memoryBudget: bytes });
  const gradient = tight.pullback(w);
  expect(gradient.parameters).toEqual(expected.parameters);
  expect(gradient.y0).toEqual(expected.y0);
  expect(gradient.stats.peakBytes.total).toBeLessThanOrEqual(bytes * 1.05);
  tight.dispose();
  field.dispose();
});

test("programs of many rows are what they are alone", () => {
  const field = vectorField({
    state: 40,
    dtype: "float64",
    parameters: { forcing: 8 },
    slope: ({ state: x, parameters: { forcing } }) => roll(x, -1).sub(roll(x, 2)).mul(roll(x, 1)).sub(x).add(forcing),
  });
  const batch = 100;
  const y0 = Float64Array.from({ length: 40 * batch }, (_, i) => 8 + Math.sin(i));
  const own = { batching: "independent" as const };
  const { solution, pullback } = vjp(field, y0, [0, 0.2], own);
  const { y0: gradient } = pullback(solution.y);
  expect(solution.y).toEqual(odeint(field, y0, [0, 0.2], own).y);
  for (const i of [0, 1, 64, 99]) {
    const alone = vjp(field, y0.slice(40 * i, 40 * (i + 1)), [0, 0.2]);
    expect(solution.y.slice(40 * (batch + i), 40 * (batch + i + 1))).toEqual(alone.solution.y.slice(40));
    expect(gradient.slice(40 * i, 40 * (i + 1))).toEqual(alone.pullback(alone.solution.y).y0);
    alone.pullback.dispose();
  }
  pullback.dispose();
  field.dispose();
});

test("a grid may be one trajectory", () => {
  const field = hamiltonian({
    energy: { widths: [3, 8, 1], dtype: "float64" },
    structure: "dx",
    points: 16,
    spacing: 0.5,
  });
  const y0 = Float64Array.from({ length: 16 }, (_, i) => Math.sin(i));
  expect(odeint(field, y0, [0, 1], { batching: "independent" }).y).toEqual(odeint(field, y0, [0, 1]).y);
  field.dispose();
});
