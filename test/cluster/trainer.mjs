// A training over a cluster that may be killed at any moment: it leaves a model file after each step, and goes on from one. It says
// when it misses a worker.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { adam, load, mlp, save, train } from "symplectic-adjoint";
import { connect } from "symplectic-adjoint/cluster";

const { servers, prefix, out, steps, batch } = JSON.parse(process.argv[2] ?? "{}");
const model = existsSync(out) ? load(readFileSync(out)) : undefined;
const field = model?.field ?? mlp({ widths: [2, 16, 2], seed: 3 });
const optimizer = model?.optimizer ?? adam(field, { learningRate: 0.01 });
const y0 = Float32Array.from({ length: 2 * batch }, (_, i) => ((i * 37) % 64) / 32 - 1);
const target = Float32Array.from({ length: 4 * batch }, (_, i) => ((i * 29) % 64) / 32 - 1);
const data = [{ y0, times: [0, 1], target }];
const onEvent = ({ kind }) => void (kind === "lost" && console.log("lost"));
const pool = servers ? await connect({ servers, prefix, stallTimeout: 1, onEvent }) : undefined;
const left = steps - optimizer.steps;
if (left > 0) {
  const options = { field, optimizer, data, steps: left, ...(pool && { pool }) };
  for await (const { loss } of train({ ...options, batching: "independent" })) {
    writeFileSync(`${out}.new`, save(field, { optimizer }));
    renameSync(`${out}.new`, out);
    console.log(`step ${optimizer.steps}: ${loss}`);
  }
}
pool?.close();
