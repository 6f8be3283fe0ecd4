// The public API, which both entries have.

export { driven, type InputOptions } from "./driven.js";
export { type ErrorCode, type ErrorDetails, SymplecticAdjointError } from "./errors.js";
export {
  type Activation,
  type CustomOptions,
  custom,
  type Entry,
  type Field,
  type FieldVjp,
  type Layer,
  type MlpOptions,
  mlp,
} from "./fields.js";
export { type LoadOptions, load, loadStateDict, type Model, type SaveOptions, save } from "./files.js";
export { type Flow, type FlowGradient, type FlowGradientOptions, type FlowOptions, flow } from "./flow.js";
export {
  type Gradient,
  type GradientStats,
  type LossAndCotangent,
  meanSquaredError,
  type Pullback,
  type Retention,
  type Vjp,
  valueAndGrad,
  vjp,
} from "./gradient.js";
export { type KernelPeakOptions, kernelPeak } from "./kernel-peak.js";
export type { ArrayOf, Dtype } from "./memory.js";
export {
  type Minibatches,
  type MinibatchOptions,
  type MinibatchState,
  minibatches,
  type Trajectory,
} from "./minibatches.js";
export {
  type CnfField,
  type CnfOptions,
  cnf,
  type HamiltonianField,
  type HamiltonianOptions,
  hamiltonian,
} from "./models.js";
export { type Bytes, type OdeintOptions, odeint, type Solution, type SolveStats } from "./odeint.js";
export { type AdamOptions, adam, type Optimizer, type SgdOptions, sgd } from "./optimizer.js";
export type {
  AdjointOptions,
  GradientMethod,
  GradientOptions,
  Method,
  SolveOptions,
  StepOptions,
} from "./options.js";
export { type ParallelOptions, type Pool, type PoolPullback, type PoolVjp, parallel } from "./pool.js";
export {
  type CosineDecayOptions,
  cosineDecay,
  type ExponentialDecayOptions,
  exponentialDecay,
  type Schedule,
  warmUp,
} from "./schedules.js";
export { loadTensors, type SkippedTensor, saveTensors, type Tensor, type TensorFile } from "./tensors.js";
export {
  type Batch,
  type Best,
  type FitOptions,
  fit,
  type History,
  type TrainOptions,
  type TrainStep,
  train,
  type Validation,
} from "./train.js";
export { type InitOptions, init, type MemoryUsage, memoryUsage, type Simd, simd, type WasmSource } from "./wasm.js";
