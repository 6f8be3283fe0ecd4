// symplectic-adjoint sweep: trains with many settings, on this machine's cores or on a cluster's workers.

import { availableParallelism } from "node:os";
import { basename } from "node:path";
import type {
  SearchSpace,
  SweepEvent,
  SweepOptions,
  SweepResult,
  SweepStatus,
  TrialFunction,
  TrialParameterValue,
  TrialResult,
  TrialRung,
} from "../cluster.js";
import { SymplecticAdjointError } from "../index.js";
import { startingWorkers } from "./command-cluster.js";
import { DIVERGED, Failure } from "./failure.js";
import { readSource } from "./input.js";
import { counted } from "./number.js";
import { checkApart, checkOutput, writeSomewhere, writeWhole } from "./output.js";
import { readable, say } from "./say.js";
import { serverOptionsIn } from "./server-options.js";
import { type ServerRequest, serverOptions } from "./servers.js";
import { SIGNALS, type Signal } from "./signals.js";
import { csvOfTrials, sweepReport } from "./sweep-report.js";
import { isRange, type Varied } from "./sweep-space.js";
import { noSweep, sweepsOn } from "./sweeps.js";
import { trainTrial } from "./train-trial.js";

export interface SweepRequest {
  readonly data: string;
  readonly equations: string | undefined;
  readonly doses: string | undefined;
  /** Options of `train` with one or more values. */
  readonly varied: Readonly<Record<string, Varied>>;
  /** Options of `train`, as written. */
  readonly fixed: Readonly<Record<string, string | boolean>>;
  readonly trials: number | undefined;
  readonly sampler: "quasirandom" | "random" | "grid";
  readonly seed: number;
  /** The factor of successive halving; undefined if every trial gets all its steps. */
  readonly factor: number | undefined;
  readonly leastSteps: number | undefined;
  readonly timeout: number | undefined;
  readonly attempts: number | undefined;
  readonly parallel: number | undefined;
  readonly name: string | undefined;
  readonly resume: boolean;
  readonly replace: boolean;
  readonly out: string;
  readonly table: string | undefined;
  readonly report: string | undefined;
  readonly servers: ServerRequest;
  readonly progress: boolean;
}

/** The default of `train`. */
const STEPS = 1500;
/** `train` measures the held-out error every ten steps. */
const LEAST_STEPS = 10;

export interface SweepOutput extends SweepResult {
  readonly signal: Signal | null;
  readonly seconds: number;
}

