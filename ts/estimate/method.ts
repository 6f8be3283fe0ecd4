// The method of accurate solves to given times, where none is named.
import type { Method } from "../solve/options.js";

/** More times than these, and it pays to interpolate: dopri8 steps to each time. */
const MANY_TIMES = 200;

/** The method for so many output times. */
export const methodFor = (times: number): Method => (times > MANY_TIMES ? "dopri5" : "dopri8");
