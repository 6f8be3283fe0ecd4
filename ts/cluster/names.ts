// The subjects, streams and buckets of a cluster, all below one prefix.
import { PROTOCOL } from "./messages.js";

/** What lies where. */
export interface ClusterNames {
  /** The work-queue stream of tasks, and its subjects. */
  readonly stream: string;
  readonly subjects: string;
  /** The bucket of values, and the stream behind it. */
  readonly bucket: string;
  readonly bucketStream: string;
  /** Where workers tell of themselves, and are asked to. */
  readonly announcements: string;
  readonly hello: string;
  /** The consumer of a group of workers, and which tasks it gets. */
  consumer(group: string): string;
  tasksFor(group: string, session: string): string;
  announcement(worker: string): string;
  /** Where a worker takes tasks that follow on one that it has done. */
  follow(worker: string): string;
  answers(session: string): string;
  /** The subject of a key of the bucket. */
  key(key: string): string;
  /** The work-queue stream of trials, its subjects, and the consumer of those of a task. */
  readonly trialStream: string;
  readonly trialSubjects: string;
  trialConsumer(task: string): string;
  /** The subject of a trial of a sweep; of `*` of all. */
  trialsFor(task: string, sweep: string, trial: string): string;
  /** The subjects of all trials of a sweep, whatever its task. */
  trialsOf(sweep: string): string;
  /** The bucket of sweeps, the stream behind it, and the subject of a key. */
  readonly sweepBucket: string;
  readonly sweepBucketStream: string;
  sweepKey(key: string): string;
}

export function namesOf(prefix: string): ClusterNames {
  const bucket = `${prefix}_values`;
  const sweepBucket = `${prefix}_sweeps`;
  return {
    stream: `${prefix}_tasks`,
    subjects: `${prefix}.tasks.>`,
    bucket,
    bucketStream: `KV_${bucket}`,
    announcements: `${prefix}.workers.*`,
    hello: `${prefix}.hello`,
    consumer: (group) => `v${PROTOCOL}_${group}`,
    tasksFor: (group, session) => `${prefix}.tasks.v${PROTOCOL}_${group}.${session}`,
    announcement: (worker) => `${prefix}.workers.${worker}`,
    follow: (worker) => `${prefix}.follow.${worker}`,
    answers: (session) => `${prefix}.answers.${session}`,
    key: (key) => `$KV.${bucket}.${key}`,
    trialStream: `${prefix}_trials`,
    trialSubjects: `${prefix}.trials.>`,
    trialConsumer: (task) => `v${PROTOCOL}_${task}`,
    trialsFor: (task, sweep, trial) => `${prefix}.trials.v${PROTOCOL}_${task}.${sweep}.${trial}`,
    trialsOf: (sweep) => `${prefix}.trials.*.${sweep}.*`,
    sweepBucket,
    sweepBucketStream: `KV_${sweepBucket}`,
    sweepKey: (key) => `$KV.${sweepBucket}.${key}`,
  };
}

/** The group of tasks that any worker may do, whatever its arithmetic. */
export const ANY = "any";
