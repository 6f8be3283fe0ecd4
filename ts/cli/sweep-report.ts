// The results of a sweep: rows for the terminal, a CSV file, a page with plots.
import type { SweepResult, TrialResult } from "../cluster.js";
import { escaped, type Mark, svgOf } from "./charts.js";
import { shown } from "./fit-advice.js";
import { counted } from "./number.js";
import { COLOURS, figure, pageOf, tableOf } from "./page.js";
import { csvOf } from "./table.js";

const colour = COLOURS[0] as string;

/** The parameters that differ between trials. */
const namesOf = (trials: readonly TrialResult[]) => Object.keys(trials[0]?.parameters ?? {});

/** The budget that a trial has reached: values at larger budgets say more. */
const depthOf = ({ status, rungs }: TrialResult) => rungs.length - (status === "failed" ? 1 : 0);

/** The trials ranked by budget, then by value; those without a value come last. */
export function ranked(trials: readonly TrialResult[]): TrialResult[] {
  const value = (trial: TrialResult) => (Number.isNaN(trial.value) ? Number.POSITIVE_INFINITY : trial.value);
  const hasValue = (trial: TrialResult) => (Number.isNaN(trial.value) ? 0 : 1);
  return [...trials].sort(
    (a, b) => hasValue(b) - hasValue(a) || depthOf(b) - depthOf(a) || value(a) - value(b) || a.trial - b.trial,
  );
}

const cellOf = (value: unknown) =>
  typeof value === "number" ? shown(Number(value.toPrecision(4))) : String(value ?? "");
const seconds = (ms: number) => `${(ms / 1000).toPrecision(3)} s`;

/** Rows of cells, with a header. */
export function rowsOf(trials: readonly TrialResult[], budgets: readonly number[]): string[][] {
  const names = namesOf(trials);
  const halved = budgets.length > 1 ? ["steps"] : [];
  const head = ["trial", "held out", ...names, ...halved, "time", "status"];
  const rows = trials.map(({ trial, value, parameters, rungs, ms, status, message }) => [
    String(trial),
    Number.isNaN(value) ? "–" : value.toPrecision(4),
    ...names.map((name) => cellOf(parameters[name])),
    ...(halved.length > 0 ? [cellOf(rungs.at(-1)?.budget)] : []),
    seconds(ms),
    message === undefined ? status : `${status}: ${message.split("\n")[0]}`,
  ]);
  return [head, ...rows];
}

/** All trials as CSV. */
export function csvOfTrials({ trials }: SweepResult): string {
  const names = namesOf(trials);
  const head = ["trial", "status", "value", ...names, "steps", "seconds", "worker", "message"];
  const rows = trials.map(({ trial, status, value, parameters, rungs, ms, message }) => [
    ...[trial, status, Number.isNaN(value) ? "" : value],
    ...names.map((name) => String(parameters[name])),
    ...[rungs.at(-1)?.budget ?? "", ms / 1000, rungs.at(-1)?.worker ?? "", message ?? ""],
  ]);
  return csvOf(head, rows);
}

/** Whether to plot numbers on a log scale. */
const isWide = (values: readonly number[]) =>
  values.every((value) => value > 0) && Math.max(...values) >= 10 * Math.min(...values);

/** An axis for some numbers, and their positions. */
function axisOf(label: string, values: readonly number[]) {
  const log = values.length > 0 && isWide(values);
  return {
    axis: { label: log ? `log10 ${label}` : label },
    place: (value: number) => (log ? Math.log10(value) : value),
  };
}

/** The page. */
export function sweepReport(title: string, { best, trials, budgets }: SweepResult): string {
  const names = namesOf(trials);
  const good = trials.filter(({ value }) => Number.isFinite(value));
  const values = good.map(({ value }) => value);
  const error = axisOf("held out", values);
  const told = (trial: TrialResult) =>
    `trial ${trial.trial}: ${shown(trial.value)}; ${names.map((name) => `${name} ${cellOf(trial.parameters[name])}`).join(", ")}`;
  const points = (x: readonly number[], own: readonly TrialResult[]): Mark => ({
    ...{ kind: "points", x, y: own.map(({ value }) => error.place(value)), colour },
    titles: own.map(told),
  });
  const done = good.filter(({ status }) => status === "done");
  let least = Number.POSITIVE_INFINITY;
  const course = done.map(({ value }) => {
    least = Math.min(least, value);
    return error.place(least);
  });
  const overall = svgOf({
    ...{ width: 970, height: 300, x: { label: "trial" }, y: error.axis },
    marks: [
      { kind: "line", x: done.map(({ trial }) => trial), y: course, colour: COLOURS[1] as string },
      points(
        good.map(({ trial }) => trial),
        good,
      ),
    ],
  });
  const plots = names.map((name) => {
    const own = good.map(({ parameters }) => parameters[name]);
    const words = [...new Set(own.filter((value) => typeof value !== "number").map(String))];
    // Words get positions side by side.
    const numbers = own.map((value) => (typeof value === "number" ? value : words.indexOf(String(value)) + 1));
    const label = words.length > 0 ? `${name}: ${words.map((word, i) => `${i + 1} ${word}`).join(", ")}` : name;
    const { axis, place } = axisOf(label, words.length > 0 ? [] : numbers);
    const marks = [points(numbers.map(place), good)];
    return figure(svgOf({ title: name, width: 470, height: 250, x: axis, y: error.axis, marks }));
  });
  const counts = ["done", "stopped", "failed", "open"]
    .map((status) => [trials.filter((trial) => trial.status === status).length, status] as const)
    .filter(([count]) => count > 0)
    .map(([count, status]) => `${count} ${status}`);
  const found = best ? `Best: ${told(best)}.` : "No trial has a result.";
  const halving =
    budgets.length > 1
      ? `<p>Successive halving: ${budgets.join(", ")} steps. Values of trials that stopped earlier are of fewer steps.</p>`
      : "";
  return pageOf(
    title,
    `<h1>${escaped(title)}</h1>
<p>${escaped(`${counted(trials.length, "trial")}: ${counts.join(", ")}. ${found}`)}</p>
${halving}
${good.length > 0 ? figure(overall, "Points: mean squared error of each trial on the held-out data, in standard deviations. Line: the smallest so far, of those that are done.") : ""}
<h2>By parameter</h2>
<div class="pair">${plots.join("")}</div>
<h2>Trials</h2>
${tableOf(rowsOf(ranked(trials), budgets))}`,
  );
}
