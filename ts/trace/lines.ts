// The lines of a text of equations, or of what a jump sets.

/** What stands before a comment. */
export const withoutComment = (line: string) => line.split("#", 1)[0] as string;

/** What begins a statement. */
const BEGINS = /^\s*(?:param\s|[A-Za-z_]\w*\s*'*\s*=(?!=))/;

/**
 * The lines of a text. If a line leaves a parenthesis open, the following lines are joined to it by line breaks, and their own entries are
 * empty.
 */
export function linesOf(source: string): string[] {
  const lines: string[] = [];
  let [first, open] = [0, 0];
  for (const line of source.split(/\r\n|[\n\r]/)) {
    const text = withoutComment(line);
    // A new statement inside an open parenthesis means that the previous one is unfinished; the parser reports that.
    if (open > 0 && !BEGINS.test(text)) {
      lines[first] = `${withoutComment(lines[first] as string)}\n${text}`;
      lines.push("");
    } else {
      [first, open] = [lines.length, 0];
      lines.push(line);
    }
    for (const character of text) open += character === "(" ? 1 : character === ")" ? -1 : 0;
  }
  return lines;
}

/** Where in a text an expression has something, which begins at some place of a line: the line, and the offset in it. */
export function positionIn(line: number, start: number, expression: string, at: number): [line: number, at: number] {
  const before = expression.slice(0, at).split("\n");
  const last = before.at(-1) as string;
  return before.length === 1 ? [line, start + last.length] : [line + before.length - 1, last.length];
}
