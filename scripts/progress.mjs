// A line that says what is going on.

/**
 * Over and over where there is a terminal, else once at the beginning and once at the end.
 *
 * @param {string} title
 */
export function progress(title) {
  const terminal = process.stderr.isTTY;
  const start = performance.now();
  if (!terminal) console.error(title);
  /** @param {string} what */
  const say = (what) => {
    if (terminal) process.stderr.write(`\r\x1b[2K${title} – ${what}`.slice(0, process.stderr.columns + 5));
  };
  say.done = () => {
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    console.error(terminal ? `\r\x1b[2K${title}: done in ${seconds} s` : `  done in ${seconds} s`);
  };
  return say;
}
