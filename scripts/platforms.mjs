// The platforms that have a native addon, each a package of its own.
import { readFileSync } from "node:fs";

/**
 * @typedef {{ target: string, library: string, flags: string[], os: string, cpu: string, libc?: string }} Platform
 *   Rust's name of it, what cargo calls the library there, flags of the compiler, and what npm calls it.
 */

// A library that is unloaded with a thread of its own would take the destructors of thread locals with it.
const linux = { library: "libsymplectic_adjoint.so", flags: ["-C", "link-arg=-Wl,-z,nodelete"], os: "linux" };
const musl = { ...linux, flags: [...linux.flags, "-C", "target-feature=-crt-static"], libc: "musl" };
// Node's functions are found in the process that loads the addon.
const links = ["-C", "link-arg=-undefined", "-C", "link-arg=dynamic_lookup"];
const darwin = { library: "libsymplectic_adjoint.dylib", flags: links, os: "darwin" };
const windows = { library: "symplectic_adjoint.dll", flags: ["-C", "target-feature=+crt-static"], os: "win32" };

/** @type {Record<string, Platform>} */
export const PLATFORMS = {
  "linux-x64-gnu": { target: "x86_64-unknown-linux-gnu", ...linux, cpu: "x64", libc: "glibc" },
  "linux-arm64-gnu": { target: "aarch64-unknown-linux-gnu", ...linux, cpu: "arm64", libc: "glibc" },
  "linux-x64-musl": { target: "x86_64-unknown-linux-musl", ...musl, cpu: "x64" },
  "linux-arm64-musl": { target: "aarch64-unknown-linux-musl", ...musl, cpu: "arm64" },
  "darwin-x64": { target: "x86_64-apple-darwin", ...darwin, cpu: "x64" },
  "darwin-arm64": { target: "aarch64-apple-darwin", ...darwin, cpu: "arm64" },
  "win32-x64-msvc": { target: "x86_64-pc-windows-msvc", ...windows, cpu: "x64" },
  "win32-arm64-msvc": { target: "aarch64-pc-windows-msvc", ...windows, cpu: "arm64" },
};

/** The name of this machine's platform; ts/engine/native.ts finds its addon by the same. */
export function platformOf() {
  const { platform, arch } = process;
  if (platform === "linux") return `linux-${arch}-${isMusl() ? "musl" : "gnu"}`;
  return platform === "win32" ? `win32-${arch}-msvc` : `${platform}-${arch}`;
}

function isMusl() {
  try {
    return readFileSync("/usr/bin/ldd", "latin1").includes("musl");
  } catch {
    const { header } = /** @type {{ header?: { glibcVersionRuntime?: string } }} */ (process.report.getReport());
    return header?.glibcVersionRuntime === undefined;
  }
}
