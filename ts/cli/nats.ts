// The NATS client, in a file of its own: only commands with servers load it, and the threads of a fit share it.
import * as jetstream from "@nats-io/jetstream";
import * as kv from "@nats-io/kv";
import * as transport from "@nats-io/transport-node";

export { jetstream, kv, transport };
