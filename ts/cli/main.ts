#!/usr/bin/env node
// The command line: what it takes, what it says, how it ends.
import { Command, CommanderError, Option } from "commander";
import { version } from "../../package.json";
import { ADAPTIVE_METHODS, ACTIVATIONS as ALL_ACTIVATIONS, DEFAULT_METHOD, METHODS } from "../../wasm/constants.js";
import {
  count,
  counts,
  delimiter,
  encoding,
  factor,
  level,
  missing,
  names,
  natural,
  nonNegative,
  positive,
  timeUnit as readTimeUnit,
  several,
  share,
  span,
  time,
  times,
} from "./arguments.js";
import { bench } from "./bench.js";
import { DOSE_OPTIONS, regimenOf } from "./dose-options.js";
import { notesOn } from "./doses.js";
import { Failure, failureOf, reasonOf } from "./failure.js";
import { type FitRequest, fitEquations, jsonOf } from "./fit.js";
import { alignedLines, estimateRows, shown, summaryOf } from "./fit-advice.js";
import type { FitOptions } from "./fit-request.js";
import { gradcheck } from "./gradcheck.js";
import { described } from "./help.js";
import { info } from "./info.js";
import { readEquations, readSource, readSources } from "./input.js";
import { insteadOf, meantBy } from "./known-options.js";
import { counted } from "./number.js";
import { checkOutput, writeWhole } from "./output.js";
import { at, boundsByName, numbersByName, pairs, plainNames, spreadsByName, valuesByName } from "./pairs.js";
import { predict } from "./predict.js";
import { print, say } from "./say.js";
import { SERVER_OPTIONS, serversOption } from "./servers.js";
import { SIGNALS } from "./signals.js";
import { type SimulateOptions, simulate } from "./simulate.js";
import { type SweepRequest, sweepModels } from "./sweep.js";
import { ranked, rowsOf } from "./sweep-report.js";
import { optionsFrom } from "./sweep-space.js";
import type { Format } from "./table.js";
import { type GivenSettings, type TrainRequest, trainModel } from "./train.js";
import { type WorkerRequest, work } from "./worker.js";

const ERRORS = ["additive", "proportional", "combined", "lognormal"];
const LOSSES = ["linear", "softL1", "huber", "cauchy"];
/** Those that make a field smooth enough for adaptive steps, and are not linear. */
const ACTIVATIONS = ALL_ACTIVATIONS.filter((name) => name !== "relu" && name !== "identity");

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
      const meant = given === undefined ? undefined : meantBy(given, known);
      const hint = given === undefined ? undefined : insteadOf(given, known);
      if (hint !== undefined) return write(`${text.split("\n")[0]}\n(${hint})\n`);
      // Of what is spelled alike, commander knows.
      write(meant === undefined ? text : `${text.split("\n")[0]}\n(Did you mean ${meant}?)\n`);
    },
  })
  .exitOverride();

const asJson = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
const json = () => new Option("--json", "the result as JSON, for programs");
const tolerance = (name: "rtol" | "atol", standard: number) =>
  new Option(`--${name} <tolerance>`, `${name === "rtol" ? "relative" : "absolute"} tolerance of the solver`)
    .argParser(positive)
    .default(standard);

/** The commands that read tables. */
const READERS = ["train", "fit", "predict", "simulate", "gradcheck"];

/** How a table is written, where that cannot be seen from it. */
const FORMAT = [
  new Option("--delimiter <character>", "the character between columns, or tab or space (default: detected)").argParser(
    delimiter,
  ),
  new Option("--decimal <character>", "the decimal point (default: detected)").choices([".", ","]),
  new Option("--comment <character>", 'prefix of comment lines; "" for none (default: #)'),
  new Option("--missing <texts>", 'further texts of missing values, such as "-,<LOQ,ND"').argParser(missing),
  new Option("--encoding <name>", "such as windows-1252 (default: UTF-8, UTF-16 by its byte order mark)").argParser(
    encoding,
  ),
];
const timeUnit = () =>
  new Option(
    "--time-unit <unit>",
    "if times are dates: the unit of t, of rates and of other times, s, min, h or d (default: s)",
  ).argParser(readTimeUnit);
