// What the page and its worker say to each other. `run` counts the models, so that what comes late is recognised.
import type { GradientMethod, PeakBytes, Retention, Simd } from "symplectic-adjoint/slim";
import type { Config } from "./config.js";

export type PageMessage =
  /** A new model, with these parameters if given. */
  | { kind: "start"; run: number; config: Config; running: boolean }
  /** Changes all but the model. */
  | { kind: "configure"; config: Config }
  | { kind: "run" }
  | { kind: "pause" }
  | { kind: "step" }
  /** Estimates the parameters of this run. */
  | { kind: "estimate"; run: number }
  /** How far from noise (0) to data (1) the density is shown. */
  | { kind: "morph"; at: number }
  | { kind: "save" }
  | { kind: "load"; run: number; file: Uint8Array };

export type WorkerMessage =
  /** A model has been made; one from a file brings its configuration. */
  | { kind: "started"; run: number; loaded: Config | undefined; scene: Scene; simd: Simd | undefined }
  | { kind: "progress"; run: number; step: number; losses: Float64Array; stats: StepStats }
  | { kind: "picture"; run: number; picture: Picture; at: number }
  | { kind: "estimated"; run: number; estimation: Estimation }
  | { kind: "measured"; run: number; problem: ComparedProblem; rows: MethodResult[] }
  | { kind: "running"; run: number; running: boolean }
  | { kind: "saved"; run: number; name: string; file: Uint8Array<ArrayBuffer> }
  | { kind: "failed"; run: number; failure: FailureReport };

/** An error as data. */
export interface FailureReport {
  readonly during: "training" | "picture" | "start" | "load" | "save" | "estimate";
  readonly code: string;
  readonly message: string;
  readonly argument?: string | undefined;
  readonly bytes?: number | undefined;
  /** The place in a text, from 1. */
  readonly line?: number | undefined;
  readonly column?: number | undefined;
}

/** What the last gradient took. */
export interface StepStats {
  /** Median of late. */
  readonly milliseconds: number;
  readonly accepted: number;
  readonly rejected: number;
  readonly evaluations: number;
  readonly vjps: number;
  readonly peak: number;
  /** What the present batch is, where it changes with the steps. */
  readonly note: string | undefined;
}

/** A gradient by one method, on the problem of all the others. */
export interface MethodResult {
  readonly method: GradientMethod;
  readonly bytes?: PeakBytes;
  readonly milliseconds?: number;
  readonly evaluations?: number;
  readonly vjps?: number;
  readonly retention?: Retention;
  /** Relative difference from `symplectic`; 0 is bitwise equality. */
  readonly difference?: number;
  readonly failure?: FailureReport;
  /** Too much to be tried here: about so many bytes. */
  readonly estimate?: number;
}

/** Parameters as they are estimated. */
export interface Estimation {
  readonly iteration: number;
  readonly estimates: readonly EstimateRow[];
  /** At the end: why it ended, and what to know before using the estimates, as sentences. */
  readonly ending?: { readonly message: string; readonly warnings: readonly string[] };
}

/** One parameter, with errors where they are known. */
interface EstimateRow {
  readonly name: string;
  readonly value: number;
  readonly standardError?: number | undefined;
  readonly interval?: readonly [lower: number, upper: number] | undefined;
}

/** What was measured. */
export interface ComparedProblem {
  readonly steps: number;
  readonly batch: number;
  readonly stateSize: number;
  readonly outputs: number;
  readonly parameters: number;
  /** Whether each trajectory has its own steps, which `steps` counts together. */
  readonly independent: boolean;
}

/** A rectangle of the plane: left, right, bottom, top. */
export type Extent = readonly [number, number, number, number];

/** What does not change while a model learns. */
export interface Scene {
  readonly extent: Extent;
  readonly axes: readonly [string, string];
  /** Points [x, y, …] that are learned from. */
  readonly data: Float32Array;
  readonly morphs: boolean;
  /** Whether the height 0 is the ground, on which a click chooses a target. */
  readonly ground?: boolean;
  /** What the plane shows, where it is not data, learned solutions and a vector field. */
  readonly shows?: string;
  /** Functions of time beside the plane: the data where there are any. */
  readonly series?: {
    readonly title: string;
    readonly x: number[];
    readonly names: string[];
    readonly data: SeriesValues[];
  };
  /** The name of the loss, and whether its logarithm is shown. */
  readonly loss: { readonly name: string; readonly logarithmic: boolean };
}

export type SeriesValues = (number | null)[];

/** What the model has learned so far. */
export interface Picture {
  /** Vectors [dx, dy, …] on a grid of so many a side, rows from the bottom. */
  readonly field: Float32Array;
  readonly fieldSide: number;
  /** Solutions, each [x, y, …]. */
  readonly paths: readonly Float32Array[];
  /** The times, in seconds, of the points of the first: something moves along it. */
  readonly pathTimes?: Float32Array;
  /** More solutions, which stand back. */
  readonly others?: readonly Float32Array[];
  /** Samples [x, y, …]. */
  readonly points?: Float32Array;
  /** An energy or a density on a grid of so many a side, rows from the bottom. */
  readonly levels?: { readonly side: number; readonly values: Float32Array; readonly filled: boolean };
  readonly series?: SeriesValues[];
  /** Two standard errors above each series, and below. */
  readonly bands?: readonly { readonly upper: SeriesValues; readonly lower: SeriesValues }[];
  /** The parameters of equations, in the order in which the text has them. */
  readonly parameters?: readonly number[];
  /** Where on the ground something is to land. */
  readonly target?: number;
  /** What the picture tells in numbers: a term and its value each. */
  readonly figures?: readonly (readonly [term: string, value: string])[];
}
