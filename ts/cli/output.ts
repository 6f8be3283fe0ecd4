// Output files: checked before anything is computed, and written atomically.
import { randomBytes } from "node:crypto";
import {
  accessSync,
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { Failure, reasonOf } from "./failure.js";

/** Refuses a file that cannot be written, or that is also an input: a typo would destroy data. */
export function checkOutput(out: string, inputs: readonly (string | undefined)[], option = "--out"): void {
  if (out === "-") {
    throw new Failure(`${option} -: expected a file; only predict and simulate write to standard output`, 2);
  }
  const isFolder = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  // Check the folder first: without one, nothing else can be checked.
  const folder = isFolder(dirname(out)) ? dirname(resolveLink(out)) : dirname(out);
  if (!isFolder(folder)) throw new Failure(`${option} ${out}: there is no folder ${folder}`);
  const present = statSync(out, { bigint: true, throwIfNoEntry: false });
  if (present && !present.isFile()) throw new Failure(`${option} ${out}: is not a regular file`);
  try {
    accessSync(folder, constants.W_OK);
  } catch (error) {
    throw new Failure(`${option} ${out}: cannot write to the folder ${folder}: ${reasonOf(error)}`);
  }
  for (const input of inputs) {
    // Compare the files themselves: links and other spellings of a path name the same file.
    const read = input === undefined ? undefined : statSync(input, { bigint: true, throwIfNoEntry: false });
    if (read && read.ino === present?.ino && read.dev === present.dev) {
      throw new Failure(`${option} ${out}: expected a different file from ${input}, which is an input`, 2);
    }
  }
}

/** Refuses two output options that name the same file. */
export function checkApart(outputs: Readonly<Record<string, string | undefined>>): void {
  const named = Object.entries(outputs).flatMap(([option, file]) => (file === undefined ? [] : [{ option, file }]));
  const known = new Map<string, string>();
  for (const { option, file } of named) {
    const path = resolveLink(file);
    const place = join(realpathSync(dirname(path)), basename(path));
    const other = known.get(place);
    if (other !== undefined) throw new Failure(`${option} ${file}: expected a different file from ${other}`, 2);
    known.set(place, option);
  }
}

/** The target of a symbolic link, whether or not it exists yet. */
function resolveLink(file: string): string {
  let path = file;
  // Linux follows as many links.
  for (let links = 0; links < 40; links++) {
    if (!lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) return path;
    path = resolve(dirname(path), readlinkSync(path));
  }
  throw new Failure(`${file}: its links form a circle`);
}

/**
 * Writes a file atomically: to a new file beside it, flushed to the disk, and then moved into its place. If anything fails, an existing
 * file stays whole.
 */
export function writeWhole(out: string, content: Uint8Array | string): void {
  const target = resolveLink(out);
  const folder = dirname(target);
  const mode = statSync(target, { throwIfNoEntry: false })?.mode;
  const part = join(folder, `.symplectic-adjoint-${process.pid}-${randomBytes(4).toString("hex")}.part`);
  const file = openSync(part, "wx");
  try {
    try {
      writeFileSync(file, content);
      if (mode !== undefined) fchmodSync(file, mode & 0o777);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(part, target);
  } catch (error) {
    rmSync(part, { force: true });
    throw error;
  }
  try {
    // Flush the folder too, so that the new name is on the disk. Not every system supports this.
    const entry = openSync(folder, "r");
    fsyncSync(entry);
    closeSync(entry);
  } catch {
    // The file itself is written.
  }
}

/**
 * Writes what must not be lost: if `out` cannot be written, to a new folder elsewhere.
 *
 * @returns Undefined, or the file that was written instead and the reason.
 */
export function writeSomewhere(out: string, content: Uint8Array): { file: string; reason: string } | undefined {
  const failures: string[] = [];
  const attempt = (file: string): boolean => {
    try {
      writeWhole(file, content);
      return true;
    } catch (error) {
      failures.push(`${file} could not be written: ${reasonOf(error)}`);
      return false;
    }
  };
  if (attempt(out)) return undefined;
  for (const place of [tmpdir(), homedir(), process.cwd()]) {
    let folder: string;
    try {
      folder = mkdtempSync(join(place, "symplectic-adjoint-"));
    } catch (error) {
      failures.push(`cannot write to ${place}: ${reasonOf(error)}`);
      continue;
    }
    const file = join(folder, basename(out));
    if (attempt(file)) return { file, reason: failures[0] as string };
    rmSync(folder, { recursive: true, force: true });
  }
  throw new Failure(`what was learned is lost:\n${failures.join("\n")}`);
}
