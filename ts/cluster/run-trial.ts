// Runs a trial, and turns what happens into a result.
import { textOf } from "../checks/errors.js";
import { isObject } from "../checks/rules.js";
import { type Json, MOST_INFO, type Report, type Trial, type TrialFunction, type TrialOutcome } from "./trials.js";

/** How a trial ended: its value, or NaN and a message. */
export type Ended = Pick<Report, "value" | "message" | "ms" | "info"> & { readonly stateBytes: Uint8Array | undefined };

/**
 * Runs a trial; rejects only if `stop` is aborted, because the trial is no longer wanted here. Each trial has its own controller: Node
 * warns about a signal with many listeners.
 */
export async function runTrial(
  run: TrialFunction,
  trial: Omit<Trial, "signal">,
  timeout: number | undefined,
  stop: AbortController,
): Promise<Ended> {
  const start = performance.now();
  const { signal } = stop;
  const failed = (message: string): Ended => {
    const ms = performance.now() - start;
    return { value: Number.NaN, message: message || "the trial failed", ms, info: undefined, stateBytes: undefined };
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stopped = new Promise<Ended>((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
    if (timeout === undefined) return;
    // setTimeout takes no longer delays.
    timer = setTimeout(
      () => {
        resolve(failed(`the trial took more than ${timeout / 1000} s`));
        stop.abort(new Error("the trial took too long"));
      },
      Math.min(timeout, 2 ** 31 - 1),
    );
  });
  try {
    signal.throwIfAborted();
    const running = (async () => read(await run({ ...trial, signal })))().then(
      (outcome) => ({ ...outcome, message: undefined, ms: performance.now() - start }),
      (error) => failed(textOf(error).slice(0, 2000)),
    );
    return await Promise.race([stopped, running]);
  } finally {
    clearTimeout(timer);
    stopped.catch(() => {});
  }
}

function read(given: unknown): Pick<Ended, "value" | "info" | "stateBytes"> {
  const { value, state, info } = (isObject(given) ? given : { value: given }) as Partial<TrialOutcome>;
  if (typeof value !== "number") throw new Error(`the trial returned ${typeof value}, not a number or { value }`);
  if (!Number.isFinite(value)) throw new Error(`the trial's value is ${value}`);
  if (state !== undefined && !(state instanceof Uint8Array)) throw new Error("the trial's state is not a Uint8Array");
  const text = info === undefined ? undefined : JSON.stringify(info);
  if (text !== undefined && text.length > MOST_INFO)
    throw new Error(`the trial's info has more than ${MOST_INFO} characters`);
  return { value, stateBytes: state, info: text === undefined ? undefined : (JSON.parse(text) as Json) };
}
