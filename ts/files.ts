// Model files: a field and its optimizer as safetensors, the arrays named as PyTorch names those of an nn.Sequential.
import { describe, type ErrorCode, refused, SymplecticAdjointError } from "./errors.js";
import {
  type Activation,
  choice,
  DTYPES,
  type Entry,
  type Field,
  type Layer,
  type MlpOptions,
  mlp,
  type Noise,
  type Recipe,
  useField,
} from "./fields.js";
import { type ArrayOf, type Dtype, kindOf } from "./memory.js";
import { make, WasmCnf } from "./models.js";
import { makeOptimizer, type Optimizer, type OptimizerRecipe, useOptimizer } from "./optimizer.js";
import { checkNames } from "./options.js";
import { loadTensors, type OwnBytes, saveTensors, type Tensor, type TensorFile } from "./tensors.js";

/** What goes into a model file beside the field. */
export interface SaveOptions<D extends Dtype = Dtype> {
  /** An optimizer of the field: with it training goes on from the file as if it had not stopped. */
  optimizer?: Optimizer<D>;
  /** Texts of your own, by key. */
  metadata?: Record<string, string>;
  /** Arrays of your own, by name. */
  tensors?: Record<string, Tensor>;
}

/** What a file of another origin does not tell, and what is expected of it. */
export interface LoadOptions<D extends Dtype = Dtype> {
  /** Refuses a file of another number type, and tells it to TypeScript. */
  dtype?: D;
  /** Of a network saved elsewhere, such as a `state_dict` of PyTorch, which does not say. */
  activation?: Activation;
  /** Likewise; default `concatsquash` where the file has gates, else `none`. */
  time?: MlpOptions["time"] & string;
  /**
   * Likewise, what the names of the network's arrays begin with: `net.` for `net.0.weight`. Needed where a file holds several
   * networks, or arrays that are none of the network's.
   */
  prefix?: string;
}

/** What a model file holds. */
export interface Model<D extends Dtype = Dtype> {
  /** A new field, which is yours to dispose of. */
  readonly field: Field<D>;
  /** Of that field, where one was saved. */
  readonly optimizer: Optimizer<D> | undefined;
  /** Texts other than those of the model. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Arrays other than those of the model. */
  readonly tensors: ReadonlyMap<string, Tensor>;
}

/** The key of what the arrays make, and the version of its form. */
const KEY = "symplectic-adjoint";
const FORMAT = 1;

/** What the file says beside arrays. */
interface Header {
  readonly format: number;
  readonly field: Recipe;
  readonly noiseSeed?: number;
  readonly optimizer?: OptimizerRecipe & { readonly steps: number };
}

/** The arrays of a layer by the ends of their names in a file. */
const SUFFIXES: Record<string, keyof Layer> = {
  weight: "weight",
  bias: "bias",
  gate_weight: "gateWeight",
  gate_bias: "gateBias",
  hyper_bias: "hyperBias",
};

/** The arrays of a field by their names: activations count as layers, as in an nn.Sequential. */
function entriesOf(layers: readonly Layer[]): [name: string, entry: Entry][] {
  return layers.flatMap((layer, index) =>
    Object.entries(SUFFIXES).flatMap(([suffix, key]): [string, Entry][] => {
      const entry = layer[key];
      return entry ? [[`${2 * index}.${suffix}`, entry]] : [];
    }),
  );
}

/** What a recipe has beside its network, and nothing else: whatever a file adds would pass by the checks of its arrays. */
const OPTIONS = {
  mlp: ["widths", "activation", "time", "bias", "dtype"],
  cnf: ["trace", "noise", "kinetic", "jacobian"],
  hamiltonian: ["structure", "matrix", "points", "spacing"],
} as const;

/** How an optimizer's state is called in a file. */
const STATES = {
  adam: ["optimizer.first_moment", "optimizer.second_moment"],
  sgd: ["optimizer.velocity"],
} as const;
const SQUARES = STATES.adam[1];
const NOISE = "noise";

