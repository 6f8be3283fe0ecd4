// The kinds of field that are data: what model files, pools and their workers make fields of.
import type { Dtype } from "../checks/arrays.js";
import { describe, refused } from "../checks/errors.js";
import { argument, isObject, object, options, required } from "../checks/rules.js";
import { cnfKind } from "./cnf.js";
import type { Field, Kind, Recipe, WasmField } from "./field.js";
import { wasmField } from "./field.js";
import { hamiltonianKind } from "./hamiltonian.js";
import { type MlpOptions, mlpKind } from "./mlp.js";

/** By the names that recipes have for them; those but the first have a network inside. */
const KINDS: Readonly<Record<string, Kind>> = { mlp: mlpKind, cnf: cnfKind, hamiltonian: hamiltonianKind };

/** The recipe of a field; a custom one, whose functions cannot leave this thread, is refused. */
export function recipeOf<D extends Dtype>(field: Field<D>): Recipe {
  const { recipe } = wasmField(field);
  if (recipe) return recipe;
  throw refused(
    "OPTION",
    "field",
    `a field from ${Object.keys(KINDS).join(", ")}`,
    "a custom field, whose functions stay here",
  );
}

/** A field by its recipe, with initial parameters. */
export function fieldOf(recipe: Recipe): WasmField<Dtype> {
  return (KINDS[recipe.kind] as Kind).make(recipe);
}

/** A recipe that somebody else has written: whatever it adds to what a field needs is refused. */
export function readRecipe(
  name: string,
  given: unknown,
): Recipe & { readonly architecture: Required<MlpOptions<Dtype>> } {
  const kind = isObject(given) ? (given as Recipe).kind : undefined;
  const rules = typeof kind === "string" && Object.hasOwn(KINDS, kind) ? KINDS[kind]?.rules : undefined;
  if (!rules)
    throw refused("OPTION", name, `{ kind: ${Object.keys(KINDS).join(", ")} }, with options`, describe(given));
  const recipe = given as Recipe;
  const read = options(argument(`${name}.options`, recipe.options, required(object)), rules);
  if (kind === "mlp") return { kind, options: read, architecture: read as never };
  const network = argument(`${name}.network`, recipe.network, required(object));
  return { kind: kind as string, options: read, network, architecture: options(network, mlpKind.rules) as never };
}
