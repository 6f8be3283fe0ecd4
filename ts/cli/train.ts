// symplectic-adjoint train: trains a neural ODE, or equations, on a table; short windows come first.

import { createHash } from "node:crypto";
import {
  adam,
  type Best,
  cosineDecay,
  type Field,
  type MinibatchOptions,
  minibatches,
  type ObservedTrajectory,
  type Optimizer,
  type ProgramField,
  SymplecticAdjointError,
  train,
  warmUp,
} from "../index.js";
import { adviceOn, errorOfMean, notesOnBatch } from "./advice.js";
import type { Span } from "./arguments.js";
import { type CommandCluster, connectWorkers } from "./command-cluster.js";
import { type DosedTable, readDosed } from "./dosed-table.js";
import type { Unmatched } from "./doses.js";
import { completed, completedAll, fieldOf, networkOf, optimizerOf, settle, trajectoryOf } from "./equation.js";
import { DIVERGED, Failure, reasonOf } from "./failure.js";
import { readEquations, readSource, type Source } from "./input.js";
import { infusedOf, jumpsOf } from "./jumps.js";
import { type Description, layoutOf, modelBytes, readModel, type Settings } from "./model.js";
import { checkOutput, writeSomewhere, writeWhole } from "./output.js";
import { progressOf } from "./progress.js";
import { say } from "./say.js";
import { checkServers } from "./server-options.js";
import type { ServerRequest } from "./servers.js";
import { SIGNALS, type Signal } from "./signals.js";
import { lagOf, type Split, spacingsOf, splitOf } from "./split.js";
import { columnIn, type Format, headerOf, listOf, type Series, type Table, unitOf } from "./table.js";
import { checkFactor, equationsField, textOf, usesTime, valuesOf } from "./text-model.js";
import { type Clock, notesOnDates, writeTime } from "./time.js";
import { type Units, unitsOf } from "./units.js";

/** Settings before the table is read, which decides the unit of spans of time. */
export type GivenSettings = Omit<Settings, "lag" | "period"> & {
  readonly lag: Span | null;
  readonly period: Span | null;
};

export interface TrainRequest {
  readonly data: string;
  /** The file of equations to train; undefined for a network. */
  readonly equations: string | undefined;
  /** The separate table of doses, if there is one. */
  readonly doses: string | undefined;
  readonly out: string;
  readonly time: string;
  readonly id: string | undefined;
  readonly state: readonly string[] | undefined;
  readonly log: readonly string[];
  readonly resume: boolean;
  readonly settings: GivenSettings;
  readonly format: Format;
  /** Seconds between checkpoints. */
  readonly checkpoint: number;
  /** The options that were given explicitly, to compare with those of a resumed training. */
  readonly given: Readonly<Record<string, unknown>>;
  /** The servers whose workers compute, if any are given; otherwise this machine does. */
  readonly servers: ServerRequest;
  readonly progress: boolean;
}

/** A stage of the training: its steps, and the observations in each window. */
interface Stage {
  readonly window: number;
  readonly steps: number;
}

/** Steps between validations. */
const EVERY = 10;

