// The arrays of a field in a file.
import { checkFinite, type Dtype, dtypeOf } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { elements, size } from "../checks/rules.js";
import type { Recipe } from "../fields/field.js";
import { type MlpOptions, widthsRule } from "../fields/mlp.js";
import type { ProgramOptions } from "../fields/program.js";
import type { Tensor, TensorFile } from "./tensors.js";

/** The key of the metadata under which `save` writes the architecture. */
export const KEY = "symplectic-adjoint";

/** The arrays that a file must hold for a field, in the order of its flat parameters. */
export interface WantedArrays {
  readonly dtype: Dtype;
  readonly shapes: readonly (readonly [name: string, shape: readonly number[]])[];
}

/** The arrays that a file must hold for the field of a recipe. */
export function wantedBy({ kind, options, network }: Recipe): WantedArrays {
  if (kind !== "program") return wantedByNetwork((network ?? options) as MlpOptions<Dtype>);
  const { dtype, entries } = options as ProgramOptions;
  return { dtype, shapes: Object.entries(entries).map(([name, { shape }]) => [name, shape]) };
}

/** The arrays that a file must hold for a network. */
export function wantedByNetwork(network: MlpOptions<Dtype>): WantedArrays {
  const { widths, time = "none", bias = true, dtype = "float32" } = network;
  elements("widths", widths, { ...widthsRule, code: "FILE" }, { ...size, code: "FILE" });
  const shapes: [string, number[]][] = [];
  for (let index = 0; index + 1 < widths.length; index++) {
    const [inputs, outputs] = [widths[index] as number, widths[index + 1] as number];
    const columns = inputs + (time === "concat" ? 1 : 0);
    const gates = time === "concatsquash" ? ["gate_weight", "gate_bias", "hyper_bias"] : [];
    for (const suffix of ["weight", ...(bias ? ["bias"] : []), ...gates]) {
      shapes.push([`${2 * index}.${suffix}`, suffix === "weight" ? [outputs, columns] : [outputs]]);
    }
  }
  return { dtype, shapes };
}

/** The parameters of a field from the arrays of a file, each checked for number type, shape and numbers. */
export function collect(
  { dtype, shapes }: WantedArrays,
  take: (name: string) => Tensor | undefined,
  file?: TensorFile,
): Float32Array | Float64Array {
  return joined(
    dtype,
    shapes.map(([name, shape]) => numbersOf(name, take(name), dtype, shape, file)),
  );
}

/** The numbers of an array, checked; `file` shows whether it is there with a type that cannot be read. */
export function numbersOf(
  name: string,
  tensor: Tensor | undefined,
  dtype: Dtype,
  shape: readonly number[],
  file?: TensorFile,
): Float32Array | Float64Array {
  const expected = `${dtype} [${shape.join(", ")}]`;
  if (!tensor) {
    const skipped = file?.skipped.get(name);
    const given = skipped ? `${skipped.dtype} [${skipped.shape.join(", ")}]` : "none";
    throw refused("FILE", name, `a tensor of that name, ${expected}`, given);
  }
  const given = `${dtypeOf(tensor.data)} [${tensor.shape.join(", ")}]`;
  if (given !== expected) throw refused("FILE", name, expected, given);
  checkFinite(name, tensor.data, "FILE");
  return tensor.data;
}

export function joined(dtype: Dtype, parts: readonly ArrayLike<number>[]): Float32Array | Float64Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const all = dtype === "float64" ? new Float64Array(length) : new Float32Array(length);
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}

export const product = (shape: readonly number[]) => shape.reduce((length, side) => length * side, 1);