/** What is said of how a table is written, and the other options. */
function parted(options: Record<string, unknown>): { format: Format; rest: Record<string, unknown> } {
  const names = [...FORMAT, timeUnit()].map((option) => option.attributeName());
  const part = (inside: boolean) =>
    Object.fromEntries(Object.entries(options).filter(([name]) => names.includes(name) === inside));
  return { format: part(true), rest: part(false) };
}

program
  .command("train")
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
    new Option("--solver <method>", "method that solves the equation")
      .choices(ADAPTIVE_METHODS)
      .default(DEFAULT_METHOD),
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

Equations look like this; each state is a column, or --initial says how it begins, and a # begins a comment:
  param birth = 0.5
  param hunt = 0.03
  hare' = hare * (birth - hunt * lynx)

Ctrl-C, SIGTERM and SIGHUP leave a checkpoint in --out; the same command with --resume continues to bitwise the same model.`,
  )
  .action(async (data: string, options, command: Command) => {
    const { state, time, id, log, out, resume, json, checkpoint, equations, ...others } = options;
    const { format, rest: dosed } = parted(others);
    const { regimen, told, doses, rest } = regimenOf(dosed);
    const settings = {
      ...rest,
      ...regimen,
      infused: [],
      equations: null,
      window: rest.window ?? null,
      lag: rest.lag ?? null,
      period: rest.period ?? null,
    } as unknown as GivenSettings;
    const isGiven = (name: string) => command.getOptionValueSource(name) === "cli";
    const named = Object.entries({ ...rest, ...format, state, time, id, log }).filter(([name]) => isGiven(name));
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

program
  .command("fit")
  .summary("estimate parameters with standard errors, confidence intervals and diagnostics")
  .description(
    "Fits the parameters of equations to measurements in a table, by least squares or maximum likelihood: estimates with standard errors, confidence intervals and diagnostics.",
  )
  .argument("<data>", "a CSV file, or - for standard input")
  .requiredOption(
    "--equations <file>",
    "the model as text, with its states, and its parameters with their starting values",
  )
  .option(
    "--observe <list>",
    "columns, each with the expression that predicts it if that is not its name (default: the states that are columns)",
    pairs,
  )
  .option("--time <column>", "column of the time", "time")
  .option("--id <column>", "column of the trajectory, if there are several")
  .option(
    "--t0 <time>",
    "time of the initial states (default: each trajectory's first row, where a measurement taken as an initial state is not fitted)",
    time,
  )
  .option("--weights <column>", "weights of the rows: the variance of a measurement is divided by its weight")
  .option("--sd <column>", "standard deviations of the measurements in each row, instead of weights: 1/sd²")
  .option(
    "--arguments <list>",
    "covariates and inputs that differ between trajectories: weight, dose=column, dose=4",
    pairs,
  )
  .option(
    "--initial <list>",
    "initial states: hare=30, depot=column, depot=dose*weight (default: the first row of the state's column)",
    pairs,
  )
  .option("--estimate <list>", "initial states to estimate for each trajectory: hare(0), hare(0)=30", pairs)
  .option("--shared <list>", "initial states to estimate, the same in all trajectories: hare(0), hare(0)=30", pairs)
  .option("--individual <list>", "parameters to estimate for each trajectory, as clearance or clearance=2", pairs)
  .option("--start <list>", "starting values: birth=0.5, hare(0)=30 (default: those of the equations)", numbersByName)
  .option("--bounds <list>", "lower and upper bounds: birth=0:1, V=0:", boundsByName)
  .option(
    "--prior <list>",
    "what is known of parameters before the fit, as mean ± standard deviation: birth=0.5±0.1, or birth=0.5+-0.1",
    spreadsByName,
  )
  .option(
    "--log-prior <list>",
    "the same as median ± standard deviation of the logarithm (0.2 is about 20 %): V=20±0.2",
    spreadsByName,
  )
  .option("--log <names>", "positive parameters, estimated on a log scale", plainNames)
  .option("--logit <names>", "parameters estimated on a logit scale between their bounds", plainNames)
  .option("--fix <list>", "parameters that are not estimated: V or V=20", pairs)
  .addOption(new Option("--error <model>", "error model of the measurements").choices(ERRORS).default("additive"))
  .addOption(
    new Option("--loss <name>", "loss function; all but linear are robust to outliers")
      .choices(LOSSES)
      .default("linear"),
  )
  .option("--loss-scale <size>", "residuals larger than this are down-weighted by a robust loss", positive, 1)
  .option(
    "--noise <size>",
    "standard deviation of the measurements, if known (default: estimated from the residuals)",
    positive,
  )
  .option("--starts <count>", "number of starting points: your own, and random ones within the bounds", count, 1)
  .option("--seed <seed>", "seed for the random starting points", natural, 0)
  .option("--level <level>", "confidence level of the intervals", level, 0.95)
  .option("--max-iterations <count>", "maximum number of iterations from each starting point", count, 200)
  .addOption(
    new Option(
      "--solver <method>",
      "method that solves the equations (default: dopri8, or dopri5 for many times or somewhat stiff equations)",
    ).choices(ADAPTIVE_METHODS),
  )
  .addOption(tolerance("rtol", 1e-10))
  .addOption(tolerance("atol", 1e-12))
  .option(
    "--profile [names]",
    "profile these parameters, or all; their intervals do not assume a linear model",
    plainNames,
  )
  .option("--out <file>", "the model with the estimates", "fit.safetensors")
  .option("--report <file>", "a report: a single self-contained HTML page")
  .option("--resume", "start from the estimates in --out", false)
  .addOption(json())
  .addHelpText(
    "after",
    `
