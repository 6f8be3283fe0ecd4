// A model that learns its task, a step at a time.
import { adam, type Field, type Gradient, type Optimizer } from "symplectic-adjoint/slim";
import type { Config } from "./config.js";
import type { Picture, StepStats } from "./messages.js";
import { optionsOf } from "./options.js";
import type { LearningTask, ReportEstimation, TaskBatch } from "./task.js";
import { MAKERS } from "./tasks.js";

/** Gradients whose median time is told. */
const RECENT = 31;

export class Learner {
  readonly task: LearningTask;
  readonly field: Field<"float32">;
  readonly #optimizer: Optimizer<"float32">;
  readonly #recent: number[] = [];
  /** The picture of estimates, until the parameters are others. */
  #estimated: Picture | undefined;
  steps = 0;
  stats: StepStats | undefined;

  constructor(
    public config: Config,
    parameters?: Float32Array,
  ) {
    this.task = MAKERS[config.task](config);
    this.field = this.task.makeField(config);
    try {
      if (parameters) this.field.parameters = parameters;
      this.#optimizer = adam(this.field, { learningRate: config.rate });
    } catch (error) {
      this.field.dispose();
      throw error;
    }
  }

  batch(): TaskBatch {
    return this.task.batch(this.steps);
  }

  /** Takes a step, and gives the loss before it. */
  step(): number {
    const batch = this.batch();
    const start = performance.now();
    const { value, gradient, stats: statsOf } = this.task.gradient(this.field, batch, optionsOf(this.config));
    this.#recent.push(performance.now() - start);
    // Of the parameters before the optimizer's step.
    const stats = statsOf();
    if (this.#recent.length > RECENT) this.#recent.shift();
    this.#optimizer.learningRate = this.config.rate * (batch.factor ?? 1);
    this.#move(gradient);
    this.#estimated = undefined;
    this.steps++;
    this.stats = {
      milliseconds: [...this.#recent].sort((a, b) => a - b)[this.#recent.length >> 1] as number,
      accepted: stats.accepted,
      rejected: stats.rejected,
      evaluations: stats.evaluations + gradient.stats.evaluations,
      vjps: gradient.stats.vjps,
      peak: gradient.stats.peakBytes.total,
      note: batch.note,
    };
    return value;
  }

  /** Takes the optimizer's step, of each parameter in its own unit. */
  #move(gradient: Gradient<"float32">): void {
    const { scales } = this.task;
    const before = scales && this.field.parameters.slice();
    this.#optimizer.step(gradient);
    if (!before) return;
    const after = this.field.parameters;
    this.field.parameters = before.map((value, i) => value + (scales[i] as number) * ((after[i] as number) - value));
  }

  configure(config: Config): void {
    this.config = config;
    this.task.configure?.(config);
    this.#recent.length = 0;
  }

  /** Estimates the parameters, where the task can. */
  estimate(report: ReportEstimation): void {
    this.#estimated = undefined;
    this.#estimated = this.task.estimate?.(this.field, optionsOf(this.config), report);
  }

  picture(at: number): Picture {
    if (this.#estimated) return this.#estimated;
    return this.task.picture(this.field, optionsOf(this.config), at);
  }

  dispose(): void {
    this.#optimizer.dispose();
    this.field.dispose();
  }
}
