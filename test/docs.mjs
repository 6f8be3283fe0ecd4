// The documentation as it is published: the site builds without a warning, no link leads nowhere, and the Rust in it runs. What is
// TypeScript is run by test/unit/docs.test.ts and test/packaging/bridges/docs.mjs.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { bin, install, root, run } from "../scripts/run.mjs";
import { blocks } from "./examples.mjs";

const site = join(root, "apps/site");

install("apps/site");
const pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "test/golden/README.md"];
const validate = "remark-validate-links=repository:false";
run(
  bin("remark"),
  [...pages.map((page) => join("../..", page)), "--use", validate, "--frail", "--quiet", "--no-stdout"],
  {
    cwd: site,
  },
);
run("node", ["scripts/docs.mjs", "--build"]);
// Other servers are left alone.
const links = ["dist", "--recurse", "--check-fragments", "--verbosity", "error", "--skip", "^https?://(?!localhost)"];
run(bin("linkinator"), links, { cwd: site });
// A host may have it at any path.
for (const name of readdirSync(join(site, "dist"), { encoding: "utf8", recursive: true })) {
  if (!name.endsWith(".html")) continue;
  assert.doesNotMatch(readFileSync(join(site, "dist", name), "utf8"), /(?:href|src)="\//, name);
}

run("cargo", ["build", "--quiet"]);
const library = join(root, "target/debug/libsymplectic_adjoint.rlib");
for (const page of new Set(blocks.filter(({ language }) => language === "rust").map(({ page }) => page))) {
  const crate = ["--extern", `symplectic_adjoint=${library}`, "-L", join(root, "target/debug/deps")];
  run("rustdoc", ["--test", page, "--edition", "2024", ...crate]);
}
