// Estimates of parameters and their errors as they settle; at the end why it ended, and warnings.
import type { Config } from "./config.js";
import { byId, element } from "./dom.js";
import { estimated } from "./format.js";
import type { Estimation } from "./messages.js";
import { systemOf } from "./system.js";

const place = byId("estimates");
const button = byId<HTMLButtonElement>("estimate");
const table = byId("estimates-table");
/** It is announced: what changes with each iteration stands elsewhere. */
const outcome = byId("estimates-outcome");

/** Calls back to begin, which gives whether it has begun. */
export function setUp(begin: () => boolean): void {
  button.addEventListener("click", () => {
    if (isBusy() || !begin()) return;
    clear();
    setState("busy");
  });
}

export function show(config: Config): void {
  place.hidden = config.task !== "equations";
  // Samples begin where it is known: without parameters nothing is left to estimate.
  button.disabled = config.data === "samples" && systemOf(config).parameters.length === 0;
}

/** There are none, or no longer. */
export function clear(): void {
  setState("none");
  table.replaceChildren();
  outcome.replaceChildren();
}

/** It has failed; what was estimated before is still so. */
export function stop(): void {
  if (isBusy()) clear();
}

export function set({ iteration, estimates, ending }: Estimation): void {
  setState(ending ? "done" : "busy");
  const heads = ["", "estimate", "standard error", "95% interval"];
  const rows = estimates.map(({ name, value, standardError, interval }) => {
    const isKnown = standardError !== undefined && Number.isFinite(standardError);
    const cells = isKnown
      ? [standardError.toPrecision(2), interval?.map((end) => estimated(end, standardError)).join(" to ") ?? ""]
      : Array<string>(2).fill(ending ? "unknown" : "…");
    return element(
      "tr",
      { "data-exact": JSON.stringify({ value, standardError, interval }) },
      element("th", { scope: "row" }, name),
      element("td", { class: "now" }, estimated(value, standardError)),
      ...cells.map((text) => element("td", {}, text)),
    );
  });
  const count = `${iteration} iteration${iteration === 1 ? "" : "s"}`;
  table.replaceChildren(
    element("caption", {}, ending ? count : `${count} so far`),
    element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows),
  );
  if (!ending) return;
  const warnings = ending.warnings.map((text) => element("li", {}, text));
  outcome.replaceChildren(
    element("p", {}, ending.message),
    ...(warnings.length > 0 ? [element("ul", { class: "warnings" }, ...warnings)] : []),
  );
}

function setState(state: "none" | "busy" | "done"): void {
  place.dataset.state = state;
  button.textContent = isBusy() ? "Estimating…" : "Estimate";
  table.setAttribute("aria-busy", String(isBusy()));
}

function isBusy(): boolean {
  return place.dataset.state === "busy";
}
