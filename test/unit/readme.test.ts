import { readFileSync } from "node:fs";
import * as api from "symplectic-adjoint";
import { expect, test } from "vitest";

const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

test("the example of the README runs, and learns", () => {
  const [, code = ""] = readme.match(/```ts\n([\s\S]*?)```/) ?? [];
  const body = code.replace(/import (\{[^}]*\}) from "symplectic-adjoint";/, "const $1 = api;");
  expect(body).not.toMatch(/import/);
  const logged: unknown[][] = [];
  new Function("api", "console", body)(api, { log: (...values: unknown[]) => logged.push(values) });
  expect(logged).toHaveLength(5);
  expect(logged[3]?.[1]).toBeLessThan((logged[0]?.[1] as number) / 100);
  const [found, , truth] = logged[4] as [Float32Array, string, number[]];
  for (const i of [0, 1]) expect(Math.abs((found[i] ?? 9) - (truth[i] ?? 0))).toBeLessThan(0.1);
});

test("every file that the README points at is there", () => {
  for (const [, target = ""] of readme.matchAll(/\]\(([^)]+)\)/g)) {
    if (target.startsWith("http")) continue;
    expect(() => readFileSync(new URL(`../../${target}`, import.meta.url)), target).not.toThrow(/ENOENT/);
  }
});
