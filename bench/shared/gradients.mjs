// The gradients that the crate has, in the order of tables and plots, each with its colour.
import { GRADIENTS as KNOWN } from "../../wasm/constants.js";

/** @type {Record<(typeof KNOWN)[number], string>} */
export const GRADIENT_COLOURS = {
  symplectic: "#c2410c",
  auto: "#be185d",
  aca: "#a16207",
  baseline: "#15803d",
  backprop: "#1d6fd1",
  adjoint: "#7c3aed",
};

const order = Object.keys(GRADIENT_COLOURS);
const sorted = [...KNOWN].sort((one, other) => order.indexOf(one) - order.indexOf(other));

/** All except `auto`, which is one of them or in between. */
export const GRADIENTS = sorted.filter((gradient) => gradient !== "auto");
/** Those that give the same gradient, each with its own memory. */
export const EXACT = GRADIENTS.filter((gradient) => gradient !== "adjoint");
/** The exact gradients that are timed against the adjoint: `baseline` has the memory of `backprop`, and takes longer. */
export const TIMED = sorted.filter((gradient) => gradient !== "adjoint" && gradient !== "baseline");
/**
 * The exact gradients that differ most, where the others would add nothing.
 *
 * @type {readonly string[]}
 */
export const DISTINCT = TIMED.filter((gradient) => gradient !== "aca");
export const EVERY_GRADIENT = /** @type {const} */ (["auto", ...GRADIENTS]);
