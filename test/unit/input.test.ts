import { custom, driven, hamiltonian, memoryUsage, mlp, odeint, vjp } from "symplectic-adjoint";
import { expect, test } from "vitest";
import { METHODS } from "../../wasm/constants.js";
import { collectGarbage, EXACT, numbers, relative, thrown } from "./helpers.js";

const energy = { widths: [2, 8, 1], dtype: "float64", seed: 3 } as const;
const structure = { J: [0, 1, -1, 0], R: [0, 0, 0, 0.2] };
const B = [0, 0.3, 1, -0.5];
const u = (t: number) => [Math.cos(2 * t), t * t];
const du = (t: number) => [-2 * Math.sin(2 * t), 2 * t];
const y0 = Float64Array.of(1, 0, -0.5, 0.7, 0.2, -1);
const times = [0, 0.4, 1.1, 2];
const w = numbers("float64", 24);

test("the slope is that of the field and of the input", () => {
  const field = hamiltonian({ energy, structure });
  const [u0, u1] = u(0.7) as [number, number];
  const expected = field.evaluate(0.7, y0).map((slope, i) => slope + (i % 2 ? u0 - 0.5 * u1 : 0.3 * u1));
  expect(relative(driven(field, { B, u }).evaluate(0.7, y0), expected)).toBeLessThan(1e-15);
  const rows = [B.slice(0, 2), B.slice(2)];
  expect(driven(field, { B: rows, u }).evaluate(0.7, y0)).toEqual(driven(field, { B, u }).evaluate(0.7, y0));
  expect(thrown("SHAPE", () => driven(field, { B: [[0, 0.3, 1, -0.5]], u })).message).toMatch(/given \[1, 4\]$/);
  const number = driven(field, { B: [0, 1], u: () => 1 as never });
  expect(thrown("CALLBACK", () => number.evaluate(0, y0)).message).toBe(
    "u's result: expected an array of 1 number, for the whole batch, or of [batch, 1], given 1",
  );
  // An input for each sample.
  const each = driven(field, { B: [0, 1], u: (t) => [t, 2 * t, 3 * t] }).evaluate(0.7, y0);
  const forces = each.map((slope, i) => slope - (field.evaluate(0.7, y0)[i] ?? 0));
  for (const [i, force] of [0, 0.7, 0, 1.4, 0, 2.1].entries()) expect(forces[i]).toBeCloseTo(force, 14);
});

test("gradients agree bitwise, and with differences, times included", () => {
  const inner = hamiltonian({ energy, structure });
  const field = driven(inner, { B, u, du });
  const theta = field.parameters.slice();
  for (const method of METHODS) {
    const gradients = EXACT.map((gradient) => {
      const solve = vjp(field, y0, times, { method, gradient, steps: 3 });
      const pulled = solve.pullback(w);
      solve.dispose();
      return [...pulled.y0, ...pulled.parameters, ...(pulled.times ?? [])];
    });
    for (const other of gradients) expect(other).toEqual(gradients[0]);
    const loss = (parameters: Float64Array, start: Float64Array, ends: Float64Array) => {
      field.parameters = parameters;
      return odeint(field, start, ends, { method, steps: 3 }).y.reduce((sum, y, i) => sum + y * (w[i] ?? 0), 0);
    };
    const given = [theta, y0, Float64Array.from(times)] as [Float64Array, Float64Array, Float64Array];
    const differences = ([1, 0, 2] as const).flatMap((which) =>
      [...given[which]].map((_, i) => {
        const at = (e: number) => {
          const moved = given.map((values) => values.slice()) as typeof given;
          (moved[which][i] as number) += e;
          return loss(...moved);
        };
        return (at(1e-5) - at(-1e-5)) / 2e-5;
      }),
    );
    expect(relative(gradients[0] ?? [], differences), method).toBeLessThan(3e-9);
  }
});

