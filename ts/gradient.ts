import type { Recorded } from "../wasm/bindings.js";
import * as alive from "./alive.js";
import type { AllReduce } from "./all-reduce.js";
import { describe, refused, SymplecticAdjointError } from "./errors.js";
import { type Field, refuseInside, useField } from "./fields.js";
import { frozen } from "./frozen.js";
import {
  type ArrayOf,
  arrayOf,
  batchOf,
  checkLength,
  copyOut,
  type Dtype,
  kindOf,
  steady,
  timesOf,
  weightsOf,
  zeros,
} from "./memory.js";
import type { Bytes, Solution, SolveStats } from "./odeint.js";
import { type GradientOptions, passedOptions, readOptions } from "./options.js";
import { needStack } from "./stack.js";
import { call, type Instance, outside, release } from "./wasm.js";

/** What the solve has retained for its gradients. */
export interface Retention {
  /** Steps with all their tapes. */
  readonly tapes: number;
  /** Steps with their stage states. */
  readonly stages: number;
  /** Steps with x_n alone. */
  readonly states: number;
  /** Or room for so many states and carries, where there was none for a state a step: the others are computed again. */
  readonly checkpoints: number;
  /** Whether a step of which only x_n is retained is taped as a whole while it is transposed. */
  readonly stepTapes: boolean;
}

/** What a gradient took, the solve not included. */
export interface GradientStats {
  /** Evaluations of the vector field on the way back. */
  readonly evaluations: number;
  /** Evaluations of its transpose. */
  readonly vjps: number;
  /** Steps of the backward integration; only the continuous adjoint has any. */
  readonly backwardSteps: number;
  /** What was kept for it. */
  readonly retention: Retention;
  /** Peak of the solve and its gradients together. */
  readonly peakBytes: Bytes;
  /** In a pool: how many workers have shared the batch; `peakBytes` is their sum, the rest that of one. */
  readonly workers?: number;
}

/** The gradient of a loss. */
export interface Gradient<D extends Dtype = Dtype> {
  /** ∂L/∂y0, `[batch, state]`. */
  readonly y0: ArrayOf<D>;
  /** ∂L/∂θ, laid out as the field's parameters. */
  readonly parameters: ArrayOf<D>;
  /**
   * ∂L/∂times: how the loss changes as the times move and the steps with them, sizes that an error has chosen staying as
   * they are. That of a time that repeats the one before is the limit of a short interval, ⟨∂L/∂y, f⟩. Undefined where a custom
   * field does not tell its derivative with respect to time, or `timeGradients` is false. For `adjoint`, the textbook's.
   */
  readonly times: Float64Array | undefined;
  /** What it took. */
  readonly stats: GradientStats;
}

/** The transpose of a solve; it may be called again and again, and holds memory until disposed. */
export interface Pullback<D extends Dtype = Dtype> {
  /** The gradient, for ∂L/∂y `[times, batch, state]`, at the parameters that the solve was made with. */
  (cotangent: ArrayOf<D>): Gradient<D>;
  /** Frees what the gradient would need; harmless a second time. */
  dispose(): void;
  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void;
}

/** A solve with its transpose. */
export interface Vjp<D extends Dtype = Dtype> {
  /** As `odeint` gives it. */
  readonly solution: Solution<D>;
  /** From ∂L/∂y to the gradient. */
  readonly pullback: Pullback<D>;
  /** Frees what the gradient would need; harmless a second time. */
  dispose(): void;
  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void;
}

/** A recorded solve in WebAssembly memory. */
export class Recording<D extends Dtype> {
  /** What it holds. */
  readonly bytes: number;
  #recorded: Recorded | undefined;
  readonly #wasm: Instance;
  readonly #dtype: D;
  readonly #parameters: number;
  readonly #shape: readonly [number, number, number];

