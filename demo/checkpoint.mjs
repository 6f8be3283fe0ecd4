// A training that can stop at any step and go on as if it had not: parameters, optimizer, place in the schedule, losses.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { loadTensors, saveTensors } from "../dist/index.js";

export function save(file, { field, optimizer, losses }) {
  const array = (data) => ({ shape: [data.length], data });
  const tensors = {
    parameters: array(field.parameters.slice()),
    optimizer: array(optimizer.state.slice()),
    losses: array(Float64Array.from(losses)),
  };
  mkdirSync(dirname(file), { recursive: true });
  // Written beside and then moved, so that there is a whole file at any time.
  writeFileSync(`${file}.part`, saveTensors(tensors, { steps: String(optimizer.steps) }));
  renameSync(`${file}.part`, file);
}

/** Restores field and optimizer, and gives the losses so far. */
export function restore(file, { field, optimizer }) {
  if (!existsSync(file)) throw new Error(`there is no checkpoint at ${file}: run without --resume first`);
  const { tensors, metadata } = read(file);
  const [parameters, state, losses] = ["parameters", "optimizer", "losses"].map((name) => tensors.get(name)?.data);
  if (parameters?.length !== field.parameters.length || state?.length !== optimizer.state.length || !losses) {
    throw new Error(`${file} is a checkpoint of another model: run without --resume`);
  }
  field.parameters = parameters;
  optimizer.state.set(state);
  optimizer.steps = Number(metadata.get("steps"));
  return [...losses];
}

/** How many steps a checkpoint has behind it, undefined if there is none that can be read. */
export function stepsOf(file) {
  try {
    return Number(read(file).metadata.get("steps"));
  } catch {
    return undefined;
  }
}

function read(file) {
  try {
    return loadTensors(readFileSync(file));
  } catch (error) {
    throw new Error(`${file} cannot be read (${error.message}): run without --resume`);
  }
}
