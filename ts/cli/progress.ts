// The progress of a training: a bar in a terminal, lines elsewhere.
import cliProgress from "cli-progress";
import type { FitProgress } from "../index.js";
import type { ClusterProgress } from "./command-cluster.js";
import { readable, say } from "./say.js";

/** The numbers that a progress line shows. */
interface Stand {
  readonly window: number | string;
  readonly loss: string;
  readonly validation: string;
}

export interface TrainProgress extends ClusterProgress {
  update(step: number, stand: Stand): void;
  stop(): void;
}

const NOTHING = { window: "–", loss: "–", validation: "–" };
/** The width of the bar, with its percentage. */
const BAR = 25;

/** As many of these fields, whole, as a line of that width has room for. */
function fitting(fields: readonly string[], width: number): string {
  let line = "";
  for (const field of fields.filter((field) => field !== "")) {
    const longer = line === "" ? field : `${line}   ${field}`;
    if (longer.length > width) break;
    line = longer;
  }
  return line;
}

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
      say(`  step ${step} of ${total}   loss ${loss}   held out ${validation}${around}   windows of ${window}`);
    };
    const workers = (text: string) => {
      around = `   ${text}`;
    };
    return { update, workers, note: say, stop: () => {} };
  }
  const { columns = 80 } = process.stderr;
  let around = isShared ? "0 workers" : "";
  let stand: Stand = NOTHING;
  let step = done;
  const lineOf = (): string => {
    const { loss, validation, window } = stand;
    const fields = [`loss ${loss}`, `held out ${validation}`, around, `windows of ${window}`];
    return fitting([`step ${step} of ${total}`, ...fields], columns - 3 - (isShared ? 0 : BAR));
  };
  // Over a cluster there is no bar: the workers need its place.
  const format = isShared ? "  {line}" : "  {bar} {percentage} %   {line}";
  const options = { format, hideCursor: true, stream: process.stderr, clearOnComplete: true, barsize: 16 };
  const bar = new cliProgress.SingleBar(options, cliProgress.Presets.rect);
  bar.start(total, done, { line: lineOf() });
  return {
    update: (now, told) => {
      [step, stand] = [now, told];
      bar.update(step, { line: lineOf() });
    },
    workers: (text) => {
      around = text;
      bar.update({ line: lineOf() });
    },
    note: (text) => {
      // The bar goes while the note is written, and is drawn again below it.
      bar.stop();
      say(text);
      bar.start(total, step, { line: lineOf() });
    },
    stop: () => bar.stop(),
  };
}

/** Reports a fit on standard error: one line in a terminal, elsewhere the first iteration and then a line per second. */
export function fitProgressOf(visible: boolean, starts: number) {
  if (!visible) return { update: () => {}, profiling: () => {}, workers: () => {}, note: say, stop: () => {} };
  const { isTTY = false, columns = 80 } = process.stderr;
  const every = isTTY ? 50 : 1000;
  let last = Number.NEGATIVE_INFINITY;
  let around = "";
  const width = isTTY ? columns - 3 : 200;
  const update = ({ start, iteration, cost, parameters }: FitProgress): void => {
    const now = performance.now();
    if (now - last < every) return;
    last = now;
    const from = starts > 1 ? `start ${start + 1} of ${starts}` : "";
    const values = Object.entries(parameters).map(([name, value]) => readable(`${name} ${value.toPrecision(4)}`));
    const line = `  ${fitting([from, `iteration ${iteration}`, `cost ${cost.toPrecision(6)}`, around, ...values], width)}`;
    process.stderr.write(isTTY ? `\r\u001b[K${line}` : `${line}\n`);
  };
  const profiling = (name: string) => {
    const line = `  ${fitting([`profile of ${readable(name)}`, around], width)}`;
    process.stderr.write(isTTY ? `\r\u001b[K${line}` : `${line}\n`);
  };
  const clear = () => void (isTTY && process.stderr.write("\r\u001b[K"));
  const workers = (text: string) => {
    around = text;
  };
  const note = (text: string) => {
    clear();
    say(text);
  };
  return { update, profiling, workers, note, stop: clear };
}
