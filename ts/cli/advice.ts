// Judges whether a training has learned anything, and suggests what to try.
import type { Batch } from "../index.js";
import type { Settings, StateLayout } from "./model.js";

/** The error of predicting the mean of the held-out data, and the share of the counted numbers that it is measured on. */
export interface MeanBaseline {
  readonly error: number;
  readonly share: number;
}

/** The error of each column's mean; undefined if there are too few values. */
export function errorOfMean(
  batches: readonly Pick<Batch<"float32">, "y0" | "target" | "mask">[],
  { clocks, observed, size }: StateLayout,
): MeanBaseline | undefined {
  const columns = Array.from({ length: observed }, () => [] as number[]);
  let all = 0;
  for (const { y0, target, mask } of batches) {
    for (let i = 0; i < target.length; i++) {
      const column = (i % size) - clocks;
      if (column < 0 || column >= observed || mask?.[i] === 0) continue;
      all++;
      // The first states are given, not predicted.
      if (i >= y0.length) columns[column]?.push(target[i] as number);
    }
  }
  if (columns.some(({ length }) => length < 3)) return undefined;
  let [squares, count] = [0, 0];
  for (const values of columns) {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    squares += values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    count += values.length;
  }
  return { error: squares / count, share: count / all };
}

/** Advice if a model is hardly better than the mean of the held-out data; otherwise null. */
export function adviceOn(
  validation: number,
  { error, share }: MeanBaseline,
  settings: Settings,
  columns: number,
): string | null {
  // The model's error also counts the first states, which are exact.
  const own = validation / share;
  if (own < error / 2) return null;
  const better = own < error ? "hardly better" : "no better";
  const errors = `its error there is ${own.toPrecision(3)}, that of the mean ${error.toPrecision(3)}`;
  return `the model is ${better} than the mean of the held-out data: ${errors}\n${remedyFor(settings, columns)}`;
}

function remedyFor({ model, delays, extra, withTime, period }: Settings, columns: number): string {
  if (model === "equations") return "other initial values of the parameters, more --steps, or other equations may fit";
  if (model === "hamiltonian") return "a conserved energy may be wrong here; --model mlp can be damped or driven";
  if (delays + extra > 0 || withTime || period !== null) {
    return "more --steps, wider --hidden layers, another --lag, more --delays or another --seed may help";
  }
  const cause =
    columns === 1
      ? "dx/dt = f(x) of one column cannot oscillate, as it can go only one way at each x"
      : "the columns may not determine what comes next, as dx/dt = f(x) requires";
  const remedies = [
    "--delays 2 (earlier values in the state)",
    "--extra 1 (a hidden dimension, where trajectories begin at rest)",
    "--period (a force that repeats itself)",
    "--with-time (one that does not)",
  ];
  return `${cause}; try ${remedies.join(", ")}`;
}

/** The fewest trajectories of a shard: the size of a leaf, for networks and for equations. */
const LEAF = { network: 64, equations: 256 };

/** Notes for batches that are too small to share among workers. */
export function notesOnBatch({ batch, model }: Settings): string[] {
  const leaf = model === "equations" ? LEAF.equations : LEAF.network;
  if (batch > leaf) return [];
  return [
    `--batch ${batch} is one shard, which one thread computes: shards have ${leaf} windows or more, and --batch ${16 * leaf} would keep 16 threads busy`,
  ];
}
