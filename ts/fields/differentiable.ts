// Functions of arrays with parameters, such as encoders, with their derivatives.
import {
  type ArrayOf,
  arrayOf,
  checkLength,
  checkSome,
  type Dtype,
  dtypeRule,
  numbersOf,
  zeros,
} from "../checks/arrays.js";
import { describe, isArray, refused } from "../checks/errors.js";
import {
  anything,
  argument,
  callable,
  fallback,
  isObject,
  natural,
  options,
  record,
  required,
  size,
} from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { disposable } from "../engine/disposable.js";
import { type Parameters, readParameters, type Traceable } from "../trace/parameters.js";
import { callTraced, type Entry, named, piecesIn, programOf, returned } from "../trace/program.js";
import type { Operand, Value } from "../trace/value.js";
import type { FieldNames, NamesOf } from "./field.js";
import type { EntryNames, ParameterValues, ParameterValuesOf } from "./named-parameters.js";
import { packed, totalOf, unpacked, type Widths } from "./packed.js";
import { type Jvp, type ProgramField, programField, type WasmProgram } from "./program.js";
import type { EmptyRecord } from "./vector-field.js";

/** Shapes of inputs for one sample, by their names: `"scalar"` for one number, a number of features, or the length of each axis. */
export type InputShapes = { readonly [name: string]: "scalar" | number | readonly number[] };

/** The options of `differentiable`. */
export interface DifferentiableOptions<I extends InputShapes, P extends Parameters, D extends Dtype> {
  /** The shapes of the inputs for one sample, by their names: `"scalar"` for one number, a number of features, or the length of each axis. */
  inputs: I;
  /** The initial parameters by their names, as in `vectorField`; none by default. */
  parameters?: P | undefined;
  /**
   * The function, which gets values that stand for numbers. An input with several axes is one value, row-major. It is called once, now, and
   * recorded.
   */
  apply: (given: {
    readonly inputs: { readonly [Name in keyof I]: Value };
    readonly parameters: Traceable<P>;
  }) => Value | readonly Operand[];
  /** The number type of the parameters and of all arrays; default `float32`. */
  dtype?: D | undefined;
  /** The seed of the networks' parameters, an integer, zero or more; default 0. */
  seed?: number | undefined;
}

/** Arrays by the names of inputs, each `[batch, …shape]`, row-major. */
export type InputArrays<I extends InputShapes, D extends Dtype> = { readonly [Name in keyof I]: ArrayOf<D> };

/** A function of arrays, and its derivatives. */
export interface Differentiable<I extends InputShapes, D extends Dtype = Dtype, P = FieldNames["parameters"]> {
  /** The number type of all arrays: `float32` or `float64`, as given to `differentiable`. */
  readonly dtype: D;
  /** The number of outputs for a sample. */
  readonly outputSize: number;
  /** Where each parameter array lies in `parameters`, by its name. */
  readonly entries: { readonly [Name in EntryNames<P>]: Entry };
  /** All parameters, flat: a live view of the engine's memory. Read it again after any other call, since WebAssembly memory may grow. */
  get parameters(): ArrayOf<D>;
  /**
   * Sets parameters by name, which leaves the others unchanged, or all of them with an array of that length. Nothing changes if a name,
   * a shape or a number is rejected.
   */
  set parameters(values: ArrayOf<D> | ParameterValuesOf<P>);
  /** The same function as a field, whose state is all inputs side by side: for optimizers. */
  readonly field: ProgramField<D, string, NamesOf<never, P>>;
  /** The outputs of the function for a batch of inputs, `[batch, outputs]`, row-major. */
  evaluate(inputs: InputArrays<I, D>): ArrayOf<D>;
  /** The transpose of the derivative, for a cotangent w `[batch, outputs]`. */
  vjp(
    inputs: InputArrays<I, D>,
    w: ArrayOf<D>,
  ): {
    /** The derivatives with respect to the inputs, by name, shaped as the inputs. */
    inputs: { -readonly [Name in keyof I]: ArrayOf<D> };
    /** The derivative with respect to the parameters, summed over the batch. */
    parameters: ArrayOf<D>;
  };
  /**
   * The outputs and their derivative along a direction, both `[batch, outputs]`. Inputs that are left out of `tangents` do not move,
   * nor do the parameters unless `parameterTangents`, of their length and layout, is given.
   */
  jvp(inputs: InputArrays<I, D>, tangents: Partial<InputArrays<I, D>>, parameterTangents?: ArrayOf<D>): Jvp<D>;
  /**
   * For a function with one output, the product of its Hessian, in all inputs and parameters, with a direction, given as in `jvp`.
   *
   * @throws `OPTION` for a function with several outputs, or unknown names of inputs; `SHAPE` or `DTYPE` for arrays of another length or
   * number type; `NON_FINITE` for tangents that are not finite; `DISPOSED` if the function was.
   */
  hessianProduct(
    inputs: InputArrays<I, D>,
    tangents: Partial<InputArrays<I, D>>,
    parameterTangents?: ArrayOf<D>,
  ): {
    /** The part of the product that belongs to the inputs, by name, shaped as the inputs. */
    inputs: { -readonly [Name in keyof I]: ArrayOf<D> };
    /** The part of the product that belongs to the parameters, summed over the batch. */
    parameters: ArrayOf<D>;
  };
  /** Frees the memory of the function; a second call does nothing. */
  dispose(): void;
  /** The same as `dispose`, for a declaration with `using`. */
  [Symbol.dispose](): void;
}

