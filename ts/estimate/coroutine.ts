// A fit is written once, as a coroutine, for solves that return at once and for those that must be awaited, such as those of a pool.
import { isPromise } from "../trace/value.js";

/** A computation that pauses where a promise must be awaited. */
export type Coroutine<T> = Generator<PromiseLike<unknown>, T, unknown>;

/** Waits for a promise; returns any other value at once. */
export function* awaited<T>(value: T | PromiseLike<T>): Coroutine<T> {
  return isPromise(value) ? ((yield value) as T) : (value as T);
}

/** Applies a function to the value of a coroutine. */
export function* mapped<T, R>(coroutine: Coroutine<T>, of: (value: T) => R): Coroutine<R> {
  return of(yield* coroutine);
}

/** An AbortSignal; where it has no events, it is asked whenever a promise has settled. */
interface Signal {
  throwIfAborted(): void;
  addEventListener?(name: "abort", listener: () => void): void;
  removeEventListener?(name: "abort", listener: () => void): void;
}

/**
 * Runs a coroutine: to its end, if nothing has to be awaited; otherwise the rest runs later, and this returns a promise. A signal that aborts
 * ends the wait: its reason is thrown where the coroutine was waiting.
 */
export function run<T>(coroutine: Coroutine<T>, signal?: Signal): T | Promise<T> {
  const { done, value } = coroutine.next();
  return done ? value : resumed(coroutine, value, signal);
}

async function resumed<T>(coroutine: Coroutine<T>, first: PromiseLike<unknown>, signal?: Signal): Promise<T> {
  let wake = () => {};
  const aborted = new Promise<void>((resolve) => {
    wake = resolve;
  });
  signal?.addEventListener?.("abort", wake);
  try {
    for (let pending = first; ; ) {
      const settled = Promise.resolve(pending).then(
        (value) => () => coroutine.next(value),
        (error) => () => coroutine.throw(error),
      );
      const resume = await Promise.race([settled, aborted.then(() => () => coroutine.next())]);
      const { done, value } = afterAbort(signal, coroutine) ?? resume();
      if (done) return value;
      pending = value;
    }
  } finally {
    signal?.removeEventListener?.("abort", wake);
  }
}

/** Where a signal has aborted, what the coroutine makes of its reason. */
function afterAbort<T>(signal: Signal | undefined, coroutine: Coroutine<T>) {
  try {
    signal?.throwIfAborted();
    return undefined;
  } catch (reason) {
    return coroutine.throw(reason);
  }
}

/** What runs coroutines that share state one after the other, each when the one before has ended. */
export function inTurn(signal: Signal | undefined): <T>(start: () => Coroutine<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (start) => {
    const next = last.then(() => run(start(), signal));
    last = next.catch(() => {});
    return next;
  };
}