export async function trainModel(given: TrainRequest) {
  const start = performance.now();
  const { out } = given;
  checkOutput(out, [given.data, given.equations, given.doses]);
  const isRemote = given.servers.servers !== undefined;
  checkServers(given.servers);
  const request = await withEquations(given);
  const source = await readSource(request.data);
  const doses = request.doses === undefined ? undefined : await readSource(request.doses);
  const task = request.resume ? await resumed(request, source, doses) : begun(request, source, doses);
  const { network, description, split } = task;
  const { settings, units } = description;
  const notes = [...task.notes, ...(isRemote ? notesOnBatch(settings) : [])];
  if (request.progress) for (const line of notes) say(`note: ${line}`);
  const field = fieldOf(network, settings, units);
  const optimizer = optimizerOf(field, network, task.optimizer, settings);
  const layout = layoutOf(settings, description.state.length);
  const dataOf = (series: readonly Series[]) => ({
    trajectories: series.map((own) => trajectoryOf(own, description)),
    jumps: jumpsOf(series, description),
  });
  const { trajectories, jumps } = dataOf(split.training);
  const { batch } = settings;
  // Each trajectory has its own times and steps, unless there are clocks around a network: those are functions, slow for one trajectory at
  // a time.
  const isOfFunctions = layout.clocks > 0 && settings.model !== "equations";
  if (isOfFunctions && isRemote) {
    const expected =
      "neither --with-time nor --period, which are functions around the network and stay in this process";
    throw new Failure(`--servers: expected ${expected}; with --equations, t may be used`, 2);
  }
  const batching = isOfFunctions && jumps.length === 0 ? "together" : "independent";
  const common = { relative: true, batch, batching } as const;
  const heldBatches = split.held.length > 0 ? minibatches({ ...common, ...dataOf(split.held) }).epoch() : [];
  const validation = heldBatches.map((batch) => completed(batch, layout));
  const stages = stagesOf(trajectories, settings);
  const schedule = warmUp(
    Math.min(20, settings.steps),
    cosineDecay(settings.learningRate, { least: settings.learningRate / 50, steps: settings.steps }),
  );
  const interrupt = new AbortController();
  let cluster: CommandCluster | undefined;
  const onSignal = (signal: Signal) => {
    interrupt.abort(signal);
    // Without this, a step that waits for workers would never end.
    cluster?.pool.close();
  };
  for (const signal of Object.keys(SIGNALS)) process.once(signal, onSignal);
  const progress = progressOf(request.progress, settings.steps, optimizer.steps, isRemote);
  let { best } = task;
  let loss = Number.NaN;
  const stand = () => {
    settle([field, optimizer], [network, task.optimizer], settings);
    return modelBytes(network, description, { optimizer: task.optimizer, best });
  };
  const keep = checkpoints(out, 1000 * request.checkpoint, progress.note);
  let ended = { steps: optimizer.steps, stand: undefined as Uint8Array | undefined };
  /**
   * Remembers the state after each step. If training stops while the next one is validated, the optimizer has already moved: training then
   * continues from here.
   */
  const endStep = () => {
    const { steps } = optimizer;
    ended = { steps, stand: isRemote && (steps + 1) % EVERY === 0 ? stand() : undefined };
  };
  try {
    if (isRemote) cluster = await connectWorkers(request.servers, progress, interrupt.signal);
    endStep();
    let before = 0;
    for (const [index, { window, steps }] of stages.entries()) {
      const done = optimizer.steps - before;
      before += steps;
      if (done >= steps) continue;
      const options: MinibatchOptions = { ...common, trajectories, jumps, window, seed: settings.seed + index };
      // Hidden dimensions are zero at the beginning of a trajectory only, so windows must begin there.
      if (layout.extra > 0) options.stride = 2 ** 30;
      const data = minibatches(options);
      data.state = { epoch: Math.floor(done / data.length), position: done % data.length };
      // Validate in the last stage only: windows are short before it, and say little about long solves.
      const last = index === stages.length - 1 && validation.length > 0;
      const patience = settings.patience > 0 ? { patience: settings.patience } : {};
      const training = train({
        ...{ field, optimizer, data: completedAll(data, layout) },
        ...{ schedule, clipNorm: 1, steps: steps - done, signal: interrupt.signal },
        ...(cluster && { pool: cluster.pool }),
        ...{ method: settings.solver, rtol: settings.rtol, atol: settings.rtol, maxSteps: 10_000 },
        ...(last && { validation: { data: validation, every: EVERY, best, ...patience } }),
      });
      for await (const step of training) {
        loss = step.loss;
        best = step.best;
        endStep();
        cluster?.tell();
        progress.update(optimizer.steps, { window, loss: loss.toPrecision(3), validation: shown(best?.validation) });
        // The finished model is written below. A training could not continue from a checkpoint of it.
        const isOver = step.stopped || optimizer.steps >= settings.steps;
        if (!isOver) keep(stand);
      }
    }
    progress.stop();
    settle([field, optimizer], [network, task.optimizer], settings);
    const finished = { steps: optimizer.steps, loss, validation: best?.validation ?? null };
    const elsewhere = writeSomewhere(out, modelBytes(network, { ...description, finished }));
    if (elsewhere) throw new Failure(`${elsewhere.reason}; the trained model is in ${elsewhere.file}`);
  } catch (error) {
    progress.stop();
    const code = error instanceof SymplecticAdjointError ? error.code : undefined;
    const signal = interrupt.signal.aborted ? (interrupt.signal.reason as Signal) : undefined;
    const isStopped = signal !== undefined && (error === signal || (cluster && code === "DISPOSED"));
    // Workers and servers may return.
    const isLost = cluster && (code === "CONNECTION" || code === "WORKER");
    if (isStopped || isLost) {
      const elsewhere = writeSomewhere(out, (optimizer.steps > ended.steps && ended.stand) || stand());
      const place = elsewhere ? ` and --out ${elsewhere.file}: ${elsewhere.reason}` : "";
      const message = `stopped at step ${ended.steps}; continue with the same command and --resume${place}`;
      if (isStopped) throw new Failure(message, SIGNALS[signal]);
      throw new Failure(`${(error as Error).message}\n${message}`);
    }
    const hasDiverged = code !== undefined && ["MAX_STEPS", "STEP_UNDERFLOW", "NON_FINITE"].includes(code);
    if (!hasDiverged) throw error;
    throw new Failure(
      `training diverged at step ${optimizer.steps}: try a smaller --learning-rate or a shorter --window\n${(error as Error).message}`,
      DIVERGED,
    );
  } finally {
    cluster?.pool.close();
    for (const signal of Object.keys(SIGNALS)) process.removeListener(signal, onSignal);
  }
  const mean = best ? errorOfMean(validation, layout) : undefined;
  return {
    model: out,
    ...{ parameters: network.parameters.length, state: description.state, trajectories: description.data.trajectories },
    fitted: settings.model === "equations" ? valuesOf(network as ProgramField) : null,
    notes,
    skipped: split.skipped,
    ...task.unmatched,
    heldOut: split.held.map(({ id, from, times }) => ({ id, from, to: times.at(-1) })),
    stages,
    steps: optimizer.steps,
    bestStep: best?.step ?? optimizer.steps,
    loss,
    validation: best?.validation ?? null,
    advice: mean && best ? adviceOn(best.validation, mean, settings, description.state.length) : null,
    seconds: (performance.now() - start) / 1000,
  };
}

