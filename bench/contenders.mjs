// Who takes part: ours in each Node by WebAssembly and by the addon, the crate alone, and the peers. `gradient` and the rest of a
// variant go to the contender.
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { root } from "../scripts/run.mjs";
import { cores } from "./shared/child.mjs";
import { DISTINCT, EVERY_GRADIENT } from "./shared/gradients.mjs";

/**
 * Our engines. `kind` is what results are found by, and `suffix` tells them apart where a table says what a contender runs in.
 *
 * @type {{ kind: string, suffix: string, env: { SYMPLECTIC_ADJOINT_ENGINE: string } }[]}
 */
const ENGINES = [
  { kind: "ours", suffix: "", env: { SYMPLECTIC_ADJOINT_ENGINE: "wasm" } },
  { kind: "addon", suffix: ", addon", env: { SYMPLECTIC_ADJOINT_ENGINE: "native" } },
];

/** Our engines in a Node, each with why it is missing, if it is; `addon` undefined: not wanted. */
export function enginesIn(node, addon) {
  return ENGINES.filter(({ kind }) => kind === "ours" || addon).map(({ kind, suffix, env }) => ({
    ...{ kind, env, runtime: `${node.name}${suffix}` },
    missing: kind === "addon" ? addon.missing : undefined,
  }));
}

const script = (name) => join(root, "bench/contenders", name);

/** Our gradients. The tuned adjoint is as exact as the exact ones; see contenders/tune.mjs. */
const gradients = [
  { name: "symplectic", variant: { gradient: "symplectic" } },
  // With room for all tapes of every case.
  { name: "auto", variant: { gradient: "auto", memoryBudget: 2 ** 31 } },
  { name: "auto in 1 MiB", variant: { gradient: "auto", memoryBudget: 2 ** 20 }, cases: ["long"] },
  { name: "auto, 2 workers", variant: { gradient: "auto", memoryBudget: 2 ** 31, workers: 2 }, cores: 2 },
  {
    name: "auto, 2 threads",
    variant: { gradient: "auto", memoryBudget: 2 ** 31, threads: 2 },
    cores: 2,
    only: "addon",
  },
  { name: "aca", variant: { gradient: "aca" } },
  { name: "baseline", variant: { gradient: "baseline" } },
  { name: "backprop", variant: { gradient: "backprop" } },
  { name: "adjoint", variant: { gradient: "adjoint" } },
  { name: "adjoint, tuned", variant: { gradient: "adjoint" }, tune: true, methods: ["dopri5"] },
  // The same parameter gradient as by a step of Euler, given the cotangent.
  { name: "field.vjp", variant: { gradient: "field.vjp" }, methods: ["euler"] },
];
const noSolver = "no adaptive solver there";
const fixed = ["rk4", "euler"];
const tooLong = "unrolled, 10,000 steps are a million operations";
/** @type {{ flags?: string[], [name: string]: any }[]} */
const peers = [
  { name: "JAX scan", from: "jax", script: "jax_scan.py", compiles: true, variant: { remat: false }, methods: fixed },
  {
    name: "JAX scan, remat",
    from: "jax",
    script: "jax_scan.py",
    compiles: true,
    variant: { remat: true },
    methods: fixed,
  },
  {
    name: "diffrax checkpoints",
    from: "jax",
    script: "diffrax_adjoints.py",
    compiles: true,
    variant: { adjoint: "checkpoints" },
    methods: ["dopri5"],
  },
  {
    name: "diffrax backsolve",
    from: "jax",
    script: "diffrax_adjoints.py",
    compiles: true,
    variant: { adjoint: "backsolve" },
    methods: ["dopri5"],
  },
  // torchdiffeq's rk4 is the 3/8 rule, with the same costs.
  ...[
    { name: "torchdiffeq", variant: { adjoint: false } },
    { name: "torchdiffeq adjoint", variant: { adjoint: true } },
  ].map((peer) => ({ ...peer, from: "torch", script: "torch_diffeq.py", references: { rk4: "rk38" } })),
  ...[
    // It walks a graph of 40 steps recursively, more than the usual stack has room for.
    {
      name: "jax-js",
      script: "jax-js.mjs",
      compiles: true,
      flags: process.platform === "win32" ? [] : ["--stack-size=7000"],
    },
    { name: "tfjs-wasm", script: "tfjs.mjs" },
  ].map((peer) => ({
    ...{ ...peer, from: "node", variant: {}, methods: ["rk4", "dopri5"] },
    ...{ refuses: { dopri5: noSolver }, skips: { long: tooLong } },
  })),
];

/**
 * Everybody, in the order of the tables. `nodes` are `{ name, path }`, the last being the one that JavaScript peers run in as
 * well; `addon`, `native` and the peers' environments give a command's beginning, or `{ missing: reason }`; undefined: not wanted.
 */
