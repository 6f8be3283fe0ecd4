// Solves that are kept for their gradients.
import type { Vjp as VjpHandle } from "../../wasm/bindings.js";
import { type ArrayOf, arrayOf, batchOf, checkLength, type Dtype, timesOf } from "../checks/arrays.js";
import { describe, refused, SymplecticAdjointError } from "../checks/errors.js";
import { frozen } from "../checks/frozen.js";
import { argument, finiteValue, isObject, required } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import type { AllReduce } from "../engine/all-reduce.js";
import { call, callWithProgress, refuseReentry, release } from "../engine/call.js";
import type { Instance } from "../engine/engine.js";
import { solves } from "../engine/live-objects.js";
import {
  type Field,
  type FieldNames,
  type NamesOfField,
  useField,
  type WasmField,
  wasmField,
} from "../fields/field.js";
import type { Lists } from "./changes.js";
import {
  type EventCotangents,
  type IndependentGradient,
  type IndependentSolution,
  IndependentSolve,
  isIndependent,
} from "./independent.js";
import { forCrate, type GradientOptions, type Independent, readOptions, withoutIndependent } from "./options.js";
import { checkLoss, outputsForLoss } from "./outputs.js";
import type { Gradient, LossAndCotangent, Solution, ValueAndGradient, Vjp } from "./results.js";
import { gradientStats, solveStats } from "./stats.js";

/** A recorded solve in WebAssembly memory. */
export class Recording<D extends Dtype> {
  /** How many bytes of the engine's memory it holds. */
  readonly bytes: number;
  #recorded: VjpHandle | undefined;
  readonly #engine: Instance;
  readonly #dtype: D;
  readonly #field: WasmField<D>;
  readonly #parameters: number;
  readonly #shape: readonly [number, number, number];