/** Writes checkpoints at intervals. If the disk is full, checkpoints fail but the training continues. */
function checkpoints(out: string, every: number, note: (text: string) => void) {
  let last = performance.now();
  let told: string | undefined;
  return (stand: () => Uint8Array): void => {
    if (performance.now() - last < every) return;
    const bytes = stand();
    try {
      writeWhole(out, bytes);
    } catch (error) {
      const reason = reasonOf(error);
      if (reason !== told) note(`no checkpoint could be written to ${out}: ${reason}; the training continues`);
      told = reason;
    }
    last = performance.now();
  };
}

const shown = (loss: number | undefined) => (loss === undefined ? "–" : loss.toPrecision(3));

interface TrainTask {
  readonly network: Field<"float32">;
  readonly optimizer: Optimizer<"float32">;
  readonly description: Description;
  readonly best: Best<"float32"> | undefined;
  readonly split: Split;
  readonly unmatched: Unmatched;
  /** Notes for the user before training begins. */
  readonly notes: readonly string[];
}

const hashOf = ({ bytes }: Source) => createHash("sha256").update(bytes).digest("hex");

/** Options of networks only. */
const NETWORK = ["model", "state", "hidden", "activation", "delays", "lag", "extra", "withTime", "period"];

/** Reads the equations of a training, if there are any. */
async function withEquations(request: TrainRequest): Promise<TrainRequest> {
  const { equations: file, given, settings } = request;
  if (file === undefined) return request;
  const other = NETWORK.find((name) => given[name] !== undefined);
  if (other !== undefined) {
    const options = NETWORK.map(optionOf);
    throw new Failure(`--equations: expected none of ${options.join(", ")}, given ${optionOf(other)}`, 2);
  }
  if (file === request.data && ["-", "/dev/stdin"].includes(file)) {
    throw new Failure("only one of the equations and the table can come from standard input", 2);
  }
  const source = await readEquations(file);
  const text = textOf(source);
  const field = equationsField(source.name, text, "float32");
  const { states: state } = field;
  field.dispose();
  return {
    ...request,
    state,
    settings: { ...settings, model: "equations", equations: text, withTime: usesTime(text) },
    given: { ...given, equations: text },
  };
}

