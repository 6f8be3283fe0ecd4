// Vector fields written in JavaScript.
import { type ArrayOf, arrayOf, checkLength, type Dtype, dtypeRule, zeros } from "../checks/arrays.js";
import { describe, refused, SymplecticAdjointError } from "../checks/errors.js";
import { anything, argument, callable, fallback, isObject, options, required, rule, size } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { call } from "../engine/call.js";
import type { Instance } from "../engine/engine.js";
import { instance } from "../engine/instance.js";
import { type Field, WasmField } from "./field.js";

/** The options of `custom`. The functions get copies of arrays, and return typed arrays of `dtype`. */
export interface CustomOptions<D extends Dtype = "float32"> {
  /** The number of features of the state. */
  stateSize: number;
  /** The number type of the arrays; default `float32`. */
  dtype?: D | undefined;
  /** The initial parameters, flat; none by default. */
  parameters?: ArrayOf<D> | undefined;
  /**
   * f(t, y, θ) for a batch, `[batch, state]` row-major in and out: the whole batch, or one trajectory if each takes its own steps
   * (`batching: "independent"`, `dense`, events and the like). `first` is the index of y's first trajectory in the whole batch.
   */
  evaluate(t: number, y: ArrayOf<D>, parameters: ArrayOf<D>, first: number): ArrayOf<D>;
  /**
   * The derivatives of `evaluate` for the same batch, transposed and multiplied by w, which is shaped as y. Leave `parameters` out if
   * there are none; without `t` there are no gradients with respect to times.
   */
  vjp(
    t: number,
    y: ArrayOf<D>,
    w: ArrayOf<D>,
    parameters: ArrayOf<D>,
    first: number,
  ): {
    /** (∂f/∂y)ᵀ w, shaped as y. */
    y: ArrayOf<D>;
    /** (∂f/∂θ)ᵀ w, summed over the batch. */
    parameters?: ArrayOf<D> | undefined;
    /** (∂f/∂t)ᵀ w, summed over the batch. */
    t?: number | undefined;
  };
}

/**
 * Makes a vector field from functions written in JavaScript. They are called during solves, on the calling thread, and may call
 * `evaluate` and `vjp` of other fields.
 *
 * @returns A field with a copy of the parameters; dispose of it when done.
 * @throws `OPTION` for an invalid option; `DTYPE` or `NON_FINITE` for parameters of another number type, or that are not finite; in a solve
 * `CALLBACK` if a function returns the wrong thing.
 */
export function custom<D extends Dtype = "float32">(options: CustomOptions<D>): Field<D> {
  const { engine, rust, dtype, stateSize } = customField(options);
  return Object.preventExtensions(new WasmField(engine, rust, dtype, stateSize, stateSize, []));
}

const rules = {
  stateSize: required(size),
  dtype: fallback(dtypeRule, "float32"),
  parameters: anything<unknown>(),
  evaluate: required(callable<CustomOptions<Dtype>["evaluate"]>()),
  vjp: required(callable<CustomOptions<Dtype>["vjp"]>()),
};

const timeRule = rule<number>("a number or nothing", (value) => typeof value === "number", "CALLBACK");

/** The engine's side of a field written in JavaScript. */
export function customField<D extends Dtype>(given: CustomOptions<D>) {
  const { stateSize: state, parameters, ...read } = options(given, rules);
  const { evaluate, vjp } = read as unknown as CustomOptions<D>;
  const dtype = read.dtype as D;
  const engine = instance();
  const initial = engine.steady(parameters === undefined ? zeros(dtype, 0) : arrayOf("parameters", parameters, dtype));
  const length = initial.length;
  const callbacks = {
    evaluate(t: number, y: number, batch: number, theta: number, target: number, first: number): boolean {
      return guarded(engine, false, () => {
        const slope = evaluate(t, engine.read(dtype, y, batch * state), engine.read(dtype, theta, length), first);
        write(engine, dtype, "evaluate's result", slope, target, batch * state);
        return true;
      });
    },
    vjp(
      t: number,
      y: number,
      w: number,
      batch: number,
      theta: number,
      target: number,
      gradient: number,
      first: number,
    ) {
      return guarded(engine, null, () => {
        const copy = (pointer: number) => engine.read(dtype, pointer, batch * state);
        const pulled = vjp(t, copy(y), copy(w), engine.read(dtype, theta, length), first);
        if (!isObject(pulled) || typeof (pulled as { then?: unknown }).then === "function") {
          throw refused("CALLBACK", "vjp's result", "{ y, parameters, t? }, at once", describe(pulled));
        }
        write(engine, dtype, "vjp's y", pulled.y, target, batch * state);
        if (length > 0 || pulled.parameters !== undefined) {
          write(engine, dtype, "vjp's parameters", pulled.parameters, gradient, length);
        }
        return argument("vjp's t", pulled.t, timeRule);
      });
    },
  };
  const rust = call(engine, () => engine.bindings.Field.custom(dtype, state, initial, callbacks));
  return { engine, rust, dtype, stateSize: state };
}

/** Runs a user's function inside a solve: what it throws waits until the solver has returned. */
function guarded<R>(engine: Instance, failed: R, body: () => R): R {
  engine.callbacks++;
  try {
    return runUserCode(body);
  } catch (value) {
    engine.thrown = { value };
    return failed;
  } finally {
    engine.callbacks--;
  }
}

function write<D extends Dtype>(
  engine: Instance,
  dtype: D,
  what: string,
  result: unknown,
  pointer: number,
  length: number,
): void {
  try {
    const numbers = arrayOf(what, result, dtype);
    checkLength(what, numbers, length);
    engine.write(dtype, pointer, numbers);
  } catch (error) {
    const { message, argument, expected, given } = error as SymplecticAdjointError;
    const details = { argument: argument ?? what, expected: expected ?? "", given: given ?? "" };
    throw new SymplecticAdjointError("CALLBACK", message, details);
  }
}
