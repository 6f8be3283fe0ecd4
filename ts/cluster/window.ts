// Runs at most N operations at a time, where N may change; the others wait in order.

export class Window {
  readonly #size: () => number;
  readonly #waiting: (() => void)[] = [];
  #under = 0;

  constructor(size: () => number) {
    this.#size = size;
  }

  get isFull(): boolean {
    return this.#under >= this.#size();
  }

  /** Runs an operation when its turn comes. */
  async run<T>(begin: () => Promise<T>): Promise<T> {
    if (this.isFull) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#under++;
    try {
      return await begin();
    } finally {
      this.#under--;
      this.grown();
    }
  }

  /** Starts waiting operations, since the limit may have grown. */
  grown(): void {
    for (let free = this.#size() - this.#under; free > 0; free--) this.#waiting.shift()?.();
  }
}