Examples:
  $ symplectic-adjoint fit lynx-hare.csv --time year --equations prey.txt --report fit.html
  $ symplectic-adjoint fit lynx-hare.csv --time year --equations prey.txt --observe "hare_thousands = hare, lynx_thousands = lynx" --estimate "hare(0), lynx(0)"
  $ symplectic-adjoint fit doses.csv --id patient --equations pk.txt --observe "concentration = central / V" --initial "depot=dose, central=0" --log "ka, ke, V" --error proportional
  $ symplectic-adjoint fit doses.csv --id patient --equations pk.txt --individual ke --starts 10 --bounds "ka=0:5, ke=0:1" --profile

Equations look like this; a # begins a comment:
  param birth = 0.5
  param hunt = 0.03
  hare' = hare * (birth - hunt * lynx)

The status is 0 if the fit converged, and 3 if it did not or if the data do not determine every estimate: then the estimates so far are in
--out, and --resume continues from them.
Ctrl-C stops the fit after the current iteration and does the same (status 130); press it again to stop at once.`,
  )
  .action(async (data: string, given, command: Command) => {
    const { format, rest: dosed } = parted(given);
    const { regimen, doses, rest: plain } = regimenOf({ ...dosed, initial: undefined });
    const rest = { ...plain, ...(dosed.initial !== undefined && { initial: dosed.initial }) };
    const all = rest as unknown as FitOptions & Omit<FitRequest, "options" | "progress"> & { json: boolean };
    const { json, error, loss, lossScale, noise, starts, seed, level, maxIterations, solver, rtol, atol, ...others } =
      all;
    const options: FitOptions = {
      error,
      loss,
      lossScale,
      noise,
      starts,
      seed,
      level,
      maxIterations,
      solver,
      rtol,
      atol,
    };
    if (loss === "linear" && command.getOptionValueSource("lossScale") === "cli") {
      throw new Failure("--loss-scale: expected --loss softL1, huber or cauchy as well", 2);
    }
    const estimatesDeviations = ["proportional", "combined"].includes(error);
    if (loss !== "linear" && estimatesDeviations) {
      throw new Failure(`--loss ${loss}: expected --error additive or lognormal, given ${error}`, 2);
    }
    if (noise !== undefined && (loss !== "linear" || estimatesDeviations)) {
      throw new Failure("--noise: expected --loss linear and --error additive or lognormal: other fits estimate it", 2);
    }
    const request: FitRequest = {
      // As defaults of the options, help would list them.
      ...{ arguments: [], initial: [], estimate: [], shared: [], individual: [], log: [], logit: [], fix: [] },
      ...{ start: new Map(), bounds: new Map() },
      ...others,
      ...{ data, format, options, profile: others.profile ?? false, progress: !json },
      ...{ doses, regimen: { doses: regimen.doses, mdv: regimen.mdv } },
    };
    const output = await fitEquations(request);
    const { result, task, advice, notes, profiles, model, report, message, signal } = output;
    if (json) asJson(jsonOf(output));
    else {
      for (const line of alignedLines(estimateRows(result, options.level))) print(line);
      for (const { name, interval } of profiles)
        print(
          `profile of ${name}: ${interval.map((end) => shown(end, result.parameters[name]?.standardError)).join(" to ")}`,
        );
      for (const line of notes) print(`note: ${line}`);
      print(summaryOf(result, error));
      print(message);
      print(`${report === null ? "" : `report: ${report}, `}model: ${model}`);
    }
    for (const id of task.skipped) say(`left out: ${id}, which has nothing to compare`);
    for (const line of notesOn(task.unmatched)) say(line);
    for (const line of advice) say(`warning: ${line}`);
    if (signal !== null) process.exitCode = SIGNALS[signal];
    else if (!output.converged) process.exitCode = 3;
  });

program
  .command("predict")
  .summary("solve a model's equation")
  .description(
    "Solves a model's equation from the first row of each trajectory of a table, or from a given state. A model of fit starts from the initial states that it estimated.",
  )
  .argument("<model>", "a model file of train or fit")
  .argument("[data]", "a CSV file with the columns that the model was trained on, or - for standard input")
  .option(
    "--at <state>",
    "the state at the first of --times: 30,4 or hare=30,lynx=4; with delays, followed by that one lag earlier, and so on",
    at,
  )
  .option(
    "--times <times>",
    "from:to:step, with dates a step such as 1d or 6h, or a list (default: those of the table)",
    times,
  )
  .option(
    "--doses <file>",
    "a table of doses with the columns of the training; with --at, all doses go to that trajectory",
  )
  .option("--out <file>", "the predictions; - for standard output, the default")
  .addOption(json())
  .addHelpText(
    "after",
    `
