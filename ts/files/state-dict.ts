// Networks saved elsewhere, such as a `state_dict` of PyTorch: their layers are found by the names and shapes of the arrays.
import { ACTIVATIONS, TIMES } from "../../wasm/constants.js";
import { type ArrayOf, type Dtype, dtypeOf } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { argument, oneOf, options as readOptions, required, text } from "../checks/rules.js";
import { entriesOf, SUFFIXES } from "../fields/entries.js";
import type { Field } from "../fields/field.js";
import { type Activation, type MlpOptions, mlp } from "../fields/mlp.js";
import { recipeOf } from "../fields/registry.js";
import { collect, joined, KEY, numbersOf, wantedByNetwork } from "./arrays.js";
import { loadTensors, type Tensor, type TensorFile } from "./tensors.js";

/** What `load` cannot find in a file that was not written by `save`, and what you expect of the file. */
export interface LoadOptions<D extends Dtype = Dtype> {
  /** The number type that you expect: a file of another one throws `FILE`. */
  dtype?: D | undefined;
  /**
   * The activation of a network that was saved elsewhere, such as a `state_dict` of PyTorch, which does not name it.
   */
  activation?: Activation | undefined;
  /** How the time enters a network that was saved elsewhere; default `concatsquash` if the file has gates, else `none`. */
  time?: (MlpOptions["time"] & string) | undefined;
  /**
   * The prefix of the names of the network's arrays, in a file saved elsewhere: `net.` for `net.0.weight`. Needed if a file holds several
   * networks, or arrays that do not belong to the network.
   */
  prefix?: string | undefined;
}

/** The rules of options for what a file from another framework does not contain. */
export const networkRules = { activation: oneOf(ACTIVATIONS), time: oneOf(TIMES), prefix: text };

const activationRule = required({
  ...networkRules.activation,
  expected: "the network's activation, which the file does not record",
});

/** A network saved elsewhere: its widths and its number type are those of the arrays. */
export function networkFrom(file: TensorFile, options: LoadOptions): { field: Field; rest: Map<string, Tensor> } {
  const { time: given } = options;
  const activation = argument("activation", options.activation, activationRule);
  const { layers, rest } = layersOf(file, options.prefix);
  const columns = given === "concat" ? 1 : 0;
  const ordered = inOrder(layers, columns);
  const [first] = ordered as [NamedLayer];
  const dtype = dtypeOf(first.weight.data);
  const { time = first.arrays.has("gate_weight") ? "concatsquash" : "none" } = options;
  const widths = [inputsOf(first) - columns, ...ordered.map(outputsOf)];
  const architecture = { widths, activation, time, bias: first.arrays.has("bias"), dtype } as const;
  const left = new Map(ordered.flatMap(arraysByPlace));
  const parameters = collect(wantedByNetwork(architecture), (place) => {
    const named = left.get(place);
    left.delete(place);
    return named?.tensor;
  });
  const [unused] = left.values();
  if (unused) throw refused("FILE", unused.name, "no such tensor in this network", unused.name);
  // A wrong option is the fault of the caller, not of the file.
  const field = mlp(architecture);
  field.parameters = parameters as ArrayOf<Dtype>;
  return { field, rest };
}

