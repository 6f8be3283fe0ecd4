// The figures and tables of docs/claims.md, between its markers, from the results kept beside this file.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/run.mjs";
import { table } from "../shared/table.mjs";

const page = join(root, "docs/claims.md");
const figures = join(root, "docs/figures");

/**
 * Fills `<!-- NAME: table TABLE -->` and `<!-- NAME: figure FIGURE -->`, each up to `<!-- end -->`, and gives the files
 * written.
 */
export async function writeDocs(kept) {
  mkdirSync(figures, { recursive: true });
  const written = [page];
  const reports = {};
  const reportOf = async (name) => {
    if (reports[name]) return reports[name];
    const file = join(kept, `${name}.json`);
    if (!existsSync(file)) throw new Error(`${file} is not there yet: npm run experiments -- ${name} --keep makes it`);
    const run = JSON.parse(readFileSync(file, "utf8"));
    const { report } = await import(`./${name}.mjs`);
    reports[name] = { run, sections: report(run.results).sections };
    return reports[name];
  };
  const fill = async (name, kind, part) => {
    const { run, sections } = await reportOf(name);
    if (kind === "run") return `${where(run)}`;
    const found = sections.flatMap((section) => section[`${kind}s`] ?? []).find((one) => one.name === part);
    if (!found) throw new Error(`${name} has no ${kind} ${part}`);
    if (kind === "table") return table(found.head, found.rows);
    const file = join(figures, `${name}-${part}.svg`);
    writeFileSync(file, found.svg);
    written.push(file);
    return `![${found.caption}](figures/${name}-${part}.svg)`;
  };
  const text = readFileSync(page, "utf8");
  const marker = /<!-- (\w+): (table|figure|run) ?([\w-]*) -->[\s\S]*?<!-- end -->/g;
  let filled = "";
  let last = 0;
  for (const match of text.matchAll(marker)) {
    const [whole, name, kind, part] = match;
    const head = whole.slice(0, whole.indexOf("-->") + 3);
    filled += `${text.slice(last, match.index)}${head}\n\n${await fill(name, kind, part)}\n\n<!-- end -->`;
    last = match.index + whole.length;
  }
  writeFileSync(page, filled + text.slice(last));
  return written;
}

function where({ name, created, seconds, seed, where: { cpu, cores, node, build } }) {
  const seeded = seed ? ` --seed ${seed}` : "";
  return `\`npm run experiments -- ${name}${seeded}\`: ${cpu}, ${cores} cores, Node ${node}, ${build} build, ${created.slice(0, 10)}, ${seconds} s.`;
}
