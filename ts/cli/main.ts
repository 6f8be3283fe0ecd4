#!/usr/bin/env node
// The command line: what it takes, what it says, how it ends.
import { Command, CommanderError, Option } from "commander";
import { version } from "../../package.json";
import { count, counts, names, natural, nonNegative, numbers, positive, several, share, times } from "./arguments.js";
import { bench } from "./bench.js";
import { Failure, failureOf } from "./failure.js";
import { gradcheck } from "./gradcheck.js";
import { info } from "./info.js";
import type { Settings } from "./model.js";
import { predict } from "./predict.js";
import { type TrainRequest, trainModel } from "./train.js";

const METHODS = ["bosh3", "dopri5", "tsit5", "dopri8", "fehlberg2", "adaptive_heun"];
const ACTIVATIONS = ["tanh", "softplus", "silu", "sigmoid", "gelu", "sin", "elu"];

const program = new Command("symplectic-adjoint")
  .description("Neural ODEs from tables of observations, trained by the symplectic adjoint method.")
  .version(version)
  .showHelpAfterError("(--help tells more)")
  .exitOverride();

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const asJson = (value: unknown) => print(JSON.stringify(value, null, 2));
const json = () => new Option("--json", "the result as JSON, for programs");

program
  .command("train")
  .summary("learn dx/dt = f(x) from a table")
  .description(
    "Learns dx/dt = f(x) from a table with a header, and a row for each observation; empty cells are missing values.",
  )
  .argument("<data>", "a CSV file")
  .option("--state <columns>", "columns of the state (default: all others)", names)
  .option("--time <column>", "column of the time", "time")
  .option("--id <column>", "column of the trajectory, where there are several")
  .option("--log <columns>", "columns that are positive, learned as logarithms", names, [])
  .addOption(new Option("--model <kind>", "what f is").choices(["mlp", "hamiltonian"]).default("mlp"))
  .option("--hidden <widths>", "widths of the hidden layers", counts, [32, 32])
  .addOption(new Option("--activation <name>").choices(ACTIVATIONS).default("tanh"))
  .addOption(new Option("--solver <method>").choices(METHODS).default("dopri5"))
  .option("--rtol <tolerance>", "of the solver", positive, 1e-4)
  .option("--steps <count>", "of the training", count, 1500)
  .option("--learning-rate <rate>", "the highest; warmed up, then along a cosine", positive, 1e-2)
  .option("--weight-decay <rate>", "decoupled", nonNegative, 0)
  .option("--batch <count>", "windows in a batch", count, 64)
  .option("--window <count>", "observations in the longest windows (default: by the data)", several)
  .option("--seed <seed>", "of the weights, the order and what is held out", natural, 0)
  .option("--validation <share>", "held out: trajectories, or of fewer than three the end", share, 0.2)
  .option("--patience <count>", "validations without a better one that end it; 0: never", natural, 0)
  .option("--out <file>", "the model", "model.safetensors")
  .option("--resume", "go on with the training that --out has the beginning of", false)
  .addOption(json())
  .addHelpText(
    "after",
    `
Examples:
  $ symplectic-adjoint train lynx-hare.csv --time year --log hare_thousands,lynx_thousands --out lynx-hare.safetensors
  $ symplectic-adjoint train pendulum.csv --id trajectory --steps 3000 --patience 30
  $ symplectic-adjoint train springs.csv --state q,p --model hamiltonian --activation softplus

Ctrl-C leaves a checkpoint in --out; the same command with --resume goes on to bitwise the same model.`,
  )
  .action(async (data: string, options, command: Command) => {
    const { state, time, id, log, out, resume, json, ...rest } = options;
    const settings = { ...rest, window: rest.window ?? null } as Settings;
    const isGiven = (name: string) => command.getOptionValueSource(name) === "cli";
    const given = Object.fromEntries(
      Object.entries({ ...settings, state, time, id, log }).filter(([name]) => isGiven(name)),
    );
    const request: TrainRequest = { data, out, time, id, state, log, resume, settings, given, progress: !json };
    const result = await trainModel(request);
    if (json) return asJson(result);
    print(`${result.model}: ${result.parameters} parameters, ${result.state.join(", ")}`);
    for (const id of result.skipped) process.stderr.write(`left out: ${id}, where no whole row has another after it\n`);
    print(`mean squared error, in deviations: training ${result.loss.toPrecision(3)} (the last batch)`);
    if (result.validation !== null) print(`held out ${result.validation.toPrecision(3)} (step ${result.bestStep})`);
  });

