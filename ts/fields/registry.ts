// The kinds of field that are data: what model files, pools and their workers make fields of.
import type { Dtype } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import { argument, choiceOf, isObject, object, options, required } from "../checks/rules.js";
import { cnfKind } from "./cnf.js";
import type { Field, FieldKind, Recipe, WasmField } from "./field.js";
import { wasmField } from "./field.js";
import { hamiltonianKind } from "./hamiltonian.js";
import { mlpKind } from "./mlp.js";
import { programKind, readProgram } from "./program.js";

/** By the names that recipes have for them; cnf and hamiltonian have a network inside. */
const KINDS: Readonly<Record<string, FieldKind>> = {
  mlp: mlpKind,
  cnf: cnfKind,
  hamiltonian: hamiltonianKind,
  program: programKind,
};

/** The recipe of a field; a custom one, whose functions cannot leave this thread, is refused. */
export function recipeOf<D extends Dtype>(field: Field<D>): Recipe {
  const { recipe, unsavable } = wasmField(field);
  if (recipe) return recipe;
  throw refused("OPTION", "field", "a field from mlp, cnf, hamiltonian, vectorField, equations", unsavable);
}

/** A field by its recipe, with initial parameters. */
export function fieldOf(recipe: Recipe): WasmField<Dtype> {
  return (KINDS[recipe.kind] as FieldKind).make(recipe);
}

/** Checks a recipe from an untrusted source: names that the kind of field does not have are refused. */
export function readRecipe(name: string, given: unknown): Recipe {
  const kind = isObject(given) ? (given as Recipe).kind : undefined;
  const rules = typeof kind === "string" && Object.hasOwn(KINDS, kind) ? KINDS[kind]?.rules : undefined;
  if (!rules)
    throw refused(
      "OPTION",
      name,
      `{ kind, options }, with a kind that is ${choiceOf(Object.keys(KINDS))}`,
      describe(given),
    );
  const recipe = given as Recipe & { kind: string };
  const own = argument(`${name}.options`, recipe.options, required(object));
  if (kind === "program") return { kind, options: readProgram(own) };
  const read = options(own, rules);
  if (kind === "mlp") return { kind, options: read };
  const network = argument(`${name}.network`, recipe.network, required(object));
  return { kind: recipe.kind, options: read, network: options(network, mlpKind.rules) };
}
