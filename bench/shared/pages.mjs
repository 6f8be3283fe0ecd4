// Figures of a page, between their markers.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/run.mjs";

/** Puts figures between the markers of that name on a page, such as `<!-- figures: begin -->` and `<!-- figures: end -->`. */
export function fill(name, figures, what = "figures") {
  const [begin, end] = [`<!-- ${what}: begin -->`, `<!-- ${what}: end -->`];
  const page = join(root, name);
  const [before, rest] = readFileSync(page, "utf8").split(begin);
  const after = rest?.split(end)[1];
  if (after === undefined) throw new Error(`${page} has lost its markers ${begin} and ${end}`);
  writeFileSync(page, `${before}${begin}\n\n${figures}\n\n${end}${after}`);
}
