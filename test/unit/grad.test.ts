// Gradients within a model: slopes made of the gradient of an energy, densities of a divergence.
import {
  cnf,
  concat,
  equations,
  grad,
  hamiltonian,
  load,
  mlp,
  nn,
  odeint,
  type ProgramField,
  save,
  type Value,
  valueAndGrad,
  vectorField,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { numbers, relative, thrown } from "./helpers.js";

const times = [0, 0.5, 1];
const loss = (y: Float64Array) => ({
  value: y.reduce((sum, x) => sum + x * x, 0) / 2,
  cotangent: y.slice(),
});

/** Solution and gradient of a field. */
function solved(field: ProgramField<"float64">, y0: Float64Array) {
  const { value, gradient, solution } = valueAndGrad(field, y0, times, loss, { method: "rk4", steps: 8 });
  return { value, y: solution.y, y0: gradient.y0, parameters: gradient.parameters };
}

test("a pendulum by its energy, as a function and as text", () => {
  const parameters = { g: 1.3, damping: 0.2 };
  const options = { dtype: "float64", parameters } as const;
  const written = equations("q' = p / (1 + q^2)\np' = p^2 * q / (1 + q^2)^2 - g * sin(q) - damping * p", options);
  const traced = vectorField({
    ...options,
    state: ["q", "p"],
    slope: ({ states: { q, p }, parameters: { g, damping } }) => {
      const energy = p.square().div(q.square().add(1)).div(2).sub(g.mul(q.cos()));
      const [dq, dp] = grad(energy, [q, p]);
      return { q: dp, p: dq.neg().sub(damping.mul(p)) };
    },
  });
  const text = equations(
    "H = p^2 / (1 + q^2) / 2 - g * cos(q)\nq' = grad(H, p)\np' = -grad(H, q) - damping * p",
    options,
  );
  const y0 = numbers("float64", 2 * 9, 3);
  const [expected, ...others] = [written, traced, text].map((field) => solved(field as ProgramField<"float64">, y0));
  for (const other of others) {
    for (const key of ["y", "y0", "parameters"] as const) {
      expect(relative(other[key], expected?.[key] as Float64Array)).toBeLessThan(1e-13);
    }
  }
  const again = load(save(traced)).field as ProgramField<"float64">;
  expect(odeint(again, y0, times).y).toEqual(odeint(traced, y0, times).y);
});

test("a network as an energy is the field that hamiltonian makes", () => {
  const network = mlp({ widths: [4, 16, 12, 1], dtype: "float64", seed: 3 });
  const made = hamiltonian({ energy: network, structure: "canonical" });
  const traced = vectorField({
    state: 4,
    dtype: "float64",
    parameters: { net: nn.sequential(nn.linear(4, 16), nn.tanh, nn.linear(16, 12), nn.tanh, nn.linear(12, 1)) },
    slope: ({ state, parameters: { net } }) => {
      const gradient = grad(net(state), state);
      return concat(gradient.slice(2), gradient.slice(0, 2).neg());
    },
  });
  traced.parameters = network.parameters.slice();
  const y0 = numbers("float64", 4 * 7, 5);
  const expected = valueAndGrad(made, y0, times, loss);
  const got = valueAndGrad(traced, y0, times, loss);
  expect(relative(got.solution.y, expected.solution.y)).toBeLessThan(1e-12);
  expect(relative(got.gradient.parameters, expected.gradient.parameters)).toBeLessThan(1e-11);
});

test("a divergence makes the flow that cnf makes, and conditions it on arguments", () => {
  const network = mlp({ widths: [2, 8, 2], dtype: "float64", seed: 1 });
  const made = cnf({ network });
  const flow = (shift?: "shift") =>
    vectorField({
      state: 3,
      dtype: "float64",
      parameters: { net: nn.sequential(nn.linear(2, 8), nn.tanh, nn.linear(8, 2)) },
      ...(shift && { arguments: { [shift]: 2 } }),
      slope: ({ state, parameters: { net }, arguments: args }) => {
        const x = state.slice(0, 2);
        const f: Value = net(shift ? x.add((args as unknown as { shift: Value }).shift) : x);
        const trace = grad(f.at(0), x)
          .at(0)
          .add(grad(f.at(1), x).at(1));
        return concat(f, trace.neg());
      },
    });
  const [plain, conditional] = [flow(), flow("shift")];
  const y0 = numbers("float64", 3 * 6, 2).map((x, i) => (i % 3 === 2 ? 0 : x)) as Float64Array<ArrayBuffer>;
  const expected = odeint(made, y0, times, { method: "rk4", steps: 4 }).y;
  for (const field of [plain, conditional]) field.parameters = network.parameters.slice();
  expect(relative(odeint(plain, y0, times, { method: "rk4", steps: 4 }).y, expected)).toBeLessThan(1e-13);
  const args = { shift: new Float64Array(12) };
  const shifted = odeint(conditional, y0, times, { method: "rk4", steps: 4, arguments: args }).y;
  expect(relative(shifted, expected)).toBeLessThan(1e-13);
});

test("rows are the same rows whichever way they are read, and values in between count", () => {
  const field = vectorField({
    state: 3,
    dtype: "float64",
    arguments: { weight: "scalar" },
    slope: ({ state, arguments: { weight } }) => {
      const [x, y, z] = [0, 1, 2].map((row) => state.at(row)) as [Value, Value, Value];
      // x² y + w (x + y + z)²
      const energy = x.square().mul(y).add(state.sum().square().mul(weight));
      const inner = state.slice(1).mul(2);
      const square = inner.square().sum();
      // ∂/∂(2y) (4y² + 4z²) = 4y, of the first row of a slice of a value.
      const [ofInner] = grad(square, [inner.at(0)]);
      return [grad(energy, state.slice(0, 2)).at(1), ofInner, grad(grad(energy, x), z).add(grad(energy, weight))];
    },
  });
  const [x, y, z, w] = [0.7, -1.2, 0.4, 0.9];
  const got = field.evaluate(0, Float64Array.of(x, y, z), undefined, { weight: Float64Array.of(w) });
  const sum = x + y + z;
  const expected = [x * x + 2 * w * sum, 4 * y, 2 * w + sum * sum];
  for (const [i, value] of expected.entries()) expect(got[i]).toBeCloseTo(value, 13);
});

test("what has no gradient is refused, with what to write", () => {
  const made = (slope: (inputs: { state: Value; t: Value; rate: Value }) => Value) =>
    vectorField({
      state: 2,
      parameters: { rate: 1 },
      slope: ({ state, t, parameters: { rate } }) => slope({ state, t, rate }),
    });
  const cases: [string, (inputs: { state: Value; t: Value; rate: Value }) => Value, RegExp][] = [
    ["SHAPE", ({ state }) => grad(state, state), /first argument: expected one row, as sum\(\) gives, given 2 rows/],
    [
      "CALLBACK",
      ({ state, rate }) => grad(state.sum().mul(rate), rate),
      /the state or from arguments, given one of parameters/,
    ],
    ["CALLBACK", ({ state, t }) => grad(state.sum().mul(t), t), /time alone/],
    ["CALLBACK", ({ state }) => grad(state.sum(), state.mul(2)), /computed from; write \[q, p\] for several/],
    ["CALLBACK", ({ state }) => grad(state.sum(), undefined as never), /second argument: expected a value/],
  ];
  for (const [code, slope, message] of cases) expect(thrown(code, () => made(slope)).message).toMatch(message);
  // That an energy does not depend on a coordinate is no mistake.
  const free = made(({ state }) => grad(state.at(1).square(), state));
  expect([...free.evaluate(0, Float32Array.of(3, 4))]).toEqual([0, 8]);
  const text = thrown("OPTION", () => equations("param k = 1\nH = k * x^2\nx' = -grad(H, k)"));
  expect([text.line, text.column, text.message]).toEqual([
    3,
    7,
    expect.stringContaining("grad's second argument to be"),
  ]);
  expect(thrown("OPTION", () => equations("x' = diff(x^2, x)")).message).toContain("grad(a, b)");
});
