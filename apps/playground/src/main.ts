// The page: what is configured, what the worker reports, and the controls between.
import * as bars from "./bars.js";
import { onSchemeChange, setGradientColours } from "./colours.js";
import { type Config, changed, defaults, needsNewModel, read, TARGETS, TASKS, type TaskName, write } from "./config.js";
import * as curves from "./curves.js";
import * as diagram from "./diagram.js";
import { byId, element } from "./dom.js";
import * as editor from "./editor.js";
import * as estimates from "./estimates.js";
import * as form from "./form.js";
import { bytes, grouped, milliseconds, sentence } from "./format.js";
import type { FailureReport, MethodResult, Picture, Scene, StepStats, WorkerMessage } from "./messages.js";
import * as morph from "./morph.js";
import { type Action, dismiss, notice } from "./notices.js";
import * as plane from "./plane.js";
import { Session } from "./session.js";

/** A larger file is no model of the playground. */
const LARGEST_FILE = 2 ** 24;

let config: Config = defaults("spiral");
let running = true;
/** Whether training ended by itself. */
let stopped = false;
/** Whether the model is that of the configuration. */
let made = false;
/** Equations that have been typed, and that the worker has not yet read, by run. */
const proposals = new Map<number, Config>();
/** The run that training began with other than by a text. */
let begun = 0;
/** Wait for the next answer about a model. */
let answered: (() => void)[] = [];
/** What was set in each task that another was chosen after. */
const left = new Map<TaskName, Config>();
let scene: Scene | undefined;
let rows: readonly MethodResult[] = [];

const session = new Session(answer, (message) => {
  running = false;
  showRunning();
  estimates.stop();
  notice("worker", sentence(`The worker has stopped: ${message}`), [{ text: "Start again", run: () => begin(true) }]);
});
const toggle = byId("toggle");
const file = byId<HTMLInputElement>("file");

setGradientColours();
bars.setUp();
diagram.setUp();
plane.setUp((x) => {
  const [least, most] = TARGETS;
  const next = changed(config, "target", Math.min(most, Math.max(least, x)).toFixed(1));
  if (typeof next !== "string") configure(next);
});
morph.setUp((at) => session.send({ kind: "morph", at }));
form.setUp(
  () => config,
  (next) => {
    if (next.task === config.task) {
      configure(next);
      return;
    }
    left.set(config.task, config);
    choose(left.get(next.task) ?? defaults(next.task));
  },
  refuse,
);
editor.setUp({
  present: () => config,
  onText: (next) => {
    // As when a mistake is taken back.
    if (made && proposals.size === 0 && !needsNewModel(config, next)) return;
    proposals.set(session.start(next, running || stopped), next);
  },
  onChange: configure,
  onRefused: refuse,
});
estimates.setUp(() => {
  if (!editor.read()) return false;
  session.estimate();
  return true;
});
onSchemeChange(() => {
  setGradientColours();
  if (scene) curves.setScene(scene);
  plane.draw();
});
restore();

/** Takes the configuration from the address. */
function restore(): void {
  const { config: given, problems } = read(new URLSearchParams(location.hash.slice(1)));
  dismiss("address");
  if (problems.length > 0) notice("address", `Ignored in the address: ${problems.slice(0, 4).join("; ")}.`);
  choose(given, false);
}
addEventListener("hashchange", restore);

/** Another task, or one from an address: training begins. */
function choose(next: Config, told = true): void {
  config = next;
  if (told) tellAddress();
  begin(true);
}

/** A setting that is not valid stays as it was. */
function refuse(why: string): void {
  notice("setting", sentence(why));
}

/** A new model. */
function begin(go: boolean): void {
  running = go;
  proposals.clear();
  dismissAll();
  show();
  begun = session.start(config, go);
}

function dismissAll(): void {
  stopped = false;
  for (const kind of ["training", "picture", "start", "worker", "setting", "load"]) dismiss(kind);
}