Examples:
  $ symplectic-adjoint predict model.safetensors unseen.csv --out predictions.csv
  $ symplectic-adjoint predict model.safetensors --at 30,4 --times 1900:1930:0.5
  $ symplectic-adjoint predict pk.safetensors --at 0,0 --times 0:72:1 --doses regimen.csv`,
  )
  .action(async (model: string, data: string | undefined, { times, out, json, doses: dosing, ...options }) => {
    // As for inputs, - is no file.
    const file = out === "-" ? undefined : out;
    if (file !== undefined) checkOutput(file, [model, data, dosing]);
    const { format } = parted(options);
    const sources = await readSources(model, data);
    const doses = dosing === undefined ? undefined : await readSource(dosing);
    const { csv, ...rest } = predict({ ...sources, doses, format, at: options.at, times });
    for (const line of notesOn(rest)) say(line);
    if (file !== undefined) writeWhole(file, csv);
    const result = { out: file ?? null, ...rest };
    if (json) return asJson(file === undefined ? { ...result, csv } : result);
    if (file === undefined) process.stdout.write(csv);
    if (result.errors) {
      const texts = Object.entries(result.errors).map(([name, error]) => `${name} ${error.toPrecision(3)}`);
      say(`root mean square error: ${texts.join(", ")}`);
    }
  });

program
  .command("simulate")
  .summary("solve equations in a text file")
  .description(
    "Solves equations in a text file, from initial states and for values of the parameters that you give. Needs no table and no model.",
  )
  .argument("<equations>", "the equations as text, or - for standard input")
  .option("--initial <list>", "initial states: hare=30, lynx=4; several values as in --parameters", valuesByName)
  .option(
    "--parameters <list>",
    "values of parameters: birth=0.5; several, as in birth=0.4,0.5 or birth=0.4:0.6:0.05, solve a trajectory each (default: those of the equations)",
    valuesByName,
  )
  .requiredOption(
    "--times <times>",
    "from:to:step, with dates a step such as 1d or 6h, or a list; the first is that of the initial states",
    times,
  )
  .option("--t0 <time>", "time of the initial states (default: the first of --times)", time)
  .option(
    "--observe <list>",
    "columns of the result, each with its expression if that is not its name: total = hare + lynx (default: the states)",
    pairs,
  )
  .option("--time <column>", "column of the time", "time")
  .addOption(
    new Option(
      "--solver <method>",
      "method that solves the equations (default: dopri8, or dopri5 for more than 100 times, 40 at --rtol 1e-8)",
    ).choices(METHODS),
  )
  .addOption(tolerance("rtol", 1e-10))
  .addOption(tolerance("atol", 1e-12))
  .option("--step-size <time>", "fixed steps, no longer than this, instead of tolerances", positive)
  .option("--out <file>", "the solution; - for standard output, the default")
  .addOption(json())
  .addHelpText(
    "after",
    `