  constructor(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: ArrayLike<number>,
    options: GradientOptions,
    allReduce?: AllReduce,
  ) {
    const { partial: _, arguments: given, progress, ...settings } = withoutIndependent(options, "this gradient");
    const ends = timesOf(times);
    const { engine } = useField(field);
    refuseReentry(engine, "a gradient");
    const start = engine.steady(arrayOf("y0", y0, field.dtype));
    const batch = batchOf("y0", start, field.stateSize);
    const packed = wasmField(field).packArguments(given, batch);
    // Whoever gives the arguments may have disposed of the field.
    const { rust } = useField(field);
    this.#field = wasmField(field);
    this.#engine = engine;
    this.#dtype = field.dtype;
    this.#shape = [ends.length, batch, field.stateSize];
    const record = () => {
      const [parameters, before] = [rust.parametersLength, engine.bindings.liveBytes()];
      const recorded = rust.record(start, batch, ends, forCrate(settings), packed, allReduce);
      return [parameters, recorded, engine.bindings.liveBytes() - before] as const;
    };
    const discard = ([, recorded]: ReturnType<typeof record>) => release(engine, recorded);
    [this.#parameters, this.#recorded, this.bytes] = callWithProgress(engine, progress, record, discard);
  }

  /** The solution; if there is no room for the copy, the recording is given up. */
  solution(): Solution<D> {
    try {
      return this.#copy();
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  #copy(): Solution<D> {
    this.#engine.needStack();
    const recorded = this.#use();
    const [times, batch, state] = this.#shape;
    const y = this.#engine.read(this.#dtype, recorded.y, times * batch * state);
    return frozen({ y, shape: [times, batch, state], stats: solveStats(recorded) });
  }

  pullback(cotangent: ArrayOf<D>, _events?: EventCotangents<D>): Gradient<D> {
    refuseReentry(this.#engine, "a gradient");
    const [times, batch, state] = this.#shape;
    const w = this.#engine.steady(arrayOf("cotangent", cotangent, this.#dtype));
    checkLength("cotangent", w, times * batch * state, `[${this.#shape.join(", ")}]`);
    const recorded = this.#use();
    const pulled = call(this.#engine, () => recorded.pullback(w));
    try {
      return frozen({
        y0: this.#engine.read(this.#dtype, pulled.y0, batch * state),
        parameters: this.#engine.read(this.#dtype, pulled.parameters, this.#parameters),
        arguments: this.#field.copyArguments(this.#engine, pulled.arguments, batch),
        times: pulled.times === 0 ? undefined : this.#engine.read("float64", pulled.times, times),
        stats: gradientStats(pulled),
      });
    } finally {
      release(this.#engine, pulled);
    }
  }

  #use(): VjpHandle {
    if (!this.#recorded || this.#engine.lost) {
      throw new SymplecticAdjointError("DISPOSED", "the recorded solve has been disposed");
    }
    return this.#recorded;
  }

  dispose(): void {
    this.#engine.needStack();
    const recorded = this.#recorded;
    this.#recorded = undefined;
    solves.remove(this);
    release(this.#engine, recorded);
  }
}

/**
 * Solves as `odeint` does, and keeps what the gradient method needs: `pullback(∂L/∂y)` gives ∂L/∂y0, ∂L/∂θ and ∂L/∂times.
 * Dispose of the result, or of its `pullback`, when done.
 *
 * @param field - f, with its parameters as they are now; changing them later changes nothing here.
 * @param y0 - `[batch, state]`, row-major, of the field's `dtype`.
 * @param times - In ascending or descending order, t0 first; they may be repeated. A float32 field sees them rounded to
 *   float32: measure time from a near origin, or use float64.
 * @throws `SHAPE`, `DTYPE`, `OPTION`, `NON_FINITE` for invalid input, or `DISPOSED`, before any work starts; `MAX_STEPS`, `STEP_UNDERFLOW`,
 * `MAX_EVENTS`, `NON_FINITE` if the solve fails, with its `t`; `OUT_OF_MEMORY`; what a custom field throws.
 */
export function vjp<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: Lists,
  options: GradientOptions<A, N> & Independent<A, N>,
): IndependentVjp<D, A>;
export function vjp<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: readonly ArrayLike<number>[],
  options?: GradientOptions<A, N>,
): IndependentVjp<D, A>;
export function vjp<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(field: F & Field<D, A>, y0: ArrayOf<D>, times: Lists, options?: GradientOptions<A, N>): Vjp<D, A>;
export function vjp<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  options: GradientOptions = {},
): Vjp<D> {
  const recording = recordingOf(field, y0, times, options);
  const solution = recording.solution();
  solves.add(recording, recording.bytes);
  const dispose = () => recording.dispose();
  const pull = (cotangent: ArrayOf<D>, of?: EventCotangents<D>) => recording.pullback(cotangent, of);
  const pullback = Object.assign(pull, { dispose });
  const result = { solution, pullback, dispose };
  if (typeof Symbol.dispose === "symbol") {
    for (const disposable of [pullback, result]) Object.defineProperty(disposable, Symbol.dispose, { value: dispose });
  }
  return frozen(result) as unknown as Vjp<D>;
}

/** A solve that is kept for its gradient, of trajectories that take their steps together or each its own. */
function recordingOf<D extends Dtype>(field: Field<D>, y0: ArrayOf<D>, times: Lists, options: GradientOptions) {
  const read = readOptions(options);
  if (!isIndependent(read, times)) return new Recording(field, y0, times as ArrayLike<number>, read);
  // As `partial` changes nothing in a gradient.
  const { partial: _, ...settings } = read;
  return new IndependentSolve(field, y0, times, settings, true);
}

/** The checked result of a loss. */
export function lossOf<D extends Dtype>(result: LossAndCotangent<D>): LossAndCotangent<D> {
  const { value, cotangent } = isObject(result) ? result : {};
  if (typeof value !== "number" || cotangent === undefined) {
    const hint = "; loss(({ y, target }) => …).of({ target }) works it out";
    throw refused("CALLBACK", "loss's result", "{ value, cotangent }", describe(result), hint);
  }
  argument("loss's value", value, required(finiteValue));
  return { value, cotangent };
}

/** The cotangents of events that a loss has returned. */
export function eventCotangentsOf<D extends Dtype>(result: object): EventCotangents<D> | undefined {
  return runUserCode(() => (result as { readonly events?: EventCotangents<D> }).events);
}

/**
 * The value of a loss of the solution, and its gradient. Holds no memory after it returns, so a training loop does not grow.
 *
 * @param field - f, with its parameters as they are now.
 * @param y0 - `[batch, state]`, row-major, of the field's `dtype`.
 * @param times - In ascending or descending order, t0 first; they may be repeated.
 *   A float32 field sees them rounded to float32: measure time from a near origin, or use float64.
 * @param loss - Given y `[times, batch, state]`, which is its own copy, and its shape; returns L and ∂L/∂y.
 * @returns The value of the loss, its gradient, and the solution.
 * @throws `SHAPE`, `DTYPE`, `OPTION`, `NON_FINITE` for invalid input, or `DISPOSED`, before any work starts; `MAX_STEPS`, `STEP_UNDERFLOW`,
 * `MAX_EVENTS`, `NON_FINITE` if the solve fails, with its `t`; `CALLBACK` if the loss does not return `{ value, cotangent }`, `NON_FINITE`
 * if either is not finite; `REENTRANT` for a loss that calls itself without end; `OUT_OF_MEMORY`; what the loss or a custom field throws.
 */
export function valueAndGrad<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: Lists,
  loss: IndependentLoss<D>,
  options: GradientOptions<A, N> & Independent<A, N>,
): IndependentValueAndGradient<D, A>;
export function valueAndGrad<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: readonly ArrayLike<number>[],
  loss: IndependentLoss<D>,
  options?: GradientOptions<A, N>,
): IndependentValueAndGradient<D, A>;
export function valueAndGrad<
  D extends Dtype,
  A extends string,
  F extends Field = Field<D, A>,
  N extends FieldNames = NamesOfField<F>,
