// The examples of README and guides, each run as a reader would run it: as a program of its own.
import { execFile, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { transformSync } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
// Where an example finds the package, and the frameworks that it may be joined to.
const folder = join(root, "test/bridges/.examples");
const pages = [
  "README.md",
  ...readdirSync(join(root, "docs")).flatMap((name) => (/\.md$/.test(name) ? `docs/${name}` : [])),
];

interface Example {
  readonly name: string;
  readonly page: string;
  /** The nearest heading above. */
  readonly heading: string;
  readonly code: string;
  /** What it prints, where the next block shows that. */
  readonly output: string | undefined;
}

/** Languages of the other blocks. */
const elsewhere = new Set<string>();
const examples = pages.flatMap(examplesOf);

function examplesOf(page: string): Example[] {
  const text = readFileSync(join(root, page), "utf8");
  let heading = "";
  const found: Example[] = [];
  const parts =
    /^#+ (?<title>.+)$|^```(?<language>[^\n]*)\n(?<code>[\s\S]*?)^```\n(?:\n```text\n(?<output>[\s\S]*?)^```)?/gm;
  for (const { groups = {} } of text.matchAll(parts)) {
    const { title, language, code, output } = groups;
    if (title) heading = title;
    if (language !== "ts") {
      if (language !== undefined) elsewhere.add(language);
      continue;
    }
    const name = `${page
      .replace(/^docs\//, "")
      .replace(".md", "")
      .toLowerCase()}-${found.length + 1}`;
    found.push({ name, page, heading, code: code ?? "", output });
  }
  return found;
}

/** Runs an example; what it prints, or the error that ends it. */
function run({ name, code }: Example): Promise<{ output: string; error: string | undefined }> {
  const file = join(folder, `${name}.mjs`);
  writeFileSync(file, transformSync(code, { loader: "ts", target: "es2022" }).code);
  return new Promise((resolve) => {
    execFile(process.execPath, [file], { cwd: folder, timeout: 100_000 }, (failed, output, errors) =>
      resolve({ output, error: failed ? errors || String(failed) : undefined }),
    );
  });
}

/** Whether a text is as shown, where `…` stands for anything. */
function matches(text: string, shown: string): boolean {
  const parts = shown.trim().split("…");
  const escaped = parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(escaped.join("[\\s\\S]*")).test(text);
}

beforeAll(() => void mkdirSync(folder, { recursive: true }));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const [first] = examples as [Example];
const ofErrors = examples.filter(({ page, heading }) => page === "docs/errors.md" && /^[A-Z_]+$/.test(heading));

test("the example of the README learns", async () => {
  const { output, error } = await run(first);
  expect(error).toBeUndefined();
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

test.concurrent.for(examples.filter((example) => example !== first && !ofErrors.includes(example)))(
  "$name runs",
  async (example) => {
    const { output, error } = await run(example);
    expect(error).toBeUndefined();
    expect(output).toMatch(/\d/);
    expect(output).not.toMatch(/NaN|undefined/);
    if (example.output) expect(matches(output, example.output), output).toBe(true);
  },
);

test("only what cannot run in Node is left out", () => {
  expect([...elsewhere].sort()).toEqual(["html", "js cloudflare", "python", "rust", "sh", "text"]);
});

test("every error code has its example", () => {
  const [union = ""] =
    readFileSync(join(root, "ts/errors.ts"), "utf8").match(/export type ErrorCode =[\s\S]*?;\n/) ?? [];
  const codes = [...union.matchAll(/\| "(\w+)"/g)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(10);
  expect(ofErrors.map(({ heading }) => heading)).toEqual(codes);
});

test.concurrent.for(ofErrors)("$heading: its example gives that error, with the message shown", async (example) => {
  const { error = "" } = await run(example);
  expect(error).toMatch(new RegExp(`code: '${example.heading}'`));
  expect(example.output, "the message").toBeDefined();
  expect(matches(error, example.output as string), error).toBe(true);
});

test("examples have the types that the package declares", () => {
  // Those of errors are wrong on purpose.
  const typed = examples.filter((example) => !ofErrors.includes(example));
  for (const { name, code } of typed) writeFileSync(join(folder, `${name}.ts`), `${code}\nexport {};\n`);
  const compilerOptions = {
    noImplicitAny: false,
    noUncheckedIndexedAccess: false,
    noUnusedLocals: false,
    types: ["node"],
    typeRoots: ["../../node_modules/@types"],
  };
  const config = { extends: "../../../tsconfig.json", compilerOptions, include: ["*.ts"] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  expect(spawnSync(process.execPath, [tsc, "-p", folder], { encoding: "utf8" }).stdout).toBe("");
});
