// A training that can stop at any step and go on as if it had not: a model file with the losses so far.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { load, save } from "../../dist/index.js";
import { messageOf } from "../../scripts/run.mjs";

/**
 * What a training has made so far.
 *
 * @typedef {{ field: import("../../dist/index.js").Field<"float32">, optimizer: import("../../dist/index.js").Optimizer,
 *   losses: number[] }} Progress
 */

/**
 * @param {string} file
 * @param {Progress} progress
 */
export function write(file, { field, optimizer, losses }) {
  mkdirSync(dirname(file), { recursive: true });
  const bytes = save(field, { optimizer, metadata: { losses: JSON.stringify(losses) } });
  // Written beside, to the disk, and then moved, so that there is a whole file at any time.
  const part = `${file}.${process.pid}.part`;
  try {
    writeFileSync(part, bytes, { flush: true });
    renameSync(part, file);
  } catch (error) {
    rmSync(part, { force: true });
    throw error;
  }
}

/**
 * The field, the optimizer and the losses so far.
 *
 * @param {string} file
 * @returns {Progress}
 */
export function restore(file) {
  if (!existsSync(file)) throw new Error(`there is no checkpoint at ${file}: run without --resume first`);
  try {
    const { field, optimizer, metadata } = load(readFileSync(file), { dtype: "float32" });
    if (!optimizer) throw new Error("it has no optimizer");
    return { field, optimizer, losses: JSON.parse(metadata.get("losses") ?? "") };
  } catch (error) {
    throw new Error(`${file} cannot be read (${messageOf(error)}): run without --resume`);
  }
}

/**
 * How many steps a checkpoint has behind it, undefined if there is none that can be read.
 *
 * @param {string} file
 */
export function stepsOf(file) {
  try {
    return restore(file).losses.length;
  } catch {
    return undefined;
  }
}
