// Where results go, looked at before anything is computed.
import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { Failure } from "./failure.js";

/** Refuses a file that cannot be written, or that is one of those that are read: data would be lost to a slip of the hand. */
export function checkOutput(out: string, inputs: readonly (string | undefined)[]): void {
  const folder = dirname(out);
  if (!existsSync(folder)) throw new Failure(`--out ${out}: there is no folder ${folder}`);
  const present = statSync(out, { bigint: true, throwIfNoEntry: false });
  if (!present) return;
  if (!present.isFile()) throw new Failure(`--out ${out}: is no file`);
  for (const input of inputs) {
    // By what the names stand for: links and other spellings of a path are the same file.
    const read = input === undefined ? undefined : statSync(input, { bigint: true, throwIfNoEntry: false });
    if (read && read.ino === present.ino && read.dev === present.dev) {
      throw new Failure(`--out ${out}: expected another file than ${input}, which is read`, 2);
    }
  }
}
