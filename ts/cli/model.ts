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
  /** Where a training stands that is not finished; null afterwards. JSON has no infinity: a loss of null is that. */
  readonly best: { readonly step: number; readonly validation: number | null } | null;
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
  const best = description.best && {
    step: description.best.step,
    validation: description.best.validation ?? Number.POSITIVE_INFINITY,
    parameters: data as Float32Array,
  };
  return { field, optimizer, description, best: best ?? undefined };
}

function descriptionOf(file: string, text: string, stateSize: number): Description {
  try {
    const description = JSON.parse(text) as Description;
    if (isSound(description, stateSize)) return description;
  } catch {
    // What cannot be read is as good as what says nothing.
  }
  throw new Failure(`${file}: its columns and units cannot be read`);
}

/** Whether a description is what this command writes, as far as it is relied on; it may throw instead of false. */
function isSound({ state, units, time, id, settings, data, best }: Description, stateSize: number): boolean {
  const { log, mean, scale, timeScale } = units;
  const { model, hidden, activation, solver, steps, batch, seed, window, patience } = settings;
  const { rtol, learningRate, weightDecay, validation } = settings;
  const texts: readonly unknown[] = [...state, time, activation, solver, data.sha256];
  const numbers = [...mean, ...scale, timeScale, rtol, learningRate, weightDecay, validation];
  const counts = [...hidden, steps, batch, ...(window === null ? [] : [window])];
  const naturals = [seed, patience, ...(best === null ? [] : [best.step])];
  return (
    [state, log, mean, scale].every((column) => Array.isArray(column) && column.length === stateSize) &&
    texts.every((text) => typeof text === "string") &&
    new Set(state).size === stateSize &&
    (id === null || typeof id === "string") &&
    log.every((flag) => typeof flag === "boolean") &&
    numbers.every(Number.isFinite) &&
    [...scale, timeScale].every((value) => value > 0) &&
    ["mlp", "hamiltonian"].includes(model) &&
    counts.every((count) => Number.isSafeInteger(count) && count >= 1) &&
    naturals.every((natural) => Number.isSafeInteger(natural) && natural >= 0) &&
    (best === null || best.validation === null || Number.isFinite(best.validation))
  );
}
