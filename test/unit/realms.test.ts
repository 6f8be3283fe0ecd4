// In runners of tests, frames and the like, values come from another realm, whose classes are other ones.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const loader = fileURLToPath(new URL("../realm/load.mjs", import.meta.url));

function run(file: string, entry: string, ...more: string[]): string {
  const flags = ["--no-warnings", "--experimental-vm-modules"];
  // The addon gives objects of the realm that it is loaded in, and is not taken in another one.
  const env = { ...process.env, SYMPLECTIC_ADJOINT_ENGINE: "" };
  return execFileSync(process.execPath, [...flags, loader, file, entry, ...more], { encoding: "utf8", env }).trim();
}

test("arrays, errors and addresses of any realm", () => {
  expect(run("api.mjs", "index")).toBe("right");
});

test.each(["url", "bytes", "buffer", "module", "response"])("a module of any realm: %s", (source) => {
  expect(run("init.mjs", "slim", source)).toBe("4 FILE");
});
