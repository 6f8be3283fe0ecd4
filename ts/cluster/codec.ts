// Messages as MessagePack, flat records only. Decoding never allocates more than the size of the message.
import { Decoder, Encoder } from "@msgpack/msgpack";

/** A message. Nested data travels as JSON in a string, and with arrays in packed bytes. */
export type Fields = Readonly<Record<string, null | boolean | number | string | Uint8Array | undefined>>;

const encoder = new Encoder({ ignoreUndefined: true });
// The decoder allocates an array by its claimed length before it reads an element, so arrays are refused. No other type does that.
const decoder = new Decoder({ maxArrayLength: 0 });

/** Encodes a record. */
export function encode(fields: Fields): Uint8Array {
  return encoder.encode(fields) as Uint8Array;
}

/** Decodes a record; undefined if the bytes are invalid. Its bytes are views of the message. */
export function decode(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value = decoder.decode(bytes);
    const isRecord = value !== null && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype;
    return isRecord ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