program
  .command("predict")
  .summary("solve a model's equation")
  .description("Solves a model's equation from the first row of each trajectory of a table, or from a state given.")
  .argument("<model>", "a model file of train")
  .argument("[data]", "a CSV file with the columns that the model was trained on")
  .option("--at <numbers>", "the state at the first of --times", numbers)
  .option("--times <times>", "from:to:step, or a list (default: those of the table)", times)
  .option("--out <file>", "the predictions (default: standard output)")
  .addOption(json())
  .addHelpText(
    "after",
    `
Examples:
  $ symplectic-adjoint predict model.safetensors unseen.csv --out predictions.csv
  $ symplectic-adjoint predict model.safetensors --at 30,4 --times 1900:1930:0.5`,
  )
  .action((model: string, data: string | undefined, { at, times, out, json }) => {
    const { csv, ...result } = predict({ model, data, at, times, out });
    if (json) return asJson(out === undefined ? { ...result, csv } : result);
    if (out === undefined) process.stdout.write(csv);
    if (result.errors) {
      const texts = Object.entries(result.errors).map(([name, error]) => `${name} ${error.toPrecision(3)}`);
      process.stderr.write(`root mean square error: ${texts.join(", ")}\n`);
    }
  });

program
  .command("gradcheck")
  .summary("check a model's gradient")
  .description(
    "Compares the gradient of a model's error on a table with finite differences, in float64, and the methods bitwise.",
  )
  .argument("<model>", "a model file of train")
  .argument("<data>", "a CSV file with the columns that the model was trained on")
  .option("--steps <count>", "of the solver in each interval, fixed", count, 4)
  .option("--directions <count>", "along which differences are taken", count, 8)
  .option("--trajectories <count>", "of the table, the first 100 rows of each", count, 16)
  .addOption(json())
  .addHelpText("after", "\nExample:\n  $ symplectic-adjoint gradcheck model.safetensors data.csv")
  .action((model: string, data: string, { steps, directions, trajectories, json }) => {
    const result = gradcheck({ model, data, steps, directions, trajectories });
    if (json) asJson(result);
    else {
      print(
        `${result.parameters} parameters, ${result.trajectories} trajectories, gradient of norm ${result.gradient.toPrecision(4)}`,
      );
      print(
        `against central differences along ${directions} directions: relative error ${result.error.toExponential(1)}`,
      );
      print(`symplectic, aca, baseline, backprop, auto: ${result.bitwise ? "bitwise the same" : "not the same"}`);
    }
    if (!result.passed) throw new Failure("the gradient is not right");
  });

program
  .command("bench")
  .summary("time the gradient methods here")
  .description("Times one gradient by each method on small cases, on this machine, and tells the memory that it takes.")
  .addOption(json())
  .action(({ json }) => {
    const result = bench();
    if (json) return asJson(result);
    print(`${result.machine.cpu}, Node ${result.machine.node}, ${result.machine.simd}, one thread, float32\n`);
    print("case    gradient         ms    peak memory   against backprop");
    for (const { case: name, gradient, ms, bytes, error } of result.results) {
      const cells = [ms.toPrecision(3).padStart(6), `${(bytes / 1024).toFixed(0)} KiB`.padStart(14)];
      print(
        `${name.padEnd(8)}${gradient.padEnd(12)} ${cells.join("")}   ${error === 0 ? "bitwise" : error.toExponential(1)}`,
      );
    }
  });

program
  .command("info")
  .summary("tell what a model file holds")
  .description("Tells what a model file holds.")
  .argument("<model>", "a model file")
  .addOption(json())
  .action((model: string, { json }) => {
    const result = info(model);
    if (json) return asJson(result);
    const { field } = result;
    if (field) {
      const { kind, dtype, stateSize, parameters } = field;
      print(`${model}: ${kind}, ${parameters} parameters, ${dtype}, state of ${stateSize}`);
    } else {
      print(`${model}: arrays without an architecture, such as a state_dict; load(bytes, { activation }) reads one`);
    }
    for (const { name, shape } of result.tensors) print(`  ${name} [${shape.join(", ")}]`);
    if (field) print(`architecture: ${JSON.stringify(field.network ?? field.options)}`);
    if (result.optimizer) print(`an optimizer after ${result.optimizer.steps} steps`);
    for (const [name, value] of Object.entries(result.training ?? {})) print(`${name}: ${JSON.stringify(value)}`);
  });

// Whoever reads may have read enough, such as head.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Whatever is not help or version is a mistake in the command.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    const failure = failureOf(error);
    if (!(failure instanceof Failure)) throw error;
    process.stderr.write(`${failure.status === 130 ? "" : "error: "}${failure.message}\n`);
    process.exitCode = failure.status;
  }
}
