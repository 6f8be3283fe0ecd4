// Model files: a field and its optimizer as safetensors, the arrays named as PyTorch names those of an nn.Sequential.
import { type ArrayOf, checkFinite, type Dtype, dtypeRule } from "../checks/arrays.js";
import { describe, type ErrorCode, refused, SymplecticAdjointError } from "../checks/errors.js";
import {
  anything,
  argument,
  checkAbsent,
  fallback,
  isObject,
  object,
  type Rule,
  options as readOptions,
  record,
  required,
} from "../checks/rules.js";
import type { CnfField } from "../fields/cnf.js";
import { entriesOf } from "../fields/entries.js";
import { type Field, type WasmField, wasmField } from "../fields/field.js";
import type { HamiltonianField } from "../fields/hamiltonian.js";
import { checkEquations, type ProgramField } from "../fields/program.js";
import { fieldOf, readRecipe, recipeOf } from "../fields/registry.js";
import { makeOptimizer, type Optimizer, type OptimizerRecipe, useOptimizer } from "../train/optimizer.js";
import { collect, joined, KEY, numbersOf, product, wantedBy } from "./arrays.js";
import { type LoadOptions, networkFrom, networkRules } from "./state-dict.js";
import { loadTensors, type OwnedBytes, saveTensors, type Tensor, type TensorFile } from "./tensors.js";

/** What goes into a model file besides the field. */
export interface SaveOptions<D extends Dtype = Dtype> {
  /** An optimizer of the field: training can then continue from the file as if it had never stopped. */
  optimizer?: Optimizer<D> | undefined;
  /** Strings of your own, by key, for the file's metadata. */
  metadata?: Record<string, string> | undefined;
  /** Arrays of your own, by name, to be saved with the model's. */
  tensors?: Record<string, Tensor> | undefined;
}

/** A field from a file. `"entries" in field` is true for a `ProgramField`, `"energy" in field` for a `HamiltonianField`, and `"features" in field` for a `CnfField`. */
export type LoadedField<D extends Dtype = Dtype> = Field<D> | ProgramField<D> | HamiltonianField<D> | CnfField<D>;

/** The contents of a model file: the result of `load`. */
export interface LoadedModel<D extends Dtype = Dtype> {
  /**
   * A new field; dispose of it when done. Check for what only some kinds of field have before you use it:
   * `if ("entries" in field) field.parameters = { birth: 0.4 }`.
   */
  readonly field: LoadedField<D>;
  /** The optimizer that was saved with the field, ready to continue; undefined if there was none. Dispose of it when done. */
  readonly optimizer: Optimizer<D> | undefined;
  /** The strings of the file's metadata other than the model's, by key. */
  readonly metadata: ReadonlyMap<string, string>;
  /** The arrays of the file other than the model's, by name. */
  readonly tensors: ReadonlyMap<string, Tensor>;
}

/** The version of the header's form. */
const FORMAT = 1;

/** The contents of a model file besides its arrays: the numbers of a field's state are in it by their names. */
interface Header {
  readonly format: number;
  readonly field: ReturnType<typeof readRecipe>;
  /** One learning rate is among the options, as it is now; several are there as they were given, and the largest of them now is here. */
  readonly optimizer?: OptimizerRecipe & { readonly steps: number; readonly learningRate?: number };
}

const saveRules = {
  optimizer: anything<Optimizer<never>>(),
  metadata: fallback(record<string>(), {}),
  tensors: fallback(record<Tensor>(), {}),
};
const loadRules = { dtype: dtypeRule, ...networkRules };

/** The names of an optimizer's state in a file. */
const STATES = {
  adam: ["optimizer.first_moment", "optimizer.second_moment"],
  sgd: ["optimizer.velocity"],
} as const;
const SQUARES = STATES.adam[1];

/**
 * A field, and its optimizer, as a file: safetensors, with the architecture in its metadata. The arrays are called `0.weight`
 * `[out, in]`, `0.bias`, `2.weight` and so on, as PyTorch names them in an nn.Sequential of Linear layers and activations; gates of
 * `concatsquash` are `0.gate_weight`, `0.gate_bias` and `0.hyper_bias`. The same model gives the same bytes.
 *
 * @throws `OPTION` for a custom field, whose functions no file can hold; `NON_FINITE` for parameters, noise or moments of the
 * optimizer that are not finite, which `load` would reject.
 */
