/** Golden cases, written into a project when it is made. */
declare module "*/cases.mjs" {
  // biome-ignore lint/suspicious/noExplicitAny: see test/golden/README.md
  const cases: any[];
  export default cases;
}

/** A module of the package, in the ways that a host or a bundler gives it. */
declare module "symplectic-adjoint/simd.wasm" {
  const module: WebAssembly.Module;
  export default module;
}
declare module "*/simd.wasm" {
  const url: string;
  export default url;
}
declare module "*?url" {
  const url: string;
  export default url;
}
