// symplectic-adjoint simulate: solves equations from a text file for given parameters and initial states.
import { nearest } from "../checks/names.js";
import { methodFor } from "../estimate/method.js";
import { equations, type Method, type ProgramField, type SymplecticAdjointError } from "../index.js";
import type { Times } from "./arguments.js";
import { type DoseColumns, readDoses } from "./doses.js";
import { Failure, failureOf } from "./failure.js";
import { dependsOnTime, dosesFrom } from "./fit-members.js";
import { checkLines, type Observed, observeFailure, observingField } from "./fit-observed.js";
import { checkFactors } from "./fit-task.js";
import { byTableTimes, solveDoses, solveTimes, type Timing } from "./fit-times.js";
import { isModel, type Source } from "./input.js";
import { counted } from "./number.js";
import type { NamedValues, Pair } from "./pairs.js";
import { solveObserved } from "./solve-observed.js";
import { csvOf, type Dose, type Format, listOf, unitOf } from "./table.js";
import {
  constantsOf,
  equationsFailure,
  equationsField,
  textOf,
  valuesOf,
  withArguments,
  withoutParameters,
} from "./text-model.js";
import { type Clock, type Time, writeTime } from "./time.js";

/** The options. */
export interface SimulateOptions {
  /** One or more values for each name; all combinations are solved. */
  readonly parameters: readonly NamedValues[];
  readonly initial: readonly NamedValues[];
  readonly times: Times;
  /** The time of the initial states; default: the first of `times`. */
  readonly t0?: Time;
  /** The name of the time column. */
  readonly time: string;
  /** Observed columns, each with its expression if that is not the name; default: the states. */
  readonly observe?: readonly Pair[];
  /** Default: as in `fit`. */
  readonly method?: Method;
  readonly rtol: number;
  readonly atol: number;
  /** Fixed steps, no longer than this. */
  readonly stepSize?: number;
  /** With dates: the unit of `t`, rates and `stepSize`; default: seconds. */
  readonly timeUnit?: string;
}

export interface SimulateRequest extends SimulateOptions {
  readonly equations: Source;
  readonly doses: { readonly source: Source; readonly columns: DoseColumns; readonly format: Format } | undefined;
}

/** More would exceed the memory, or the longest string. */
const MOST_NUMBERS = 1e7;
const MOST_TRAJECTORIES = 1e5;

