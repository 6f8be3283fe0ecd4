// An experiment's report: one self-contained page of texts, tables and figures.
import { writeFileSync } from "node:fs";

/**
 * @typedef {{ name?: string, head: string[], rows: string[][] }} Table
 * @typedef {{ name: string, svg: string, caption: string }} Figure
 * @typedef {{ title: string, text?: string, tables?: Table[], figures?: Figure[] }} Section
 * @typedef {{ title: string, lead: string, sections: Section[] }} Report
 */

/** Writes a report, with where and when it was measured. */
export function writePage(file, run, { title, lead, sections }) {
  const { where, created, seconds, seed, quick } = run;
  const note = [
    `npm run experiments -- ${run.name}${quick ? " --quick" : ""}${seed ? ` --seed ${seed}` : ""}`,
    `${where.cpu}, ${where.cores} cores, Node ${where.node}, ${where.build} build`,
    `${created.slice(0, 16).replace("T", " ")}, ${seconds} s`,
  ];
  const body = sections.map(
    (section) => `<section>
<h2>${escaped(section.title)}</h2>
${section.text ? `<p>${escaped(section.text)}</p>` : ""}
${(section.figures ?? []).map(figure).join("\n")}
${(section.tables ?? []).map(htmlTable).join("\n")}
</section>`,
  );
  writeFileSync(
    file,
    `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>
:root { --page: #fbfaf7; --ink: #22272e; --soft: #6a737d; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --page: #16191d; --ink: #e4e7eb; --soft: #98a2ad; } }
body { margin: 0 auto; max-width: 1080px; padding: 2.5rem 1.5rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .4rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .4rem; }
p { max-width: 46rem; margin: .4rem 0; } .soft, figcaption { color: var(--soft); font-size: .9rem; }
figure { margin: 1rem 0; min-width: 0; } figure svg { max-width: 100%; height: auto; border-radius: 6px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin-top: 1rem; display: block; overflow-x: auto; font-size: .92rem; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid color-mix(in srgb, var(--soft) 30%, transparent); }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; }
</style>
</head>
<body>
<h1>${escaped(title)}</h1>
<p>${escaped(lead)}</p>
<p class="soft">${note.map(escaped).join(" · ")}</p>
${body.join("\n")}
</body>
</html>
`,
  );
}

function figure({ svg, caption }) {
  return `<figure>${svg}<figcaption>${escaped(caption)}</figcaption></figure>`;
}

function htmlTable({ head, rows }) {
  const line = (cells, tag) => `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join("")}</tr>`;
  return `<table><thead>${line(head, "th")}</thead><tbody>${rows.map((row) => line(row, "td")).join("\n")}</tbody></table>`;
}

function escaped(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
