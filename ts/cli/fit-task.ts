// What a fit is of: equations, a table, and what the options say of both, checked before anything is computed.
import { nearest } from "../checks/names.js";
import {
  equations,
  type FieldFitOptions,
  type ParameterOptions,
  type Prior,
  SymplecticAdjointError,
} from "../index.js";
import { columnsIn, isExpression, valueOfExpression } from "./column-expression.js";
import type { Unmatched } from "./doses.js";
import { Failure } from "./failure.js";
import { type Dosing, dosedSeries, dosingColumns, fitJumps, infusedBy } from "./fit-doses.js";
import { solveDoses, type Timing } from "./fit-times.js";
import type { Source } from "./input.js";
import { readNumber } from "./number.js";
import type { Bounds, Pair, Spread } from "./pairs.js";
import { checkColumns, type Dose, type Format, headerOf, listOf, readTable, type Series } from "./table.js";
import { constantsOf, equationsField, observingText, usesTime, withoutParameters } from "./text-model.js";
import { type Clock, type Time, writeTime } from "./time.js";

/** How a fit is done; the names are those of `leastSquares`. */
export interface FitOptions {
  readonly error: NonNullable<FieldFitOptions["error"]>;
  readonly loss: NonNullable<FieldFitOptions["loss"]>;
  readonly lossScale: number;
  readonly noise?: number | undefined;
  readonly starts: number;
  readonly seed: number;
  readonly level: number;
  readonly maxIterations: number;
  /** By default what `leastSquares` takes: dopri8, and dopri5 for many times or where derivatives by dopri8 are useless. */
  readonly solver?: NonNullable<FieldFitOptions["method"]> | undefined;
  readonly rtol: number;
  readonly atol: number;
}

/** What the options say of the equations and the table. */
export interface TaskRequest {
  readonly time: string;
  readonly id: string | undefined;
  /** Columns, each with the expression that predicts it if that is not its name; by default the states that are columns. */
  readonly observe: readonly Pair[] | undefined;
  /** Arguments of the equations, each with its column or number if that is not its name. */
  readonly arguments: readonly Pair[];
  /** Arguments that are estimated for each trajectory. */
  readonly individual: readonly Pair[];
  /** Initial states: a number, a column or an expression of columns. */
  readonly initial: readonly Pair[];
  /** Initial states that are estimated, as `hare(0)` or `hare`, perhaps with a start; for each trajectory, or for all together. */
  readonly estimate: readonly Pair[];
  readonly shared: readonly Pair[];
  /** The time of the initial states; by default that of the first row, where what is taken for one is no measurement. */
  readonly t0?: Time | undefined;
  /** How much rows count: a column of weights, or one of standard deviations. */
  readonly weights?: string | undefined;
  readonly sd?: string | undefined;
  readonly start: ReadonlyMap<string, number>;
  readonly bounds: ReadonlyMap<string, Bounds>;
  readonly log: readonly string[];
  readonly logit: readonly string[];
  readonly fix: readonly Pair[];
  /** Priors: of parameters, by mean and standard deviation, and of their logarithms, by median and standard deviation. */
  readonly prior?: ReadonlyMap<string, Spread> | undefined;
  readonly logPrior?: ReadonlyMap<string, Spread> | undefined;
  readonly format: Format;
  /** Doses, and the table that has them where they are apart. */
  readonly regimen?: Dosing;
  readonly dosing?: Source | undefined;
}

/** Where a number of each trajectory comes from: it is the same for all, stands in a column, or is computed from columns. */
export type Origin = { readonly number: number } | { readonly column: string } | { readonly expression: string };

/** Where an initial state comes from: besides, it may be the first measurement of its own column. */
export type InitialOrigin = Origin | { readonly first: string };

/** What is measured: a column, and the expression that predicts it. */
export interface Observed {
  readonly column: string;
  readonly expression: string;
}

/** How a table becomes measurements, for the fit and for predictions from it. */
export interface Mapping extends Dosing {
  readonly time: string;
  readonly id: string | null;
  readonly observed: readonly Observed[];
  readonly arguments: Readonly<Record<string, Origin>>;
  /** Of all states but those that are estimated from a start that is given. */
  readonly initial: Readonly<Record<string, InitialOrigin>>;
  /** Initial states that are estimated: of each trajectory, or one of all. */
  readonly estimated: Readonly<Record<string, { readonly shared: boolean }>>;
  readonly individual: readonly string[];
  /** The time of the initial states, where it is not that of the first row. */
  readonly t0?: number;
}

/** A trajectory, at the times of its table; its solve counts them from where it begins, if the equations do not depend on the time. */
interface Member extends Timing {
  readonly name: string;
  /** The line of each time. */
  readonly lines: readonly number[];
  /** What was measured, `[times, observed]`. */
  readonly y: readonly number[];
  readonly weights?: readonly number[];
  readonly y0: readonly number[];
  readonly arguments: Readonly<Record<string, number>>;
  readonly doses: readonly Dose[];
}

