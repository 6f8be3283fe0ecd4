// npm run release: publishes to npm, JSR and crates.io what the tests have passed; with --dry-run it does all but that.
//
// Made for continuous integration, whose identity npm and JSR sign the package's provenance with.
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { pack } from "../test/packaging/project.mjs";
import { stageJsr } from "./jsr.mjs";
import { layOut, missingAddons, withAddons } from "./packages.mjs";
import { PLATFORMS } from "./platforms.mjs";
import { attempt, bin, ensureRust, install, root } from "./run.mjs";
import { tested } from "./steps.mjs";

const dry = parseArgs({ options: { "dry-run": { type: "boolean" } } }).values["dry-run"] ?? false;
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const { version } = manifest;
/** @type {string[]} */
const problems = [];

/**
 * @param {string} title
 * @param {string | false | undefined} problem
 */
function check(title, problem) {
  console.log(`${problem ? "✗" : "✓"} ${title}${problem ? `: ${problem}` : ""}`);
  if (problem) problems.push(title);
}

/**
 * What is wrong with a command, if anything: the end of what it says.
 *
 * @param {string} command
 * @param {string[]} args
 */
function failure(command, args, cwd = root) {
  const { status, error, stdout, stderr } = attempt(command, args, { cwd });
  if (status === 0) return undefined;
  return error?.message ?? `${stdout}${stderr}`.trim().split("\n").slice(-12).join("\n    ");
}

const dirty = attempt("git", ["status", "--porcelain"]).stdout.trim();
check("the tree is clean", dirty && `${dirty.split("\n").length} files have changed`);
for (const name of ["test", "test:packaging"]) check(`npm run ${name} has passed with this tree`, tested(name));
const heading = readFileSync(join(root, "CHANGELOG.md"), "utf8").match(/^## \[(\d.*?)\] - (.*)$/m);
check(`CHANGELOG.md begins with ${version}`, heading?.[1] !== version && `it begins with ${heading?.[1]}`);
const dated = /^\d{4}-\d\d-\d\d$/.test(heading?.[2] ?? "");
check("and has a date", !dated && `it has ${heading?.[2]}; set the day of the release`);
const crate = readFileSync(join(root, "crate/Cargo.toml"), "utf8").match(/^version = "(.*)"$/m)?.[1];
check("the crate has the same version", crate !== version && `it has ${crate}`);
// Only who publishes knows them, and npm signs the provenance for the repository that is named.
for (const field of ["homepage", "repository", "bugs"]) {
  check(`package.json has ${field}`, !manifest[field] && "set it to where the project is to be found");
}
check("wasm/ is built from these sources", failure("node", ["scripts/build-wasm.mjs", "--check"]));
check("and has the licences of its crates", failure("node", ["scripts/licenses.mjs", "--check"]));

install("test/platform");
ensureRust();
const missing = missingAddons();
const hint = "build each on its platform, as CONTRIBUTING.md says, and put them into native/ with the stamp";
check("native/ has the addon of each platform", missing.length > 0 && `${missing.join(", ")}: ${hint}`);
const platforms = Object.keys(PLATFORMS).filter((platform) => !missing.includes(platform));
const addons = platforms.map((platform) => layOut(platform, manifest));
const tarball = withAddons(pack);
const jsr = mkdtempSync(join(tmpdir(), "symplectic-adjoint-jsr-"));
stageJsr(jsr);
/**
 * @param {string} what
 * @param {string[]} more
 */
const publish = (what, ...more) => failure("npm", ["publish", what, "--provenance", "--access", "public", ...more]);
/** @type {Record<string, (...more: string[]) => string | undefined>} */
const targets = {
  // Before the package that depends on them.
  ...Object.fromEntries(addons.map((folder, i) => [`npm, ${platforms[i]}`, (...more) => publish(folder, ...more)])),
  npm: (...more) => publish(tarball, ...more),
  JSR: (...more) => failure(bin("deno"), ["publish", "--allow-dirty", ...more], jsr),
  "crates.io": (...more) => failure("cargo", ["publish", ...more], join(root, "crate")),
};
// All are tried before any is published: none can be taken back.
for (const [name, release] of Object.entries(targets)) check(`${name}, dry run`, release("--dry-run"));
if (problems.length > 0) {
  console.error(`\nNot ready to be released: ${problems.join("; ")}`);
  process.exit(1);
}
if (dry) {
  console.log(`\n${version} is ready to be released.`);
  process.exit();
}
for (const [name, release] of Object.entries(targets)) {
  check(`published: ${name}`, release());
  if (problems.length > 0) process.exit(1);
}
