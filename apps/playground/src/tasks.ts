// The tasks by name.
import type { TaskName } from "./config.js";
import type { Task } from "./task.js";
import { lynxHare } from "./tasks/lynx-hare.js";
import { pendulum } from "./tasks/pendulum.js";
import { spiral } from "./tasks/spiral.js";
import { twoMoons } from "./tasks/two-moons.js";

export const MAKERS: Record<TaskName, (seed: number) => Task> = {
  spiral,
  "lynx-hare": lynxHare,
  pendulum,
  "two-moons": twoMoons,
};
