// Functions of a worker's own modules as tasks of sweeps; each trial runs in a thread that can be ended.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import type { Trial, TrialFunction, TrialOutcome } from "../cluster.js";
import { Failure, reasonOf } from "./failure.js";
import type { TrialReply } from "./trial-thread.js";

/** How many idle threads of each module are kept for the next trial. */
const MOST_IDLE = 64;

/** The functions that modules export, by name. */
export async function moduleTasks(files: readonly string[]): Promise<Record<string, TrialFunction>> {
  const tasks: Record<string, TrialFunction> = {};
  for (const file of files) {
    const url = pathToFileURL(resolve(file)).href;
    let exported: Record<string, unknown>;
    try {
      exported = await import(url);
    } catch (error) {
      throw new Failure(`--module ${file}: ${reasonOf(error)}`, 2);
    }
    const names = Object.keys(exported).filter((name) => typeof exported[name] === "function");
    if (names.length === 0) throw new Failure(`--module ${file}: expected a module that exports functions`, 2);
    const idle: Worker[] = [];
    for (const name of names) {
      if (name === "train" || Object.hasOwn(tasks, name)) {
        throw new Failure(`--module ${file}: there is already a task named ${name}`, 2);
      }
      if (!/^[\w-]{1,64}$/.test(name)) {
        throw new Failure(`--module ${file}: expected names of letters, digits, - and _, given ${name}`, 2);
      }
      tasks[name] = (trial) => inThread(idle, url, name, trial);
    }
  }
  return tasks;
}

function inThread(idle: Worker[], url: string, name: string, { signal, ...trial }: Trial): Promise<TrialOutcome> {
  return new Promise((resolve, reject) => {
    const thread = idle.pop() ?? new Worker(new URL("./trial-thread.js", import.meta.url), { workerData: url });
    thread.removeAllListeners();
    thread.ref();
    const end = (settle: () => void) => {
      thread.removeAllListeners();
      signal.removeEventListener("abort", stop);
      settle();
    };
    const stop = () => {
      void thread.terminate();
      end(() => reject(signal.reason));
    };
    signal.addEventListener("abort", stop, { once: true });
    thread.once("message", (reply: TrialReply) =>
      end(() => {
        rest(idle, thread);
        if ("outcome" in reply) resolve(reply.outcome);
        else reject(new Error(reply.message));
      }),
    );
    thread.once("error", (error) => end(() => reject(error)));
    thread.once("exit", (code) => end(() => reject(new Error(`the thread of the trial ended with ${code}`))));
    thread.postMessage({ name, trial });
  });
}

/** Keeps an idle thread for the next trial, without keeping the process alive. */
function rest(idle: Worker[], thread: Worker): void {
  if (idle.length >= MOST_IDLE) {
    void thread.terminate();
    return;
  }
  const leave = () => {
    const place = idle.indexOf(thread);
    if (place >= 0) idle.splice(place, 1);
  };
  thread.once("error", leave);
  thread.once("exit", leave);
  thread.unref();
  idle.push(thread);
}
