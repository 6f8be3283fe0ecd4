// Fits whose solves a pool does, and fits of residuals that come later.
import {
  equations,
  jvp,
  leastSquares,
  nn,
  odeint,
  type Pool,
  parallel,
  type SymplecticAdjointError,
  vectorField,
} from "symplectic-adjoint";
import { afterAll, beforeAll, expect, test } from "vitest";
import { normals } from "../../ts/trace/random.js";

let pool: Pool;
beforeAll(async () => {
  pool = await parallel({ workers: 3 });
});
afterAll(() => pool.close());

const bits = (numbers: ArrayLike<number>) => Array.from(new BigUint64Array(Float64Array.from(numbers).buffer));
/** Times for all, or of each. */
type Times = number[] & number[][];

const text = "x' = a * x - b * x * y\ny' = k * x * y - y";

/** Trajectories of a model with two shared parameters and one of each trajectory, with times of their own. */
function made(count: number) {
  const field = equations(text, { parameters: { a: 0.9, b: 0.6 }, arguments: ["k"], dtype: "float64" });
  const scatter = normals(5);
  const data = Array.from({ length: count }, (_, i) => {
    const times = Float64Array.from({ length: 4 + (i % 3) }, (_, j) => 0.6 * (j + 1));
    const y0 = [1 + 0.01 * i, 0.5];
    const k = 0.4 + 0.02 * (i % 7);
    const { y } = odeint(field, Float64Array.from(y0), [0, ...times], { rtol: 1e-10, arguments: { k: [k] } });
    return { t0: 0, times, y: y.slice(2).map((value) => value + 0.01 * scatter()), y0, arguments: { k } };
  });
  return { field, data };
}

test.each([
  ["one for all", 40, {}],
  ["of each trajectory", 5, { individual: { k: { transform: "log" } }, initial: { y: true } }],
  ["with proportional errors", 40, { error: "proportional" }],
  ["with doses", 40, { jumps: [{ times: [1.1], amounts: { d: [0.2] }, set: "x = x + d" }] }],
  [
    "from several starts, with priors",
    12,
    { starts: 3, parameters: { a: { start: 0.9, prior: { mean: 1, sd: 0.5 } } } },
  ],
] as const)("a fit in a pool has the bits of one without: estimates %s", async (_, count, more) => {
  const { field, data } = made(count);
  const given = { data, batching: "independent", updateField: false, ...(more as object) } as const;
  const alone = leastSquares({ field, ...given });
  const shared = await leastSquares({ field, ...given, pool });
  expect(bits(shared.values)).toEqual(bits(alone.values));
  expect(bits(shared.covariance)).toEqual(bits(alone.covariance));
  expect(shared.warnings).toEqual(alone.warnings);
  expect(shared.measurements).toEqual(alone.measurements);
  expect(shared.curves({ points: 5 })).toEqual(alone.curves({ points: 5 }));
});

test("profiles in a pool run one after the other, and are those without", async () => {
  const { field, data } = made(6);
  const given = { data, batching: "independent", updateField: false } as const;
  const alone = leastSquares({ field, ...given });
  const shared = await leastSquares({ field, ...given, pool });
  const profiles = await Promise.all([shared.profile("a"), shared.profile("b")]);
  expect(profiles).toEqual([alone.profile("a"), alone.profile("b")]);
  await expect(shared.profile("c" as never)).rejects.toMatchObject({ code: "OPTION", argument: "name" });
});

test("the field gets the estimates when the fit has ended, and nothing else changes it", async () => {
  const { field, data } = made(10);
  const before = field.parameters.slice();
  const fitting = leastSquares({ field, data, pool });
  expect(field.parameters).toEqual(before);
  const { values, converged } = await fitting;
  expect(converged).toBe(true);
  expect(field.parameters).toEqual(values);
});

test("what goes wrong rejects the promise", async () => {
  const { field, data } = made(3);
  const refused = (more: object) => expect(leastSquares({ field, data, pool, ...more }) as Promise<unknown>).rejects;
  await refused({ batching: "together" }).toMatchObject({ code: "OPTION", argument: "batching" });
  await refused({ maxSteps: 2 }).toMatchObject({ code: "MAX_STEPS", argument: "parameters" });
  await refused({ data: [] }).toMatchObject({ code: "OPTION", argument: "data" });
  const controller = new AbortController();
  const reason = new Error("enough");
  const onIteration = () => controller.abort(reason);
  await refused({ onIteration, signal: controller.signal }).toBe(reason);
  await expect(leastSquares({ field, data, pool: {} as never })).rejects.toMatchObject({ argument: "pool" });

  const closed = await parallel({ workers: 1 });
  const fitting = leastSquares({ field, data, pool: closed });
  closed.close();
  await expect(fitting).rejects.toMatchObject({ code: "DISPOSED" });
});

