// Numbers that look random and are the same for the same seed: the package's own generator, which it does not export.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { transformSync } from "esbuild";
import { root } from "../../scripts/run.mjs";

const { code } = transformSync(readFileSync(join(root, "ts/trace/random.ts"), "utf8"), {
  loader: "ts",
  target: "es2022",
});

/** @type {typeof import("../../ts/trace/random.js")} */
export const { uniforms, normals, normalsOf, shuffle } = await import(
  `data:text/javascript,${encodeURIComponent(code)}`
);
