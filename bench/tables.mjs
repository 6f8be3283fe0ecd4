// Results as tables in Markdown.
import { TIMED } from "./shared/gradients.mjs";
import { describeModel, models } from "./shared/models.mjs";
import { describe, problemsOf } from "./shared/problems.mjs";
import { published, publishedRuns } from "./shared/published.mjs";
import { digits, spread, table } from "./shared/table.mjs";
import { peakShare, SAME, targetTable, timeRatio } from "./targets.mjs";

const NONE = "–";
const HEAD = [
  "gradient",
  "in",
  "ms a gradient",
  "ms a step",
  "steps",
  "MiB, counted",
  "MiB, process",
  "error",
  "first, ms",
  "GFLOP/s",
  "of peak",
  "against symplectic",
];

/** A title and a table for each problem, then what was skipped and why. */
export function problemTables(results, runtime, created) {
  const problems = problemsOf([...new Set(results.map((result) => result.case))]);
  return problems.flatMap((problem) => {
    const here = results.filter((result) => result.case === problem.case && result.method === problem.method);
    const measured = here.filter(({ skipped }) => !skipped);
    if (here.length === 0) return [];
    const base = measured.find((r) => r.contender === "symplectic" && r.kind === "ours" && r.runtime === runtime);
    const rows = measured.map((result) => row(result, base));
    const notes = [
      ...measured.filter(({ note }) => note).map((r) => `${r.contender} (${r.runtime}): ${r.note}.`),
      ...earlier(measured, created),
    ];
    const skipped = reasons(here.filter((result) => result.skipped));
    return [
      [
        `### ${problem.case}: ${describe(problem)}`,
        table(HEAD, rows),
        ...(notes.length > 0 ? [notes.join(" ")] : []),
        ...(skipped.length > 0 ? [`Skipped: ${skipped.join("; ")}.`] : []),
      ].join("\n\n"),
    ];
  });
}

/** A note on who was not measured in a run but in one before, if anybody. */
function earlier(measured, created) {
  const runs = [...new Set(measured.map((result) => result.created))].filter((one) => one && one !== created);
  return runs.map((one) => {
    const then = measured.filter((result) => result.created === one);
    const who = [...new Set(then.map((r) => `${r.contender} (${r.runtime})`))].join(", ");
    return `Measured on ${one.slice(0, 10)}${then.length < measured.length ? `: ${who}` : ""}.`;
  });
}

/** What of ours computes, in the order of the tables: the width of its registers, and the peak of its micro-kernel. */
export function enginesTable(results, created) {
  const fresh = results.filter((result) => result.created === created);
  const known = fresh.filter(({ registerBits, peakGflops }) => registerBits && peakGflops);
  const rows = [...new Set(known.map(({ runtime }) => runtime))].map((runtime) => {
    const here = known.filter((result) => result.runtime === runtime);
    const peak = spread(here.flatMap(({ peakGflops }) => peakGflops));
    return [runtime, engineName(here[0]), String(here[0].registerBits), peak];
  });
  return rows.length > 0 ? table(["in", "by", "registers, bits", "peak, GFLOP/s"], rows) : undefined;
}

function engineName({ kind, versions }) {
  if (kind === "ours") return `WebAssembly, ${versions?.simd ?? NONE}`;
  return kind === "addon" ? "the addon" : "the crate";
}

