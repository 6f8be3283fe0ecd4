// `symplectic-adjoint train`.

import { Command, Option } from "commander";
import { ADAPTIVE_METHODS, ACTIVATIONS as ALL_ACTIVATIONS, DEFAULT_METHOD } from "../../../wasm/constants.js";
import { count, counts, names, natural, nonNegative, positive, several, share, span } from "../arguments.js";
import { DOSE_OPTIONS, regimenOf } from "../dose-options.js";
import { notesOn } from "../doses.js";
import { counted } from "../number.js";
import { print, say } from "../say.js";
import { partedServers, SERVER_OPTIONS, serversOption } from "../server-options.js";
import { type GivenSettings, type TrainRequest, trainModel } from "../train.js";
import { asJson, FORMAT, json, parted, timeUnit, tolerance } from "./options.js";

/** Activations that are not linear, and smooth enough for adaptive steps. */
const ACTIVATIONS = ALL_ACTIVATIONS.filter((name) => name !== "relu" && name !== "identity");

export const trainCommand = new Command("train")
  .summary("learn dx/dt = f(x) from a table")
  .description(
    "Learns dx/dt = f(x) from a table with a header and a row for each observation. Empty cells are missing values.",
  )
  .argument("<data>", "a CSV file, or - for standard input")
  .option("--state <columns>", "columns of the state; quote a name that has a comma (default: all others)", names)
  .option("--time <column>", "column of the time", "time")
  .option("--id <column>", "column of the trajectory, if there are several")
  .option("--log <columns>", "positive columns, learned as logarithms", names, [])
  .addOption(new Option("--model <kind>", "what f is").choices(["mlp", "hamiltonian"]).default("mlp"))
  .option(
    "--equations <file>",
    "f as text, in terms of columns and of parameters, which are fitted from their initial values",
  )
  .option("--delays <count>", "how many earlier values of each column to add to the state", natural, 0)
  .option("--lag <time>", "the time between them; 6h or 1d if times are dates (default: chosen from the data)", span)
  .option("--extra <count>", "hidden dimensions to add to the state, zero at the start of each trajectory", natural, 0)
  .option("--with-time", "f depends on the time", false)
  .option("--period <time>", "f depends on the time, with this period; 365d or 6h if times are dates", span)
  .option("--hidden <widths>", "widths of the hidden layers", counts, [32, 32])
  .addOption(new Option("--activation <name>", "activation of the hidden layers").choices(ACTIVATIONS).default("tanh"))
  .addOption(
    new Option("--method <name>", "method that solves the equation").choices(ADAPTIVE_METHODS).default(DEFAULT_METHOD),
  )
  .addOption(tolerance("rtol", 1e-4))
  .option("--steps <count>", "training steps", count, 1500)
  .option("--learning-rate <rate>", "the peak learning rate: warmed up, then lowered along a cosine", positive, 1e-2)
  .option("--weight-decay <rate>", "decoupled weight decay, as in AdamW", nonNegative, 0)
  .option("--batch <count>", "windows in a batch", count, 64)
  .option("--window <count>", "observations in the longest windows (default: chosen from the data)", several)
  .option("--seed <seed>", "seed for the weights, the order of windows and the choice of held-out data", natural, 0)
  .option(
    "--validation <share>",
    "share held out: whole trajectories, or with fewer than three the end of each",
    share,
    0.2,
  )
  .option("--patience <count>", "stop after this many validations without improvement; 0: never", natural, 0)
  .option("--out <file>", "the model", "model.safetensors")
  .option("--checkpoint <seconds>", "seconds between checkpoints in --out", nonNegative, 30)
  .option("--resume", "continue the unfinished training in --out", false)
  .addOption(serversOption("none: this machine"))
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
  $ symplectic-adjoint train nonmem.csv --id ID --time TIME --equations pk.txt --dose-amount AMT --dose-state CMT --mdv MDV --initial "depot=0, DV=0"
  $ symplectic-adjoint train neurons.csv --id neuron --batch 1024 --servers nats://192.168.1.10:4222

Equations look like this; each state is a column, or --initial says how it begins, and a # begins a comment:
  param birth = 0.5
  param hunt = 0.03
  hare' = hare * (birth - hunt * lynx)

Ctrl-C, SIGTERM and SIGHUP leave a checkpoint in --out; the same command with --resume continues to bitwise the same model.
With --servers, workers compute the gradients: start them with symplectic-adjoint worker, on as many machines as you like.`,
  )
  .action(async (data: string, options, command: Command) => {
    const { state, time, id, log, out, resume, json, checkpoint, equations, method, ...others } = options;
    const { servers, rest: own } = partedServers(others);
    const { format, rest: dosed } = parted(own);
    const { regimen, told, doses, rest } = regimenOf(dosed);
    const settings = {
      ...rest,
      ...regimen,
      solver: method,
      infused: [],
      equations: null,
      window: rest.window ?? null,
      lag: rest.lag ?? null,
      period: rest.period ?? null,
    } as unknown as GivenSettings;
    const isGiven = (name: string) => command.getOptionValueSource(name) === "cli";
    const named = Object.entries({ ...rest, ...format, method, state, time, id, log }).filter(([name]) =>
      isGiven(name),
    );
    const given = { ...Object.fromEntries(named), ...told };
    const columns = { time, id, state, log };
    const request: TrainRequest = {
      data,
      equations,
      doses,
      out,
      ...columns,
      resume,
      settings,
      format,
      checkpoint,
      given,
      servers,
      progress: !json,
    };
    const result = await trainModel(request);
    if (result.advice !== null) say(result.advice);
    if (json) return asJson(result);
    print(`${result.model}: ${counted(result.parameters, "parameter")}, ${result.state.join(", ")}`);
    for (const id of result.skipped) say(`left out: ${id}, where no complete row is followed by another`);
    for (const line of notesOn(result)) say(line);
    for (const [name, value] of Object.entries(result.fitted ?? {})) print(`param ${name} = ${value}`);
    print(`mean squared error, in standard deviations: training ${result.loss.toPrecision(3)} (the last batch)`);
    if (result.validation !== null) print(`held out ${result.validation.toPrecision(3)} (step ${result.bestStep})`);
  });

for (const option of [...DOSE_OPTIONS, ...FORMAT, timeUnit(), ...SERVER_OPTIONS]) trainCommand.addOption(option);
