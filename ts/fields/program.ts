// Vector fields that are programs: what a traced function or equations compute, as data.
import type { Field as RustField } from "../../wasm/bindings.js";
import {
  type ArrayOf,
  arrayOf,
  checkLength,
  constructors,
  copyRows,
  type Dtype,
  dtypeRule,
  numbersOf,
  zeros,
} from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { fix, frozen } from "../checks/frozen.js";
import {
  anything,
  argument,
  array,
  elements,
  fallback,
  finite,
  natural,
  object,
  options,
  record,
  required,
  rule,
  size,
  text,
} from "../checks/rules.js";
import { call, ensureMemory } from "../engine/call.js";
import type { Instance } from "../engine/engine.js";
import { instance } from "../engine/instance.js";
import { readEquations } from "../trace/equations.js";
import { areSamePrograms, type GraphNode, type Program } from "../trace/graph.js";
import type { Entry, StandIns, Traced } from "../trace/program.js";
import {
  type ArgumentArrays,
  argumentsOf,
  type Field,
  type FieldKind,
  type FieldNames,
  type Recipe,
  WasmField,
  wasmField,
} from "./field.js";
import {
  type EntryNames,
  isNamed,
  type ParameterValues,
  type ParameterValuesOf,
  readNamed,
} from "./named-parameters.js";
import { packed, totalOf, unpacked, type Widths } from "./packed.js";

/** A vector field made by `vectorField` or `equations`. */
export interface ProgramField<D extends Dtype = Dtype, A extends string = string, N extends FieldNames = FieldNames>
  extends Field<D, A, N> {
  /**
   * All parameters, flat: a live view of the engine's memory. Read it again after any other call, since WebAssembly memory may grow.
   * `entries` says where each name lies in it.
   */
  get parameters(): ArrayOf<D>;
  /**
   * Sets parameters by name, `field.parameters = { birth: 0.5 }`, which leaves the others unchanged, or all of them with an array of that
   * length. Nothing changes if a name, a shape or a number is rejected.
   *
   * @throws `OPTION` for an unknown name; `SHAPE` or `DTYPE` for values of another shape or number type; `NON_FINITE` for numbers that are
   * not finite in the field's `dtype`; `DISPOSED` if the field was.
   */
  set parameters(values: ArrayOf<D> | ParameterValuesOf<N["parameters"]>);
  /** Where each parameter array lies in `parameters`, by its name: `birth`, or `net.0.weight` of a network `net`. */
  readonly entries: { readonly [Name in EntryNames<N["parameters"]>]: Entry };
  /** The names of the state's features; empty if only their number was given. */
  readonly states: readonly N["states"][];
  /** The text that the field was made from; undefined for a traced function. */
  readonly equations?: string;
  /**
   * f(t, y) and its directional derivative, (∂f/∂y) ẏ + (∂f/∂θ) θ̇ + (∂f/∂a) ȧ + (∂f/∂t) ṫ, both `[batch, state]`. As in `evaluate`,
   * y is `[batch, state]`, `parameters` are used instead of the field's own if given, and a field with arguments needs `args`.
   *
   * @throws `SHAPE` or `DTYPE` for arrays of another length or number type; `OPTION` for unknown names; `NON_FINITE` for tangents that are
   * not finite; `DISPOSED` if the field was; `OUT_OF_MEMORY`.
   */
  jvp(
    t: number,
    y: ArrayOf<D>,
    tangents: FieldTangents<D, A>,
    parameters?: ArrayOf<D>,
    args?: ArgumentArrays<A>,
  ): Jvp<D>;
}

/** The direction of a directional derivative; inputs left out are held constant. */
export interface FieldTangents<D extends Dtype = Dtype, A extends string = string> {
  /** ẏ, the direction in the state, `[batch, state]`; zero by default. */
  y?: ArrayOf<D> | undefined;
  /** ṫ, the direction in the time, a number; zero by default. */
  t?: number | undefined;
  /** θ̇, the direction in the parameters, of the length and the layout of `field.parameters`; zero by default. */
  parameters?: ArrayOf<D> | undefined;
  /** ȧ, the direction in all arguments, by name, shaped as the arguments are; zero by default. */
  arguments?: ArgumentArrays<A> | undefined;
}

