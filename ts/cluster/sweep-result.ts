// Results and events of sweeps.
import type { TrialParameters } from "./space.js";
import type { Json } from "./trials.js";

/** One rung of a trial; without successive halving there is one. */
export interface TrialRung {
  /** The budget that the trial had at this rung; undefined without successive halving. */
  readonly budget: number | undefined;
  /** The value that the trial returned at this rung; NaN if it failed. */
  readonly value: number;
  /** How long the trial ran at this rung, in milliseconds. */
  readonly ms: number;
  /** The name of the worker that ran the trial; `here` if that was this process. */
  readonly worker: string;
}

/** How a trial of a sweep ended, with its number and its parameters. */
export interface TrialResult {
  /** The number of the trial, from 0. */
  readonly trial: number;
  /** The values of the parameters that the trial had, by name. */
  readonly parameters: TrialParameters;
  /**
   * `done`: it had the whole budget; `stopped`: others were better at a rung; `failed`: see the message; `open`: it has not ended at the
   * rung where it is.
   */
  readonly status: "done" | "stopped" | "failed" | "open";
  /** The value of the trial at the last rung that it has ended; NaN if it failed or has ended none. */
  readonly value: number;
  /** How long the trial ran, over all rungs, in milliseconds. */
  readonly ms: number;
  /** The rungs that the trial has ended, in their order. */
  readonly rungs: readonly TrialRung[];
  /** Why the trial failed; undefined unless it did. */
  readonly message: string | undefined;
  /** The `info` that the trial returned with its value, at the last rung that it has ended. */
  readonly info: Json | undefined;
}

/** The result of a sweep. */
export interface SweepResult {
  /** The name of the sweep. */
  readonly name: string;
  /**
   * The best of the trials that are done; undefined if all trials have failed. If all have failed at the last rungs, it is the best of the
   * highest rung that one has ended with a value: with its `value`, `rungs`, `info` and `state` of that rung, and the status `failed`.
   */
  readonly best: (TrialResult & { readonly state: Uint8Array | undefined }) | undefined;
  /** All trials of the sweep, in the order of their numbers. */
  readonly trials: readonly TrialResult[];
  /** The budgets of the rungs; empty without successive halving. */
  readonly budgets: readonly number[];
}

/** How far a sweep is. */
export interface SweepStatus {
  /** How many runs of trials have ended; a trial has a run for each rung. */
  readonly ended: number;
  /** How many runs of trials there will be. */
  readonly total: number;
  /** How many runs of trials have failed. */
  readonly failed: number;
  /** The best trial at the highest rung that any trial has ended with a value; undefined until one has. */
  readonly best: TrialResult | undefined;
}

/** What happens in a sweep. */
export type SweepEvent =
  | {
      /** Earlier results of this sweep were found. */
      readonly kind: "resumed";
      /** How far the sweep is. */
      readonly status: SweepStatus;
    }
  | {
      /** A run of a trial has ended. */
      readonly kind: "trial";
      /** With kind `trial`: the trial, with what it found. */
      readonly result: TrialResult;
      /** How far the sweep is. */
      readonly status: SweepStatus;
    }
  | {
      /** A rung begins. */
      readonly kind: "rung";
      /** With kind `rung`: the number of the rung, from 0. */
      readonly rung: number;
      /** The budget of its trials; undefined without successive halving. */
      readonly budget: number | undefined;
      /** With kind `rung`: how many trials run at this rung. */
      readonly trials: number;
    }
  | {
      /** The state of the queue, from time to time. */
      readonly kind: "queue";
      /** How many runs of trials wait in the queue. */
      readonly open: number;
      /** How many runs of trials are under way. */
      readonly running: number;
      /** Whether workers wait for trials. */
      readonly idle: boolean;
      /** How many of the runs under way had been given back, or lost, before. */
      readonly retried: number;
      /** How many workers do such trials; 1 in this process. */
      readonly workers: number;
      /** If no connected worker runs such trials: why not; otherwise undefined. */
      readonly absence: string | undefined;
    }
  | {
      /** A worker returned something that is not a result of a trial; it does not count. */
      readonly kind: "rejected";
      /** Why the result was rejected. */
      readonly reason: string;
    };
