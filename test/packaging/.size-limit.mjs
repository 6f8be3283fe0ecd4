// What the entries may weigh, bundled and minified.
const modifyEsbuildConfig = (config) => ({ ...config, format: "esm" });
const entry = (name, path, limit) => ({ name, path: `../../dist/${path}`, gzip: true, limit, modifyEsbuildConfig });

export default [
  entry("symplectic-adjoint, both builds and the worker inside", "index.js", "685 kB"),
  {
    // A program has the default entry and the NATS client already.
    ...entry("symplectic-adjoint/cluster, beside the default entry", "cluster.js", "130 kB"),
    modifyEsbuildConfig: (config) => ({ ...config, format: "esm", external: ["./index.js", "@nats-io/*"] }),
  },
  // With tracing, the parser of equations, all losses, and estimation.
  entry("symplectic-adjoint/slim", "slim.js", "114 kB"),
  {
    ...entry("equations and leastSquares from symplectic-adjoint/slim", "slim.js", "78 kB"),
    import: "{ equations, leastSquares }",
  },
  {
    ...entry("equations and valueAndGrad from symplectic-adjoint/slim", "slim.js", "43 kB"),
    import: "{ equations, valueAndGrad }",
  },
  // What a page bundles that computes gradients of one network.
  {
    ...entry("mlp and valueAndGrad from symplectic-adjoint/slim", "slim.js", "39 kB"),
    import: "{ mlp, valueAndGrad }",
  },
];
