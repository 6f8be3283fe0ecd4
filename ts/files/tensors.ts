// Files of named arrays, in the safetensors format.
import { bytesOf, dtypeOf, floatsOf } from "../checks/arrays.js";
import { refused, SymplecticAdjointError } from "../checks/errors.js";
import { frozen } from "../checks/frozen.js";
import { argument, array, elements, number, type Rule, record, required, text } from "../checks/rules.js";
import { call, ensureMemory, release } from "../engine/call.js";
import type { Instance } from "../engine/engine.js";
import { instance } from "../engine/instance.js";

/**
 * A Uint8Array with its own memory, as a Blob takes it: `Uint8Array<ArrayBuffer>` by another name, as TypeScript before 5.7
 * knows no such parameter.
 */
export type OwnedBytes = ReturnType<Uint8Array["slice"]>;

/** A named array in a file. */
export interface Tensor {
  /** The length of each axis; empty for a single number. */
  readonly shape: readonly number[];
  /** The numbers, row-major: as many as the product of `shape`. */
  readonly data: Float32Array | Float64Array;
}

/** A tensor of a number type that the package does not compute with: integers, booleans, float8 and the like. */
export interface SkippedTensor {
  /** The length of each axis; empty for a single number. */
  readonly shape: readonly number[];
  /** The number type, as the format names it: `I64`, `BOOL`, `U8` and so on. */
  readonly dtype: string;
}

/** The contents of a safetensors file, in the order of the names. */
export interface TensorFile {
  /** Arrays by name; float16 and bfloat16 as float32, which holds each of them exactly. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** The tensors of other number types, whose numbers are not read. */
  readonly skipped: ReadonlyMap<string, SkippedTensor>;
  /** The strings of the file's metadata, by key. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** WebAssembly memory ends there. */
const LARGEST = 2 ** 32;

const named = required(record<unknown>());
const shapeRule = array<number>("an array of integers", 0, "SHAPE");
const sideRule: Rule<number | undefined> = {
  ...number("an integer, zero or more", (value) => Number.isInteger(value) && value >= 0 && value < 2 ** 32),
  code: "SHAPE",
};

/** More than a character of names and texts takes: in UTF-8, copied, in the file's JSON with all of it escaped, and as it grows. */
const TEXT_BYTES = 24;

/** Bytes of a file's header, in which its texts are: its first eight bytes, as far as the file goes. */
function headerSize(bytes: Uint8Array): number {
  const length = bytes.subarray(0, 8).reduceRight((high, byte) => high * 256 + byte, 0);
  return Math.min(length, bytes.length);
}

/**
 * Named arrays as a file in the safetensors format, which Python's `safetensors` reads as well. The same arrays and texts give
 * the same bytes.
 *
 * @throws `SHAPE` for a shape that is not a list of integers or does not fit the length of `data`; `DTYPE` for data other than a
 * Float32Array or a Float64Array; `OPTION` for the name `__metadata__`, metadata that are not strings, or 4 GiB in all; `OUT_OF_MEMORY`.
 */
export function saveTensors(tensors: Record<string, Tensor>, metadata: Record<string, string> = {}): OwnedBytes {
  const entries = Object.entries(argument("tensors", tensors, named)).map(([name, tensor]) => {
    const { shape, data } = argument(`tensors.${name}`, tensor, named) as unknown as Tensor;
    const dtype = dtypeOf(data);
    const sides = Uint32Array.from(elements(`tensors.${name}.shape`, shape, shapeRule, sideRule));
    return { name, dtype, sides, data: floatsOf(`tensors.${name}.data`, data) };
  });
  const texts = Object.entries(argument("metadata", metadata, named)).map(
    ([key, value]) => [key, argument(`metadata.${key}`, value, required(text))] as const,
  );
  const size = entries.reduce((sum, { data }) => sum + data.byteLength, 0);
  if (size >= LARGEST) throw refused("OPTION", "tensors", "less than 4 GiB in all", `${size} bytes`);
  const engine = instance();
  const names = entries.reduce((sum, { name, sides }) => sum + name.length + 8 * sides.length, 0);
  ensureMemory(engine, TEXT_BYTES * texts.reduce((sum, [key, text]) => sum + key.length + text.length, names), "texts");
  const file = call(engine, () => new engine.bindings.TensorFile());
  try {
    return call(engine, () => {
      for (const { name, dtype, sides, data } of entries) file.add(name, dtype, sides, engine.steady(data));
      for (const [key, text] of texts) file.describe(key, text);
      return file.serialize() as OwnedBytes;
    });
  } finally {
    release(engine, file);
  }
}

/** A file as Rust reads it, which does not know what it is called here. */
function parsed(engine: Instance, bytes: Uint8Array<ArrayBuffer>) {
  try {
    return call(engine, () => engine.bindings.TensorFile.parse(engine.steady(bytes)));
  } catch (error) {
    if (!(error instanceof SymplecticAdjointError && error.code === "FILE")) throw error;
    throw new SymplecticAdjointError("FILE", error.message, { argument: "bytes" });
  }
}

/**
 * Reads a file in the safetensors format: tensors of float32 and float64, and of float16 and bfloat16 as float32. Those of other
 * types, such as integers, are named in `skipped`.
 *
 * @throws `FILE` for a file that is damaged or of another format; `DTYPE` if `bytes` is not a Uint8Array; `OUT_OF_MEMORY`.
 */
export function loadTensors(bytes: Uint8Array): TensorFile {
  const given = bytesOf("bytes", bytes);
  if (given.length >= LARGEST) throw refused("FILE", "bytes", "a file of less than 4 GiB", `${given.length} bytes`);
  const engine = instance();
  ensureMemory(engine, TEXT_BYTES * headerSize(given), "the file's header");
  const file = parsed(engine, given);
  try {
    return call(engine, () => {
      const tensors = new Map<string, Tensor>();
      const skipped = new Map<string, SkippedTensor>();
      for (const name of file.names()) {
        const [dtype, shape] = [file.dtype(name), [...file.shape(name)]];
        if (dtype === "float32") tensors.set(name, frozen({ shape, data: file.single(name) }));
        else if (dtype === "float64") tensors.set(name, frozen({ shape, data: file.double(name) }));
        else skipped.set(name, frozen({ shape, dtype }));
      }
      const metadata = new Map(file.keys().map((key) => [key, file.metadata(key) ?? ""]));
      return Object.freeze({ tensors, skipped, metadata });
    });
  } finally {
    release(engine, file);
  }
}