/**
 * A field, and its optimizer, as a file: safetensors, with the architecture in its metadata. The arrays are called `0.weight`
 * `[out, in]`, `0.bias`, `2.weight` and so on, as by PyTorch in an nn.Sequential of Linear layers and activations; gates of
 * `concatsquash` are `0.gate_weight`, `0.gate_bias` and `0.hyper_bias`. The same model gives the same bytes.
 *
 * @throws `OPTION` for a custom field, whose functions no file can hold; `NON_FINITE` for parameters, noise or moments of the
 * optimizer that are not finite, which `load` would refuse.
 */
export function save<D extends Dtype>(field: Field<D>, options: SaveOptions<D> = {}): OwnBytes {
  checkNames(options, ["optimizer", "metadata", "tensors"]);
  const { optimizer, metadata = {}, tensors = {} } = options;
  const { recipe, noise } = useField(field);
  if (!recipe) throw refused("OPTION", "field", "a field from mlp, cnf or hamiltonian", "a custom field");
  const arrays = arraysOf(field, noise);
  const header: { -readonly [K in keyof Header]: Header[K] } = { format: FORMAT, field: recipe };
  if (noise && "seed" in noise) header.noiseSeed = noise.seed;
  if (optimizer !== undefined) {
    const { recipe, learningRate, steps, state } = useOptimizer(optimizer, field);
    header.optimizer = { ...recipe, options: { ...recipe.options, learningRate }, steps } as Header["optimizer"] &
      object;
    const size = field.parameters.length;
    for (const [index, name] of STATES[recipe.kind].entries()) {
      const data = state.slice(index * size, (index + 1) * size);
      // Without momentum there is no velocity.
      if (data.length > 0) arrays.set(name, { shape: [size], data });
    }
  }
  for (const [name, { data }] of arrays) checkNumbers("NON_FINITE", name, data);
  checkSquares("OPTION", arrays.get(SQUARES)?.data);
  for (const [name, tensor] of Object.entries(tensors ?? {})) {
    // A flow's noise has this name whether or not there is any.
    if (arrays.has(name) || (noise && name === NOISE))
      throw refused("OPTION", `tensors.${name}`, "another name: the model has an array of it", name);
    arrays.set(name, tensor);
  }
  if (metadata !== null && typeof metadata === "object" && Object.hasOwn(metadata, KEY)) {
    throw refused("OPTION", `metadata.${KEY}`, "another key: the architecture has this one", KEY);
  }
  return saveTensors(Object.fromEntries(arrays), { ...metadata, [KEY]: JSON.stringify(header) });
}

function arraysOf<D extends Dtype>(field: Field<D>, noise: Noise<Dtype> | undefined): Map<string, Tensor> {
  const { parameters } = field;
  const arrays = new Map<string, Tensor>();
  for (const [name, { offset, shape }] of entriesOf(field.layers)) {
    arrays.set(name, { shape, data: parameters.slice(offset, offset + product(shape)) });
  }
  if (noise && "values" in noise) {
    const { features } = field as unknown as WasmCnf<D>;
    arrays.set(NOISE, { shape: [noise.values.length / features, features], data: noise.values });
  }
  return arrays;
}

/**
 * Reads what `save` has written; or a network of Linear layers saved elsewhere, such as a `state_dict` of PyTorch, with its
 * `activation`. Its layers may have any names, such as `0.weight` of an nn.Sequential or `fc1.weight`: numbers tell their
 * order, and where there are none the shapes, if they fit in one order only. A layer with time first (`concat`) and gates are
 * called as `save` calls them. float16 and bfloat16 become float32; integers and booleans that the network has no use for,
 * such as `num_batches_tracked`, are passed over.
 *
 * @throws `FILE` for a file that is damaged or holds no such model; nothing is left in memory then.
 */
export function load<D extends Dtype = Dtype>(bytes: Uint8Array, options: LoadOptions<D> = {}): Model<D> {
  checkNames(options, ["dtype", "activation", "time", "prefix"]);
  if (options.dtype !== undefined) choice<string>("dtype", options.dtype, DTYPES);
  const file = loadTensors(bytes);
  const text = file.metadata.get(KEY);
  const model = text === undefined ? foreign(file, options) : ours(file, text, options);
  const { dtype } = model.field;
  if (options.dtype !== undefined && dtype !== options.dtype) {
    model.optimizer?.dispose();
    model.field.dispose();
    throw refused("FILE", "bytes", `a model in ${options.dtype}`, dtype);
  }
  return Object.freeze(model) as unknown as Model<D>;
}

