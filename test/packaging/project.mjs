// Packs the package, and makes a project that installs it.
import { cpSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, run } from "../../scripts/run.mjs";

/** Few cases, which have all that the runtimes could get wrong: an adaptive method, times, and each kind of field. */
const CASES = ["mlp-dopri5-times", "mlp-concatsquash-rk4", "cnf-hutchinson-dopri5", "hnn-canonical-rk4"];

/** The tarball that npm would publish. */
export function pack() {
  const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-pack-"));
  run("npm", ["pack", "--silent", "--pack-destination", folder]);
  return join(folder, readdirSync(folder)[0]);
}

/**
 * A folder with the files of project/, the golden cases, and the tarball installed.
 *
 * @param {string} tarball
 */
export function makeProject(tarball) {
  const project = mkdtempSync(join(tmpdir(), "symplectic-adjoint-project-"));
  cpSync(join(root, "test/packaging/project"), project, { recursive: true });
  cpSync(join(root, "test/golden.mjs"), join(project, "golden.mjs"));
  const cases = CASES.map((name) => readFileSync(join(root, `test/golden/${name}.json`), "utf8"));
  writeFileSync(join(project, "cases.mjs"), `export default [${cases.join(",\n")}];\n`);
  run("npm", ["install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error", tarball], { cwd: project });
  return project;
}
