// Builds the task of a fit from the equations, the table and the options, and checks all of it first.
import { type FieldFitOptions, type ParameterOptions, type Prior, SymplecticAdjointError } from "../index.js";
import { Failure } from "./failure.js";
import { fitJumps, infusedBy } from "./fit-doses.js";
import { type Mapping, mappingOf, type Origin, originOf } from "./fit-mapping.js";
import { type Members, membersOf } from "./fit-members.js";
import { checkObserved, type Observed, observedOf, observeHint, observingField } from "./fit-observed.js";
import type { FitCommandOptions, Found, TaskRequest } from "./fit-request.js";
import { solveDoses } from "./fit-times.js";
import type { Source } from "./input.js";
import { readNumber } from "./number.js";
import type { ParameterBounds, Spread } from "./pairs.js";
import { checkColumns, columnIn, headerOf, listOf } from "./table.js";
import { checkTimeless, constantsOf, equationsField, withoutParameters } from "./text-model.js";

/** A fit as plain data. */
export interface FitTask extends Members {
  readonly text: string;
  readonly states: readonly string[];
  /** The states that receive infusions. */
  readonly infused: readonly string[];
  readonly parameters: readonly string[];
  readonly mapping: Mapping;
  /** Options of `leastSquares`. */
  readonly options: Pick<FieldFitOptions, "parameters" | "initial" | "individual" | "jumps">;
}

/** Builds the task. */
export function taskOf(
  given: TaskRequest,
  file: string,
  whole: string,
  data: Source,
  found: Found = new Map(),
): FitTask {
  const header = headerOf(data, { time: given.time, id: given.id }, given.format);
  const request = { ...byColumns(given, header), start: startsOf(given) };
  const individual = request.individual.map(({ name }) => name);
  const named = request.arguments.map(({ name }) => name);
  const both = individual.find((name) => named.includes(name));
  if (both !== undefined)
    throw new Failure(`--individual: expected parameters that are not in --arguments, given ${both}`, 2);
  // A parameter that an option names as an argument becomes one; its value is the start.
  const { text, values } = withoutParameters(whole, [...named, ...individual]);
  const field = fieldOf(file, text, [...named, ...individual]);
  const { states } = field;
  const parameters = Object.keys(field.entries);
  const initialValues = field.parameters.slice();
  field.dispose();

  const known = { time: request.time, id: request.id };
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
  const doses = members.map((member) => solveDoses(member.doses, member));
  const jumps = fitJumps(text, states, factors, doses);
  const starts = { parameters, initial: initialValues, found };
  const options = {
    ...optionsFor(request, text, starts, { mapping, members, states }),
    ...(jumps.length > 0 && { jumps }),
  };
  const infused = infusedBy(doses, states);
  const told = { exact, skipped, unmatched, unread };
  return { text, states, infused, parameters, mapping, clock, members, ...told, options };
}

/** Names columns as the table does. */
function byColumns(request: TaskRequest, header: readonly string[]): TaskRequest {
  const own = (name: string) => columnIn(header, name) ?? name;
  const { time, id, weights, sd, observe } = request;
  return {
    ...request,
    time: own(time),
    id: id && own(id),
    weights: weights && own(weights),
    sd: sd && own(sd),
    observe: observe?.map(({ name, value }) => ({ name: own(name), value: value ?? name })),
  };
}

/** Options of `leastSquares`: starts, bounds, scales and priors. */
function optionsFor(
  request: TaskRequest,
  text: string,
  { parameters, initial: initialValues, found }: { parameters: readonly string[]; initial: Float64Array; found: Found },
  { mapping, members, states }: Pick<FitTask, "mapping" | "members" | "states">,
): FitTask["options"] {
  const { individual } = mapping;
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
  return {
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
  };
}

/** Refuses measurements that the error model does not allow. */
export function checkMeasurements(
  { mapping, members }: FitTask,
  error: FitCommandOptions["error"],
  file: string,
): void {
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

/** Refuses dose factors that are not expressions of the equations' names. */
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
    checkTimeless(text, column, expression);
    try {
      observingField(text, [{ column, expression }], states, args).dispose();
    } catch (error) {
      if (!(error instanceof SymplecticAdjointError)) throw error;
      throw new Failure(`--dose-factor ${column}: expected an expression of parameters; given ${expression}`, 2);
    }
  }
}

/** Starts of parameters, and of initial states with a number of their own. */
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

/** Why nothing is estimated, and what to write. */
function nothingToEstimate(text: string, parameters: readonly string[]): string {
  if (parameters.length > 0) return `nothing to estimate; --fix holds all parameters: ${listOf(parameters)}`;
  const [first] = constantsOf(text);
  const [name, value] = first ?? ["k", "0.5"];
  return `nothing to estimate; write "param ${name} = ${value}" to estimate ${first ? name : "a parameter k"}`;
}

/** The field of the equations; an unknown name gets a hint at the options. */
function fieldOf(file: string, text: string, args: readonly string[]) {
  try {
    return equationsField(file, text, "float64", args);
  } catch (error) {
    const [, name] = /or a line param (\w+) = 1/.exec((error as Error).message) ?? [];
    if (!(error instanceof Failure) || name === undefined) throw error;
    throw new Failure(`${error.message}; --arguments "${name}" takes it from a column`);
  }
}

/** Checks a start: within its bounds, and valid on its scale. */
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

/** Checks a prior and the start beside it. */
function checkPrior(name: string, start: number, prior: Prior, { lower, upper }: ParameterBounds): void {
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

/** Refuses arguments that neither the equations nor the observations use: typos. */
function checkUsed(texts: readonly string[], names: readonly string[]): void {
  const used: readonly string[] =
    texts
      .join("\n")
      .replace(/#[^\n\r]*/g, "")
      .match(/[A-Za-z_]\w*/g) ?? [];
  const other = names.find((name) => !used.includes(name));
  if (other !== undefined) throw new Failure(`neither the equations nor --observe depend on the argument ${other}`, 2);
}

/** The start of an argument that is estimated for each trajectory. */
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
