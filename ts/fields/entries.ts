// The arrays of a field's parameters by their names, and what those are part of.
import type { Entry } from "../trace/program.js";
import { type Field, type LayerEntries, wasmField } from "./field.js";
import type { ProgramOptions } from "./program.js";

/** The arrays of a layer by the ends of their names in a file. */
export const SUFFIXES: Record<string, keyof LayerEntries> = {
  weight: "weight",
  bias: "bias",
  gate_weight: "gateWeight",
  gate_bias: "gateBias",
  hyper_bias: "hyperBias",
};

/** The arrays of a field by their names: of a network, activations count as layers, as in an nn.Sequential. */
export function entriesOf(field: Field): [name: string, entry: Entry][] {
  const { layers, recipe } = wasmField(field);
  if (recipe?.kind === "program") return Object.entries((recipe.options as ProgramOptions).entries);
  return layers.flatMap((layer, index) =>
    Object.entries(SUFFIXES).flatMap(([suffix, key]): [string, Entry][] => {
      const entry = layer[key];
      return entry ? [[`${2 * index}.${suffix}`, entry]] : [];
    }),
  );
}

/** The names by which an entry may be meant, the nearest first: its own, and those of what it is part of, as net.0 and net. */
export function prefixesOf(entry: string): string[] {
  const parts = entry.split(".");
  return parts.map((_, i) => parts.slice(0, parts.length - i).join("."));
}
