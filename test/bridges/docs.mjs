// Runs the examples of docs/frameworks.md, each of which logs something.
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";

const text = readFileSync(new URL("../../docs/frameworks.md", import.meta.url), "utf8");
const examples = [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code);
assert.equal(examples.length, 2);
for (const [index, code] of examples.entries()) {
  const file = new URL(`.example-${index}.mjs`, import.meta.url);
  writeFileSync(file, code);
  const { log } = console;
  const logged = [];
  console.log = (...values) => logged.push(values);
  try {
    await import(file.href);
  } finally {
    console.log = log;
    rmSync(file);
  }
  const numbers = logged.at(-1).flatMap((values) => [...values]);
  assert.ok(numbers.length > 0 && numbers.every(Number.isFinite), String(logged));
}
console.log(`${examples.length} examples of docs/frameworks.md run`);
