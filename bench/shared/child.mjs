// A contender is a process that answers lines of JSON: {"prepare": problem} with how it went, {"run": milliseconds} with the
// time of each gradient. One coordinator asks one of them at a time, so that they share a core without sharing the time.
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { createInterface } from "node:readline";

/** Single-threaded, as the libraries read it. */
const env = {
  ...process.env,
  OMP_NUM_THREADS: "1",
  OPENBLAS_NUM_THREADS: "1",
  MKL_NUM_THREADS: "1",
  XLA_FLAGS: "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
  JAX_PLATFORMS: "cpu",
};

/** The cores that this process may use. */
export const cores = allowedCores();
/** Where there is taskset, the core that everything is measured on: the last one, as the first serves the system's needs. */
export const pinned = spawnSync("taskset", ["-V"]).status === 0 ? cores.at(-1) : undefined;

function allowedCores() {
  const all = cpus().map((_, i) => i);
  try {
    const status = readFileSync("/proc/self/status", "utf8");
    const [, list] = /** @type {RegExpMatchArray} */ (status.match(/Cpus_allowed_list:\s*(\S+)/));
    return list.split(",").flatMap((range) => {
      const [first, last = first] = range.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });
  } catch {
    return all;
  }
}

/** A command pinned to one core, or to so many. */
export function pin([command, ...args], wanted = 1) {
  if (pinned === undefined) return [command, ...args];
  return ["taskset", "-c", cores.slice(-wanted).join(","), command, ...args];
}

/** Starts a contender, `{ command, cores?, env? }`. */
export function start({ command, cores: wanted, env: own = {} }) {
  const [file, ...args] = pin(command, wanted);
  const child = spawn(file, args, { env: { ...env, ...own }, stdio: ["pipe", "pipe", "pipe"] });
  /** @type {{ resolve(answer: any): void, reject(error: Error): void } | undefined} */
  let waiting;
  /** @type {string | undefined} */
  let ended;
  let complaints = "";
  /** @type {Promise<void>} */
  const gone = new Promise((resolve) => {
    const end = (why) => {
      ended ??= why;
      waiting?.reject(new Error(ended));
      resolve();
    };
    child.on("error", (error) => end(error.message));
    child.on("close", (code, signal) => end(lastLine(complaints) || `ended with ${signal ?? `code ${code}`}`));
  });
  child.stdin.on("error", () => {});
  child.stderr.setEncoding("utf8").on("data", (text) => {
    complaints = (complaints + text).slice(-4000);
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    // Libraries may print as well.
    if (!line.startsWith("{")) return;
    const answer = JSON.parse(line);
    if (answer.error) waiting?.reject(new Error(answer.error));
    else waiting?.resolve(answer);
  });
  return {
    /** The answer to a message; an error if it takes longer than so many seconds. */
    ask(message, seconds) {
      if (ended) return Promise.reject(new Error(ended));
      return new Promise((resolve, reject) => {
        const late = setTimeout(() => {
          ended = `took longer than ${seconds} s`;
          child.kill("SIGKILL");
        }, 1000 * seconds);
        const settle = (how) => (value) => {
          clearTimeout(late);
          waiting = undefined;
          how(value);
        };
        waiting = { resolve: settle(resolve), reject: settle(reject) };
        child.stdin.write(`${JSON.stringify(message)}\n`);
      });
    },
    async stop() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}

function lastLine(text) {
  return text.trim().split("\n").at(-1)?.trim() ?? "";
}
