/**
 * Gives a class Symbol.dispose, where the runtime knows it, with its first object, and has consoles show its objects as the text that they
 * are. A statement beside the class would do too, but would keep the class, and all that it calls, in the bundles of those who do not use
 * it.
 */
export function disposable(prototype: object, dispose: () => void): void {
  const shown = Symbol.for("nodejs.util.inspect.custom");
  if (Object.hasOwn(prototype, shown)) return;
  const text = function (this: object) {
    return this.toString();
  };
  Object.defineProperty(prototype, shown, { value: text });
  if (typeof Symbol.dispose === "symbol") Object.defineProperty(prototype, Symbol.dispose, { value: dispose });
}
