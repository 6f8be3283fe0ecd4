#!/usr/bin/env node
// The entry point of the command line: commands, hints, and exit statuses.
import { Command, CommanderError } from "commander";
import { version } from "../../package.json";
import { benchCommand } from "./commands/bench.js";
import { fitCommand } from "./commands/fit.js";
import { gradcheckCommand } from "./commands/gradcheck.js";
import { infoCommand } from "./commands/info.js";
import { predictCommand } from "./commands/predict.js";
import { simulateCommand } from "./commands/simulate.js";
import { sweepCommand } from "./commands/sweep.js";
import { sweepsCommand } from "./commands/sweeps.js";
import { trainCommand } from "./commands/train.js";
import { workerCommand } from "./commands/worker.js";
import { Failure, failureOf, reasonOf } from "./failure.js";
import { described } from "./help.js";
import { alternativeTo, resolveOption } from "./known-options.js";
import { say } from "./say.js";

const program = new Command("symplectic-adjoint")
  .description("Differential equations from tables of observations: trains neural ODEs and estimates parameters.")
  .version(version)
  .showHelpAfterError("(see --help)")
  .configureHelp({ optionDescription: described })
  .configureOutput({
    outputError(text, write) {
      const given = /unknown option '([^']*)'/.exec(text)?.[1];
      const command = program.commands.find((command) => process.argv.slice(2).includes(command.name()));
      const known = command?.options.flatMap(({ long }) => (long ? [long] : [])) ?? [];
      const meant = given === undefined ? undefined : resolveOption(given, known);
      const hint = given === undefined ? undefined : alternativeTo(given, known);
      if (hint !== undefined) return write(`${text.split("\n")[0]}\n(${hint})\n`);
      // Commander already hints at similar spellings.
      write(meant === undefined ? text : `${text.split("\n")[0]}\n(Did you mean ${meant}?)\n`);
    },
  })
  .exitOverride();

for (const command of [
  trainCommand,
  fitCommand,
  predictCommand,
  simulateCommand,
  gradcheckCommand,
  sweepCommand,
  sweepsCommand,
  workerCommand,
  benchCommand,
  infoCommand,
]) {
  program.addCommand(command.copyInheritedSettings(program));
}

// The reader, such as head, may have closed the pipe, or the terminal may be gone.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE" || error.code === "EIO") process.exit(0);
  process.stderr.write(`standard output: cannot be written: ${reasonOf(error)}\n`);
  process.exit(1);
});
// No one reads messages any more; the result is still written.
process.stderr.on("error", () => {});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Everything except help and version is a mistake in the command.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    const failure = failureOf(error);
    if (!(failure instanceof Failure)) throw error;
    say(`${failure.status > 128 ? "" : "error: "}${failure.message}`);
    process.exitCode = failure.status;
  }
}
