// Results that are read-only, as their types say: assigning to them throws.

/** Freezes a record and its nested records, except the numbers in typed arrays. */
export function frozen<T>(record: T): T {
  if (record === null || typeof record !== "object" || ArrayBuffer.isView(record)) return record;
  for (const part of Object.values(record)) if (typeof part === "object") frozen(part);
  return Object.freeze(record);
}

/**
 * A record and its methods, read-only. Those are not enumerable, so that the rest can be posted from a worker: what is cloned has no
 * functions.
 */
export function withMethods<T extends object, M extends object>(record: T, methods: M): T & M {
  for (const [name, value] of Object.entries(methods)) Object.defineProperty(record, name, { value });
  return frozen(record) as T & M;
}

/** Properties of an object that is not to be frozen as a whole. */
export function fix<T extends object>(object: T, names: readonly (keyof T)[]): void {
  for (const name of names) Object.defineProperty(object, name, { writable: false, configurable: false });
}
