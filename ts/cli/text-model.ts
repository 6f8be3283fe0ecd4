// Equations as text: scaled to the model's units, and with fitted values filled in.
import { type Dtype, equations, type ProgramField, SymplecticAdjointError } from "../index.js";
import { linesOf as statementLines } from "../trace/lines.js";
import { Failure } from "./failure.js";
import type { Source } from "./input.js";
import type { Units } from "./units.js";

/** A parsed line of equations: its beginning and the rest. */
type Line =
  | { readonly kind: "parameter"; readonly name: string; readonly value: number }
  | { readonly kind: "slope" | "definition"; readonly name: string; readonly expression: string }
  | { readonly kind: "other" };

const LINES = /\r\n|[\n\r]/;

function lineOf(whole: string): Line {
  const text = whole.split("#", 1)[0] as string;
  const [, parameter, value] = /^\s*param\s+(\w+)\s*=(.*)$/s.exec(text) ?? [];
  if (parameter !== undefined) return { kind: "parameter", name: parameter, value: Number(value) };
  const [, name, prime, expression = ""] = /^\s*(\w+)\s*(?:(')\s*)?=(.*)$/s.exec(text) ?? [];
  if (name === undefined) return { kind: "other" };
  return { kind: prime ? "slope" : "definition", name, expression: expression.trim() };
}

const linesOf = (text: string) => text.split(LINES).map(lineOf);

/** The text of a file of equations, with one statement per line. */
export function textOf({ name, bytes }: Source): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Failure(`${name}: is not text in UTF-8`);
  }
  const lines = statementLines(text);
  const goesOn = lines.some((line) => line.includes("\n"));
  return goesOn ? lines.map((line) => line.replaceAll("\n", " ")).join("\n") : text;
}

/** A field of equations; every parameter must have a line in the text. */
export function equationsField<D extends Dtype>(
  name: string,
  text: string,
  dtype: D,
  args: readonly string[] = [],
): ProgramField<D> {
  try {
    return equations(text, { dtype, arguments: args });
  } catch (error) {
    throw equationsFailure(name, error);
  }
}

/** An error of `equations`, for the user. */
export function equationsFailure(name: string, error: unknown): unknown {
  if (!(error instanceof SymplecticAdjointError) || error.line === undefined) return error;
  const { line, column, expected = "", given } = error;
  // The command has no options beside the text.
  const wanted = expected.replace(/ \(or parameters\.\w+\)/, "");
  return new Failure(`${name}:${line}:${column}: expected ${wanted}; given ${given}`);
}

/** More would be a typo. */
const MOST_NAMES = 500;

/** Builds a field of equations in which names without a value become arguments; these are added to `names`, with where each was found. */
export function withArguments<T>(names: Map<string, SymplecticAdjointError>, build: (args: readonly string[]) => T): T {
  for (;;) {
    try {
      return build([...names.keys()]);
    } catch (error) {
      if (!(error instanceof SymplecticAdjointError)) throw error;
      const [, name] = /\(or parameters\.(\w+)\)/.exec(error.expected ?? "") ?? [];
      if (name === undefined || names.has(name)) throw error;
      if (names.size === MOST_NAMES) {
        throw new Failure(`more than ${MOST_NAMES} names have no value; lines such as param ${name} = 1 give them`);
      }
      names.set(name, error);
    }
  }
}

/** Equations in which some parameters become arguments, and the values that these parameters had. */
export function withoutParameters(text: string, names: readonly string[]) {
  const values = new Map<string, number>();
  const lines = text.split(LINES).map((whole) => {
    const line = lineOf(whole);
    if (line.kind !== "parameter" || !names.includes(line.name)) return whole;
    values.set(line.name, line.value);
    return `# ${whole.trim()}`;
  });
  return { text: lines.join("\n"), values };
}

/** Equations in which states stand still, and further states have the observations as slopes. */
export function observingText(text: string, observed: readonly { name: string; expression: string }[]): string {
  const lines = text.split(LINES).map((whole) => {
    const line = lineOf(whole);
    return line.kind === "slope" ? `${line.name}' = 0` : whole;
  });
  return [...lines, ...observed.map(({ name, expression }) => `${name}' = ${expression}`)].join("\n");
}

/** Unused names for the rates of infusions into states. */
export function ratesOf(text: string, infused: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    infused.map((name) => {
      let rate = `rate_into_${name}`;
      while (text.includes(rate)) rate += "_";
      return [name, rate];
    }),
  );
}

