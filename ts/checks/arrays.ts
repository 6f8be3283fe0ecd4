// Typed arrays and lists of numbers, as arguments.
import { DTYPES } from "../../wasm/constants.js";
import { describe, type ErrorCode, isArray, isRevoked, refused, SymplecticAdjointError } from "./errors.js";
import { isObject, oneOf, size } from "./rules.js";
import { runUserCode } from "./user-code.js";

/** The number type of a field, and of all arrays that it takes and gives: `float32` or `float64`. */
export type Dtype = (typeof DTYPES)[number];

/** The typed array of a number type: a Float32Array or a Float64Array. */
export type ArrayOf<D extends Dtype> = D extends "float32" ? Float32Array : Float64Array;

export const constructors = { float32: Float32Array, float64: Float64Array } as const;

export const dtypeRule = oneOf(DTYPES);

// The real type of an array, which its class, realm or own properties cannot change.
const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as object;
const intrinsic = (key: PropertyKey) => Object.getOwnPropertyDescriptor(typedArray, key)?.get as () => unknown;
const [tagOf, bufferOf, offsetOf, lengthOf] = [Symbol.toStringTag, "buffer", "byteOffset", "length"].map(intrinsic);

/** Which typed array a value is, undefined for anything else. */
function kindOf(value: unknown): string | undefined {
  return tagOf?.call(value) as string | undefined;
}

/** The number type of a typed array; float32 of anything else, which is refused when it is read. */
export function dtypeOf(value: unknown): Dtype {
  return kindOf(value) === "Float64Array" ? "float64" : "float32";
}

/** How to make an array of that class from another one, or from numbers; `ofField` if a field requires that class. */
function arrayHint(name: string, value: unknown, ofField: boolean): string {
  if (typeof value === "number") return `; write ${name}.of(${value})`;
  const isDouble = kindOf(value) === "Float64Array" && ofField;
  if (isDouble) return `; write ${name}.from(…), or make the field with dtype: "float64"`;
  if (kindOf(value) !== undefined) return `; write ${name}.from(…)`;
  if (!isArray(value)) return "";
  const isNested = runUserCode(() => isArray(value[0]));
  return isNested ? `; write ${name}.from(rows.flat())` : `; write ${name}.of(…), or ${name}.from(list)`;
}

/** A plain array over the same memory as a typed array of that class; anything else is refused. */
function plainView<A>(
  argument: string,
  value: unknown,
  TypedArray: new (buffer: ArrayBuffer, offset: number, length: number) => A,
  expected: string,
  hint: (value: unknown) => string,
): A {
  if (kindOf(value) !== TypedArray.name) throw refused("DTYPE", argument, expected, describe(value), hint(value));
  const [buffer, offset, length] = [bufferOf, offsetOf, lengthOf].map((get) => get?.call(value));
  try {
    return new TypedArray(buffer as ArrayBuffer, offset as number, length as number);
  } catch {
    throw refused("SHAPE", argument, expected, "one whose buffer was transferred");
  }
}

/** A plain array over the same memory as any typed array of that number type, which is that of a field unless `reason` says otherwise. */
export function arrayOf<D extends Dtype>(argument: string, value: unknown, dtype: D, reason?: string): ArrayOf<D> {
  const TypedArray = constructors[dtype] as unknown as new (...of: [ArrayBuffer, number, number]) => ArrayOf<D>;
  const expected = `a ${TypedArray.name}${reason ?? `, for a ${dtype} field`}`;
  return plainView(argument, value, TypedArray, expected, (given) =>
    arrayHint(TypedArray.name, given, reason === undefined),
  );
}

/** Whether it is a typed array of a number type. */
export const isFloats = (value: unknown, dtype: Dtype) => kindOf(value) === constructors[dtype].name;

/** A plain array over the same memory as a typed array of either number type. */
export function floatsOf(argument: string, value: unknown): ArrayOf<Dtype> {
  const dtype = dtypeOf(value);
  return arrayOf(argument, value, dtype, ` or a ${dtype === "float32" ? "Float64Array" : "Float32Array"}`);
}

/** Where a file was named, or what fetch gives was taken for its bytes. */
function bytesHint(value: unknown): string {
  if (typeof value === "string") return "; read the file first, and pass its bytes: readFileSync(name) in Node";
  return !isRevoked(value) && runUserCode(() => value instanceof ArrayBuffer) ? "; write new Uint8Array(buffer)" : "";
}

