// The loss by step, and functions of time: data as dots, what is learned as lines.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { type ColourName, colour } from "./colours.js";
import { byId, element } from "./dom.js";
import { short } from "./format.js";
import type { Picture, Scene, SeriesValues } from "./messages.js";

/** Losses kept: beyond so many every second one is left out. */
const MOST = 20_000;

/** Of the functions of time; hare and lynx have those of the demo's report. */
const COLOURS: readonly ColourName[] = ["second", "symplectic", "baseline", "aca", "adjoint", "ink"];

const places = { loss: byId("loss"), series: byId("series") };
let plots: { loss?: uPlot; series?: uPlot } = {};
let scene: Scene | undefined;
let [steps, losses]: [number[], number[]] = [[], []];
let stride = 1;
let fitted: SeriesValues[] | undefined;
let bands: Picture["bands"];
let scheduled = false;

/** Both plots anew, for another scene or scheme of colours; losses stay if the scene does. */
export function setScene(next: Scene): void {
  if (next !== scene) {
    [steps, losses, stride, fitted, bands] = [[], [], 1, undefined, undefined];
    for (const id of ["loss-now", "series-error"]) byId(id).textContent = "";
    scene = next;
  }
  for (const plot of Object.values(plots)) plot.destroy();
  byId("loss-name").textContent = `Loss: ${next.loss.name}`;
  byId("series-figure").hidden = next.series === undefined;
  plots = { loss: lossPlot(next) };
  if (!next.series) return;
  byId("series-name").replaceChildren(...key(next.series.names), next.series.title);
  plots.series = seriesPlot(next.series);
}

/** Losses of the steps up to `last`. */
export function addLosses(last: number, values: Float64Array): void {
  values.forEach((value, i) => {
    const step = last - values.length + 1 + i;
    if (step % stride !== 0) return;
    steps.push(step);
    losses.push(value);
  });
  if (losses.length > MOST) {
    stride *= 2;
    const kept = (_: unknown, i: number) => (steps[i] as number) % stride === 0;
    [losses, steps] = [losses.filter(kept), steps.filter(kept)];
  }
  const latest = values.at(-1);
  if (latest !== undefined) byId("loss-now").textContent = short(latest);
  update();
}

export function setFitted(values: SeriesValues[] | undefined, around?: Picture["bands"]): void {
  fitted = values?.map(finite);
  bands = around?.map(({ upper, lower }) => ({ upper: finite(upper), lower: finite(lower) }));
  update();
}

function finite(line: SeriesValues): SeriesValues {
  return line.map((value) => (Number.isFinite(value) ? value : null));
}

/** Once a frame at most. */
function update(): void {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    plots.loss?.setData([steps, scene?.loss.logarithmic ? losses.map((loss) => (loss > 0 ? loss : null)) : losses]);
    const { series } = scene ?? {};
    const error = series && series.data.length > 0 && fitted ? distance(series.data, fitted) : undefined;
    byId("series-error").textContent =
      error === undefined ? "" : `rms error ${Number.isFinite(error) ? short(error) : "–"}`;
    if (!series || !plots.series) return;
    const empty = series.names.map((): SeriesValues => []);
    const edges = bands ? bands.flatMap(({ upper, lower }) => [upper, lower]) : [...empty, ...empty];
    const data = series.data.length > 0 ? series.data : empty;
    plots.series.setData([series.x, ...data, ...(fitted ?? empty), ...edges]);
    byId("series").dataset.bands = String(bands?.length ?? 0);
  });
}

/** Root mean square of the differences, where there are data. */
function distance(data: readonly SeriesValues[], learned: readonly SeriesValues[]): number {
  const squares = data.flatMap((values, i) =>
    values.flatMap((value, j) => (value === null ? [] : [(value - (learned[i]?.[j] ?? Number.NaN)) ** 2])),
  );
  return Math.sqrt(squares.reduce((sum, square) => sum + square, 0) / squares.length);
}

function base(place: HTMLElement, height: number): Pick<uPlot.Options, "width" | "height" | "legend" | "cursor"> {
  return { width: place.clientWidth || 320, height, legend: { show: false }, cursor: { show: false } };
}

function axis(more: Partial<uPlot.Axis> = {}): uPlot.Axis {
  const line = { stroke: colour("rule"), width: 1 };
  const font = "11px system-ui, sans-serif";
  return { stroke: colour("soft"), font, grid: line, ticks: { ...line, size: 4 }, gap: 4, ...more };
}

function lossPlot({ loss }: Scene): uPlot {
  return new uPlot(
    {
      ...base(places.loss, 170),
      scales: { x: { time: false }, y: loss.logarithmic ? { distr: 3 } : {} },
      axes: [
        axis({ size: 26 }),
        axis({ size: 48, values: (_, ticks) => ticks.map((tick) => powers(tick, loss.logarithmic)) }),
      ],
      series: [{}, { stroke: colour("symplectic"), width: 1.5, points: { show: false } }],
    },
    [steps, losses],
    places.loss,
  );
}

function powers(tick: number | null, logarithmic: boolean): string {
  if (tick === null) return "";
  if (!logarithmic) return String(Number(tick.toPrecision(6)));
  const exponent = Math.log10(tick);
  return Math.abs(exponent - Math.round(exponent)) < 1e-9 ? `1e${Math.round(exponent)}` : "";
}

/** Each name beside its colour. */
function key(names: readonly string[]): HTMLElement[] {
  return names.map((name, i) =>
    element("span", { class: "curve" }, element("i", { style: `background:var(--${nameOf(i)})` }), name),
  );
}

function nameOf(index: number): ColourName {
  return COLOURS[index % COLOURS.length] as ColourName;
}

function seriesPlot({ x, names, data }: NonNullable<Scene["series"]>): uPlot {
  const of = (index: number, part?: number) => colour(nameOf(index), part);
  const edge = {
    paths: uPlot.paths.linear?.(),
    stroke: "transparent",
    width: 0,
    points: { show: false },
  } as uPlot.Series;
  return new uPlot(
    {
      ...base(places.series, 170),
      scales: { x: { time: false } },
      axes: [axis({ size: 26, values: (_, ticks) => ticks.map(String) }), axis({ size: 40 })],
      series: [
        {},
        ...names.map((label, i) => ({
          label,
          paths: () => null,
          points: { show: true, size: 4, fill: of(i), stroke: of(i), width: 0 },
        })),
        ...names.map((label, i) => ({ label: `${label}, learned`, stroke: of(i), width: 2, points: { show: false } })),
        ...names.flatMap(() => [edge, edge]),
      ],
      bands: names.map((_, i) => {
        const upper = 1 + 2 * names.length + 2 * i;
        return { series: [upper, upper + 1], fill: of(i, 22) };
      }),
    },
    [x, ...(data.length > 0 ? data : names.map(() => [])), ...names.flatMap(() => [[], [], []])] as uPlot.AlignedData,
    places.series,
  );
}

new ResizeObserver(() => {
  for (const name of ["loss", "series"] as const) {
    const [plot, width] = [plots[name], places[name].clientWidth];
    if (plot && width > 0 && plot.width !== width) plot.setSize({ width, height: plot.height });
  }
}).observe(byId("loss"));
