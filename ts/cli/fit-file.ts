// Model files of fits: the equations with their estimates and standard errors, and how tables are mapped to measurements.
import { load, loadTensors, type Method, type ProgramField, save } from "../index.js";
import { isExpression } from "./column-expression.js";
import { isDoseColumns, isRecord } from "./doses.js";
import { Failure } from "./failure.js";
import type { InitialOrigin, Mapping, Origin } from "./fit-mapping.js";
import type { FitCommandOptions } from "./fit-request.js";
import type { FitNumbers } from "./fit-run.js";
import type { FitTask } from "./fit-task.js";
import { fromModel, type Source } from "./input.js";
import type { Dose, Format } from "./table.js";
import { equationsField } from "./text-model.js";
import { CLOCKS, type Clock } from "./time.js";

const KEY = "symplectic-adjoint.fit";

/** An estimate in a file. JSON has neither NaN nor infinity: they are null. */
export interface SavedEstimate {
  readonly value: number;
  readonly standardError: number | null;
  readonly interval: readonly [number | null, number | null];
  readonly start: number;
  readonly fixed: boolean;
  readonly atBound: "lower" | "upper" | null;
}

/** A fitted trajectory. */
export interface SavedTrajectory {
  readonly name: string;
  /** The time at which it begins, as in the table. */
  readonly begin: number;
  readonly end: number;
  readonly y0: readonly number[];
  readonly arguments: Readonly<Record<string, number>>;
  /** The times of its doses are those of the table. */
  readonly doses?: readonly Dose[];
}

/** The metadata of a fit's model file. */
export interface FitDescription extends Mapping {
  readonly clock: Clock;
  readonly format: Format;
  readonly settings: FitCommandOptions;
  readonly estimates: Readonly<Record<string, SavedEstimate>>;
  /** Names of the rows and columns of `covariance`; both are null if the fit was stopped. */
  readonly freeNames: readonly string[] | null;
  readonly covariance: readonly (number | null)[] | null;
  readonly trajectories: readonly SavedTrajectory[];
  readonly fit: Readonly<Record<string, string | number | boolean | null>>;
}

/** A fit's model file. */
export interface FitFile {
  readonly field: ProgramField<"float64">;
  readonly description: FitDescription;
}

/** The values of all estimates, by name. */
export type Values = Readonly<Record<string, number>>;

/** Estimates without errors, from the last iteration of a stopped fit. */
export function unfinished(task: FitTask, values: Values): Readonly<Record<string, SavedEstimate>> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => {
      const own = (task.options.parameters as Record<string, { start: number; fixed?: boolean }>)[name];
      const rest = { standardError: null, interval: [null, null] as const, atBound: null };
      return [name, { value, ...rest, start: own?.start ?? value, fixed: own?.fixed ?? false }];
    }),
  );
}

/** Estimates as a file has them. */
export function estimatesOf({ parameters }: FitNumbers): Readonly<Record<string, SavedEstimate>> {
  const finite = (value: number) => (Number.isFinite(value) ? value : null);
  return Object.fromEntries(
    Object.values(parameters).map(({ name, value, standardError, interval: [lower, upper], start, fixed, atBound }) => [
      name,
      {
        value,
        standardError: finite(standardError),
        interval: [finite(lower), finite(upper)],
        start,
        fixed,
        atBound: atBound ?? null,
      },
    ]),
  );
}

/** The fitted trajectories, with their own estimates. */
export function trajectoriesOf({ states, members }: FitTask, values: Values): SavedTrajectory[] {
  const initial = (state: string, name: string) => values[`${state}(0)[${name}]`] ?? values[`${state}(0)`];
  return members.map(({ name, t0, times, y0, arguments: args, doses }) => ({
    name,
    begin: t0,
    end: times.at(-1) as number,
    y0: states.map((state, i) => initial(state, name) ?? (y0[i] as number)),
    arguments: Object.fromEntries(
      Object.entries(args).map(([argument, value]) => [argument, values[`${argument}[${name}]`] ?? value]),
    ),
    ...(doses.length > 0 && { doses }),
  }));
}

/** The bytes of a model file. */
export function fitBytes(task: FitTask, values: Values, description: FitDescription): Uint8Array {
  const args = [...Object.keys(task.mapping.arguments), ...task.mapping.individual];
  const field = equationsField("equations", task.text, "float64", args);
  try {
    field.parameters = Float64Array.from(task.parameters, (name) => values[name] as number);
    return save(field, { metadata: { [KEY]: JSON.stringify(description) } });
  } finally {
    field.dispose();
  }
}