/** A layer of a network saved elsewhere. */
interface NamedLayer {
  /** The prefix of its arrays' names, such as `fc1.`. */
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
/** The name before its last part, up to its dot. */
const parentOf = ({ start }: NamedLayer) => start.slice(0, start.slice(0, -1).lastIndexOf(".") + 1);
const parentsOf = (layers: readonly NamedLayer[]) => new Set(layers.map(parentOf));
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

/** Whether the names of layers differ only in one number, as those of a list do, which then gives their order. */
function areSequential(layers: readonly NamedLayer[]): boolean {
  if (new Set(layers.map(patternOf)).size > 1) return false;
  const numbers = layers.map(({ start }) => start.match(/\d+/g) ?? []);
  const varying = numbers[0]?.filter((_, place) => new Set(numbers.map((own) => own[place])).size > 1) ?? [];
  return varying.length <= 1;
}

/** The layers of a network in the order of the numbers in their names, with any gaps, such as for a dropout. */
function layersOf(file: TensorFile, prefix: string | undefined): { layers: NamedLayer[]; rest: Map<string, Tensor> } {
  const depthOf = (name: string) => name.slice(prefix?.length ?? 0).split(".").length;
  const under = [...file.tensors.keys(), ...file.skipped.keys()].filter((name) => name.startsWith(prefix ?? ""));
  // Deeper names than the layers of the prefix belong to other networks.
  const flat = prefix !== undefined && under.some((name) => depthOf(name) === 2);
  const meant = new Set(under.filter((name) => !flat || depthOf(name) <= 2));
  const arrays = new Map<string, Map<string, NamedTensor>>();
  for (const name of meant) {
    const suffix = name.slice(name.lastIndexOf(".") + 1);
    const known = Object.hasOwn(SUFFIXES, suffix);
    const tensor = file.tensors.get(name);
    if (!tensor) {
      if (!known) continue;
      throw refused("FILE", name, "float32, float64, float16 or bfloat16", String(file.skipped.get(name)?.dtype));
    }
    if (!known) {
      throw refused("FILE", name, "names such as 0.weight and 0.bias, or a prefix that selects them", name);
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
  if (areSequential(layers)) return layers;
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
  const expected = "numbers or shapes that give the order of the layers; loadStateDict takes it from its field";
  throw refused("FILE", "bytes", expected, listed(layers));
}

/** Refuses layers of several networks. */
function checkParents(layers: readonly NamedLayer[]): void {
  const parents = [...parentsOf(layers)];
  if (parents.length === 1) return;
  throw refused("OPTION", "prefix", `one of ${some(parents.map((text) => JSON.stringify(text)))}`, "undefined");
}

/**
 * Sets a field's parameters to those of a file: one from `save`, or the `state_dict` of a network of the same widths, whose layers are
 * found by the numbers in their names, or else by their shapes. A field of `vectorField` or `equations` takes the arrays whose names are
 * those of its `entries`, after the prefix if there is one.
 *
 * @throws `FILE` for a file that is damaged or of another network; the field is unchanged then.
 */
export function loadStateDict<D extends Dtype>(
  field: Field<D>,
  bytes: Uint8Array,
  options: {
    /** Load only tensors whose names begin with this, such as `net.`; default: none, so all of them. */
    prefix?: string;
  } = {},
): void {
  const { prefix } = readOptions(options, { prefix: networkRules.prefix });
  const { kind } = recipeOf(field);
  const file = loadTensors(bytes);
  const entries = entriesOf(field);
  if (kind === "program") {
    const parts = entries.map(([own, { shape }]) => {
      const name = (prefix ?? "") + own;
      return numbersOf(name, file.tensors.get(name), field.dtype, shape, file);
    });
    field.parameters = joined(field.dtype, parts) as ArrayOf<D>;
    return;
  }
  // With a prefix the network is a part of the model that was saved.
  const isWholeModel = file.metadata.has(KEY) && prefix === undefined;
  const layers = isWholeModel ? [] : matchLayers(field, layersOf(file, prefix).layers);
  const arrays = new Map(layers.flatMap(arraysByPlace));
  const parts = entries.map(([place, { shape }]) => {
    const { name, tensor } = arrays.get(place) ?? {
      name: place,
      tensor: isWholeModel ? file.tensors.get(place) : undefined,
    };
    return numbersOf(name, tensor, field.dtype, shape, file);
  });
  if (arrays.size > entries.length) {
    throw refused("FILE", "bytes", `${entries.length} tensors for this field`, String(arrays.size));
  }
  field.parameters = joined(field.dtype, parts) as ArrayOf<D>;
}

/** Layers of a file in the order of a field's: that of their numbers, or else by their shapes. */
function matchLayers(field: Field, layers: readonly NamedLayer[]): readonly NamedLayer[] {
  if (layers.length !== field.layers.length) {
    checkParents(layers);
    throw refused("FILE", "bytes", `the ${field.layers.length} layers of the field`, listed(layers));
  }
  if (areSequential(layers)) return layers;
  const left = new Set(layers);
  return field.layers.map(({ weight: { shape } }, index) => {
    const fitting = [...left].filter(({ weight }) => weight.shape.join() === shape.join());
    const [layer] = fitting;
    if (!layer || !areSequential(fitting)) {
      throw refused("FILE", "bytes", `one layer to be number ${index + 1}, [${shape.join(", ")}]`, listed(layers));
    }
    left.delete(layer);
    return layer;
  });
}
