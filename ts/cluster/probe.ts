// The fingerprint of an engine's arithmetic: engines with the same fingerprint compute the same bits.
import { constructors, type Dtype, zeros } from "../checks/arrays.js";
import type { Field } from "../fields/field.js";
import { mlp } from "../fields/mlp.js";
import { fieldOf } from "../fields/registry.js";
import { vjp } from "../solve/gradient.js";

/**
 * A program with every elementary function, as a graph, so that no parser is needed: x' and y' as functions of x, y, t and two parameters.
 */
const PROGRAM = {
  version: 1,
  state: 2,
  parameters: 2,
  arguments: 0,
  // biome-ignore format: a line for each term
  nodes: [
    ["state", 0, 1], ["state", 1, 1], ["time"], ["parameter", 0, 1], ["parameter", 1, 1], ["constant", 1.5],
    ["sin", 0], ["cos", 1], ["mul", 6, 7],
    ["mul", 0, 0], ["neg", 9], ["exp", 10], ["tanh", 1], ["mul", 11, 12],
    ["add", 5, 9], ["sqrt", 14], ["log", 14], ["sub", 8, 13], ["sub", 17, 15],
    ["abs", 1], ["pow", 19, 5], ["mul", 3, 20], ["add", 5, 20], ["div", 21, 22],
    ["mul", 4, 2], ["sin", 24], ["sub", 16, 23], ["add", 26, 25],
    ["concat", 18, 27],
  ],
  result: 28,
};
const FUNCTIONS = { entries: { own: { offset: 0, shape: [2] } }, states: [], arguments: {}, program: PROGRAM };
const ACTIVATIONS = ["tanh", "softplus", "silu", "sigmoid", "gelu", "sin", "elu"] as const;

/** Few trajectories test the arithmetic; more than a leaf has also test the sums over trajectories. */
const FEW = 3;
const MANY = 77;

/** The 64-bit FNV-1a hash. */
function hashOf(parts: Iterable<Uint8Array>): string {
  const prime = 0x100000001b3n;
  let hash = 0xcbf29ce484222325n;
  for (const part of parts) for (const byte of part) hash = ((hash ^ BigInt(byte)) * prime) & 0xffffffffffffffffn;
  return hash.toString(16).padStart(16, "0");
}

function* numbersOf<D extends Dtype>(field: Field<D>, batch: number): Generator<Uint8Array> {
  const y0 = zeros(field.dtype, batch * field.stateSize);
  // No Math function here: those may differ between engines too.
  for (let i = 0; i < y0.length; i++) y0[i] = (((i * 37) % 64) - 31.5) / 20;
  const options = { batching: "independent", method: "dopri5", rtol: 1e-3 } as const;
  const { solution, pullback, dispose } = vjp(field, y0, [0, 0.3, 0.5], options);
  const { parameters, y0: start } = pullback(solution.y);
  dispose();
  field.dispose();
  for (const { buffer } of [solution.y, start, parameters]) yield new Uint8Array(buffer);
}

function* probes(): Generator<Uint8Array> {
  for (const dtype of ["float32", "float64"] as const) {
    for (const activation of ACTIVATIONS) {
      const field = mlp({ widths: [3, 8, 3], activation, time: "concat", dtype, seed: 1 });
      yield* numbersOf(field, activation === "tanh" ? MANY : FEW);
    }
    const field = fieldOf({ kind: "program", options: { ...FUNCTIONS, dtype } });
    field.parameters = constructors[dtype].of(0.4, 1.3);
    yield* numbersOf(field as Field, FEW);
  }
}

/** A hash of the bits that the current engine computes in solves and gradients of all kinds: 16 hexadecimal digits. */
export const fingerprintOf = (): string => hashOf(probes());