function configure(next: Config): void {
  const anew = needsNewModel(config, next);
  config = next;
  dismiss("setting");
  tellAddress();
  if (anew) {
    begin(running || stopped);
  } else {
    show();
    for (const kind of ["training", "picture"]) dismiss(kind);
    session.send({ kind: "configure", config });
  }
  editor.retry();
}

/** The equations that were proposed for a run are now those of the configuration. */
function adopt(run: number): void {
  const proposed = proposals.get(run);
  for (const earlier of [...proposals.keys()]) if (earlier <= run) proposals.delete(earlier);
  if (!proposed) return;
  config = proposed;
  dismissAll();
  tellAddress();
  editor.accept(config);
  show();
}

/** Whether what has been typed is what trains: waits for the worker to read it, and goes to a mistake that it has. */
async function isRead(): Promise<boolean> {
  while (editor.read()) {
    if (proposals.size === 0) return true;
    await new Promise<void>((resolve) => answered.push(resolve));
  }
  return false;
}

function tellAddress(): void {
  history.replaceState(null, "", `#${write(config)}`);
}

function show(): void {
  form.show(config);
  editor.show(config);
  estimates.show(config);
  byId("about").textContent = TASKS[config.task].text;
  byId("plane-caption").textContent = TASKS[config.task].about;
  diagram.setChosen(config.gradient, retentionOf(rows));
  showRunning();
}

function showRunning(): void {
  toggle.textContent = running ? "Pause" : "Run";
  document.body.dataset.running = String(running);
  plane.setRunning(running);
}

function answer(report: WorkerMessage): void {
  switch (report.kind) {
    case "started":
      if (report.loaded) {
        config = report.loaded;
        tellAddress();
        show();
      } else {
        adopt(report.run);
      }
      made = true;
      scene = report.scene;
      plane.setScene(scene);
      curves.setScene(scene);
      morph.show(scene.morphs);
      editor.begin();
      estimates.clear();
      showFigures(undefined);
      byId("stats").replaceChildren();
      byId("stats").dataset.step = "0";
      byId("build").textContent =
        `WebAssembly, ${report.simd === "relaxed" ? "relaxed SIMD" : "SIMD"}; one worker, on one core.`;
      document.body.dataset.run = String(report.run);
      break;
    case "progress":
      curves.addLosses(report.step, report.losses);
      showStats(report.step, report.stats);
      break;
    case "picture":
      plane.setPicture(report.picture, report.at);
      curves.setFitted(report.picture.series, report.picture.bands);
      editor.setNow(report.picture.parameters);
      showFigures(report.picture.figures);
      morph.arrived();
      dismiss("picture");
      break;
    case "estimated":
      estimates.set(report.estimation);
      break;
    case "measured":
      rows = report.rows;
      bars.show(report.problem, rows, config.gradient);
      diagram.setChosen(config.gradient, retentionOf(rows));
      break;
    case "running":
      running = report.running;
      showRunning();
      break;
    case "saved":
      download(report.name, report.file);
      break;
    case "failed":
      if (["start", "estimate"].includes(report.failure.during)) estimates.stop();
      // Of a text that had been typed before.
      if (report.failure.during === "start" && report.run < begun) break;
      if (!proposals.delete(report.run)) showFailure(report.failure);
      // Another text may have been typed meanwhile.
      else if (proposals.size === 0) editor.refuse(report.failure);
      break;
  }
  if (report.kind !== "started" && report.kind !== "failed") return;
  for (const resume of answered) resume();
  answered = [];
}

function retentionOf(measured: readonly MethodResult[]) {
  return measured.find(({ method }) => method === "auto")?.retention;
}

function showFigures(figures: Picture["figures"] = []): void {
  byId("figures").hidden = figures.length === 0;
  byId("figures").replaceChildren(...figures.map(termAndValue));
}

function termAndValue([term, value]: readonly [term: string, value: string]): HTMLElement {
  return element("div", {}, element("dt", {}, term), element("dd", {}, value));
}