/**
 * Equations in which infusion rates, which only jumps change, flow into states. The rates are further states at the end. `factors` has what
 * an amount of 1 adds to a state, if it is not 1.
 */
export function infusedText(
  text: string,
  infused: readonly string[],
  factors: Readonly<Record<string, string>>,
): string {
  const rates = ratesOf(text, infused);
  const lines = text.split(LINES).map((whole) => {
    const line = lineOf(whole);
    const rate = line.kind === "slope" ? rates.get(line.name) : undefined;
    if (line.kind !== "slope" || rate === undefined) return whole;
    return `${line.name}' = (${line.expression}) + (${factors[line.name] ?? 1}) * ${rate}`;
  });
  return [...lines, ...Array.from(rates.values(), (rate) => `${rate}' = 0`)].join("\n");
}

/** Names that stand for a number, with the number as written. */
export function constantsOf(text: string): [name: string, value: string][] {
  return linesOf(text).flatMap((line) => {
    const isNumber = line.kind === "definition" && line.expression !== "" && Number.isFinite(Number(line.expression));
    return isNumber ? [[line.name, line.expression] as [string, string]] : [];
  });
}

/** Whether equations depend on the time. */
export function usesTime(text: string): boolean {
  return linesOf(text).some((line) => "expression" in line && /\bt\b/.test(line.expression));
}

/**
 * Powers of 2 near the initial values of parameters, in order. Training learns multiples of them, so that one learning rate suits all.
 * Powers of 2 change no digit.
 */
export function scalesOf(text: string): number[] {
  return linesOf(text).flatMap((line) => {
    if (line.kind !== "parameter") return [];
    const size = Math.abs(Math.fround(line.value));
    return [size > 0 ? 2 ** Math.round(Math.log2(size)) : 1];
  });
}

/** The names in scaled equations. */
interface ScaledNames {
  /** The clock, and the time that it stands for, if the equations depend on the time. */
  readonly clock: { readonly name: string; readonly time: string } | undefined;
  readonly states: ReadonlyMap<string, string>;
  /** The rates of states that receive infusions. */
  readonly rates: ReadonlyMap<string, string>;
  readonly parameters: ReadonlyMap<string, string>;
}

/** Unused names for everything that is scaled. */
function scaledNames(text: string, infused: readonly string[]): ScaledNames {
  const lines = linesOf(text);
  const taken = new Set(text.match(/\w+/g));
  const named = (name: string) => {
    let other = `${name}_scaled`;
    while (taken.has(other)) other += "_";
    taken.add(other);
    return other;
  };
  const all = (kind: Line["kind"]) =>
    new Map(lines.flatMap((line) => (line.kind === kind && "name" in line ? [[line.name, named(line.name)]] : [])));
  return {
    clock: usesTime(text) ? { name: named("clock"), time: named("time") } : undefined,
    states: all("slope"),
    rates: new Map(infused.map((name) => [name, named(`${name}_rate`)])),
    parameters: all("parameter"),
  };
}

/**
 * Scales the states, the time and the parameters of equations. After the states come the rates of infusions, in the same units, which only
 * jumps change; `factors` has what a dose of 1 adds to a state, if it is not 1.
 */
export function scaledField<D extends Dtype>(
  network: ProgramField<D>,
  units: Units,
  infused: readonly string[] = [],
  factors: Readonly<Record<string, string>> = {},
): ProgramField<D> {
  const { equations: text = "", dtype } = network;
  const lines = linesOf(text);
  const { clock, states, rates, parameters } = scaledNames(text, infused);
  const { log, mean, scale, unit = 1 } = units;
  const [timeScale, origin, spread] = [units.timeScale / unit, units.origin / unit, units.spread / unit];
  const places = new Map([...states].map(([name, own], i) => [name, { i, own }]));
  const scales = scalesOf(text);
  const timed = (expression: string) => (clock ? expression.replace(/\bt\b/g, clock.time) : expression);
  const all = [
    ...(clock
      ? [`${clock.time} = ${origin} + ${spread} * ${clock.name}`, `${clock.name}' = ${timeScale / spread}`]
      : []),
    ...[...places].map(([name, { i, own }]) => {
      const value = `${mean[i]} + ${scale[i]} * ${own}`;
      return `${name} = ${log[i] ? `exp(${value})` : value}`;
    }),
    ...[...parameters].map(([name, own], i) => `${name} = ${scales[i]} * ${own}`),
    ...lines.map((line) => {
      if (line.kind === "definition") return `${line.name} = ${timed(line.expression)}`;
      if (line.kind !== "slope") return "";
      const { i, own } = places.get(line.name) as { i: number; own: string };
      const rate = rates.get(line.name);
      const unit = `${(scale[i] as number) / timeScale} * (${factors[line.name] ?? 1})`;
      const slope =
        rate === undefined ? `(${timed(line.expression)})` : `((${timed(line.expression)}) + ${unit} * ${rate})`;
      return `${own}' = ${timeScale / (scale[i] as number)} * ${slope}${log[i] ? ` / ${line.name}` : ""}`;
    }),
    ...[...rates.values()].map((rate) => `${rate}' = 0`),
  ];
  const values = network.parameters;
  const initial = [...parameters.values()].map((own, i) => [own, (values[i] as number) / (scales[i] as number)]);
  const state = [...(clock ? [clock.name] : []), ...states.values(), ...rates.values()];
  return equations(all.join("\n"), { parameters: Object.fromEntries(initial), state, dtype });
}

