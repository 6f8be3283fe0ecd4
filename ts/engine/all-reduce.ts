/** The sums by which parts of a batch that are solved apart agree on their steps, as the crate asks for them. */
export interface AllReduce {
  /** Samples of the whole batch. */
  readonly samples: number;
  /** The sum over all parts, of which the `count` numbers at `pointer` are one; undefined where another part has failed. */
  sum(pointer: number, count: number): number | undefined;
}
