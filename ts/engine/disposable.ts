/**
 * Gives a class Symbol.dispose, where the runtime knows it, with its first object. A statement beside the class would do too,
 * but would keep the class, and all that it calls, in the bundles of those who do not use it.
 */
export function disposable(prototype: object, dispose: () => void): void {
  if (typeof Symbol.dispose !== "symbol" || Object.hasOwn(prototype, Symbol.dispose)) return;
  Object.defineProperty(prototype, Symbol.dispose, { value: dispose });
}
