// The task "train" of sweeps: runs the command `train` in a thread.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { Trial, TrialOutcome } from "../cluster.js";
import { Failure } from "./failure.js";

/** Options of `train` that a sweep may set. None names a file or an output: what comes over the network must not. */
const TRIAL_OPTIONS: readonly string[] = [
  ...["state", "time", "id", "log", "model", "delays", "lag", "extra", "with-time", "period", "hidden", "activation"],
  ...["method", "rtol", "steps", "learning-rate", "weight-decay", "batch", "window", "seed", "validation", "patience"],
  ...["dose-amount", "dose-state", "dose-factor", "dose-duration", "dose-rate", "dose-repeats", "dose-interval"],
  ...["mdv", "initial", "delimiter", "decimal", "comment", "encoding", "missing", "time-unit"],
];

/** Files that a sweep may send; each is passed as the option of its name. */
const TRIAL_FILES: Readonly<Record<string, string>> = { equations: "equations.txt", doses: "doses.csv" };

/** Folders of trials begin with this, followed by the id of their process. */
const FOLDERS = `symplectic-adjoint-trial-${hostname().replace(/\W/g, "_")}-`;

/** Removes folders of killed processes on this machine. */
export function clearTrialFolders(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(FOLDERS) ? Number.parseInt(name.slice(FOLDERS.length), 10) : Number.NaN;
    if (pid > 0 && !isAlive(pid)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // A process of another user is alive too.
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** Runs the command in a thread. */
function runCommand(args: readonly string[], signal: AbortSignal): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve, reject) => {
    // The built command line, which this module is part of.
    const thread = new Worker(new URL(import.meta.url), { argv: [...args], stdout: true, stderr: true });
    let [out, err] = ["", ""];
    thread.stdout.setEncoding("utf8").on("data", (text) => {
      out += text;
    });
    thread.stderr.setEncoding("utf8").on("data", (text) => {
      err += text;
    });
    const stop = () => void thread.terminate();
    signal.addEventListener("abort", stop, { once: true });
    thread.once("error", reject);
    thread.once("exit", (code) => {
      signal.removeEventListener("abort", stop);
      resolve({ code, out, err });
    });
    if (signal.aborted) stop();
  });
}

/** The options of a trial's training; parameters override settings. */
function argumentsOf({ parameters, settings, budget }: Trial): string[] {
  const { width, depth, ...own } = parameters;
  const all = new Map<string, unknown>(Object.entries({ ...(settings as object), ...own }));
  if (width !== undefined || depth !== undefined) all.set("hidden", hiddenOf(Number(width ?? 32), Number(depth ?? 2)));
  if (budget !== undefined) all.set("steps", budget);
  return [...all].flatMap(([name, value]) => {
    if (!TRIAL_OPTIONS.includes(name)) throw new Error(`train: a sweep has no option named ${name}`);
    return value === false ? [] : [value === true ? `--${name}` : `--${name}=${String(value)}`];
  });
}

function hiddenOf(width: number, depth: number): string {
  const isSize = (value: number, most: number) => Number.isInteger(value) && value >= 1 && value <= most;
  if (!isSize(width, 1e6) || !isSize(depth, 1000))
    throw new Error(`train: no network of width ${width} and depth ${depth}`);
  return Array(depth).fill(width).join(",");
}

/** Trains a model. The trial's value is the mean squared error on the held-out data, its state the model file. */
export async function trainTrial(trial: Trial): Promise<TrialOutcome> {
  const { files, signal } = trial;
  const folder = mkdtempSync(join(tmpdir(), `${FOLDERS}${process.pid}-`));
  try {
    const { data } = files;
    if (!data) throw new Error("train: expected a file called data");
    const table = join(folder, "data.csv");
    writeFileSync(table, data);
    const given = Object.entries(TRIAL_FILES).flatMap(([name, file]) => {
      if (!files[name]) return [];
      writeFileSync(join(folder, file), files[name]);
      return [`--${name}=${join(folder, file)}`];
    });
    const out = join(folder, "model.safetensors");
    // Nobody goes on from a checkpoint here.
    const own = ["--out", out, "--checkpoint", "1000000000", "--json"];
    const {
      code,
      out: said,
      err,
    } = await runCommand(["train", table, ...argumentsOf(trial), ...given, ...own], signal);
    if (code !== 0) {
      const message = err.replaceAll(join(folder, "/"), "").replace(/^error: /, "");
      throw new Failure(message.trim() || `train ended with status ${code}`, code);
    }
    const { validation, steps, bestStep, loss, parameters } = JSON.parse(said);
    if (validation === null) throw new Error("train: no error was measured: too few steps, or nothing held out");
    return { value: validation, state: readFileSync(out), info: { steps, bestStep, loss, parameters } };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
