// Vector fields that are programs: what a traced function or equations compute, as data.
import type { Field as RustField } from "../../wasm/bindings.js";
import { type ArrayOf, constructors, type Dtype, dtypeRule, zeros } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { fix, frozen } from "../checks/frozen.js";
import {
  argument,
  array,
  elements,
  natural,
  object,
  options,
  record,
  required,
  rule,
  size,
  text,
} from "../checks/rules.js";
import { call, needRoom } from "../engine/call.js";
import { type Instance, instance } from "../engine/instance.js";
import { steady } from "../engine/memory.js";
import type { Node, Program } from "../trace/graph.js";
import type { Traced } from "../trace/program.js";
import { type Entry, type Field, type Kind, type Recipe, WasmField } from "./field.js";
import { packed, totalOf, unpacked, type Widths } from "./packed.js";

/** A vector field made by `vectorField` or `equations`. */
export interface ProgramField<D extends Dtype = Dtype> extends Field<D> {
  /** Where each parameter array lies in `parameters`, by its name: `birth`, or `net.0.weight` of a network `net`. */
  readonly entries: Readonly<Record<string, Entry>>;
  /** The names of the state's features; empty where only their number was given. */
  readonly states: readonly string[];
  /** The names of the arguments, of which each trajectory has its own. */
  readonly argumentNames: readonly string[];
  /** The text that the field was made of; undefined for a traced function. */
  readonly equations?: string;
}

/** What a program field is, in a recipe. */
export interface ProgramOptions {
  readonly program: Program;
  readonly entries: Readonly<Record<string, Entry>>;
  readonly states: readonly string[];
  /** How many numbers a trajectory has of each argument, by name. */
  readonly arguments: Readonly<Record<string, number>>;
  readonly dtype: Dtype;
  readonly equations?: string;
}

class WasmProgram<D extends Dtype> extends WasmField<D> implements ProgramField<D> {
  readonly entries: Readonly<Record<string, Entry>>;
  readonly states: readonly string[];
  readonly argumentNames: readonly string[];
  declare readonly equations?: string;
  readonly #widths: Widths;

  constructor(wasm: Instance, rust: RustField, dtype: D, made: ProgramOptions) {
    super(wasm, rust, dtype, rust.stateSize, rust.outputSize, [], { kind: "program", options: made });
    this.#widths = made.arguments;
    this.entries = made.entries;
    this.states = made.states;
    this.argumentNames = frozen(Object.keys(made.arguments));
    fix(this, ["entries", "states", "argumentNames"]);
    if (made.equations !== undefined) {
      this.equations = made.equations;
      fix(this, ["equations"]);
    }
  }

  /** `[batch, total]`, in the order of their declaration. */
  override packArguments(given: unknown, batch: number): ArrayOf<D> | undefined {
    const none = Object.keys(this.#widths).length === 0;
    if (none && given === undefined) return undefined;
    const { numbers } = packed("arguments", this.#widths, given, this.dtype, batch);
    return none ? undefined : numbers;
  }

  override nameArguments(numbers: ArrayOf<D>): Record<string, ArrayOf<D>> {
    return unpacked(this.#widths, numbers, this.dtype);
  }

  override get argumentSize(): number {
    return totalOf(this.#widths);
  }
}

/** More than Rust takes for a character of a program while it reads it. */
const CHARACTER_BYTES = 64;

/** The field of a program, with these parameters. */
export function programField<D extends Dtype>(
  { initial, ...made }: Traced,
  dtype: D,
  equations?: string,
): WasmField<D> & ProgramField<D> {
  const parameters = new constructors[dtype](initial) as ArrayOf<D>;
  const bad = parameters.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    const name = Object.keys(made.entries)
      .reverse()
      .find((name) => (made.entries[name] as Entry).offset <= bad);
    throw refused("NON_FINITE", `parameters.${name}`, `numbers that are finite in ${dtype}`, String(initial[bad]));
  }
  return makeField({ ...made, dtype, ...(equations !== undefined && { equations }) }, dtype, parameters);
}

function makeField<D extends Dtype>(made: ProgramOptions, dtype: D, parameters: ArrayOf<D>): WasmProgram<D> {
  const program = JSON.stringify(made.program);
  const wasm = instance();
  needRoom(wasm, CHARACTER_BYTES * program.length, "the program");
  const rust = call(wasm, () => wasm.bindings.Field.program(dtype, program, steady(wasm, parameters)));
  return new WasmProgram(wasm, rust, dtype, made);
}

const rules = {
  program: required(object),
  entries: required(record<Entry>()),
  states: required(array<string>("an array of names")),
  arguments: required(record<number>()),
  dtype: required(dtypeRule),
  equations: text,
};
const programRules = {
  version: required(natural),
  state: required(size),
  parameters: required(natural),
  arguments: required(natural),
  nodes: required(array<Node>("an array of nodes", 1)),
  result: required(natural),
};
/** Flat, so that whatever reads it does not recurse. */
const nodeRule = rule<Node>(
  "an array of names and numbers",
  (node) => Array.isArray(node) && node.every((part) => typeof part === "string" || typeof part === "number"),
);
const entryRules = { offset: required(natural), shape: required(array<number>("an array of positive integers")) };

/** Reads what a program field is from a recipe that somebody else has written, but for what the crate checks. */
export function readProgram(given: object): ProgramOptions {
  const { entries, states, arguments: sizes, equations, ...read } = options(given, rules);
  const { nodes, result, ...numbers } = options(read.program, programRules, "program.");
  const flat = elements("program.nodes", nodes, programRules.nodes, nodeRule);
  const program = { ...numbers, nodes: flat, result } as Program;
  const count = program.parameters;
  const places = Object.entries(entries).map(([name, entry]): [string, Entry] => {
    const { offset, shape } = options(entry, entryRules, `entries.${name}.`);
    return [name, { offset, shape: elements(`entries.${name}.shape`, shape, entryRules.shape, size) }];
  });
  places.sort(([, a], [, b]) => a.offset - b.offset);
  let end = 0;
  for (const [name, { offset, shape }] of places) {
    if (offset !== end)
      throw refused("OPTION", `entries.${name}.offset`, `${end}, where the one before it ends`, String(offset));
    end += shape.reduce((product, side) => product * side, 1);
  }
  if (end !== count)
    throw refused("OPTION", "entries", `${count} numbers in all, as the program has parameters`, String(end));
  const widths = Object.entries(sizes).map(([name, width]) => [
    name,
    argument(`arguments.${name}`, width, required(size)),
  ]);
  // In the order of the field that it was written by, so that the same model gives the same file.
  return {
    program,
    entries: Object.fromEntries(places),
    states: elements("states", states, rules.states, text),
    arguments: Object.fromEntries(widths),
    dtype: read.dtype,
    ...(equations !== undefined && { equations }),
  };
}

/** For the registry. */
export const programKind: Kind = {
  rules,
  make({ options }: Recipe) {
    const made = readProgram(options);
    return makeField(made, made.dtype, zeros(made.dtype, made.program.parameters));
  },
};
