import { cnf, custom, hamiltonian, mlp, nn, odeint, type Pool, parallel, valueAndGrad, vjp } from "symplectic-adjoint";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXACT, numbers, relative, thrown } from "./helpers.js";

let pool: Pool;
beforeAll(async () => {
  pool = await parallel({ workers: 2 });
});
afterAll(() => pool.close());

const flow = { network: { widths: [3, 16, 3], time: "concatsquash", activation: "softplus" } } as const;
const heat = { energy: { widths: [3, 12, 1] }, structure: "laplacian", points: 16, spacing: 0.5 } as const;

describe.each([
  ["an exact flow", () => cnf(flow)],
  ["a flow with noise", () => cnf({ ...flow, trace: "hutchinson", noiseSeed: 3 })],
  ["a regularised flow", () => cnf({ ...flow, trace: "hutchinson", noise: "gaussian", kinetic: true, jacobian: true })],
  ["a Hamiltonian system", () => hamiltonian({ energy: { widths: [4, 16, 1] }, structure: "canonical" })],
  ["a density on a grid", () => hamiltonian(heat)],
] as const)("%s", (_, make) => {
  test("takes the steps of one core in a pool, and its gradient", async () => {
    const field = make();
    const y0 = numbers("float32", 70 * field.stateSize, 2);
    const loss = (y: Float32Array) => ({ value: 0, cotangent: y });
    const one = valueAndGrad(field, y0, [0, 0.4, 1], loss, { method: "dopri5", rtol: 1e-4 });
    const two = await pool.valueAndGrad(field, y0, [0, 0.4, 1], loss, { method: "dopri5", rtol: 1e-4 });
    expect(two.solution.y).toEqual(one.solution.y);
    expect(two.gradient.y0).toEqual(one.gradient.y0);
    expect(relative(two.gradient.parameters, one.gradient.parameters)).toBeLessThan(2e-6);
    expect(two.solution.stats.workers).toBe(2);
  });

  test("is bitwise the same by every exact gradient", () => {
    const field = make();
    const y0 = numbers("float32", 20 * field.stateSize, 2);
    const w = numbers("float32", 2 * y0.length, 3);
    const run = (gradient: (typeof EXACT)[number]) => {
      const solve = vjp(field, y0, [0, 1], { gradient, rtol: 1e-3, ...(gradient === "auto" && { memoryBudget: 2e6 }) });
      const pulled = solve.pullback(w);
      solve.dispose();
      return { ...pulled, stats: undefined };
    };
    for (const gradient of EXACT) expect(run(gradient)).toEqual(run("symplectic"));
  });
});

test("a model has the parameters and layers of its network", () => {
  const network = mlp({ widths: [2, 8, 2], dtype: "float64", seed: 9 });
  const field = cnf({ network });
  expect(field.parameters).toEqual(network.parameters);
  expect(field.layers).toEqual(network.layers);
  expect([field.dtype, field.features, field.stateSize, field.outputSize]).toEqual(["float64", 2, 3, 3]);
  field.parameters[0] = 7;
  expect(network.parameters[0]).not.toBe(7);
  network.dispose();
  expect(odeint(field, Float64Array.of(1, 0, 0), [0, 1]).y).toHaveLength(6);
});

test("noise is of its seed, or the caller's", () => {
  const field = cnf({ ...flow, trace: "hutchinson" });
  const y0 = numbers("float32", 4 * 10);
  const run = () => odeint(field, y0, [0, 1]).y;
  const first = run();
  expect(run()).toEqual(first);
  field.seedNoise(1);
  const second = run();
  expect(second).not.toEqual(first);
  field.setNoise(new Float32Array(30).fill(1));
  expect(run()).not.toEqual(second);
  thrown("SHAPE", () => odeint(field, numbers("float32", 4 * 11), [0, 1]));
  field.seedNoise(1);
  expect(run()).toEqual(second);
  thrown("SHAPE", () => field.setNoise(new Float32Array(4)));
  thrown("NON_FINITE", () => field.setNoise(new Float32Array(3).fill(Number.NaN)));
  thrown("OPTION", () => cnf(flow).setNoise(new Float32Array(3)));
  thrown("OPTION", () => field.seedNoise(-1));
});

