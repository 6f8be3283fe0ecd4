// What the package means to reach, as ratios within one run, and what a run has reached.
import { EXACT } from "./shared/gradients.mjs";
import { gradientFlops, problemsOf, STAGES } from "./shared/problems.mjs";
import { published, publishedRuns } from "./shared/published.mjs";
import { digits, median } from "./shared/table.mjs";

const jax = ["JAX scan", "JAX scan, remat", "diffrax checkpoints", "diffrax backsolve"];
const torch = ["torchdiffeq", "torchdiffeq adjoint"];
/** The gradients of a problem that are the same one. */
export const SAME = ["auto", ...EXACT];

const NETWORKS = ["small", "medium", "large", "single", "long", "step"];
const sameGoal = (goal) => Object.fromEntries(NETWORKS.map((name) => [name, goal]));

/**
 * `wanted` is by case, `kind` says which of ours is meant: `ours`, which is WebAssembly, or `addon`. A target with `bits` is one of
 * machines whose registers have that width; `theirs` are rivals, of which the fastest counts. How each is measured follows.
 */
const targets = [
  speed("symplectic against JAX", "symplectic", jax, { small: 1.3, medium: 0.5, large: 0.4 }),
  speed("auto against JAX", "auto", jax, { small: 2.5, medium: 0.85, large: 0.62, single: 2.5 }),
  speed("auto against JAX scan, remat", "auto", ["JAX scan, remat"], { long: 0.7 }),
  speed("auto against torchdiffeq", "auto", torch, { small: 15, medium: 1.5 }),
  // They have no adaptive solver.
  { ...speed("auto against jax-js", "auto", ["jax-js"], { small: 25, medium: 5, large: 3 }), methods: ["rk4"] },
  { ...speed("auto against tfjs-wasm", "auto", ["tfjs-wasm"], { small: 30, medium: 10, large: 12 }), methods: ["rk4"] },
  {
    ...speed("addon: auto against JAX", "auto", jax, { small: 3, medium: 2, large: 1.35, single: 5, long: 2 }, "addon"),
    bits: 512,
  },
  {
    ...speed("addon: auto against JAX", "auto", jax, { small: 3, medium: 1.5, large: 1.2, single: 4 }, "addon"),
    bits: 256,
  },
  ...publishedRuns.map(({ registerBits, gflops }) => ({
    what: `addon: auto against ${published.name}'s ${gflops.toFixed(1)} GFLOP/s`,
    wanted: { [published.case]: 1.5 },
    kind: "addon",
    bits: registerBits,
    reach: ({ ours }) => ours("auto")?.gflops && ours("auto").gflops / gflops,
  })),
  speed("auto against the tuned adjoint", "auto", ["adjoint, tuned"], { small: 1, medium: 1, large: 1, single: 1 }),
  speed("auto on 2 workers against on one", "auto, 2 workers", ["auto"], { medium: 1.8, large: 1.8 }),
  ...[
    [["rk4"], { medium: 1.85, large: 1.85 }],
    [["dopri5"], { medium: 1.6, large: 1.85 }],
  ].map(([methods, wanted]) => ({
    ...speed("addon: auto on 2 threads against on one", "auto, 2 threads", ["auto"], wanted, "addon"),
    methods,
  })),
  {
    what: "symplectic's time over backprop's",
    wanted: { small: 1.7, medium: 1.7, large: 1.7, single: 1.7, long: 1.7 },
    most: true,
    reach: ({ ours }) => timeRatio(ours("symplectic"), ours("backprop")),
  },
  ...["ours", "addon"].flatMap((kind) => {
    const name = kind === "addon" ? "addon: " : "";
    return [
      {
        what: `${name}symplectic's time over backprop's, over the count of evaluations`,
        wanted: sameGoal(1.05),
        most: true,
        kind,
        reach: overCount,
      },
      { what: `${name}auto's time over the fastest's`, wanted: sameGoal(1.03), most: true, kind, reach: overFastest },
      {
        what: `${name}auto's share of the peak`,
        wanted: { medium: 0.7, large: 0.85 },
        kind,
        reach: ({ ours }) => ours("auto")?.ms && peakShare(ours("auto")),
      },
    ];
  }),
  {
    what: "symplectic's memory over backprop's",
    wanted: { long: 1 / 50 },
    most: true,
    reach: ({ ours }) => ratio(ours("symplectic")?.countedBytes, ours("backprop")?.countedBytes),
  },
  {
    what: "memory of auto in 1 MiB, in MiB",
    wanted: { long: 1 },
    most: true,
    reach: ({ ours }) => ratio(ours("auto in 1 MiB")?.countedBytes, 2 ** 20),
  },
];

/** Of models, with the addon: how many times faster than diffrax, by the batch. */
const MODEL_GOALS = { 1: 2, 16: 2, 4096: 1 };
/** Milliseconds from the import to the first gradient, with the addon. */
const COLD_START = 60;

/** How many times faster ours is than the fastest of theirs. */
function speed(what, mine, theirs, wanted, kind = "ours") {
  const reach = ({ all, ours }) => {
    const rivals = all.filter((r) => r.ms && theirs.includes(r.contender) && ["peer", kind].includes(r.kind));
    return timeRatio(fastest(rivals), ours(mine));
  };
  return { what, wanted, kind, theirs, reach };
}