Examples:
  $ symplectic-adjoint simulate prey.txt --initial "hare=30, lynx=4" --times 0:20:0.5
  $ symplectic-adjoint simulate prey.txt --initial "hare=30, lynx=4" --parameters "birth=0.4:0.6:0.05" --times 0:20:0.5 --out prey.csv
  $ symplectic-adjoint simulate pk.txt --initial "gut=0, blood=0" --observe "concentration = blood / V" --times 0:72:1 --doses regimen.csv

Equations look like this; a # begins a comment:
  param birth = 0.5
  param hunt = 0.03
  hare' = hare * (birth - hunt * lynx)

If several names have several values, all combinations are solved, and each of these names is a column.`,
  )
  .action(async (file: string, given, command: Command) => {
    const { format, rest: dosed } = parted(given);
    const { regimen, doses: dosing, rest } = regimenOf({ ...dosed, initial: undefined });
    const {
      json,
      out: to,
      ...others
    } = { parameters: [], ...rest, initial: dosed.initial ?? [] } as unknown as SimulateOptions & {
      json: boolean;
      out?: string;
    };
    const { solver, stepSize } = others;
    // As for inputs, - is no file.
    const out = to === "-" ? undefined : to;
    if (regimen.doses && dosing === undefined) throw new Failure("--dose-amount: expected --doses as well", 2);
    const tolerance = ["rtol", "atol"].find((name) => command.getOptionValueSource(name) === "cli");
    if (stepSize !== undefined && tolerance)
      throw new Failure(`--${tolerance}: cannot be combined with --step-size`, 2);
    if (stepSize === undefined && solver && !(ADAPTIVE_METHODS as readonly string[]).includes(solver)) {
      throw new Failure(`--solver ${solver}: expected --step-size as well, because its steps are fixed`, 2);
    }
    if (out !== undefined) checkOutput(out, [file, dosing]);
    if ([file, dosing].every((name) => name === "-" || name === "/dev/stdin")) {
      throw new Failure("only one of the equations and the doses can come from standard input", 2);
    }
    const equations = await readEquations(file);
    const source = dosing === undefined ? undefined : await readSource(dosing);
    const doses = source && regimen.doses ? { source, columns: regimen.doses, format } : undefined;
    const { csv, ...result } = simulate({ ...others, timeUnit: format.timeUnit, equations, doses });
    for (const line of result.notes) say(`note: ${line}`);
    if (out !== undefined) writeWhole(out, csv);
    if (json) return asJson({ out: out ?? null, ...result, ...(out === undefined && { csv }) });
    if (out === undefined) process.stdout.write(csv);
  });

program
  .command("gradcheck")
  .summary("check a model's gradient")
  .description(
    "Compares the gradient of a model's error on a table with finite differences, in float64, and the methods bitwise.",
  )
  .argument("<model>", "a model file of train")
  .argument("<data>", "a CSV file with the columns that the model was trained on, or - for standard input")
  .option("--steps <count>", "fixed steps of the solver in each interval", count, 4)
  .option("--directions <count>", "number of directions in which differences are taken", count, 8)
  .option("--trajectories <count>", "number of trajectories of the table to use, the first 100 rows of each", count, 16)
  .option("--doses <file>", "a table of doses, if the model was trained with one")
  .addOption(json())
  .addHelpText("after", "\nExample:\n  $ symplectic-adjoint gradcheck model.safetensors data.csv")
  .action(async (model: string, data: string, { steps, directions, trajectories, json, doses: dosing, ...options }) => {
    const sources = await readSources(model, data);
    const doses = dosing === undefined ? undefined : await readSource(dosing);
    const { format } = parted(options);
    const result = gradcheck({ ...sources, doses, format, steps, directions, trajectories });
    for (const line of notesOn(result)) say(line);
    if (json) asJson(result);
    else {
      print(
        `${counted(result.parameters, "parameter")}, ${counted(result.trajectories, "trajectory", "trajectories")}, gradient of norm ${result.gradient.toPrecision(4)}`,
      );
      print(
        `against central differences along ${counted(directions, "direction")}: relative error ${result.error.toExponential(1)}`,
      );
      print(`symplectic, aca, baseline, backprop, auto: ${result.bitwise ? "bitwise the same" : "not the same"}`);
    }
    if (!result.passed) throw new Failure("the gradient is wrong");
  });

const sweepCommand = program
  .command("sweep")
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

Ctrl-C stops the sweep. With --servers its results are kept, and the same command with --resume continues; if the command is killed,
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
    // A sweep reads numbers alone.
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

program
  .command("worker")
  .summary("work for a cluster")
  .description(
    "Works for anyone who trains over the same NATS servers, until Ctrl-C: takes shards of batches and returns solutions and gradients.",
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
    const signal = await work({ module: [], ...options } as WorkerRequest);
    if (signal !== null) process.exitCode = SIGNALS[signal];
  });

program
  .command("bench")
  .summary("time the gradient methods here")
  .description("Times each gradient on small cases on this machine, and shows its memory.")
  .addOption(json())
  .action(({ json }) => {
    const result = bench();
    if (json) return asJson(result);
    const { kind, simd, registerBits } = result.machine;
    const build = kind === "native" ? `native, registers of ${registerBits} bits` : simd;
    print(`${result.machine.cpu}, Node ${result.machine.node}, ${build}, one thread, float32\n`);
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
  .summary("show what a model file contains")
  .description("Shows what a model file contains.")
  .argument("<model>", "a model file")
  .addOption(json())
  .action(async (model: string, { json }) => {
    const result = info(await readSource(model));
    if (json) return asJson(result);
    const { field } = result;
    if (field) {
      const { kind, dtype, stateSize, parameters } = field;
      print(`${result.model}: ${kind}, ${counted(parameters, "parameter")}, ${dtype}, state of ${stateSize}`);
    } else {
      print(
        `${result.model}: arrays without an architecture, such as a state_dict; load(bytes, { activation }) reads one`,
      );
    }
    for (const { name, shape, dtype } of result.tensors) print(`  ${name} [${shape.join(", ")}] ${dtype}`);
    if (field?.equations) print(field.equations.replace(/^/gm, "  "));
    if (result.fit) {
      const { estimates, trajectories, fit, observed } = result.fit;
      print(
        `fitted to ${observed.map(({ column }) => column).join(", ")} of ${counted(trajectories.length, "trajectory", "trajectories")}`,
      );
      for (const [name, { value, standardError, fixed }] of Object.entries(estimates)) {
        const error = standardError === null ? "of unknown error" : `± ${shown(standardError, standardError)}`;
        print(`  ${name} ${shown(value, standardError)} ${fixed ? "(fixed)" : error}`);
      }
      print(`fit: ${JSON.stringify(fit)}`);
    }
    // Equations tell it all.
    if (field && !field.equations) print(`architecture: ${JSON.stringify(field.network ?? field.options)}`);
    if (result.optimizer) print(`an optimizer after ${counted(result.optimizer.steps, "step")}`);
    for (const [name, value] of Object.entries(result.training ?? {})) {
      // The equations stand above.
      const { equations: _, ...shown } = (name === "settings" ? value : {}) as { equations?: string };
      print(`${name}: ${JSON.stringify(name === "settings" ? shown : value)}`);
    }
  });

for (const command of program.commands) {
  const doseOptions = {
    train: DOSE_OPTIONS,
    fit: DOSE_OPTIONS.filter((option) => option.attributeName() !== "initial"),
    simulate: DOSE_OPTIONS.filter((option) => !["initial", "mdv"].includes(option.attributeName())),
  };
  for (const option of doseOptions[command.name() as keyof typeof doseOptions] ?? []) command.addOption(option);
  if (command.name() === "worker") for (const option of SERVER_OPTIONS) command.addOption(option);
  // Below those that are needed more often.
  if (READERS.includes(command.name())) for (const option of FORMAT) command.addOption(option);
  if (["train", "fit", "simulate"].includes(command.name())) command.addOption(timeUnit());
}

// What train takes, sweep takes too.
const trainCommand = program.commands.find((command) => command.name() === "train") as Command;
const handed = optionsFrom(trainCommand.options);
for (const option of [...handed.options, ...SERVER_OPTIONS]) sweepCommand.addOption(option);

// Whoever reads may have read enough, such as head, or the terminal may be gone.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE" || error.code === "EIO") process.exit(0);
  process.stderr.write(`standard output: cannot be written: ${reasonOf(error)}\n`);
  process.exit(1);
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
    say(`${failure.status > 128 ? "" : "error: "}${failure.message}`);
    process.exitCode = failure.status;
  }
}
