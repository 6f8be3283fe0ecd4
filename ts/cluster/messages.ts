// What a coordinator and its workers say to each other, and how it is read: whatever is not as it should be is undefined.
import type { ErrorCode, ErrorDetails } from "../checks/errors.js";
import { decode, encode } from "./codec.js";

/** Raised when a message means something else than before. It is part of the subjects, so that versions never meet. */
export const PROTOCOL = 1;

/** Bytes that lie in the store: where, and how many. */
export interface StoredValue {
  readonly key: string;
  readonly chunks: number;
  readonly bytes: number;
}

/** A task as a worker gets it. */
export interface TaskMessage {
  /** Which task; answers name it. */
  readonly id: string;
  /** Whose task, which is where the answer goes. */
  readonly session: string;
  /** What the body refers to, in its order: where it lies, or itself, where it is small. */
  readonly values: readonly (StoredValue | Uint8Array)[];
  /** What is to be done; where it is too large for a message, the last of the values. */
  readonly body: Uint8Array | undefined;
}

/** What a worker could not do. */
export interface TaskFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

/** A part of an answer. */
export interface AnswerMessage {
  readonly id: string;
  readonly worker: string;
  /** `done` has the answer, `failed` an error, `missing` tells that values are not in the store. */
  readonly kind: "done" | "failed" | "missing";
  /** Which part of how many. */
  readonly part: number;
  readonly parts: number;
  readonly body: Uint8Array;
}

/** What becomes of an answer: it was taken, the next part may come, it was wrong, nobody waits for it, or all parts are needed again. */
export type Receipt = "taken" | "next" | "refused" | "unknown" | "again";

/** What a worker tells of itself, again and again. */
export interface Announcement {
  readonly worker: string;
  /** What it speaks; all versions hear each other's announcements, and nothing else of each other. */
  readonly protocol: number;
  readonly fingerprint: string;
  readonly engine: string;
  readonly version: string;
  readonly threads: number;
  /** Tasks that it has in hand. */
  readonly tasks: readonly string[];
  /** Tasks that it has done since it began. */
  readonly done: number;
  /** Whether it is about to leave. */
  readonly leaving: boolean;
  /** The tasks of sweeps that it does. */
  readonly trials: readonly string[];
}

const isText = (value: unknown, most = 200): value is string => typeof value === "string" && value.length <= most;
const isCount = (value: unknown, least = 0): value is number =>
  Number.isSafeInteger(value) && (value as number) >= least;
/** What may stand between the dots of a subject. */
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

/** What can go wrong in a worker. */
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

/** Names of details, and what each is. */
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
