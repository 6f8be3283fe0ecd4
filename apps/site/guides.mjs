// Pages are named by their first headings, as on a code host, and not by their files; the first page has its name already.
// A choice among names that the crate exports is written out.
import { Converter, DeclarationReflection, LiteralType, ReflectionKind, UnionType } from "typedoc";
import * as constants from "../../wasm/constants.js";

/** @type {Map<string, any>} */
const NAMES = new Map(Object.entries(constants));
const HEADING = /^# (.+)\n+/;

/**
 * `"a" | "b"` for `(typeof NAMES)[number]`, where NAMES are constants of the crate.
 *
 * @param {import("typedoc").SomeType | undefined} type
 */
function writtenOut(type) {
  if (type?.type !== "indexedAccess" || type.objectType.type !== "query") return type;
  const names = NAMES.get(type.objectType.queryType.name);
  return names ? new UnionType(names.map((/** @type {string} */ name) => new LiteralType(name))) : type;
}

/** @param {import("typedoc").Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, document) => {
    const [, heading] = HEADING.exec(document.content[0]?.text ?? "") ?? [];
    if (heading) document.name = heading;
  });
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const reflection of project.getReflectionsByKind(ReflectionKind.All)) {
      if (reflection instanceof DeclarationReflection) reflection.type = writtenOut(reflection.type);
    }
  });
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    const [first] = project.readme ?? [];
    if (first) first.text = first.text.replace(HEADING, "");
  });
}
