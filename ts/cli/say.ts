// Prints lines for people, who may read them in a terminal.

/** Escapes control characters, except for tabs and line ends: names from files may contain any, and a terminal would obey. */
export const readable = (text: string): string =>
  text.replace(
    /\r(?!\n)|[^\P{Cc}\t\n\r]/gu,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );

/** Prints a line of the result to standard output. */
export const print = (text: string): void => void process.stdout.write(`${readable(text)}\n`);

/** Prints a line of progress, a note or an error to standard error. */
export const say = (text: string): void => void process.stderr.write(`${readable(text)}\n`);
