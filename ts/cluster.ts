/**
 * Solves and gradients shared by many machines, over NATS JetStream: workers that come and go, and bits that do not depend on them.
 *
 * @module symplectic-adjoint/cluster
 */
import "./index.js";

export type { NatsModules, ServerOptions } from "./cluster/client.js";
export { type Cluster, type ConnectOptions, connect } from "./cluster/connect.js";
export type { ClusterEvent, ClusterStatus, WorkerEvent, WorkerStatus } from "./cluster/events.js";
export { type ClusterWorker, type JoinOptions, join } from "./cluster/join.js";
