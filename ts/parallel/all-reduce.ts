// How the parts of a batch agree on a step: by the sums of all panels, in memory that the workers share.

import type { AllReduce } from "../engine/all-reduce.js";
import type { Instance } from "../engine/engine.js";
import type { Part } from "./protocol.js";

/** Int32 words at the beginning: how many have arrived, how often all have, whether one has failed. */
const ARRIVED = 0;
const ROUNDS = 1;
const FAILED = 2;
const HEAD = 16;

/** Sums per panel: at least as many as a state has arrays of panels. */
const ARRAYS = 4;

/** How often it polls the other parts before it sleeps: a step is short, and waking takes longer. */
const SPINS = 4000;

/** Shared memory for one solve. */
export function allocateSums(panels: number): SharedArrayBuffer {
  // Two sets of sums: one is written while a slower part still reads the other.
  return new SharedArrayBuffer(HEAD + 2 * ARRAYS * panels * 8);
}

/** Tells all parts that one has failed. */
export function abort(sums: SharedArrayBuffer): void {
  const words = new Int32Array(sums, 0, 3);
  Atomics.store(words, FAILED, 1);
  Atomics.notify(words, ROUNDS);
}

/** The sums as the solver of a part sees them. */
export class SharedSums implements AllReduce {
  readonly samples: number;
  /** Whether another part has failed. */
  broken = false;
  readonly #words: Int32Array;
  readonly #sums: readonly Float64Array[];
  readonly #part: Part;
  readonly #engine: Instance;
  #rounds = 0;

  constructor(engine: Instance, part: Part, sums: SharedArrayBuffer) {
    this.samples = part.samples;
    this.#part = part;
    this.#engine = engine;
    this.#words = new Int32Array(sums, 0, 3);
    const length = ARRAYS * part.panels;
    this.#sums = [0, 1].map((set) => new Float64Array(sums, HEAD + set * length * 8, length));
  }

  /** The sum over all panels, in their order, of which `count` are this part's; undefined if another part has failed. */
  sum(pointer: number, count: number): number | undefined {
    const { panels, first, ownPanels } = this.#part;
    const mine = this.#engine.read("float64", pointer, count);
    const all = this.#sums[this.#rounds++ % 2] as Float64Array;
    for (let array = 0; array * ownPanels < count; array++) {
      all.set(mine.subarray(array * ownPanels, (array + 1) * ownPanels), array * panels + first);
    }
    if (!this.#wait()) {
      this.broken = true;
      this.#engine.thrown = { value: new Error("another part of the batch has failed") };
      return undefined;
    }
    let total = 0;
    for (let i = 0; i < (count / ownPanels) * panels; i++) total += all[i] as number;
    return total;
  }

  /** Waits until all parts have arrived; false if one has failed. */
  #wait(): boolean {
    const words = this.#words;
    const round = Atomics.load(words, ROUNDS);
    if (Atomics.add(words, ARRIVED, 1) === this.#part.workers - 1) {
      Atomics.store(words, ARRIVED, 0);
      Atomics.add(words, ROUNDS, 1);
      Atomics.notify(words, ROUNDS);
      return Atomics.load(words, FAILED) === 0;
    }
    for (let spin = 0; spin < SPINS; spin++) {
      if (Atomics.load(words, ROUNDS) !== round) return Atomics.load(words, FAILED) === 0;
    }
    while (Atomics.load(words, ROUNDS) === round) {
      if (Atomics.load(words, FAILED) !== 0) return false;
      // The notice of a failure may come just before the sleep.
      Atomics.wait(words, ROUNDS, round, 50);
    }
    return Atomics.load(words, FAILED) === 0;
  }
}
