// symplectic-adjoint info: what a model file holds.
import { load, loadTensors } from "../index.js";
import { Failure } from "./failure.js";
import type { Source } from "./input.js";

export function info({ name: model, bytes }: Source) {
  const file = loadTensors(bytes);
  const tensors = [
    ...[...file.tensors].map(([name, { shape, data }]) => ({
      name,
      shape,
      dtype: data instanceof Float32Array ? "float32" : "float64",
    })),
    ...[...file.skipped].map(([name, { shape, dtype }]) => ({ name, shape, dtype })),
  ];
  tensors.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  const architecture = file.metadata.get("symplectic-adjoint");
  if (architecture === undefined) return { model, tensors, field: null, optimizer: null, training: null };
  const { field, optimizer, metadata } = load(bytes);
  const { dtype, stateSize, parameters } = field;
  const text = metadata.get("symplectic-adjoint.training");
  return {
    model,
    tensors,
    field: { dtype, stateSize, parameters: parameters.length, ...JSON.parse(architecture).field },
    optimizer: optimizer ? { steps: optimizer.steps, learningRate: optimizer.learningRate } : null,
    training: text === undefined ? null : trainingOf(model, text),
  };
}

function trainingOf(model: string, text: string): Record<string, unknown> {
  try {
    return { ...JSON.parse(text) };
  } catch {
    throw new Failure(`${model}: what it tells of its training cannot be read`);
  }
}
