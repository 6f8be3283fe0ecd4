// Definitions of sweeps: what a sweep was started with, and where its trials and results are stored.
import type { KV } from "@nats-io/kv";
import { refused, SymplecticAdjointError } from "../checks/errors.js";
import { isObject } from "../checks/rules.js";
import type { Plan } from "./board.js";
import { type Client, codeOf } from "./client.js";
import type { Rungs } from "./halving.js";
import { isToken } from "./messages.js";
import { pointsFrom, SAMPLERS, type Sampler } from "./sampler.js";
import { type Dimension, MOST_TRIALS, samplesAt, samplesOf } from "./space.js";
import { dropSweepKeys, fetchValue, putValue } from "./store.js";
import { encodeShared, type Pieces, type Shared, type TrialJob } from "./trials.js";

/** Settings that are the same for all trials. */
export interface SweepHead extends Pick<TrialJob, "name" | "task" | "attempts" | "timeout"> {
  /** The options as JSON, to compare with those of an existing sweep of the same name. */
  readonly definition: string;
  readonly shared: Shared;
  /** The points, if a function chose them. */
  readonly points: Float64Array<ArrayBuffer> | undefined;
  readonly existing: "error" | "resume" | "replace";
  readonly stallMs: number;
  readonly replicas: number;
}

/** Where a sweep is stored. */
export interface StoredSweep {
  readonly id: string;
  readonly shared: Pieces;
  /** The points, if a function chose them. */
  readonly points?: Pieces;
  readonly definition: string;
}

/** Replaces the sampler's name if a function chose the points: their SHA-256. */
type ChosenPoints = `points ${string}`;

const isChosen = (sampler: unknown): sampler is ChosenPoints => /^points [0-9a-f]{64}$/.test(String(sampler));

/** The options that decide which trials there are. */
export interface Definition {
  /** The task that workers run; null for a function in this process. */
  readonly run: string | null;
  readonly space: readonly Dimension[];
  readonly trials: number;
  readonly sampler: Sampler | ChosenPoints;
  readonly seed: number;
  readonly direction: "minimize" | "maximize";
  readonly halving: Rungs;
}

/** The plan of trials that follows from a definition, and from its points if a function chose them. */
export function planOf({ space, sampler, seed, trials, direction, halving }: Definition, points?: Float64Array): Plan {
  const sign = direction === "minimize" ? 1 : -1;
  const parameters = points ? samplesAt(space, points) : samplesOf(space, sampler as Sampler, seed, trials);
  return { parameters, rungs: halving, sign, seed };
}

/** The stored points of a sweep; undefined if its sampler has a name. */
export async function pointsAt(
  client: Client,
  name: string,
  place: StoredSweep,
  { sampler, trials, space }: Definition,
): Promise<Float64Array | undefined> {
  if (!isChosen(sampler)) return undefined;
  const count = trials * space.length;
  const value = place.points && { key: `points.${place.id}`, ...place.points };
  const bytes = value && (await fetchValue(client, client.names.sweepBucket, value, 8 * count));
  const points = bytes && pointsFrom(bytes, count);
  if (points) return points;
  throw new SymplecticAdjointError("CONNECTION", `the points of the sweep ${name} are no longer on the servers`);
}

/** The definition of a stored sweep; undefined if it is invalid. */
export function readDefinition({ definition }: StoredSweep): (Definition & { readonly run: string }) | undefined {
  try {
    const { run, space, trials, sampler, seed, direction, halving } = JSON.parse(definition);
    if (!isToken(run) || !(SAMPLERS.includes(sampler) || isChosen(sampler)) || !Number.isInteger(trials))
      return undefined;
    if (trials < 1 || trials > MOST_TRIALS || !Array.isArray(halving?.budgets)) return undefined;
    if (!Array.isArray(space) || space.some((dimension) => !isObject(dimension))) return undefined;
    // JSON has no undefined.
    const budgets = halving.budgets.map((budget: number | null) => budget ?? undefined);
    return { run, space, trials, sampler, seed, direction, halving: { budgets, factor: halving.factor } };
  } catch {
    return undefined;
  }
}

