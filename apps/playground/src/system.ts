// A system of equations as text: the names in it, and the numbers that go with them. The package checks the text itself.

/** A longer text is no model to be typed by hand. */
const LONGEST = 2000;
/** Numbers that float32 holds with room to spare. */
const LARGEST = 1e30;

/** Those of the package, as test/playground.mjs holds. */
const FUNCTIONS =
  "exp log log1p expm1 sqrt abs sin cos tan asin acos atan atan2 sinh cosh tanh sigmoid softplus relu min max sign grad";
const NO_PARAMETERS: readonly string[] = ["t", ...FUNCTIONS.split(" ")];

/** The equations, and numbers by name: initial parameters; those of the samples, and where these begin. */
interface SystemText {
  readonly equations: string;
  readonly initial: string;
  readonly truth: string;
  readonly start: string;
}

interface SystemNames {
  readonly states: readonly string[];
  readonly parameters: readonly string[];
  /** Whether the equations depend on the time. */
  readonly timed: boolean;
}

/** The names of a text: what no line defines, and is neither the time nor a function, is a parameter. */
function namesIn(text: string): SystemNames {
  const [states, defined, used] = [new Set<string>(), new Set(NO_PARAMETERS), new Set<string>()];
  for (const line of text.split(/\r\n|[\n\r]/)) {
    const plain = line.replace(/#.*$/, "");
    const [left = "", name = "", prime] = /^\s*([A-Za-z_]\w*)\s*('?)\s*=/.exec(plain) ?? [];
    if (name) defined.add(name);
    if (name && prime) states.add(name);
    // What follows a digit is part of a number, such as 1e-3.
    for (const [other] of plain.slice(left.length).matchAll(/(?<![\w.$])[A-Za-z_]\w*/g)) used.add(other);
  }
  const parameters = [...used].filter((name) => !defined.has(name));
  return { states: [...states], parameters, timed: used.has("t") };
}

export interface System extends SystemNames {
  /** Of the parameters, in their order: where training begins, and what samples are made with. */
  readonly initial: readonly number[];
  readonly truth: readonly number[];
  /** Of the states, in their order: where samples begin. */
  readonly start: readonly number[];
}

/** The names of a configuration, each with its numbers. */
export function systemOf({ equations, initial, truth, start }: SystemText): System {
  const names = namesIn(equations);
  const [given, wanted, starts] = [initial, truth, start].map((text) => numbersIn(text)) as [Numbers, Numbers, Numbers];
  const first = names.parameters.map((name) => given?.get(name) ?? 1);
  return {
    ...names,
    initial: first,
    truth: names.parameters.map((name, i) => wanted?.get(name) ?? another(first[i] as number)),
    start: names.states.map((name) => starts?.get(name) ?? 1),
  };
}

/** A value to be found from this one. */
function another(value: number): number {
  return value === 0 ? 0.5 : Number((1.25 * value).toPrecision(3));
}

type Numbers = ReadonlyMap<string, number> | undefined;

/** Numbers by name, as in `birth=0.5,hunt=0.02`; undefined for a text that is none of these. */
function numbersIn(text: string): Numbers {
  const numbers = new Map<string, number>();
  for (const part of text.split(",").filter((part) => part.trim() !== "")) {
    const [, name, digits = ""] = /^\s*([A-Za-z_]\w*)\s*=\s*(\S+)\s*$/.exec(part) ?? [];
    const value = Number(digits);
    if (name === undefined || digits === "" || !(Math.abs(value) <= LARGEST)) return undefined;
    numbers.set(name, value);
  }
  return numbers;
}

/** Numbers by name as one text, as `read` gives it again. */
export function written(names: readonly string[], values: readonly (number | string)[]): string {
  return names.map((name, i) => `${name}=${values[i]}`).join(",");
}

/** The rule of a text of numbers by name. */
export const numbersByName = {
  expected: `numbers from -1e30 to 1e30 by name, as in birth=0.5,hunt=0.02`,
  parse(text: string): string | undefined {
    const numbers = text.length > 4 * LONGEST ? undefined : numbersIn(text);
    return numbers && written([...numbers.keys()], [...numbers.values()]);
  },
};

/** The rule of a text of equations, but for what they say. */
export const shortText = {
  expected: `a text of at most ${LONGEST} characters`,
  parse: (text: string): string | undefined => (text.length > LONGEST ? undefined : text),
};
