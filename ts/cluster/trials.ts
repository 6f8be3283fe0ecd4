// Messages between sweeps and workers. Reading an invalid message returns undefined.
import { decode, encode } from "./codec.js";
import { isToken } from "./messages.js";
import type { TrialParameters, TrialParameterValue } from "./space.js";

/** Data that a sweep carries as JSON. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** What the function of a trial is given. */
export interface Trial {
  /** The name of the sweep. */
  readonly sweep: string;
  /** The number of the trial within the sweep, from 0. */
  readonly trial: number;
  /** The values of the parameters that this trial is to try, by name. */
  readonly parameters: TrialParameters;
  /** With successive halving, the budget of this rung, such as steps; it includes what the trial has used before. Otherwise undefined. */
  readonly budget: number | undefined;
  /** The seed for anything random in the trial: different for each trial, and always the same for one. */
  readonly seed: number;
  /** The settings that the sweep gives to all trials. */
  readonly settings: Json;
  /** The files that the sweep gives to all trials, by name. */
  readonly files: Readonly<Record<string, Uint8Array>>;
  /** With successive halving, the state that the trial returned at the rung before; undefined at the first. */
  readonly state: Uint8Array | undefined;
  /** Aborts when the trial is no longer wanted here. */
  readonly signal: AbortSignal;
}

/** What the function of a trial returns: its value, and if you like a state and more information. */
export interface TrialOutcome {
  /** The number to minimize or maximize; finite. */
  readonly value: number;
  /** Bytes to continue from at the next rung, such as a checkpoint. Those of the best trial are in the result of the sweep. */
  readonly state?: Uint8Array;
  /** Anything else for the results: JSON of at most 100,000 characters. */
  readonly info?: Json;
}

/** Runs a trial and returns its value, or a `TrialOutcome` to give more. What it throws becomes the message of the failed trial. */
export type TrialFunction = (trial: Trial) => number | TrialOutcome | Promise<number | TrialOutcome>;

/** A value in the bucket: its chunks and its size. */
export interface Pieces {
  readonly chunks: number;
  readonly bytes: number;
}

/** One rung of one trial, as it is queued. */
export interface TrialJob {
  /** The unique id of the sweep; names may be reused. */
  readonly id: string;
  readonly name: string;
  readonly task: string;
  readonly trial: number;
  readonly rung: number;
  readonly budget: number | undefined;
  readonly seed: number;
  readonly parameters: TrialParameters;
  /** Where the settings and files are stored. */
  readonly shared: Pieces;
  /** The state from the rung before, and the attempt that wrote it. */
  readonly state: (Pieces & { readonly attempt: string }) | undefined;
  /** Deliveries after which the trial counts as failed. */
  readonly attempts: number;
  /** Milliseconds after which the trial counts as failed. */
  readonly timeout: number | undefined;
}

/** The part of a job that differs from trial to trial. */
export type OwnJob = Pick<TrialJob, "trial" | "rung" | "budget" | "seed" | "parameters" | "state">;

/** The result of a job. */
export interface Report {
  readonly trial: number;
  readonly rung: number;
  /** NaN if it failed. */
  readonly value: number;
  /** Why it failed; otherwise undefined. */
  readonly message: string | undefined;
  readonly ms: number;
  readonly worker: string;
  readonly info: Json | undefined;
  readonly state: (Pieces & { readonly attempt: string }) | undefined;
}

export const jobKey = ({ trial, rung }: { trial: number; rung: number }) => `${trial}_${rung}`;

/** The key of the state that a report refers to. */
export const stateKey = (id: string, { trial, rung, state }: Report) =>
  `states.${id}.${jobKey({ trial, rung })}.${state?.attempt}`;

export const MOST_INFO = 100_000;
const MOST_MESSAGE = 2000;

const isCount = (value: unknown, least = 0): value is number =>
  Number.isSafeInteger(value) && (value as number) >= least;
const isPositive = (value: unknown): value is number => Number.isFinite(value) && (value as number) > 0;

