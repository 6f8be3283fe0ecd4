// Cold start: fresh processes, each with one gradient.
import { attempt } from "../scripts/run.mjs";
import { pin } from "./shared/child.mjs";
import { cases } from "./shared/problems.mjs";

/** Milliseconds of so many processes in a Node. */
export function coldStart({ name, path }, count) {
  const { widths, batch, methods } = cases.small;
  const arguments_ = [JSON.stringify(widths), String(batch), String(methods.rk4.steps)];
  const runs = Array.from({ length: count }, () => {
    const [command, ...rest] = pin([path, "bench/contenders/cold.mjs", ...arguments_]);
    const { status, stdout, stderr } = attempt(command, rest, { shell: false });
    if (status !== 0) throw new Error(`a first gradient in ${name} failed: ${stderr}`);
    return JSON.parse(stdout);
  });
  return { runtime: name, ms: runs.map(({ ms }) => ms), sinceStart: runs.map(({ sinceStart }) => sinceStart) };
}
