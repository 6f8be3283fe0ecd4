// symplectic-adjoint train: a neural ODE from a table, short windows first.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import cliProgress from "cli-progress";
import {
  adam,
  type Best,
  cosineDecay,
  type Field,
  hamiltonian,
  minibatches,
  mlp,
  type Optimizer,
  SymplecticAdjointError,
  type Trajectory,
  train,
  warmUp,
} from "../index.js";
import { Failure } from "./failure.js";
import { type Description, readModel, type Settings, writeModel } from "./model.js";
import { checkOutput } from "./output.js";
import { beginOf, readTable, type Series, type Table } from "./table.js";
import { toUnits, unitsOf } from "./units.js";

export interface TrainRequest {
  readonly data: string;
  readonly out: string;
  readonly time: string;
  readonly id: string | undefined;
  readonly state: readonly string[] | undefined;
  readonly log: readonly string[];
  readonly resume: boolean;
  readonly settings: Settings;
  /** What was given, for a training that goes on and has settings and columns already. */
  readonly given: Readonly<Record<string, unknown>>;
  readonly progress: boolean;
}

/** A part of the training: so many steps on windows of so many observations. */
interface Stage {
  readonly window: number;
  readonly steps: number;
}

/** How often the model is tried on the data held out, in steps, and how often a checkpoint is written, in milliseconds. */
const EVERY = 10;
const CHECKPOINT = 30_000;

export async function trainModel(request: TrainRequest) {
  const start = performance.now();
  const { out } = request;
  checkOutput(out, [request.data]);
  const sha256 = createHash("sha256").update(readFileSync(request.data)).digest("hex");
  const task = request.resume ? resumed(request, sha256) : begun(request, sha256);
  const { field, optimizer, description, split } = task;
  const { settings } = description;
  const training = split.training.map((series) => toUnits(series, description.units));
  const held = split.held.map((series) => toUnits(series, description.units));
  const common = { relative: true };
  // In batches as well: one of all trajectories would be solved over the times of all, which is their number squared.
  const { batch } = settings;
  const validation = held.length > 0 ? minibatches({ ...common, trajectories: held, batch }).epoch() : undefined;
  const stages = stagesOf(training, settings);
  const schedule = warmUp(
    Math.min(20, settings.steps),
    cosineDecay(settings.learningRate, { least: settings.learningRate / 50, steps: settings.steps }),
  );
  const interrupt = new AbortController();
  const onInterrupt = () => interrupt.abort();
  process.once("SIGINT", onInterrupt);
  const bar = progressBar(request.progress, settings.steps, optimizer.steps);
  let { best } = task;
  let loss = Number.NaN;
  let kept = performance.now();
  const keep = () => writeModel(out, field, description, { optimizer, best });
  try {
    let before = 0;
    for (const [index, { window, steps }] of stages.entries()) {
      const done = optimizer.steps - before;
      before += steps;
      if (done >= steps) continue;
      const data = minibatches({
        ...common,
        trajectories: training,
        window,
        batch: settings.batch,
        seed: settings.seed + index,
      });
      data.state = { epoch: Math.floor(done / data.length), position: done % data.length };
      // Of the last stage only: before it, windows are short, and what a field does in the long run says little.
      const last = index === stages.length - 1;
      const patience = settings.patience > 0 ? { patience: settings.patience } : {};
      const options = {
        ...{ field, optimizer, data, schedule, clipNorm: 1, steps: steps - done, signal: interrupt.signal },
        ...{ method: settings.solver, rtol: settings.rtol, atol: settings.rtol, maxSteps: 10_000 },
        ...(last && validation && { validation: { data: validation, every: EVERY, best, ...patience } }),
      };
      for await (const step of train(options)) {
        loss = step.loss;
        best = step.best;
        bar.update(optimizer.steps, { window, loss: loss.toPrecision(3), validation: shown(best?.validation) });
        // What has ended is written below: from a checkpoint of it nothing could go on.
        const ended = step.stopped || optimizer.steps >= settings.steps;
        if (!ended && performance.now() - kept > CHECKPOINT) {
          keep();
          kept = performance.now();
        }
      }
    }
  } catch (error) {
    bar.stop();
    if (interrupt.signal.aborted) {
      keep();
      throw new Failure(`stopped at step ${optimizer.steps}; go on by the same command with --resume`, 130);
    }
    const astray =
      error instanceof SymplecticAdjointError && ["MAX_STEPS", "STEP_UNDERFLOW", "NON_FINITE"].includes(error.code);
    if (!astray) throw error;
    throw new Failure(
      `the field went astray at step ${optimizer.steps}: try a smaller --learning-rate or a shorter --window\n${error.message}`,
    );
  } finally {
    process.removeListener("SIGINT", onInterrupt);
  }
  bar.stop();
  const finished = { steps: optimizer.steps, loss, validation: best?.validation ?? null };
  writeModel(out, field, { ...description, finished });
  return {
    model: out,
    ...{ parameters: field.parameters.length, state: description.state, trajectories: description.data.trajectories },
    skipped: split.skipped,
    heldOut: split.held.map(({ id, times }) => ({ id, from: times[0], to: times.at(-1) })),
    stages,
    steps: optimizer.steps,
    bestStep: best?.step ?? optimizer.steps,
    loss,
    validation: best?.validation ?? null,
    seconds: (performance.now() - start) / 1000,
  };
}

