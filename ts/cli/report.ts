// The report of a fit, a self-contained page: estimates, curves with bands, residuals, correlations, profiles.
import { quantile } from "../estimate/statistics.js";
import type { Curve, Profile } from "../index.js";
import { correlationSvg, escaped, type Mark, svgOf } from "./charts.js";
import { estimateRows, messageOf, type Quality, shown, summaryOf } from "./fit-advice.js";
import type { FitCommandOptions } from "./fit-request.js";
import { type FitNumbers, MOST_CURVES } from "./fit-run.js";
import type { FitTask } from "./fit-task.js";
import { COLOURS, colourOf, figure, pageOf, tableOf } from "./page.js";
import { textWith } from "./text-model.js";
import { writeTime } from "./time.js";

export interface ReportRequest {
  /** The names of the equations and of the table. */
  readonly title: string;
  readonly data: string;
  readonly task: FitTask;
  readonly options: FitCommandOptions;
  readonly result: FitNumbers;
  readonly curves: readonly Curve[];
  readonly profiles: readonly Profile[];
  readonly qualities: readonly Quality[];
  readonly advice: readonly string[];
  readonly notes: readonly string[];
}

/** The fit of each trajectory, one plot per column. */
function fits({ task, options, result, curves }: ReportRequest): string {
  const { mapping, clock, members } = task;
  // As for the intervals of estimates: Student's t if the standard deviation is estimated.
  const isNormal = options.noise !== undefined || options.error === "proportional" || options.error === "combined";
  const freedom = isNormal || !(result.degreesOfFreedom > 0) ? Number.POSITIVE_INFINITY : result.degreesOfFreedom;
  const reach = quantile(options.level, freedom);
  const width = mapping.observed.length;
  const wide = members.length * width === 1;
  const plots = curves.flatMap((curve, index) => {
    const { name } = members[index] as (typeof members)[number];
    const { times } = curve;
    return mapping.observed.map(({ column }, o) => {
      const y = Array.from(times, (_, i) => curve.y[i * width + o] as number);
      const error = Array.from(times, (_, i) => reach * (curve.standardErrors[i * width + o] as number));
      const own = result.measurements.filter((one) => one.trajectory === index && one.observed === o);
      const colour = colourOf(o);
      const marks: Mark[] = [
        {
          kind: "band",
          x: times,
          low: y.map((value, i) => value - (error[i] as number)),
          high: y.map((value, i) => value + (error[i] as number)),
          colour,
        },
        { kind: "line", x: times, y, colour },
        {
          ...{ kind: "points", x: own.map(({ time }) => time), y: own.map((one) => one.y), colour },
          titles: own.map(
            (one) => `${writeTime(one.time, clock)}: ${shown(one.y)}, predicted ${shown(one.prediction)}`,
          ),
        },
      ];
      const title = members.length > 1 ? name : "";
      return svgOf({
        ...{ title, width: wide ? 970 : 470, height: wide ? 340 : 270, marks },
        x: { label: mapping.time, clock },
        y: { label: column },
      });
    });
  });
  if (plots.length === 0) {
    const many = `More than ${MOST_CURVES} trajectories: their curves are not drawn.`;
    return `<p class="soft">${members.length > MOST_CURVES ? many : "Stopped before the curves were computed."}</p>`;
  }
  const level = `${Number((100 * options.level).toPrecision(6))}\u00a0%`;
  return `<div class="${wide ? "" : "pair"}">${plots.map((svg) => figure(svg)).join("")}</div>
<p class="soft">Points: measurements. Lines: the fit. Bands: ${level} pointwise confidence bands of the curve; single measurements scatter more.</p>`;
}

/** The unit of residuals: standard deviations if errors grow with the prediction. */
function scaleOf(error: FitCommandOptions["error"], { parameters }: FitNumbers) {
  const [a, b] = ["error.a", "error.b"].map((name) => parameters[name]?.value ?? 0) as [number, number];
  if (error === "lognormal") return { label: "residual of the logarithm", sizeOf: () => 1 };
  if (error === "additive") return { label: "residual", sizeOf: () => 1 };
  return { label: "residual, in standard deviations", sizeOf: (prediction: number) => Math.hypot(a, b * prediction) };
}

