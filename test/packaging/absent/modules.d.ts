// Packages of this folder, as `npm run check` sees them, which does not install them: anything.
declare module "@jax-js/jax";
declare module "@rspack/core";
declare module "@tensorflow/tfjs";
declare module "@tensorflow/tfjs-backend-wasm";
declare module "edge-runtime";
declare module "miniflare";
declare module "next";
declare module "react";
declare module "vite";
declare module "webpack";
