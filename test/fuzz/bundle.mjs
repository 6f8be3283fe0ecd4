// Modules of the command line, which the package has inside one program, each as the tests can import it.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** What some modules of ts/cli export, together; they use the package as it is built. */
export async function commandModules(...names) {
  const contents = names.map((name) => `export * from "./${name}.js";`).join("\n");
  const built = {
    name: "package",
    setup: ({ onResolve }) =>
      onResolve({ filter: /^\.\.\/index\.js$/ }, () => ({
        path: pathToFileURL(join(root, "dist/index.js")).href,
        external: true,
      })),
  };
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: join(root, "ts/cli"), loader: "ts" },
    ...{ bundle: true, write: false, format: "esm", platform: "node", target: "node20", plugins: [built] },
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  });
  const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));
  try {
    const file = join(folder, "command.mjs");
    writeFileSync(file, outputFiles[0].text);
    return await import(pathToFileURL(file).href);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