test("energies are conserved or fall, as the structure says", () => {
  const y0 = numbers("float64", 4 * 5);
  const options = { rtol: 1e-9, atol: 1e-9 };
  const energy = { widths: [4, 16, 1], dtype: "float64" } as const;
  const rotation = [0, 0, 1, 0, 0, 0, 0, 1, -1, 0, 0, 0, 0, -1, 0, 0];
  const damping = rotation.map((_, i) => (i === 10 || i === 15 ? 0.5 : 0));
  for (const structure of ["canonical", rotation, { J: rotation, R: damping }] as const) {
    const field = hamiltonian({ energy, structure });
    const { y } = odeint(field, y0, [0, 1], options);
    const all = field.energy(y);
    expect(all).toHaveLength(10);
    for (let i = 0; i < 5; i++) {
      const drift = (all[5 + i] ?? 9) - (all[i] ?? 0);
      if (typeof structure === "object" && "R" in structure) expect(drift).toBeLessThan(-1e-4);
      else expect(Math.abs(drift)).toBeLessThan(1e-7);
    }
  }
  const [named, matrix] = (["canonical", rotation] as const).map((structure) => hamiltonian({ energy, structure }));
  expect(named?.evaluate(0, y0)).toEqual(matrix?.evaluate(0, y0));
  expect(hamiltonian({ energy }).evaluate(0, y0)).toEqual(named?.evaluate(0, y0));
  const rows = (flat: number[]) => [0, 4, 8, 12].map((start) => flat.slice(start, start + 4));
  const nested = hamiltonian({ energy, structure: rows(rotation) });
  expect(nested.evaluate(0, y0)).toEqual(matrix?.evaluate(0, y0));
  const [damped, byRows] = [
    { J: rotation, R: damping },
    { J: rows(rotation), R: rows(damping) },
  ].map((structure) => hamiltonian({ energy, structure }));
  expect(byRows?.evaluate(0, y0)).toEqual(damped?.evaluate(0, y0));
});

test("what does not fit is refused", () => {
  const energy = { widths: [4, 8, 1] } as const;
  const bad = custom({ stateSize: 4, evaluate: (_t, y) => y, vjp: (_t, _y, w) => ({ y: w }) });
  for (const body of [
    () => cnf({ network: { widths: [2, 3] } }),
    () => cnf({ network: bad }),
    () => cnf({ ...flow, trace: "approximate" as "exact" }),
    // A direction for each feature, with as many numbers.
    () => cnf({ network: { widths: [20_000, 1, 20_000] } }),
    () => cnf({ ...flow, kinetic: 1 as unknown as boolean }),
    () => hamiltonian({ energy: { widths: [4, 2] }, structure: "canonical" }),
    () => hamiltonian({ energy: { widths: [3, 1] }, structure: "canonical" }),
    () => hamiltonian({ energy, structure: "dy" as "dx" }),
    () => hamiltonian({ energy, structure: "dx", points: 8 }),
    () => hamiltonian({ energy, structure: "dx", spacing: 0 }),
    () => hamiltonian({ energy, structure: { J: [0, 1, 1, 0], R: [0, 0, 0, 0] } }),
    () => hamiltonian({ energy: bad, structure: "dx" }),
  ]) {
    thrown("OPTION", body);
  }
  thrown("SHAPE", () => hamiltonian({ energy, structure: [0, 1, -1, 0] }));
  thrown("SHAPE", () => hamiltonian({ energy, structure: [0, 1, -1] }));
  expect(thrown("SHAPE", () => hamiltonian({ energy, structure: [[0, 1, -1, 0]] })).message).toBe(
    "structure: expected a square matrix, given [1, 4] numbers",
  );
  thrown("SHAPE", () => hamiltonian({ energy, structure: [[0, 1], [-1]] }));
  for (const [name, call] of [
    ["energy", (given: unknown) => hamiltonian({ energy: given as never, structure: "canonical" })],
    ["network", (given: unknown) => cnf({ network: given as never })],
  ] as const) {
    for (const given of [() => 1, nn.linear(2, 2), undefined, 5, [2, 2]]) {
      expect(thrown("OPTION", () => call(given)).message).toMatch(
        new RegExp(`^${name}: expected a network, from mlp, or its options, such as \\{ widths`),
      );
    }
    expect(thrown("OPTION", () => call({ width: [2, 2] })).argument).toBe(`${name}.width`);
    expect(thrown("OPTION", () => call({ widths: [2] })).argument).toBe(`${name}.widths`);
  }
  thrown("NON_FINITE", () => hamiltonian({ energy: { widths: [1, 1] }, structure: [Number.NaN] }));
});
