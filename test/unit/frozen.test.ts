import {
  adam,
  cnf,
  custom,
  differentiable,
  driven,
  fit,
  flow,
  hamiltonian,
  load,
  loadTensors,
  minibatches,
  mlp,
  odeint,
  parallel,
  save,
  saveTensors,
  sgd,
  solver,
  train,
  valueAndGrad,
  vectorField,
  vjp,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { thrown } from "./helpers.js";

/** All that can be reached by names, down to typed arrays and functions: each place must refuse an assignment. */
function writable(value: unknown, path: string): string[] {
  if (value === null || typeof value !== "object" || ArrayBuffer.isView(value) || value instanceof Map) return [];
  return Object.keys(value).flatMap((key) => {
    const place = `${path}.${key}`;
    const before = (value as Record<string, unknown>)[key];
    try {
      (value as Record<string, unknown>)[key] = "by mistake";
      return [place];
    } catch (error) {
      expect(error, place).toBeInstanceOf(TypeError);
      expect((value as Record<string, unknown>)[key], place).toBe(before);
    }
    return writable(before, place);
  });
}

const y0 = Float32Array.of(1, 0);
const loss = (y: Float32Array) => ({ value: 0, cotangent: y });

test("fields", () => {
  const network = { widths: [2, 4, 2] };
  const energy = { widths: [2, 4, 1] };
  const damped = { J: [0, 1, -1, 0], R: [0, 0, 0, 0.1] };
  const fields = {
    mlp: mlp({ ...network, time: "concatsquash" }),
    cnf: cnf({ network }),
    hamiltonian: hamiltonian({ energy, structure: damped }),
    driven: driven(hamiltonian({ energy, structure: "canonical" }), { B: [0, 1], u: () => [1] }),
  };
  for (const [name, field] of Object.entries(fields)) {
    expect(Object.keys(field)).toEqual(expect.arrayContaining(["dtype", "stateSize", "outputSize", "layers"]));
    expect(writable(field, name)).toEqual([]);
    // What is meant to be set still is.
    field.parameters = field.parameters.slice();
  }
  expect(Object.keys(fields.cnf)).toContain("features");
  expect(odeint(fields.mlp, y0, [0, 1]).y).toHaveLength(4);
});

test("optimizers, flows, minibatches and pools", async () => {
  const field = mlp({ widths: [2, 2] });
  const data = minibatches({ trajectories: [{ times: [0, 1, 2], values: new Float32Array(6) }], window: 2 });
  const pool = await parallel({ workers: 1 });
  const block = cnf({ network: { widths: [2, 2] } });
  const objects = { adam: adam(field), sgd: sgd(field), pool, flow: flow({ blocks: [block] }) };
  for (const [name, object] of Object.entries(objects)) expect(writable(object, name)).toEqual([]);
  expect(writable(data.state, "state")).toEqual([]);
  for (const [object, name] of [
    [data, "length"],
    [pool, "workers"],
    [objects.adam, "state"],
  ] as const) {
    expect(() => Object.assign(object, { [name]: 7 }), name).toThrow(TypeError);
  }
  data.state = { epoch: 3, position: 1 };
  for (const _ of data) break;
  expect(data.state).toEqual({ epoch: 3, position: 2 });
  expect(writable(data.state, "state")).toEqual([]);
  objects.adam.learningRate = 0.5;
  expect(objects.adam.learningRate).toBe(0.5);
  const solve = await pool.vjp(field, y0, [0, 1]);
  const gradient = await solve.pullback(Float32Array.of(0, 0, 1, 1));
  expect(writable({ ...solve, gradient }, "pool").filter((place) => place.split(".").length > 2)).toEqual([]);
  expect(() => Object.assign(solve, { solution: 0 })).toThrow(TypeError);
  pool.close();
});

test("a misspelled property throws", async () => {
  const field = mlp({ widths: [2, 2] });
  const block = cnf({ network: { widths: [2, 2] } });
  const energy = hamiltonian({ energy: { widths: [2, 4, 1] }, structure: "canonical" });
  const pool = await parallel({ workers: 1 });
  const objects = {
    field,
    block,
    energy,
    driven: driven(energy, { B: [0, 1], u: () => [1] }),
    still: driven(field, { B: [0, 1], u: () => [1] }),
    program: vectorField({ state: ["x"], slope: ({ state }) => state }),
    custom: custom({
      stateSize: 2,
      evaluate: (_t, y) => y,
      vjp: (_t, _y, w) => ({ y: w, parameters: new Float32Array(), t: 0 }),
    }),
    sum: differentiable({ inputs: { x: 2 }, apply: ({ inputs }) => inputs.x.sum() }),
    optimizer: adam(field),
    solver: solver(field, y0, 0),
    data: minibatches({ trajectories: [{ times: [0, 1], values: [1, 2] }] }),
    flow: flow({ blocks: [block] }),
    pool,
  };
  for (const [name, object] of Object.entries(objects)) {
    for (const property of ["lr", "params", "arguments", "foo"]) {
      expect(() => Object.assign(object, { [property]: 1 }), `${name}.${property}`).toThrow(TypeError);
    }
  }
  pool.close();
});

test("results", async () => {
  const field = mlp({ widths: [2, 2] });
  const solve = vjp(field, y0, [0, 1]);
  expect(writable(solve, "vjp")).toEqual([]);
  expect(writable(solve.pullback(Float32Array.of(0, 0, 1, 1)), "gradient")).toEqual([]);
  const { gradient, solution } = valueAndGrad(field, y0, [0, 1], loss);
  expect([...writable(gradient, "gradient"), ...writable(solution, "solution")]).toEqual([]);
  const density = flow({ blocks: [cnf({ network: { widths: [2, 2] } })] });
  expect(writable(density.valueAndGrad(y0), "flow")).toEqual([]);
  const batch = { y0, times: [0, 1], target: new Float32Array(4) };
  const options = { field, optimizer: sgd(field), data: [batch], steps: 1, validation: { data: [batch] } };
  for await (const step of train(options)) expect(writable(step, "step")).toEqual([]);
  const history = await fit(options);
  expect(() => Object.assign(history, { ended: "patience" })).toThrow(TypeError);
  expect(writable([history.validations[0], history.best], "history").filter((place) => /\d\./.test(place))).toEqual([]);
  expect(writable(load(save(field)), "model")).toEqual([]);
  const file = loadTensors(saveTensors({ x: { shape: [2], data: y0 } }));
  expect([...writable(file, "file"), ...writable(file.tensors.get("x"), "tensor")]).toEqual([]);
});

test("errors", () => {
  const error = thrown("SHAPE", () => odeint(mlp({ widths: [2, 2] }), new Float32Array(3), [0, 1]));
  expect(Object.keys(error)).toEqual(expect.arrayContaining(["name", "code", "argument", "expected", "given"]));
  expect(writable(error, "error")).toEqual([]);
});
