// A model as a safetensors file: its parameters, and in the metadata what it is a model of.
import { loadTensors, SymplecticAdjointError, saveTensors } from "symplectic-adjoint/slim";
import { type Config, NAMES, read } from "./config.js";

export interface Model {
  readonly config: Config;
  readonly parameters: Float32Array;
}

export function saveModel({ config, parameters }: Model): Uint8Array<ArrayBuffer> {
  const metadata = Object.fromEntries(NAMES.map((name) => [name, String(config[name])]));
  return saveTensors({ parameters: { shape: [parameters.length], data: parameters } }, metadata);
}

/** @throws `FILE` for what is no model of the playground. */
export function loadModel(file: Uint8Array): Model {
  const { tensors, metadata } = loadTensors(file);
  const parameters = tensors.get("parameters")?.data;
  if (!(parameters instanceof Float32Array) || !metadata.has("task")) {
    throw refused("parameters in float32 and a task, as the playground saves them");
  }
  const { config, problems } = read([...metadata].filter(([name]) => NAMES.includes(name as keyof Config)));
  if (problems.length > 0) throw refused(problems.join("; "));
  return { config, parameters };
}

function refused(text: string): SymplecticAdjointError {
  return new SymplecticAdjointError("FILE", `the file is not a model of the playground: ${text}`);
}
