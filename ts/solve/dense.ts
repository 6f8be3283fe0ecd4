// Solutions between the steps of trajectories.
import { type ArrayOf, type Dtype, numbersOf, zeros } from "../checks/arrays.js";
import { refused } from "../checks/errors.js";
import { anyNumber, argument, isObject, natural, number, required } from "../checks/rules.js";

/** The steps of a trajectory with the polynomials between them. */
export interface TrajectorySteps<D extends Dtype> {
  readonly t: Float64Array;
  readonly y: ArrayOf<D>;
  /** Of each step the coefficients of θ, θ², … with θ = (t − t_n) / h, each `[state]`; the constant one is y. */
  readonly polynomials: ArrayOf<D>;
}

/** The index of a trajectory, checked. */
export function indexOf(trajectory: unknown, batch: number): number {
  const index = argument("trajectory", trajectory, required(natural));
  return argument("trajectory", index, required(number(`an index below ${batch}`, (value) => value < batch)));
}

/** Solutions between steps, by their polynomials. */
export class DenseOutput<D extends Dtype> {
  readonly #dtype: D;
  readonly #state: number;
  readonly #paths: readonly TrajectorySteps<D>[];
  readonly #times: (trajectory: number) => Float64Array;
  readonly #failed: ReadonlySet<number>;

  constructor(
    dtype: D,
    state: number,
    paths: readonly TrajectorySteps<D>[],
    times: (trajectory: number) => Float64Array,
    failed: readonly number[],
  ) {
    [this.#dtype, this.#state, this.#paths, this.#times] = [dtype, state, paths, times];
    this.#failed = new Set(failed);
  }

  /** The solution at a time or at each of a list, or its `order`-th derivative, 0 or 1. */
  value(t: unknown, trajectory: unknown, order: 0 | 1): ArrayOf<D> {
    const times = isObject(t) ? numbersOf("t", t) : [argument("t", t, required(anyNumber))];
    const [paths, state] = [this.#paths, this.#state];
    const first = trajectory === undefined ? 0 : indexOf(trajectory, paths.length);
    const count = trajectory === undefined ? paths.length : 1;
    const out = zeros(this.#dtype, times.length * count * state);
    for (const [k, time] of times.entries()) {
      for (let i = 0; i < count; i++) this.#write(time, first + i, order, out, (k * count + i) * state);
    }
    return out;
  }

  #write(time: number, trajectory: number, order: 0 | 1, out: ArrayOf<D>, at: number): void {
    const { t, y, polynomials } = this.#paths[trajectory] as TrajectorySteps<D>;
    const [state, steps] = [this.#state, t.length - 1];
    const times = this.#times(trajectory);
    const end = t[steps] as number;
    const [first, final] = [times[0] as number, times[times.length - 1] as number];
    const direction = final < first ? -1 : 1;
    // One that failed ends there.
    const last = this.#failed.has(trajectory) ? end : final;
    if (!((time - first) * direction >= 0 && (time - last) * direction <= 0)) {
      throw refused("OPTION", "t", `a time from ${first} to ${last}`, String(time));
    }
    if (order === 1 && steps === 0) {
      throw refused("OPTION", "t", "a time of a trajectory that took a step", `one at ${first}, where it took none`);
    }
    if ((time - end) * direction >= 0) {
      // At the end, or held after an event that has ended the trajectory.
      const held = (time - end) * direction > 0;
      if (order === 0) for (let i = 0; i < state; i++) out[at + i] = y[steps * state + i] as number;
      if (order === 0 || held) return;
    }
    // The last step that begins at the time or before it.
    let [low, high] = [0, Math.max(steps - 1, 0)];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (((t[middle] as number) - time) * direction <= 0) low = middle;
      else high = middle - 1;
    }
    while (low > 0 && t[low] === t[low + 1]) low--;
    const h = (t[low + 1] as number) - (t[low] as number);
    const theta = h === 0 ? 0 : (time - (t[low] as number)) / h;
    const degree = polynomials.length / Math.max(steps, 1) / state;
    for (let i = 0; i < state; i++) {
      let value = 0;
      for (let power = degree - 1; power >= 0; power--) {
        const coefficient = polynomials[(low * degree + power) * state + i] as number;
        value = value * theta + coefficient * (order === 1 ? power + 1 : 1);
      }
      out[at + i] = order === 1 ? (h === 0 ? 0 : value / h) : (y[low * state + i] as number) + value * theta;
    }
  }
}
