// The side of a contender that answers, for contenders in JavaScript: see ../shared/child.mjs.
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

/** Resident memory in bytes: now, and at its highest; undefined where the system does not tell. */
function resident() {
  try {
    const text = readFileSync("/proc/self/status", "utf8");
    const field = (name) => {
      const [, kilobytes] = /** @type {RegExpMatchArray} */ (text.match(new RegExp(`${name}:\\s*(\\d+)`)));
      return 1024 * Number(kilobytes);
    };
    return { now: field("VmRSS"), highest: field("VmHWM") };
  } catch {
    return undefined;
  }
}

/** By how much resident memory grows at its peak while `body` runs, with what that gives. */
export async function growth(body) {
  try {
    // The high-water mark starts again from here.
    writeFileSync("/proc/self/clear_refs", "5");
  } catch {}
  const before = resident();
  const result = await body();
  const after = resident();
  return { result, growthBytes: before && after && Math.max(0, after.highest - before.now) };
}

/** The float32 numbers of a file. */
export function numbers(file) {
  return new Float32Array(new Uint8Array(readFileSync(file)).buffer);
}

/** The float64 numbers of a file. */
export function numbers64(file) {
  return new Float64Array(new Uint8Array(readFileSync(file)).buffer);
}

/** The layers of flat parameters: where weight [out, in] and bias [out] lie in them. */
export function layersOf(widths) {
  let offset = 0;
  return widths.slice(1).map((output, i) => {
    const weight = { offset, shape: [output, widths[i]] };
    const bias = { offset: offset + output * widths[i], shape: [output] };
    offset = bias.offset + output;
    return { weight, bias };
  });
}

/** Milliseconds of all processors that this process has used. */
export function processorTime() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/**
 * Answers until there is nothing more to answer. `prepare(problem)` gives what is known then and `gradient`, a function that
 * computes one to the end; `beside()`, if any, what to tell with each round. `clock` gives milliseconds.
 */
export async function serve(prepare, clock = () => performance.now()) {
  let prepared;
  const answer = async (message) => {
    if (message.prepare) {
      const { gradient, beside, ...known } = await prepare(message.prepare);
      prepared = { gradient, beside };
      return known;
    }
    /** @type {number[]} */
    const ms = [];
    for (let total = 0; ms.length === 0 || total < message.run; total += ms.at(-1) ?? 0) {
      const start = clock();
      await prepared.gradient();
      ms.push(clock() - start);
    }
    return { ms, ...prepared.beside?.() };
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const reply = await answer(JSON.parse(line)).catch((error) => ({ error: String(error.message).split("\n")[0] }));
    process.stdout.write(`${JSON.stringify(reply)}\n`);
  }
  process.exit();
}