export function simulate(request: SimulateRequest) {
  const { equations: source, observe, times, t0, time, rtol, atol, stepSize } = request;
  if (isModel(source)) {
    throw new Failure(`${source.name}: is a model file, which predict solves; expected equations as text`, 2);
  }
  const whole = textOf(source);
  const names = namesOf(source.name, whole, observe);
  const { states, observed, defaults } = names;
  checkParameters(source.name, whole, names, request.parameters);
  const starts = initialOf(states, request.initial);
  checkAll(source.name, whole, names, request.parameters, starts);
  const initial = states.map((state) => starts.get(state) as NamedValues);
  if (t0 && t0.clock !== times.clock) {
    throw new Failure(`--t0: expected a ${times.clock}, as in --times, given a ${t0.clock}`, 2);
  }
  const begin = t0?.value ?? (times.values[0] as number);
  if (times.values.some((time) => time < begin)) {
    throw new Failure(`--times: expected none before --t0, ${writeTime(begin, times.clock)}`, 2);
  }
  const unit = unitOf(times.clock, request, "in --times");
  const isStart = times.values.length === 1 && times.values[0] === begin;
  if (isStart && times.clock === "time of day" && !t0) throw new Failure(rangeHint(begin), 2);

  const all = [...request.parameters, ...initial];
  const varied = all.filter(({ values }) => values.length > 1);
  const columns = [...varied.map(({ name }) => name), time, ...observed.map(({ column }) => column)];
  const twice = columns.find((name, i) => columns.indexOf(name) < i);
  if (twice !== undefined) {
    throw new Failure(
      `expected another name for one of two columns ${listOf([twice])}; --time and --observe name them`,
      2,
    );
  }
  const count = varied.reduce((product, { values }) => product * values.length, 1);
  if (count > MOST_TRAJECTORIES || count * times.values.length * (columns.length + states.length) > MOST_NUMBERS) {
    const given = `${counted(count, "trajectory", "trajectories")} of ${counted(times.values.length, "time")}`;
    const most = `${MOST_TRAJECTORIES} trajectories and ${MOST_NUMBERS} numbers`;
    throw new Failure(`expected at most ${most} in the solution, given ${given}`, 2);
  }
  // All combinations; the last name changes fastest.
  const trajectories = all.reduce<readonly (readonly number[])[]>(
    (before, { values }) => before.flatMap((own) => values.map((value) => [...own, value])),
    [[]],
  );
  const places = new Map(all.map(({ name }, i) => [name, i]));
  const numberOf = (own: readonly number[], name: string) => own[places.get(name) as number] as number;

  const args = request.parameters.map(({ name }) => name);
  const { text } = withoutParameters(whole, args);
  const field = equationsField(source.name, text, "float64", args);
  try {
    // Solved as in a fit: from 0 if the equations do not depend on the time.
    const timing = { t0: begin, times: times.values, origin: dependsOnTime(text, observed) ? 0 : begin, unit };
    const doses = solveDoses(dosesOf(request, text, field, begin), timing);
    const method = request.method ?? methodFor(times.values.length, rtol);
    const options = stepSize === undefined ? { method, rtol, atol } : { method, stepSize };
    const labelOf = (k: number) => varied.map(({ name }) => `${name}=${numberOf(trajectories[k] as number[], name)}`);
    const solution = withTrajectoryNames(labelOf, timing, times.clock, () =>
      solveObserved(
        { field, observed, factors: request.doses?.columns.factors ?? {}, options },
        {
          y0: trajectories.map((own) => states.map((state) => numberOf(own, `${state}(0)`))),
          arguments: Object.fromEntries(args.map((name) => [name, trajectories.map((own) => numberOf(own, name))])),
          doses: trajectories.map(() => doses),
          ...solveTimes(timing),
        },
      ),
    );
    const written = times.values.map((value) => writeTime(value, times.clock));
    const rows = solution.flatMap((own, k) => {
      const label = varied.map(({ name }) => numberOf(trajectories[k] as number[], name));
      return own.map((values, i) => [...label, written[i] as number | string, ...values]);
    });
    const used = [...defaults].filter(([name]) => !args.includes(name));
    const parameters = Object.fromEntries([...used, ...request.parameters.map(numbersOf)]);
    const sizes = { rows: rows.length, trajectories: trajectories.length };
    const only = `--times has only ${writeTime(begin, times.clock)}, the time of the initial states, so that nothing is solved`;
    return {
      csv: csvOf(columns, rows),
      notes: isStart ? [`${only}; from:to:step, such as 0:10:0.5, gives more, and --t0 an earlier time of these`] : [],
      ...sizes,
      parameters,
      initial: Object.fromEntries(states.map((state, i) => [state, numbersOf(initial[i] as NamedValues)[1]])),
      ...options,
    };
  } finally {
    field.dispose();
  }
}

/** A hint for a time of day alone: it is how `from:to` without a step is read. */
function rangeHint(time: number): string {
  const text = `${Math.floor(time / 3600)}:${String(Math.floor(time / 60) % 60).padStart(2, "0")}`;
  return `--times: expected from:to:step, such as ${text}:STEP with a number for STEP, given ${text} alone, which is a time of day`;
}

/** A name with its value, or with its list of values. */
const numbersOf = ({ name, values }: NamedValues) =>
  [name, values.length === 1 ? (values[0] as number) : values] as const;

type EquationNames = ReturnType<typeof namesOf>;

/** The names of the equations and of the observations. `defaults` are values from the text; `missing` are names without one. */
function namesOf(file: string, text: string, observe: readonly Pair[] | undefined) {
  const missing = new Map<string, SymplecticAdjointError>();
  let field: ProgramField<"float64">;
  try {
    field = withArguments(missing, (args) => equations(text, { arguments: args, dtype: "float64" }));
  } catch (error) {
    throw equationsFailure(file, error);
  }
  const { states } = field;
  const defaults = new Map(Object.entries(valuesOf(field)));
  field.dispose();
  const pairs = observe ?? states.map((name): Pair => ({ name, value: undefined }));
  const observed = pairs.map(({ name, value }): Observed => ({ column: name, expression: value ?? name }));
  checkLines(observed);
  try {
    withArguments(missing, (args) => observingField(text, observed, states, args)).dispose();
  } catch (error) {
    throw observeFailure(error, text, observed, []);
  }
  return { states, observed, missing, defaults };
}

