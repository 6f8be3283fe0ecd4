// PyTorch with torchdiffeq on the same blocks and data.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { pythonPackages } from "../../shared/environments.mjs";
import { blockOf } from "./block.mjs";
import { jsonOf } from "./run.mjs";

/** One gradient of one block by backpropagation through the solver. */
export async function torchGradients(api, { widths, batch, solver, file }) {
  const { command, missing } = pythonPackages("torch");
  if (!command) return { missing };
  const block = blockOf(api, widths);
  const parameters = `${file}.parameters`;
  writeFileSync(parameters, block.parameters.slice());
  const { layers } = block;
  block.dispose();
  const cells = {};
  for (const gradient of ["backprop"]) {
    const asked = JSON.stringify({ layers, parameters, x: file, features: widths[0], batch, solver, gradient });
    try {
      const [python, ...args] = command;
      const script = fileURLToPath(new URL("torch_cnf.py", import.meta.url));
      cells[gradient] = await jsonOf(python, [...args, script], {
        input: asked,
        env: { ...process.env, OMP_NUM_THREADS: "1" },
      });
    } catch (error) {
      cells[gradient] = { failed: error.message.slice(0, 300) };
    }
  }
  return cells;
}