const optionOf = (name: string) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** Refuses times that float32 cannot distinguish, if the equations depend on the time. */
function checkTimes({ origin, timeScale }: Units, time: string, clock: Clock): void {
  const apart = Math.abs(origin) * 2 ** -23;
  if (!(apart > timeScale / 100)) return;
  const told = `about ${writeTime(origin, clock)}, that float32 only tells ${apart.toPrecision(2)} apart`;
  throw new Failure(
    `--equations: expected t near 0, as train computes in float32; given times so large in the column ${time}, ${told}; count them from a nearer origin, or use fit, which computes in float64`,
  );
}

/** Refuses settings that contradict each other. */
function checkSettings({ model, delays, lag, extra, withTime, period, ...rest }: GivenSettings): void {
  if (lag !== null && delays === 0) {
    throw new Failure("--lag: expected --delays as well, because it is the time between them", 2);
  }
  if (rest.doses !== null && delays > 0) {
    throw new Failure("--delays: cannot be combined with doses, which earlier values do not include", 2);
  }
  const factors = rest.doses?.factors ?? {};
  if (model !== "equations" && Object.keys(factors).length > 0) {
    throw new Failure("--dose-factor: expected --equations as well, because it is in terms of their parameters", 2);
  }
  for (const [state, factor] of Object.entries(factors)) checkFactor(rest.equations ?? "", state, factor);
  if (model !== "equations" && Object.keys(rest.initial).length > 0) {
    throw new Failure("--initial: expected --equations as well, because it sets their states", 2);
  }
  if (model === "hamiltonian" && (delays > 0 || extra > 0 || withTime || period !== null)) {
    const expected =
      "none of --delays, --extra, --with-time and --period: an energy depends on positions and momenta alone";
    throw new Failure(`--model hamiltonian: expected ${expected}`, 2);
  }
}

/** Refuses settings that do not fit the table. */
function checkTable({ model, period }: Settings, { state, series }: Table): void {
  if (model === "hamiltonian" && state.length % 2 === 1) {
    throw new Failure(`--model hamiltonian: expected positions and then as many momenta, given ${listOf(state)}`, 2);
  }
  const latest = series.reduce(
    (most, { times }) => times.reduce((most, time) => Math.max(most, Math.abs(time)), most),
    0,
  );
  if (period !== null && latest / period > 2 ** 40) {
    throw new Failure(`--period: expected one for which times up to ${latest} have a phase, given ${period}`, 2);
  }
}

/** A span in the unit of the table's times. */
function spanOf(option: string, span: Span, { clock, unit }: Pick<Table, "clock" | "unit">): number {
  if (typeof span === "number") return span * unit;
  if (clock !== "number") return span.seconds;
  throw new Failure(`--${option}: expected a number without a unit, as the times of the table are numbers`, 2);
}

/** The table of a training; for equations, the states are known in advance. */
function tableOf(
  { time, id, state }: Pick<TrainRequest, "time" | "id" | "state">,
  settings: Settings | GivenSettings,
  format: Format,
  source: Source,
  doses: Source | undefined,
): DosedTable {
  const isEquations = settings.model === "equations";
  return readDosed(source, { time, id, state, equations: isEquations }, format, settings, doses, state);
}

