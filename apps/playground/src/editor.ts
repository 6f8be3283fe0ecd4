// The equations as text, and their numbers: a text counts once the worker has read it, and until then the one before does.
import { type Config, changed } from "./config.js";
import { byId, element, shape } from "./dom.js";
import { sentence, short } from "./format.js";
import type { FailureReport } from "./messages.js";
import { type System, systemOf, written } from "./system.js";

/** Milliseconds without a key after which a text is read. */
const PAUSE = 400;
/** Characters that are shown before and after a mistake. */
const AROUND = 28;
/** The course of a parameter: pixels, and how many points; beyond these every second one is left out. */
const [WIDTH, HEIGHT, MOST] = [60, 20, 240];

const place = byId("equations");
const text = byId<HTMLTextAreaElement>("equations-text");
const problem = byId("equations-problem");
const message = byId("equations-error");
const excerpt = byId("equations-excerpt");
const remedy = byId("equations-remedy");

type Column = "initial" | "truth" | "start";

interface Cells {
  readonly column: Column;
  readonly inputs: readonly HTMLInputElement[];
}

let waiting: ReturnType<typeof setTimeout> | undefined;
/** The text that was last shown or read, and the one that was last proposed. */
let [accepted, proposed] = ["", ""];
/** Whether there is no model of the text that is shown. */
let refused = false;
/** What the tables are of. */
let built: string | undefined;
let repair: () => void = () => {};
let current: Cells[] = [];
let latest: { readonly now: HTMLElement; readonly line: Element }[] = [];
/** The parameters so far, picture by picture. */
let history: (readonly number[])[] = [];
let [pictures, stride] = [0, 1];
/** Numbers of names that the text had once, for when it has them again. */
const remembered: Record<Column, Map<string, number>> = { initial: new Map(), truth: new Map(), start: new Map() };

interface Listeners {
  present(): Config;
  /** Another text, which may turn out to be none. */
  onText(config: Config): void;
  onChange(config: Config): void;
  onRefused(why: string): void;
}
let listeners: Listeners;

export function setUp(given: Listeners): void {
  listeners = given;
  text.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(propose, PAUSE);
  });
  text.addEventListener("change", propose);
  remedy.addEventListener("click", () => repair());
}

/** Shows a record; a text that is being typed stays as it is, unless the record has another one than before. */
export function show(config: Config): void {
  place.hidden = config.task !== "equations";
  if (config.equations !== accepted || place.hidden) {
    clearTimeout(waiting);
    text.value = config.equations;
    proposed = config.equations;
    clear();
  }
  accepted = config.equations;
  showNumbers(config);
}

/** The worker has read a text. */
export function accept(config: Config): void {
  accepted = config.equations;
  if (config.equations === proposed) clear();
}

/** The worker could not make a model of the equations, or not estimate their parameters. */
export function refuse(failure: FailureReport): void {
  const { during, line, column, code } = failure;
  const plain = failure.message.replace(/^(?:equations(?:, line \d+, column \d+)?|parameters): /, "");
  const where = line === undefined ? "" : `line ${line}, column ${column}: `;
  const whole = sentence(`${where}${plain}${code === "OPTION" ? "" : ` (${code})`}`);
  message.textContent = whole.charAt(0).toUpperCase() + whole.slice(1);
  problem.hidden = false;
  if (during !== "estimate") refused = true;
  // Of estimates that fail, and of samples that the numbers do not allow, the text is not to blame.
  if (during === "estimate" || failure.argument === "samples") text.removeAttribute("aria-invalid");
  else text.setAttribute("aria-invalid", "true");
  const source = line === undefined ? undefined : text.value.split("\n")[line - 1];
  excerpt.hidden = source === undefined;
  remedy.hidden = false;
  if (source !== undefined && line !== undefined && column !== undefined) {
    const from = Math.max(0, column - 1 - AROUND);
    excerpt.replaceChildren(
      source.slice(from, column - 1),
      element("mark", {}, source.slice(column - 1, column) || " "),
      source.slice(column, column + AROUND),
    );
    remedy.textContent = "Go there";
    repair = () => goTo(line, column);
  } else if (during !== "estimate" && failure.argument === "data") {
    remedy.textContent = "Fit samples of these equations";
    repair = () => {
      const next = changed({ ...listeners.present(), equations: text.value }, "data", "samples");
      if (typeof next !== "string") listeners.onText(withNumbers(next));
    };
  } else {
    remedy.hidden = true;
  }
}

/** Reads what has been typed. Where the text has a mistake that is known, gives false, and goes to it. */
export function read(): boolean {
  propose();
  if (refused) text.focus();
  // Why earlier estimates failed no longer matters.
  else clear();
  return !refused;
}

/** Proposes a text again that does not train yet, as other settings may allow it. */
export function retry(): void {
  if (text.value === accepted) return;
  proposed = accepted;
  propose();
}

/** Training has begun anew. */
export function begin(): void {
  if (!refused || proposed === accepted) clear();
  [history, pictures, stride] = [[], 0, 1];
  for (const { now, line } of latest) {
    now.textContent = "";
    line.setAttribute("points", "");
  }
}

/** The parameters as they are now. */
export function setNow(values: readonly number[] | undefined): void {
  if (!values || values.length !== latest.length) return;
  if (pictures++ % stride === 0) history.push(values);
  if (history.length > MOST) {
    stride *= 2;
    history = history.filter((_, i) => i % 2 === 0);
  }
  latest.forEach(({ now, line }, i) => {
    now.textContent = short(values[i] as number);
    line.setAttribute("points", courseOf(history.map((values) => values[i] as number)));
  });
}