/** A published figure beside ours: the gradient of each engine that is fastest, and the field alone. */
export function publishedTable(results) {
  const ours = results.filter((r) => r.case === published.case && r.gflops && r.kind !== "peer");
  if (ours.length === 0) return undefined;
  const best = [...new Set(ours.map(({ runtime }) => runtime))].flatMap((runtime) => {
    const here = ours.filter((result) => result.runtime === runtime);
    const gradients = here.filter(({ contender }) => SAME.includes(contender)).toSorted((a, b) => b.gflops - a.gflops);
    return [...gradients.slice(0, 1), ...here.filter(({ contender }) => contender === "field.vjp")];
  });
  const theirs = publishedRuns.map(({ cpu, cores, registerBits, gflops }) => [
    published.name,
    `${cpu}, ${cores} cores; quoted, not run`,
    String(registerBits),
    gflops.toFixed(1),
    ...publishedRuns.map(() => NONE),
  ]);
  const rows = best.map(({ contender, runtime, registerBits, gflops }) => [
    contender,
    runtime,
    String(registerBits ?? NONE),
    gflops.toFixed(1),
    ...publishedRuns.map((run) => digits(gflops / run.gflops)),
  ]);
  const head = ["gradient", "in", "registers, bits", "GFLOP/s a core"];
  return table([...head, ...publishedRuns.map((run) => `over its ${run.registerBits} bits`)], [...theirs, ...rows]);
}

const MODEL_HEAD = [
  "task",
  "batch",
  "field",
  "in",
  "ms",
  "µs a step",
  "steps",
  "error",
  "first, ms",
  "against program",
];

/** A title and a table for each model, with lines for its batches, then what was skipped and why. */
export function modelTables(results, runtime, created) {
  return Object.keys(models).flatMap((name) => {
    const here = results.filter((result) => result.case === name);
    if (here.length === 0) return [];
    const measured = here.filter(({ skipped }) => !skipped);
    const rows = measured.map((result) => {
      const { task, batch } = result;
      const same = measured.filter((other) => other.task === task && other.batch === batch);
      const program = same.find((r) => r.contender === "program" && r.kind === "ours" && r.runtime === runtime);
      return modelRow(result, program);
    });
    const skipped = reasons(here.filter((result) => result.skipped));
    const all = [`### ${name}: ${describeModel(name)}`, table(MODEL_HEAD, rows), ...earlier(measured, created)];
    return [[...all, ...(skipped.length > 0 ? [`Skipped: ${skipped.join("; ")}.`] : [])].join("\n\n")];
  });
}

function modelRow(result, program) {
  const { task, batch, contender, rounds, accepted, rejected } = result;
  const against = program && timeRatio(result, program);
  return [
    task,
    String(batch),
    contender,
    place(result),
    spread(rounds),
    digits(1000 * result.msPerStep),
    rejected ? `${accepted} + ${rejected}` : String(accepted),
    result.error.toExponential(1),
    digits(result.firstMs),
    against ? digits(against) : NONE,
  ];
}

/** Who was skipped, by the reason. */
export function reasons(results) {
  const all = [...new Set(results.map(({ skipped }) => skipped))];
  return all.map((reason) => {
    const who = results
      .filter(({ skipped }) => skipped === reason)
      .map(({ contender, runtime }) => `${contender} (${runtime})`);
    return `${[...new Set(who)].join(", ")}: ${reason}`;
  });
}

function row(result, base) {
  const { contender, rounds, msPerStep, accepted, countedBytes, growthBytes } = result;
  const share = peakShare(result);
  const against = base && timeRatio(result, base);
  return [
    contender,
    place(result),
    spread(rounds),
    digits(msPerStep),
    String(accepted),
    mebibytes(countedBytes),
    mebibytes(growthBytes),
    result.error.toExponential(1),
    digits(result.firstMs),
    result.gflops.toFixed(1),
    share ? `${(100 * share).toFixed(0)} %` : NONE,
    against ? digits(against) : NONE,
  ];
}

/** What a contender runs in, and the width of its registers, if it is ours. */
function place({ runtime, registerBits }) {
  return registerBits ? `${runtime}, ${registerBits} bits` : runtime;
}

function mebibytes(bytes) {
  return bytes === undefined || bytes === null ? NONE : (bytes / 2 ** 20).toFixed(bytes < 2 ** 20 ? 3 : 1);
}

const CHOICES = ["auto", "auto in 1 MiB", "symplectic", "aca", "backprop", "adjoint"];

