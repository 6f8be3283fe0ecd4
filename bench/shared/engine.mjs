/**
 * The engine that is measured, in a word or two: a WebAssembly build, or the addon with the width of its registers.
 *
 * @param {{ engine: typeof import("../../dist/index.js").engine }} api
 */
export function engineOf({ engine }) {
  const { kind, simd, registerBits } = engine();
  return kind === "native" ? `native ${registerBits}` : /** @type {string} */ (simd);
}
