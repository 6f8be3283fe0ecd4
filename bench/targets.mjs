// What the package means to reach, as ratios within one run, and what a run has reached.
import { EXACT } from "./shared/gradients.mjs";
import { gradientFlops, problemsOf } from "./shared/problems.mjs";
import { digits, median } from "./shared/table.mjs";

const jax = ["JAX scan", "JAX scan, remat", "diffrax checkpoints", "diffrax backsolve"];
const torch = ["torchdiffeq", "torchdiffeq adjoint"];
const exactOnes = ["auto", ...EXACT];

/** `ours` and `theirs` are names, of which the fastest counts; `wanted` is by case. How each is measured follows. */
const targets = [
  speed("symplectic against JAX", ["symplectic"], jax, { small: 1.3, medium: 0.5, large: 0.4 }),
  speed("auto against JAX", ["auto"], jax, { small: 2.5, medium: 0.85, large: 0.62, single: 2 }),
  speed("auto against JAX scan, remat", ["auto"], ["JAX scan, remat"], { long: 0.7 }),
  speed("auto against torchdiffeq", ["auto"], torch, { small: 15, medium: 1.5 }),
  speed("auto against jax-js", ["auto"], ["jax-js"], { small: 25, medium: 5, large: 3 }),
  speed("auto against tfjs-wasm", ["auto"], ["tfjs-wasm"], { small: 30, medium: 10, large: 12 }),
  speed("native against JAX", exactOnes, jax, { small: 1, medium: 1, large: 1 }, "native"),
  speed("auto against the tuned adjoint", ["auto"], ["adjoint, tuned"], { small: 1, medium: 1, large: 1, single: 1 }),
  speed("auto on 2 workers against on one", ["auto, 2 workers"], ["auto"], { medium: 1.8, large: 1.8 }),
  {
    what: "symplectic's time over backprop's",
    wanted: { small: 1.7, medium: 1.7, large: 1.7, single: 1.7, long: 1.7 },
    most: true,
    reach: ({ ours }) => timeRatio(ours("symplectic"), ours("backprop")),
  },
  {
    what: "auto's share of the peak",
    wanted: { medium: 0.65, large: 0.85 },
    reach: ({ ours }) => ours("auto")?.ms && peakShare(ours("auto")),
  },
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

function speed(what, ours, theirs, wanted, kind = "ours") {
  const reach = ({ all }) => {
    const measured = (names, kinds) => all.filter((r) => r.ms && names.includes(r.contender) && kinds.includes(r.kind));
    const ourBest = fastest(measured(ours, [kind]));
    return timeRatio(fastest(measured(theirs, ["peer", "ours"])), ourBest);
  };
  return { what, wanted, reach };
}

/** A line for each target, case and method of a run: `reached` is undefined where something has not been measured. */
export function reached(results, runtime) {
  return targets.flatMap(({ what, wanted, most = false, reach }) =>
    Object.entries(wanted).flatMap(([name, goal]) => {
      const methods = [...new Set(results.filter((result) => result.case === name).map(({ method }) => method))];
      return methods.flatMap((method) => {
        const here = results.filter((r) => r.case === name && r.method === method);
        // In the Node that the peers are compared with.
        const all = here.filter((r) => r.kind !== "ours" || r.runtime === runtime);
        const ours = (contender) => all.find((r) => r.kind === "ours" && r.contender === contender);
        const value = reach({ all, ours });
        if (value === undefined && !needed(what, method, all)) return [];
        const met = value === undefined ? undefined : most ? value <= goal : value >= goal;
        return [{ what, case: name, method, most, goal, reached: value, met }];
      });
    }),
  );
}

/** A target has no line for a method that none of its rivals have, nor in a run without them. */
function needed(what, method, all) {
  if (/jax-js|tfjs/.test(what) && method !== "rk4") return false;
  if (/native/.test(what) && !all.some(({ kind }) => kind === "native")) return false;
  if (/tuned/.test(what) && method !== "dopri5") return false;
  return !/JAX|torch|jax-js|tfjs/.test(what) || all.some(({ kind }) => kind === "peer");
}

function fastest(results) {
  return results.toSorted((a, b) => a.msPerStep - b.msPerStep)[0];
}

function ratio(a, b) {
  return a === undefined || b === undefined ? undefined : a / b;
}

/** Time per accepted step of `a` over that of `b`: the median over the rounds that they share. */
export function timeRatio(a, b) {
  if (!a?.ms || !b?.ms) return undefined;
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
