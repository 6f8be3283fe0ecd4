// `symplectic-adjoint sweep`.

import { Command } from "commander";
import { count, factor, natural, positive } from "../arguments.js";
import { Failure } from "../failure.js";
import { alignedLines } from "../fit-advice.js";
import { print } from "../say.js";
import { SERVER_OPTIONS, serversOption } from "../server-options.js";
import { SIGNALS } from "../signals.js";
import { type SweepRequest, sweepModels } from "../sweep.js";
import { ranked, rowsOf } from "../sweep-report.js";
import { optionsFrom } from "../sweep-space.js";
import { asJson, json } from "./options.js";
import { trainCommand } from "./train.js";

// A sweep takes the options of train.
const handed = optionsFrom(trainCommand.options);

export const sweepCommand = new Command("sweep")
  .summary("train with many settings and keep the best")
  .description(
    "Runs train with many different settings and keeps the model with the smallest error on the held-out data. Without --servers, it uses this machine's cores.",
  )
  .argument("<data>", "a CSV file, or - for standard input")
  .option("--trials <count>", "number of trainings; a grid sets its own", count)
  .option("--grid", "all combinations of the values", false)
  .option("--random", "draw values at random; otherwise they fill their ranges evenly", false)
  .option("--seed <seed>", "seed for the choice of trials, and for every training", natural, 0)
  .option(
    "--halving [factor]",
    "successive halving: one trial in this many continues, with this many times the steps (default: 3)",
    factor,
  )
  .option(
    "--least-steps <count>",
    "steps of the first trials, with --halving (default: set by the number of trials)",
    count,
  )
  .option("--timeout <seconds>", "seconds after which a trial counts as failed", positive)
  .option("--parallel <count>", "trials at a time, without --servers (default: the number of cores)", count)
  .option("--out <file>", "the best model", "model.safetensors")
  .option("--table <file>", "all trials, as CSV")
  .option("--report <file>", "a report with plots: a single self-contained HTML page")
  .addOption(serversOption("none: this machine"))
  .option("--name <name>", "name of the sweep on the servers (default: that of the data)")
  .option("--resume", "continue the sweep of that name", false)
  .option("--replace", "delete the sweep of that name and start over", false)
  .option(
    "--attempts <count>",
    "number of workers that a trial may lose before it counts as failed (default: 5)",
    count,
  )
  .addOption(json())
  .addHelpText(
    "after",
    `
Options of train that are numbers or words take several values: 16,32,64 is a choice, and 1e-3:1e-1 a range, log-uniform if both ends
are positive and the larger is at least ten times the smaller. With --grid, a range needs a number of values: 1e-3:1e-1:5.

Examples:
  $ symplectic-adjoint sweep lynx-hare.csv --time year --width 16,32,64 --learning-rate 1e-3:1e-1 --trials 20 --report sweep.html
  $ symplectic-adjoint sweep pendulum.csv --id trajectory --activation tanh,silu --depth 1:3 --trials 81 --halving
  $ symplectic-adjoint sweep pendulum.csv --id trajectory --width 16,32,64 --learning-rate 1e-3:1e-1 --trials 200 --servers nats://192.168.1.10:4222

Ctrl-C stops the sweep; on this machine, the best model so far is in --out. With --servers its results are kept, and the same command with --resume continues; if the command is killed,
workers go on without it.`,
  )
  .action(async (data: string, options, command: Command) => {
    const given = (names: readonly string[]) =>
      Object.fromEntries(
        command.options
          .filter((option) => names.includes(option.name()) && options[option.attributeName()] !== undefined)
          .map((option) => [option.name(), options[option.attributeName()]]),
      );
    if (options.grid && options.random) throw new Failure("--random: cannot be combined with --grid", 2);
    const { equations, doses, ...fixed } = given(handed.fixed);
    const varied = given(handed.varied);
    // A sweep accepts numbers only.
    const other = Object.keys(varied).find((name) => Array.isArray(varied[name]) && varied[name].some(Number.isNaN));
    if (other !== undefined)
      throw new Failure(`--${other}: expected numbers in a sweep; they count in --time-unit, by default in seconds`, 2);
    const { trials, seed, halving, leastSteps, timeout, parallel, out, table, report, name, resume, replace } = options;
    const request: SweepRequest = {
      ...{ data, equations, doses, varied, fixed },
      ...{ trials, seed, leastSteps, timeout, parallel, out, table, report, name, resume, replace },
      sampler: options.grid ? "grid" : options.random ? "random" : "quasirandom",
      factor: halving === true ? 3 : halving,
      attempts: options.attempts,
      servers: options,
      progress: !options.json,
    };
    const result = await sweepModels(request);
    const { best, budgets, seconds, signal } = result;
    if (options.json) asJson({ ...result, best: best && { ...best, state: undefined }, model: out });
    else {
      for (const line of alignedLines(rowsOf(ranked(result.trials).slice(0, 10), budgets))) print(line);
      if (result.trials.length > 10) print(`and ${result.trials.length - 10} more`);
      print(`${out}: the best, trial ${best?.trial}; ${seconds.toFixed(0)} s`);
    }
    if (signal !== null) process.exitCode = SIGNALS[signal];
  });

for (const option of [...handed.options, ...SERVER_OPTIONS]) sweepCommand.addOption(option);
