// README and guides: their examples run and have the right types, and every error code has its own.
import { readFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { blocks, complaint, exampleFolder, examples, run, shows, typeErrors } from "../examples.mjs";

const folder = exampleFolder("test");
afterAll(() => folder.remove());

const first = examples[0] as (typeof examples)[number];
const failing = examples.filter(({ page, heading }) => page === "docs/errors.md" && /^[A-Z_]+$/.test(heading));
// Those with a framework are run by test/packaging/bridges/docs.mjs.
const others = examples.filter((example) => !example.framework && example !== first && !failing.includes(example));

test("the example of the README learns", async () => {
  const { output, error } = await run(first, folder.path);
  expect(error).toBe("");
  const lines = output.trim().split("\n");
  const losses = lines.slice(0, 4).map((line) => Number(line.split(" ")[1]));
  expect(losses[3]).toBeLessThan((losses[0] as number) / 100);
  const [x, y] = (
    lines
      .slice(4)
      .join(" ")
      .match(/-?\d+\.\d+/g) as string[]
  ).map(Number) as [number, number];
  expect(Math.hypot(x - Math.cos(1), y - Math.sin(1))).toBeLessThan(0.1);
});

test.concurrent.for(others)("$name runs", async (example) => {
  expect(complaint(example, await run(example, folder.path))).toBe("");
});

test("every error code has its example", () => {
  const source = readFileSync(new URL("../../ts/checks/errors.ts", import.meta.url), "utf8");
  const [union = ""] = source.match(/export type ErrorCode =[\s\S]*?;\n/) ?? [];
  const codes = [...union.matchAll(/\| "(\w+)"/g)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(10);
  expect(failing.map(({ heading }) => heading)).toEqual(codes);
});

test.concurrent.for(failing)("$heading: its example gives that error, with the message shown", async (example) => {
  const { error } = await run(example, folder.path);
  expect(error).toMatch(new RegExp(`code: '${example.heading}'`));
  expect(example.output, "the message").toBeDefined();
  expect(shows(example.output, error), error).toBe(true);
});

test("examples have the types that the package declares", () => {
  expect(typeErrors(others, folder.path)).toBe("");
});

test("what does not run in Node is marked so", () => {
  const languages = new Set(blocks.map(({ language }) => language));
  expect([...languages].sort()).toEqual([
    "html",
    "js cloudflare",
    "js jest-setup",
    "python",
    "rust",
    "sh",
    "text",
    "ts",
  ]);
});
