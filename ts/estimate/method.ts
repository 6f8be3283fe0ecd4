// The method of accurate solves to given times, where none is named.
import type { Method } from "../solve/options.js";

/**
 * The method for this number of output times: dopri8 steps to each of them, dopri5 interpolates, and takes about as many steps as this power of
 * its tolerance, 100 at 1e-10.
 */
export const methodFor = (times: number, rtol: number): Method => (times > rtol ** -0.2 ? "dopri5" : "dopri8");