export async function sweepModels(request: SweepRequest): Promise<SweepOutput> {
  const start = performance.now();
  const { data, equations, doses, out, table, report, fixed } = request;
  for (const [file, option] of [
    [out, "--out"],
    [table, "--table"],
    [report, "--report"],
  ] as const) {
    if (file !== undefined) checkOutput(file, [data, equations, doses], option);
  }
  checkApart({ "--out": out, "--table": table, "--report": report });
  const isRemote = request.servers.servers !== undefined;
  checkOptions(request, isRemote);
  const inputs = Object.entries({ data, equations, doses }).filter(([, file]) => file !== undefined);
  const files: Record<string, Uint8Array> = {};
  for (const [name, file] of inputs) files[name] = new Uint8Array((await readSource(file as string)).bytes);
  const constant = Object.entries(request.varied).flatMap(([name, varied]) =>
    isRange(varied) || varied.length > 1 ? [] : [[name, varied[0] as TrialParameterValue] as const],
  );
  const space = Object.fromEntries(
    Object.entries(request.varied).filter(([name]) => !constant.some(([own]) => own === name)),
  );
  if (Object.keys(space).length === 0) {
    throw new Failure(
      "expected an option with several values, such as --learning-rate 1e-3:1e-1 or --width 16,32,64",
      2,
    );
  }
  const { width, depth, ...own } = Object.fromEntries(constant);
  const settings = { ...fixed, ...own, seed: request.seed };
  // A fixed width or depth becomes a parameter with one value, since the other may vary.
  for (const [name, value] of Object.entries({ width, depth })) if (value !== undefined) space[name] = [value];
  await tryOnce(files, { ...settings }, space);
  const { sweep } = await import("../cluster.js");
  const name = request.name ?? nameOf(data);
  if (request.resume) {
    const names = (await (await sweepsOn(request.servers)).list()).map((sweep) => sweep.name);
    if (!names.includes(name)) throw new Failure(`--resume: ${noSweep(name, names).message}`, 2);
  }
  if (!isRemote && request.progress && process.env.NATS_URL !== undefined) {
    say("NATS_URL is set, and counts for worker and sweeps; without --servers this sweep runs on this machine alone");
  }
  const interrupt = new AbortController();
  let caught: Signal | null = null;
  const onSignal = (signal: Signal) => {
    // A second signal exits at once.
    if (caught !== null) process.exit(SIGNALS[signal]);
    caught = signal;
    interrupt.abort(signal);
  };
  for (const signal of Object.keys(SIGNALS)) process.on(signal, onSignal);
  const progress = progressOf(request.progress, isRemote, startingWorkers(request.servers));
  const trials = new Map<number, TrialResult>();
  let status: SweepStatus | undefined;
  /** Models of trials in this process, to save the best one if the sweep is stopped. */
  const models = new Map<number, Uint8Array>();
  let bestBefore: number | undefined;
  const runHere: TrialFunction = async (trial) => {
    const outcome = await trainTrial(trial);
    if (outcome.state) models.set(trial.trial, outcome.state);
    return outcome;
  };
  const options: SweepOptions = {
    ...{ space: space as SearchSpace, sampler: request.sampler, seed: request.seed, settings, files },
    ...(request.trials !== undefined && { trials: request.trials }),
    ...(request.timeout !== undefined && { timeout: request.timeout }),
    ...halvingOf(request, settings),
    ...{ signal: interrupt.signal },
    onEvent(event) {
      if ("status" in event) status = event.status;
      if (event.kind === "trial") {
        trials.set(event.result.trial, event.result);
        const best = event.status.best?.trial;
        // Keep only the best model.
        for (const trial of [event.result.trial, bestBefore]) {
          if (trial !== undefined && trial !== best) models.delete(trial);
        }
        bestBefore = best;
      }
      progress.tell(event);
    },
    ...(isRemote
      ? {
          ...(await serverOptions(request.servers)),
          // A short timeout is safe: trials run in other threads and cannot block the worker's signs of life.
          stallTimeout: 5,
          ...{ run: "train", name, existing: request.resume ? "resume" : request.replace ? "replace" : "error" },
          ...(request.attempts !== undefined && { attempts: request.attempts }),
        }
      : { run: runHere, parallel: request.parallel ?? availableParallelism() }),
  };
  let result: SweepResult;
  try {
    result = await sweep(options);
  } catch (error) {
    if (caught === null) throw explained(error, name);
    let on = isRemote ? "; its results are kept: the same command with --resume continues" : "";
    const model = status?.best && models.get(status.best.trial);
    if (model) {
      const elsewhere = writeSomewhere(out, model);
      on = elsewhere
        ? `; ${elsewhere.reason}; the best model so far is in ${elsewhere.file}`
        : `; ${out}: the best so far`;
    }
    if (!isRemote && trials.size > 0) {
      // Save the results before they are lost.
      const all = [...trials.values()].sort((a, b) => a.trial - b.trial);
      if (table !== undefined) writeWhole(table, csvOfTrials({ name, best: undefined, trials: all, budgets: [] }));
    }
    const far = status ? `after ${status.ended} of ${status.total} runs` : "before the first run";
    throw new Failure(`stopped ${far}${on}`, SIGNALS[caught]);
  } finally {
    progress.stop();
    for (const signal of Object.keys(SIGNALS)) process.removeListener(signal, onSignal);
  }
  const { best } = result;
  if (table !== undefined) writeWhole(table, csvOfTrials(result));
  if (report !== undefined)
    writeWhole(report, sweepReport(`${basename(data)}: ${counted(result.trials.length, "trial")}`, result));
  if (!best) {
    const messages = new Set(result.trials.map(({ message }) => message));
    const { length } = result.trials;
    const who = length === 1 ? "the trial" : `all ${length} trials`;
    throw new Failure(`${who} failed: ${[...messages].slice(0, 3).join("; ")}`);
  }
  if (!best.state) {
    throw new Failure(`the model of the best trial, ${best.trial}, is no longer on the servers: --replace starts over`);
  }
  const elsewhere = writeSomewhere(out, best.state);
  if (elsewhere) throw new Failure(`${elsewhere.reason}; the best model is in ${elsewhere.file}`);
  if (best.status === "failed") {
    const { budget } = best.rungs.at(-1) as TrialRung;
    say(
      `all trials of more than ${budget} steps failed, this one because ${best.message}: the model is that of ${budget}`,
    );
  }
  return { ...result, signal: caught, seconds: (performance.now() - start) / 1000 };
}

