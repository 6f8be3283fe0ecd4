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

/** Runs a coroutine: to its end, if nothing has to be awaited; otherwise the rest runs later, and this returns a promise. */
export function run<T>(coroutine: Coroutine<T>): T | Promise<T> {
  const { done, value } = coroutine.next();
  return done ? value : resumed(coroutine, value);
}

async function resumed<T>(coroutine: Coroutine<T>, first: PromiseLike<unknown>): Promise<T> {
  let pending = first;
  for (;;) {
    const resume = await Promise.resolve(pending).then(
      (value) => () => coroutine.next(value),
      (error) => () => coroutine.throw(error),
    );
    const { done, value } = resume();
    if (done) return value;
    pending = value;
  }
}

/**
 * What runs coroutines that share state, one after the other: at once, or, where they have to wait, each when the one before has ended,
 * as promises.
 */
export function inTurn(isAsync: boolean): <T>(start: () => Coroutine<T>) => T | Promise<T> {
  if (!isAsync) return (start) => run(start());
  let last: Promise<unknown> = Promise.resolve();
  return (start) => {
    const next = last.then(() => run(start()));
    last = next.catch(() => {});
    return next;
  };
}