/** A file of `save`. */
function ours(file: TensorFile, text: string, options: LoadOptions): Model {
  for (const name of ["activation", "time", "prefix"] as const) {
    const message = "nothing, for a file that tells its architecture";
    if (options[name] !== undefined) throw refused("OPTION", name, message, describe(options[name]));
  }
  const header = headerOf(text);
  const rest = new Map(file.tensors);
  const take = (name: string) => {
    const tensor = rest.get(name);
    rest.delete(name);
    return tensor;
  };
  const network = header.field.kind === "mlp" ? header.field.options : header.field.network;
  // Before anything is allocated: what the architecture asks for must be in the file.
  const parameters = collect(network, take, file);
  const noise = take(NOISE);
  const field = made("field", () => make(header.field));
  let optimizer: Optimizer | undefined;
  try {
    field.parameters = parameters as ArrayOf<Dtype>;
    if (field instanceof WasmCnf) restoreNoise(field, header.noiseSeed, noise);
    else if (noise) rest.set(NOISE, noise);
    if (header.optimizer !== undefined) optimizer = restoreOptimizer(field, header.optimizer, take, file);
  } catch (error) {
    field.dispose();
    throw error;
  }
  return { field, optimizer, ...others(file, rest) };
}

function headerOf(text: string): Header {
  let header: Header;
  try {
    header = JSON.parse(text);
  } catch {
    throw refused("FILE", KEY, "JSON", describe(text));
  }
  if (!isObject(header)) throw refused("FILE", KEY, "an object", describe(header));
  if (header.format !== FORMAT) {
    throw refused("FILE", `${KEY}.format`, `${FORMAT}; a newer package may read it`, describe(header.format));
  }
  const { field, optimizer } = header;
  if (!isObject(field) || !Object.hasOwn(OPTIONS, field.kind) || !isObject(field.options)) {
    throw refused(
      "FILE",
      `${KEY}.field`,
      `{ kind: ${Object.keys(OPTIONS).join(", ")} }, with options`,
      describe(field),
    );
  }
  made("field", () => checkNames(field.options, OPTIONS[field.kind]));
  if (field.kind !== "mlp" && !isObject(field.network)) {
    throw refused("FILE", `${KEY}.field.network`, "the options of a network", describe(field.network));
  }
  if (field.kind === "hamiltonian") {
    const { structure, matrix } = field.options;
    // An object with a length would do for a matrix, and cost as much as it says.
    if (!Array.isArray(matrix)) throw refused("FILE", "matrix", "an array of numbers", describe(matrix));
    if (typeof structure !== "string") throw refused("FILE", "structure", "a text", describe(structure));
  }
  if (optimizer !== undefined && !(isObject(optimizer) && Object.hasOwn(STATES, optimizer.kind))) {
    throw refused("FILE", `${KEY}.optimizer`, "{ kind: adam, sgd }", describe(optimizer));
  }
  return header;
}

const isObject = (value: unknown) => value !== null && typeof value === "object";

/** The parameters of a network from the arrays of a file, each checked for number type, shape and numbers. */
function collect(
  network: MlpOptions<Dtype>,
  take: (name: string) => Tensor | undefined,
  file?: TensorFile,
): Float32Array | Float64Array {
  const { widths, time = "none", bias = true, dtype = "float32" } = network;
  const valid = Array.isArray(widths) && widths.every((width) => Number.isSafeInteger(width) && width >= 1);
  if (!valid) throw refused("FILE", "widths", "an array of positive integers", describe(widths));
  const parts: (Float32Array | Float64Array)[] = [];
  for (let index = 0; index + 1 < widths.length; index++) {
    const [inputs, outputs] = [widths[index] as number, widths[index + 1] as number];
    const columns = inputs + (time === "concat" ? 1 : 0);
    const gates = time === "concatsquash" ? ["gate_weight", "gate_bias", "hyper_bias"] : [];
    for (const suffix of ["weight", ...(bias ? ["bias"] : []), ...gates]) {
      const shape = suffix === "weight" ? [outputs, columns] : [outputs];
      const name = `${2 * index}.${suffix}`;
      parts.push(numbersOf(name, take(name), dtype, shape, file));
    }
  }
  return joined(dtype, parts);
}

