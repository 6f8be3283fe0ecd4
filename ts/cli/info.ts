// symplectic-adjoint info: what a model file holds.
import { readFileSync } from "node:fs";
import { load, loadTensors } from "../index.js";

export function info(model: string) {
  const bytes = readFileSync(model);
  const { field, optimizer, metadata } = load(bytes);
  const tensors = [...loadTensors(bytes).tensors].map(([name, { shape }]) => ({ name, shape }));
  tensors.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  const text = metadata.get("symplectic-adjoint.training");
  return {
    model,
    dtype: field.dtype,
    stateSize: field.stateSize,
    parameters: field.parameters.length,
    tensors,
    optimizer: optimizer ? { steps: optimizer.steps, learningRate: optimizer.learningRate } : null,
    training: text === undefined ? null : (JSON.parse(text) as Record<string, unknown>),
  };
}
