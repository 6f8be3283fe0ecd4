// Waiting for servers and peers that are away.

/** Settles after so many milliseconds. */
export const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Pauses that can be ended before their time, all at once; nothing is left of one that has ended. */
export class Pauses {
  readonly #ends = new Set<() => void>();

  /** Settles after so many milliseconds, or when pauses are ended. */
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

  /** Ends those that there are. */
  end(): void {
    for (const end of this.#ends) end();
  }
}