/** What is fitted, as plain data. */
export interface Task {
  readonly text: string;
  readonly states: readonly string[];
  /** The states that infusions go into. */
  readonly infused: readonly string[];
  readonly parameters: readonly string[];
  readonly mapping: Mapping;
  readonly clock: Clock;
  readonly members: readonly Member[];
  /** Initial states that are measurements, but are taken as exact. */
  readonly exact: readonly string[];
  /** Trajectories without a measurement that could be compared. */
  readonly skipped: readonly string[];
  readonly unmatched: Unmatched;
  /** Columns of the table that nothing is read from. */
  readonly unread: readonly string[];
  /** Options of `leastSquares`. */
  readonly options: Pick<FieldFitOptions, "parameters" | "initial" | "individual" | "jumps">;
}

/** Values that an earlier fit found, by the names of its results. */
export type Found = ReadonlyMap<string, number>;

/** Reads what is to be fitted. */
export function taskOf(given: TaskRequest, file: string, whole: string, data: Source, found: Found = new Map()): Task {
  const request = { ...given, start: startsOf(given) };
  const individual = request.individual.map(({ name }) => name);
  const named = request.arguments.map(({ name }) => name);
  const both = individual.find((name) => named.includes(name));
  if (both !== undefined)
    throw new Failure(`--individual: expected parameters that are not in --arguments, given ${both}`, 2);
  // A parameter that is named as an argument is one: its value is the start.
  const { text, values } = withoutParameters(whole, [...named, ...individual]);
  const field = fieldOf(file, text, [...named, ...individual]);
  const { states } = field;
  const parameters = Object.keys(field.entries);
  const initialValues = field.parameters.slice();
  field.dispose();

  const known = { time: request.time, id: request.id };
  const header = headerOf(data, known, request.format);
  const observed = observedOf(request, header, states);
  checkObserved(text, observed, states, header, [...named, ...individual]);
  const state = observed.map(({ column }) => column);
  checkColumns(data, { ...known, state, hint: observeHint(observed, known, header) }, request.format);
  if (request.weights !== undefined && request.sd !== undefined) {
    throw new Failure("--sd: cannot be combined with --weights, which are 1/sd²", 2);
  }
  checkUsed([text, ...observed.map(({ expression }) => expression)], [...named, ...individual]);
  const mapping = mappingOf(request, observed, states, header);
  const { clock, members, exact, skipped, unmatched, unread } = membersOf(mapping, text, states, data, request, {
    individual: (name) => startOf(request, name, values.get(name), header),
    isGiven: (name) => request.start.has(name),
    initial: (state) => request.start.get(`${state}(0)`),
    found,
  });

  const factors = mapping.doses?.factors ?? {};
  checkFactors(text, states, [...named, ...individual], factors);
  const doses = members.map((member) => solveDoses(member.doses, member.origin));
  const jumps = fitJumps(text, states, factors, doses);
  const free = [...parameters, ...Object.keys(mapping.estimated).map((state) => `${state}(0)`), ...individual];
  const { prior = new Map<string, Spread>(), logPrior = new Map<string, Spread>() } = request;
  const fixed = new Map(request.fix.map(({ name, value }) => [name, value]));
  for (const [option, names] of [
    ["start", request.start.keys()],
    ["bounds", request.bounds.keys()],
    ["log", request.log],
    ["logit", request.logit],
    ["prior", prior.keys()],
    ["log-prior", logPrior.keys()],
  ] as const) {
    for (const name of names) {
      if (free.includes(name)) continue;
      const state = states.find((state) => name === `${state}(0)`);
      const hint = state === undefined ? "" : `; --estimate "${name}" estimates it, --initial "${state}=30" sets it`;
      throw new Failure(`--${option}: expected an estimate, one of ${listOf(free)}; given ${name}${hint}`, 2);
    }
  }
  for (const name of fixed.keys()) {
    if (parameters.includes(name)) continue;
    throw new Failure(`--fix: expected one of the parameters ${listOf(parameters)}; given ${name}`, 2);
  }
  for (const [option, names] of Object.entries({ prior, "log-prior": logPrior })) {
    const held = [...names.keys()].find((name) => fixed.has(name));
    if (held !== undefined) throw new Failure(`--${option} ${held}: cannot be combined with --fix`, 2);
  }
  const twice = [...prior.keys()].find((name) => logPrior.has(name));
  if (twice !== undefined) throw new Failure(`--log-prior ${twice}: cannot be combined with --prior`, 2);
  if (free.every((name) => fixed.has(name))) throw new Failure(nothingToEstimate(text, parameters), 2);
  const optionsOf = (name: string) => {
    const { lower, upper } = request.bounds.get(name) ?? {};
    const scale = request.log.includes(name) ? "log" : request.logit.includes(name) ? "logit" : undefined;
    if (scale === "logit" && !(Number.isFinite(lower) && Number.isFinite(upper))) {
      throw new Failure(`--logit ${name}: expected bounds as well, such as --bounds "${name}=0:1"`, 2);
    }
    const [normal, lognormal] = [prior.get(name), logPrior.get(name)];
    return {
      ...(normal && { prior: { mean: normal.center, sd: normal.spread } }),
      ...(lognormal && { prior: { median: lognormal.center, logSd: lognormal.spread } }),
      ...(lower !== undefined && { lower }),
      ...(upper !== undefined && { upper }),
      ...(scale !== undefined && { transform: scale as "log" | "logit" }),
    };
  };
  const options: Task["options"] = {
    parameters: Object.fromEntries(
      parameters.map((name, i) => {
        const own = fixed.get(name);
        const value = own === undefined ? undefined : readNumber(own);
        if (Number.isNaN(value)) throw new Failure(`--fix ${name}: expected a number, given ${own}`, 2);
        const start = value ?? request.start.get(name) ?? found.get(name) ?? (initialValues[i] as number);
        const rest = fixed.has(name) ? { fixed: true } : optionsOf(name);
        checkStart(name, start, rest);
        return [name, { start, ...rest }];
      }),
    ),
    initial: Object.fromEntries(
      Object.entries(mapping.estimated).map(([state, { shared }]) => {
        const rest = optionsOf(`${state}(0)`);
        for (const { y0 } of members) checkStart(`${state}(0)`, y0[states.indexOf(state)] as number, rest);
        return [state, { shared, ...rest }];
      }),
    ),
    individual: Object.fromEntries(
      individual.map((name) => {
        const rest = optionsOf(name);
        for (const own of members) checkStart(name, own.arguments[name] as number, rest);
        return [name, rest];
      }),
    ),
    ...(jumps.length > 0 && { jumps }),
  };
  const infused = infusedBy(doses, states);
  const told = { exact, skipped, unmatched, unread };
  return { text, states, infused, parameters, mapping, clock, members, ...told, options };
}

