// What the entries may weigh, bundled and minified.
const modifyEsbuildConfig = (config) => ({ ...config, format: "esm" });
const entry = (name, path, limit) => ({ name, path: `../../dist/${path}`, gzip: true, limit, modifyEsbuildConfig });

export default [
  entry("symplectic-adjoint, both builds and the worker inside", "index.js", "692 kB"),
  {
    // A program has the default entry and the NATS client already.
    ...entry("symplectic-adjoint/cluster, beside the default entry", "cluster.js", "140 kB"),
    modifyEsbuildConfig: (config) => ({ ...config, format: "esm", external: ["./index.js", "@nats-io/*"] }),
  },
  // With tracing, the parser of equations, all losses, and estimation.
  entry("symplectic-adjoint/slim", "slim.js", "118 kB"),
  {
    ...entry("equations and leastSquares from symplectic-adjoint/slim", "slim.js", "81 kB"),
    import: "{ equations, leastSquares }",
  },
  {
    ...entry("equations and valueAndGrad from symplectic-adjoint/slim", "slim.js", "45 kB"),
    import: "{ equations, valueAndGrad }",
  },
  // What a page bundles that computes gradients of one network.
  {
    ...entry("mlp and valueAndGrad from symplectic-adjoint/slim", "slim.js", "41 kB"),
    import: "{ mlp, valueAndGrad }",
  },
];
