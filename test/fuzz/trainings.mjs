// A training that is stopped in every way, and where it stands by its file.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { commandModules } from "./bundle.mjs";

const { readModel } = await commandModules("model");

export const STEPS = 240;
const pendulum = fileURLToPath(new URL("../../data/pendulum.csv", import.meta.url));
const settings = ["--id", "trajectory", "--hidden", "8", "--steps", String(STEPS), "--seed", "5"];
export const training = ["train", pendulum, ...settings];

/** What a file is: nothing yet, a checkpoint, or a finished model; whichever it is, it is whole. */
export function standOf(name) {
  if (!existsSync(name)) return { steps: 0, finished: false };
  const { network, optimizer, description, best } = readModel({ name, bytes: readFileSync(name) });
  const steps = optimizer?.steps ?? description.finished.steps;
  assert.ok(network.parameters.every(Number.isFinite) && (best?.step ?? 0) <= steps);
  optimizer?.dispose();
  network.dispose();
  return { steps, finished: description.finished !== null };
}
