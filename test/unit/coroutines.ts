// Coroutines of fits that wait for nothing.
import { type Coroutine, run } from "../../ts/estimate/coroutine.js";

export { awaited as value } from "../../ts/estimate/coroutine.js";

/** What a coroutine returns, which has nothing to wait for. */
export const now = <T>(coroutine: Coroutine<T>): T => run(coroutine) as T;
