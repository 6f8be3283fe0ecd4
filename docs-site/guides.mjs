// A guide is named by its first heading, as on a code host, and not by its file.
import { Converter } from "typedoc";

export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, document) => {
    const [part] = document.content;
    const heading = /^# (.+)\n+/.exec(part?.text ?? "");
    if (!heading) return;
    document.name = heading[1];
    part.text = part.text.slice(heading[0].length);
  });
}