/** Finds the sweep of this name, or creates it. */
export async function placeOf(client: Client, store: KV, head: SweepHead): Promise<StoredSweep> {
  const key = `definitions.${head.name}`;
  for (;;) {
    const entry = await store.get(key);
    const present = entry?.operation === "PUT" ? readPlace(entry.value) : undefined;
    if (present && head.existing === "error") {
      throw new SymplecticAdjointError(
        "OPTION",
        `name: there is already a sweep named ${head.name} on these servers; existing: "resume" continues it, existing: "replace" starts over`,
        { argument: "name", expected: "a new name", given: head.name },
      );
    }
    if (present && head.existing === "resume") {
      const difference = differenceOf(present.definition, head.definition);
      if (!difference) return present;
      const { argument, before, now } = difference;
      throw new SymplecticAdjointError(
        "OPTION",
        `${argument}: expected ${before}, which the sweep ${head.name} was started with, given ${now}; another sweep needs another name`,
        { argument, expected: `${before}, which the sweep was started with`, given: now },
      );
    }
    const id = client.core.nuid.next();
    const place: StoredSweep = { id, ...(await putParts(client, id, head)), definition: head.definition };
    const written = encodePlace(place);
    if (written.length > client.most)
      throw refused("OPTION", "space", "a space that fits a message", `${written.length} bytes`);
    try {
      if (entry) await store.update(key, written, entry.revision);
      else await store.create(key, written);
    } catch (error) {
      for (const kind of ["shared", "points"]) await dropSweepKeys(client, `${kind}.${id}`);
      // Another coordinator was faster: use its sweep.
      if (codeOf(error) === 10071 || codeOf(error) === 10164) continue;
      throw error;
    }
    if (present) await forget(client, present.id);
    return place;
  }
}

/** Stores what is too large for the definition. */
export async function putParts(
  client: Client,
  id: string,
  { shared, points }: SweepHead,
): Promise<Pick<StoredSweep, "shared" | "points">> {
  const put = async (kind: string, value: Uint8Array): Promise<Pieces> => {
    const { chunks, bytes } = await putValue(client, client.names.sweepBucket, `${kind}.${id}`, value);
    return { chunks, bytes };
  };
  return {
    shared: await put("shared", encodeShared(shared)),
    ...(points && { points: await put("points", new Uint8Array(points.buffer)) }),
  };
}

/** Removes everything that belongs to a sweep without a definition. */
export async function forget(client: Client, id: string): Promise<void> {
  const { manager, names } = client;
  await manager.streams.purge(names.trialStream, { filter: names.trialsOf(id) });
  for (const kind of ["results", "states", "shared", "points"]) await dropSweepKeys(client, `${kind}.${id}`);
}

export const encodePlace = (place: StoredSweep) => new TextEncoder().encode(JSON.stringify(place));

export function readPlace(bytes: Uint8Array): StoredSweep | undefined {
  try {
    const { id, shared, points, definition } = JSON.parse(new TextDecoder().decode(bytes));
    return typeof id === "string" && typeof definition === "string" ? { id, shared, points, definition } : undefined;
  } catch {
    return undefined;
  }
}

/** The first option that differs between two definitions, with both values. */
function differenceOf(before: string, now: string): { argument: string; before: string; now: string } | undefined {
  const [old, own] = [before, now].map(partsOf) as [Record<string, unknown>, Record<string, unknown>];
  const differs = (name: string) => JSON.stringify(old[name]) !== JSON.stringify(own[name]);
  const argument = Object.keys({ ...old, ...own }).find(differs);
  if (argument === undefined) return undefined;
  const [first, second] = [worded(old[argument]), worded(own[argument])];
  if (first !== second) return { argument, before: first, now: second };
  return { argument, before: JSON.stringify(old[argument]), now: JSON.stringify(own[argument]) };
}

/** A definition by option; the space, the settings and the files have one entry for each of their names. */
function partsOf(definition: string): Record<string, unknown> {
  const { space, settings, files, ...rest } = JSON.parse(definition) as Record<string, unknown>;
  const named = (prefix: string, entries: readonly (readonly [string, unknown])[]) =>
    Object.fromEntries(entries.map(([name, value]) => [`${prefix}.${name}`, value]));
  const dimensions = space as readonly Dimension[];
  const isRecord = settings !== null && typeof settings === "object" && !Array.isArray(settings);
  return {
    ...rest,
    ...named(
      "space",
      dimensions.map(({ name, ...own }) => [name, own] as const),
    ),
    space: dimensions.map(({ name }) => name),
    ...(isRecord ? named("settings", Object.entries(settings)) : { settings }),
    ...named("files", Object.entries(files as object)),
  };
}

/** An option's value, as messages show it. */
function worded(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return value.join(", ");
  const { values, min, max, points } = value as Record<string, unknown>;
  if (Array.isArray(values)) return values.join(",");
  if (min !== undefined) return [min, max, ...(points === undefined ? [] : [points])].join(":");
  return JSON.stringify(value).slice(0, 100);
}
