// Tasks of a cluster, done in this process by what a worker does them with. Those over servers are in test/cluster.
import { readFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { type JobPart, splitJob } from "../../ts/cluster/job.js";
import { pack, unpack } from "../../ts/cluster/pack.js";
import { Work } from "../../ts/cluster/work.js";
import { init } from "../../ts/engine/instance.js";
import { equations } from "../../ts/fields/equations.js";
import { wasmField } from "../../ts/fields/field.js";
import { readProblem } from "../../ts/solve/ensemble.js";
import { thrown } from "./helpers.js";

beforeAll(() => init({ module: readFileSync(new URL("../../wasm/simd.wasm", import.meta.url)), simd: "simd128" }));

const BATCH = 2;

/** The one shard of a solve of two states, with other options. */
function shard(options: object = {}): JobPart {
  const field = equations("x' = -k*x\ny' = x", { parameters: { k: 1 }, dtype: "float64" });
  const problem = readProblem(field, new Float64Array(2 * BATCH).fill(0.5), [0, 1], { batching: "independent" });
  const { model, step, ...job } = splitJob(wasmField(field), problem);
  const own = job.shard({ from: 0, to: BATCH });
  const all = { ...model.problem, ...step.problem, ...own.problem };
  return { ...model, ...step, ...own, problem: { ...all, options: { ...all.options, ...options } } };
}

interface Answer {
  readonly result: { readonly y: Float64Array; readonly parameters: Float64Array };
}
const answered = (task: object) =>
  (unpack(new Work(2 ** 26).do(pack({ solve: "s", keep: false, ...task }), [], "session")) as Answer).result;

test("cotangents are of the field's type, and those of times float64", () => {
  const right = {
    y: new Float64Array(4 * BATCH).fill(1),
    eventTimes: new Float64Array(),
    eventStates: new Float64Array(),
  };
  const pull = (cotangents: object) => answered({ kind: "pull", part: shard(), cotangents });
  expect(pull(right).parameters[0]).toBeLessThan(0);
  for (const name of ["y", "eventTimes", "eventStates"] as const) {
    for (const wrong of [Float32Array.from(right[name]), Array.from(right[name]), undefined]) {
      const { argument, expected } = thrown("OPTION", () => pull({ ...right, [name]: wrong }));
      expect([argument, expected]).toEqual([`task.cotangents.${name}`, "numbers of float64"]);
    }
  }
});

test("the number of threads is the worker's own", () => {
  const solve = (options?: object) => answered({ kind: "solve", part: shard(options) }).y;
  for (const threads of [2 ** 31, -1, "many"]) expect(solve({ threads })).toEqual(solve());
});
