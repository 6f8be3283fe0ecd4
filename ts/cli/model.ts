// Model files of the command: a field with the table that it has learned, its units, and how it was trained.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { type Activation, type Best, type Field, load, type Method, type Optimizer, save } from "../index.js";
import { Failure } from "./failure.js";
import type { Units } from "./units.js";

/** How a model is trained; all that, with the data, decides every bit of it. */
export interface Settings {
  readonly model: "mlp" | "hamiltonian";
  readonly hidden: readonly number[];
  readonly activation: Activation;
  readonly solver: Method;
  readonly rtol: number;
  readonly steps: number;
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly batch: number;
  /** Observations in the longest windows; null: chosen by the data. */
  readonly window: number | null;
  readonly seed: number;
  readonly validation: number;
  /** In validations; 0: never. */
  readonly patience: number;
}

/** What a model file tells beside the field. */
export interface Description {
  readonly time: string;
  readonly id: string | null;
  readonly state: readonly string[];
  readonly units: Units;
  readonly settings: Settings;
  readonly data: { readonly sha256: string; readonly trajectories: number; readonly observations: number };
  /** Where a training stands that is not finished; null afterwards. */
  readonly best: { readonly step: number; readonly validation: number } | null;
  readonly finished: { readonly steps: number; readonly loss: number; readonly validation: number | null } | null;
}

export interface ModelFile {
  readonly field: Field<"float32">;
  readonly optimizer: Optimizer<"float32"> | undefined;
  readonly description: Description;
  readonly best: Best<"float32"> | undefined;
}

const KEY = "symplectic-adjoint.training";
const BEST = "best.parameters";

/** Writes a model; beside and then moved, so that there is a whole file at any time. */
export function writeModel(
  file: string,
  field: Field<"float32">,
  description: Description,
  unfinished?: { optimizer: Optimizer<"float32">; best: Best<"float32"> | undefined },
): void {
  const best = unfinished?.best;
  const bytes = save(field, {
    metadata: {
      [KEY]: JSON.stringify({ ...description, best: best ? { step: best.step, validation: best.validation } : null }),
    },
    ...(unfinished && { optimizer: unfinished.optimizer }),
    ...(best && { tensors: { [BEST]: { shape: [best.parameters.length], data: best.parameters } } }),
  });
  writeFileSync(`${file}.part`, bytes);
  renameSync(`${file}.part`, file);
}

/** Reads a model that the command has trained. */
export function readModel(file: string): ModelFile {
  const { field, optimizer, metadata, tensors } = load(readFileSync(file), { dtype: "float32" });
  const text = metadata.get(KEY);
  if (text === undefined)
    throw new Failure(`${file}: not trained by this command, which keeps columns and units with it`);
  const description = descriptionOf(file, text, field.stateSize);
  const data = tensors.get(BEST)?.data;
  const usable = data instanceof Float32Array && data.length === field.parameters.length;
  if (description.best && !usable) throw new Failure(`${file}: the best parameters of its training are missing`);
  const best = description.best && { ...description.best, parameters: data as Float32Array };
  return { field, optimizer, description, best: best ?? undefined };
}

function descriptionOf(file: string, text: string, stateSize: number): Description {
  try {
    const description = JSON.parse(text) as Description;
    const { state, units, time, settings } = description;
    const columns = [state, units.log, units.mean, units.scale];
    const numbers = [...units.mean, ...units.scale, units.timeScale];
    const sound =
      columns.every((column) => Array.isArray(column) && column.length === stateSize) &&
      numbers.every((value) => Number.isFinite(value)) &&
      [...units.scale, units.timeScale].every((value) => value > 0) &&
      typeof time === "string" &&
      typeof settings.solver === "string";
    if (sound) return description;
  } catch {
    // What cannot be read is as good as what says nothing.
  }
  throw new Failure(`${file}: its columns and units cannot be read`);
}
