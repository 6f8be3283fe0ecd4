// Runs a command for what it prints.
import { spawn } from "node:child_process";

/** The last line that a command prints, as JSON. */
export function jsonOf(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const { env, input } = options;
    const process_ = spawn(command, args, { env, stdio: ["pipe", "pipe", "pipe"] });
    let [output, complaints] = ["", ""];
    process_.stdout.on("data", (data) => {
      output += data;
    });
    process_.stderr.on("data", (data) => {
      complaints += data;
    });
    process_.on("error", reject);
    process_.on("close", (code, signal) => {
      if (code === 0) resolve(JSON.parse(output.trim().split("\n").at(-1) ?? ""));
      else reject(new Error(complaints.trim().split("\n").at(-1) || `ended with ${signal ?? code}`));
    });
    process_.stdin.end(input);
  });
}
