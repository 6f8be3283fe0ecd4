// Pages are named by their first headings, as on a code host, and not by their files; the first page has its name already.
import { Converter } from "typedoc";

const HEADING = /^# (.+)\n+/;

/** @param {import("typedoc").Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, document) => {
    const [, heading] = HEADING.exec(document.content[0]?.text ?? "") ?? [];
    if (heading) document.name = heading;
  });
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    const [first] = project.readme ?? [];
    if (first) first.text = first.text.replace(HEADING, "");
  });
}
