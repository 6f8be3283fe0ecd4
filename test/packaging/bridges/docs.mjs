// Runs the examples of the guides that need a framework, and checks their types.
import assert from "node:assert/strict";
import { complaint, exampleFolder, examples, run, typeErrors } from "../../examples.mjs";

const ours = examples.filter(({ framework }) => framework);
assert.ok(ours.length > 0);
const folder = exampleFolder("test/packaging/bridges");
try {
  for (const example of ours) {
    const found = complaint(example, await run(example, folder.path));
    assert.equal(found, "", `${example.name}: ${found}`);
    console.log(`${example.name} runs`);
  }
  assert.equal(typeErrors(ours, folder.path), "");
} finally {
  folder.remove();
}
