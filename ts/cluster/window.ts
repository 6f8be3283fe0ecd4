// So many things under way at a time, whatever that number is just now; the others wait in their order.

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

  /** Begins something when its turn has come. */
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

  /** Lets in who may be: the size may be another one. */
  grown(): void {
    for (let free = this.#size() - this.#under; free > 0; free--) this.#waiting.shift()?.();
  }
}
