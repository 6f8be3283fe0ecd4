import { readFileSync } from "node:fs";
import * as api from "symplectic-adjoint";
import { expect, test } from "vitest";

const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

const [first = "", ...others] = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = ""]) => code);

/** Runs a block of the README; what it logs. */
async function run(code: string): Promise<unknown[][]> {
  const body = code
    .replace(/import (\{[^}]*\}) from "symplectic-adjoint(?:\/slim)?";/, "const $1 = api;")
    .replaceAll("import.meta.resolve", "resolve");
  expect(body).not.toMatch(/import/);
  const logged: unknown[][] = [];
  const log = (...values: unknown[]) => void logged.push(values);
  const AsyncFunction = (async () => {}).constructor as FunctionConstructor;
  // The slim entry shares its instance with the default one, which is in use here; test/unit/entries.test.ts tries it.
  const given = code.includes("/slim") ? { ...api, init: async () => {} } : api;
  await new AsyncFunction("api", "console", "resolve", body)(given, { log }, String);
  return logged;
}

test("the example of the README runs, and learns", async () => {
  const logged = await run(first);
  expect(logged).toHaveLength(5);
  expect(logged[3]?.[1]).toBeLessThan((logged[0]?.[1] as number) / 100);
  const [found, , truth] = logged[4] as [Float32Array, string, number[]];
  for (const i of [0, 1]) expect(Math.abs((found[i] ?? 9) - (truth[i] ?? 0))).toBeLessThan(0.1);
});

test("its other examples run", async () => {
  expect(others).toHaveLength(3);
  for (const code of others) expect(await run(code)).toHaveLength(1);
});

test("every file that the README points at is there", () => {
  for (const [, target = ""] of readme.matchAll(/\]\(([^)]+)\)/g)) {
    if (target.startsWith("http")) continue;
    expect(() => readFileSync(new URL(`../../${target}`, import.meta.url)), target).not.toThrow(/ENOENT/);
  }
});
