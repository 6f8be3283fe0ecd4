// The arithmetic of an engine, as a name: two engines with the same name give the same bits.
import type { Dtype } from "../checks/arrays.js";
import { equations } from "../fields/equations.js";
import type { Field } from "../fields/field.js";
import { mlp } from "../fields/mlp.js";
import { vjp } from "../solve/gradient.js";

/** Every function that a field can have. */
const FUNCTIONS = `
  x' = sin(x) * cos(y) + exp(-x^2) - tanh(y) / (1 + y^2) + 0.1 * sqrt(1 + x^2)
  y' = log(1 + x^2) - 0.3 * y + a * abs(x)^1.5 / (1 + abs(x)^1.5) + sin(b * t)
`;
const ACTIVATIONS = ["tanh", "softplus", "silu", "sigmoid", "gelu", "sin", "elu"] as const;

/** More trajectories than a leaf has, and a number that is no multiple of a register's. */
const BATCH = 77;

/** FNV-1a of 64 bits. */
function hashOf(parts: Iterable<Uint8Array>): string {
  const prime = 0x100000001b3n;
  let hash = 0xcbf29ce484222325n;
  for (const part of parts) for (const byte of part) hash = ((hash ^ BigInt(byte)) * prime) & 0xffffffffffffffffn;
  return hash.toString(16).padStart(16, "0");
}

function* numbersOf<D extends Dtype>(field: Field<D>, state: number): Generator<Uint8Array> {
  const y0 = new (field.dtype === "float32" ? Float32Array : Float64Array)(BATCH * state);
  // No function of JavaScript's, which may differ between engines too.
  for (let i = 0; i < y0.length; i++) y0[i] = (((i * 37) % 64) - 31.5) / 20;
  const options = { batching: "independent", method: "dopri5", rtol: 1e-4 } as const;
  const { solution, pullback, dispose } = vjp(field, y0 as never, [0, 0.4, 1], options);
  const { parameters, y0: start } = pullback(solution.y);
  dispose();
  field.dispose();
  for (const { buffer } of [solution.y, start, parameters]) yield new Uint8Array(buffer);
}

function* probes(): Generator<Uint8Array> {
  for (const dtype of ["float32", "float64"] as const) {
    for (const activation of ACTIVATIONS) {
      yield* numbersOf(mlp({ widths: [3, 10, 3], activation, time: "concat", dtype, seed: 1 }), 3);
    }
    yield* numbersOf(equations(FUNCTIONS, { dtype, parameters: { a: 0.4, b: 1.3 } }), 2);
  }
}

/** The bits that the engine in use gives for solves and gradients of all kinds, as 16 hexadecimal digits. */
export const fingerprintOf = (): string => hashOf(probes());