/** Refuses measurements that an error model does not have. */
export function checkMeasurements({ mapping, members }: Task, error: FitOptions["error"], file: string): void {
  if (error !== "lognormal" && error !== "proportional") return;
  const { observed, id } = mapping;
  for (const { name, lines, y } of members) {
    const place = y.findIndex((value) => value <= 0);
    if (place < 0) continue;
    const { column } = observed[place % observed.length] as Observed;
    const where = `${file}:${lines[Math.floor(place / observed.length)] ?? "?"}: column ${column}`;
    const whose = id === null ? "" : ` of the trajectory ${name}`;
    const hint = "leave the cell empty if it is missing; --error additive and combined accept it";
    throw new Failure(
      `${where}: expected measurements above 0, as --error is ${error}, given ${y[place]}${whose}; ${hint}`,
    );
  }
}

/** Refuses factors of doses that are no expressions of what the equations know. */
export function checkFactors(
  text: string,
  states: readonly string[],
  args: readonly string[],
  factors: Readonly<Record<string, string>>,
): void {
  const other = Object.keys(factors).find((name) => !states.includes(name));
  if (other !== undefined) {
    throw new Failure(`--dose-factor: expected states of the equations: ${listOf(states)}; given ${other}`, 2);
  }
  for (const [column, expression] of Object.entries(factors)) {
    try {
      observingField(text, [{ column, expression }], states, args).dispose();
    } catch (error) {
      if (!(error instanceof SymplecticAdjointError)) throw error;
      throw new Failure(`--dose-factor ${column}: expected an expression of parameters; given ${expression}`, 2);
    }
  }
}

/** Where parameters start, initial states with a number of their own too. */
function startsOf({ start, estimate, shared }: TaskRequest): ReadonlyMap<string, number> {
  const all = new Map(start);
  for (const [option, list] of Object.entries({ estimate, shared })) {
    for (const { name, value } of list) {
      if (value === undefined) continue;
      const number = readNumber(value);
      if (Number.isNaN(number))
        throw new Failure(`--${option} ${name}: expected a number to start from, given ${value}`, 2);
      const whole = name.endsWith("(0)") ? name : `${name}(0)`;
      if (all.has(whole))
        throw new Failure(`--${option} ${name}=${value}: expected one start, but --start has another`, 2);
      all.set(whole, number);
    }
  }
  return all;
}