export function save<D extends Dtype>(field: Field<D>, options: SaveOptions<D> = {}): OwnedBytes {
  const { state, stateNames } = wasmField(field);
  const { optimizer, metadata, tensors } = readOptions(options, saveRules);
  const recipe = recipeOf(field);
  const arrays = arraysOf(field);
  for (const [name, data] of Object.entries(state.arrays)) {
    const size = stateNames.arrays[name] as number;
    arrays.set(name, { shape: [data.length / size, size], data });
  }
  let header: object = { format: FORMAT, field: recipe, ...state.numbers };
  if (optimizer !== undefined) {
    const { recipe, learningRate, steps, state } = useOptimizer(optimizer, field);
    const rates =
      typeof recipe.options.learningRate === "number"
        ? { options: { ...recipe.options, learningRate } }
        : { learningRate };
    header = { ...header, optimizer: { ...recipe, ...rates, steps } };
    const size = wasmField(field).parameterCount;
    for (const [index, name] of STATES[recipe.kind].entries()) {
      const data = state.slice(index * size, (index + 1) * size);
      // Without momentum there is no velocity.
      if (data.length === 0) continue;
      if (arrays.has(name)) throw refused("OPTION", `parameters.${name}`, "another name: the optimizer has it", name);
      arrays.set(name, { shape: [size], data });
    }
  }
  for (const [name, { data }] of arrays) checkFinite(name, data);
  checkSquares("OPTION", arrays.get(SQUARES)?.data);
  for (const [name, tensor] of Object.entries(tensors)) {
    // The names of a state are taken whether or not there is any.
    if (arrays.has(name) || Object.hasOwn(stateNames.arrays, name)) {
      throw refused("OPTION", `tensors.${name}`, "another name: the model has an array of it", name);
    }
    arrays.set(name, tensor);
  }
  if (Object.hasOwn(metadata, KEY)) {
    throw refused("OPTION", `metadata.${KEY}`, "another key: the architecture has this one", KEY);
  }
  return saveTensors(Object.fromEntries(arrays), { ...metadata, [KEY]: JSON.stringify(header) });
}

/** The parameters of a field as named arrays. */
function arraysOf<D extends Dtype>(field: Field<D>): Map<string, Tensor> {
  const parameters = wasmField(field).copyParameters();
  return new Map(
    entriesOf(field).map(([name, { offset, shape }]) => [
      name,
      { shape, data: parameters.slice(offset, offset + product(shape)) },
    ]),
  );
}

/**
 * Reads what `save` has written; or a network of Linear layers saved elsewhere, such as a `state_dict` of PyTorch, with its `activation`.
 * Its layers may have any names, such as `0.weight` of an nn.Sequential or `fc1.weight`: numbers give their order, or without numbers the
 * shapes, if they fit in only one order. A layer with time first (`concat`) and gates are named as `save` names them. float16 and
 * bfloat16 become float32; integers and booleans that the network does not use, such as `num_batches_tracked`, are ignored.
 *
 * @throws `FILE` for a file that is damaged or holds no such model; nothing is left in memory then.
 */
export function load<D extends Dtype = Dtype>(bytes: Uint8Array, options: LoadOptions<D> = {}): LoadedModel<D> {
  const read = readOptions(options, loadRules);
  const file = loadTensors(bytes);
  const header = file.metadata.get(KEY);
  const model = header === undefined ? networkModel(file, read) : savedModel(file, header, read);
  const { dtype } = model.field;
  if (read.dtype !== undefined && dtype !== read.dtype) {
    model.optimizer?.dispose();
    model.field.dispose();
    throw refused("FILE", "bytes", `a model in ${read.dtype}`, dtype);
  }
  return Object.freeze(model) as unknown as LoadedModel<D>;
}

/** A network saved elsewhere. */
function networkModel(file: TensorFile, options: LoadOptions): LoadedModel {
  const { field, rest } = networkFrom(file, options);
  return { field, optimizer: undefined, ...userEntries(file, rest) };
}

