// Pools whose trajectories take their own steps: bitwise what one thread gives.
import {
  type Dtype,
  equations,
  type IndependentGradient,
  mlp,
  odeint,
  type Pool,
  parallel,
  valueAndGrad,
  vjp,
} from "symplectic-adjoint";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXACT, numbers } from "./helpers.js";

const pools: Pool[] = [];
beforeAll(async () => {
  for (const workers of [1, 2, 3]) pools.push(await parallel({ workers }));
});
afterAll(() => {
  for (const pool of pools) pool.close();
});

/** Absorption and elimination, with a clearance for each patient. */
const patients = (dtype: Dtype = "float64") =>
  equations("depot' = -ka * depot\ncentral' = ka * depot - ke * scale * central", {
    parameters: { ka: 1.3, ke: 0.3 },
    arguments: ["scale"],
    dtype,
  });

/** What a trajectory has, by its number. */
function ensemble(batch: number) {
  const times = Array.from({ length: batch }, (_, i) => [0, 1 + (i % 7) / 10, 2.5].slice(0, 2 + (i % 2)));
  const doses = Array.from({ length: batch }, (_, i) => [0.2, 0.9].slice(0, i % 3));
  const amounts = doses.map((own, i) => own.map((_, k) => 1 + 0.1 * k + 0.01 * i));
  return { times, doses, amounts, scale: Float64Array.from({ length: batch }, (_, i) => 1 + 0.3 * Math.sin(i)) };
}

function everything(gradient: IndependentGradient) {
  const { y0, parameters, arguments: own, times, jumps } = gradient;
  return { y0, parameters, own, times, jumps };
}