/** What our gradients take by rk4 on two problems, few steps and many. */
export function choiceTable(results, runtime, cases) {
  const ours = results.filter((r) => r.kind === "ours" && r.runtime === runtime && r.method === "rk4" && !r.skipped);
  const head = ["gradient", ...cases.flatMap((name) => [`${name}, ms`, "MiB"])];
  const rows = CHOICES.map((contender) => {
    const cells = cases.flatMap((name) => {
      const found = ours.find((r) => r.case === name && r.contender === contender);
      return found ? [spread(found.rounds), mebibytes(found.countedBytes)] : [NONE, NONE];
    });
    return [contender, ...cells];
  });
  return table(head, rows);
}

export function targetsTable(lines) {
  return table(...targetTable(lines));
}

export function coldStartTable(starts) {
  return table(
    ["in", "import to first gradient, ms", "process start to first gradient, ms"],
    starts.map((start) => [place(start), spread(start.ms), spread(start.sinceStart)]),
  );
}

/** A line about where a run was. */
export function where(run) {
  return machineLine([run]);
}

/** A line for each machine on which runs were, and how. */
export function machineLines(runs) {
  const key = ({ machine, quick, brief }) => [machine.cpu, machine.cores, machine.os, quick, brief].join();
  return [...new Set(runs.map(key))].map((one) => machineLine(runs.filter((run) => key(run) === one)));
}

/** A line about runs on one machine. */
function machineLine(runs) {
  const [{ machine, quick, brief }] = runs;
  const versions = new Set(runs.flatMap((run) => Object.entries(run.versions).map((one) => one.join(" "))));
  const days = [...new Set(runs.map(({ created }) => created.slice(0, 10)))].sort();
  const loads = runs.map((run) => run.machine.load);
  const range = [...new Set([Math.min(...loads), Math.max(...loads)].map((load) => load.toFixed(1)))];
  const load = Math.max(...loads) < 0.5 ? "" : `, load ${range.join(" to ")} at the start`;
  const haste = quick
    ? " Measured in haste (`--quick`)."
    : brief
      ? " Measured in few and short rounds (`--brief`)."
      : "";
  const software = [...versions].sort().join(", ");
  return `${machine.cpu}, ${machine.cores} cores, ${machine.os}${load}; ${software}; ${days.join(", ")}.${haste}`;
}

/** How the tuned adjoint compares with exact gradients that are as good: above 1, the exact one is faster. */
export function adjointTable(results, runtime) {
  const ours = results.filter((r) => r.kind === "ours" && r.runtime === runtime);
  const rows = ours
    .filter(
      ({ contender, ms, skipped }) =>
        contender === "adjoint, tuned" && (ms || /^none of .* was as exact$/.test(skipped)),
    )
    .map((tuned) => {
      const same = ours.filter((r) => r.case === tuned.case && r.method === tuned.method && r.rtol === tuned.rtol);
      const ratios = TIMED.map((name) => {
        const exact = same.find(({ contender }) => contender === name);
        const ratio = exact && timeRatio(tuned, exact);
        return ratio ? digits(ratio) : NONE;
      });
      const symplectic = same.find(({ contender }) => contender === "symplectic");
      const steps = `${symplectic?.accepted ?? NONE} / ${tuned.backwardSteps ?? NONE}`;
      const errors = [symplectic?.error?.toExponential(1) ?? NONE, tuned.error?.toExponential(1) ?? "never as small"];
      const asked = tuned.rtol ? `float64, ${tuned.rtol.toExponential(0)}` : "float32, least";
      return [tuned.case, asked, steps, ...errors, ...ratios];
    });
  const head = ["case", "rtol", "steps there / back", "exact error", "adjoint's error"];
  return rows.length > 0 ? table([...head, ...TIMED.map((name) => `adjoint / ${name}`)], rows) : undefined;
}