/** A file of `save`. */
function savedModel(file: TensorFile, text: string, options: LoadOptions): LoadedModel {
  const { activation, time, prefix } = options;
  checkAbsent({ activation, time, prefix }, ", since the file has its architecture");
  const header = headerOf(text);
  const rest = new Map(file.tensors);
  const take = (name: string) => {
    const tensor = rest.get(name);
    rest.delete(name);
    return tensor;
  };
  // Before anything is allocated: what the architecture asks for must be in the file.
  const parameters = collect(wantedBy(header.field), take, file);
  const field = asFileError("field", () => fieldOf(header.field));
  let optimizer: Optimizer | undefined;
  try {
    asFileError("field", () => checkEquations(field));
    field.parameters = parameters as ArrayOf<Dtype>;
    restoreState(field, header as unknown as Record<string, number>, take);
    if (header.optimizer !== undefined) optimizer = restoreOptimizer(field, header.optimizer, take, file);
  } catch (error) {
    field.dispose();
    throw error;
  }
  return { field, optimizer, ...userEntries(file, rest) };
}

function headerOf(text: string): Header {
  let header: Header;
  try {
    header = JSON.parse(text);
  } catch {
    throw refused("FILE", KEY, "JSON", describe(text));
  }
  argument(KEY, header, asFile(object));
  if (header.format !== FORMAT) {
    throw refused("FILE", `${KEY}.format`, `${FORMAT}; a newer package may read it`, describe(header.format));
  }
  const { optimizer } = header;
  if (optimizer !== undefined && !(isObject(optimizer) && Object.hasOwn(STATES, optimizer.kind))) {
    throw refused("FILE", `${KEY}.optimizer`, "{ kind: adam, sgd }", describe(optimizer));
  }
  return { ...header, field: asFileError("field", () => readRecipe(`${KEY}.field`, header.field)) };
}

/** A rule of what a file has to hold. */
const asFile = <T>(rule: Rule<T>) => ({ ...required(rule), code: "FILE" as const });

function checkSquares(code: ErrorCode, numbers: Float32Array | Float64Array = new Float32Array()): void {
  const bad = numbers.findIndex((value) => value < 0);
  if (bad >= 0) throw refused(code, SQUARES, "squares, zero or more", `${numbers[bad]} at index ${bad}`);
}

/** Runs `make` on the contents of a file; if they are refused, the error is about the file. */
function asFileError<T>(what: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof SymplecticAdjointError)) throw error;
    if (!["OPTION", "SHAPE", "DTYPE", "NON_FINITE"].includes(error.code)) throw error;
    const { argument = what, expected, given } = error;
    const details = { argument, ...(expected !== undefined && { expected }), ...(given !== undefined && { given }) };
    throw new SymplecticAdjointError("FILE", `the file's ${what}: ${error.message}`, details, { cause: error });
  }
}

/** Sets what a field has beside its parameters. */
function restoreState(
  field: WasmField<Dtype>,
  header: Readonly<Record<string, number>>,
  take: (name: string) => Tensor | undefined,
): void {
  const { numbers, arrays } = field.stateNames;
  const saved: Record<string, ArrayOf<Dtype>> = {};
  for (const [name, size] of Object.entries(arrays)) {
    const tensor = take(name);
    if (tensor) saved[name] = numbersOf(name, tensor, field.dtype, [tensor.shape[0] ?? 0, size]);
  }
  const known = numbers.filter((name) => header[name] !== undefined).map((name) => [name, header[name]]);
  asFileError("state", () => field.restore({ numbers: Object.fromEntries(known), arrays: saved }));
}

function restoreOptimizer(
  field: Field<Dtype>,
  saved: Header["optimizer"] & object,
  take: (name: string) => Tensor | undefined,
  file: TensorFile,
): Optimizer {
  argument(`${KEY}.optimizer.options`, saved.options, asFile(object));
  const size = wasmField(field).parameterCount;
  const moving = saved.kind === "adam" || (saved.options.momentum ?? 0) > 0;
  const names = moving ? STATES[saved.kind] : [];
  const state = names.map((name) => numbersOf(name, take(name), field.dtype, [size], file));
  if (saved.kind === "adam") checkSquares("FILE", state[1]);
  const optimizer = asFileError("optimizer", () => makeOptimizer(field, saved));
  try {
    asFileError("optimizer", () => {
      optimizer.steps = saved.steps;
      if (saved.learningRate !== undefined) optimizer.learningRate = saved.learningRate;
    });
    optimizer.restoreState(joined(field.dtype, state) as ArrayOf<Dtype>);
    return optimizer;
  } catch (error) {
    optimizer.dispose();
    throw error;
  }
}

/** The entries of a file that belong to its owner. */
function userEntries(file: TensorFile, tensors: Map<string, Tensor>) {
  const metadata = new Map(file.metadata);
  metadata.delete(KEY);
  return { metadata, tensors };
}