/** Why nothing is estimated, and what to write so that something is. */
function nothingToEstimate(text: string, parameters: readonly string[]): string {
  if (parameters.length > 0) return `nothing to estimate; --fix holds all parameters: ${listOf(parameters)}`;
  const [first] = constantsOf(text);
  const [name, value] = first ?? ["k", "0.5"];
  return `nothing to estimate; write "param ${name} = ${value}" to estimate ${first ? name : "a parameter k"}`;
}

/** The field of the equations; of a name that is unknown, what more there is than their lines. */
function fieldOf(file: string, text: string, args: readonly string[]) {
  try {
    return equationsField(file, text, "float64", args);
  } catch (error) {
    const [, name] = /or a line param (\w+) = 1/.exec((error as Error).message) ?? [];
    if (!(error instanceof Failure) || name === undefined) throw error;
    throw new Failure(`${error.message}; --arguments "${name}" takes it from a column`);
  }
}

/** What a start must be, within bounds and on the scale on which it is estimated. */
function checkStart(name: string, start: number, options: Partial<ParameterOptions>): void {
  const { lower = Number.NEGATIVE_INFINITY, upper = Number.POSITIVE_INFINITY, transform, prior } = options;
  if (prior) checkPrior(name, start, prior, { lower, upper });
  if (start < lower || start > upper) {
    throw new Failure(
      `${name}: expected a start between its --bounds, ${lower} and ${upper}, given ${start}; --start "${name}=…" sets it`,
      2,
    );
  }
  if (transform === "log" && !(start > 0)) {
    throw new Failure(`--log ${name}: expected a start above 0, given ${start}; --start "${name}=…" sets it`, 2);
  }
  if (transform === "logit" && (start === lower || start === upper)) {
    throw new Failure(
      `--logit ${name}: expected a start inside its --bounds, given ${start}; --start "${name}=…" sets it`,
      2,
    );
  }
}

/** What a prior must be, and the start beside it. */
function checkPrior(name: string, start: number, prior: Prior, { lower, upper }: Bounds): void {
  const [option, center] = "mean" in prior ? ["prior", prior.mean] : ["log-prior", prior.median];
  if (option === "log-prior" && !(center > 0))
    throw new Failure(`--log-prior ${name}: expected a median above 0, given ${center}`, 2);
  if (center < lower || center > upper)
    throw new Failure(
      `--${option} ${name}: expected a number between its --bounds, ${lower} and ${upper}, given ${center}`,
      2,
    );
  if (option === "log-prior" && !(start > 0))
    throw new Failure(`--log-prior ${name}: expected a start above 0, given ${start}; --start "${name}=…" sets it`, 2);
}