const shown = (loss: number | undefined) => (loss === undefined ? "–" : loss.toPrecision(3));

/** What is learned, what is held out, and the names of what can be neither. */
interface Split {
  readonly training: readonly Series[];
  readonly held: readonly Series[];
  readonly skipped: readonly string[];
}

interface Task {
  readonly field: Field<"float32">;
  readonly optimizer: Optimizer<"float32">;
  readonly description: Description;
  readonly best: Best<"float32"> | undefined;
  readonly split: Split;
}

function begun(request: TrainRequest, sha256: string): Task {
  const { settings, time, id } = request;
  const table = readTable(request.data, request);
  const { state } = table;
  const hamiltonianModel = settings.model === "hamiltonian";
  if (hamiltonianModel && state.length % 2 === 1) {
    throw new Failure(`--model hamiltonian: expected positions and then as many momenta, given ${state.join(", ")}`, 2);
  }
  const split = splitOf(table, settings);
  const units = unitsOf({ ...table, series: split.training }, request.log, hamiltonianModel);
  const { hidden, activation, seed } = settings;
  const size = state.length;
  const field = hamiltonianModel
    ? hamiltonian({ energy: { widths: [size, ...hidden, 1], activation, seed }, structure: "canonical" })
    : mlp({ widths: [size, ...hidden, size], activation, seed });
  const { learningRate, weightDecay } = settings;
  const optimizer = adam(field, { learningRate, weightDecay });
  const observations = table.series.reduce((sum, { times }) => sum + times.length, 0);
  const data = { sha256, trajectories: table.series.length, observations };
  const description = { time, id: id ?? null, state, units, settings, data, best: null, finished: null };
  return { field, optimizer, description, best: undefined, split };
}

/** The training that a file has the beginning of: the same data and settings. */
function resumed(request: TrainRequest, sha256: string): Task {
  const { field, optimizer, description, best } = readModel(request.out);
  if (!optimizer) throw new Failure(`${request.out}: its training is finished; run without --resume to train anew`);
  const { settings, data, time, id, state, units } = description;
  const log = state.filter((_, index) => units.log[index]);
  if (data.sha256 !== sha256) throw new Failure(`${request.data}: not the data that ${request.out} was trained on`);
  for (const [name, value] of Object.entries(request.given)) {
    const before = ({ ...settings, time, id, state, log } as Readonly<Record<string, unknown>>)[name];
    if (JSON.stringify(value) !== JSON.stringify(before)) {
      throw new Failure(
        `--resume: this training has ${name} ${JSON.stringify(before)}, not ${JSON.stringify(value)}`,
        2,
      );
    }
  }
  const table = readTable(request.data, { time, id: id ?? undefined, state });
  return { field, optimizer, description, best, split: splitOf(table, settings) };
}

