// What a cluster has on its servers: a queue of tasks with a consumer for each group of workers, and a bucket of values.
import type { Consumer, ConsumerConfig, JsMsg } from "@nats-io/jetstream";
import { type Client, connectionError } from "./client.js";
import { makeStore } from "./store.js";
import { delay } from "./wait.js";

export interface StreamOptions {
  /** The group of workers that tasks are for. */
  readonly group: string;
  /** After so many milliseconds without a sign of life a task is given to another worker. */
  readonly stallMs: number;
  /** Servers that keep a copy. */
  readonly replicas: number;
}

/** What was made, or was there; the times at which it was made tell when it is made anew. */
interface Streams {
  readonly tasks: string;
  readonly values: string;
}

/** Deliveries of one message: the next attempt comes from the coordinator, who counts them. */
const MOST_DELIVERIES = 4;
const HOUR_MS = 3_600_000;
/** JetStream's codes of a cluster that has no leader, or too few peers, for now. */
const NO_LEADER = [10005, 10008, 10009];
/** Of a stream of that name that is there, with other settings. */
const TAKEN = 10058;

/** Of a consumer of that name that is there, with other settings. */
const HAS_CONSUMER = 10148;

export const nanos = (ms: number) => Math.round(ms * 1e6);

/** Makes a consumer; one that is there, such as that of a coordinator with another stallTimeout, gets these settings. */
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

/** The next message of a queue; rejects where the connection is lost, and the question with it. */
export async function nextOf({ connected }: Client, consumer: Consumer, expires: number): Promise<JsMsg | null> {
  const asking = consumer.next({ expires });
  try {
    return await connected(asking);
  } catch (error) {
    // Should it be answered after all, another worker gets it.
    asking.then(
      (message) => message?.nak(),
      () => {},
    );
    throw error;
  }
}

/** Makes what is missing; waits so long for servers that cannot do so yet. */
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
      // Tasks of a coordinator that was killed.
      max_age: nanos(HOUR_MS),
      duplicate_window: nanos(120_000),
    })
    // Another coordinator has made it otherwise, which does as well.
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
