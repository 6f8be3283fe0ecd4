// What the command tells people, who may read it in a terminal.

/** A text with its control characters as escapes, but for tabs and line ends: names from files may have any, and a terminal obeys. */
export const readable = (text: string): string =>
  text.replace(
    /\r(?!\n)|[^\P{Cc}\t\n\r]/gu,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );

/** Writes a line of a result. */
export const print = (text: string): void => void process.stdout.write(`${readable(text)}\n`);

/** Writes a line that is no result: progress, notes and errors. */
export const say = (text: string): void => void process.stderr.write(`${readable(text)}\n`);
