// Imports in ts/ point one way: down this list of folders and entries. Nowhere in the repository do they go in a circle. Imports of types
// count as well.
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const ORDER = [
  ["cli"],
  ["tfjs.ts", "cluster.ts"],
  ["cluster"],
  ["index.ts", "slim.ts"],
  ["api.ts"],
  ["files"],
  ["train"],
  ["estimate"],
  ["parallel"],
  ["solve"],
  ["fields"],
  ["engine"],
  ["trace"],
  ["checks"],
];

const root = fileURLToPath(new URL("../../", import.meta.url));

/** The sources of the repository, by their paths in it. */
const sources = ["ts", "apps", "bench", "scripts", "test"].flatMap((folder) => {
  const names = (readdirSync(join(root, folder), { recursive: true }) as string[]).map(
    (name) => `${folder}/${name.replaceAll("\\", "/")}`,
  );
  return names.filter((name) => /\.m?[jt]s$/.test(name) && !/\/(?:node_modules|dist|\.\w+)\//.test(name));
});

/** The sources that a file imports or exports from. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  const specifiers = [...text.matchAll(/^(?:import|export|\}) ?[^;]*?["'](\.[^"'?]+)[^"']*["'];/gm)];
  const paths = specifiers.map(([, specifier]) => posix.join(posix.dirname(file), specifier as string));
  return paths.flatMap((path) => [path, path.replace(/\.js$/, ".ts")].find((own) => known.has(own)) ?? []);
}

const known = new Set(sources);
const all = new Map(sources.map((file) => [file, importsOf(file)]));
const withinPackage = (paths: Iterable<string>) =>
  [...paths].filter((path) => path.startsWith("ts/")).map((path) => path.slice("ts/".length));
const files = withinPackage(sources);
const imports = new Map(files.map((file) => [file, withinPackage(all.get(`ts/${file}`) ?? [])]));
const placeOf = (file: string) => ORDER.findIndex((names) => names.includes(file.split("/")[0] as string));

test("imports point down the list of folders", () => {
  expect(files.filter((file) => placeOf(file) < 0)).toEqual([]);
  const upward = [...imports].flatMap(([file, targets]) =>
    targets.filter((target) => placeOf(target) < placeOf(file)).map((target) => `${file} imports ${target}`),
  );
  expect(upward).toEqual([]);
});

test("no file imports itself by way of others", () => {
  const circles: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, path: string[]) => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" → "));
    if (path.includes(file) || done.has(file)) return;
    for (const target of all.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of sources) visit(file, []);
  expect(circles).toEqual([]);
});

test("every file of the package is reached from an entry", () => {
  const entries = [
    "parallel/worker.ts",
    "cluster/thread.ts",
    "cli/main.ts",
    "cli/nats.ts",
    "tfjs.ts",
    "cluster.ts",
    "index.ts",
    "slim.ts",
  ];
  const reached = new Set<string>(entries);
  for (const file of reached) for (const target of imports.get(file) ?? []) reached.add(target);
  expect(files.filter((file) => !reached.has(file))).toEqual([]);
});
