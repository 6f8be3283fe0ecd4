// The tasks by name.
import type { Config, TaskName } from "./config.js";
import type { LearningTask } from "./task.js";
import { bounce } from "./tasks/bounce.js";
import { equationsTask } from "./tasks/equations.js";
import { lynxHare } from "./tasks/lynx-hare.js";
import { pendulum } from "./tasks/pendulum.js";
import { spiral } from "./tasks/spiral.js";
import { twoMoons } from "./tasks/two-moons.js";

export const MAKERS: Record<TaskName, (config: Config) => LearningTask> = {
  spiral: ({ seed }) => spiral(seed),
  "lynx-hare": lynxHare,
  pendulum: ({ seed }) => pendulum(seed),
  "two-moons": ({ seed }) => twoMoons(seed),
  bounce,
  equations: equationsTask,
};
