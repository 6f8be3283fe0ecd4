#!/usr/bin/env node
// The command line: what it takes, what it says, how it ends.
import { Command, CommanderError, Option } from "commander";
import { version } from "../../package.json";
import {
  count,
  counts,
  delimiter,
  encoding,
  names,
  natural,
  nonNegative,
  numbers,
  positive,
  several,
  share,
  times,
} from "./arguments.js";
import { bench } from "./bench.js";
import { Failure, failureOf } from "./failure.js";
import { gradcheck } from "./gradcheck.js";
import { info } from "./info.js";
import { readSource, readSources } from "./input.js";
import type { Settings } from "./model.js";
import { checkOutput, writeWhole } from "./output.js";
import { predict } from "./predict.js";
import type { Format } from "./table.js";
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

/** The commands that read tables. */
const READERS = ["train", "predict", "gradcheck"];

/** How a table is written, where that cannot be seen from it. */
const FORMAT = [
  new Option("--delimiter <character>", "what stands between columns: tab, space, ; (default: by the table)").argParser(
    delimiter,
  ),
  new Option("--decimal <character>", "the decimal point (default: by the table)").choices([".", ","]),
  new Option("--comment <character>", 'what lines that are no rows begin with; "": there are none (default: #)'),
  new Option("--encoding <name>", "such as windows-1252 (default: UTF-8, UTF-16 by its byte order mark)").argParser(
    encoding,
  ),
];
/** What is said of how a table is written, and the other options. */
function parted(options: Record<string, unknown>): { format: Format; rest: Record<string, unknown> } {
  const names = FORMAT.map((option) => option.attributeName());
  const part = (inside: boolean) =>
    Object.fromEntries(Object.entries(options).filter(([name]) => names.includes(name) === inside));
  return { format: part(true), rest: part(false) };
}

program
  .command("train")
  .summary("learn dx/dt = f(x) from a table")
  .description(
    "Learns dx/dt = f(x) from a table with a header, and a row for each observation; empty cells are missing values.",
  )
  .argument("<data>", "a CSV file, or - for standard input")
  .option("--state <columns>", "columns of the state; a name with a comma in quotes (default: all others)", names)
  .option("--time <column>", "column of the time", "time")
  .option("--id <column>", "column of the trajectory, where there are several")
  .option("--log <columns>", "columns that are positive, learned as logarithms", names, [])
  .addOption(new Option("--model <kind>", "what f is").choices(["mlp", "hamiltonian"]).default("mlp"))
  .option("--equations <file>", "f as text, of columns and of parameters with initial values, which are fitted")
  .option("--delays <count>", "earlier values of each column that are in the state as well", natural, 0)
  .option("--lag <time>", "how long before each other they are (default: by the data)", positive)
  .option("--extra <count>", "dimensions that nobody observes, zero where a trajectory begins", natural, 0)
  .option("--with-time", "f depends on the time", false)
  .option("--period <time>", "f depends on the time, again and again after so long; of dates in seconds", positive)
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
  .option("--checkpoint <seconds>", "between checkpoints in --out", nonNegative, 30)
  .option("--resume", "go on with the training that --out has the beginning of", false)
  .addOption(json())
  .addHelpText(
    "after",
    `
Examples:
  $ symplectic-adjoint train lynx-hare.csv --time year --log hare_thousands,lynx_thousands --out lynx-hare.safetensors
  $ symplectic-adjoint train pendulum.csv --id trajectory --steps 3000 --patience 30
  $ symplectic-adjoint train springs.csv --state q,p --model hamiltonian --activation softplus
  $ symplectic-adjoint train tide.csv --state level --delays 3 --period 12.42
  $ symplectic-adjoint train lynx-hare.csv --time year --equations prey.txt

Equations are lines such as these; each state is a column, and a # begins a comment:
  param birth = 0.5
  param hunt = 0.03
  hare' = hare * (birth - hunt * lynx)

Ctrl-C, SIGTERM and SIGHUP leave a checkpoint in --out; the same command with --resume goes on to bitwise the same model.`,
  )
  .action(async (data: string, options, command: Command) => {
    const { state, time, id, log, out, resume, json, checkpoint, equations, ...others } = options;
    const { format, rest } = parted(others);
    const settings = {
      ...rest,
      equations: null,
      window: rest.window ?? null,
      lag: rest.lag ?? null,
      period: rest.period ?? null,
    } as Settings;
    const isGiven = (name: string) => command.getOptionValueSource(name) === "cli";
    const given = Object.fromEntries(
      Object.entries({ ...settings, ...format, state, time, id, log }).filter(([name]) => isGiven(name)),
    );
    const columns = { time, id, state, log };
    const request: TrainRequest = {
      data,
      equations,
      out,
      ...columns,
      resume,
      settings,
      format,
      checkpoint,
      given,
      progress: !json,
    };
    const result = await trainModel(request);
    if (result.advice !== null) process.stderr.write(`${result.advice}\n`);
    if (json) return asJson(result);
    print(`${result.model}: ${result.parameters} parameters, ${result.state.join(", ")}`);
    for (const id of result.skipped) process.stderr.write(`left out: ${id}, where no whole row has another after it\n`);
    for (const [name, value] of Object.entries(result.fitted ?? {})) print(`param ${name} = ${value}`);
    print(`mean squared error, in deviations: training ${result.loss.toPrecision(3)} (the last batch)`);
    if (result.validation !== null) print(`held out ${result.validation.toPrecision(3)} (step ${result.bestStep})`);
  });