/** The numbers of an array, checked; `file` may tell that it is there, but of a type that is not read. */
function numbersOf(
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
  const given = `${kindOf(tensor.data) === "Float64Array" ? "float64" : "float32"} [${tensor.shape.join(", ")}]`;
  if (given !== expected) throw refused("FILE", name, expected, given);
  checkNumbers("FILE", name, tensor.data);
  return tensor.data;
}

/** Refuses numbers that no model has, in what is read and in what is to be written. */
function checkNumbers(code: ErrorCode, name: string, numbers: Float32Array | Float64Array): void {
  const bad = numbers.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw refused(code, name, "finite numbers", `${numbers[bad]} at index ${bad}`);
}

function checkSquares(code: ErrorCode, numbers: Float32Array | Float64Array = new Float32Array()): void {
  const bad = numbers.findIndex((value) => value < 0);
  if (bad >= 0) throw refused(code, SQUARES, "squares, zero or more", `${numbers[bad]} at index ${bad}`);
}

function joined(dtype: Dtype, parts: readonly ArrayLike<number>[]): Float32Array | Float64Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const all = dtype === "float64" ? new Float64Array(length) : new Float32Array(length);
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}

/** What is made of a file's own words: where they are refused, the file is at fault. */
function made<T>(what: string, make: () => T): T {
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

function restoreNoise(field: WasmCnf<Dtype>, seed: number | undefined, noise: Tensor | undefined): void {
  made("noise", () => {
    if (seed !== undefined) field.seedNoise(seed);
    if (!noise) return;
    const values = numbersOf(NOISE, noise, field.dtype, [noise.shape[0] ?? 0, field.features]);
    field.setNoise(values as ArrayOf<Dtype>);
  });
}

function restoreOptimizer(
  field: Field<Dtype>,
  saved: Header["optimizer"] & object,
  take: (name: string) => Tensor | undefined,
  file: TensorFile,
): Optimizer {
  if (!isObject(saved.options)) throw refused("FILE", `${KEY}.optimizer.options`, "an object", describe(saved.options));
  const size = field.parameters.length;
  const moving = saved.kind === "adam" || (saved.options.momentum ?? 0) > 0;
  const names = moving ? STATES[saved.kind] : [];
  const state = names.map((name) => numbersOf(name, take(name), field.dtype, [size], file));
  if (saved.kind === "adam") checkSquares("FILE", state[1]);
  const optimizer = made("optimizer", () => makeOptimizer(field, saved));
  try {
    made("optimizer", () => {
      optimizer.steps = saved.steps;
    });
    optimizer.state.set(joined(field.dtype, state));
    return optimizer;
  } catch (error) {
    optimizer.dispose();
    throw error;
  }
}

/** What is left of a file for its owner. */
function others(file: TensorFile, tensors: Map<string, Tensor>) {
  const metadata = new Map(file.metadata);
  metadata.delete(KEY);
  return { metadata, tensors };
}

/** A network saved elsewhere: its widths and its number type are those of the arrays. */
function foreign(file: TensorFile, options: LoadOptions): Model {
  const { activation, time: given } = options;
  if (activation === undefined) {
    throw refused("OPTION", "activation", "that of the network, which the file does not tell", "undefined");
  }
  const { layers, rest } = layersOf(file, options.prefix);
  const columns = given === "concat" ? 1 : 0;
  const ordered = inOrder(layers, columns);
  const [first] = ordered as [NamedLayer];
  const dtype = kindOf(first.weight.data) === "Float64Array" ? "float64" : "float32";
  const { time = first.arrays.has("gate_weight") ? "concatsquash" : "none" } = options;
  const widths = [inputsOf(first) - columns, ...ordered.map(outputsOf)];
  const architecture = { widths, activation, time, bias: first.arrays.has("bias"), dtype } as const;
  const left = new Map(ordered.flatMap(arraysByPlace));
  const parameters = collect(architecture, (place) => {
    const named = left.get(place);
    left.delete(place);
    return named?.tensor;
  });
  const [unused] = left.values();
  if (unused) throw refused("FILE", unused.name, "no such tensor in this network", unused.name);
  // An option that is wrong is the caller's, not the file's.
  const field = mlp(architecture);
  field.parameters = parameters as ArrayOf<Dtype>;
  return { field, optimizer: undefined, ...others(file, rest) };
}

/** A layer of a network saved elsewhere. */
interface NamedLayer {
  /** What the names of its arrays begin with, such as `fc1.`. */
  readonly start: string;
  readonly weight: Tensor;
  /** All of its arrays, by the ends of their names. */
  readonly arrays: ReadonlyMap<string, NamedTensor>;
}

interface NamedTensor {
  readonly name: string;
  readonly tensor: Tensor;
}

const inputsOf = ({ weight }: NamedLayer) => weight.shape[1] ?? 0;
const outputsOf = ({ weight }: NamedLayer) => weight.shape[0] ?? 0;
const patternOf = ({ start }: NamedLayer) => start.replace(/\d+/g, "#");
const parentsOf = (layers: readonly NamedLayer[]) => new Set(layers.map(({ start }) => start.replace(/[^.]*\.?$/, "")));
/** A few of them, for a message. */
const some = (texts: Iterable<string>) => {
  const all = [...texts];
  return all.length > 8 ? `${all.slice(0, 8).join(", ")} and ${all.length - 8} more` : all.join(", ");
};
const listed = (layers: readonly NamedLayer[]) =>
  some(layers.map(({ start, weight }) => `${start}weight [${weight.shape.join(", ")}]`));

/** The arrays of a layer as `save` calls them at that place. */
const arraysByPlace = ({ arrays }: NamedLayer, place: number) =>
  [...arrays].map(([suffix, array]): [string, NamedTensor] => [`${2 * place}.${suffix}`, array]);

/** Whether the names of layers differ in one number alone, as those of one list do, and so tell their order. */
function areList(layers: readonly NamedLayer[]): boolean {
  if (new Set(layers.map(patternOf)).size > 1) return false;
  const numbers = layers.map(({ start }) => start.match(/\d+/g) ?? []);
  const varying = numbers[0]?.filter((_, place) => new Set(numbers.map((own) => own[place])).size > 1) ?? [];
  return varying.length <= 1;
}

/** The layers of a network by the order of the numbers in their names, whatever stands between them, such as a dropout. */
function layersOf(file: TensorFile, prefix: string | undefined): { layers: NamedLayer[]; rest: Map<string, Tensor> } {
  if (prefix !== undefined && typeof prefix !== "string") throw refused("OPTION", "prefix", "a text", describe(prefix));
  const depthOf = (name: string) => name.slice(prefix?.length ?? 0).split(".").length;
  const under = [...file.tensors.keys(), ...file.skipped.keys()].filter((name) => name.startsWith(prefix ?? ""));
  // Below the layers that a prefix tells of lie other networks.
  const flat = prefix !== undefined && under.some((name) => depthOf(name) === 2);
  const meant = new Set(under.filter((name) => !flat || depthOf(name) <= 2));
  const arrays = new Map<string, Map<string, NamedTensor>>();
  for (const name of meant) {
    const suffix = name.slice(name.lastIndexOf(".") + 1);
    const known = Object.hasOwn(SUFFIXES, suffix);
    const tensor = file.tensors.get(name);
    if (!tensor) {
      if (!known) continue;
      throw refused("FILE", name, "float32, float64, float16 or bfloat16", file.skipped.get(name)?.dtype);
    }
    if (!known) {
      throw refused("FILE", name, "names such as 0.weight and 0.bias, or a prefix to tell which are meant", name);
    }
    const start = name.slice(0, name.length - suffix.length);
    const own = arrays.get(start) ?? new Map<string, NamedTensor>();
    arrays.set(start, own.set(suffix, { name, tensor }));
  }
  if (arrays.size === 0) {
    throw refused("FILE", "bytes", "tensors such as 0.weight and 0.bias", `${file.tensors.size} others`);
  }
  const natural = new Intl.Collator("en", { numeric: true });
  const layers = [...arrays].map(([start, arrays]): NamedLayer => {
    const weight = arrays.get("weight")?.tensor;
    if (!weight) throw refused("FILE", `${start}weight`, "a tensor of that name", "none");
    if (weight.shape.length !== 2) throw refused("FILE", `${start}weight`, "[out, in]", `[${weight.shape.join(", ")}]`);
    return { start, weight, arrays };
  });
  layers.sort((a, b) => natural.compare(a.start, b.start));
  const rest = new Map([...file.tensors].filter(([name]) => !meant.has(name)));
  return { layers, rest };
}

/** Layers in the order of a network: that of their numbers, or else the only one in which their shapes fit. */
function inOrder(layers: readonly NamedLayer[], columns: number): readonly NamedLayer[] {
  if (areList(layers)) return layers;
  checkParents(layers);
  const found: NamedLayer[][] = [];
  // It ends: names without numbers are few, and two orders are too many.
  let tries = 10_000;
  const extend = (chain: readonly NamedLayer[]): void => {
    if (found.length > 1 || --tries < 0) return;
    if (chain.length === layers.length) found.push([...chain]);
    const end = chain.at(-1);
    const patterns = new Set<string>();
    for (const layer of layers) {
      if (chain.includes(layer) || patterns.has(patternOf(layer))) continue;
      // Of a list only the next one follows.
      patterns.add(patternOf(layer));
      if (!end || inputsOf(layer) - columns === outputsOf(end)) extend([...chain, layer]);
    }
  };
  if (layers.length <= 100) extend([]);
  const [only] = found;
  if (only && found.length === 1 && tries >= 0) return only;
  const expected = "numbers or shapes that tell the order of the layers; loadStateDict has it from its field";
  throw refused("FILE", "bytes", expected, listed(layers));
}

/** Refuses layers of several networks. */
function checkParents(layers: readonly NamedLayer[]): void {
  const parents = [...parentsOf(layers)];
  if (parents.length === 1) return;
  throw refused("OPTION", "prefix", `one of ${some(parents.map((text) => JSON.stringify(text)))}`, "undefined");
}

/**
 * Sets a field's parameters to those of a file: of `save`, or the `state_dict` of a network of the same widths, whose layers
 * are found by the numbers in their names, or else by their shapes.
 *
 * @throws `FILE` for a file that is damaged or of another network; the field is as it was then.
 */
export function loadStateDict<D extends Dtype>(
  field: Field<D>,
  bytes: Uint8Array,
  options: { prefix?: string } = {},
): void {
  checkNames(options, ["prefix"]);
  const { recipe } = useField(field);
  if (!recipe) throw refused("OPTION", "field", "a field from mlp, cnf or hamiltonian", "a custom field");
  const file = loadTensors(bytes);
  const entries = entriesOf(field.layers);
  const own = file.metadata.has(KEY);
  const layers = own ? [] : fitted(field, layersOf(file, options.prefix).layers);
  const arrays = new Map(layers.flatMap(arraysByPlace));
  const parts = entries.map(([place, { shape }]) => {
    const { name, tensor } = arrays.get(place) ?? { name: place, tensor: own ? file.tensors.get(place) : undefined };
    return numbersOf(name, tensor, field.dtype, shape, file);
  });
  if (arrays.size > entries.length) {
    throw refused("FILE", "bytes", `${entries.length} tensors for this field`, String(arrays.size));
  }
  field.parameters = joined(field.dtype, parts) as ArrayOf<D>;
}

/** Layers of a file in the order of a field's: that of their numbers, or else by their shapes. */
function fitted(field: Field, layers: readonly NamedLayer[]): readonly NamedLayer[] {
  if (layers.length !== field.layers.length) {
    checkParents(layers);
    throw refused("FILE", "bytes", `the ${field.layers.length} layers of the field`, listed(layers));
  }
  if (areList(layers)) return layers;
  const left = new Set(layers);
  return field.layers.map(({ weight: { shape } }, index) => {
    const fitting = [...left].filter(({ weight }) => weight.shape.join() === shape.join());
    const [layer] = fitting;
    if (!layer || !areList(fitting)) {
      throw refused("FILE", "bytes", `one layer to be number ${index + 1}, [${shape.join(", ")}]`, listed(layers));
    }
    left.delete(layer);
    return layer;
  });
}

const product = (shape: readonly number[]) => shape.reduce((length, side) => length * side, 1);
