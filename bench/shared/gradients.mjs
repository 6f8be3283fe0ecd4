// The gradient methods, in the order of tables and plots, each with its colour.

/** Those that give the same gradient, each with its own memory. */
export const EXACT = /** @type {const} */ (["symplectic", "aca", "baseline", "backprop"]);
/** All but `auto`, which is one of them or between. */
export const GRADIENTS = /** @type {const} */ ([...EXACT, "adjoint"]);
export const EVERY_GRADIENT = /** @type {const} */ (["auto", ...GRADIENTS]);

export const METHOD_COLOURS = {
  symplectic: "#c2410c",
  auto: "#be185d",
  aca: "#a16207",
  baseline: "#15803d",
  backprop: "#1d6fd1",
  adjoint: "#7c3aed",
};
