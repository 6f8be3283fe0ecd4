// A model file of the package, and in its metadata what the playground was set to.
import { type Field, load, SymplecticAdjointError, save } from "symplectic-adjoint/slim";
import { type Config, NAMES, read } from "./config.js";

export interface SavedModel {
  readonly config: Config;
  readonly parameters: Float32Array;
}

export function saveModel(config: Config, field: Field<"float32">): Uint8Array<ArrayBuffer> {
  return save(field, { metadata: Object.fromEntries(NAMES.map((name) => [name, String(config[name])])) });
}

/** @throws `FILE` for what is no model of the playground. */
export function loadModel(file: Uint8Array): SavedModel {
  const { field, metadata } = load(file, { dtype: "float32" });
  const parameters = field.parameters.slice();
  field.dispose();
  if (!metadata.has("task")) throw refused("it does not say which task it belongs to");
  const { config, problems } = read([...metadata].filter(([name]) => NAMES.includes(name as keyof Config)));
  if (problems.length > 0) throw refused(problems.join("; "));
  return { config, parameters };
}

function refused(text: string): SymplecticAdjointError {
  return new SymplecticAdjointError("FILE", `the file is not a model of the playground: ${text}`);
}