/** The line that adds a scaled amount, times a factor, to a state of scaled equations. */
export function scaledDose(
  text: string,
  infused: readonly string[],
  { log, mean, scale }: Units,
  { state, factor, amount }: { readonly state: string; readonly factor: string; readonly amount: string },
): string {
  const { states, parameters } = scaledNames(text, infused);
  const scales = scalesOf(text);
  const i = [...states.keys()].indexOf(state);
  const places = new Map([...parameters.keys()].map((name, place) => [name, place]));
  const own = states.get(state) as string;
  const inUnits = factor.replace(/[A-Za-z_]\w*/g, (name) => {
    const place = places.get(name);
    return place === undefined ? name : `(${scales[place]} * ${parameters.get(name)})`;
  });
  if (!log[i]) return `${own} = ${own} + (${inUnits}) * ${amount}`;
  const before = `exp(${mean[i]} + ${scale[i]} * ${own})`;
  return `${own} = (log(${before} + (${inUnits}) * ${amount}) - ${mean[i]}) / ${scale[i]}`;
}

/** Refuses a dose factor that depends on the time, unless `t` means something else in the equations. */
export function checkTimeless(text: string, state: string, factor: string): void {
  if (!/\bt\b/.test(factor) || /^\s*(?:param\s+)?t\s*=/m.test(text)) return;
  throw new Failure(
    `--dose-factor ${state}: expected an expression of parameters, without the time t; given ${factor}`,
    2,
  );
}

/** Refuses a dose factor that is not an expression of the equations' parameters. */
export function checkFactor(text: string, state: string, factor: string): void {
  const names = linesOf(text).flatMap((line) => (line.kind === "parameter" ? [line.name] : []));
  const values = Object.fromEntries(names.map((name) => [name, 1]));
  checkTimeless(text, state, factor);
  try {
    equations(`dose' = ${factor}`, { parameters: values, state: ["dose"], arguments: [] }).dispose();
  } catch (error) {
    if (!(error instanceof SymplecticAdjointError)) throw error;
    const known = names.length === 0 ? "numbers" : `numbers and parameters, ${names.join(", ")}`;
    throw new Failure(`--dose-factor ${state}: expected an expression of ${known}; given ${factor}`, 2);
  }
}

/** The parameters of a field of equations by name. */
export function valuesOf({ entries, parameters }: ProgramField): Record<string, number> {
  const named = Object.entries(entries).map(([name, { offset }]) => [
    name,
    rounded(parameters[offset] as number, parameters),
  ]);
  return Object.fromEntries(named);
}

/** As many digits as the number type has. */
const rounded = (value: number, type: Float32Array | Float64Array) =>
  type instanceof Float32Array ? Number(value.toPrecision(7)) : value;

/** The text of a field of equations, with its current parameter values. */
export function textWithValues(field: ProgramField): string {
  return textWith(field.equations ?? "", valuesOf(field));
}

/** Equations with other parameter values. */
export function textWith(text: string, values: Readonly<Record<string, number>>): string {
  const told = new Set<string>();
  const lines = text.split(LINES).map((whole) => {
    const line = lineOf(whole);
    if (line.kind !== "parameter") return whole;
    told.add(line.name);
    return whole.replace(/=\s*[^\s#]+/, `= ${values[line.name]}`);
  });
  // Parameters without a line in the text.
  const others = Object.keys(values).filter((name) => !told.has(name));
  return [...others.map((name) => `param ${name} = ${values[name]}`), ...lines].join("\n").trimEnd();
}