  constructor(
    field: Field<D>,
    y0: ArrayOf<D>,
    times: ArrayLike<number>,
    options: GradientOptions,
    allReduce?: AllReduce,
  ) {
    const settings = readOptions(options);
    const ends = timesOf(times);
    const { rust, wasm } = useField(field);
    refuseInside(wasm, "a gradient");
    const start = steady(wasm, arrayOf("y0", y0, field.dtype));
    const batch = batchOf("y0", start, field.stateSize);
    this.#wasm = wasm;
    this.#dtype = field.dtype;
    this.#shape = [ends.length, batch, field.stateSize];
    const passed = passedOptions(settings);
    [this.#parameters, this.#recorded, this.bytes] = call(wasm, () => {
      const [parameters, before] = [rust.parametersLength, wasm.bindings.liveBytes()];
      const recorded = rust.record(start, batch, ends, passed, allReduce);
      return [parameters, recorded, wasm.bindings.liveBytes() - before] as const;
    });
  }

  solution(): Solution<D> {
    needStack();
    const { y, stats } = this.#use();
    const [times, batch, state] = this.#shape;
    const copy = copyOut(this.#wasm, this.#dtype, y, times * batch * state);
    return frozen({ y: copy, shape: [times, batch, state], stats: stats as SolveStats });
  }

  pullback(cotangent: ArrayOf<D>): Gradient<D> {
    refuseInside(this.#wasm, "a gradient");
    const [times, batch, state] = this.#shape;
    const w = steady(this.#wasm, arrayOf("cotangent", cotangent, this.#dtype));
    checkLength("cotangent", w, times * batch * state, `[${this.#shape.join(", ")}]`);
    const recorded = this.#use();
    const pulled = call(this.#wasm, () => recorded.pullback(w));
    try {
      return frozen({
        y0: copyOut(this.#wasm, this.#dtype, pulled.y0, batch * state),
        parameters: copyOut(this.#wasm, this.#dtype, pulled.parameters, this.#parameters),
        times: pulled.times === 0 ? undefined : copyOut(this.#wasm, "float64", pulled.times, times),
        stats: pulled.stats as GradientStats,
      });
    } finally {
      release(this.#wasm, pulled);
    }
  }

  #use(): Recorded {
    if (!this.#recorded || this.#wasm.lost) {
      throw new SymplecticAdjointError("DISPOSED", "the recorded solve has been disposed");
    }
    return this.#recorded;
  }

  dispose(): void {
    needStack();
    const recorded = this.#recorded;
    this.#recorded = undefined;
    alive.solves.remove(this);
    release(this.#wasm, recorded);
  }
}

/**
 * Solves as `odeint` does, and keeps what the gradient method needs: `pullback(∂L/∂y)` gives ∂L/∂y0, ∂L/∂θ and ∂L/∂times.
 * Dispose of the result, or of its `pullback`, when done.
 *
 * @param field - f, with its parameters as they are now; changing them later changes nothing here.
 * @param y0 - `[batch, state]`, row-major, of the field's `dtype`.
 * @param times - In ascending or descending order, t0 first; they may be repeated.
 * @throws As `odeint`.
 */
export function vjp<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: ArrayLike<number>,
  options: GradientOptions = {},
): Vjp<D> {
  const recording = new Recording(field, y0, times, options);
  const solution = firstOf(recording);
  alive.solves.add(recording, recording.bytes);
  const dispose = () => recording.dispose();
  const pullback = Object.assign((cotangent: ArrayOf<D>) => recording.pullback(cotangent), { dispose });
  const result = { solution, pullback, dispose };
  if (typeof Symbol.dispose === "symbol") {
    for (const disposable of [pullback, result]) Object.defineProperty(disposable, Symbol.dispose, { value: dispose });
  }
  return frozen(result) as unknown as Vjp<D>;
}

/** The solution of a recording, which is given up if there is no room for the copy. */
function firstOf<D extends Dtype>(recording: Recording<D>): Solution<D> {
  try {
    return recording.solution();
  } catch (error) {
    recording.dispose();
    throw error;
  }
}

/** What a loss gives for y `[times, batch, state]`. */
export interface LossAndCotangent<D extends Dtype> {
  /** L. */
  readonly value: number;
  /** ∂L/∂y, shaped as y. */
  readonly cotangent: ArrayOf<D>;
}

/** What a loss has returned, checked. */
export function lossOf<D extends Dtype>(result: LossAndCotangent<D>): LossAndCotangent<D> {
  const { value, cotangent } = result !== null && typeof result === "object" ? result : {};
  if (typeof value !== "number" || cotangent === undefined) {
    throw refused("CALLBACK", "loss's result", "{ value, cotangent }", describe(result));
  }
  if (!Number.isFinite(value)) throw refused("NON_FINITE", "loss's value", "a finite number", String(value));
  return { value, cotangent };
}

/**
 * The value of a loss of the solution, and its gradient. Owns nothing after it returns: a training loop does not grow.
 *
 * @param field - f, with its parameters as they are now.
 * @param y0 - `[batch, state]`, row-major, of the field's `dtype`.
 * @param times - In ascending or descending order, t0 first; they may be repeated.
 * @param loss - Given y `[times, batch, state]`, which is its own copy, and its shape; gives L and ∂L/∂y.
 * @returns `value`, that of the loss; `gradient`, as `vjp` gives it; `solution`, as `odeint` gives it.
 * @throws As `odeint`; `CALLBACK` if the loss does not return `{ value, cotangent }`, `NON_FINITE` if either is not finite;
 * `REENTRANT` for a loss that calls itself without end; what the loss throws.
 */
export function valueAndGrad<D extends Dtype>(
  field: Field<D>,
  y0: ArrayOf<D>,
  times: ArrayLike<number>,
  loss: (y: ArrayOf<D>, shape: Solution<D>["shape"]) => LossAndCotangent<D>,
  options: GradientOptions = {},
): { value: number; gradient: Gradient<D>; solution: Solution<D> } {
  if (typeof loss !== "function") throw refused("OPTION", "loss", "a function", describe(loss));
  const recording = new Recording(field, y0, times, options);
  try {
    const solution = recording.solution();
    const { value, cotangent } = lossOf(outside(() => loss(solution.y.slice() as ArrayOf<D>, [...solution.shape])));
    return { value, gradient: recording.pullback(cotangent), solution };
  } finally {
    recording.dispose();
  }
}

/**
 * The mean of the squared differences, and its cotangent; with a mask (1 where an entry counts, 0 where not, or weights),
 * the weighted mean.
 *
 * @returns `value` and `cotangent`, shaped as y: what `valueAndGrad` asks of a loss.
 * @throws `SHAPE`, `DTYPE`; `OPTION` for a mask with a weight that is negative or not finite, or without any positive one;
 * `NON_FINITE` where a number that counts is not finite, or the mean is too large for one.
 */
export function meanSquaredError<A extends Float32Array | Float64Array>(
  y: A,
  target: A,
  mask?: ArrayLike<number>,
): { value: number; cotangent: A } {
  const dtype = kindOf(y) === "Float64Array" ? "float64" : "float32";
  const [given, wanted] = [arrayOf("y", y, dtype), arrayOf("target", target, dtype)];
  checkLength("target", wanted, given.length);
  if (given.length === 0) throw refused("SHAPE", "y", "at least one number", "none");
  const { weights, sum } = mask === undefined ? { weights: undefined, sum: given.length } : weightsOf("mask", mask);
  if (weights) checkLength("mask", weights, given.length);
  const cotangent = zeros(dtype, given.length);
  let value = 0;
  for (let i = 0; i < given.length; i++) {
    const weight = weights ? (weights[i] as number) : 1;
    // An entry that does not count may well be missing, that is NaN.
    if (weight === 0) continue;
    const part = weight / sum;
    const difference = (given[i] as number) - (wanted[i] as number);
    value += part * difference * difference;
    cotangent[i] = 2 * part * difference;
    if (!Number.isFinite(value) || !Number.isFinite(cotangent[i])) throw notFinite(given, wanted, i);
  }
  return { value, cotangent: cotangent as A };
}

/** Why a mean of squares is not finite at an index. */
function notFinite(y: ArrayLike<number>, target: ArrayLike<number>, i: number): SymplecticAdjointError {
  for (const [argument, { [i]: number }] of Object.entries({ y, target })) {
    if (!Number.isFinite(number)) {
      return refused("NON_FINITE", argument, "finite numbers where the mask is not 0", `${number} at index ${i}`);
    }
  }
  const given = `${y[i]} and ${target[i]} at index ${i}`;
  return refused("NON_FINITE", "target", "numbers so near y that their mean square is finite", given);
}