function checkOptions(request: SweepRequest, isRemote: boolean): void {
  const { resume, replace, name, attempts, parallel, sampler, trials, fixed, factor, leastSteps, varied } = request;
  const refuse = (message: string): never => {
    throw new Failure(message, 2);
  };
  if (resume && replace) refuse("--resume: cannot be combined with --replace");
  for (const [option, given] of Object.entries({ resume, replace, name, attempts })) {
    if (!isRemote && given) refuse(`--${option}: expected --servers as well: without it, nothing outlives the command`);
  }
  const [unused] = serverOptionsIn(request.servers);
  if (!isRemote && unused !== undefined) refuse(`${unused}: expected --servers as well`);
  if (isRemote && parallel !== undefined)
    refuse("--parallel: cannot be combined with --servers: each worker sets its own number");
  if (sampler !== "grid" && trials === undefined) refuse("--trials: expected the number of trials, or pass --grid");
  if (name !== undefined && !/^[\w-]{1,64}$/.test(name)) {
    refuse(`--name: expected 1 to 64 letters, digits, - and _, given ${name}`);
  }
  if (Number(fixed.validation ?? 0.2) === 0)
    refuse("--validation: expected more than 0: trials are compared on the held-out data");
  const { steps = [] } = varied;
  if ((isRange(steps) ? steps.min : Math.min(...steps.map(Number))) < LEAST_STEPS) {
    refuse(`--steps: expected ${LEAST_STEPS} or more: the error is first measured then`);
  }
  if (factor !== undefined && (isRange(steps) || steps.length > 1)) {
    refuse("--halving: expected one value of --steps, because halving divides it");
  }
  if (leastSteps !== undefined && factor === undefined) refuse("--least-steps: expected --halving as well");
  for (const [option, one] of Object.entries(varied)) {
    if (!isRange(one)) continue;
    const hasPoints = "points" in one;
    if (sampler === "grid" && !hasPoints)
      refuse(`--${option}: with --grid, a range needs a number of values, as in ${one.min}:${one.max}:5`);
    if (sampler !== "grid" && hasPoints)
      refuse(`--${option}: expected --grid as well: only there, a range has a number of values`);
  }
}

/** The budgets of successive halving in steps; the last rung has all of them. */
function halvingOf({ factor, leastSteps, trials }: SweepRequest, settings: Readonly<Record<string, unknown>>) {
  if (factor === undefined) return {};
  const most = Number(settings.steps ?? STEPS);
  // As many rungs as the trials allow, but a training of very few steps says nothing.
  const rungs = Math.floor(Math.log(trials ?? 27) / Math.log(factor) + 1e-9);
  const least = leastSteps ?? Math.max(most / factor ** rungs, Math.min(50, most / factor));
  if (least < LEAST_STEPS || least * factor > most) {
    const expected = `from ${LEAST_STEPS}, when the error is first measured, to --steps / ${factor}, which is ${Math.floor(most / factor)}`;
    throw new Failure(`--least-steps: expected ${expected}; given ${leastSteps ?? `--steps ${most}`}`, 2);
  }
  return { halving: { least: Math.floor(least), most, factor } };
}

/** Trains a few steps here, so that mistakes in the command or the table show before the sweep starts. */
async function tryOnce(
  files: Readonly<Record<string, Uint8Array>>,
  settings: SweepOptions["settings"],
  space: Readonly<Record<string, Varied>>,
): Promise<void> {
  const first = Object.entries(space).map(([name, varied]) => [name, isRange(varied) ? varied.min : varied[0]]);
  const signal = new AbortController().signal;
  const parameters = { ...Object.fromEntries(first), steps: LEAST_STEPS };
  try {
    await trainTrial({
      ...{
        sweep: "",
        trial: 0,
        parameters,
        budget: undefined,
        seed: 0,
        settings: settings ?? null,
        files,
        state: undefined,
        signal,
      },
    });
  } catch (error) {
    // Training may diverge with some parameters and not with others.
    const hasDiverged = error instanceof Failure && error.status === DIVERGED;
    if (!hasDiverged) throw new Failure((error as Error).message, 2);
  }
}

/** A name derived from the data file. */
function nameOf(data: string): string {
  const plain = basename(data)
    .replace(/\.[^.]*$/, "")
    .replace(/[^\w-]+/g, "-")
    .slice(0, 64);
  return /\w/.test(plain) && data !== "-" ? plain : "sweep";
}

