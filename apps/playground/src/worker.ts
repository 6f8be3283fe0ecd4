// Trains where the page does not wait: some steps, then a pause to answer.

import relaxedUrl from "symplectic-adjoint/relaxed.wasm?url";
import simdUrl from "symplectic-adjoint/simd.wasm?url";
import { init, simd } from "symplectic-adjoint/slim";
import { relaxedSimd } from "wasm-feature-detect";
import { Comparison } from "./comparison.js";
import { type Config, needsNewModel } from "./config.js";
import { failureOf } from "./failure.js";
import { Learner } from "./learner.js";
import type { FailureReport, MethodResult, PageMessage, WorkerMessage } from "./messages.js";
import { loadModel, saveModel } from "./model-file.js";

/** Milliseconds: of steps at a stretch, between pictures, to the second comparison, and between those that follow. */
const [STRETCH, FRAME, SOON, AGAIN] = [30, 80, 2000, 10_000];

let [run, running, looping, at] = [0, false, false, 1];
let [pictureDue, comparisonDue] = [0, 0];
let learner: Learner | undefined;
let comparison: Comparison | undefined;
let compared: string | undefined;
/** The latest row of each method; comparisons of what is set now. */
let [rows, comparisons]: [MethodResult[], number] = [[], 0];

/** Requests wait until the module is there. */
const ready = prepare();
// A failure is told to whoever asks; before the first request nobody does.
ready.catch(() => {});

addEventListener("message", async ({ data }: MessageEvent<PageMessage>) => {
  try {
    await ready;
  } catch (error) {
    tell({ kind: "failed", run: data.kind === "start" ? data.run : run, failure: failureOf("start", error) });
    return;
  }
  answer(data);
});

async function prepare(): Promise<void> {
  const relaxed = await relaxedSimd();
  const url = new URL(relaxed ? relaxedUrl : simdUrl, import.meta.url);
  await init({ module: url, simd: relaxed ? "relaxed" : "simd128" });
}

function answer(request: PageMessage): void {
  switch (request.kind) {
    case "start":
      start(request.run, request.config, request.running);
      break;
    case "configure":
      // What was sent before another model came back from a file is not of that one.
      if (learner && !needsNewModel(learner.config, request.config)) {
        learner.configure(request.config);
        compare();
        draw();
      }
      break;
    case "run":
      setRunning(learner !== undefined);
      break;
    case "pause":
      setRunning(false);
      break;
    case "step":
      setRunning(false);
      advance(0);
      draw();
      break;
    case "estimate":
      // If the text that was sent before could not be read, there is nothing to estimate.
      if (request.run === run) estimate();
      break;
    case "morph":
      at = request.at;
      pictureDue = 0;
      break;
    case "save":
      save();
      break;
    case "load":
      load(request.run, request.file);
      break;
  }
  if (!looping) loop();
}

function start(next: number, config: Config, go: boolean, parameters?: Float32Array): void {
  try {
    const made = new Learner(config, parameters);
    comparison?.dispose();
    comparison = undefined;
    learner?.dispose();
    [learner, run] = [made, next];
    const { scene } = made.task;
    tell({ kind: "started", run, loaded: parameters && config, scene, simd: simd() });
    if (!scene.morphs) at = 1;
    setRunning(go);
    compare();
    draw();
  } catch (error) {
    tell({ kind: "failed", run: next, failure: failureOf(parameters ? "load" : "start", error) });
  }
}

async function loop(): Promise<void> {
  looping = true;
  while (running || comparison || pictureDue === 0) {
    if (running) advance(STRETCH);
    if (performance.now() >= pictureDue && (running || pictureDue === 0)) draw();
    if (comparison) measure(comparison);
    else if (running && performance.now() > comparisonDue) compare({ again: true });
    await new Promise((resolve) => setTimeout(resolve));
  }
  looping = false;
}

/** Takes steps for so many milliseconds, and one at least. */
function advance(duration: number): void {
  if (!learner) return;
  const losses: number[] = [];
  const end = performance.now() + duration;
  try {
    do losses.push(learner.step());
    while (performance.now() < end);
  } catch (error) {
    fail("training", error);
    setRunning(false);
  }
  const { stats, steps } = learner;
  if (stats) tell({ kind: "progress", run, step: steps, losses: Float64Array.from(losses), stats });
  // Another problem than that which was compared, as when windows grow.
  if (stats && stats.note !== compared) compare();
}

/** Estimates the parameters at a stretch: the fit ends itself where it takes long. */
function estimate(): void {
  if (!learner) return;
  setRunning(false);
  try {
    learner.estimate((estimation, drawn) => {
      tell({ kind: "estimated", run, estimation });
      if (!drawn || performance.now() < pictureDue) return;
      tell({ kind: "picture", run, picture: drawn(), at });
      pictureDue = performance.now() + FRAME;
    });
  } catch (error) {
    fail("estimate", error);
  }
  draw();
}

function draw(): void {
  if (!learner) {
    pictureDue = Number.POSITIVE_INFINITY;
    return;
  }
  const start = performance.now();
  try {
    tell({ kind: "picture", run, picture: learner.picture(at), at });
  } catch (error) {
    fail("picture", error);
  }
  // A slow picture does not keep from learning.
  pictureDue = performance.now() + Math.max(FRAME, 3 * (performance.now() - start));
}

/** Begins a comparison; one again of the same problem has the steps of a field that has changed, and code that is warm. */
function compare({ again = false } = {}): void {
  if (!again) [rows, comparisons] = [[], 0];
  comparison?.dispose();
  comparison = undefined;
  if (!learner) return;
  try {
    comparison = new Comparison(learner);
    compared = learner.batch().note;
  } catch (error) {
    fail("training", error);
    setRunning(false);
  }
  comparisonDue = Number.POSITIVE_INFINITY;
}

function measure(present: Comparison): void {
  const start = performance.now();
  present.next();
  const { problem } = present;
  const measured = present.rows.map(({ method }) => method);
  rows = [...present.rows, ...rows.filter(({ method }) => !measured.includes(method))];
  if (problem) tell({ kind: "measured", run, problem, rows });
  if (!present.done) return;
  present.dispose();
  comparison = undefined;
  const taken = performance.now() - start;
  comparisonDue = performance.now() + (comparisons++ === 0 ? Math.max(SOON, 10 * taken) : Math.max(AGAIN, 100 * taken));
}

function save(): void {
  if (!learner) return;
  const { config, field } = learner;
  try {
    const file = saveModel(config, field);
    tell({ kind: "saved", run, name: `${config.task}.safetensors`, file });
  } catch (error) {
    fail("save", error);
  }
}

function load(next: number, file: Uint8Array): void {
  try {
    const { config, parameters } = loadModel(file);
    start(next, config, false, parameters);
  } catch (error) {
    tell({ kind: "failed", run: next, failure: failureOf("load", error) });
  }
}

function setRunning(value: boolean): void {
  running = value;
  tell({ kind: "running", run, running });
}

function fail(during: FailureReport["during"], error: unknown): void {
  tell({ kind: "failed", run, failure: failureOf(during, error) });
}

function tell(report: WorkerMessage): void {
  postMessage(report);
}
