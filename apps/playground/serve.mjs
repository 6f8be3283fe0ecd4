// Builds the page, and serves it unless told to build only.
import { fileURLToPath } from "node:url";
import { build, preview } from "vite";

/** @param {{ only: boolean }} how to build only */
export async function playground({ only }) {
  const configFile = fileURLToPath(new URL("vite.config.mjs", import.meta.url));
  await build({ configFile, logLevel: only ? "info" : "warn" });
  if (only) return;
  const server = await preview({ configFile, preview: { open: process.stdout.isTTY && !process.env.CI } });
  server.printUrls();
}
