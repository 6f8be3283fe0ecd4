// What the tarball holds: source maps that lead to the sources, the licences of what is inside, and no more than it should.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { SourceMap } from "node:module";
import { join } from "node:path";

const [project, tarball] = process.argv.slice(2);
const folder = join(project, "node_modules/symplectic-adjoint");
const LIMIT = 3.4e6;
const problems = [];

const { size } = statSync(tarball);
if (size > LIMIT) problems.push(`the tarball has ${size} bytes, more than ${LIMIT}`);
for (const file of [
  "wasm/LICENSES.txt",
  "dist/fzstd.LICENSE",
  "dist/jsep.LICENSE",
  "dist/lowdisc.LICENSE",
  "dist/msgpack.LICENSE",
  "dist/cli/LICENSES.txt",
  "dist/cli/fit-worker.js",
  "LICENSE",
]) {
  if (!existsSync(join(folder, file))) problems.push(`${file} is missing`);
}

let functions = 0;
const dist = join(folder, "dist");
// The workers are minified, and carried as texts as well.
const workers = ["worker.js", "cluster-worker.js"];
for (const file of readdirSync(dist).filter((name) => name.endsWith(".js") && !workers.includes(name))) {
  const map = new SourceMap(JSON.parse(readFileSync(join(dist, `${file}.map`), "utf8")));
  const { sources, sourcesContent } = map.payload;
  const lines = readFileSync(join(dist, file), "utf8").trimEnd().split("\n");
  if (lines.at(-1) !== `//# sourceMappingURL=${file}.map`) problems.push(`${file} names no map`);
  for (const [index, line] of lines.entries()) {
    // A number at the end is the bundler's, where two have the same name.
    const [, name] = /^(?:async )?function (\w*?)\d*\(/.exec(line) ?? [];
    if (name === undefined) continue;
    const { originalSource, originalLine } = /** @type {import("node:module").SourceMapping} */ (
      map.findEntry(index, 0)
    );
    const original = sourcesContent[sources.indexOf(originalSource)]?.split("\n")[originalLine] ?? "";
    if (!original.includes(name))
      problems.push(`${file}:${index + 1}: ${name} is not at ${originalSource}:${originalLine + 1}`);
    functions++;
  }
}
if (functions < 50) problems.push(`only ${functions} functions were found`);
console.log(problems.join("\n") || `${size} bytes; ${functions} functions are where their maps say`);
process.exit(problems.length > 0 ? 1 : 0);