function parsed(text: unknown): unknown {
  try {
    return typeof text === "string" ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

function readPieces(value: unknown): (Pieces & { attempt: string }) | undefined {
  const { chunks, bytes, attempt = "" } = (value ?? {}) as Record<string, unknown>;
  if (!isCount(chunks, 1) || !isCount(bytes) || chunks > bytes + 1 || typeof attempt !== "string") return undefined;
  return { chunks, bytes, attempt };
}

function readParameters(text: unknown): TrialParameters | undefined {
  const value = parsed(text);
  if (value === null || typeof value !== "object" || Array.isArray(value)) return undefined;
  const isValue = (one: unknown): one is TrialParameterValue =>
    ["string", "boolean"].includes(typeof one) || Number.isFinite(one);
  // Without a prototype, so that no name can reach it.
  return Object.values(value).every(isValue) ? Object.assign(Object.create(null), value) : undefined;
}

export function encodeJob({ parameters, shared, state, ...rest }: TrialJob): Uint8Array {
  const texts = { parameters: JSON.stringify(parameters), shared: JSON.stringify(shared) };
  return encode({ ...rest, ...texts, state: state && JSON.stringify(state) });
}

export function readJob(message: Uint8Array): TrialJob | undefined {
  const fields = decode(message) ?? {};
  const { id, name, task, trial, rung, budget, seed, attempts, timeout } = fields;
  if (!isToken(id) || !isToken(name) || !isToken(task) || !isCount(trial) || !isCount(rung)) return undefined;
  if (!isCount(seed) || !isCount(attempts, 1)) return undefined;
  if (budget !== undefined && !isPositive(budget)) return undefined;
  if (timeout !== undefined && !isPositive(timeout)) return undefined;
  const parameters = readParameters(fields.parameters);
  const shared = readPieces(parsed(fields.shared));
  const state = fields.state === undefined ? undefined : readPieces(parsed(fields.state));
  if (!parameters || !shared) return undefined;
  if (fields.state !== undefined && !isToken(state?.attempt)) return undefined;
  return { id, name, task, trial, rung, budget, seed, parameters, shared, state, attempts, timeout };
}

export function encodeReport({ info, state, message, value, ...rest }: Report): Uint8Array {
  const texts = { info: info === undefined ? undefined : JSON.stringify(info), state: state && JSON.stringify(state) };
  return encode({ ...rest, ...texts, value, message: message?.slice(0, MOST_MESSAGE) });
}

export function readReport(bytes: Uint8Array): Report | undefined {
  const fields = decode(bytes) ?? {};
  const { trial, rung, value, message, ms, worker } = fields;
  if (!isCount(trial) || !isCount(rung) || !isToken(worker) || typeof value !== "number") return undefined;
  if (typeof ms !== "number" || !(ms >= 0 && ms < 2 ** 53)) return undefined;
  const failed = typeof message === "string";
  if (
    failed ? !Number.isNaN(value) || message.length > MOST_MESSAGE : message !== undefined || !Number.isFinite(value)
  ) {
    return undefined;
  }
  if (fields.info !== undefined && (typeof fields.info !== "string" || fields.info.length > MOST_INFO))
    return undefined;
  const info = parsed(fields.info) as Json | undefined;
  if (fields.info !== undefined && info === undefined) return undefined;
  const state = fields.state === undefined ? undefined : readPieces(parsed(fields.state));
  if (fields.state !== undefined && !isToken(state?.attempt)) return undefined;
  return { trial, rung, value, message: failed ? message : undefined, ms, worker, info, state };
}

/** The report of this rung of this trial; undefined if the bytes are invalid or belong to another. */
export function reportOf({ trial, rung }: { trial: number; rung: number }, bytes: Uint8Array): Report | undefined {
  const report = readReport(bytes);
  return report?.trial === trial && report.rung === rung ? report : undefined;
}

/** Sent by a worker when the server has no room for a result. */
export const encodeTrouble = (message: string): Uint8Array => encode({ message: message.slice(0, MOST_MESSAGE) });

export function readTrouble(bytes: Uint8Array): string | undefined {
  const { message } = decode(bytes) ?? {};
  return typeof message === "string" && message.length <= MOST_MESSAGE ? message : undefined;
}

/** What all trials of a sweep share. */
export interface Shared {
  readonly settings: Json;
  readonly files: Readonly<Record<string, Uint8Array>>;
}

const FILE = "file ";

export function encodeShared({ settings, files }: Shared): Uint8Array {
  const named = Object.entries(files).map(([name, bytes]) => [FILE + name, bytes]);
  return encode({ settings: JSON.stringify(settings), ...Object.fromEntries(named) });
}

export function readShared(bytes: Uint8Array): Shared | undefined {
  const { settings: text, ...rest } = decode(bytes) ?? {};
  const settings = parsed(text) as Json | undefined;
  if (settings === undefined) return undefined;
  const files: Record<string, Uint8Array> = Object.create(null);
  for (const [name, value] of Object.entries(rest)) {
    if (!name.startsWith(FILE) || !(value instanceof Uint8Array)) return undefined;
    files[name.slice(FILE.length)] = value;
  }
  return { settings, files };
}
