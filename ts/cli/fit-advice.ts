// Summarizes a fit for the user: the numbers, warnings, and options to try.
import type { PriorEstimate, Profile } from "../index.js";
import type { Observed } from "./fit-observed.js";
import type { FitCommandOptions } from "./fit-request.js";
import type { FitNumbers } from "./fit-run.js";
import type { FitTask } from "./fit-task.js";
import { counted } from "./number.js";
import { columnIn, listOf } from "./table.js";

/** How well a column is fitted. */
export interface Quality {
  readonly column: string;
  readonly measurements: number;
  /** The root mean square of the residuals. */
  readonly error: number;
  /** The root mean square deviation from the column's mean. */
  readonly errorOfMean: number;
}

/** How well each column is fitted. */
export function qualitiesOf({ measurements }: FitNumbers, observed: readonly Observed[]): Quality[] {
  const root = (values: readonly number[]) =>
    Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);
  return observed.map(({ column }, o) => {
    const own = measurements.filter((one) => one.observed === o);
    const mean = own.reduce((sum, { y }) => sum + y, 0) / own.length;
    return {
      column,
      measurements: own.length,
      error: root(own.map(({ y, prediction }) => prediction - y)),
      errorOfMean: root(own.map(({ y }) => y - mean)),
    };
  });
}

/** Notes, a line each, on assumptions behind the numbers: initial states that were measured but count as exact. */
export function notesOnFit(result: FitNumbers, exact: readonly string[]): string[] {
  // Without standard errors, none can be too small.
  if (exact.length === 0 || result.degreesOfFreedom < 1 || result.freeNames.length === 0) return [];
  const [are, they] = exact.length === 1 ? ["is", "it has"] : ["are", "they have"];
  const names = exact.map((state) => `${state}(0)`);
  return [
    `${listOf(names)} ${are} taken from the first row as exact. If ${they} an error there, the standard errors and intervals above are too small; --estimate "${names.join(", ")}" estimates ${exact.length === 1 ? "it" : "them"} too`,
  ];
}

/** A note on columns that were taken for states with a slightly different name. */
export function notesOnNames({ mapping: { observed }, states }: Pick<FitTask, "mapping" | "states">): string[] {
  const loose = observed.filter(({ column, expression }) => column !== expression && states.includes(expression));
  const isAlike = loose.filter(({ column, expression }) => columnIn([column], expression) !== undefined);
  if (isAlike.length === 0) return [];
  return [
    isAlike.map(({ column, expression }) => `${expression} is measured by the column ${listOf([column])}`).join(", "),
  ];
}

/** Names of dose columns in NONMEM and similar tools, in lower case, with the options that read them. */
const DOSE_COLUMNS: Readonly<Record<string, string>> = {
  amt: "dose-amount",
  dose: "dose-amount",
  cmt: "dose-state",
  dur: "dose-duration",
  rate: "dose-rate",
  addl: "dose-repeats",
  ii: "dose-interval",
  mdv: "mdv",
  evid: "mdv",
};

/** Notes, a line each, on unused columns that look like doses. */
export function notesOnColumns({ unread, mapping: { doses, mdv } }: Pick<FitTask, "unread" | "mapping">): string[] {
  const given: Readonly<Record<string, unknown>> = {
    ...{ mdv, "dose-amount": doses, "dose-state": doses?.state, "dose-duration": doses?.duration },
    ...{ "dose-rate": doses?.rate, "dose-repeats": doses?.repeats, "dose-interval": doses?.interval },
  };
  const isOpen = (option: string) => (given[option] ?? null) === null && (option === "mdv" || !doses?.apart);
  const found = unread.flatMap((column) => {
    const name = column.toLowerCase();
    const option = Object.hasOwn(DOSE_COLUMNS, name) ? (DOSE_COLUMNS[name] as string) : "";
    return option !== "" && isOpen(option) ? [{ column, option: `--${option} ${column}` }] : [];
  });
  if (found.length === 0) return [];
  const columns = listOf(found.map(({ column }) => column));
  return [`columns not used: ${columns}. If they are about doses, add ${found.map(({ option }) => option).join(" ")}`];
}

/** A standard error this many times as large as the estimate and its start means that the value is unknown. */
const FAR_BEYOND = 10;

/**
 * Estimates that the data do not determine: without a finite standard error; or with one far beyond the estimate, and with a correlation
 * that is ±1 in all digits shown.
 */
function undeterminedOf({ parameters, freeNames, correlation }: FitNumbers): string[] {
  const isTied = (i: number) =>
    freeNames.some((_, j) => i !== j && Math.abs(correlation[i * freeNames.length + j] as number) > 1 - 5e-6);
  return Object.values(parameters).flatMap(({ name, value, start, standardError }) => {
    if (standardError === Number.POSITIVE_INFINITY) return [name];
    const isBeyond = standardError > FAR_BEYOND * Math.max(Math.abs(value), Math.abs(start));
    return isBeyond && isTied(freeNames.indexOf(name)) ? [name] : [];
  });
}