function showStats(step: number, stats: StepStats): void {
  const figures: [string, string][] = [
    ["training step", grouped(step)],
    ["time per gradient", milliseconds(stats.milliseconds)],
    ["solver steps", grouped(stats.accepted) + (stats.rejected > 0 ? ` + ${grouped(stats.rejected)} rejected` : "")],
    ["evaluations, transposes", `${grouped(stats.evaluations)}, ${grouped(stats.vjps)}`],
    ["peak memory", bytes(stats.peak)],
    ...(stats.note ? ([["learning from", stats.note]] as [string, string][]) : []),
  ];
  byId("stats").replaceChildren(...figures.map(termAndValue));
  byId("stats").dataset.step = String(step);
}

const WHAT: Record<FailureReport["during"], string> = {
  training: "Training has stopped",
  picture: "The result could not be drawn",
  start: "The model could not be made",
  load: "The file was not loaded",
  save: "The model was not saved",
  estimate: "The parameters could not be estimated",
};

function showFailure(failure: FailureReport): void {
  const { during, code, message, argument, bytes: least } = failure;
  if (during === "start") {
    // The model before it is not what the page now tells of.
    if (made) session.send({ kind: "pause" });
    made = false;
    stopped ||= running;
    running = false;
    showRunning();
  }
  const ofText = during === "start" && ["equations", "data", "samples"].includes(argument ?? "");
  if (ofText || during === "estimate") {
    editor.refuse(failure);
    return;
  }
  if (during === "training") stopped = true;
  const actions: Action[] = [];
  if (argument === "memoryBudget" && least !== undefined) {
    const budget = Math.ceil(least / 1024);
    const take = () => {
      const next = changed(config, "budget", String(budget));
      if (typeof next === "string") {
        refuse(next);
        return;
      }
      configure(next);
      session.send({ kind: "run" });
    };
    actions.push({ text: `Take ${grouped(budget)} KiB`, run: take });
  } else if (during === "training" || during === "start") {
    actions.push({ text: "Start again", run: () => begin(true) });
  }
  if (during === "training" && code === "NON_FINITE" && config.rate > 1e-3) {
    const calmer = () => {
      const next = changed(config, "rate", String(Number((config.rate / 10).toPrecision(3))));
      if (typeof next !== "string") config = next;
      tellAddress();
      begin(true);
    };
    actions.unshift({ text: "Start again at a tenth of the learning rate", run: calmer });
  }
  notice(during, sentence(`${WHAT[during]} (${code}): ${message}`), actions, during !== "picture");
}

function download(name: string, contents: Uint8Array<ArrayBuffer>): void {
  const url = URL.createObjectURL(new Blob([contents], { type: "application/octet-stream" }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

toggle.addEventListener("click", () => {
  if (!made && !running) {
    begin(true);
    return;
  }
  session.send({ kind: running ? "pause" : "run" });
  // A gradient that has begun is finished first.
  if (running) toggle.textContent = "Pausing…";
});
byId("step").addEventListener("click", () => session.send({ kind: "step" }));
byId("reset").addEventListener("click", () => {
  // Equations that are on their way begin anew by themselves.
  if (proposals.size === 0) begin(running);
});
byId("save").addEventListener("click", async () => {
  if (await isRead()) session.send({ kind: "save" });
});
byId("load").addEventListener("click", () => file.click());
file.addEventListener("change", async () => {
  const [chosen] = file.files ?? [];
  file.value = "";
  if (!chosen) return;
  dismiss("load");
  if (chosen.size > LARGEST_FILE) {
    notice("load", `${WHAT.load}: expected at most ${bytes(LARGEST_FILE)}, given ${bytes(chosen.size)}.`);
    return;
  }
  session.load(new Uint8Array(await chosen.arrayBuffer()));
});
byId("share").addEventListener("click", async () => {
  if (!(await isRead())) return;
  tellAddress();
  try {
    await navigator.clipboard.writeText(location.href);
    notice("share", "Link copied. It opens this configuration.", [], false);
  } catch {
    notice("share", `The link to this configuration: ${location.href}`, [], false);
  }
});
