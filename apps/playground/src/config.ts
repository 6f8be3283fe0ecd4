// What a visitor can set, as one flat record: checked alike from the form, the address and a model file.
import type { Activation, GradientMethod, Method } from "symplectic-adjoint/slim";
import { EVERY_GRADIENT } from "../../../bench/shared/gradients.mjs";
import { ACTIVATIONS, FIXED_METHODS, METHODS } from "../../../wasm/constants.js";
import { numbersByName, shortText } from "./system.js";

export type TaskName = "spiral" | "lynx-hare" | "pendulum" | "two-moons" | "bounce" | "equations";

export interface Config {
  task: TaskName;
  /** Hidden layers, and the features of each. */
  layers: number;
  width: number;
  activation: Activation;
  method: Method;
  stepping: "fixed" | "tolerance";
  /** Fixed steps in each interval of the times. */
  steps: number;
  tolerance: number;
  gradient: GradientMethod;
  /** Of `auto`, in KiB. */
  budget: number;
  rate: number;
  seed: number;
  /** Of the task with balls: where they should land, in metres; at which landing; the speed that a bounce leaves; the wind, in m/s. */
  target: number;
  landing: number;
  bounciness: number;
  gusts: number;
  /** Of the task of that name: the text, and what it is fitted to. */
  equations: string;
  data: "record" | "samples";
  /** Numbers by name: initial parameters; those of the samples, and where these begin. */
  initial: string;
  truth: string;
  start: string;
  duration: number;
  /** In parts of each state's deviation. */
  noise: number;
}

export const TASKS: Record<TaskName, { title: string; text: string; about: string; defaults: Partial<Config> }> = {
  spiral: {
    title: "Spiral",
    text: "The classic of neural ODEs: a network learns the vector field of a cubic spiral from short pieces of one orbit.",
    about: "Dots: the data. Line: the learned field, solved from the first point over the whole time.",
    defaults: {},
  },
  "lynx-hare": {
    title: "Lynx and hare",
    text: "Pelts taken by the Hudson’s Bay Company, 1900–1920. A network learns how both populations change, from windows that grow from 3 to 21 years.",
    about: "Dots: the record. Line: one solve from the first year over all 21.",
    defaults: { method: "dopri5", stepping: "tolerance", tolerance: 1e-4 },
  },
  pendulum: {
    title: "Pendulum",
    text: "The network is an energy H(q, p), and the motion is that of Hamilton’s equations, so H is conserved whatever the network has learned.",
    about: "Dots: swings seen for 4 s. Lines: learned swings, over the contours of the learned energy.",
    defaults: { rate: 0.005 },
  },
  "two-moons": {
    title: "Two moons",
    text: "A continuous normalizing flow carries noise to data. Its density is exact, and training raises it on two half moons.",
    about: "Shades: the learned density. Dots: noise carried along. Move the slider from noise to data.",
    defaults: { steps: 8 },
  },
  bounce: {
    title: "Bouncing ball",
    text: "A ball is thrown in gusty wind, and bounces. Click where it should land: the gradient goes back through the bounces, each an event at its own time, and finds the throw.",
    about:
      "Line: the ball in still air. Faint: the same throw in 15 gusts of wind. Dots: landings, each found as an event. Flag: the target.",
    defaults: { method: "dopri5", stepping: "tolerance", tolerance: 1e-4 },
  },
  equations: {
    title: "Equations",
    text: "Type a system of equations, and its parameters are fitted to data: to the lynx and hare record, or to noisy samples of the system itself. Windows grow until they hold all of it. Estimate fits all of it at once, and gives standard errors.",
    about: "Dots: the data. Line: one solve of the equations, with the parameters as they are now.",
    defaults: { method: "dopri5", stepping: "tolerance", tolerance: 1e-4 },
  },
};

const COMMON: Omit<Config, "task"> = {
  layers: 2,
  width: 32,
  activation: "tanh",
  method: "rk4",
  stepping: "fixed",
  steps: 2,
  tolerance: 1e-4,
  gradient: "symplectic",
  budget: 2 ** 19,
  rate: 0.01,
  seed: 1,
  target: 9,
  landing: 2,
  bounciness: 0.7,
  gusts: 2,
  equations: "hare' = hare * (birth - hunt * lynx)\nlynx' = lynx * (feed * hare - death)",
  data: "record",
  initial: "birth=0.4,hunt=0.02,feed=0.02,death=0.6",
  truth: "birth=0.55,hunt=0.028,feed=0.024,death=0.8",
  start: "hare=30,lynx=4",
  duration: 20,
  noise: 0.05,
};

/** The least and the largest target. */
export const TARGETS = [2, 12] as const;
/** The first is what the others are compared with. */
export const GRADIENTS: readonly GradientMethod[] = [
  "symplectic",
  ...EVERY_GRADIENT.filter((gradient) => gradient !== "symplectic"),
];

/** Whether a method has no error estimate, and so takes fixed steps. */
export function isFixed(method: Method): boolean {
  return (FIXED_METHODS as readonly Method[]).includes(method);
}

export function defaults(task: TaskName): Config {
  return { task, ...COMMON, ...TASKS[task].defaults };
}

/** What a value must be: a number from text, one of a list, or undefined for what is neither. */
interface ConfigRule<T> {
  readonly expected: string;
  readonly choices?: readonly T[];
  parse(text: string): T | undefined;
}