program
  .command("predict")
  .summary("solve a model's equation")
  .description("Solves a model's equation from the first row of each trajectory of a table, or from a state given.")
  .argument("<model>", "a model file of train")
  .argument("[data]", "a CSV file with the columns that the model was trained on, or - for standard input")
  .option(
    "--at <numbers>",
    "the state at the first of --times, with delays those of one lag before after it, and so on",
    numbers,
  )
  .option("--times <times>", "from:to:step, of dates in seconds, or a list (default: those of the table)", times)
  .option("--out <file>", "the predictions (default: standard output)")
  .addOption(json())
  .addHelpText(
    "after",
    `
Examples:
  $ symplectic-adjoint predict model.safetensors unseen.csv --out predictions.csv
  $ symplectic-adjoint predict model.safetensors --at 30,4 --times 1900:1930:0.5`,
  )
  .action(async (model: string, data: string | undefined, { at, times, out, json, ...options }) => {
    if (out !== undefined) checkOutput(out, [model, data]);
    const { format } = parted(options);
    const sources = await readSources(model, data);
    const { csv, ...rest } = predict({ ...sources, format, at, times });
    if (out !== undefined) writeWhole(out, csv);
    const result = { out: out ?? null, ...rest };
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
  .argument("<data>", "a CSV file with the columns that the model was trained on, or - for standard input")
  .option("--steps <count>", "of the solver in each interval, fixed", count, 4)
  .option("--directions <count>", "along which differences are taken", count, 8)
  .option("--trajectories <count>", "of the table, the first 100 rows of each", count, 16)
  .addOption(json())
  .addHelpText("after", "\nExample:\n  $ symplectic-adjoint gradcheck model.safetensors data.csv")
  .action(async (model: string, data: string, { steps, directions, trajectories, json, ...options }) => {
    const sources = await readSources(model, data);
    const result = gradcheck({ ...sources, format: parted(options).format, steps, directions, trajectories });
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
  .action(async (model: string, { json }) => {
    const result = info(await readSource(model));
    if (json) return asJson(result);
    const { field } = result;
    if (field) {
      const { kind, dtype, stateSize, parameters } = field;
      print(`${result.model}: ${kind}, ${parameters} parameters, ${dtype}, state of ${stateSize}`);
    } else {
      print(
        `${result.model}: arrays without an architecture, such as a state_dict; load(bytes, { activation }) reads one`,
      );
    }
    for (const { name, shape, dtype } of result.tensors) print(`  ${name} [${shape.join(", ")}] ${dtype}`);
    if (field?.equations) print(field.equations.replace(/^/gm, "  "));
    if (field) print(`architecture: ${JSON.stringify(field.network ?? field.options)}`);
    if (result.optimizer) print(`an optimizer after ${result.optimizer.steps} steps`);
    for (const [name, value] of Object.entries(result.training ?? {})) {
      // The equations stand above.
      const { equations: _, ...shown } = (name === "settings" ? value : {}) as { equations?: string };
      print(`${name}: ${JSON.stringify(name === "settings" ? shown : value)}`);
    }
  });

for (const command of program.commands) {
  // Below those that are needed more often.
  if (READERS.includes(command.name())) for (const option of FORMAT) command.addOption(option);
}

// Whoever reads may have read enough, such as head, or the terminal may be gone.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
  process.exit(0);
});
// Nobody is left to be told; what is computed is still to be written.
process.stderr.on("error", () => {});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Whatever is not help or version is a mistake in the command.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    const failure = failureOf(error);
    if (!(failure instanceof Failure)) throw error;
    process.stderr.write(`${failure.status > 128 ? "" : "error: "}${failure.message}\n`);
    process.exitCode = failure.status;
  }
}