test("what needs the transpose is solved here", async () => {
  const net = nn.sequential(nn.linear(1, 8), nn.tanh, nn.linear(8, 1));
  const field = vectorField({
    state: 1,
    parameters: { net },
    dtype: "float64",
    slope: ({ state, parameters }) => parameters.net(state),
  });
  const given = {
    field,
    data: { t0: 0, times: [1, 2], y: [0.7, 0.4], y0: [1] },
    maxIterations: 3,
    updateField: false,
  } as const;
  const shared = await leastSquares({ ...given, pool });
  expect(bits(shared.values)).toEqual(bits(leastSquares({ ...given, batching: "independent" }).values));
});

test("derivatives along directions in a pool have the bits of those without", async () => {
  const { field } = made(0);
  const batch = 70;
  const y0 = Float64Array.from({ length: 2 * batch }, (_, i) => 1 + 0.01 * i);
  const args = Float64Array.from({ length: batch }, (_, i) => 0.3 + 0.01 * i);
  const noise = normals(8);
  const some = (length: number) => Float64Array.from({ length }, noise);
  const tangents = { directions: 3, y0: some(6 * batch), parameters: some(6), arguments: { k: some(3 * batch) } };
  const events = [{ when: "x - 1.5", set: "x = 0.9 * x" }];
  for (const [times, more] of [
    [[0, 0.5, 1], { batching: "independent" }],
    [[0, 0.5, 1], { method: "rk4", steps: 8 }],
    [[0, 1], { batching: "independent", events }],
    [Array.from({ length: batch }, (_, i) => [0, 0.5 + 0.01 * i, ...(i % 2 ? [1.5] : [])]), {}],
  ] as const) {
    const options = { arguments: { k: args }, ...more };
    const alone = jvp(field, y0, times as unknown as Times, tangents, options);
    const shared = await pool.jvp(field, y0, times as unknown as Times, tangents, options);
    expect(shared.shape).toEqual(alone.shape);
    expect(bits(shared.solution.y)).toEqual(bits(alone.solution.y));
    expect(bits(shared.tangents)).toEqual(bits(alone.tangents));
    if ("events" in alone) expect(shared.events).toEqual(alone.events);
    expect(shared.solution.stats.workers).toBe(3);
  }
  const rates = Float64Array.from({ length: 3 * 2 }, (_, i) => i);
  const moved = { ...tangents, times: rates };
  const options = { arguments: { k: args }, batching: "independent" } as const;
  const ends = await pool.jvp(field, y0, [0, 1], moved, options);
  expect(bits(ends.tangents)).toEqual(bits(jvp(field, y0, [0, 1], moved, options).tangents));

  await expect(pool.jvp(field, y0, [0, 1], tangents, { arguments: { k: args } })).rejects.toMatchObject({
    code: "OPTION",
    argument: "batching",
  });
  await expect(pool.jvp(field, y0, [0, 1], { y0: [1] as never }, options)).rejects.toMatchObject({ code: "DTYPE" });
  // Errors count trajectories, and numbers, as the whole batch does.
  const nan = y0.slice();
  nan[133] = Number.NaN;
  await expect(pool.jvp(field, nan, [0, 1], tangents, options)).rejects.toThrow(/^y0: .* at index 133/);
  const still = { ...tangents, parameters: tangents.parameters.slice() };
  still.parameters[5] = Number.NaN;
  await expect(pool.jvp(field, y0, [0, 1], still, options)).rejects.toThrow(/^tangents.parameters: .* at index 5/);
  const blown = y0.slice();
  blown[2 * 66] = 1e300;
  await expect(pool.jvp(field, blown, [0, 1], tangents, options)).rejects.toMatchObject({ trajectory: 66 });
});

