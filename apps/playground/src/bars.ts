// Peak memory of one gradient by each method, as bars of their purposes, all on one scale.
import type { GradientMethod, PeakBytes } from "symplectic-adjoint/slim";
import { GRADIENTS } from "./config.js";
import { byId, element } from "./dom.js";
import { bytes, grouped, milliseconds } from "./format.js";
import type { ComparedProblem, MethodResult } from "./messages.js";

type Purpose = Exclude<keyof PeakBytes, "total">;

/** Purposes that are shown together, from what grows most. */
const GROUPS: readonly { text: string; purposes: readonly Purpose[]; strength: number }[] = [
  { text: "tapes", purposes: ["tape"], strength: 100 },
  { text: "states xₙ", purposes: ["checkpoints", "records"], strength: 66 },
  { text: "stages", purposes: ["stages"], strength: 46 },
  { text: "parameters and their gradient", purposes: ["network", "gradient"], strength: 30 },
  { text: "outputs, workspace", purposes: ["output", "cotangent", "workspace"], strength: 16 },
];
const PURPOSES = GROUPS.flatMap(({ purposes }) => purposes);

const place = byId("bars");

export function setUp(): void {
  byId("bars-key").append(
    ...GROUPS.map(({ text, strength }) =>
      element("li", {}, element("i", { style: shade("var(--soft)", strength) }), text),
    ),
  );
}

/** What has been measured so far. */
export function show(problem: ComparedProblem, rows: readonly MethodResult[], chosen: GradientMethod): void {
  const most = Math.max(...rows.map(({ bytes, estimate }) => bytes?.total ?? estimate ?? 0), 1);
  place.replaceChildren(
    ...GRADIENTS.map((method) =>
      line(
        method,
        rows.find((row) => row.method === method),
        most,
        method === chosen,
      ),
    ),
  );
  byId("formula").textContent = formula(problem, rows);
  showTable(rows);
}

function line(method: GradientMethod, row: MethodResult | undefined, most: number, chosen: boolean): HTMLElement {
  const colour = `var(--${method})`;
  const track = element("div", { class: "track" });
  if (row?.bytes) {
    for (const { purposes, strength, text } of GROUPS) {
      const part = purposes.reduce((sum, purpose) => sum + (row.bytes?.[purpose] ?? 0), 0);
      const style = `width:${(100 * part) / most}%;${shade(colour, strength)}`;
      track.append(element("span", { class: "segment", style, title: `${text}: ${bytes(part)}` }));
    }
  } else if (row?.estimate) {
    track.append(
      element("span", { class: "segment estimate", style: `width:${(100 * row.estimate) / most}%;color:${colour}` }),
    );
  }
  const name = element("span", { class: "name" }, element("i", { style: `background:${colour}` }), method);
  const attributes = { class: chosen ? "bar chosen" : "bar", "data-method": method };
  const peak = row?.bytes ? { "data-bytes": String(row.bytes.total) } : {};
  return element(
    "div",
    { ...attributes, ...peak },
    name,
    track,
    element("span", { class: "total" }, total(row)),
    element("span", { class: "time" }, row?.milliseconds === undefined ? "" : milliseconds(row.milliseconds)),
    element("span", { class: "difference" }, agreement(method, row)),
  );
}

function total(row: MethodResult | undefined): string {
  if (row?.bytes) return bytes(row.bytes.total);
  if (row?.estimate) return `about ${bytes(row.estimate)}`;
  return row?.failure ? "–" : "…";
}

function agreement(method: GradientMethod, row: MethodResult | undefined): string {
  if (row?.estimate) return "not run: too large for this page";
  if (row?.failure?.argument === "memoryBudget") return `needs ${bytes(row.failure.bytes ?? 0)}`;
  if (row?.failure?.argument === "gradient") return "not with events";
  if (row?.failure?.argument === "method") return "not with this solver";
  if (row?.failure) return row.failure.code;
  if (row?.difference === undefined || method === "symplectic") return "";
  if (row.difference === 0) return "bitwise equal";
  return `off by ${row.difference < 1e-3 ? row.difference.toExponential(1) : `${Number((100 * row.difference).toPrecision(2))} %`}`;
}

/** How the memory grows with the steps, by the formula and by what was measured. */
function formula(problem: ComparedProblem, rows: readonly MethodResult[]): string {
  const of = (method: GradientMethod) => rows.find((row) => row.method === method)?.bytes;
  const [least, all] = [of("symplectic"), of("backprop")];
  if (!least) return "";
  const { steps, batch, stateSize, parameters, independent } = problem;
  if (independent) {
    const each = `${steps} steps of ${batch} trajectories, each with its own, a state of ${stateSize} numbers of 4 bytes. `;
    return `${each}symplectic keeps a state of each step (measured: ${bytes(least.checkpoints)}), and its time and length (${bytes(least.records)}).`;
  }
  const numbers = lanes(batch) * stateSize;
  // Where N is not known beforehand, states are kept in chunks.
  const state = `N = ${steps} steps, a state of n = ${grouped(numbers)} numbers of 4 bytes, ${grouped(parameters)} parameter${parameters === 1 ? "" : "s"}. `;
  const kept = `symplectic keeps 4 n (N + 2) = ${bytes(4 * numbers * (steps + 2))} of states (measured: ${bytes(least.checkpoints)}); one step more adds ${bytes(4 * numbers + 16)}`;
  // Equations may have nothing to tape.
  const taped = all && all.tape >= steps ? `, and ${bytes(Math.round(all.tape / steps))} of tapes to backprop.` : ".";
  return state + kept + taped;
}

/** A float32 batch is held in panels of 16 lanes, the last one of a power of two, at least 4. */
function lanes(batch: number): number {
  const rest = batch % 16;
  return batch - rest + (rest === 0 ? 0 : Math.max(4, 2 ** Math.ceil(Math.log2(rest))));
}

function showTable(rows: readonly MethodResult[]): void {
  const heads = ["", ...PURPOSES, "total", "evaluations", "transposes"];
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const lines = rows.flatMap(({ method, bytes, evaluations, vjps }) => {
    if (!bytes) return [];
    const figures = [...PURPOSES.map((purpose) => bytes[purpose]), bytes.total, evaluations ?? 0, vjps ?? 0];
    const cells = figures.map((figure) => element("td", {}, grouped(figure)));
    return [element("tr", {}, element("th", { scope: "row" }, method), ...cells)];
  });
  byId("bytes").replaceChildren(element("thead", {}, head), element("tbody", {}, ...lines));
}

function shade(colour: string, strength: number): string {
  return `background:color-mix(in oklab, ${colour} ${strength}%, var(--paper))`;
}