/** Residuals against time and against prediction. */
function residuals({ task, result, options }: ReportRequest): string {
  const { mapping, clock, members } = task;
  const { label, sizeOf } = scaleOf(options.error, result);
  const plots = mapping.observed.flatMap(({ column }, o) => {
    const own = result.measurements.filter((one) => one.observed === o);
    if (own.length === 0) return [];
    const times = own.map(({ time }) => time);
    const titles = own.map(
      (one) => `${members.length > 1 ? `${one.name}, ` : ""}${shown(one.y)}, predicted ${shown(one.prediction)}`,
    );
    const common = {
      kind: "points",
      y: own.map(({ residual, prediction }) => residual / sizeOf(prediction)),
      colour: colourOf(o),
      titles,
    } as const;
    const size = { title: column, width: 470, height: 230, y: { label } };
    return [
      svgOf({
        ...size,
        x: { label: mapping.time, clock },
        marks: [
          { kind: "level", y: 0 },
          { ...common, x: times },
        ],
      }),
      svgOf({
        ...size,
        x: { label: "prediction" },
        marks: [
          { kind: "level", y: 0 },
          { ...common, x: own.map(({ prediction }) => prediction) },
        ],
      }),
    ];
  });
  return `<div class="pair">${plots.map((svg) => figure(svg)).join("")}</div>
<p class="soft">Residual = prediction − measurement. A pattern in time, or a funnel, says that the equations or the error model miss something.</p>`;
}

function profiled({ profiles, result, options }: ReportRequest): string {
  const plots = profiles.map(({ name, values, costs, limit, interval }) => {
    const { value, standardError, interval: linear } = result.parameters[name] as FitNumbers["parameters"][string];
    const [low, high, from, to] = [...interval, ...linear].map((end) => shown(end, standardError));
    const told = `${low} to ${high}; from the standard error ${from} to ${to}`;
    // Beyond the limit the curve may be steep, and would squeeze the rest.
    const most = result.cost + 1.6 * (limit - result.cost);
    const marks: Mark[] = [
      { kind: "level", y: limit },
      { kind: "at", x: value },
      { kind: "line", x: values, y: costs.map((cost) => Math.min(cost, most)), colour: COLOURS[0] as string },
      { kind: "points", x: values, y: costs.map((cost) => Math.min(cost, most)), colour: COLOURS[0] as string },
    ];
    return figure(
      svgOf({ title: name, width: 470, height: 250, x: { label: name }, y: { label: "least cost" }, marks }),
      told,
    );
  });
  if (plots.length === 0) return "";
  const level = `${Number((100 * options.level).toPrecision(6))}\u00a0%`;
  return `<h2>Profiles</h2><p>The least cost with one parameter fixed. The interval of ${level} is where the curve lies below the dashed line; it does not assume that the model is linear.</p><div class="pair">${plots.join("")}</div>`;
}

/** The page. */
export function reportOf(request: ReportRequest): string {
  const { title, data, task, options, result, qualities, advice, notes } = request;
  const { skipped, text } = task;
  const count = task.members.length;
  const quality = [
    ["column", "measurements", "RMS residual of the fit", "of a constant mean"],
    ...qualities.map(({ column, measurements, error, errorOfMean }) => [
      column,
      String(measurements),
      shown(error, error),
      shown(errorOfMean, errorOfMean),
    ]),
  ];
  const starts = result.starts.map(({ cost, reason, values }, i) => [
    String(i + 1),
    shown(cost),
    reason,
    Array.from(values, (value) => value.toPrecision(4)).join(", "),
  ]);
  const free = result.freeNames;
  const fitted = Object.fromEntries(task.parameters.map((name) => [name, result.parameters[name]?.value as number]));
  return pageOf(
    `${title}, fitted to ${data}`,
    `<h1>${escaped(title)}</h1>
<p>Fitted to ${escaped(data)}: ${escaped(summaryOf(result, options.error))}. ${escaped(messageOf(result))}</p>
${advice.map((line) => `<p class="warn">${escaped(line)}</p>`).join("\n")}
${skipped.length > 0 ? `<p class="soft">Left out, without a measurement: ${escaped(skipped.join(", "))}.</p>` : ""}
${tableOf(estimateRows(result, options.level))}
${notes.map((line) => `<p>Note: ${escaped(line)}.</p>`).join("\n")}
<h2>The fit</h2>
${tableOf(quality)}
${fits(request)}
<h2>Residuals</h2>
${residuals(request)}
${free.length > 1 ? `<h2>Correlation of the estimates</h2>${figure(correlationSvg(free, result.correlation), "Blue: positive; orange: negative. Near 1 or −1, only a combination of the two is well determined.")}` : ""}
${profiled(request)}
${starts.length > 1 ? `<h2>Starts</h2>${tableOf([["", "cost", "ended by", "at"], ...starts])}` : ""}
<h2>How it was fitted</h2>
<p>${count === 1 ? "One trajectory" : `${count} trajectories`}; error ${escaped(options.error)}, loss ${escaped(options.loss)}, ${options.starts} start${options.starts === 1 ? "" : "s"} (seed ${options.seed}); ${escaped(String(options.solver))} with rtol ${options.rtol}, atol ${options.atol}. Observed: ${escaped(task.mapping.observed.map(({ column, expression }) => (column === expression ? column : `${column} = ${expression}`)).join(", "))}.</p>
<pre>${escaped(textWith(text, fitted))}</pre>`,
  );
}