test("with no input it is the field, in both types", () => {
  for (const dtype of ["float32", "float64"] as const) {
    const inner = mlp({ widths: [2, 8, 2], time: "concat", dtype });
    const still = { B: [1, 0], u: () => [0], du: () => [0] };
    const start = numbers(dtype, 6);
    const options = { method: "rk4", steps: 4 } as const;
    const [plain, with0] = [inner, driven(inner, still)].map((field) => {
      const solve = vjp(field, start, [0, 1], options);
      const { y0: pulled, parameters, times: ends } = solve.pullback(numbers(dtype, 12));
      return { y: solve.solution.y, layers: field.layers, numbers: [...pulled, ...parameters, ...(ends ?? [])] };
    });
    expect(with0?.y).toEqual(plain?.y);
    expect(with0?.layers).toEqual(plain?.layers);
    expect(relative(with0?.numbers ?? [], plain?.numbers ?? [])).toBeLessThan(dtype === "float32" ? 1e-6 : 1e-14);
  }
});

test("without du there is no gradient of times", () => {
  const inner = hamiltonian({ energy, structure });
  expect(vjp(driven(inner, { B, u }), y0, times).pullback(w).times).toBeUndefined();
  expect(vjp(driven(inner, { B, u, du }), y0, times).pullback(w).times).toHaveLength(4);
  const unknown = custom({ stateSize: 2, dtype: "float64", evaluate: (_t, y) => y, vjp: (_t, _y, c) => ({ y: c }) });
  expect(vjp(driven(unknown, { B, u, du }), y0, times).pullback(w).times).toBeUndefined();
});

test("the energy grows by what the input does, and is that of its own parameters", () => {
  const inner = hamiltonian({ energy, structure: "canonical" });
  const field = driven(inner, { B: [0, 1], u: () => [0.4] });
  expect(field.energy(y0)).toEqual(inner.energy(y0));
  const { y } = odeint(field, y0, [0, 1], { rtol: 1e-10, atol: 1e-10 });
  const all = field.energy(y);
  // dH/dt = u ∂H/∂p = u dq/dt.
  for (let i = 0; i < 3; i++) {
    const moved = (y[6 + 2 * i] ?? 0) - (y[2 * i] ?? 0);
    expect((all[3 + i] ?? 0) - (all[i] ?? 0)).toBeCloseTo(0.4 * moved, 8);
  }
  field.parameters = field.parameters.map((value) => 2 * value);
  expect(field.energy(y0)).not.toEqual(inner.energy(y0));
  expect(field.energy(y0)).toEqual(inner.energy(y0, 0, field.parameters));
  expect("energy" in driven(mlp({ widths: [2, 2] }), { B: [0, 1], u: () => [1] })).toBe(false);
});

test("disposing frees its memory, and after the field's it is an error", async () => {
  await collectGarbage();
  const { liveBytes } = memoryUsage();
  const inner = hamiltonian({ energy, structure });
  const field = driven(inner, { B, u });
  const solve = vjp(field, y0, times);
  field.dispose();
  expect(solve.pullback(w).y0).toHaveLength(6);
  solve.dispose();
  thrown("DISPOSED", () => field.energy(y0));
  const other = driven(inner, { B, u });
  inner.dispose();
  thrown("DISPOSED", () => odeint(other, y0, times));
  other.dispose();
  expect(memoryUsage().liveBytes).toBe(liveBytes);
});

test("what does not fit is refused", () => {
  const field = hamiltonian({ energy, structure });
  for (const body of [
    () => driven({} as typeof field, { B, u }),
    () => driven(mlp({ widths: [2, 3] }), { B, u }),
    () => driven(field, { B: 1 as unknown as number[], u }),
    () => driven(field, { B, u: 1 as unknown as typeof u }),
    () => driven(field, { B, u, du: 1 as unknown as typeof u }),
    () => driven(field, { B, u, v: u } as { B: number[]; u: typeof u }),
  ]) {
    thrown("OPTION", body);
  }
  thrown("SHAPE", () => driven(field, { B: [1, 2, 3], u }));
  thrown("NON_FINITE", () => driven(field, { B: [1, Number.NaN], u }));
  thrown("CALLBACK", () => odeint(driven(field, { B, u: () => [1, 2, 3] }), y0, times));
  thrown("NON_FINITE", () => odeint(driven(field, { B, u: () => [1, Number.NaN] }), y0, times));
  thrown("CALLBACK", () => odeint(driven(field, { B, u: () => 1 as unknown as number[] }), y0, times));
});