/**
 * The time of `symplectic` over that of `backprop`, over what their evaluations would take alone: with s stages and ρ the time of a
 * transpose over that of f, (3 − 1/s + ρ) / (1 + ρ).
 */
function overCount({ method, ours }) {
  const [symplectic, backprop] = [ours("symplectic"), ours("backprop")];
  if (!backprop?.pullOverForward) return undefined;
  const ρ = median(backprop.pullOverForward);
  return ratio(timeRatio(symplectic, backprop), (3 - 1 / STAGES[method] + ρ) / (1 + ρ));
}

/** The time of `auto` over that of the exact gradient that is fastest. */
function overFastest({ ours }) {
  const ratios = EXACT.map((name) => timeRatio(ours("auto"), ours(name)));
  return ratios.includes(undefined) ? undefined : Math.max(.../** @type {number[]} */ (ratios));
}

/**
 * A line for each target, case and method of a run: `reached` is undefined where something has not been measured.
 *
 * @param {{ results: any[], models?: any[], coldStart?: any[], runtime: string }} run
 */
export function reached({ results, models = [], coldStart = [], runtime }) {
  return [...networkLines(results, runtime), ...modelLines(models), ...coldLines(coldStart)];
}

function networkLines(results, runtime) {
  return targets.flatMap(({ what, wanted, bits, methods, theirs, most = false, kind = "ours", reach }) =>
    Object.entries(wanted).flatMap(([name, goal]) => {
      const found = [...new Set(results.filter((result) => result.case === name).map(({ method }) => method))];
      return found.flatMap((method) => {
        if (methods && !methods.includes(method)) return [];
        // In the Node that the peers are compared with.
        const all = results.filter((r) => r.case === name && r.method === method && inNode(r, runtime));
        const same = all.filter((result) => result.kind === kind);
        if (bits && !same.some(({ registerBits }) => registerBits === bits)) return [];
        // Nor is there a line in a run without ours, or without rivals.
        if (same.length === 0 || (theirs && !all.some(({ contender }) => theirs.includes(contender)))) return [];
        const ours = (contender) => same.find((result) => result.contender === contender);
        return [lineOf(what, name, method, goal, reach({ all, ours, method }), most)];
      });
    }),
  );
}

/** Whether a result is in a Node by this name, by either engine, or in none. */
export function inNode({ kind, runtime }, node) {
  return !["ours", "addon"].includes(kind) || runtime.split(",")[0] === node;
}

/** Of each model, task and batch that has a goal, for the addon. */
function modelLines(models) {
  return models
    .filter(({ kind, contender, batch, ms }) => kind === "addon" && contender === "program" && MODEL_GOALS[batch] && ms)
    .flatMap((result) => {
      const { case: name, method, task, batch } = result;
      const same = models.filter((r) => r.case === name && r.task === task && r.batch === batch);
      const value = timeRatio(
        same.find(({ contender }) => contender === "diffrax"),
        result,
      );
      if (value === undefined && !same.some(({ kind }) => kind === "peer")) return [];
      return [
        lineOf("addon: program against diffrax", name, `${method}, ${task}, batch ${batch}`, MODEL_GOALS[batch], value),
      ];
    });
}

function coldLines(starts) {
  return starts
    .filter(({ kind }) => kind === "addon")
    .map(({ runtime, ms }) =>
      lineOf("addon: ms to the first gradient", "small", runtime, COLD_START, median(ms), true),
    );
}

function lineOf(what, name, method, goal, value, most = false) {
  const met = value === undefined ? undefined : most ? value <= goal : value >= goal;
  return { what, case: name, method, most, goal, reached: value, met };
}

function fastest(results) {
  return results.toSorted((a, b) => a.msPerStep - b.msPerStep)[0];
}

function ratio(a, b) {
  return a === undefined || b === undefined ? undefined : a / b;
}

/** Time per accepted step of `a` over that of `b`: the median over the rounds that they share, which are of the same run. */
export function timeRatio(a, b) {
  if (!a?.ms || !b?.ms || a.created !== b.created) return undefined;
  const rounds = Math.min(a.rounds.length, b.rounds.length);
  const ratios = Array.from({ length: rounds }, (_, i) => a.rounds[i] / b.rounds[i]);
  return (median(ratios) * b.accepted) / a.accepted;
}

/** The share of the micro-kernel's peak, probed beside each round, that a whole gradient reaches. */
export function peakShare({ case: name, method, rounds, accepted, peakGflops }) {
  if (!peakGflops) return undefined;
  const problem = problemsOf([name]).find((problem) => problem.method === method);
  const flops = gradientFlops(problem, accepted);
  return median(rounds.slice(0, peakGflops.length).map((ms, i) => flops / ms / 1e6 / peakGflops[i]));
}

/** Head and rows of a table of targets. */
export function targetTable(lines) {
  const head = ["target", "case", "method", "wanted", "reached", "met"];
  const rows = lines.map(({ what, case: name, method, most, goal, reached: value, met }) => [
    what,
    name,
    method,
    `${most ? "at most" : "at least"} ${digits(goal)}`,
    value === undefined ? "not measured" : digits(value),
    { true: "yes", false: "no", undefined: "–" }[met],
  ]);
  return [head, rows];
}
