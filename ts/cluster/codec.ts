// Messages as MessagePack, flat records only. Decoding never allocates more than the size of the message.
import { Decoder, Encoder, ExtensionCodec } from "@msgpack/msgpack";

export type TypedArray = Uint8Array | Uint32Array | Float32Array | Float64Array;

/** A message. Nested data travels as JSON in a string. */
export type Fields = Readonly<Record<string, null | boolean | number | string | TypedArray | undefined>>;

const ARRAYS = [Uint32Array, Float32Array, Float64Array] as const;

export const isTypedArray = (value: unknown): value is TypedArray =>
  value instanceof Uint8Array || ARRAYS.some((Type) => value instanceof Type);

const extensionCodec = new ExtensionCodec();
for (const [type, Type] of ARRAYS.entries()) {
  extensionCodec.register({
    type,
    encode: (value) =>
      value instanceof Type ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : null,
    // Numbers may start at any byte of a message, but a typed array needs them aligned. (Buffer's slice would not copy.)
    decode: (bytes) => new Type(new Uint8Array(bytes).buffer),
  });
}

const encoder = new Encoder({ extensionCodec, ignoreUndefined: true });
// The decoder allocates an array by its claimed length before it reads an element, so arrays are refused. No other type does that.
const decoder = new Decoder({ extensionCodec, maxArrayLength: 0 });

/** Encodes a record. */
export function encode(fields: Fields): Uint8Array {
  return encoder.encode(fields) as Uint8Array;
}

/** Decodes a record; undefined if the bytes are invalid. */
export function decode(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value = decoder.decode(bytes);
    const isRecord = value !== null && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype;
    return isRecord ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
