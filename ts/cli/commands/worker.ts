// `symplectic-adjoint worker`.

import { Command } from "commander";
import { count } from "../arguments.js";
import { SERVER_OPTIONS, serversOption } from "../server-options.js";
import { SIGNALS } from "../signals.js";
import { type WorkerCommandRequest, work } from "../worker.js";

export const workerCommand = new Command("worker")
  .summary("work for a cluster")
  .description(
    "Works for anyone who trains, fits or sweeps over the same NATS servers, until Ctrl-C: takes shards and returns solutions, gradients and derivatives, and runs trials of sweeps.",
  )
  .addOption(serversOption("NATS_URL, else nats://127.0.0.1:4222"))
  .option("--threads <count>", "shards computed at a time (default: the number of cores)", count)
  .option("--memory <MiB>", "memory for solves that await their gradients (default: 1024)", count)
  .option("--trials <count>", "trials of sweeps run at a time (default: as --threads)", count)
  .option(
    "--module <file>",
    "a module whose exported functions sweeps may call by name, besides train; may be repeated",
    (file: string, before: readonly string[] = []) => [...before, file],
  )
  .option("--quiet", "print errors only", false)
  .addHelpText(
    "after",
    `
Examples:
  $ symplectic-adjoint worker --servers nats://192.168.1.10:4222
  $ symplectic-adjoint worker --servers tls://nats.example.org --creds worker.creds --threads 4
  $ symplectic-adjoint worker --module ./trials.mjs

Ctrl-C finishes the shards in progress, gives trials of sweeps back, and leaves; press it again to leave at once. Other workers take over
whatever is unfinished. No code comes over the network: a sweep can run only the built-in task, train, and the functions that --module
exports.`,
  )
  .action(async (options) => {
    const signal = await work({ module: [], ...options } as WorkerCommandRequest);
    if (signal !== null) process.exitCode = SIGNALS[signal];
  });

for (const option of SERVER_OPTIONS) workerCommand.addOption(option);
