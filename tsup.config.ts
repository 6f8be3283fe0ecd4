import { defineConfig } from "tsup";

export default defineConfig({
  entry: { index: "ts/index.ts", slim: "ts/slim.ts" },
  format: "esm",
  target: "es2022",
  platform: "neutral",
  // Disposable is newer than the libraries that most projects name.
  dts: { banner: '/// <reference lib="esnext.disposable" />' },
  clean: true,
  // The shared part of both entries is one file, so that they share one WASM instance too.
  splitting: true,
  loader: { ".wasm": "base64" },
});