/** Whether a fit converged to estimates that the data determine. */
export const isReliable = (result: FitNumbers) => result.converged && undeterminedOf(result).length === 0;

/** Why a fit ended, in terms of the command. */
export function messageOf(result: FitNumbers, signal?: string): string {
  const { reason, message, iterations, starts } = result;
  const after = `after ${iterations} iteration${iterations === 1 ? "" : "s"}`;
  if (reason === "iterations") return `Not converged ${after}.`;
  if (reason === "callback") return `Stopped ${after}, not converged.`;
  if (reason === "stuck") return `Not converged ${after}: no step along the computed derivatives lowers the cost.`;
  if (reason === "derivatives")
    return `Not converged ${after}: the derivatives of the solution differ from its differences.`;
  if (signal !== undefined)
    return `Stopped by ${signal}; ${starts.length === 1 ? "the fit had" : `the best of ${starts.length} starts`} converged ${after}.`;
  const undetermined = undeterminedOf(result);
  if (undetermined.length > 0)
    return `Stopped ${after}, where the cost stopped falling; the data do not determine ${listOf(undetermined)}.`;
  // The command has no option of that name.
  return message.replace("Converged:", `Converged ${after}:`).replace("costTolerance", "its tolerance");
}

/** Warnings that name parameters. */
const NAMED = [
  /^The predictions do not depend on (.*?) near/,
  /^The data cannot distinguish (.*?): (?:they|(\d+) combinations)/,
  /^The estimates of (.*?) are almost perfectly correlated/,
  /^Some combination of (.*?) is poorly determined/,
  /^The data hardly determine (.*?): it/,
  /^The data hardly determine (.*?): their/,
];

/** Warnings for the user, a line each, with options to try. */
export function adviceOnFit(
  result: FitNumbers,
  observed: readonly Observed[],
  profiles: readonly Profile[] = [],
): string[] {
  const { reason, warnings, message, starts, converged, method } = result;
  const isParameter = (name: string) => !/\(0\)|\[|^error\./.test(name);
  const unknown = undeterminedOf(result);
  const lines: string[] = [];
  if (reason === "iterations")
    lines.push(
      "not converged: try --resume (which continues from here), --max-iterations 1000, another --start, or --log for rates",
    );
  if (reason === "callback")
    lines.push("stopped before it converged: the same command with --resume continues from these estimates");
  if (reason === "stuck")
    lines.push(
      "not converged: no step along the computed derivatives lowers the cost: try --rtol 1e-12 --atol 1e-14, another --start, or --bounds for a parameter that runs off to infinity",
    );
  if (reason === "derivatives" && /choose by a comparison/.test(message))
    lines.push(
      "not converged: the equations choose by a comparison, and derivatives miss that its switch moves with a parameter, so the estimates and their errors are unreliable: write a smooth switch, such as 1/(1 + exp((t - tau)/0.1)), or try --fix for that parameter",
    );
  else if (reason === "derivatives")
    lines.push(
      `not converged: the equations are probably stiff for ${method}, so the derivatives of the solution are wrong, and the estimates and their errors are unreliable: try ${method === "dopri5" ? "--method bosh3" : "--method dopri5"}, or other units of time`,
    );
  // The reason was already given, with options of the command.
  const others = converged ? warnings : warnings.slice(1);
  for (const warning of others) {
    const bounded = /^(.*) ended at its (?:lower|upper) bound/.exec(warning);
    if (bounded) {
      const bounds = `--bounds "${bounded[1]?.replace(/\[.*\]$/, "")}=…", or --fix`;
      const [told, isPoor] = warning.split(" As the fit is poor, ");
      const starts = `As the fit is poor, try --starts 20 before ${bounds}.`;
      lines.push(isPoor === undefined ? `${warning} Try ${bounds}.` : `${told} ${starts}`);
      continue;
    }
    const poor = /^The fit of (.*?) (is \w+ better than its \w+: its error is .*?\))\.( There| None|$)/s.exec(warning);
    if (poor) {
      const [, name, how, remedy] = poor;
      const column = observed[result.observed.indexOf(name as string)]?.column ?? name;
      const options =
        remedy === " None"
          ? `; none of ${starts.length} starts found a better minimum: try other --bounds or other equations`
          : "; try --starts 20 with --bounds, --log for positive rates, another --start, or other equations";
      lines.push(`the fit of ${column} ${how}${remedy === "" ? "" : options}`);
      continue;
    }
    const [, named, several] = NAMED.map((pattern) => pattern.exec(warning)).find((found) => found !== null) ?? [];
    const told = named?.split(/, | and /) ?? [];
    const parameters = told.filter(isParameter);
    const [first] = parameters;
    const failed = /^(\d+ of \d+ starts failed: .*?)\. Set bounds/s.exec(warning);
    if (failed) {
      lines.push(`${failed[1]}: try --bounds within which the equations make sense, or --log`);
    } else if (/starts ended at the lowest cost/.test(warning))
      lines.push(warning.replace(/ Try more starts.*/, ` Try --starts ${10 * starts.length}, or narrower --bounds.`));
    else if (first === undefined) lines.push(warning);
    else if (unknown.includes(first))
      lines.push(`${warning} Try --fix "${parameters.slice(0, Number(several ?? 1)).join(", ")}".`);
    else lines.push(`${warning} Try --fix "${first}", or look at --profile "${told.join(", ")}".`);
  }
  for (const { name, interval, improved } of profiles) {
    if (improved)
      lines.push(
        `the profile of ${name} reached a lower cost than the fit: try --starts 20, or a --start nearer to it`,
      );
    const open = (["below", "above"] as const).filter((_, i) => interval[i] === undefined);
    if (open.length > 0)
      lines.push(
        `the profile of ${name} does not end ${open.join(" or ")}: the data set no limit there; try --fix, or --bounds`,
      );
  }
  return lines;
}

