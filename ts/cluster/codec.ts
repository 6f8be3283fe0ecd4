// Messages as bytes: MessagePack, of flat records only. A decoder that is fed anything else allocates no more than it was sent.
import { Decoder, Encoder, ExtensionCodec } from "@msgpack/msgpack";

export type TypedArray = Uint8Array | Uint32Array | Float32Array | Float64Array;

/** What a message is made of. Nested data goes as JSON in a string. */
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
    // Numbers lie anywhere in a message, and an array needs them aligned. (The slice of a Buffer of Node would be no copy.)
    decode: (bytes) => new Type(new Uint8Array(bytes).buffer),
  });
}

const encoder = new Encoder({ extensionCodec, ignoreUndefined: true });
// An array has as many places as it claims before the first element is read: there are none. The same holds for no other type.
const decoder = new Decoder({ extensionCodec, maxArrayLength: 0 });

/** The bytes of a record. */
export function encode(fields: Fields): Uint8Array {
  return encoder.encode(fields) as Uint8Array;
}

/** The record of some bytes; undefined where they are none. */
export function decode(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value = decoder.decode(bytes);
    const isRecord = value !== null && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype;
    return isRecord ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