/** A value with its directional derivative. */
export interface Jvp<D extends Dtype = Dtype> {
  /** The value itself, `[batch, outputs]`. */
  value: ArrayOf<D>;
  /** The directional derivative, shaped as the value. */
  tangent: ArrayOf<D>;
}

/** The recipe of a program field. */
export interface ProgramOptions {
  readonly program: Program;
  readonly entries: Readonly<Record<string, Entry>>;
  readonly states: readonly string[];
  /** How many numbers a trajectory has of each argument, by name. */
  readonly arguments: Readonly<Record<string, number>>;
  readonly dtype: Dtype;
  readonly equations?: string;
}

/** A field of a program, as the other parts of the package know it. */
export class WasmProgram<D extends Dtype> extends WasmField<D> implements ProgramField<D> {
  readonly entries: Readonly<Record<string, Entry>>;
  readonly states: readonly string[];
  declare readonly equations?: string;
  readonly #widths: Widths;
  readonly #names: readonly string[];
  /** Of value and directional derivative, once it is needed. */
  #tangent: TangentField<D> | undefined;

  constructor(
    engine: Instance,
    rust: RustField,
    dtype: D,
    made: ProgramOptions,
    /** What stands for its parameters in jumps and the like; undefined where no more is known of them than their arrays. */
    readonly standIns?: StandIns,
  ) {
    super(engine, rust, dtype, rust.stateSize, rust.outputSize, [], { kind: "program", options: made });
    this.#widths = made.arguments;
    this.entries = made.entries;
    this.states = made.states;
    this.#names = frozen(Object.keys(made.arguments));
    fix(this, ["entries", "states", "standIns"]);
    if (made.equations !== undefined) {
      this.equations = made.equations;
      fix(this, ["equations"]);
    }
    Object.preventExtensions(this);
  }

  override get parameters(): ArrayOf<D> {
    return super.parameters;
  }

  override set parameters(values: ArrayOf<D> | ParameterValues) {
    if (!isNamed(values)) {
      super.parameters = values as ArrayOf<D>;
      return;
    }
    const parts = readNamed(values, this.entries, this.dtype);
    const all = this.copyParameters();
    for (const { offset, numbers } of parts) all.set(numbers, offset);
    super.parameters = all;
  }