/** Refuses arguments that neither the equations nor what is observed name: a slip of the hand. */
function checkUsed(texts: readonly string[], names: readonly string[]): void {
  const used: readonly string[] =
    texts
      .join("\n")
      .replace(/#[^\n\r]*/g, "")
      .match(/[A-Za-z_]\w*/g) ?? [];
  const other = names.find((name) => !used.includes(name));
  if (other !== undefined) throw new Failure(`neither the equations nor --observe depend on the argument ${other}`, 2);
}

/** Where the estimate of an argument of single trajectories starts. */
function startOf(request: TaskRequest, name: string, parameter: number | undefined, header: readonly string[]): Origin {
  const own = request.start.get(name);
  const value = request.individual.find((pair) => pair.name === name)?.value;
  if (own !== undefined) return { number: own };
  if (value !== undefined) return originOf(value, header);
  if (parameter !== undefined) return { number: parameter };
  throw new Failure(
    `--individual ${name}: expected a value to start from, such as "${name}=1", or a line param ${name} = 1`,
    2,
  );
}

/** What an option gives of each trajectory. A column may have any name, also one that looks like an expression. */
function originOf(text: string, header: readonly string[]): Origin {
  const number = readNumber(text);
  if (!Number.isNaN(number)) return { number };
  const isColumn = header.includes(text) || /^\w+$/.test(text) || !isExpression(text);
  return isColumn ? { column: text } : { expression: text };
}

/** The columns that it needs. */
const columnsOf = (origin: Origin, header: readonly string[]): readonly string[] => {
  if ("column" in origin) return [origin.column];
  return "expression" in origin ? columnsIn(origin.expression, header) : [];
};

function observedOf(request: TaskRequest, header: readonly string[], states: readonly string[]): Observed[] {
  if (request.observe) return request.observe.map(({ name, value }) => ({ column: name, expression: value ?? name }));
  const columns = states.filter((state) => header.includes(state) && state !== request.time && state !== request.id);
  if (columns.length > 0) return columns.map((column) => ({ column, expression: column }));
  const alike = states.flatMap((expression) => {
    const column = likeName(expression, header);
    return column === undefined ? [] : [{ column, expression }];
  });
  const example = alike.length > 0 ? observing(...alike) : '--observe "column = expression"';
  throw new Failure(
    `no column has the name of a state of the equations, ${listOf(states)}; there are ${listOf(header)}; --observe says which column measures what: ${example}`,
    2,
  );
}

/** An option that says which expressions predict columns, as it is to be written. */
function observing(...all: readonly Observed[]): string {
  const isQuoted = all.some(({ column }) => /[,="()[\]]/.test(column));
  const parts = all.map(({ column, expression }) => {
    const name = /[,="()[\]]/.test(column) ? `"${column.replaceAll('"', '""')}"` : column;
    return name === expression ? name : `${name} = ${expression}`;
  });
  return isQuoted ? `--observe '${parts.join(", ")}'` : `--observe "${parts.join(", ")}"`;
}

/** A field whose last slopes are what is observed, of states that stand still. */
export function observingField(
  text: string,
  observed: readonly Observed[],
  states: readonly string[],
  args: readonly string[],
) {
  const taken = new Set(text.match(/\w+/g));
  const named = observed.map(({ expression }, i) => {
    let name = `observed_${i}`;
    while (taken.has(name)) name += "_";
    return { name, expression };
  });
  const all = [...states, ...named.map(({ name }) => name)];
  return equations(observingText(text, named), { state: all, arguments: args, dtype: "float64" });
}

/** Refuses expressions that cannot be read. */
function checkObserved(
  text: string,
  observed: readonly Observed[],
  states: readonly string[],
  header: readonly string[],
  args: readonly string[],
): void {
  checkLines(observed);
  try {
    observingField(text, observed, states, args).dispose();
  } catch (error) {
    throw observeFailure(error, text, observed, header);
  }
}

/** Refuses expressions that would be more than one line of equations. */
export function checkLines(observed: readonly Observed[]): void {
  const broken = observed.find(({ expression }) => /[#\n\r]/.test(expression));
  if (broken) throw new Failure(`--observe ${broken.column}: expected an expression on one line, without #`, 2);
}

/** An error of `observingField`, for the user. */
export function observeFailure(
  error: unknown,
  text: string,
  observed: readonly Observed[],
  header: readonly string[],
): unknown {
  if (!(error instanceof SymplecticAdjointError) || error.line === undefined) return error;
  const own = observed[error.line - 1 - text.split(/\r\n|[\n\r]/).length];
  if (!own) return error;
  const [, expected] = /^(.*?)(?:, or a line param .*)?$/s.exec(error.expected ?? "") ?? [];
  const names = expected?.replace(/(^|, )observed_\d+_*(?=,|$)/g, "");
  const swapped =
    header.includes(own.expression) && !header.includes(own.column)
      ? `; the left side is a column: ${observing({ column: own.expression, expression: own.column })}`
      : "";
  return new Failure(
    `--observe "${own.column} = ${own.expression}": expected ${names}; given ${error.given}${swapped}`,
    2,
  );
}

/** The column that probably is a state by another name: one that nothing uses, best of all one that has the name in it. */
function otherName(
  state: string,
  { time, id, arguments: args, initial, individual, weights, sd, regimen }: TaskRequest,
  observed: readonly Observed[],
  header: readonly string[],
): string | undefined {
  const values = [...args, ...initial, ...individual].flatMap(({ name, value }) => [name, value]);
  const doses = Object.values(regimen?.doses ?? {});
  const used = new Set<unknown>([
    ...[time, id, weights, sd, regimen?.mdv],
    ...values,
    ...doses,
    ...observed.map(({ column }) => column),
  ]);
  const rest = header.filter((column) => !used.has(column));
  return likeName(state, rest) ?? (rest.length === 1 ? rest[0] : undefined);
}

/** A column that has a name among its words, in small letters or large ones. */
function likeName(name: string, columns: readonly string[]): string | undefined {
  const small = name.toLowerCase();
  return columns.find((column) =>
    column
      .toLowerCase()
      .split(/[^\p{L}\p{N}]+/u)
      .includes(small),
  );
}

/** How the table is to be read. */
function mappingOf(
  request: TaskRequest,
  observed: readonly Observed[],
  states: readonly string[],
  header: readonly string[],
): Mapping {
  const state = (option: string, name: string) => {
    const [, own = name] = /^(.*)\(0\)$/.exec(name) ?? [];
    if (states.includes(own)) return own;
    throw new Failure(`--${option}: expected states of the equations: ${listOf(states)}; given ${name}`, 2);
  };
  const estimated = Object.fromEntries([
    ...request.estimate.map(({ name }) => [state("estimate", name), { shared: false }] as const),
    ...request.shared.map(({ name }) => [state("shared", name), { shared: true }] as const),
  ]);
  const initial = new Map<string, InitialOrigin>();
  for (const { name, value } of request.initial) {
    initial.set(state("initial", name), originOf(value ?? name, header));
  }
  for (const name of states) {
    if (initial.has(name)) continue;
    const own = observed.find(({ expression }) => expression === name);
    if (own && request.t0 && !Object.hasOwn(estimated, name)) {
      throw new Failure(
        `--t0: expected the initial value of ${name} as well, because the first row is then a measurement; --initial "${name}=0" or "${name}=column" sets it, --estimate "${name}(0)" estimates it`,
        2,
      );
    }
    if (own) initial.set(name, { first: own.column });
    else if (!(Object.hasOwn(estimated, name) && request.start.has(`${name}(0)`))) {
      const sets = `--initial "${name}=0" or "${name}=column" sets it, --estimate "${name}(0)=1" estimates it, starting from 1`;
      const other = request.observe ? undefined : otherName(name, request, observed, header);
      const renamed =
        other === undefined
          ? ""
          : `${observing({ column: other, expression: name }, ...observed)} says that ${listOf([other])} measures it; `;
      throw new Failure(`the state ${name} has no initial value, because no column measures it; ${renamed}${sets}`, 2);
    }
  }
  return {
    time: request.time,
    id: request.id ?? null,
    observed,
    arguments: Object.fromEntries(request.arguments.map(({ name, value }) => [name, originOf(value ?? name, header)])),
    initial: Object.fromEntries(initial),
    estimated,
    individual: request.individual.map(({ name }) => name),
    ...request.regimen,
    ...(request.t0 && { t0: request.t0.value }),
  };
}

/** What estimated numbers of trajectories start from. */
interface Starts {
  individual(name: string): Origin;
  /** Whether an option says where that is. */
  isGiven(name: string): boolean;
  /** Undefined where the start is that of the table. */
  initial(state: string): number | undefined;
  readonly found: Found;
}

/** What to write instead of a column that is observed, but is not there. */
function observeHint(
  observed: readonly Observed[],
  { time, id }: Pick<Mapping, "time"> & { readonly id: string | undefined },
  header: readonly string[],
) {
  return (name: string) => {
    const expression = observed.find(({ column }) => column === name)?.expression ?? "expression";
    // What is most probably meant: a column that is spelled like it or begins like it, or else any that is not taken.
    const taken = [time, id, ...observed.map(({ column }) => column)];
    const rest = header.filter((column) => !taken.includes(column));
    const begins = rest.find((column) => column.toLowerCase().startsWith(name.toLowerCase()));
    const close = nearest(name, rest) ?? begins ?? rest[0] ?? "column";
    return `the left side of --observe is a column: ${observing({ column: close, expression })}`;
  };
}

/** A table by the columns of a mapping. */
export function readMapped(
  mapping: Mapping,
  data: Source,
  format: Format,
  states: readonly string[],
  others: readonly string[] = [],
  optional = false,
) {
  const { time, id, observed, arguments: args, initial } = mapping;
  const columns = { time, id: id ?? undefined };
  const measured = observed.map(({ column }) => column);
  const all = headerOf(data, columns, format);
  const needed = [
    ...Object.values(args).flatMap((origin) => columnsOf(origin, all)),
    ...Object.values(initial).flatMap((origin) => ("first" in origin ? [origin.first] : columnsOf(origin, all))),
    ...others,
  ];
  const header = optional ? all : measured;
  const state = [...new Set([...measured.filter((column) => header.includes(column)), ...needed])];
  const hint = (name: string) => {
    if (measured.includes(name)) return observeHint(observed, columns, all)(name);
    if (others.includes(name)) return "--weights, --sd and --individual name columns";
    return "--arguments and --initial name columns, expressions of columns, or numbers";
  };
  const further = dosingColumns(mapping, all, states);
  return readTable(data, { ...columns, state, repeated: true, hint, ...further }, format);
}

/** The trajectories of a table. */
function membersOf(
  mapping: Mapping,
  text: string,
  states: readonly string[],
  data: Source,
  { format, t0, weights, sd, dosing }: TaskRequest,
  starts: Starts,
): Pick<Task, "clock" | "members" | "exact" | "skipped" | "unmatched" | "unread"> {
  const individual = mapping.individual.map((name) => [name, starts.individual(name)] as const);
  const header = headerOf(data, { time: mapping.time, id: mapping.id ?? undefined }, format);
  const others = individual.flatMap(([, origin]) => columnsOf(origin, header));
  const weighing = weights ?? sd;
  const wanted = [...others, ...(weighing === undefined ? [] : [weighing])];
  const table = readMapped(mapping, data, format, states, wanted);
  const { clock, state: columns } = table;
  const measured = mapping.observed.map(({ column }) => column);
  const known = { time: mapping.time, id: mapping.id ?? undefined };
  const { series, unmatched } = dosedSeries(table, known, mapping, states, measured, { data, dosing, format });
  if (t0 && t0.clock !== clock) {
    throw new Failure(`--t0: expected a ${clock}, as in the table, given a ${t0.clock}`, 2);
  }
  const absolute = dependsOnTime(text, mapping.observed);
  const skipped: string[] = [];
  const members = series.flatMap((own): Member[] => {
    const name = nameOf(own, mapping);
    const begin = beginOf(own, mapping, clock, data.name);
    const foundOf = (what: string) => starts.found.get(`${what}[${name}]`) ?? starts.found.get(what);
    const read = readerOf(own, columns, data.name, mapping);
    const y0 = states.map((state) => {
      const isEstimated = Object.hasOwn(mapping.estimated, state);
      const start = isEstimated ? (starts.initial(state) ?? foundOf(`${state}(0)`)) : undefined;
      return start ?? read.initial(state, mapping.initial[state] as InitialOrigin, isEstimated);
    });
    const pairs = [
      ...Object.entries(mapping.arguments).map(([name, origin]) => [name, read.constant(origin)] as const),
      ...individual.map(
        ([name, origin]) =>
          [name, (starts.isGiven(name) ? undefined : foundOf(name)) ?? read.constant(origin)] as const,
      ),
    ];
    const measurements = measurementsOf(own, columns, mapping);
    if (measurements.every(Number.isNaN)) {
      skipped.push(own.id === "" ? "the table" : own.id);
      return [];
    }
    const origin = absolute ? 0 : begin;
    const weightOf = (value: number) => (sd === undefined ? value : value ** -2);
    return [
      {
        ...{ name, t0: begin, times: own.times, early: own.early, lines: own.lines ?? [], origin },
        ...{ y: measurements, y0, arguments: Object.fromEntries(pairs), doses: dosesFrom(own, begin) },
        ...(weighing !== undefined && { weights: read.weights(weighing, measurements).map(weightOf) }),
      },
    ];
  });
  if (members.length === 0) {
    const measured = listOf(mapping.observed.map(({ column }) => column));
    throw new Failure(
      `${data.name}: nothing to fit to: no measurement of ${measured} after the first rows, which the solves start from`,
    );
  }
  const { numbers, texts } = dosingColumns(mapping, header, states);
  const read = [known.time, known.id, ...columns, ...[...numbers, ...texts].map(({ name }) => name)];
  const unread = header.filter((column) => !read.includes(column));
  return { clock, members, exact: exactOf(mapping, states, members), skipped, unmatched, unread };
}

/**
 * Initial states that are read from a column that is measured in later rows too, and so with an error, as the others are. One that is
 * there only once may be known, as a dose is.
 */
function exactOf(
  { observed, initial, estimated }: Mapping,
  states: readonly string[],
  members: readonly Member[],
): string[] {
  const measuredLater = (column: string) => {
    const o = observed.findIndex((own) => own.column === column);
    return (
      o >= 0 &&
      members.some(({ y }) => y.some((v, k) => k >= observed.length && k % observed.length === o && !Number.isNaN(v)))
    );
  };
  return states.filter((state) => {
    const origin = Object.hasOwn(estimated, state) ? undefined : initial[state];
    if (origin === undefined) return false;
    const measured = observed.map(({ column }) => column);
    return ("first" in origin ? [origin.first] : columnsOf(origin, measured)).some(measuredLater);
  });
}

/** The doses of a trajectory from its beginning on: what went in before is in the state there, and of an infusion the rest goes in. */
export function dosesFrom({ doses = [] }: Pick<Series, "doses">, begin: number): Dose[] {
  return doses.flatMap((dose) => {
    const { time, duration, amount } = dose;
    if (time >= begin) return [dose];
    const rest = time + duration - begin;
    return rest > 0 ? [{ ...dose, time: begin, duration: rest, amount: (amount * rest) / duration }] : [];
  });
}

/** Where a trajectory begins: with its first dose, if that comes first and no state is read from the first row. */
export function beginOf(
  { times, lines = [], doses = [] }: Series,
  { t0, time, initial }: Mapping,
  clock: Clock,
  file: string,
): number {
  const isObserved = Object.values(initial).some((origin) => "first" in origin);
  const row = times[0] as number;
  const first = t0 === undefined && !isObserved ? Math.min(row, doses[0]?.time ?? row) : row;
  if (t0 === undefined || first >= t0) return t0 ?? first;
  const given = writeTime(first, clock);
  throw new Failure(
    `${file}:${lines[0] ?? "?"}: column ${time}: expected no time before --t0, ${writeTime(t0, clock)}, given ${given}`,
  );
}

/** What a trajectory is called. */
export const nameOf = ({ id }: Series, mapping: Mapping) => (mapping.id === null ? "1" : id);

/** Whether absolute times matter. */
export const dependsOnTime = (text: string, observed: readonly Observed[]) =>
  usesTime(text) || observed.some(({ expression }) => /\bt\b/.test(expression));

/** What was measured, `[times, observed]`: without first rows that the solve starts from, which say nothing of the fit. */
export function measurementsOf(
  own: Series,
  columns: readonly string[],
  { observed, initial, estimated, t0 }: Mapping,
): number[] {
  const isStart = observed.map(({ column, expression }) => {
    const origin = Object.hasOwn(initial, expression) ? initial[expression] : undefined;
    return (
      t0 === undefined &&
      origin !== undefined &&
      "first" in origin &&
      origin.first === column &&
      !Object.hasOwn(estimated, expression)
    );
  });
  const places = observed.map(({ column }) => columns.indexOf(column));
  return own.rows.flatMap((row, i) =>
    places.map((place, o) => (place < 0 || (i === 0 && isStart[o]) ? Number.NaN : (row[place] as number))),
  );
}

/** Reads numbers that a trajectory has once. `fitted`: by a mapping that no option changes any more. */
export function readerOf(
  { id, rows, lines = [] }: Series,
  columns: readonly string[],
  file: string,
  { id: idColumn, observed }: Mapping,
  fitted = false,
) {
  // What is measured changes from row to row, whatever it starts from.
  const measured = observed.map(({ column }) => column);
  const whose = idColumn === null ? "," : `, of the trajectory ${id},`;
  const hintOf = (text: string) => (fitted ? "" : `; ${text}`);
  const hint = idColumn === null ? hintOf("--id names the column of the trajectory, if there are several") : "";
  const cells = (column: string) => {
    const place = columns.indexOf(column);
    return rows.map((row, i) => ({
      value: row[place] as number,
      where: `${file}:${lines[i] ?? "?"}: column ${column}:`,
    }));
  };
  const present = (column: string) => cells(column).filter(({ value }) => !Number.isNaN(value));
  const computed = (expression: string, of: (column: string) => number) => {
    const value = valueOfExpression(expression, columns, of);
    if (Number.isFinite(value)) return value;
    throw new Failure(`${file}:${lines[0] ?? "?"}: ${expression}: expected a finite number${whose} given ${value}`);
  };
  return {
    /** What is positive in all rows with measurements, `[rows, observed]`; 1 in others. */
    weights(column: string, measurements: readonly number[]): number[] {
      const width = measurements.length / rows.length;
      return cells(column).map(({ value, where }, i) => {
        if (measurements.slice(i * width, (i + 1) * width).every(Number.isNaN)) return 1;
        // Of a standard deviation the weight must be finite as well.
        if (value > 0 && value ** -2 > 0 && value ** -2 < Number.POSITIVE_INFINITY) return value;
        const given = Number.isNaN(value) ? "a missing value" : value;
        throw new Failure(`${where} expected a positive number in each row with a measurement, given ${given}`);
      });
    },
    /** A number that is the same in all rows that have one. */
    constant(origin: Origin): number {
      if ("number" in origin) return origin.number;
      if ("expression" in origin) return computed(origin.expression, (column) => this.constant({ column }));
      const [first, ...others] = present(origin.column);
      if (!first)
        throw new Failure(`${cells(origin.column)[0]?.where} expected a number in some row${whose} given none`);
      const other = others.find(({ value }) => value !== first.value);
      if (!other) return first.value;
      throw new Failure(
        `${other.where} expected the same number in all rows${whose} given ${other.value} after ${first.value}${hint}`,
      );
    },
    /** An initial state; of one that is estimated, what it starts from. */
    initial(state: string, origin: InitialOrigin, isEstimated: boolean): number {
      if ("number" in origin) return origin.number;
      if ("expression" in origin)
        return computed(origin.expression, (column) => this.initial(state, { column }, isEstimated));
      const column = "first" in origin ? origin.first : origin.column;
      const [first] = "first" in origin && !isEstimated ? cells(column) : present(column);
      if (first && !Number.isNaN(first.value)) {
        const other =
          "first" in origin || measured.includes(column)
            ? undefined
            : present(column).find(({ value }) => value !== first.value);
        if (!other) return first.value;
        throw new Failure(
          `${other.where} expected no other number than in the first row${whose} given ${other.value} after ${first.value}; ${fitted ? "" : "--initial takes the first row; "}leave the cell empty if it is missing${hintOf("--dose-amount and --doses read repeated doses")}${hint}`,
        );
      }
      const { where } = first ?? cells(column)[0] ?? { where: `${file}: column ${column}:` };
      throw new Failure(
        `${where} expected the initial value of ${state} in the first row${whose} given a missing value${hintOf(`--initial "${state}=…" sets it, --estimate "${state}(0)" estimates it`)}`,
      );
    },
  };
}