test("an event that only touches zero is told with the number of its trajectory", async () => {
  const field = equations("x' = v\nv' = -1 + 0 * a", { parameters: { a: 1 }, dtype: "float64" });
  const y0 = Float64Array.from({ length: 100 }, (_, i) => (i % 2 ? 1 : i === 80 ? -0.5 : -0.6 - 0.01 * i));
  const options = { batching: "independent", events: [{ when: "x", set: "v = v" }] } as const;
  // On some engines rounding leaves it two events within the resolution of the time instead.
  let local: unknown;
  try {
    jvp(field, y0, [0, 2], {}, options);
  } catch (error) {
    local = error;
  }
  expect(local).toMatchObject({ code: expect.stringMatching(/EVENT_GRAZING|MAX_EVENTS/), trajectory: 40 });
  const { code, message } = local as SymplecticAdjointError;
  await expect(pool.jvp(field, y0, [0, 2], {}, options)).rejects.toMatchObject({ code, message, trajectory: 40 });
});

test("a signal ends a fit that waits, with its reason", async () => {
  const parameters = { a: 1, k: 1 };
  const never = new Promise<number[]>(() => {});
  const ending = new AbortController();
  const waiting = leastSquares({ parameters, residuals: () => never, signal: ending.signal });
  const reason = new Error("enough");
  ending.abort(reason);
  await expect(waiting).rejects.toBe(reason);

  // Between differences, and before what the residuals throw.
  const [within, late] = [new AbortController(), new AbortController()];
  let calls = 0;
  const counted = async (now: Estimates) => {
    if (++calls === 3) within.abort(reason);
    return decay(now);
  };
  await expect(leastSquares({ parameters, residuals: counted, signal: within.signal })).rejects.toBe(reason);
  expect(calls).toBe(3);
  const failing = async () => {
    late.abort(reason);
    throw new Error("aborted by itself");
  };
  await expect(leastSquares({ parameters, residuals: failing, signal: late.signal })).rejects.toBe(reason);

  const { field, data } = made(8);
  const before = field.parameters.slice();
  const controller = new AbortController();
  const fitting = leastSquares({ field, data, pool, signal: controller.signal });
  controller.abort(reason);
  await expect(fitting).rejects.toBe(reason);
  expect(field.parameters).toEqual(before);
});

test("a profile within the residuals of a profile", async () => {
  const parameters = { a: 1, k: 1 };
  let within: Promise<unknown> | undefined;
  let fit: Awaited<ReturnType<typeof once>> | undefined;
  const once = () =>
    leastSquares({
      parameters,
      residuals: async (now: Estimates) => {
        if (fit && !within) {
          within = Promise.resolve();
          within = fit.profile("a");
          await within;
        }
        return decay(now);
      },
    });
  fit = await once();
  await expect(fit.profile("k")).resolves.toMatchObject({ name: "k" });
  await expect(within).resolves.toMatchObject({ name: "a" });
});

const times = [0.5, 1, 1.5, 2, 3];
const measured = [1.6, 1.22, 0.98, 0.73, 0.46];
type Estimates = Readonly<Record<"a" | "k", number>>;
const decay = ({ a, k }: Estimates) => times.map((t, i) => a * Math.exp(-k * t) - (measured[i] as number));
const slopes = ({ a, k }: Estimates) => times.flatMap((t) => [Math.exp(-k * t), -a * t * Math.exp(-k * t)]);

test("residuals that come later, with and without a Jacobian", async () => {
  const parameters = { a: 1, k: 1 };
  const alone = leastSquares({ parameters, residuals: decay });
  const later = await leastSquares({ parameters, residuals: async (now: Estimates) => decay(now) });
  expect(bits(later.values)).toEqual(bits(alone.values));
  expect(await later.profile("k")).toEqual(alone.profile("k"));
  const own = leastSquares({
    parameters,
    residuals: (now) => ({ residuals: decay(now), jacobian: () => slopes(now) }),
  });
  const both = await leastSquares({
    parameters,
    residuals: async (now: Estimates) => ({ residuals: decay(now), jacobian: async () => slopes(now) }),
  });
  expect(bits(both.values)).toEqual(bits(own.values));
  await expect(leastSquares({ parameters, residuals: async () => Promise.reject(new Error("gone")) })).rejects.toThrow(
    "gone",
  );
  await expect(leastSquares({ parameters, residuals: async () => ["1"] as never })).rejects.toMatchObject({
    code: "CALLBACK",
  });
  expect(() =>
    leastSquares({ parameters, residuals: (now) => ({ residuals: decay(now), jacobian: async () => slopes(now) }) }),
  ).toThrow(/jacobian.*a Promise/);
});
