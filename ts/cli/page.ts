// Self-contained HTML pages, and their parts.
import { escaped } from "./charts.js";

/** Colours of curves, in order. */
export const COLOURS = ["#3b7dd8", "#d9713c", "#3f9b61", "#8a63c9", "#b58a1b", "#c04a7f", "#5f7a8a"];
export const colourOf = (index: number) => COLOURS[index % COLOURS.length] as string;

/** A plot with a caption. */
export const figure = (svg: string, caption = "") =>
  `<figure>${svg}${caption === "" ? "" : `<figcaption>${escaped(caption)}</figcaption>`}</figure>`;

/** A table; the first row is its header. */
export function tableOf([head = [], ...rows]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join("")}</tr>`;
  return `<table><thead>${line(head, "th")}</thead><tbody>${rows.map((row) => line(row, "td")).join("")}</tbody></table>`;
}

/** A page with a title and a body. */
export const pageOf = (title: string, body: string) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>
:root { --page: #fbfaf7; --ink: #22272e; --soft: #6a737d; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --page: #16191d; --ink: #e4e7eb; --soft: #98a2ad; } }
body { margin: 0 auto; max-width: 1020px; padding: 2.5rem 1.5rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .4rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .4rem; }
p, li { max-width: 44rem; margin: .4rem 0; } .soft, figcaption { color: var(--soft); font-size: .9rem; }
figure { margin: 1rem 0; min-width: 0; } svg { max-width: 100%; height: auto; overflow: visible; font-size: 12px; }
svg text { fill: currentColor; } .grid { stroke: currentColor; stroke-opacity: .1; } .tick { stroke: currentColor; stroke-opacity: .6; }
.rule { stroke: currentColor; stroke-opacity: .5; stroke-dasharray: 3 3; } .point { stroke: var(--page); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: .5rem 1.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin-top: 1rem; display: block; overflow-x: auto; }
th, td { padding: .35rem .9rem; text-align: right; border-bottom: 1px solid color-mix(in srgb, var(--soft) 30%, transparent); }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; font-size: .9rem; }
pre { overflow-x: auto; padding: .8rem 1rem; background: color-mix(in srgb, var(--soft) 12%, transparent); font-size: .9rem; }
.warn { border-left: 3px solid #d9713c; padding-left: .8rem; }
</style>

</head>
<body>
${body}
</body>
</html>
`;