/** How an existing sweep differs from this one, in terms of the command. */
function differenceIn(argument: string, before: string, now: string): string {
  const [, kind, part = argument] = /^(space|settings|files)\.(.*)$/.exec(argument) ?? [];
  if (kind === "files" && part === "data") return "with other data";
  if (part === "space") return "with the same parameters in another order";
  if (part === "halving") {
    // A sweep without halving has one rung, with all steps.
    const isWithout = (text: string) => text.includes("[null]");
    if (isWithout(before)) return "without --halving";
    return isWithout(now) ? "with --halving" : "with another --halving, --least-steps or --steps";
  }
  if (part === "sampler") return `with the sampler ${before}, not ${now}`;
  if (before === "nothing") return `without --${part}`;
  if (now === "nothing") return `with --${part}`;
  return before === now ? `with another --${part}` : `with --${part} ${before}, not ${now}`;
}

/** Rewrites the library's errors in terms of the command. */
function explained(error: unknown, name: string): unknown {
  if (!(error instanceof SymplecticAdjointError) || error.code !== "OPTION") return error;
  if (error.argument === "name") {
    return new Failure(
      `there is already a sweep named ${name} on these servers: --resume continues it, --replace starts over, --name gives this one another name`,
      2,
    );
  }
  const [, before] = /^(.*), which the sweep was started with$/s.exec(error.expected ?? "") ?? [];
  if (before !== undefined) {
    const difference = differenceIn(error.argument ?? "", before, error.given ?? "");
    return new Failure(`--resume: the sweep ${name} was started ${difference}; give this one another --name`, 2);
  }
  return new Failure(error.message, 2);
}

/** Reports a sweep on standard error: one line in a terminal, elsewhere a line for each twentieth of the runs. */
function progressOf(visible: boolean, isRemote: boolean, startWorkers: string) {
  if (!visible) return { tell: () => {}, stop: () => {} };
  const { isTTY = false } = process.stderr;
  // Some terminals do not report their size.
  const columns = process.stderr.columns || 80;
  let status: SweepStatus | undefined;
  // Trials that waited or ran according to the last event, without those that have ended since; and the running ones among them.
  let [open, running] = [0, 0];
  // The number of workers, and of trials that were given back.
  let around = "";
  let [last, warned, due, shown] = [-1, false, false, false];
  const clear = () => {
    if (shown) process.stderr.write("\r\u001b[K");
    shown = false;
  };
  const tellLine = (text: string) => {
    clear();
    say(text);
  };
  const show = () => {
    if (!status) return;
    const line = readable(lineOf(status, Math.min(running, open), around));
    if (isTTY) {
      process.stderr.write(`\r\u001b[K${line.slice(0, columns - 1)}`);
      shown = true;
    } else if (due) tellLine(line);
    due = false;
  };
  return {
    tell(event: SweepEvent): void {
      if (event.kind === "queue") {
        ({ open, running } = event);
        if (isRemote)
          around = `, ${counted(event.workers, "worker")}${event.retried > 0 ? `, ${event.retried} again` : ""}`;
        if (isRemote && !warned && open > 0 && running === 0 && !event.idle) {
          warned = true;
          const why = event.absence ?? `start some with: ${startWorkers}`;
          tellLine(`no worker takes trials yet; ${why}`);
        }
      } else if (event.kind === "rung") {
        // The rung before has ended.
        open = 0;
        show();
        open = event.trials;
        tellLine(`  ${counted(event.trials, "trial")} of ${event.budget} steps`);
      } else if (event.kind === "rejected") tellLine(`rejected a result: ${event.reason}`);
      else {
        ({ status } = event);
        if (event.kind === "trial") open = Math.max(0, open - 1);
        const part = Math.floor((20 * status.ended) / status.total);
        due ||= part !== last;
        last = part;
        // In this process, a queue event follows immediately.
        if (!isRemote && event.kind === "trial") return;
      }
      show();
    },
    stop(): void {
      open = 0;
      if (!isTTY) show();
      clear();
    },
  };
}

function lineOf({ ended, total, failed, best }: SweepStatus, running: number, around: string): string {
  const values = Object.entries(best?.parameters ?? {}).map(
    ([name, value]) => `${name} ${typeof value === "number" ? Number(value.toPrecision(3)) : value}`,
  );
  const found = best ? `   best ${best.value.toPrecision(3)}: ${values.join(", ")}` : "";
  const lost = failed > 0 ? `, ${failed} failed` : "";
  return `  ${ended} of ${total}${lost}${running === 0 || ended === total ? "" : `, ${running} running`}${around}${found}`;
}
