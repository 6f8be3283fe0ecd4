// One gradient by each method, at the present parameters and batch: what it takes, by the package's own ledger.
import type { Field, GradientMethod } from "symplectic-adjoint/slim";
import { GRADIENTS } from "./config.js";
import { failureOf } from "./failure.js";
import type { Learner } from "./learner.js";
import type { ComparedProblem, MethodResult } from "./messages.js";
import { optionsOf } from "./options.js";
import type { TaskBatch, TaskGradient } from "./task.js";

/** A method that would take more is told of by an estimate. */
const MOST = 2 ** 29;
/** Differences are from the first; the estimate of those that tape all rests on `aca`, which tapes one step. */
const FIRST: readonly GradientMethod[] = ["symplectic", "aca"];
/** The shortest time of several is told: of six, of three where those are slow, of two that are very slow. */
const [SLOW, VERY_SLOW] = [20, 200];
/** Milliseconds at least that a time is measured over, as clocks of browsers are coarse. */
const LEAST = 5;

export class Comparison {
  readonly #field: Field<"float32">;
  readonly #batch: TaskBatch;
  readonly #left = [...FIRST, ...GRADIENTS.filter((gradient) => !FIRST.includes(gradient))];
  readonly #config;
  readonly rows: MethodResult[] = [];
  problem: ComparedProblem | undefined;
  #reference: Float32Array | undefined;

  constructor(readonly learner: Learner) {
    this.#config = learner.config;
    // The model learns on meanwhile.
    this.#field = learner.task.makeField(learner.config);
    this.#field.parameters = learner.field.parameters.slice();
    this.#batch = learner.batch();
  }

  get done(): boolean {
    return this.#left.length === 0;
  }

  /** Takes one gradient of those that are left. */
  next(): void {
    const method = this.#left.shift();
    if (!method) return;
    const estimate = this.#estimate(method);
    if (estimate > MOST) this.rows.push({ method, estimate });
    else this.rows.push(this.#measure(method));
  }

  #measure(method: GradientMethod): MethodResult {
    try {
      const { result, milliseconds } = this.#timed(method);
      const { gradient } = result;
      const stats = result.stats();
      this.#reference ??= gradient.parameters;
      this.problem ??= {
        steps: stats.accepted,
        batch: gradient.y0.length / this.#field.stateSize,
        stateSize: this.#field.stateSize,
        outputs: this.#batch.times.length,
        parameters: gradient.parameters.length,
        independent: this.learner.task.independent ?? false,
      };
      return {
        method,
        bytes: gradient.stats.peakBytes,
        milliseconds,
        evaluations: stats.evaluations + gradient.stats.evaluations,
        vjps: gradient.stats.vjps,
        retention: gradient.stats.retention,
        difference: difference(gradient.parameters, this.#reference),
      };
    } catch (error) {
      return { method, failure: failureOf("training", error) };
    }
  }

  #timed(method: GradientMethod): { result: TaskGradient; milliseconds: number } {
    let result: TaskGradient | undefined;
    let milliseconds = Number.POSITIVE_INFINITY;
    const enough = (taken: number) => taken >= (milliseconds > VERY_SLOW ? 2 : milliseconds > SLOW ? 3 : 6);
    for (let i = 0; i === 0 || !enough(i); i++) {
      const start = performance.now();
      let [times, taken] = [0, 0];
      do {
        result = this.learner.task.gradient(this.#field, this.#batch, optionsOf(this.#config, method));
        taken = performance.now() - start;
        times++;
      } while (taken < LEAST);
      milliseconds = Math.min(milliseconds, taken / times);
    }
    return { result: result as TaskGradient, milliseconds };
  }

  #estimate(method: GradientMethod): number {
    if (method !== "backprop" && method !== "baseline") return 0;
    const [least, step] = ["symplectic", "aca"].map((name) => this.rows.find((row) => row.method === name)?.bytes);
    if (!least || !step || !this.problem) return 0;
    return least.total + this.problem.steps * (step.tape + step.stages / 2);
  }

  dispose(): void {
    this.#field.dispose();
  }
}

/** ‖ours − theirs‖ / ‖theirs‖; zero only if they are bitwise equal. */
function difference(ours: Float32Array, theirs: Float32Array): number {
  let [apart, whole] = [0, 0];
  for (let i = 0; i < ours.length; i++) {
    apart += ((ours[i] as number) - (theirs[i] as number)) ** 2;
    whole += (theirs[i] as number) ** 2;
  }
  return apart === 0 ? 0 : Math.sqrt(apart / whole);
}
