// What is alive and holds memory until it is disposed of: counted, so that a loop that never does so is warned.

/** More of a kind than any program is likely to mean, if they hold so many bytes together: 512 MiB. */
const MANY = 100;
const MUCH = 2 ** 29;

/** Objects of one kind that are alive. */
class Alive {
  #count = 0;
  #bytes = 0;
  #warned = false;
  readonly #held = new WeakMap<object, number>();
  // Counts alone: the objects that it is about are freed by registries of their own.
  readonly #forgotten =
    typeof FinalizationRegistry === "function"
      ? new FinalizationRegistry<number>((bytes) => this.#less(bytes))
      : undefined;

  constructor(
    readonly what: string,
    readonly remedy: string,
  ) {}

  add(object: object, bytes: number): void {
    this.#held.set(object, bytes);
    this.#forgotten?.register(object, bytes, object);
    this.#count++;
    this.#bytes += bytes;
    if (this.#warned || this.#count <= MANY || this.#bytes <= MUCH) return;
    this.#warned = true;
    const held = `${this.#count} ${this.what} are alive and hold ${(this.#bytes / 2 ** 20).toFixed(0)} MiB`;
    console.warn(`symplectic-adjoint: ${held}, which a synchronous loop never frees: ${this.remedy}`);
  }

  remove(object: object): void {
    const bytes = this.#held.get(object);
    if (bytes === undefined) return;
    this.#held.delete(object);
    this.#forgotten?.unregister(object);
    this.#less(bytes);
  }

  #less(bytes: number): void {
    this.#count--;
    this.#bytes -= bytes;
  }
}

const dispose = "dispose() of each, or declare it with `using`";
export const fields = new Alive("fields", `${dispose}, or make one field and set its parameters`);
export const optimizers = new Alive("optimizers", dispose);
export const solves = new Alive("recorded solves of vjp", `${dispose}, or use valueAndGrad, which keeps none`);
export const poolSolves = new Alive(
  "recorded solves of a pool's vjp",
  `${dispose}, or use its valueAndGrad, which keeps none`,
);
