// What the command reads, once: files, pipes, and with `-` standard input.
import { readFile } from "node:fs/promises";
import { Failure, reasonOf } from "./failure.js";

/** Bytes, and what messages call them. */
export interface Source {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const isStandardInput = (file: string) => file === "-" || file === "/dev/stdin";

/** Reads a file to its end: a pipe gives its bytes only once. */
export async function readSource(file: string): Promise<Source> {
  const name = isStandardInput(file) ? "standard input" : file;
  try {
    return { name, bytes: isStandardInput(file) ? await standardInput() : await readFile(file) };
  } catch (error) {
    throw new Failure(`${name}: ${reasonOf(error)}`);
  }
}

/** Reads a model and a table. */
export async function readSources<T extends string | undefined>(
  model: string,
  data: T,
): Promise<{ model: Source; data: T extends string ? Source : undefined }> {
  if (isStandardInput(model) && data !== undefined && isStandardInput(data)) {
    throw new Failure("expected one of the model and the table on standard input, which can be read only once", 2);
  }
  const sources = { model: await readSource(model), data: data === undefined ? undefined : await readSource(data) };
  return sources as { model: Source; data: T extends string ? Source : undefined };
}

async function standardInput(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return Buffer.concat(chunks);
}
