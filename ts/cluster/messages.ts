// Messages between coordinators and workers. Reading an invalid message returns undefined.
import type { ErrorCode, ErrorDetails } from "../checks/errors.js";
import { decode, encode } from "./codec.js";

/** Increased when the meaning of a message changes. It is part of the subjects, so that versions never mix. */
export const PROTOCOL = 2;

/** Where a value is stored, and its size. */
export interface StoredValue {
  readonly key: string;
  readonly chunks: number;
  readonly bytes: number;
}

/** A task, as a worker receives it. */
export interface TaskMessage {
  /** The task's id, repeated in its answers. */
  readonly id: string;
  /** The session of the coordinator, to which the answers go. */
  readonly session: string;
  /** Values that the body refers to, in order: where each is stored, or the bytes themselves if there are few. */
  readonly values: readonly (StoredValue | Uint8Array)[];
  /** The body. If it is too large for a message, it is the last of the values. */
  readonly body: Uint8Array | undefined;
}

/** Why a worker could not complete a task. */
export interface TaskFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

/** One part of an answer. */
export interface AnswerMessage {
  readonly id: string;
  readonly worker: string;
  /** `done` carries the answer, `failed` an error; `missing` means that values are not in the store. */
  readonly kind: "done" | "failed" | "missing";
  /** The index of this part, and the number of parts. */
  readonly part: number;
  readonly parts: number;
  readonly body: Uint8Array;
}

/** Replies to an answer: it was taken, send the next part, it was wrong, no task waits for it, or send all parts again. */
export type Receipt = "taken" | "next" | "refused" | "unknown" | "again";

/** What a worker announces about itself at regular intervals. */
export interface Announcement {
  readonly worker: string;
  /** The worker's protocol version. Announcements are the only messages that all versions share. */
  readonly protocol: number;
  readonly fingerprint: string;
  readonly engine: string;
  readonly version: string;
  readonly threads: number;
  /** Ids of the tasks that it is computing. */
  readonly tasks: readonly string[];
  /** How many tasks it has completed since it started. */
  readonly done: number;
  /** Whether it is leaving. */
  readonly leaving: boolean;
  /** The tasks of sweeps that it offers. */
  readonly trials: readonly string[];
}

const isText = (value: unknown, most = 200): value is string => typeof value === "string" && value.length <= most;
const isCount = (value: unknown, least = 0): value is number =>
  Number.isSafeInteger(value) && (value as number) >= least;
/** A valid token of a NATS subject. */
export const isToken = (value: unknown): value is string => isText(value, 64) && /^[A-Za-z0-9_-]+$/.test(value);

function parsed(text: unknown): unknown {
  try {
    return typeof text === "string" ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

const isValue = (value: unknown): value is StoredValue => {
  const { key, chunks, bytes } = (value ?? {}) as Partial<StoredValue>;
  return isText(key) && /^[\w-]+\.[\w-]+$/.test(key) && isCount(chunks, 1) && isCount(bytes) && chunks <= bytes + 1;
};

export function encodeTask({ id, session, values, body }: TaskMessage): Uint8Array {
  const small = values.flatMap((value, i) => (value instanceof Uint8Array ? [[`value${i}`, value] as const] : []));
  const places = values.map((value) => (value instanceof Uint8Array ? null : value));
  return encode({ id, session, values: JSON.stringify(places), ...Object.fromEntries(small), body });
}

export function readTask(bytes: Uint8Array): TaskMessage | undefined {
  const { id, session, values: text, body, ...rest } = decode(bytes) ?? {};
  const places = parsed(text);
  if (!isToken(id) || !isToken(session)) return undefined;
  if (!Array.isArray(places) || places.length > 64) return undefined;
  const values = places.map((place, i) => (place === null ? rest[`value${i}`] : place));
  if (!values.every((value) => value instanceof Uint8Array || isValue(value))) return undefined;
  if (!(body instanceof Uint8Array) && values.length === 0) return undefined;
  return { id, session, values, body: body instanceof Uint8Array ? body : undefined };
}

export function encodeAnswer(answer: AnswerMessage): Uint8Array {
  return encode({ ...answer });
}

export function readAnswer(bytes: Uint8Array): AnswerMessage | undefined {
  const { id, worker, kind, part, parts, body } = decode(bytes) ?? {};
  if (!isToken(id) || !isToken(worker) || !(body instanceof Uint8Array)) return undefined;
  if (kind !== "done" && kind !== "failed" && kind !== "missing") return undefined;
  if (!isCount(part) || !isCount(parts, 1) || part >= parts) return undefined;
  return { id, worker, kind, part, parts, body };
}

export function encodeFailure({ code, message, details }: TaskFailure): Uint8Array {
  return encode({ code, message, details: JSON.stringify(details) });
}

/** Error codes that a worker may report. */
const CODES: readonly ErrorCode[] = [
  ...([
    "SHAPE",
    "DTYPE",
    "OPTION",
    "NON_FINITE",
    "MAX_STEPS",
    "STEP_UNDERFLOW",
    "MAX_EVENTS",
    "EVENT_GRAZING",
  ] as const),
  ...(["OUT_OF_MEMORY", "DISPOSED", "REENTRANT", "CALLBACK", "FILE", "WORKER", "UNSUPPORTED", "INTERNAL"] as const),
];

/** The details of an error that are passed on, with their types. */
const DETAILS: Readonly<Record<string, "string" | "number">> = {
  ...{ argument: "string", expected: "string", given: "string" },
  ...{ t: "number", h: "number", steps: "number", evaluations: "number", trajectory: "number", bytes: "number" },
};

export function readFailure(bytes: Uint8Array): TaskFailure | undefined {
  const { code, message, details: text } = decode(bytes) ?? {};
  const details = parsed(text);
  if (!CODES.includes(code as ErrorCode) || !isText(message, 10_000) || details === null || typeof details !== "object")
    return undefined;
  const known = Object.entries(details as object).filter(([name, value]) => typeof value === DETAILS[name]);
  return { code: code as ErrorCode, message, details: Object.fromEntries(known) };
}

export function encodeAnnouncement({ tasks, trials, ...rest }: Announcement): Uint8Array {
  return encode({ ...rest, tasks: tasks.join(" "), trials: trials.join(" ") });
}

export function readAnnouncement(bytes: Uint8Array): Announcement | undefined {
  const fields = decode(bytes) ?? {};
  const { worker, protocol, fingerprint, engine, version, threads, tasks, done, leaving, trials } = fields;
  if (!isToken(worker) || !isCount(protocol) || !isToken(fingerprint) || !isText(engine) || !isText(version))
    return undefined;
  if (!isCount(threads, 1) || threads > 4096 || !isText(tasks, 100_000) || !isCount(done)) return undefined;
  if (typeof leaving !== "boolean" || !isText(trials, 10_000)) return undefined;
  const listed = (text: string) => (text === "" ? [] : text.split(" "));
  const lists = { tasks: listed(tasks), trials: listed(trials) };
  return { worker, protocol, fingerprint, engine, version, threads, done, leaving, ...lists };
}
