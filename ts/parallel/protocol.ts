// The messages between a pool and its workers.

import type { ArrayOf, Dtype } from "../checks/arrays.js";
import type { ErrorCode, ErrorDetails } from "../checks/errors.js";
import type { EngineSource } from "../engine/engine.js";
import type { FieldState, Recipe } from "../fields/field.js";
import type { EnsembleCotangents, EnsembleGradient, EnsembleProblem, EnsembleResult } from "../solve/ensemble.js";
import type { EnsembleJvpProblem } from "../solve/ensemble-jvp.js";
import type { GradientOptions } from "../solve/options.js";
import type { Gradient, Solution } from "../solve/results.js";

/** The part of a batch that a worker solves, and with whom its steps are shared. */
export interface Part {
  /** Panels of the whole batch, the first of this part, and how many this part has. */
  readonly panels: number;
  readonly first: number;
  readonly ownPanels: number;
  /** Samples of the whole batch. */
  readonly samples: number;
  readonly workers: number;
  /** Where the parts meet; none where nothing is to be shared. */
  readonly sums: SharedArrayBuffer | undefined;
}

/** A solve of a part. */
export interface PoolJob {
  readonly recipe: Recipe;
  /** The state of the field (what it has besides its parameters); its arrays have the rows of this part's samples. */
  readonly state: FieldState;
  /** The index of this part's first sample. */
  readonly firstSample: number;
  readonly parameters: ArrayOf<Dtype>;
  readonly y0: ArrayOf<Dtype>;
  readonly times: Float64Array;
  readonly options: GradientOptions;
  readonly part: Part;
}

/** A solve of independent trajectories. */
export interface EnsembleJob {
  readonly recipe: Recipe;
  /** The state of the field (what it has besides its parameters) for these trajectories, and the index of the first in the whole batch. */
  readonly state: FieldState;
  readonly firstSample: number;
  readonly parameters: ArrayOf<Dtype>;
  readonly problem: EnsembleProblem;
  /** Whether it is kept for its gradient, under the number of the request. */
  readonly keep: boolean;
}

/** The same, with its derivatives along directions; it is not kept. */
export interface JvpJob extends Omit<EnsembleJob, "keep" | "problem">, EnsembleJvpProblem {}

export type Request =
  | { readonly kind: "start"; readonly engine: EngineSource }
  | ({ readonly kind: "odeint" } & PoolJob)
  | ({ readonly kind: "vjp" } & PoolJob)
  | ({ readonly kind: "ensemble" } & EnsembleJob)
  | ({ readonly kind: "jvp" } & JvpJob)
  | { readonly kind: "transpose"; readonly solve: number; readonly cotangents: EnsembleCotangents }
  | { readonly kind: "pullback"; readonly solve: number; readonly cotangent: ArrayOf<Dtype> }
  | { readonly kind: "release"; readonly solve: number };

/** The answers to requests; `vjp` keeps the solve under the id of the request. */
export interface Answers {
  start: undefined;
  odeint: Solution;
  vjp: Solution;
  ensemble: EnsembleResult;
  jvp: EnsembleResult;
  transpose: EnsembleGradient;
  pullback: Gradient;
  release: undefined;
}

/** An error on its way to the caller. */
export interface WorkerFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
  /** Whether it only says that another part has failed. */
  readonly isSecondary: boolean;
}

export type Reply = { readonly id: number } & ({ readonly value: unknown } | { readonly failure: WorkerFailure });