/** Refuses names that are not parameters. */
function checkParameters(
  file: string,
  text: string,
  { missing, defaults, states }: EquationNames,
  given: readonly NamedValues[],
): void {
  const known = [...defaults.keys(), ...missing.keys()];
  for (const { name } of given) {
    if (known.includes(name)) continue;
    const constant = constantsOf(text).find(([own]) => own === name);
    const hint = constant
      ? `; ${file} defines it: write "param ${name} = ${constant[1]}" there to set it`
      : states.includes(name.replace(/\(0\)$/, ""))
        ? "; --initial gives the initial states"
        : meant(name, known);
    throw new Failure(`--parameters: expected ${oneOf("parameters", known)}; given ${name}${hint}`, 2);
  }
}

/** The initial values by state. */
function initialOf(states: readonly string[], given: readonly NamedValues[]): Map<string, NamedValues> {
  const all = new Map<string, NamedValues>();
  for (const { name, values } of given) {
    const own = name.replace(/\(0\)$/, "");
    if (!states.includes(own)) {
      throw new Failure(`--initial: expected ${oneOf("states", states)}; given ${name}${meant(own, states)}`, 2);
    }
    if (all.has(own)) throw new Failure(`--initial: expected each state once, given ${own} twice`, 2);
    all.set(own, { name: `${own}(0)`, values });
  }
  return all;
}

/** Refuses equations with a parameter or an initial state that has no value. */
function checkAll(
  file: string,
  text: string,
  { missing, states, defaults }: EquationNames,
  parameters: readonly NamedValues[],
  initial: ReadonlyMap<string, NamedValues>,
): void {
  const rates = [...missing].filter(([name]) => parameters.every((one) => one.name !== name));
  const starts = states.filter((state) => !initial.has(state));
  if (rates.length + starts.length === 0) return;
  const lines = text.split(/\r\n|[\n\r]/).length;
  const places = rates.map(([name, { line = 0 }]) => {
    // Lines beyond the text are those of the observations.
    const place = line > lines ? "in --observe" : `line ${line}`;
    return `${name} (${place}${meant(name, [...states, ...defaults.keys()])})`;
  });
  const told = [
    ...(rates.length > 0 ? [`no value for ${shortened(places)}`] : []),
    ...(starts.length > 0 ? [`no initial value for ${shortened(starts)}`] : []),
  ];
  const settings = { parameters: rates.map(([name]) => name), initial: starts };
  const options = Object.entries(settings).flatMap(([option, names]) =>
    names.length === 0 ? [] : [`--${option} "${shortened(names.map((name) => `${name}=…`))}"`],
  );
  throw new Failure(`${file}: ${told.join(", and ")}; expected ${options.join(" and ")} as well`, 2);
}

/** Names for a message; of many, the first. */
const shortened = (names: readonly string[]) =>
  names.length > 20 ? `${names.slice(0, 20).join(", ")} and ${names.length - 20} more` : names.join(", ");

/** The known names, for a message about an unknown one. */
const oneOf = (noun: string, known: readonly string[]) =>
  known.length === 0 ? `none, because the equations have no ${noun}` : `${noun} of the equations: ${shortened(known)}`;

const meant = (name: string, known: readonly string[]) => {
  const near = nearest(name, known);
  return near === undefined ? "" : `; did you mean ${near}?`;
};

/** The doses of all trajectories. */
function dosesOf(
  { doses, time, times: { clock } }: SimulateRequest,
  text: string,
  { states, argumentNames }: ProgramField,
  begin: number,
): Dose[] {
  if (!doses) return [];
  const { source, columns, format } = doses;
  checkFactors(text, states, argumentNames, columns.factors);
  const read = readDoses(source, { time, trained: true }, format, columns, { clock, state: states });
  return dosesFrom({ doses: [...read.values()].flat() }, begin);
}

/** Solves; errors name the trajectory by its varied values, and times as written. */
function withTrajectoryNames<T>(
  labelOf: (trajectory: number) => string[],
  timing: Timing,
  clock: Clock,
  solve: () => T,
): T {
  try {
    return solve();
  } catch (error) {
    const failure = failureOf(error);
    if (!(failure instanceof Failure)) throw error;
    const message = failure.message.replace(/^trajectory (\d+): /, (_, k) => {
      const label = labelOf(Number(k));
      return label.length === 0 ? "" : `${label.join(", ")}: `;
    });
    throw new Failure(byTableTimes(message, [timing], clock));
  }
}
