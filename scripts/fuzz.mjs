// The fuzzers: each runs as many cases as it says itself, and in the long test so many.
import { run } from "./run.mjs";
import { step } from "./steps.mjs";

const LONG = { calls: 1_000_000, files: 1_000_000, programs: 1_000_000, tables: 1_000_000, kills: 200, memory: 1000 };

export function fuzz({ long = false } = {}) {
  for (const [name, cases] of Object.entries(LONG)) {
    step(`fuzzer of ${name}`, () => run("node", [`test/fuzz/${name}.mjs`, ...(long ? [String(cases)] : [])]));
  }
}