  /** `[batch, total]`, in the order of their declaration. */
  override packArguments(given: unknown, batch: number, where = "arguments"): ArrayOf<D> | undefined {
    const none = Object.keys(this.#widths).length === 0;
    if (none && given === undefined) return undefined;
    const { numbers } = packed(where, this.#widths, given, this.dtype, batch);
    return none ? undefined : numbers;
  }

  override nameArguments(numbers: ArrayOf<D>): Record<string, ArrayOf<D>> {
    return unpacked(this.#widths, numbers, this.dtype);
  }

  override get architecture(): string {
    return this.states.length > 0 && this.states.length <= 8 ? this.states.join(", ") : super.architecture;
  }

  override get argumentNames(): readonly string[] {
    return (wasmField(this, "this") as WasmProgram<D>).#names;
  }

  override get argumentWidths(): Widths {
    return this.#widths;
  }

  jvp(
    t: number,
    y: ArrayOf<D>,
    tangents: FieldTangents<D>,
    parameters?: ArrayOf<D>,
    args?: ArgumentArrays,
  ): { value: ArrayOf<D>; tangent: ArrayOf<D> } {
    wasmField(this, "this");
    const at = this.#tangentsAt(t, y, tangents, parameters, args);
    const both = at.field.evaluate(at.time, at.state, at.parameters, at.arguments);
    const outputs = this.outputSize;
    const part = (first: number) => {
      const own = zeros(this.dtype, at.batch * outputs);
      copyRows(at.batch, outputs, both.subarray(first), 2 * outputs, own, outputs);
      return own;
    };
    return { value: part(0), tangent: part(outputs) };
  }

  /**
   * The product of the second derivatives of ⟨w, f⟩ in state and parameters with a direction; w is `[batch, outputs]`, ones by default.
   */
  hessianProduct(
    t: number,
    y: ArrayOf<D>,
    tangents: FieldTangents<D>,
    weights?: ArrayOf<D>,
  ): { y: ArrayOf<D>; parameters: ArrayOf<D> } {
    wasmField(this, "this");
    const at = this.#tangentsAt(t, y, tangents);
    // The transpose of the directional derivative alone.
    const outputs = this.outputSize;
    const w = zeros(this.dtype, 2 * at.batch * outputs);
    for (let row = 0; row < at.batch; row++) {
      for (let i = 0; i < outputs; i++) w[(2 * row + 1) * outputs + i] = weights?.[row * outputs + i] ?? 1;
    }
    const pulled = at.field.vjp(at.time, at.state, w, at.parameters, at.arguments);
    return { y: pulled.y, parameters: pulled.parameters.slice(0, at.parameters.length / 2) as ArrayOf<D> };
  }

  /** The point at which the field of value and directional derivative is evaluated. */
  #tangentsAt(t: unknown, y: unknown, given: unknown, parameters?: ArrayOf<D>, args?: ArgumentArrays) {
    const { engine, time, state, theta, batch } = argumentsOf(this, t, y, parameters);
    const read = options(given, tangentRules, "tangents.");
    const { dtype } = this;
    const list = (name: string, values: unknown, length: number, shape?: string): ArrayOf<D> => {
      const array = values === undefined ? zeros(dtype, length) : arrayOf(name, values, dtype);
      checkLength(name, array, length, shape);
      numbersOf(name, array);
      return array;
    };
    const point = theta ?? this.copyParameters();
    const direction = list("tangents.parameters", read.parameters, this.parameterCount);
    checkLength("parameters", point, direction.length);
    const [size, features] = [this.argumentSize, this.stateSize];
    const packedArguments = this.packArguments(args, batch) ?? zeros(dtype, 0);
    const moved =
      read.arguments === undefined
        ? zeros(dtype, batch * size)
        : packed("tangents.arguments", this.#widths, read.arguments, dtype, batch).numbers;
    const dy = list("tangents.y", read.y, batch * features, `[${batch}, ${features}]`);
    const total = 2 * size + features + 1;
    const all = zeros(dtype, batch * total);
    copyRows(batch, size, packedArguments, size, all, total);
    copyRows(batch, features, dy, features, all.subarray(size), total);
    copyRows(batch, size, moved, size, all.subarray(size + features), total);
    for (let row = 1; row <= batch; row++) all[row * total - 1] = read.t;
    const both = zeros(dtype, 2 * direction.length);
    both.set(point as never);
    both.set(direction as never, direction.length);
    // Whoever gives these may have disposed of the field.
    const { rust } = this.use();
    this.#tangent ??= new TangentField(
      engine,
      call(engine, () => rust.tangent()),
      dtype,
    );
    return { field: this.#tangent, time, state, batch, parameters: both, arguments: all as never };
  }

  override dispose(): void {
    super.dispose();
    this.#tangent?.dispose();
    this.#tangent = undefined;
  }
}

const tangentRules = {
  y: anything<unknown>(),
  t: fallback(finite, 0),
  parameters: anything<unknown>(),
  arguments: anything<unknown>(),
};

/** The field of a program's value and directional derivative, whose arguments are packed already. */
class TangentField<D extends Dtype> extends WasmField<D> {
  constructor(engine: Instance, rust: RustField, dtype: D) {
    super(engine, rust, dtype, rust.stateSize, rust.outputSize, []);
  }

  override packArguments(given: unknown): ArrayOf<D> {
    return given as ArrayOf<D>;
  }
}

/** More than Rust takes for a character of a program while it reads it. */
const CHARACTER_BYTES = 64;

/** The field of a program, with these parameters. */
export function programField<D extends Dtype>(
  { initial, standIns, ...made }: Traced,
  dtype: D,
  equations?: string,
): WasmProgram<D> {
  const parameters = new constructors[dtype](initial) as ArrayOf<D>;
  const bad = parameters.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    const name = Object.keys(made.entries)
      .reverse()
      .find((name) => (made.entries[name] as Entry).offset <= bad);
    throw refused("NON_FINITE", `parameters.${name}`, `numbers that are finite in ${dtype}`, String(initial[bad]));
  }
  return makeField({ ...made, dtype, ...(equations !== undefined && { equations }) }, dtype, parameters, standIns);
}

function makeField<D extends Dtype>(
  made: ProgramOptions,
  dtype: D,
  parameters: ArrayOf<D>,
  standIns?: StandIns,
): WasmProgram<D> {
  const program = JSON.stringify(made.program);
  const engine = instance();
  ensureMemory(engine, CHARACTER_BYTES * program.length, "the program");
  const rust = call(engine, () => engine.bindings.Field.program(dtype, program, engine.steady(parameters)));
  return new WasmProgram(engine, rust, dtype, made, standIns);
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
  nodes: required(array<GraphNode>("an array of nodes", 1)),
  result: required(natural),
};
/** A flat form, so that no reader needs recursion. */
const nodeRule = rule<GraphNode>(
  "an array of names and numbers",
  (node) => Array.isArray(node) && node.every((part) => typeof part === "string" || typeof part === "number"),
);
const entryRules = { offset: required(natural), shape: required(array<number>("an array of positive integers")) };

/** More parts than any name has of parameters that are nested, with a network in them. */
const MOST_PARTS = 256;

/** Refuses names of arrays that are not those of records within records. */
function checkNames(entries: Readonly<Record<string, unknown>>): void {
  const names = new Set(Object.keys(entries));
  for (const name of names) {
    const parts = name.split(".");
    if (parts.length > MOST_PARTS) {
      throw refused("OPTION", "entries", `names of at most ${MOST_PARTS} parts`, `one of ${parts.length}`);
    }
    const outer = parts.slice(0, -1).map((_, i) => parts.slice(0, i + 1).join("."));
    const other = outer.find((part) => names.has(part));
    if (other === undefined) continue;
    throw refused("OPTION", `entries.${name}`, "a name outside that of another array", `one within ${other}`);
  }
}

/** Reads the recipe of a program field from an untrusted source, except what the crate checks. */
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
  checkNames(entries);
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
  const total = totalOf(Object.fromEntries(widths));
  if (total !== program.arguments) {
    const expected = `${program.arguments} numbers in all, as the program has arguments`;
    throw refused("OPTION", "arguments", expected, String(total));
  }
  const names = elements("states", states, rules.states, text);
  if (names.length > 0 && names.length !== program.state) {
    const expected = `as many names as the program has states, ${program.state}, or none`;
    throw refused("OPTION", "states", expected, String(names.length));
  }
  // In the order of the field that it was written by, so that the same model gives the same file.
  return {
    program,
    entries: Object.fromEntries(places),
    states: names,
    arguments: Object.fromEntries(widths),
    dtype: read.dtype,
    ...(equations !== undefined && { equations }),
  };
}

/** Refuses a field whose equations say another thing than its program. */
export function checkEquations(field: WasmField<Dtype>): void {
  const { program, entries, states, arguments: sizes, equations } = (field.recipe?.options ?? {}) as ProgramOptions;
  if (!(field instanceof WasmProgram) || equations === undefined) return;
  const parameters = Object.fromEntries(Object.keys(entries).map((name) => [name, 0]));
  const read = readEquations(equations, { parameters, arguments: Object.keys(sizes), states });
  const placed = (all: Readonly<Record<string, Entry>>) =>
    Object.entries(all).map(([name, { offset, shape }]) => `${name} ${offset} ${shape.join()}`);
  const isSame =
    areSamePrograms(read.program, program) &&
    placed(read.entries).sort().join() === placed(entries).sort().join() &&
    Object.values(sizes).every((width) => width === 1);
  if (!isSame) throw refused("OPTION", "equations", "the text that the program was made from", "another");
}

/** For the registry. */
export const programKind: FieldKind = {
  rules,
  make({ options }: Recipe) {
    const made = readProgram(options);
    return makeField(made, made.dtype, zeros(made.dtype, made.program.parameters));
  },
};
