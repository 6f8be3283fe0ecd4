// The WebAssembly builds that the default entry carries. They are much alike, so both are one Zstandard stream, whose window
// spans them: half the size of two that are compressed by themselves.

import { decompress } from "fzstd";
import type { Simd } from "./engine.js";
import { builtinAtOnce } from "./node.js";

// Put in when the package is built: the stream in base64, and where each build begins and ends in what it holds.
declare const BUILDS: string;
declare const BUILD_PLACES: Record<Simd, readonly [begin: number, end: number]>;

/** The bytes of a build. */
export function unpack(simd: Simd): Uint8Array<ArrayBuffer> {
  const [begin, end] = BUILD_PLACES[simd];
  return inflate(decode(BUILDS)).subarray(begin, end) as Uint8Array<ArrayBuffer>;
}

/** By the runtime's own decoder where it has one that need not be awaited, which takes a tenth of the time. */
function inflate(stream: Uint8Array): Uint8Array {
  const zlib = builtinAtOnce<{ zstdDecompressSync?(bytes: Uint8Array): Uint8Array }>("node:zlib");
  return zlib?.zstdDecompressSync?.(stream) ?? decompress(stream);
}

// A plain loop: a callback for each byte would take most of the time to the first gradient.
function decode(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
