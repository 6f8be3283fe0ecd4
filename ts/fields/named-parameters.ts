// Parameters by their names, for the flat ones.
import { type Dtype, firstNotFinite } from "../checks/arrays.js";
import { describe, isArray, refused } from "../checks/errors.js";
import { unknownName } from "../checks/names.js";
import { argument, finite, finiteValue, isRecord, required } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { type NestedNumbers, nestedNumbers } from "../trace/nested.js";
import type { Module } from "../trace/nn.js";
import type { Entry } from "../trace/program.js";

/**
 * Numbers for parameters, by name: a number for a number, an array for an array, nested as it was given or flat, and objects of these
 * where the parameters are nested. A network's arrays are named as in `field.entries`: `{ "net.0.weight": weight }` and
 * `{ net: { 0: { weight } } }` are the same. Names that are left out keep their numbers.
 */
export type ParameterValues = {
  readonly [name: string]: number | Float32Array | Float64Array | NestedNumbers | ParameterValues;
};

/** Numbers for the parameters of a field whose type knows them, by name. Names that are left out keep their numbers. */
export type ParameterValuesOf<P> = unknown extends P
  ? ParameterValues
  : { readonly [Name in keyof P]?: ParameterValueOf<P[Name]> } & (P extends { readonly [Name in keyof P]: number }
      ? unknown
      : { readonly [dotted: `${string}.${string}`]: number | Float32Array | Float64Array | NestedNumbers });

/** What may be assigned to a parameter: a number to a number, an array to an array, arrays by name to a network. */
export type ParameterValueOf<P> = P extends number
  ? number
  : P extends Float32Array | Float64Array | readonly unknown[]
    ? Float32Array | Float64Array | NestedNumbers
    : P extends Module
      ? ParameterValues
      : ParameterValuesOf<P>;

/** The names of the arrays of parameters: `birth`, or `net.0.weight`. */
export type EntryNames<P> = unknown extends P
  ? string
  : { readonly [Name in keyof P & string]: EntryNamesOf<Name, P[Name]> }[keyof P & string];

/** The names of the arrays of one parameter: its own name for a number or an array, `net.0.weight` and so on for a network. */
export type EntryNamesOf<Name extends string, P> = P extends number | Float32Array | Float64Array | readonly unknown[]
  ? Name
  : P extends Module
    ? `${Name}.${string}`
    : `${Name}.${EntryNames<P>}`;

/** The names of parameters and of parts of them: `birth`, or `net`, `net.0` and `net.0.weight` of a network. */
export type PartNames<P> = P extends unknown
  ? unknown extends P
    ? string
    : { readonly [Name in keyof P & string]: PartNamesOf<Name, P[Name]> }[keyof P & string]
  : never;

/** The names of one parameter and of its parts: its own name alone for a number or an array. */
export type PartNamesOf<Name extends string, P> =
  | Name
  | (P extends number | Float32Array | Float64Array | readonly unknown[]
      ? never
      : P extends Module
        ? `${Name}.${string}`
        : `${Name}.${PartNames<P>}`);

/** Numbers, and where they belong. */
interface ParameterAssignment {
  readonly offset: number;
  readonly numbers: ArrayLike<number>;
}

/** Whether it is an object of parameters by name, and no array of all. */
export const isNamed = (given: unknown): given is ParameterValues => isRecord(given);

/** Reads parameters by name, all of which are checked. */
export function readNamed(
  given: ParameterValues,
  entries: Readonly<Record<string, Entry>>,
  dtype: Dtype,
): ParameterAssignment[] {
  const read = new Map<string, ParameterAssignment>();
  const names = Object.keys(entries);
  const take = (prefix: string, values: object) => {
    for (const [key, value] of runUserCode(() => Object.entries(values))) {
      const name = prefix + key;
      const where = `parameters.${name}`;
      const entry = Object.hasOwn(entries, name) ? entries[name] : undefined;
      if (entry) {
        if (read.has(name)) throw refused("OPTION", where, "one value", "two");
        read.set(name, { offset: entry.offset, numbers: numbersFor(where, value, entry, dtype) });
      } else if (names.some((other) => other.startsWith(`${name}.`))) {
        if (!isNamed(value)) throw refused("OPTION", where, "an object of parameters by their names", describe(value));
        take(`${name}.`, value);
      } else {
        const own = names.filter((other) => other.startsWith(prefix)).map((other) => other.slice(prefix.length));
        const known = [...new Set(own.map((other) => other.split(".", 1)[0] as string))];
        throw unknownName(`parameters.${prefix}`, key, known, "parameter");
      }
    }
  };
  take("", given);
  return [...read.values()];
}

/** The numbers of a parameter. */
function numbersFor(where: string, value: unknown, { shape }: Entry, dtype: Dtype): ArrayLike<number> {
  const flat = shape.length === 0 ? [numberFor(where, value)] : arrayFor(where, value, shape);
  const bad = dtype === "float32" ? firstNotFinite(Float32Array.from(flat)) : -1;
  if (bad >= 0) throw refused("NON_FINITE", where, `numbers that are finite in ${dtype}`, String(flat[bad]));
  return flat;
}

const numberFor = (where: string, value: unknown) =>
  argument(where, value, required(typeof value === "number" ? finiteValue : finite));

/** The numbers of an array, nested as its shape says or flat. */
function arrayFor(where: string, value: unknown, shape: readonly number[]): Float64Array {
  const size = shape.reduce((product, side) => product * side, 1);
  const expected = shape.length === 1 ? `${size} numbers` : `numbers [${shape.join(", ")}], or ${size} flat`;
  if (!isArray(value) && !ArrayBuffer.isView(value)) throw refused("SHAPE", where, expected, describe(value));
  const given = nestedNumbers(where, value, 0);
  const isFlat = given.shape.length === 1 && given.flat.length === size;
  if (!isFlat && given.shape.join() !== shape.join())
    throw refused("SHAPE", where, expected, `[${given.shape.join(", ")}]`);
  return given.flat;
}