/** What is learned and what is held out: whole trajectories where there are three or more, else the end of each. */
function splitOf(table: Table, { validation, seed }: Settings): Split {
  const series = table.series.filter((own) => beginOf(own) >= 0);
  const skipped = table.series.filter((own) => beginOf(own) < 0).map(({ id }) => id || "the table");
  if (series.length === 0)
    throw new Failure("nothing to learn from: no row without missing values has another after it");
  if (validation === 0) return { training: series, held: [], skipped };
  if (series.length >= 3) {
    const size = Math.min(series.length - 1, Math.max(1, Math.round(validation * series.length)));
    // Spread over the table, from a place that the seed decides.
    const held = new Set(
      Array.from({ length: size }, (_, i) => (seed + Math.floor((i * series.length) / size)) % series.length),
    );
    const part = (inside: boolean) => series.filter((_, index) => held.has(index) === inside);
    return { training: part(false), held: part(true), skipped };
  }
  const slice = ({ id, times, rows }: Series, from: number, to?: number) => ({
    id,
    times: times.slice(from, to),
    rows: rows.slice(from, to),
  });
  const cuts = series.map(({ times }) =>
    Math.max(2, times.length - Math.max(1, Math.round(validation * times.length))),
  );
  const training = series.map((own, i) => slice(own, 0, cuts[i])).filter((own) => beginOf(own) >= 0);
  if (training.length === 0) {
    throw new Failure("nothing to learn from before what is held out; --validation 0 holds nothing out");
  }
  // What is held out is predicted from the last row learned, or the first whole one after it.
  const held = series.map((own, i) => slice(own, (cuts[i] as number) - 1)).filter((own) => beginOf(own) >= 0);
  return { training, held, skipped };
}

/**
 * Short windows first: over a long one an untrained field goes astray, and its gradient with it. From about half a unit of
 * time, in which the state changes by half its deviation, doubled up to the longest, which has half of the steps.
 */
function stagesOf(trajectories: readonly Trajectory[], { window, steps }: Settings): Stage[] {
  const longest = Math.max(...trajectories.map(({ times }) => times.length));
  const spacings = trajectories.flatMap(({ times }) =>
    Array.from(times).map((time, i) => time - (times[i - 1] ?? time)),
  );
  const spacing = spacings.reduce((sum, part) => sum + part, 0) / (spacings.length - trajectories.length);
  const observations = (time: number) => 1 + Math.ceil(time / spacing);
  const end = Math.min(longest, window ?? Math.min(200, Math.max(16, observations(10))));
  const lengths: number[] = [];
  for (let length = Math.max(3, observations(0.5)); length < 0.75 * end; length *= 2) lengths.push(length);
  const short = lengths.length === 0 ? 0 : Math.floor(steps / 2 / lengths.length);
  const stages = short === 0 ? [] : lengths.map((window) => ({ window, steps: short }));
  return [...stages, { window: end, steps: steps - short * stages.length }];
}

function progressBar(visible: boolean, total: number, done: number) {
  const format =
    "  {bar} {percentage} %   step {value} of {total}   windows of {window}   loss {loss}   held out {validation}";
  const bar = new cliProgress.SingleBar(
    { format, hideCursor: true, noTTYOutput: visible, notTTYSchedule: 5000, stream: process.stderr },
    cliProgress.Presets.rect,
  );
  if (visible) bar.start(total, done, { window: "–", loss: "–", validation: "–" });
  return {
    update: (step: number, payload: object) => visible && bar.update(step, payload),
    stop: () => visible && bar.stop(),
  };
}
