// Matrices in HDF5 files, by h5wasm.
import { existsSync } from "node:fs";
import { File, ready } from "h5wasm/node";
import { table } from "./table.mjs";

/** Some of the matrices in a file, by name. */
export async function readHdf5(file, names) {
  await ready;
  if (!existsSync(file)) throw new Error(`${file}: not there`);
  const open = new File(file, "r");
  try {
    return Object.fromEntries(names.map((name) => [name, matrix(file, open, name)]));
  } finally {
    open.close();
  }
}

function matrix(file, open, name) {
  const dataset = open.get(name);
  if (!dataset?.shape) throw new Error(`${file}: no data set “${name}”; there are ${open.keys().join(", ") || "none"}`);
  if (dataset.shape.length !== 2) throw new Error(`${file}, ${name}: ${dataset.shape.length} dimensions, not a matrix`);
  return table(Float64Array.from(dataset.value, Number), dataset.shape[1]);
}
