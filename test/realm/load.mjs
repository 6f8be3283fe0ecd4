// The package in a realm of its own, as runners of tests load it: node --experimental-vm-modules load.mjs FILE ENTRY runs a
// module, to which "symplectic-adjoint" is that entry and `outer` has what the realm outside calls by the same names.
import { readFileSync } from "node:fs";
import { createContext, SourceTextModule } from "node:vm";

const [file, entry] = process.argv.slice(2);
const provided = { console, process, TextDecoder, TextEncoder, URL, atob, performance, setTimeout };
const outer = { Float32Array, Float64Array, Uint8Array, URL, Response, WebAssembly, Error, readFileSync };
const context = createContext({ ...provided, outer });
const modules = new Map();

function load(url) {
  const { href } = url;
  const options = { context, identifier: href, initializeImportMeta: (meta) => Object.assign(meta, { url: href }) };
  if (!modules.has(href)) modules.set(href, new SourceTextModule(readFileSync(url, "utf8"), options));
  return modules.get(href);
}

const main = load(new URL(file, import.meta.url));
await main.link((specifier, { identifier }) =>
  load(
    specifier === "symplectic-adjoint"
      ? new URL(`../../dist/${entry}.js`, import.meta.url)
      : new URL(specifier, identifier),
  ),
);
await main.evaluate();
