// The steps of a test command, each with a title; the first failure ends it. What has passed is noted for the release.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { attempt, root } from "./run.mjs";

let passed = 0;

/**
 * @param {string} title
 * @param {() => void} body
 */
export function step(title, body) {
  console.log(`\n── ${title}`);
  const start = performance.now();
  body();
  passed++;
  console.log(`── ${title}: passed in ${((performance.now() - start) / 1000).toFixed(0)} s`);
}

/** After the last step of a command. */
export function ended(name = "test") {
  const tree = treeOfHead();
  if (tree && attempt("git", ["status", "--porcelain"]).stdout.trim() === "") {
    mkdirSync(join(root, "report"), { recursive: true });
    writeFileSync(noteOf(name), tree);
  }
  console.log(`\n${passed} passed, 0 failed`);
}

/**
 * What is wrong with a command's last pass, if anything: it is to have been with the files that are committed now.
 *
 * @param {string} name
 */
export function tested(name) {
  try {
    return readFileSync(noteOf(name), "utf8") === treeOfHead() ? undefined : "with another tree";
  } catch {
    return "not with a clean tree";
  }
}

/** @param {string} name */
const noteOf = (name) => join(root, "report", `passed-${name.replace(":", "-")}`);
const treeOfHead = () => attempt("git", ["rev-parse", "HEAD^{tree}"]).stdout.trim();
