// Model files of `train`: a network or equations, with the columns, units and settings of the training.
import {
  type Activation,
  type Best,
  type Field,
  load,
  type Method,
  type Optimizer,
  type ProgramField,
  save,
} from "../index.js";
import type { Regimen } from "./dosed-table.js";
import { isDoseColumns, isRecord } from "./doses.js";
import { Failure } from "./failure.js";
import { isFit } from "./fit-file.js";
import { fromModel, type Source } from "./input.js";
import type { Format } from "./table.js";
import { usesTime } from "./text-model.js";
import { CLOCKS, type Clock } from "./time.js";
import type { Units } from "./units.js";

/** The settings of a training. Together with the data, they decide every bit of the model. */
export interface Settings extends Regimen {
  readonly model: "mlp" | "hamiltonian" | "equations";
  /** The text of the equations, if they are the model; otherwise null. */
  readonly equations: string | null;
  readonly hidden: readonly number[];
  readonly activation: Activation;
  readonly solver: Method;
  readonly rtol: number;
  readonly steps: number;
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly batch: number;
  /** Observations in the longest windows; null if chosen from the data. */
  readonly window: number | null;
  readonly seed: number;
  readonly validation: number;
  /** Early stopping, in validations; 0 for never. */
  readonly patience: number;
  /** How many earlier values of each column are part of the state. */
  readonly delays: number;
  /** The time between delayed values, as in the table; null if chosen from the data. */
  readonly lag: number | null;
  /** Hidden dimensions, zero at the beginning of each trajectory. */
  readonly extra: number;
  /** Whether f depends on the time. */
  readonly withTime: boolean;
  /** The period of f in time; null if it is not periodic. */
  readonly period: number | null;
  /** The states that receive infusions; the rate of each is another state. */
  readonly infused: readonly string[];
}

/** The metadata of a model file, beside the field. */
export interface Description {
  readonly time: string;
  /** The format of the times. */
  readonly clock: Clock;
  readonly id: string | null;
  readonly state: readonly string[];
  readonly units: Units;
  readonly settings: Settings;
  /** The options for the format of the table. */
  readonly format: Format;
  readonly data: {
    readonly sha256: string;
    /** The hash of the separate table of doses, if there is one. */
    readonly doses?: string;
    readonly trajectories: number;
    readonly observations: number;
  };
  /** The best validation so far of an unfinished training; null afterwards. JSON has no infinity: a loss of null stands for it. */
  readonly best: { readonly step: number; readonly validation: number | null } | null;
  readonly finished: { readonly steps: number; readonly loss: number; readonly validation: number | null } | null;
}

export interface ModelFile {
  readonly network: Field<"float32">;
  readonly optimizer: Optimizer<"float32"> | undefined;
  readonly description: Description;
  readonly best: Best<"float32"> | undefined;
}

const KEY = "symplectic-adjoint.training";
const BEST = "best.parameters";

/**
 * The layout of a state: clocks, whose slopes are known; observed columns, now and at each lag before; and dimensions that begin at zero,
 * such as rates of infusions.
 */
export interface StateLayout {
  readonly clocks: number;
  readonly observed: number;
  readonly extra: number;
  readonly size: number;
}

export function layoutOf({ delays, withTime, period, ...rest }: Settings, columns: number): StateLayout {
  const clocks = (withTime ? 1 : 0) + (period === null ? 0 : 2);
  const observed = columns * (1 + delays);
  const extra = rest.extra + rest.infused.length;
  return { clocks, observed, extra, size: clocks + observed + extra };
}

/** Refuses doses that a model does not expect, and missing ones that it does. */
export function checkDoses({ settings }: Description, given: Source | undefined, isTable: boolean): void {
  const { doses } = settings;
  if (given && doses === null) throw new Failure("--doses: the model was trained without doses", 2);
  if (given && isTable && !doses?.apart) {
    throw new Failure("--doses: expected the doses in the table, as in the training", 2);
  }
  if (isTable && doses?.apart && !given) {
    throw new Failure("expected --doses as well: the model was trained with a table of doses", 2);
  }
}

/** The bytes of a model file; `training` adds what an unfinished training continues from. */
export function modelBytes(
  network: Field<"float32">,
  description: Description,
  unfinished?: { optimizer: Optimizer<"float32">; best: Best<"float32"> | undefined },
): Uint8Array {
  const best = unfinished?.best;
  return save(network, {
    metadata: {
      [KEY]: JSON.stringify({ ...description, best: best ? { step: best.step, validation: best.validation } : null }),
    },
    ...(unfinished && { optimizer: unfinished.optimizer }),
    ...(best && { tensors: { [BEST]: { shape: [best.parameters.length], data: best.parameters } } }),
  });
}

