// Objects that hold memory until they are disposed of: counted, so that a loop that never does so gets a warning.

/** A warning is due if there are more objects of a kind than this and they hold more bytes than this (512 MiB) together. */
const MOST_OBJECTS = 100;
const MOST_BYTES = 2 ** 29;

/** Objects of one kind that are alive. */
class LiveObjects {
  #count = 0;
  #bytes = 0;
  #warned = false;
  readonly #bytesOf = new WeakMap<object, number>();
  // Only counts: the objects are freed by their own registries.
  readonly #registry =
    typeof FinalizationRegistry === "function"
      ? new FinalizationRegistry<number>((bytes) => this.#subtract(bytes))
      : undefined;

  constructor(
    readonly name: string,
    readonly remedy: string,
  ) {}

  add(object: object, bytes: number): void {
    this.#bytesOf.set(object, bytes);
    this.#registry?.register(object, bytes, object);
    this.#count++;
    this.#bytes += bytes;
    if (this.#warned || !this.isMany) return;
    this.#warned = true;
    console.warn(`symplectic-adjoint: ${this}`);
  }

  /** Whether they are more than anyone means to keep. */
  get isMany(): boolean {
    return this.#count > MOST_OBJECTS && this.#bytes > MOST_BYTES;
  }

  /** How many there are, and what to do about it. */
  toString(): string {
    const held = `${this.#count} ${this.name} are alive and hold ${(this.#bytes / 2 ** 20).toFixed(0)} MiB`;
    return `${held}, which a synchronous loop never frees: ${this.remedy}`;
  }

  remove(object: object): void {
    const bytes = this.#bytesOf.get(object);
    if (bytes === undefined) return;
    this.#bytesOf.delete(object);
    this.#registry?.unregister(object);
    this.#subtract(bytes);
  }

  #subtract(bytes: number): void {
    this.#count--;
    this.#bytes -= bytes;
  }
}

const dispose = "dispose() of each, or declare it with `using`";
export const fields = /* @__PURE__ */ new LiveObjects("fields", `${dispose}, or make one field and set its parameters`);
export const optimizers = /* @__PURE__ */ new LiveObjects("optimizers", dispose);
export const solves = /* @__PURE__ */ new LiveObjects(
  "recorded solves of vjp",
  `${dispose}, or use valueAndGrad, which keeps none`,
);
export const solvers = /* @__PURE__ */ new LiveObjects("solvers", dispose);
export const poolSolves = /* @__PURE__ */ new LiveObjects(
  "recorded solves of a pool's vjp",
  `${dispose}, or use its valueAndGrad, which keeps none`,
);
