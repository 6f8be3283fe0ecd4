// What a task is to the worker: a field, batches, a gradient and a picture.
import {
  type Field,
  type Gradient,
  type GradientOptions,
  meanSquaredError,
  odeint,
  type SolveStats,
  SymplecticAdjointError,
  valueAndGrad,
} from "symplectic-adjoint/slim";
import type { Config } from "./config.js";
import type { Estimation, Extent, Picture, Scene } from "./messages.js";

export interface TaskBatch {
  readonly y0: Float32Array;
  readonly times: readonly number[];
  readonly target?: Float32Array;
  /** Of the learning rate. */
  readonly factor?: number;
  readonly note?: string;
}

export interface TaskGradient {
  readonly value: number;
  readonly gradient: Gradient<"float32">;
  /** Of the solve, for the parameters as they are: it may take one more, which is not part of the gradient. */
  readonly stats: () => SolveStats;
}

export interface LearningTask {
  readonly scene: Scene;
  /** The unit of each parameter, by which its learning rate is multiplied; 1 by default. */
  readonly scales?: readonly number[];
  /** Whether trajectories have their own steps. */
  readonly independent?: boolean;
  /** Is told what is set, as it changes; what needs a new model is not among the changes. */
  configure?(config: Config): void;
  makeField(config: Config): Field<"float32">;
  /** The batch of a step, and whether the problem is another one than that of the step before. */
  batch(step: number): TaskBatch;
  gradient(field: Field<"float32">, batch: TaskBatch, options: GradientOptions): TaskGradient;
  picture(field: Field<"float32">, options: GradientOptions, at: number): Picture;
  /** Estimates the parameters, with their errors, from those of the field on; these follow. Gives the picture at the end. */
  estimate?(field: Field<"float32">, options: GradientOptions, report: ReportEstimation): Picture;
}

/** Is told of each iteration, and can have a picture of it. */
export type ReportEstimation = (estimation: Estimation, draw?: () => Picture) => void;

/** The mean squared error of a solution, and its gradient. */
export function squaredError(field: Field<"float32">, batch: TaskBatch, options: GradientOptions): TaskGradient {
  const loss = (y: Float32Array) => meanSquaredError(y, batch.target as Float32Array);
  const { value, gradient, solution } = valueAndGrad(field, batch.y0, batch.times, loss, options);
  return { value, gradient, stats: () => solution.stats };
}

/** A solution at times; where a field that is not yet learned leads astray, up to there, and NaN from there on. */
export function solved(
  field: Field<"float32">,
  y0: Float32Array,
  times: readonly number[],
  options: GradientOptions,
): Float32Array {
  try {
    return odeint(field, y0, times, { ...options, partial: true }).y;
  } catch (error) {
    if (!(error instanceof SymplecticAdjointError && error.partial)) throw error;
    const y = new Float32Array(times.length * y0.length).fill(Number.NaN);
    y.set(error.partial.y);
    return y;
  }
}

/** The widths of a network with so many inputs and outputs. */
export function widths(config: Config, inputs: number, outputs = inputs): number[] {
  return [inputs, ...Array<number>(config.layers).fill(config.width), outputs];
}

/** Points [x, y, …] of a grid over a rectangle, in the middle of its cells, rows from the bottom. */
export function gridOf([left, right, bottom, top]: Extent, side: number): Float32Array {
  const points = new Float32Array(2 * side * side);
  for (let i = 0; i < side * side; i++) {
    points[2 * i] = left + (((i % side) + 0.5) * (right - left)) / side;
    points[2 * i + 1] = bottom + ((Math.floor(i / side) + 0.5) * (top - bottom)) / side;
  }
  return points;
}

/** Column `index` of rows of two, as numbers. */
export function column(rows: Float32Array, index: 0 | 1): number[] {
  return range(rows.length / 2).map((i) => rows[2 * i + index] as number);
}

/** 0, 1 … below a length. */
export function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}