/** The same of bytes. */
export function bytesOf(argument: string, value: unknown): Uint8Array<ArrayBuffer> {
  return plainView(argument, value, Uint8Array, "a Uint8Array", bytesHint);
}

/** The shape of a solution, checked. */
export function shapeOf(argument: string, shape: unknown): [times: number, batch: number, state: number] {
  const list = isArray(shape) && shape.length === 3 ? shape : [];
  const sides = runUserCode((): unknown[] => [list[0], list[1], list[2]]);
  if (sides.every(size.valid)) return sides as [number, number, number];
  throw refused("SHAPE", argument, "that of the solution, [times, batch, state]", describe(shape));
}

/** Refuses a typed array of another length. */
export function checkLength(argument: string, array: ArrayLike<number>, length: number, shape?: string): void {
  if (array.length !== length) {
    throw refused("SHAPE", argument, `${length} numbers${shape ? ` ${shape}` : ""}`, String(array.length));
  }
}

/** The batch size of `[batch, state]` numbers. */
export function batchOf(argument: string, array: ArrayLike<number>, stateSize: number): number {
  const batch = array.length / stateSize;
  if (!Number.isInteger(batch) || batch === 0) {
    throw refused("SHAPE", argument, `[batch, ${stateSize}] numbers, a multiple of ${stateSize}`, String(array.length));
  }
  return batch;
}

/** An array of zeros. */
export function zeros<D extends Dtype>(dtype: D, length: number): ArrayOf<D> {
  try {
    return new constructors[dtype](length) as ArrayOf<D>;
  } catch (cause) {
    const bytes = length * constructors[dtype].BYTES_PER_ELEMENT;
    const message = `could not allocate ${bytes} bytes for an array of ${length} numbers`;
    throw new SymplecticAdjointError("OUT_OF_MEMORY", message, { bytes }, { cause });
  }
}

/** More numbers would not fit into WebAssembly memory. */
const MOST_NUMBERS = 2 ** 29;
/** How many numbers of an untyped list are read before more memory is allocated, since its length may be wrong. */
const FIRST_NUMBERS = 2 ** 12;

/** A plain copy of any array of numbers, each read once; `numberOf` refuses other elements. */
function copyOf(
  argument: string,
  values: unknown,
  [code, expected]: readonly [ErrorCode, string],
  numberOf: (element: unknown, index: number) => number,
): Float64Array {
  return runUserCode(() => {
    const isTyped = kindOf(values) !== undefined;
    // An object whose prototype is a typed array has no length that can be read.
    const isList = isTyped || (isObject(values) && !Object.prototype.isPrototypeOf.call(typedArray, values));
    const list = values as ArrayLike<unknown>;
    const length = isList ? list.length : Number.NaN;
    if (!(Number.isInteger(length) && length >= 0 && length < MOST_NUMBERS)) {
      throw refused(code, argument, expected, describe(values));
    }
    // A sparse array of this length would take too long to read.
    if (length > FIRST_NUMBERS && !isTyped && !(length - 1 in list)) {
      throw refused(code, argument, expected, `${describe(values)} with missing elements`);
    }
    let copy = zeros("float64", isTyped ? length : Math.min(length, FIRST_NUMBERS));
    for (let i = 0; i < length; i++) {
      const number = numberOf(list[i], i);
      if (i === copy.length) {
        const more = zeros("float64", Math.min(length, 2 * i));
        more.set(copy);
        copy = more;
      }
      copy[i] = number;
    }
    return copy;
  });
}

/** A plain copy of an array of numbers, which may be infinite or NaN; `code` is that of the error for other elements. */
export function anyNumbersOf(
  argument: string,
  values: unknown,
  expected: readonly [ErrorCode, string],
  code = expected[0],
): Float64Array {
  return copyOf(argument, values, expected, (value, i) => {
    if (typeof value === "number") return value;
    throw refused(code, argument, `a number at index ${i}`, describe(value));
  });
}

/** A plain copy of the times, for any array of numbers. */
export function timesOf(times: ArrayLike<number>, argument = "times"): Float64Array {
  return anyNumbersOf(argument, times, ["SHAPE", "an array of numbers"], "OPTION");
}