const rules = {
  inputs: required(record<unknown>()),
  parameters: anything<unknown>(),
  apply: required(callable<(given: never) => unknown>()),
  dtype: fallback(dtypeRule, "float32"),
  seed: fallback(natural, 0),
};

/**
 * Makes a function of arrays that has derivatives, such as an encoder: it is called once and recorded, as the slope of a
 * `vectorField`.
 *
 * @returns The function with the initial parameters; dispose of it when done.
 * @throws `OPTION` for an unknown option, or invalid shapes of inputs; `CALLBACK` if `apply` does something that cannot be recorded,
 * or returns anything but values; `SHAPE` if it combines values of different lengths; `NON_FINITE` for parameters that are not finite;
 * `OUT_OF_MEMORY`.
 */
export function differentiable<
  const I extends InputShapes,
  const P extends Parameters = EmptyRecord,
  D extends Dtype = "float32",
>(given: DifferentiableOptions<I, P, D>): Differentiable<I, D, P> {
  const { traced, widths, dtype } = traceFunction(given);
  return new DifferentiableProgram<I, D>(programField(traced, dtype as D), widths) as never;
}

class DifferentiableProgram<I extends InputShapes, D extends Dtype> implements Differentiable<I, D> {
  readonly #field: WasmProgram<D>;
  readonly #widths: Widths;

  constructor(field: WasmProgram<D>, widths: Widths) {
    disposable(DifferentiableProgram.prototype, DifferentiableProgram.prototype.dispose);
    this.#field = field;
    this.#widths = widths;
    Object.preventExtensions(this);
  }

  get dtype(): D {
    return DifferentiableProgram.#of(this).#field.dtype;
  }

  get outputSize(): number {
    return DifferentiableProgram.#of(this).#field.outputSize;
  }

  get entries(): Readonly<Record<string, Entry>> {
    return DifferentiableProgram.#of(this).#field.entries;
  }

  get parameters(): ArrayOf<D> {
    return DifferentiableProgram.#of(this).#field.parameters;
  }

  set parameters(values: ArrayOf<D> | ParameterValues) {
    DifferentiableProgram.#of(this).#field.parameters = values;
  }

  get field(): Differentiable<I, D>["field"] {
    return DifferentiableProgram.#of(this).#field as never;
  }

  evaluate(inputs: InputArrays<I, D>): ArrayOf<D> {
    return DifferentiableProgram.#of(this).#field.evaluate(
      0,
      packed("inputs", DifferentiableProgram.#of(this).#widths, inputs, this.dtype).numbers,
    );
  }