/** The points of a line over the whole width, from the least value at the bottom to the largest at the top. */
function courseOf(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const across = (i: number) => (WIDTH * i) / Math.max(1, values.length - 1);
  const down = (value: number) => (most > least ? (HEIGHT * (most - value)) / (most - least) : HEIGHT / 2);
  return values.map((value, i) => `${across(i).toFixed(1)},${down(value).toFixed(1)}`).join(" ");
}

function clear(): void {
  // Emptied first: a message that comes again is announced again.
  message.textContent = "";
  problem.hidden = true;
  refused = false;
  text.removeAttribute("aria-invalid");
}

function propose(): void {
  clearTimeout(waiting);
  if (text.value === proposed) return;
  proposed = text.value;
  const next = changed(listeners.present(), "equations", text.value);
  if (typeof next === "string") {
    refuse({ during: "start", code: "OPTION", message: next });
    return;
  }
  if (next.equations === accepted) clear();
  listeners.onText(withNumbers(next));
}

/** A record with a number for each name of its text, and for no other. */
function withNumbers(config: Config): Config {
  const system = systemOf({
    ...config,
    initial: all("initial"),
    truth: all("truth"),
    start: all("start"),
  });
  return { ...config, ...textsOf(system) };
}

function all(column: Column): string {
  return written([...remembered[column].keys()], [...remembered[column].values()]);
}

function textsOf({ parameters, states, initial, truth, start }: System): Pick<Config, Column> {
  return { initial: written(parameters, initial), truth: written(parameters, truth), start: written(states, start) };
}

function goTo(line: number, column: number): void {
  const before = text.value.split("\n").slice(0, line - 1);
  const at = before.reduce((sum, { length }) => sum + length + 1, 0) + column - 1;
  text.focus();
  text.setSelectionRange(at, Math.min(at + 1, text.value.length));
}

/** The tables of numbers: made anew for other names only, so that what has the focus keeps it. */
function showNumbers(config: Config): void {
  const system = systemOf(config);
  const { parameters, states } = system;
  const sampled = config.data === "samples";
  const key = JSON.stringify([parameters, states, sampled]);
  if (key !== built) build(system, sampled);
  built = key;
  for (const { column, inputs } of current) {
    inputs.forEach((input, i) => {
      input.value = String(system[column][i]);
    });
  }
  for (const column of ["initial", "truth", "start"] as const) {
    const names = column === "start" ? states : parameters;
    names.forEach((name, i) => {
      remembered[column].set(name, system[column][i] as number);
    });
  }
}

function build(system: System, sampled: boolean): void {
  const { parameters, states } = system;
  current = [{ column: "initial", inputs: parameters.map((name) => numberInput(name, "initial value")) }];
  if (sampled) {
    current.push({
      column: "truth",
      inputs: parameters.map((name) => numberInput(name, "true value, used for the samples")),
    });
    current.push({ column: "start", inputs: states.map((name) => numberInput(name, "initial state")) });
  }
  for (const { column, inputs } of current) {
    inputs.forEach((input, i) => {
      input.addEventListener("change", () => change(column, i, input.value));
    });
  }
  [history, pictures, stride] = [[], 0, 1];
  latest = parameters.map(() => ({ now: element("td", { class: "now" }), line: shape("polyline", {}) }));
  const [initial = [], truth, start] = current.map(({ inputs }) => inputs);
  const rows = parameters.map((name, i) => {
    const cells = [initial[i], truth?.[i]].flatMap((input) => (input ? [element("td", {}, input)] : []));
    const { now, line } = latest[i] as (typeof latest)[number];
    const svg = shape("svg", { width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}` });
    svg.append(line);
    const trend = element("td", { class: "trend", "aria-hidden": "true" }, svg);
    return element("tr", {}, element("th", { scope: "row" }, name), ...cells, now, trend);
  });
  byId("parameters").replaceChildren(
    element(
      "caption",
      {},
      rows.length > 0 ? "Parameters" : "The equations have no parameters yet: use a name, such as k.",
    ),
    ...(rows.length > 0 ? [heads(["", "initial", ...(sampled ? ["true value"] : []), "now"])] : []),
    element("tbody", {}, ...rows),
  );
  byId("states").hidden = !sampled;
  byId("states").replaceChildren(
    element("caption", {}, "Initial states (t = 0)"),
    element(
      "tbody",
      {},
      ...states.map((name, i) =>
        element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, start?.[i] ?? "")),
      ),
    ),
  );
}

function heads(texts: readonly string[]): HTMLElement {
  return element("thead", {}, element("tr", {}, ...texts.map((text) => element("th", { scope: "col" }, text))));
}

function numberInput(name: string, what: string): HTMLInputElement {
  return element("input", { type: "number", step: "any", inputmode: "decimal", "aria-label": `${name}, ${what}` });
}

function change(column: Column, index: number, value: string): void {
  const config = listeners.present();
  const system = systemOf(config);
  const names = column === "start" ? system.states : system.parameters;
  const values: (number | string)[] = system[column].map((old, i) => (i === index ? value : old));
  // All are written, so that what was proposed for the others stays as it is shown.
  const next = changed({ ...config, ...textsOf(system) }, column, written(names, values));
  if (typeof next !== "string") {
    listeners.onChange(next);
    return;
  }
  listeners.onRefused(`${names[index]}: expected a number from -1e30 to 1e30, given ${value === "" ? "none" : value}`);
  show(config);
}
