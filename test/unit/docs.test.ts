// README and guides: their examples run and have the right types, and every error code has its own.
import { readFileSync } from "node:fs";
import { equations, mlp, odeint } from "symplectic-adjoint";
import { afterAll, expect, test } from "vitest";
import { ADAPTIVE_METHODS, INTERPOLATING_METHODS, METHODS } from "../../wasm/constants.js";
import { blocks, complaint, exampleFolder, examples, run, shows, typeErrors } from "../examples.mjs";

const folder = exampleFolder("test");
afterAll(() => folder.remove());

const first = examples[0] as (typeof examples)[number];
const failing = examples.filter(({ page, heading }) => page === "docs/errors.md" && /^[A-Z_]+$/.test(heading));
// Those with a framework are run by test/packaging/bridges/docs.mjs, those with a server by test/cluster/guide.test.ts.
const others = examples.filter(
  (example) => !example.framework && !example.cluster && example !== first && !failing.includes(example),
);

test("the example of the README learns", async () => {
  const { output, error } = await run(first, folder.path);
  expect(error).toBe("");
  const lines = output
    .trim()
    .split("\n")
    .map((line) => line.split(" ").map(Number));
  expect(lines.map(([step]) => step)).toEqual([0, 25, 50, 75, 100]);
  // From what the README says to what it says.
  expect(lines[0]?.[1]).toBeCloseTo(0.71, 2);
  expect(lines.at(-1)?.[1]).toBeCloseTo(0.19, 2);
  // All four parameters are rates.
  expect(
    lines
      .at(-1)
      ?.slice(2)
      .filter((rate) => rate > 0),
  ).toHaveLength(4);
});

test.concurrent.for(others)("$name runs", async (example) => {
  expect(complaint(example, await run(example, folder.path))).toBe("");
});

test("derivatives are written by hand only on the page on custom fields", () => {
  const derivative = /\bcustom\(|\bvjp(?:\(t|:)|\bcotangent\b.*=>/;
  const pages = examples.filter(({ code }) => derivative.test(code)).map(({ page }) => page);
  expect([...new Set(pages)]).toEqual(["docs/custom-fields.md"]);
});

test("the guide has every method, with its stages, its cost, and what it can do", () => {
  const guide = readFileSync(new URL("../../docs/choosing.md", import.meta.url), "utf8");
  const [, table = ""] = /^\| method +\| order [^\n]*\n\|[ -|]*\n((?:\|.*\n)+)/m.exec(guide) ?? [];
  const rows = table
    .trim()
    .split("\n")
    .map((line) => line.split("|").map((cell) => cell.trim().replaceAll("`", "")))
    .map(([, name, , , uses, adaptive, between]) => ({ name, uses, adaptive, between }));
  const named = (rows: readonly { name: string | undefined }[]) => rows.map(({ name }) => name).sort();
  expect(named(rows)).toEqual([...METHODS].sort());
  expect(named(rows.filter(({ adaptive }) => adaptive === "yes"))).toEqual([...ADAPTIVE_METHODS].sort());
  expect(named(rows.filter(({ between }) => between === "by default"))).toEqual([...INTERPOLATING_METHODS].sort());
  const field = mlp({ widths: [2, 4, 2], seed: 1 });
  for (const { name, uses } of rows) {
    const evaluations = (steps: number) =>
      odeint(field, Float32Array.of(1, 0), [0, 1], { method: name as (typeof METHODS)[number], steps }).stats
        .evaluations;
    expect(evaluations(20) - evaluations(10), name).toBe(10 * Number(uses));
  }
  const reference = readFileSync(new URL("../../docs/api.md", import.meta.url), "utf8");
  const row = reference.split("\n").find((line) => line.startsWith("| `method`")) ?? "";
  for (const name of METHODS) expect(row).toMatch(new RegExp(`\\b${name}\\b`));
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

test("the JSON form of programs is documented, operation by operation", () => {
  const page = readFileSync(new URL("../../docs/programs.md", import.meta.url), "utf8");
  const form = page.slice(page.indexOf("## The JSON form"));
  const source = (name: string) => readFileSync(new URL(`../../crate/src/${name}.rs`, import.meta.url), "utf8");
  // The names of functions, and the operations that are read by name.
  const functions = [...source("kernel/functions").matchAll(/(?:Unary|Binary)::\w+ => "(\w+)"/g)];
  const reader = source("program/json").split("match name {").slice(1).join("");
  const operations = [...reader.matchAll(/^ {12}((?:"\w+"(?: \| )?)+) =>/gm)].flatMap(([, names = ""]) => [
    ...names.matchAll(/"(\w+)"/g),
  ]);
  const names = [...functions, ...operations].map(([, name]) => name as string);
  expect(names.length).toBeGreaterThan(40);
  expect(names.filter((name) => !form.includes(`\`${name}\``) && !form.includes(`["${name}"`))).toEqual([]);
  const shown = blocks.find(({ page, language }) => page === "docs/programs.md" && language === "json");
  const { recipe } = equations("x' = -rate * x", { parameters: { rate: 2 } }) as unknown as {
    recipe: { options: { program: unknown } };
  };
  expect(JSON.parse(shown?.code ?? "")).toEqual(recipe.options.program);
});

test("examples have the types that the package declares", () => {
  expect(typeErrors(others, folder.path)).toBe("");
});

test("what does not run in Node is marked so", () => {
  const languages = new Set(blocks.map(({ language }) => language));
  expect([...languages].sort()).toEqual([
    "html",
    "js browser",
    "js cloudflare",
    "js jest-setup",
    "json",
    "nginx",
    "python",
    "rust",
    "sh",
    "text",
    "ts",
  ]);
});
