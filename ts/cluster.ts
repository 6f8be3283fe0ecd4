/**
 * Solves and gradients shared by many machines, over NATS JetStream: workers that come and go, and bits that do not depend on them; and
 * sweeps over parameters.
 *
 * @module symplectic-adjoint/cluster
 */
import "./index.js";

export type { NatsModules, ServerOptions } from "./cluster/client.js";
export { type Cluster, type ConnectOptions, connect } from "./cluster/connect.js";
export type { ClusterEvent, ClusterStatus, WorkerEvent, WorkerStatus } from "./cluster/events.js";
export type { HalvingOptions } from "./cluster/halving.js";
export { type ClusterWorker, type JoinOptions, join } from "./cluster/join.js";
export type { Sampler, SamplerFunction, SamplerRequest } from "./cluster/sampler.js";
export type { ParameterRange, SearchSpace, TrialParameters, TrialParameterValue } from "./cluster/space.js";
export { type SweepOptions, sweep } from "./cluster/sweep.js";
export type { SweepEvent, SweepResult, SweepStatus, TrialResult, TrialRung } from "./cluster/sweep-result.js";
export {
  listSweeps,
  type RemovedSweep,
  type RemoveSweepOptions,
  readSweep,
  removeSweep,
  type SweepSummary,
} from "./cluster/sweeps.js";
export type { Json, Trial, TrialFunction, TrialOutcome } from "./cluster/trials.js";
