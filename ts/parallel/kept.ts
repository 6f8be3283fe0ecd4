// What pools and clusters do alike with a solve that others keep: they check what a loss gives, hand the solve out, and differentiate a loss.
import { EVENT_NUMBERS } from "../../wasm/constants.js";
import { type ArrayOf, checkFinite, checkLength, type Dtype } from "../checks/arrays.js";
import { isRevoked, SymplecticAdjointError } from "../checks/errors.js";
import { frozen } from "../checks/frozen.js";
import { runUserCode } from "../checks/user-code.js";
import { poolSolves } from "../engine/live-objects.js";
import type { Lists } from "../solve/changes.js";
import type { EnsembleCotangents, EnsembleProblem, EnsembleResult } from "../solve/ensemble.js";
import { eventCotangentsOf, type IndependentLoss, lossOf } from "../solve/gradient.js";
import { cotangentsOf, type EventCotangents } from "../solve/independent.js";
import { outputsForLoss } from "../solve/outputs.js";
import type { LossAndCotangent, Solution } from "../solve/results.js";

/** The cotangents of a solve, checked, and where the events of each of its parts begin and end. */
export function readCotangents<D extends Dtype>(
  problem: EnsembleProblem<D>,
  results: readonly EnsembleResult<D>[],
  cotangent: ArrayOf<D>,
  events: EventCotangents<D> | undefined,
): { whole: EnsembleCotangents<D>; ranges: (readonly [begin: number, end: number])[] } {
  const cotangents = cotangentsOf(problem, cotangent, events);
  let count = 0;
  const ranges = results.map((part) => {
    const begin = count;
    count += part.events.length / EVENT_NUMBERS;
    return [begin, count] as const;
  });
  for (const [name, given, expected] of [
    ["events.times", cotangents.eventTimes, count],
    ["events.states", cotangents.eventStates, count * problem.state],
  ] as const) {
    if (given.length > 0) checkLength(name, given, expected);
    // Checked here, so that errors name indices of the whole batch, which workers do not know.
    checkFinite(name, given);
  }
  checkFinite("cotangent", cotangents.y);
  return { whole: cotangents, ranges };
}

/** Solves that others keep: they forget those that are disposed of or collected. */
export class KeptSolves<K> {
  readonly #registry: FinalizationRegistry<K> | undefined;

  constructor(readonly forget: (kept: K) => void) {
    this.#registry = typeof FinalizationRegistry === "function" ? new FinalizationRegistry(forget) : undefined;
  }

  /** A solve as it is handed out, with its transpose. */
  handOut<S extends Solution, W extends unknown[], G>(
    solution: S,
    kept: K,
    transpose: (...cotangents: W) => Promise<G>,
  ) {
    // The registry must watch an object that its own callback does not keep alive.
    const held = { transpose };
    poolSolves.add(held, solution.stats.peakBytes.total);
    this.#registry?.register(held, kept, held);
    let disposed = false;
    const dispose = () => {
      if (disposed) return;
      disposed = true;
      poolSolves.remove(held);
      this.#registry?.unregister(held);
      this.forget(kept);
    };
    const pullback = async (...cotangents: W): Promise<G> => {
      if (disposed) throw new SymplecticAdjointError("DISPOSED", "the recorded solve has been disposed");
      return held.transpose(...cotangents);
    };
    return frozen({ solution, pullback: Object.assign(pullback, { dispose }), dispose });
  }
}

/** Waits for what may never come, as the promise of a user's loss, until a pool ends. */
export class UntilEnd {
  readonly #rejects = new Set<(error: unknown) => void>();
  #error: SymplecticAdjointError | undefined;

  /** Settles as the promise does, or rejects when the end comes first. */
  wait<T>(promise: Promise<T>): Promise<T> {
    let own = (_: unknown) => {};
    const end = new Promise<never>((_, reject) => {
      own = reject;
      if (this.#error) reject(this.#error);
      else this.#rejects.add(reject);
    });
    return Promise.race([promise, end]).finally(() => this.#rejects.delete(own));
  }

  end(error: SymplecticAdjointError): void {
    this.#error = error;
    for (const reject of this.#rejects) reject(error);
  }
}

/** Calls the loss of a solve, which may return a promise; one whose trajectories take their own steps may depend on the events. */
export async function lossIn<D extends Dtype>(
  loss: (...inputs: never[]) => unknown,
  solution: Solution<D>,
  times: Lists,
  isIndependent: boolean,
): Promise<LossAndCotangent<D> & { readonly events: EventCotangents<D> | undefined }> {
  const inputs = [outputsForLoss(solution, times), [...solution.shape], ...(isIndependent ? [solution] : [])];
  const given = runUserCode(() => loss(...(inputs as never[])));
  const result = (isRevoked(given) ? given : await given) as ReturnType<IndependentLoss<D>>;
  const read = lossOf(result);
  return { ...read, events: isIndependent ? eventCotangentsOf<D>(result) : undefined };
}
