// Reads inputs: files, pipes, and standard input for `-`. Each is read once.
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { SymplecticAdjointError } from "../index.js";
import { Failure, reasonOf } from "./failure.js";

/** Bytes, with the name for messages. */
export interface Source {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const isStandardInput = (file: string) => file === "-" || file === "/dev/stdin";

/** Reads a file to its end; a pipe can be read only once. */
export async function readSource(file: string): Promise<Source> {
  const name = isStandardInput(file) ? "standard input" : file;
  try {
    return { name, bytes: isStandardInput(file) ? await bytesOf(process.stdin, name) : await bytesOfFile(file) };
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(`${name}: ${reasonOf(error)}`);
  }
}

/** Reads a file of equations; equations in place of the file's name get a hint. */
export async function readEquations(file: string): Promise<Source> {
  try {
    return await readSource(file);
  } catch (error) {
    if (!(error instanceof Failure) || !file.includes("=")) throw error;
    throw new Failure(`${error.message}; expected the name of a file that contains the equations`, 2);
  }
}

/** Reads a model and a table. */
export async function readSources<T extends string | undefined>(
  model: string,
  data: T,
): Promise<{ model: Source; data: T extends string ? Source : undefined }> {
  if (isStandardInput(model) && data !== undefined && isStandardInput(data)) {
    throw new Failure("only one of the model and the table can come from standard input", 2);
  }
  const sources = { model: await readSource(model), data: data === undefined ? undefined : await readSource(data) };
  if (sources.data && isModel(sources.data) && !isModel(sources.model)) {
    throw new Failure(`expected the model first, then the table: ${sources.data.name} is a model`, 2);
  }
  return sources as { model: Source; data: T extends string ? Source : undefined };
}

/** Whether bytes begin like a model file: the length of a header, and its opening brace. */
export function isModel({ bytes }: Source): boolean {
  if (bytes.length < 9) return false;
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  return length < bytes.length && bytes[8] === 0x7b;
}

/** Reads a model file with `read`. Errors name the file, and say so if it looks like a table. */
export function fromModel<T>({ name, bytes }: Source, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof SymplecticAdjointError) || error.code !== "FILE") throw error;
    // The length at the beginning of a model file contains zero bytes.
    const isText = bytes.length > 0 && bytes.subarray(0, 8).every((byte) => byte >= 9);
    const hint = isText ? "; it looks like text, such as a table, or equations, which simulate solves" : "";
    throw new Failure(`${name}: ${error.message}${hint}`);
  }
}

/** Larger than any model or table that could be loaded. */
const MOST_BYTES = 2 ** 31 - 1;

const tooLarge = (name: string) => new Failure(`${name}: expected at most ${MOST_BYTES} bytes, given more`);

/** The bytes of a file or a pipe. Devices such as /dev/zero have no end and are refused. */
async function bytesOfFile(file: string): Promise<Uint8Array> {
  const status = await stat(file);
  if (status.isCharacterDevice() || status.isBlockDevice()) {
    throw new Failure(`${file}: expected a file or a pipe, given a device`);
  }
  if (status.size > MOST_BYTES) throw tooLarge(file);
  return status.isFile() ? readFile(file) : bytesOf(createReadStream(file), file);
}

/** Reads a stream to its end. */
async function bytesOf(stream: AsyncIterable<Uint8Array>, name: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > MOST_BYTES) throw tooLarge(name);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