describe("a pool with independent trajectories", () => {
  test.each(["shared", "own"] as const)("%s times and doses: every bit of one thread", async (kind) => {
    const batch = 900;
    const field = patients();
    const { times, doses, amounts, scale } = ensemble(batch);
    const y0 = numbers("float64", 2 * batch, 3).map((x) => 0.5 + Math.abs(x));
    const options = {
      batching: "independent",
      arguments: { scale },
      dense: true,
      saveSteps: true,
      jumps: [
        { times: doses, set: "depot = depot + dose", amounts: { dose: amounts } },
        { times: [0.5, 1.1], set: "central = central * keep", amounts: { keep: [0.9, 0.8] } },
      ],
      events: [{ when: "central - 1" }],
    } as const;
    const ends = kind === "own" ? times : [0, 0.7, 1.3];
    const alone = vjp(field, y0, ends, options);
    const w = numbers("float64", alone.solution.y.length, 4);
    // What is padding has no cotangent.
    alone.solution.mask?.forEach((own, row) => {
      if (!own) w.fill(0, 2 * row, 2 * row + 2);
    });
    const count = alone.solution.events.t.length;
    expect(count).toBeGreaterThan(100);
    const events = { times: numbers("float64", count, 5), states: numbers("float64", 2 * count, 6) };
    const expected = alone.pullback(w, events);
    for (const pool of pools) {
      const shared = await pool.vjp(field, y0, ends, options);
      const { y, shape, mask, trajectories, events: happened, stats } = shared.solution;
      expect({ y, shape, mask, trajectories, events: happened }).toEqual({
        y: alone.solution.y,
        shape: alone.solution.shape,
        mask: alone.solution.mask,
        trajectories: alone.solution.trajectories,
        events: alone.solution.events,
      });
      expect(stats.workers).toBe(pool.workers);
      expect(stats.accepted).toBe(alone.solution.stats.accepted);
      expect(shared.solution.at(0.6, 817)).toEqual(alone.solution.at(0.6, 817));
      expect(shared.solution.steps(899)).toEqual(alone.solution.steps(899));
      const gradient = await shared.pullback(w, events);
      expect(everything(gradient)).toEqual(everything(expected));
      expect(gradient.stats.vjps).toBe(expected.stats.vjps);
      shared.dispose();
    }
    alone.dispose();
    field.dispose();
  });

  test("float32, a network, fixed steps, every gradient", async () => {
    const field = mlp({ widths: [3, 16, 3], dtype: "float32", seed: 2 });
    const batch = 64 * 5 + 3;
    const y0 = numbers("float32", 3 * batch, 8);
    for (const gradient of EXACT) {
      const options = { batching: "independent", method: "rk4", steps: 7, gradient } as const;
      const loss = (y: Float32Array) => ({ value: y.reduce((sum, x) => sum + x * x, 0) / 2, cotangent: y });
      const alone = valueAndGrad(field, y0, [0, 0.5, 1], loss, options);
      for (const pool of pools) {
        const shared = await pool.valueAndGrad(field, y0, [0, 0.5, 1], loss, options);
        expect(shared.value).toBe(alone.value);
        expect(everything(shared.gradient)).toEqual(everything(alone.gradient));
      }
    }
    field.dispose();
  });

  test("failures count as the whole batch does", async () => {
    const field = equations("x' = x * x", { dtype: "float64" });
    const y0 = Float64Array.from({ length: 700 }, (_, i) => (i === 300 || i === 650 ? 2 : 0.1));
    const options = { batching: "independent", method: "rk4", stepSize: 0.001 } as const;
    const messages = [];
    for (const pool of pools) {
      const error = await pool.odeint(field, y0, [0, 1.5], options).catch((error) => error);
      expect(error.code).toBe("NON_FINITE");
      expect(error.trajectory).toBe(300);
      messages.push(error.message);
      const masked = await pool.odeint(field, y0, [0, 1.5], { ...options, onFailure: "mask" });
      expect(masked.failures.map(({ trajectory }) => trajectory)).toEqual([300, 650]);
      expect(masked.failures[1]?.error.code).toBe("NON_FINITE");
      expect(masked.y).toEqual(odeint(field, y0, [0, 1.5], { ...options, onFailure: "mask" }).y);
    }
    expect(new Set(messages).size).toBe(1);
    field.dispose();
  });

  test("a budget is shared, and one that is too small says how much would do", async () => {
    const field = patients();
    const { scale } = ensemble(900);
    const y0 = numbers("float64", 1800, 3);
    const pool = pools[1] as Pool;
    const options = { batching: "independent", arguments: { scale }, memoryBudget: 10_000 } as const;
    const error = await pool.vjp(field, y0, [0, 1], options).catch((error) => error);
    expect([error.code, error.argument]).toEqual(["OPTION", "memoryBudget"]);
    const least = await pool.vjp(field, y0, [0, 1], { ...options, memoryBudget: error.bytes });
    const w = numbers("float64", least.solution.y.length, 1);
    const alone = vjp(field, y0, [0, 1], { batching: "independent", arguments: { scale } });
    expect(everything(await least.pullback(w))).toEqual(everything(alone.pullback(w)));
    least.dispose();
    alone.dispose();
    field.dispose();
  });

  test("the continuous adjoint: every bit of one thread", async () => {
    const batch = 900;
    const field = patients();
    const { times, scale } = ensemble(batch);
    const y0 = numbers("float64", 2 * batch, 7).map((x) => 0.5 + Math.abs(x));
    const options = { batching: "independent", gradient: "adjoint", arguments: { scale } } as const;
    const alone = vjp(field, y0, times, options);
    const w = numbers("float64", alone.solution.y.length, 8);
    alone.solution.mask?.forEach((own, row) => {
      if (!own) w.fill(0, 2 * row, 2 * row + 2);
    });
    const expected = alone.pullback(w);
    expect(expected.stats.backwardSteps).toBeGreaterThan(batch);
    for (const pool of pools) {
      const shared = await pool.vjp(field, y0, times, options);
      const gradient = await shared.pullback(w);
      expect(everything(gradient)).toEqual(everything(expected));
      expect(gradient.stats.backwardSteps).toBe(expected.stats.backwardSteps);
    }
  });
});