/** Reads a model file of `train`. */
export function readModel(source: Source): ModelFile {
  const { name: file, bytes } = source;
  if (isFit(source))
    throw new Failure(`${file}: a model of fit, which predict and info read; this command reads models of train`);
  const { field: network, optimizer, metadata, tensors } = fromModel(source, () => load(bytes, { dtype: "float32" }));
  try {
    const text = metadata.get(KEY);
    if (text === undefined)
      throw new Failure(`${file}: not trained by this command, which saves columns and units with the model`);
    const description = descriptionOf(file, text, network);
    return { network, optimizer, description, best: bestOf(file, description, network, tensors.get(BEST)?.data) };
  } catch (error) {
    optimizer?.dispose();
    network.dispose();
    throw error;
  }
}

function bestOf(
  file: string,
  { best }: Description,
  network: Field,
  parameters: Float32Array | Float64Array | undefined,
): Best<"float32"> | undefined {
  // An infinite loss is not a best one, though earlier versions stored it.
  if (!best || best.validation === null) return undefined;
  const usable = parameters instanceof Float32Array && parameters.length === network.parameters.length;
  if (!usable || !parameters.every(Number.isFinite)) {
    throw new Failure(`${file}: the best parameters of its training are missing`);
  }
  return { step: best.step, validation: best.validation, parameters };
}

function descriptionOf(file: string, text: string, network: Field): Description {
  try {
    const told = JSON.parse(text) as Description;
    // Earlier versions stored neither equations nor doses. The order stays the same, so that a resumed training ends with the same bytes.
    const none = Object.entries({ equations: null, doses: null, mdv: null, initial: {}, infused: [] });
    const absent = none.filter(([name]) => !Object.hasOwn(told.settings, name));
    const description = { ...told, settings: { ...told.settings, ...Object.fromEntries(absent) } };
    if (isValidDescription(description, network)) return description;
  } catch {
    // Metadata that cannot be read is treated as invalid.
  }
  throw new Failure(`${file}: its columns and units cannot be read`);
}

/** Whether a description is valid, as far as this command relies on it; may throw instead of returning false. */
function isValidDescription(description: Description, network: Field): boolean {
  const { state, units, time, clock, id, settings, format, data, best } = description;
  const { log, mean, scale, timeScale, lag, origin, spread } = units;
  const { model, equations, hidden, activation, solver, steps, batch, seed, window, patience } = settings;
  const { rtol, learningRate, weightDecay, validation, delays, extra, withTime, period } = settings;
  const { doses, mdv, initial, infused } = settings;
  const origins = Object.values(initial).map((origin) => ("number" in origin ? origin.number : origin.column));
  const texts: readonly unknown[] = [...state, time, activation, solver, data.sha256];
  const numbers = [...mean, ...scale, timeScale, lag, origin, spread, rtol, learningRate, weightDecay, validation];
  const counts = [...hidden, steps, batch, ...(window === null ? [] : [window])];
  const naturals = [seed, patience, delays, extra, ...(best === null ? [] : [best.step])];
  const positives = [
    ...scale,
    timeScale,
    spread,
    units.unit ?? 1,
    ...[period, settings.lag].filter((value) => value !== null),
  ];
  const alone = delays === 0 && extra === 0 && period === null;
  const plain = alone && !withTime;
  return (
    [state, log, mean, scale].every((column) => Array.isArray(column) && column.length === state.length) &&
    [hidden, infused].every(Array.isArray) &&
    texts.every((text) => typeof text === "string") &&
    new Set(state).size === state.length &&
    (id === null || typeof id === "string") &&
    CLOCKS.includes(clock) &&
    Object.values(format).every((text) => typeof text === "string") &&
    log.every((flag) => typeof flag === "boolean") &&
    numbers.every(Number.isFinite) &&
    positives.every((value) => Number.isFinite(value) && value > 0) &&
    (delays === 0) === (lag === 0) &&
    lag >= 0 &&
    typeof withTime === "boolean" &&
    (model === "mlp" || (model === "hamiltonian" && plain) || (model === "equations" && alone)) &&
    (model === "equations" ? typeof equations === "string" : equations === null) &&
    (doses === null || isDoseColumns(doses)) &&
    (mdv === null || typeof mdv === "string") &&
    isRecord(initial) &&
    origins.every((origin) => typeof origin === "string" || Number.isFinite(origin)) &&
    [...Object.keys(initial), ...Object.keys(doses?.factors ?? {}), ...infused].every((name) => state.includes(name)) &&
    (doses === null || delays === 0) &&
    counts.every((count) => Number.isSafeInteger(count) && count >= 1) &&
    naturals.every((natural) => Number.isSafeInteger(natural) && natural >= 0) &&
    (best === null || best.validation === null || Number.isFinite(best.validation)) &&
    isConsistent(description, network)
  );
}

/** Whether the field matches the settings: the size of its state, or the trained equations. */
function isConsistent({ settings, state }: Description, network: Field): boolean {
  const { stateSize, outputSize } = network;
  if (settings.model === "equations") {
    const { equations, states } = network as ProgramField;
    const same = equations === settings.equations && states.join() === state.join();
    return same && settings.withTime === usesTime(equations) && outputSize === stateSize;
  }
  const { size, clocks } = layoutOf(settings, state.length);
  return stateSize === size && outputSize === size - clocks;
}
