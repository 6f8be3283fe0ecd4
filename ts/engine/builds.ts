// The WebAssembly builds that the default entry carries. They are much alike, so both are one Zstandard stream, whose window
// spans them: half the size of two that are compressed by themselves.

import { decompress } from "fzstd";
import type { Simd } from "./engine.js";
import { builtinAtOnce, isAllowed } from "./node.js";

// Put in when the package is built: the stream in base64, and of each build where it begins and ends in what the stream holds, the
// file it came from, and that file's SHA-256.
declare const BUILDS: string;
declare const BUILD_PLACES: Record<
  Simd,
  { readonly begin: number; readonly end: number; readonly file: string; readonly sha256: string }
>;

/** The bytes of a build, as an entry at `from` has them: in a file of the package where it can be read at once, else inside. */
export function bytesOfBuild(simd: Simd, from: string): Uint8Array<ArrayBuffer> {
  const { begin, end } = BUILD_PLACES[simd];
  return besideEntry(simd, from) ?? inflate(decode(BUILDS)).subarray(begin, end);
}

interface Files {
  readFileSync(path: URL): Uint8Array<ArrayBuffer>;
}

interface Hashes {
  createHash(name: string): { update(bytes: Uint8Array): { digest(encoding: string): string } };
}

/** The same bytes from the package's own file, which saves Node, Deno and Bun half of a cold start. A bundle has no such file, or another. */
function besideEntry(simd: Simd, from: string): Uint8Array<ArrayBuffer> | undefined {
  if (!isAllowed("read")) return undefined;
  const { file, sha256 } = BUILD_PLACES[simd];
  try {
    const bytes = builtinAtOnce<Files>("node:fs")?.readFileSync(new URL(file, from));
    const hash = bytes && builtinAtOnce<Hashes>("node:crypto")?.createHash("sha256").update(bytes).digest("hex");
    return hash === sha256 ? bytes : undefined;
  } catch {
    return undefined;
  }
}

/** By the runtime's own decoder where it has one that need not be awaited, which takes a tenth of the time. */
function inflate(stream: Uint8Array): Uint8Array<ArrayBuffer> {
  const zlib = builtinAtOnce<{ zstdDecompressSync?(bytes: Uint8Array): Uint8Array<ArrayBuffer> }>("node:zlib");
  return zlib?.zstdDecompressSync?.(stream) ?? (decompress(stream) as Uint8Array<ArrayBuffer>);
}

// A plain loop: a callback for each byte would take most of the time to the first gradient.
function decode(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