  vjp(inputs: InputArrays<I, D>, w: ArrayOf<D>) {
    const { y, parameters } = DifferentiableProgram.#of(this).#field.vjp(
      0,
      packed("inputs", DifferentiableProgram.#of(this).#widths, inputs, this.dtype).numbers,
      w,
    );
    type Arrays = { -readonly [Name in keyof I]: ArrayOf<D> };
    return { inputs: unpacked(this.#widths, y, this.dtype) as Arrays, parameters };
  }

  jvp(inputs: InputArrays<I, D>, tangents: Partial<InputArrays<I, D>>, parameterTangents?: ArrayOf<D>): Jvp<D> {
    const { y, direction } = DifferentiableProgram.#direction(this, inputs, tangents, parameterTangents);
    return DifferentiableProgram.#of(this).#field.jvp(0, y, direction);
  }

  hessianProduct(inputs: InputArrays<I, D>, tangents: Partial<InputArrays<I, D>>, parameterTangents?: ArrayOf<D>) {
    if (this.outputSize !== 1) {
      throw refused("OPTION", "hessianProduct", "a function of one output", `one of ${this.outputSize}`);
    }
    const { y, direction } = DifferentiableProgram.#direction(this, inputs, tangents, parameterTangents);
    const product = DifferentiableProgram.#of(this).#field.hessianProduct(0, y, direction);
    type Arrays = { -readonly [Name in keyof I]: ArrayOf<D> };
    return { inputs: unpacked(this.#widths, product.y, this.dtype) as Arrays, parameters: product.parameters };
  }

  /** A function itself, and no object that was made from one. */
  static #of<I extends InputShapes, D extends Dtype>(own: DifferentiableProgram<I, D>): DifferentiableProgram<I, D> {
    if (isObject(own) && #field in own) return own;
    throw refused("OPTION", "this", "a differentiable function", describe(own));
  }

  /** Inputs and a direction, packed. */
  static #direction<I extends InputShapes, D extends Dtype>(
    program: DifferentiableProgram<I, D>,
    inputs: unknown,
    tangents: unknown,
    parameters: ArrayOf<D> | undefined,
  ) {
    const { dtype } = program;
    const { numbers, batch } = packed("inputs", program.#widths, inputs, dtype);
    const given = argument("tangents", tangents, required(record<unknown>()));
    const still = Object.entries(program.#widths).map(([name, width]) => [name, zeros(dtype, batch * width)]);
    const moving = runUserCode(() => Object.entries(given)).filter(([, value]) => value !== undefined);
    const all = Object.fromEntries([...still, ...moving]);
    const direction = packed("tangents", program.#widths, all, dtype, batch).numbers;
    if (parameters !== undefined) {
      const moved = arrayOf("parameterTangents", parameters, dtype);
      checkLength("parameterTangents", moved, program.parameters.length);
      numbersOf("parameterTangents", moved);
    }
    return { y: numbers, direction: { y: direction, ...(parameters && { parameters }) } };
  }

  /** The name of the kind of object, for messages and consoles. */
  toString(): string {
    if (!(#field in this)) return "differentiable function (an object made from one)";
    return `differentiable function of ${Object.keys(this.#widths).join(", ")}`;
  }

  dispose(): void {
    DifferentiableProgram.#of(this).#field.dispose();
  }

  declare [Symbol.dispose]: () => void;
}

/** The program of a function's options. */
export function traceFunction(given: unknown) {
  const { apply, dtype, seed, ...read } = options(given, rules);
  const widths = Object.fromEntries(
    runUserCode(() => Object.entries(read.inputs)).map(([name, shape]) => [name, widthOf(`inputs.${name}`, shape)]),
  );
  checkSome("inputs", Object.keys(widths), "input", "OPTION");
  const { entries, initial, standIns } = readParameters(read.parameters, seed);
  const sizes = { state: totalOf(widths), parameters: initial.length, arguments: {} };
  const program = programOf(sizes, (graph) => {
    const all = {
      inputs: named("inputs.", piecesIn(graph, "state", Object.entries(widths)), "input"),
      parameters: standIns(graph),
    };
    return returned("apply", callTraced("apply", apply, all));
  });
  return { traced: { program, initial, entries, states: [], arguments: {} }, widths, dtype };
}

/** How many numbers a sample of an input has. */
function widthOf(where: string, shape: unknown): number {
  if (shape === "scalar") return 1;
  // Nothing has more axes, but a length may be a lie.
  const sides = isArray(shape) ? runUserCode((): unknown[] => shape.slice(0, 33)) : [shape];
  const width =
    sides.length <= 32 && sides.every(size.valid)
      ? (sides as number[]).reduce((product, side) => product * side, 1)
      : 0;
  if (size.valid(width)) return width;
  throw refused(
    "OPTION",
    where,
    '"scalar", a positive number of features, or the length of each axis',
    describe(shape),
  );
}