/** A plain copy of measurements, with NaN for each that is missing: for NaN, null or undefined. */
export function numbersOrMissing(argument: string, values: unknown, dtype: Dtype): Float64Array {
  const held = new constructors[dtype](1);
  return copyOf(argument, values, ["DTYPE", "an array of numbers"], (value, i) => {
    if (value === null || value === undefined || Number.isNaN(value)) return Number.NaN;
    if (isArray(value) && i === 0)
      throw refused("OPTION", argument, "one flat array of numbers, as flat() makes of rows", "rows");
    if (typeof value !== "number") {
      const expected = "numbers, or NaN, null or undefined where one is missing";
      throw refused("OPTION", argument, expected, `${describe(value)} at index ${i}`);
    }
    held[0] = value;
    if (Number.isFinite(held[0])) return value;
    const expected = `numbers that are finite in ${dtype}, or NaN where one is missing`;
    throw refused("NON_FINITE", argument, expected, `${value} at index ${i}`);
  });
}

/** A plain copy of an array of finite numbers. */
export function numbersOf(argument: string, values: unknown, code: ErrorCode = "OPTION"): Float64Array {
  return copyOf(argument, values, [code, "an array of numbers"], (value, i) => {
    if (Number.isFinite(value)) return value as number;
    throw refused("NON_FINITE", argument, "finite numbers", `${describe(value)} at index ${i}`);
  });
}

/** The index of the first number that is not finite, or −1: as `findIndex`, many times as fast. */
export function firstNotFinite(numbers: ArrayLike<number>): number {
  if (numbers.length > MANY && numbers instanceof Float32Array) return firstSaturated(numbers);
  for (let i = 0; i < numbers.length; i++) {
    const number = numbers[i] as number;
    if (number - number !== 0) return i;
  }
  return -1;
}

/** From this length on, a second view of the numbers pays off. */
const MANY = 1000;

/** Of numbers in float32, by their bits: a loop over one type of array, which the loop above seldom is. */
function firstSaturated({ buffer, byteOffset, length }: Float32Array): number {
  const bits = new Uint32Array(buffer, byteOffset, length);
  for (let i = 0; i < length; i++) {
    // All bits of the exponent are set in infinities and NaN.
    if (((bits[i] as number) & 0x7f80_0000) === 0x7f80_0000) return i;
  }
  return -1;
}

/** Refuses numbers of which one is not finite. */
export function checkFinite(
  argument: string,
  numbers: ArrayLike<number>,
  code: ErrorCode = "NON_FINITE",
  expected = "finite numbers",
): void {
  const bad = firstNotFinite(numbers);
  if (bad >= 0) throw refused(code, argument, expected, `${numbers[bad]} at index ${bad}`);
}

/** Refuses a list of nothing; `one` is what it should have. */
export function checkSome(
  argument: string,
  list: { readonly length: number },
  one: string,
  code: ErrorCode = "SHAPE",
): void {
  if (list.length === 0) throw refused(code, argument, `at least one ${one}`, "none");
}

/** A plain copy of weights, and their sum, which is positive. */
export function weightsOf(argument: string, values: unknown): { weights: Float64Array; sum: number } {
  const weights = copyOf(argument, values, ["DTYPE", "an array of numbers"], (weight, i) => {
    if (typeof weight === "number" && weight >= 0 && weight < Number.POSITIVE_INFINITY) return weight;
    throw refused("OPTION", argument, "finite numbers, zero or more", `${describe(weight)} at index ${i}`);
  });
  let sum = 0;
  for (const weight of weights) sum += weight;
  if (!(sum > 0)) throw refused("OPTION", argument, "at least one positive weight", "none");
  if (sum === Number.POSITIVE_INFINITY)
    throw refused("OPTION", argument, "weights with a finite sum", "an infinite one");
  return { weights, sum };
}

/** Copies the first `width` numbers of each row into another matrix's rows. For few numbers that is faster than by views of rows. */
export function copyRows(
  rows: number,
  width: number,
  from: ArrayOf<Dtype>,
  fromStride: number,
  to: ArrayOf<Dtype>,
  toStride: number,
): void {
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < width; i++) to[row * toStride + i] = from[row * fromStride + i] as number;
  }
}
