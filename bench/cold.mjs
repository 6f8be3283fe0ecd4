// Cold start: fresh processes, each with one gradient.
import { attempt } from "../scripts/run.mjs";
import { pin } from "./shared/child.mjs";
import { cases } from "./shared/problems.mjs";

/** Milliseconds of so many processes of a Node with an engine, as `enginesIn` gives them. */
export function coldStart({ path }, { kind, runtime, env: own }, count) {
  const { widths, batch, methods } = cases.small;
  const arguments_ = [JSON.stringify(widths), String(batch), String(methods.rk4.steps)];
  const env = { ...process.env, ...own };
  const runs = Array.from({ length: count }, () => {
    const [command, ...rest] = pin([path, "bench/contenders/cold.mjs", ...arguments_]);
    const { status, stdout, stderr } = attempt(command, rest, { env, shell: false });
    if (status !== 0) throw new Error(`a first gradient in ${runtime} failed: ${stderr}`);
    return JSON.parse(stdout);
  });
  const [{ registerBits }] = runs;
  const times = { ms: runs.map(({ ms }) => ms), sinceStart: runs.map(({ sinceStart }) => sinceStart) };
  return { kind, runtime, registerBits, ...times };
}
