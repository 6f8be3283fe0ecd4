/** The globals of the realm that loads these modules: see load.mjs. */
declare const outer: typeof globalThis;