>(
  field: F & Field<D, A>,
  y0: ArrayOf<D>,
  times: Lists,
  loss: (y: ArrayOf<D>, shape: Solution<D>["shape"]) => LossAndCotangent<D>,
  options?: GradientOptions<A, N>,
): ValueAndGradient<D, A>;
export function valueAndGrad<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: Lists,
  loss: IndependentLoss<D> | ((y: ArrayOf<D>, shape: Solution<D>["shape"]) => LossAndCotangent<D>),
  options: GradientOptions = {},
): ValueAndGradient<D> {
  checkLoss(loss);
  const recording = recordingOf(field, y0, times, options);
  try {
    const solution = recording.solution();
    const y = outputsForLoss(solution, times);
    const own = recording instanceof IndependentSolve ? [solution as IndependentSolution<D>] : [];
    const result = runUserCode(() =>
      (loss as (...inputs: unknown[]) => ReturnType<IndependentLoss<D>>)(y, [...solution.shape], ...own),
    );
    const { value, cotangent } = lossOf(result);
    const events = recording instanceof IndependentSolve ? eventCotangentsOf<D>(result) : undefined;
    return { value, gradient: recording.pullback(cotangent, events), solution };
  } finally {
    recording.dispose();
  }
}

// Written as a union, since for a function that leaves a property out, an overload with that property would not be chosen.
/**
 * A loss of an independent solve, of y `[times, batch, state]`, its shape and the whole solution. It returns the loss and ∂L/∂y; if it
 * depends on the events too, `events` as well.
 */
export type IndependentLoss<D extends Dtype> = (
  y: ArrayOf<D>,
  shape: Solution<D>["shape"],
  solution: IndependentSolution<D>,
) =>
  | LossAndCotangent<D>
  | (LossAndCotangent<D> & {
      /** ∂L/∂t and ∂L/∂y of the events, `{ times, states }`: a number and a row for each, in the order of `solution.events`. */
      readonly events?: EventCotangents<D>;
    });

/** What `valueAndGrad` returns for an independent solve. */
export interface IndependentValueAndGradient<D extends Dtype = Dtype, A extends string = string>
  extends ValueAndGradient<D, A> {
  /** The gradient of the loss, with the derivatives with respect to jumps. */
  readonly gradient: IndependentGradient<D, A>;
  /** The solution, as `odeint` gives it: `y` is `[times, batch, state]`; with events and statistics of each trajectory. */
  readonly solution: IndependentSolution<D>;
}

/** An independent solve with its transpose. */
export interface IndependentVjp<D extends Dtype = Dtype, A extends string = string> {
  /** The solution, as `odeint` gives it: `y` is `[times, batch, state]`; with events and statistics of each trajectory. */
  readonly solution: IndependentSolution<D>;
  /** Returns the gradient, given ∂L/∂y `[times, batch, state]`, and the derivatives with respect to events if the loss depends on them. */
  readonly pullback: {
    (cotangent: ArrayOf<D>, events?: EventCotangents<D>): IndependentGradient<D, A>;
    /** Frees the memory that the gradient would need; a second call does nothing. */
    dispose(): void;
    /** The same as `dispose`, for a declaration with `using`. */
    [Symbol.dispose](): void;
  };
  /** Frees the memory that the gradient would need; a second call does nothing. */
  dispose(): void;
  /** The same as `dispose`, for a declaration with `using`. */
  [Symbol.dispose](): void;
}