/** A warning if the absolute tolerance is not small compared with the measurements. */
export function adviceOnTolerance({ mapping, members }: Pick<FitTask, "mapping" | "members">, atol: number): string[] {
  const { observed } = mapping;
  return observed.flatMap(({ column }, o) => {
    const sizes = members.flatMap(({ y }) => y.filter((value, k) => k % observed.length === o && !Number.isNaN(value)));
    const largest = sizes.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (!(largest > 0 && atol > 1e-4 * largest)) return [];
    const better = Number((1e-8 * largest).toPrecision(1));
    return `--atol ${atol} is not small beside the values of ${column}, at most ${largest}, so that solves are not exact: try --atol ${better}, or another unit`;
  });
}

/** A number to the third digit of its error; with six digits if it has none. */
export function shown(value: number | undefined | null, error?: number | null): string {
  if (value === undefined || value === null || Number.isNaN(value)) return "–";
  if (value === Number.POSITIVE_INFINITY) return "∞";
  if (value === Number.NEGATIVE_INFINITY) return "−∞";
  if (!error || !Number.isFinite(error)) return String(Number(value.toPrecision(6)));
  const decimals = 2 - Math.floor(Math.log10(error));
  const isPlain = decimals >= 0 && decimals <= 8 && Math.abs(value) < 1e6;
  const digits = decimals + Math.floor(Math.log10(Math.abs(value) || 1)) + 1;
  return isPlain ? value.toFixed(decimals) : String(Number(value.toPrecision(Math.max(3, Math.min(12, digits)))));
}

/** Rows of cells as aligned lines; the first column is left-aligned. */
export function alignedLines(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>((most, row) => row.map((cell, i) => Math.max(most[i] ?? 0, cell.length)), []);
  return rows.map((row) =>
    row
      .map((cell, i) =>
        i === 0 || i === row.length - 1 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number),
      )
      .join("   ")
      .trimEnd(),
  );
}

/** A prior, and how much of it the data left. */
function priorText(prior: PriorEstimate): string {
  const [kind, center, spread] =
    "mean" in prior ? ["prior", prior.mean, prior.sd] : ["lognormal prior", prior.median, prior.logSd];
  const narrower = Number.isNaN(prior.contraction) ? "" : `, contraction ${Math.round(100 * prior.contraction)} %`;
  return `${kind} ${shown(center)} ± ${shown(spread)}${narrower}`;
}

/** The estimates as rows of cells, with a header. */
export function estimateRows({ parameters }: FitNumbers, level: number): string[][] {
  const head = ["", "estimate", "standard error", `${Number((100 * level).toPrecision(6))} % CI lower`, "upper", ""];
  const rows = Object.values(parameters).map(
    ({ name, value, standardError, interval: [lower, upper], fixed, atBound, prior }) => {
      if (fixed) return [name, shown(value), "", "", "", "fixed"];
      const digits = (end: number) => (Number.isFinite(standardError) ? shown(end, standardError) : "–");
      const note = [...(atBound ? [`at its ${atBound} bound`] : []), ...(prior ? [priorText(prior)] : [])].join(", ");
      return [
        name,
        shown(value, standardError),
        shown(standardError, standardError),
        digits(lower),
        digits(upper),
        note,
      ];
    },
  );
  return [head, ...rows];
}

/** The statistics of a fit, in a line. */
export function summaryOf(result: FitNumbers, error: FitCommandOptions["error"]): string {
  const { standardDeviation, degreesOfFreedom, aic, bic, conditionNumber, measurements, parameters } = result;
  const free = Object.values(parameters).filter(({ fixed }) => !fixed).length;
  // If errors grow with the prediction, residuals have no common standard deviation.
  const hasOne = error === "additive" || error === "lognormal";
  const parts = [
    counted(measurements.length, "measurement"),
    counted(free, "parameter"),
    counted(Number(degreesOfFreedom.toPrecision(4)), "degree of freedom", "degrees of freedom"),
    ...(hasOne ? [`residual standard error ${shown(Number(standardDeviation.toPrecision(4)))}`] : []),
    `AIC ${shown(aic)}`,
    `BIC ${shown(bic)}`,
    `condition number ${Number.isFinite(conditionNumber) ? conditionNumber.toPrecision(3) : "∞"}`,
  ];
  return parts.join(", ");
}