/** Whether a model file is that of a fit. */
export const isFit = (source: Source) => fromModel(source, () => loadTensors(source.bytes)).metadata.has(KEY);

/** Reads a fit's model file. The caller disposes of the field. */
export function readFit(source: Source): FitFile {
  const { name: file, bytes } = source;
  const { field, optimizer, metadata } = fromModel(source, () => load(bytes, { dtype: "float64" }));
  optimizer?.dispose();
  const text = metadata.get(KEY);
  try {
    const description = JSON.parse(text ?? "null") as FitDescription;
    if (isSound(description, field as ProgramField)) return { field: field as ProgramField<"float64">, description };
  } catch {
    // Metadata that cannot be read is treated as invalid.
  }
  field.dispose();
  throw new Failure(
    text === undefined ? `${file}: not fitted by this command` : `${file}: its description of the fit cannot be read`,
  );
}

const isText = (value: unknown): value is string => typeof value === "string";
const isFiniteOrNull = (value: unknown) => value === null || Number.isFinite(value);

function isOrigin(origin: InitialOrigin | Origin): boolean {
  if (!isRecord(origin)) return false;
  const values = Object.values(origin);
  return (
    values.length === 1 &&
    (!("expression" in origin) || (isText(origin.expression) && isExpression(origin.expression))) &&
    (("number" in origin && Number.isFinite(origin.number)) ||
      (("column" in origin || "first" in origin || "expression" in origin) && isText(values[0])))
  );
}

/** Whether a description is valid, as far as this command relies on it; may throw instead of returning false. */
function isSound(
  description: FitDescription,
  { states, entries, argumentNames, equations, outputSize, stateSize }: ProgramField,
): boolean {
  const { time, id, t0, clock, format, observed, arguments: args, initial, estimated, individual } = description;
  const { estimates, trajectories, settings, covariance, freeNames, fit, doses = null, mdv = null } = description;
  const names = [...Object.keys(args), ...individual];
  return (
    isText(equations) &&
    outputSize === stateSize &&
    isText(time) &&
    (t0 === undefined || Number.isFinite(t0)) &&
    (id === null || isText(id)) &&
    CLOCKS.includes(clock) &&
    (doses === null || isDoseColumns(doses)) &&
    (mdv === null || isText(mdv)) &&
    [args, initial, estimated, estimates, fit].every(isRecord) &&
    Array.isArray(individual) &&
    Object.values(format).every(isText) &&
    observed.length > 0 &&
    observed.every(({ column, expression }) => isText(column) && isText(expression)) &&
    names.length === argumentNames.length &&
    names.every((name) => argumentNames.includes(name)) &&
    Object.values(args).every(isOrigin) &&
    Object.entries(initial).every(([state, origin]) => states.includes(state) && isOrigin(origin)) &&
    Object.entries(estimated).every(([state, { shared }]) => states.includes(state) && typeof shared === "boolean") &&
    states.every((state) => Object.hasOwn(initial, state) || Object.hasOwn(estimated, state)) &&
    Object.keys(entries).every((name) => isRecord(estimates[name])) &&
    Object.values(estimates).every(
      ({ value, standardError, interval, start }) =>
        Number.isFinite(value) &&
        isFiniteOrNull(standardError) &&
        interval.every(isFiniteOrNull) &&
        Number.isFinite(start),
    ) &&
    trajectories.every(
      ({ name, begin, end, y0, arguments: own, doses = [] }) =>
        isText(name) &&
        Number.isFinite(begin) &&
        Number.isFinite(end) &&
        y0.length === states.length &&
        y0.every(Number.isFinite) &&
        doses.every(
          ({ state, time, amount, duration }) =>
            states.includes(state) && [time, amount, duration].every(Number.isFinite) && duration >= 0,
        ) &&
        names.every((argument) => Number.isFinite(own[argument])),
    ) &&
    isText(settings.solver) &&
    [settings.rtol, settings.atol, settings.level].every((value) => Number.isFinite(value) && value > 0) &&
    ((covariance === null && freeNames === null) ||
      (Array.isArray(covariance) &&
        Array.isArray(freeNames) &&
        covariance.length === freeNames.length ** 2 &&
        covariance.every(isFiniteOrNull) &&
        freeNames.every(isText)))
  );
}

/** The solver options of a fit. */
export const solverOf = ({ settings: { solver, rtol, atol } }: FitDescription) => ({
  method: solver as Method,
  rtol,
  atol,
});