export function contenders({ nodes, addon, native, environments }) {
  const main = nodes.at(-1);
  const usable = Math.min(cores.length, availableParallelism());
  const ours = [main, ...nodes.slice(0, -1)].flatMap((node) =>
    enginesIn(node, addon).flatMap((engine) =>
      gradients
        .filter(({ name, only = engine.kind }) => only === engine.kind && (node === main || DISTINCT.includes(name)))
        .map((gradient) => ({
          ...gradient,
          ...engine,
          command: [node.path, script("ours.mjs")],
          missing: engine.missing ?? ((gradient.cores ?? 1) > usable ? "needs two cores" : undefined),
        })),
    ),
  );
  const natives = native
    ? gradients
        .filter(({ name }) => EVERY_GRADIENT.some((gradient) => gradient === name))
        .map((gradient) => ({ ...gradient, kind: "native", runtime: "native", ...native }))
    : [];
  const theirs = peers
    .filter(({ from }) => environments?.wanted(from))
    .map((peer) => {
      const { command, missing, argument } = environments[peer.from];
      const whole = missing
        ? undefined
        : [...command, ...(peer.flags ?? []), script(peer.script), ...(argument ? [argument] : [])];
      return { ...peer, kind: "peer", runtime: peer.from === "node" ? main.name : "Python", command: whole, missing };
    });
  return [...ours, ...natives, ...theirs];
}

/**
 * Everybody for models, in the order of the tables; see `contenders`. jax-js and TensorFlow.js have no adaptive solver, and
 * SciPy no gradients.
 */
export function modelContenders({ node, addon, native, environments }) {
  const auto = { gradient: "auto", memoryBudget: 2 ** 31 };
  const fields = [
    { name: "program", variant: { ...auto, field: "program" } },
    // The other end of what `auto` chooses from.
    { name: "program, symplectic", variant: { gradient: "symplectic", field: "program" }, tasks: ["gradient"] },
    { name: "custom", variant: { ...auto, field: "custom" } },
  ];
  const ours = enginesIn(node, addon).flatMap((engine) =>
    fields.map((field) => ({ ...field, ...engine, command: [node.path, script("models.mjs")] })),
  );
  const natives = native ? [{ name: "program", kind: "native", runtime: "native", variant: auto, ...native }] : [];
  const theirs = environments?.wanted("jax")
    ? [
        { name: "diffrax", script: "diffrax_models.py", compiles: true },
        { name: "SciPy", script: "scipy_models.py", tasks: ["solve"] },
      ].map(({ script: file, ...peer }) => {
        const { command, missing } = environments.jax;
        return {
          ...peer,
          kind: "peer",
          runtime: "Python",
          command: missing ? undefined : [...command, script(file)],
          missing,
        };
      })
    : [];
  return [...ours, ...natives, ...theirs];
}

/** Everybody for fits, in the order of the tables; see `contenders`. */
export function fitContenders({ node, addon, environments }) {
  const command = [node.path, script("fits.mjs")];
  const ours = enginesIn(node, addon).map((engine) => ({ ...engine, name: "leastSquares", command, variant: {} }));
  if (!environments) return ours;
  const { fits } = environments;
  const jax = environments.wanted("jax") ? environments.jax : undefined;
  const python = ({ command, missing }) =>
    ["RK45", "DOP853", "LSODA"]
      .map((method) => ({ name: `SciPy ${method}`, file: "scipy_fits.py", variant: { method }, compiles: false }))
      .concat(
        ["Dopri5", "Tsit5"].map((method) => {
          return { name: `optimistix, ${method}`, file: "optimistix_fits.py", variant: { method }, compiles: true };
        }),
      )
      .map(({ file, ...peer }) => {
        const whole = missing ? undefined : [...command, script(file)];
        return { ...peer, kind: "peer", runtime: "Python", command: whole, missing };
      });
  const npm = [
    { name: "ml-levenberg-marquardt", variant: { iterations: 100 } },
    // The least iterations that suffice.
    { name: "ml-levenberg-marquardt, told", variant: {} },
  ].map((peer) => ({
    ...{ ...peer, kind: "peer", runtime: node.name, missing: fits.missing },
    // It solves by ours, and is compared with ours by WebAssembly.
    env: ours[0].env,
    command: fits.missing ? undefined : [...fits.command, script("ml-levenberg-marquardt.mjs"), fits.argument],
  }));
  return [...ours, ...(jax ? python(jax) : []), ...npm];
}

/** Whether a contender has a place in a problem's table, and if so, why it is skipped, if it is. */
export function place({ cases, methods, tasks, skips, refuses, missing }, problem) {
  if (tasks && !tasks.includes(problem.task)) return undefined;
  if (cases && !cases.includes(problem.case)) return undefined;
  if (methods && !methods.includes(problem.method)) return undefined;
  return { skipped: missing ?? skips?.[problem.case] ?? refuses?.[problem.method] };
}
