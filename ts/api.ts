// The public API, which both entries have.

export type { ArrayOf, Dtype } from "./checks/arrays.js";
export { type ErrorCode, type ErrorDetails, SymplecticAdjointError } from "./checks/errors.js";
export { type MemoryUsage, memoryUsage } from "./engine/call.js";
export type { Engine, EngineKind, Simd } from "./engine/engine.js";
export { engine, type InitOptions, init, simd } from "./engine/instance.js";
export { type KernelPeakOptions, kernelPeak } from "./engine/kernel-peak.js";
export type { WasmSource } from "./engine/wasm.js";
export type { ErrorModelName } from "./estimate/error-models.js";
export type { FieldFitOptions, InitialOptions } from "./estimate/field-options.js";
export type {
  AsyncFieldFitResult,
  Curve,
  CurveOptions,
  EstimateName,
  FieldFitResult,
  Residual,
} from "./estimate/field-results.js";
export { leastSquares } from "./estimate/least-squares.js";
export type { Observe, ObservedInputs } from "./estimate/observe.js";
export type { ParameterOptions } from "./estimate/parameters.js";
export type { LognormalPrior, NormalPrior, Prior } from "./estimate/priors.js";
export type { ResidualFitOptions, Residuals } from "./estimate/residual-fit.js";
export type {
  AsyncFitResult,
  Estimate,
  FitReason,
  FitResult,
  PriorEstimate,
  Profile,
  ProfileOptions,
  StartResult,
} from "./estimate/results.js";
export type { LossName } from "./estimate/robust.js";
export type { FitProgress, FitSettings } from "./estimate/settings.js";
export type { Measurements } from "./estimate/trajectories.js";
export type { TransformName } from "./estimate/transforms.js";
export { type CnfField, type CnfOptions, cnf } from "./fields/cnf.js";
export { type CustomOptions, custom } from "./fields/custom.js";
export {
  type Differentiable,
  type DifferentiableOptions,
  differentiable,
  type InputArrays,
  type InputShapes,
} from "./fields/differentiable.js";
export { type DrivenOptions, driven } from "./fields/driven.js";
export type { NumbersOf, ParametersIn, StatesIn } from "./fields/equation-names.js";
export { type EquationsOptions, equations } from "./fields/equations.js";
export type {
  ArgumentArrays,
  Field,
  FieldNames,
  FieldVjp,
  LayerEntries,
  NamesOf,
  NamesOfField,
} from "./fields/field.js";
export { type HamiltonianField, type HamiltonianOptions, hamiltonian } from "./fields/hamiltonian.js";
export { type Activation, type MlpOptions, mlp } from "./fields/mlp.js";
export type {
  EntryNames,
  EntryNamesOf,
  ParameterValueOf,
  ParameterValues,
  ParameterValuesOf,
  PartNames,
  PartNamesOf,
} from "./fields/named-parameters.js";
export type { FieldTangents, Jvp, ProgramField } from "./fields/program.js";
export {
  type ArgumentNames,
  type ArgumentSizes,
  type NamesIn,
  type SlopeInputs,
  type SlopesByName,
  type VectorFieldOptions,
  vectorField,
} from "./fields/vector-field.js";
export { type LoadedField, type LoadedModel, load, type SaveOptions, save } from "./files/model.js";
export { type LoadOptions, loadStateDict } from "./files/state-dict.js";
export { loadTensors, type SkippedTensor, saveTensors, type Tensor, type TensorFile } from "./files/tensors.js";
export { parallel } from "./parallel/pool.js";
export type {
  IndependentPoolLoss,
  IndependentPoolVjp,
  ParallelOptions,
  Pool,
  PoolPullback,
  PoolVjp,
} from "./parallel/pool-types.js";
export type { Event, EventInputs, Jump, JumpGradient, Lists, NewState } from "./solve/changes.js";
export type { EventTangents } from "./solve/ensemble-jvp.js";
export {
  type IndependentLoss,
  type IndependentValueAndGradient,
  type IndependentVjp,
  valueAndGrad,
  vjp,
} from "./solve/gradient.js";
export {
  type HessianVectorProduct,
  hessianVectorProduct,
  type LossWithCurvature,
} from "./solve/hessian-vector-product.js";
export type {
  DetectedEvents,
  EventCotangents,
  IndependentGradient,
  IndependentSolution,
  Steps,
  TrajectoryStats,
} from "./solve/independent.js";
export { type IndependentSolutionJvp, jvp, type SolutionJvp } from "./solve/jvp.js";
export { odeint } from "./solve/odeint.js";
export type {
  AdjointOptions,
  ControllerCoefficients,
  ErrorNorm,
  GradientMethod,
  GradientOptions,
  Independent,
  Method,
  OdeintOptions,
  SolveOptions,
  StepOptions,
  Tableau,
} from "./solve/options.js";
export type {
  Gradient,
  GradientStats,
  LossAndCotangent,
  PeakBytes,
  Pullback,
  Retention,
  Solution,
  SolveStats,
  ValueAndGradient,
  Vjp,
} from "./solve/results.js";
export { type Sensitivities, type SensitivityOptions, sensitivities } from "./solve/sensitivities.js";
export { series } from "./solve/series.js";
export { restoreSolver, type SavedSolver, type Solver, type SolverOptions, solver } from "./solve/solver.js";
export type { Tangents } from "./solve/tangents.js";
export { formula } from "./trace/formula.js";
export { grad } from "./trace/grad.js";
export type { NestedNumbers } from "./trace/nested.js";
export { type LinearOptions, type Module, nn } from "./trace/nn.js";
export * from "./trace/operations.js";
export type { ModuleParts, Parameter, Parameters, Traceable, TraceableOf, TracedModule } from "./trace/parameters.js";
export type { Entry } from "./trace/program.js";
export { type Condition, concat, constant, type Operand, type Value, type Vector, where } from "./trace/value.js";
export type { Batch, Loss } from "./train/batch.js";
export {
  type Flow,
  type FlowGradient,
  type FlowGradientOptions,
  type FlowOptions,
  flow,
  type SampleOptions,
} from "./train/flow.js";
export {
  type LbfgsOptions,
  type LbfgsProgress,
  type LbfgsReason,
  type LbfgsResult,
  type LbfgsValue,
  lbfgs,
} from "./train/lbfgs.js";
export {
  type LossData,
  type LossOfSolution,
  type LossOptions,
  type LossValues,
  loss,
  type TracedLoss,
} from "./train/loss.js";
export {
  absoluteLoss,
  type GaussianOptions,
  gaussianLoss,
  type HuberOptions,
  huberLoss,
  type PoissonOptions,
  poissonLoss,
} from "./train/losses.js";
export {
  type Minibatches,
  type MinibatchOptions,
  type MinibatchState,
  minibatches,
  type ObservedTrajectory,
} from "./train/minibatches.js";
export {
  type AdamOptions,
  adam,
  type DtypeOf,
  type Optimizer,
  type SgdOptions,
  sgd,
} from "./train/optimizer.js";
export type { NumberByName } from "./train/parameter-groups.js";
export {
  type CosineDecayOptions,
  cosineDecay,
  type ExponentialDecayOptions,
  exponentialDecay,
  type Schedule,
  warmUp,
} from "./train/schedules.js";
export { meanSquaredError } from "./train/squared-error.js";
export { fit, type History, type TrainFitOptions, type TrainOptions, type TrainStep, train } from "./train/train.js";
export type { Best, SavedBest, Validation } from "./train/validation.js";