function oneOf<T extends string | number>(...choices: readonly T[]): ConfigRule<T> {
  const parse = (text: string) =>
    choices.find((choice) => (typeof choice === "number" ? choice === numberFrom(text) : choice === text));
  return { expected: choices.join(", "), choices, parse };
}

function number(least: number, most: number, whole = true): ConfigRule<number> {
  const expected = `a${whole ? " whole" : ""} number from ${least} to ${most}`;
  const fits = (value: number) => value >= least && value <= most && (!whole || Number.isInteger(value));
  const parse = (text: string) => {
    const value = numberFrom(text);
    return value !== undefined && fits(value) ? value : undefined;
  };
  return { expected, parse };
}

function numberFrom(text: string): number | undefined {
  return text.trim() === "" ? undefined : Number(text);
}

/** With identity a network would be linear. */
const NONLINEAR = ACTIVATIONS.filter((activation) => activation !== "identity");

export const RULES: { readonly [Name in keyof Config]: ConfigRule<Config[Name]> } = {
  task: oneOf<TaskName>("spiral", "lynx-hare", "pendulum", "two-moons", "bounce", "equations"),
  layers: number(1, 4),
  width: number(2, 128),
  activation: oneOf<Activation>(...NONLINEAR),
  method: oneOf<Method>(...METHODS),
  stepping: oneOf<Config["stepping"]>("fixed", "tolerance"),
  steps: number(1, 64),
  tolerance: oneOf(1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
  gradient: oneOf<GradientMethod>(...GRADIENTS),
  budget: number(1, 2 ** 22),
  rate: number(1e-6, 10, false),
  seed: number(0, 2 ** 31 - 1),
  target: number(...TARGETS, false),
  landing: number(1, 4),
  bounciness: number(0.3, 0.9, false),
  gusts: number(0, 4, false),
  equations: shortText,
  data: oneOf<Config["data"]>("record", "samples"),
  initial: numbersByName,
  truth: numbersByName,
  start: numbersByName,
  duration: number(1e-3, 1e4, false),
  noise: number(0, 1, false),
};

/** Names in the order of the record. */
export const NAMES = Object.keys(RULES) as (keyof Config)[];

/** A record with one value changed, or what is wrong with that value. */
export function changed(config: Config, name: keyof Config, text: string): Config | string {
  const value = RULES[name].parse(text);
  if (value === undefined) return `${name}: expected ${RULES[name].expected}, given ${quoted(text)}`;
  const why = conflict(config, name, value);
  if (why) return `${name}: ${value} ${why}`;
  return coherent({ ...config, [name]: value });
}

/** Choices that cannot work with others, and why. */
const CONFLICTS: readonly { name: keyof Config; value: string; with: Partial<Config>; why: string }[] = [
  { name: "method", value: "leapfrog", with: { task: "bounce" }, why: "does not support drag" },
  { name: "method", value: "leapfrog", with: { task: "two-moons" }, why: "needs positions and velocities" },
  { name: "method", value: "leapfrog", with: { gradient: "adjoint" }, why: "does not support adjoint" },
  { name: "gradient", value: "adjoint", with: { task: "bounce" }, why: "does not support events" },
  { name: "gradient", value: "adjoint", with: { method: "leapfrog" }, why: "does not support leapfrog" },
];

/** Why a choice cannot work in a record, if it cannot. */
export function conflict(config: Config, name: keyof Config, value: Config[keyof Config]): string | undefined {
  const holds = (others: Partial<Config>) =>
    Object.entries(others).every(([at, other]) => config[at as keyof Config] === other);
  return CONFLICTS.find((one) => one.name === name && one.value === value && holds(one.with))?.why;
}

/** A method that has no error estimate takes fixed steps. */
function coherent(config: Config): Config {
  return isFixed(config.method) ? { ...config, stepping: "fixed" } : config;
}

/** A record of texts, each checked: those that are not valid are left out and told of. */
export function read(entries: Iterable<readonly [string, string]>): { config: Config; problems: string[] } {
  const texts = new Map(entries);
  const problems: string[] = [];
  const task = RULES.task.parse(texts.get("task") ?? "spiral");
  let config = defaults(task ?? "spiral");
  for (const [name, text] of texts) {
    if (!Object.hasOwn(RULES, name)) {
      problems.push(`${quoted(name)}: there is no such setting`);
      continue;
    }
    const result = changed({ ...config }, name as keyof Config, text);
    if (typeof result === "string") problems.push(result);
    // The stepping may stand before the method that it depends on.
    else config = { ...config, [name]: RULES[name as keyof Config].parse(text) };
  }
  return { config: coherent(config), problems };
}

/** What differs from the task's defaults, as the part of an address after #. */
export function write(config: Config): string {
  const usual = defaults(config.task);
  const names = NAMES.filter((name) => name === "task" || config[name] !== usual[name]);
  return new URLSearchParams(names.map((name) => [name, String(config[name])])).toString();
}

const SYSTEM = ["equations", "data", "initial", "truth", "start", "duration", "noise"] as const;
const ANEW = ["task", "layers", "width", "activation", "seed", ...SYSTEM] as const;

/** Whether training has to begin anew for what was changed. */
export function needsNewModel(before: Config, after: Config): boolean {
  return ANEW.some((name) => before[name] !== after[name]);
}

function quoted(text: string): string {
  return text.length > 40 ? `a text of ${text.length} characters` : `“${text}”`;
}
