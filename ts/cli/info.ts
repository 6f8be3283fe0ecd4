// symplectic-adjoint info: shows what a model file contains.
import { type Field, load, loadTensors, type ProgramField } from "../index.js";
import { Failure } from "./failure.js";
import { type FitDescription, isFit, readFit } from "./fit-file.js";
import { fromModel, type Source } from "./input.js";
import { textWithValues } from "./text-model.js";

export function info(source: Source) {
  const { name: model, bytes } = source;
  const file = fromModel(source, () => loadTensors(bytes));
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
  if (architecture === undefined) return { model, tensors, field: null, optimizer: null, training: null, fit: null };
  const { field, optimizer, metadata } = fromModel(source, () => load(bytes));
  const { dtype, stateSize, parameters } = field;
  const text = metadata.get("symplectic-adjoint.training");
  return {
    model,
    tensors,
    field: { dtype, stateSize, parameters: parameters.length, ...described(field, JSON.parse(architecture).field) },
    optimizer: optimizer ? { steps: optimizer.steps, learningRate: optimizer.learningRate } : null,
    training: text === undefined ? null : trainingOf(model, text),
    fit: isFit(source) ? fitOf(source) : null,
  };
}

/** A field as a file describes it. */
interface FieldDescription {
  readonly kind: string;
  readonly options: object;
  readonly network?: object;
}

/** Describes a field; for a program, with its names, and with its equations and current parameter values if it was made from text. */
function described(field: Field, recipe: FieldDescription): FieldDescription & { equations?: string | null } {
  if (recipe.kind !== "program") return recipe;
  const own = field as ProgramField;
  const { program, equations, ...options } = recipe.options as { program: { nodes: unknown[] }; equations?: string };
  return {
    kind: equations === undefined ? "program" : "equations",
    options: { ...options, operations: program.nodes.length },
    equations: equations === undefined ? null : textWithValues(own),
  };
}

/** Describes a fit. */
function fitOf(source: Source): FitDescription {
  const { field, description } = readFit(source);
  field.dispose();
  return description;
}

function trainingOf(model: string, text: string): Record<string, unknown> {
  try {
    return { ...JSON.parse(text) };
  } catch {
    throw new Failure(`${model}: its description of the training cannot be read`);
  }
}
