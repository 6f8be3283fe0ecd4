// The command as another program runs it: what it says is followed, and nothing waits for a while.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const command = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));

/**
 * Starts the command. `done` is its end, `{ code, signal, out, err }`. `input` is standard input; `shell` wraps the command as
 * `sh -c SHELL` does, in which "$@" is the command.
 *
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: Record<string, string>, input?: string | Uint8Array, shell?: string }} [options]
 */
export function start(args, { cwd, env = {}, input, shell } = {}) {
  const own = [command, ...args];
  /** @type {[string, string[]]} */
  const [program, all] = shell ? ["sh", ["-c", shell, "sh", process.execPath, ...own]] : [process.execPath, own];
  const child = spawn(program, all, { cwd, env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"] });
  let [out, err] = ["", ""];
  const watchers = new Set();
  child.stdout.on("data", (data) => (out += data));
  child.stderr.on("data", (data) => {
    err += data;
    for (const watcher of watchers) watcher(err);
  });
  // Whoever does not read to the end is told so in its own way.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const done = new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, out, err }));
  });
  /** What comes of a look at standard error, as soon as that is something; undefined where the command ends before. */
  const said = (look) => {
    const found = new Promise((resolve) => {
      const watcher = (text) => {
        const result = look(text);
        if (result !== undefined) resolve(result);
      };
      watchers.add(watcher);
      watcher(err);
    });
    return Promise.race([found, done.then(() => undefined)]);
  };
  return { child, done, said };
}

/** The last step of a training that its progress tells of, if it is one from `least` on. */
export const stepFrom = (least) => (text) => {
  const step = Number(text.match(/step (\d+) of[^\n]*\n[^\n]*$/)?.[1] ?? -1);
  return step >= least ? step : undefined;
};

/**
 * Trains and ends it by a signal as soon as its progress is at a step. A command that has come to its end before the signal
 * arrives has not been interrupted: then it is tried again, from `before`.
 */
export async function interrupted(args, { step, signal, before = () => {}, ...options }) {
  for (let attempt = 0; attempt < 5; attempt++) {
    before();
    const { child, done, said } = start(args, options);
    if ((await said(stepFrom(step))) !== undefined) child.kill(signal);
    const ended = await done;
    if (ended.code !== 0) return ended;
  }
  throw new Error(`no training was interrupted before its end: ${args.join(" ")}`);
}
