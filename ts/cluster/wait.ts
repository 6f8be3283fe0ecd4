// Delays, for servers and peers that are away.

/** Waits for this many milliseconds. */
export const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Delays that can all be cut short at once. */
export class Pauses {
  readonly #ends = new Set<() => void>();

  /** Waits for this many milliseconds, or until `end` is called. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#ends.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#ends.add(end);
    });
  }

  /** Ends all current delays. */
  end(): void {
    for (const end of this.#ends) end();
  }
}
