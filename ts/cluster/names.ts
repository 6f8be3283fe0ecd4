// The subjects, streams and buckets of a cluster; all names begin with its prefix.
import { PROTOCOL } from "./messages.js";

/** The names of everything on the servers. */
export interface ClusterNames {
  /** The work-queue stream of tasks, and its subjects. */
  readonly stream: string;
  readonly subjects: string;
  /** The bucket of values, and its underlying stream. */
  readonly bucket: string;
  readonly bucketStream: string;
  /** Where workers announce themselves, and where they are asked to. */
  readonly announcements: string;
  readonly hello: string;
  /** The consumer of a group of workers, and the subject of its tasks. */
  consumer(group: string): string;
  tasksFor(group: string, session: string): string;
  announcement(worker: string): string;
  /** Where a worker takes tasks that follow one of its own. */
  follow(worker: string): string;
  answers(session: string): string;
  /** The subject of a key in the bucket of values. */
  key(key: string): string;
  /** The work-queue stream of trials, its subjects, and the consumer for a task. */
  readonly trialStream: string;
  readonly trialSubjects: string;
  trialConsumer(task: string): string;
  /** The subject of a trial of a sweep; `*` stands for all. */
  trialsFor(task: string, sweep: string, trial: string): string;
  /** The subjects of all trials of a sweep, for any task. */
  trialsOf(sweep: string): string;
  /** The bucket of sweeps, its underlying stream, and the subject of a key. */
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

/** The group of tasks that any worker may compute, whatever its arithmetic. */
export const ANY = "any";