/** Notes on columns that only number the rows, and say nothing about a state. */
function notesOnIndices({ state, series }: Table): string[] {
  const isIndex = (column: number) =>
    series.every(({ rows }) =>
      rows.every((row, i) => {
        const value = row[column] as number;
        return Number.isInteger(value) && (i === 0 || value === (rows[i - 1]?.[column] as number) + 1);
      }),
    ) && series.some(({ rows }) => rows.length > 2);
  const indices = state.filter((_, column) => isIndex(column));
  const others = state.filter((name) => !indices.includes(name));
  if (indices.length === 0 || others.length === 0) return [];
  const [counts, it] =
    indices.length === 1 ? ["only counts the rows, but is", "it"] : ["only count the rows, but are", "them"];
  const told = `${listOf(indices)} ${counts} learned as a part of the state`;
  const names = others.map((name) => (/[",\s]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name)).join(",");
  const quote = names.includes('"') ? "'" : "";
  const how = others.length > 20 ? "--state lists the others" : `--state ${quote}${names}${quote} leaves ${it} out`;
  return [`${told}; ${how}`];
}

/** A note on a period that is too short for the spacing of the rows: probably the wrong unit, if times are dates. */
function notesOnPeriod({ period }: Settings, { series, clock, unit }: Table): string[] {
  const spacings = spacingsOf(series);
  const spacing = spacings[spacings.length >> 1] ?? 0;
  if (period === null || period >= 2 * spacing) return [];
  const [seconds, hint] =
    clock === "number"
      ? ["", ""]
      : [" s", `; ${unit === 1 ? "a number alone counts seconds, and " : ""}365d is 365 days`];
  return [
    `--period, ${period}${seconds}, is shorter than two intervals between rows, of ${spacing}${seconds}, which cannot show it${hint}`,
  ];
}

/** The options for a table, with the names that its columns have; states of equations keep theirs. */
function byColumns(request: TrainRequest, source: Source): TrainRequest {
  const { time, id, state, log, format, equations } = request;
  const header = headerOf(source, { time, id, state }, format);
  const own = (name: string) => columnIn(header, name) ?? name;
  const columns = equations === undefined ? { state: state?.map(own), log: log.map(own) } : { state, log };
  return { ...request, ...columns, time: own(time), id: id === undefined ? undefined : own(id) };
}

function begun(given: TrainRequest, source: Source, doses: Source | undefined): TrainTask {
  checkSettings(given.settings);
  const request = byColumns(given, source);
  const { time, id, log, format } = request;
  const table = tableOf(request, request.settings, format, source, doses);
  const { state, clock, unit, unmatched } = table;
  const { lag: ownLag, period } = request.settings;
  const settings: Settings = {
    ...request.settings,
    lag: ownLag === null ? null : spanOf("lag", ownLag, table),
    period: period === null ? null : spanOf("period", period, table),
    infused: infusedOf(table.series, state),
  };
  if (settings.infused.length > 0 && settings.model !== "equations") {
    throw new Failure("--dose-duration and --dose-rate: expected --equations, whose states take infusions", 2);
  }
  const unknown = Object.keys(settings.doses?.factors ?? {}).find((name) => !state.includes(name));
  if (unknown !== undefined) {
    throw new Failure(`--dose-factor: expected states of the equations: ${listOf(state)}; given ${unknown}`, 2);
  }
  checkTable(settings, table);
  const hidden = state.filter((_, i) => table.series.every(({ rows }) => rows.every((row) => Number.isNaN(row[i]))));
  const unseen = hidden.filter((name) => Object.hasOwn(settings.initial, name));
  const scaling = { state, time, log, paired: settings.model === "hamiltonian", hidden: unseen, unit };
  const change = () => unitsOf({ ...scaling, series: table.series, lag: 0 }).timeScale;
  const lag = settings.delays === 0 ? 0 : (settings.lag ?? lagOf(table, change(), settings.delays));
  const split = splitOf(table, settings, lag);
  const units = unitsOf({ ...scaling, series: split.training, lag });
  if (settings.withTime && settings.model === "equations") checkTimes(units, time, clock);
  const network = networkOf(settings, state.length, "float32");
  const { learningRate, weightDecay } = settings;
  const optimizer = adam(network, { learningRate, weightDecay });
  const observations = table.series.reduce((sum, { times }) => sum + times.length, 0);
  const hashes = { sha256: hashOf(source), ...(doses && { doses: hashOf(doses) }) };
  const data = { ...hashes, trajectories: table.series.length, observations };
  const columns = { time, clock, id: id ?? null, state };
  const description = { ...columns, units, settings, format, data, best: null, finished: null };
  const notes = [
    ...(request.state === undefined ? notesOnIndices(table) : []),
    ...notesOnPeriod(settings, table),
    ...(settings.model === "equations" ? notesOnDates(clock, format) : []),
  ];
  return { network, optimizer, description, best: undefined, split, unmatched, notes };
}

/** Continues the training in `out`; the data and settings must be the same. */
async function resumed(request: TrainRequest, source: Source, doses: Source | undefined): Promise<TrainTask> {
  const { network, optimizer, description, best } = readModel(await readSource(request.out));
  if (!optimizer) throw new Failure(`${request.out}: its training is finished; run without --resume to train again`);
  const { settings, data, time, clock, id, state, units, format } = description;
  const log = state.filter((_, index) => units.log[index]);
  if (data.sha256 !== hashOf(source)) {
    throw new Failure(`${source.name}: not the data that ${request.out} was trained on`);
  }
  if (data.doses !== (doses && hashOf(doses))) {
    if (!doses) throw new Failure("--resume: expected --doses as well, which this training has", 2);
    throw new Failure(`${doses.name}: not the doses that ${request.out} was trained with`);
  }
  const timing = { clock, unit: unitOf(clock, format, "") };
  const columns = [time, ...state, ...(id === null ? [] : [id])];
  const own = (name: string) => columnIn(columns, name) ?? name;
  const named = (option: string, given: unknown): unknown => {
    if (option === "time" || option === "id") return own(given as string);
    return option === "state" || option === "log" ? (given as readonly string[]).map(own) : given;
  };
  for (const [name, given] of Object.entries(request.given)) {
    const value = name === "lag" || name === "period" ? spanOf(name, given as Span, timing) : named(name, given);
    const before = (
      { ...settings, ...format, method: settings.solver, time, id, state, log } as Readonly<Record<string, unknown>>
    )[name];
    if (JSON.stringify(value) !== JSON.stringify(before)) {
      throw new Failure(
        `--resume: this training has ${name} ${JSON.stringify(before)}, not ${JSON.stringify(value)}`,
        2,
      );
    }
  }
  const { unmatched, ...table } = tableOf({ time, id: id ?? undefined, state }, settings, format, source, doses);
  return { network, optimizer, description, best, split: splitOf(table, settings, units.lag), unmatched, notes: [] };
}

/**
 * Short windows first: over a long one, an untrained field diverges, and its gradient with it. Windows begin at about half a unit of time,
 * in which the state changes by half its standard deviation, and double up to the longest, which gets half of the steps.
 */
function stagesOf(trajectories: readonly ObservedTrajectory[], { window, steps, extra }: Settings): Stage[] {
  const longest = trajectories.reduce((most, { times }) => Math.max(most, times.length), 0);
  const spacings = trajectories.flatMap(({ times }) =>
    Array.from(times).map((time, i) => time - (times[i - 1] ?? time)),
  );
  const spacing = spacings.reduce((sum, part) => sum + part, 0) / (spacings.length - trajectories.length);
  const observations = (time: number) => 1 + Math.ceil(time / spacing);
  // If all windows begin where trajectories do, shorter ones would never reach the end.
  const enough = extra > 0 ? longest : Math.min(200, Math.max(16, observations(10)));
  const end = Math.min(longest, window ?? enough);
  const lengths: number[] = [];
  for (let length = Math.max(3, observations(0.5)); length < 0.75 * end; length *= 2) lengths.push(length);
  const short = lengths.length === 0 ? 0 : Math.floor(steps / 2 / lengths.length);
  const stages = short === 0 ? [] : lengths.map((window) => ({ window, steps: short }));
  return [...stages, { window: end, steps: steps - short * stages.length }];
}
