// The package as Deno users import it from JSR: the same modules with their types, put into a folder to be published from.
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./run.mjs";

/**
 * Fills a folder with what JSR gets.
 *
 * @param {string} folder
 */
export function stageJsr(folder) {
  const { version, license } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const entries = ["index", "slim", "tfjs", "cluster"];
  const config = {
    name: "@symplectic-adjoint/symplectic-adjoint",
    version,
    license,
    exports: Object.fromEntries(entries.map((name) => [name === "index" ? "." : `./${name}`, `./dist/${name}.js`])),
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "deno.json"), `${JSON.stringify(config, null, 2)}\n`);
  for (const file of ["dist", "README.md", "CHANGELOG.md", "LICENSE"]) {
    cpSync(join(root, file), join(folder, file), { recursive: true });
  }
  for (const file of ["simd.wasm", "relaxed.wasm", "LICENSES.txt"])
    cpSync(join(root, "wasm", file), join(folder, "wasm", file));
  // JSR takes no directives that add to the libraries; Deno has this one.
  for (const file of readdirSync(join(folder, "dist")).filter((name) => name.endsWith(".d.ts"))) {
    const types = readFileSync(join(folder, "dist", file), "utf8");
    writeFileSync(join(folder, "dist", file), types.replace(/^\/\/\/ <reference .*\n/, ""));
  }
}
