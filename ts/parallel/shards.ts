// Splitting batches into parts, and putting together what comes of them.
import { LANES } from "../../wasm/constants.js";
import { type ArrayOf, checkFinite, type Dtype, zeros } from "../checks/arrays.js";
import { frozen } from "../checks/frozen.js";
import type { Gradient, PeakBytes, Solution } from "../solve/results.js";
import type { Part } from "./protocol.js";

/** The parts of a batch for at most `most` workers. Panels are never divided. */
export function divide(batch: number, dtype: Dtype, most: number): Omit<Part, "sums">[] {
  const panels = Math.ceil(batch / LANES[dtype]);
  const workers = Math.min(most, panels);
  return Array.from({ length: workers }, (_, index) => {
    const first = Math.floor((index * panels) / workers);
    const ownPanels = Math.floor(((index + 1) * panels) / workers) - first;
    return { panels, first, ownPanels, samples: batch, workers };
  });
}

/** Where a part's samples begin and end. */
export function range({ first, ownPanels, samples }: Omit<Part, "sums">, dtype: Dtype): [begin: number, end: number] {
  return [first * LANES[dtype], Math.min(samples, (first + ownPanels) * LANES[dtype])];
}

/** A part's copy of `[…, batch, state]` numbers. */
export function slice<D extends Dtype>(numbers: ArrayOf<D>, part: Part, dtype: D, state: number): ArrayOf<D> {
  const [begin, end] = range(part, dtype);
  const [row, whole] = [(end - begin) * state, part.samples * state];
  const copy = zeros(dtype, (numbers.length / whole) * row);
  for (let from = 0, to = 0; to < copy.length; from += whole, to += row) {
    copy.set(numbers.subarray(from + begin * state, from + end * state) as never, to);
  }
  return copy;
}

/** Puts the parts of `[…, batch, state]` numbers together. */
function mergeParts<D extends Dtype>(
  pieces: readonly ArrayOf<D>[],
  parts: readonly Part[],
  dtype: D,
  state: number,
): ArrayOf<D> {
  const samples = parts[0]?.samples ?? 0;
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const all = zeros(dtype, length);
  for (const [index, piece] of pieces.entries()) {
    const [begin, end] = range(parts[index] as Part, dtype);
    const row = (end - begin) * state;
    for (let from = 0, to = begin * state; from < piece.length; from += row, to += samples * state) {
      all.set(piece.subarray(from, from + row) as never, to);
    }
  }
  return all;
}

export function addBytes(parts: readonly PeakBytes[]): PeakBytes {
  const sum: Record<string, number> = {};
  for (const part of parts) for (const [name, bytes] of Object.entries(part)) sum[name] = (sum[name] ?? 0) + bytes;
  return sum as unknown as PeakBytes;
}

// No object of a message is passed on: test runners may have their own realm, and messages belong to another one.

/** The solution of the whole batch. */
export function joinSolutions<D extends Dtype>(
  solved: readonly Solution<D>[],
  parts: readonly Part[],
  dtype: D,
  shape: readonly [number, number, number],
): Solution<D> {
  const [{ stats }] = solved as [Solution<D>];
  const peakBytes = addBytes(solved.map((part) => part.stats.peakBytes));
  return frozen({
    y: mergeParts(
      solved.map((part) => part.y),
      parts,
      dtype,
      shape[2],
    ),
    shape,
    stats: { ...stats, peakBytes, workers: parts.length },
  });
}

/** The gradient of the whole batch: the parts added up in their order. */
export function addGradients<D extends Dtype>(
  pulled: readonly Gradient<D>[],
  parts: readonly Part[],
  dtype: D,
  state: number,
): Gradient<D> {
  const [{ parameters, times, stats }] = pulled as [Gradient<D>];
  const sum = (i: number, of: (part: Gradient<D>) => ArrayLike<number> | undefined) =>
    pulled.reduce((sum, part) => sum + ((of(part) as ArrayLike<number>)[i] as number), 0);
  const peakBytes = addBytes(pulled.map((part) => part.stats.peakBytes));
  const sums = {
    parameters: zeros(dtype, parameters.length).map((_, i) => sum(i, (part) => part.parameters)) as ArrayOf<D>,
    times: times && new Float64Array(times.length).map((_, i) => sum(i, (part) => part.times)),
  };
  for (const numbers of [sums.parameters, sums.times ?? []]) {
    checkFinite("gradient", numbers, "NON_FINITE", `a finite ${dtype}`);
  }
  const args = Object.keys(pulled[0]?.arguments ?? {}).map((name) => {
    const pieces = pulled.map((part) => part.arguments[name] as ArrayOf<D>);
    const numbers = pieces.reduce((sum, piece) => sum + piece.length, 0);
    return [name, mergeParts(pieces, parts, dtype, numbers / (parts[0] as Part).samples)];
  });
  return frozen({
    y0: mergeParts(
      pulled.map((part) => part.y0),
      parts,
      dtype,
      state,
    ),
    arguments: Object.fromEntries(args),
    ...sums,
    stats: { ...stats, retention: { ...stats.retention }, peakBytes, workers: parts.length },
  });
}
