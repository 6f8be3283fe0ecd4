// The progress of a training: a bar in a terminal, lines elsewhere.
import cliProgress from "cli-progress";
import type { FitProgress } from "../index.js";
import type { ClusterProgress } from "./command-cluster.js";
import { readable, say } from "./say.js";

/** The numbers that a progress line shows. */
interface Stand {
  readonly window: number;
  readonly loss: string;
  readonly validation: string;
}

export interface TrainProgress extends ClusterProgress {
  update(step: number, stand: Stand): void;
  stop(): void;
}

const NOTHING = { window: "–", loss: "–", validation: "–" };
const FORMAT = "step {value} of {total}   windows of {window}   loss {loss}   held out {validation}";
/** Over a cluster there is no bar: workers and loss fill a terminal of 80 columns. */
const SHARED = "  step {value} of {total}   {around}   loss {loss}   held out {validation}   windows of {window}";

/**
 * Reports a training on standard error, with workers if there is a cluster. If the output is not a terminal, it has a line for each
 * twentieth of the steps.
 */
export function progressOf(visible: boolean, total: number, done: number, isShared: boolean): TrainProgress {
  if (!visible) return { update: () => {}, workers: () => {}, note: say, stop: () => {} };
  if (!process.stderr.isTTY) {
    let around = "";
    const partOf = (step: number) => Math.floor((20 * step) / total);
    let part = partOf(done);
    const update = (step: number, { window, loss, validation }: Stand) => {
      if (partOf(step) === part) return;
      part = partOf(step);
      say(`  step ${step} of ${total}   windows of ${window}   loss ${loss}   held out ${validation}${around}`);
    };
    const workers = (text: string) => {
      around = `   ${text}`;
    };
    return { update, workers, note: say, stop: () => {} };
  }
  const format = isShared ? SHARED : `  {bar} {percentage} %   ${FORMAT}`;
  const options = { format, hideCursor: true, stream: process.stderr };
  const bar = new cliProgress.SingleBar(options, cliProgress.Presets.rect);
  bar.start(total, done, { ...NOTHING, around: "0 workers" });
  return {
    update: (step, stand) => bar.update(step, stand),
    workers: (around) => bar.update({ around }),
    note: (text) => {
      // Above the bar, which is drawn again below.
      process.stderr.write("\n");
      say(text);
    },
    stop: () => bar.stop(),
  };
}

/** Reports a fit on standard error: one line in a terminal, elsewhere the first iteration and then a line per second. */
export function fitProgressOf(visible: boolean, starts: number) {
  if (!visible) return { update: () => {}, workers: () => {}, note: say, stop: () => {} };
  const { isTTY = false, columns = 80 } = process.stderr;
  const every = isTTY ? 50 : 1000;
  let last = Number.NEGATIVE_INFINITY;
  let around = "";
  const update = ({ start, iteration, cost, parameters }: FitProgress): void => {
    const now = performance.now();
    if (now - last < every) return;
    last = now;
    const from = starts > 1 ? `start ${start + 1} of ${starts}   ` : "";
    const values = Object.entries(parameters).map(([name, value]) => `${name} ${value.toPrecision(4)}`);
    const line = readable(
      `  ${from}iteration ${iteration}${around}   cost ${cost.toPrecision(6)}   ${values.join("  ")}`,
    ).slice(0, isTTY ? columns - 1 : 200);
    process.stderr.write(isTTY ? `\r\u001b[K${line}` : `${line}\n`);
  };
  const clear = () => void (isTTY && process.stderr.write("\r\u001b[K"));
  const workers = (text: string) => {
    around = `   ${text}`;
  };
  const note = (text: string) => {
    clear();
    say(text);
  };
  return { update, workers, note, stop: clear };
}
