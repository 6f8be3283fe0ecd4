// The task queue of a cluster on its servers, with a consumer for each group of workers.
import type { Consumer, ConsumerConfig, JsMsg } from "@nats-io/jetstream";
import { type Client, connectionError } from "./client.js";
import { makeStore } from "./store.js";
import { delay } from "./wait.js";

export interface StreamOptions {
  /** The group of workers that may compute the tasks. */
  readonly group: string;
  /** Milliseconds without a sign of life after which a task goes to another worker. */
  readonly stallMs: number;
  /** The number of servers that keep a copy. */
  readonly replicas: number;
}

/** When each stream was created, to notice when it was created again. */
interface Streams {
  readonly tasks: string;
  readonly values: string;
}

/** How often JetStream delivers a message. After that, the coordinator queues the task again, and counts. */
const MOST_DELIVERIES = 4;
const HOUR_MS = 3_600_000;
/** JetStream's errors of a cluster that has no leader, or too few peers, at the moment. */
const NO_LEADER = [10005, 10008, 10009];
/** JetStream's error for a stream that exists with other settings. */
const TAKEN = 10058;

/** JetStream's error for a consumer that exists with other settings. */
const HAS_CONSUMER = 10148;

export const nanos = (ms: number) => Math.round(ms * 1e6);

/** Creates a consumer. An existing one gets the new settings, for example another stallTimeout. */
export async function makeConsumer(
  { manager }: Client,
  stream: string,
  config: Partial<ConsumerConfig> & { durable_name: string },
): Promise<void> {
  try {
    await manager.consumers.add(stream, config);
  } catch (error) {
    if ((error as { code?: number }).code !== HAS_CONSUMER) throw error;
    await manager.consumers.update(stream, config.durable_name, config);
  }
}

/** The next message of a queue; rejects if the connection is lost, because the request is lost with it. */
export async function nextOf({ connected }: Client, consumer: Consumer, expires: number): Promise<JsMsg | null> {
  const asking = consumer.next({ expires });
  try {
    return await connected(asking);
  } catch (error) {
    // If a message arrives after all, another worker gets it.
    asking.then(
      (message) => message?.nak(),
      () => {},
    );
    throw error;
  }
}

/** Creates what is missing; retries for `patienceMs` while servers have no leader. */
export async function makeStreams(client: Client, options: StreamOptions, patienceMs: number): Promise<Streams> {
  const until = performance.now() + patienceMs;
  for (;;) {
    try {
      return await made(client, options);
    } catch (error) {
      const { name, code } = error as { name?: string; code?: number };
      const isAgreeing = name === "TimeoutError" || NO_LEADER.includes(code ?? 0);
      if (!isAgreeing || performance.now() > until) throw connectionError(error);
      await delay(500);
    }
  }
}

async function made(client: Client, { group, stallMs, replicas }: StreamOptions): Promise<Streams> {
  const { manager, names, jetstream } = client;
  const { RetentionPolicy, StorageType, AckPolicy } = jetstream;
  const stream = await manager.streams
    .add({
      name: names.stream,
      subjects: [names.subjects],
      retention: RetentionPolicy.Workqueue,
      storage: StorageType.Memory,
      num_replicas: replicas,
      // Tasks of killed coordinators expire.
      max_age: nanos(HOUR_MS),
      duplicate_window: nanos(120_000),
    })
    // Another coordinator created it with other settings, which works as well.
    .catch((error) => (error.code === TAKEN ? manager.streams.info(names.stream) : Promise.reject(error)));
  await makeConsumer(client, names.stream, {
    durable_name: names.consumer(group),
    filter_subject: names.tasksFor(group, "*"),
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(stallMs),
    max_deliver: MOST_DELIVERIES,
    max_ack_pending: 10_000,
    inactive_threshold: nanos(HOUR_MS),
  });
  await makeStore(client, replicas);
  const { created } = await manager.streams.info(names.bucketStream);
  return { tasks: stream.created, values: created };
}
