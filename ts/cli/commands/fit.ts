// `symplectic-adjoint fit`.

import { Command, Option } from "commander";
import { ADAPTIVE_METHODS } from "../../../wasm/constants.js";
import { count, level, natural, positive, time } from "../arguments.js";
import { DOSE_OPTIONS, regimenOf } from "../dose-options.js";
import { notesOn } from "../doses.js";
import { Failure } from "../failure.js";
import { type FitRequest, fitEquations, jsonOf } from "../fit.js";
import { alignedLines, estimateRows, shown, summaryOf } from "../fit-advice.js";
import type { FitCommandOptions } from "../fit-request.js";
import { boundsByName, numbersByName, pairs, plainNames, spreadsByName } from "../pairs.js";
import { print, say } from "../say.js";
import { partedServers, SERVER_OPTIONS, serversOption } from "../server-options.js";
import { SIGNALS } from "../signals.js";
import { asJson, FORMAT, json, parted, timeUnit, tolerance } from "./options.js";

const ERRORS = ["additive", "proportional", "combined", "lognormal"];
const LOSSES = ["linear", "softL1", "huber", "cauchy"];

export const fitCommand = new Command("fit")
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
      "--method <name>",
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
  .addOption(serversOption("none: this machine"))
  .addOption(json())
  .addHelpText(
    "after",
    `
Examples:
  $ symplectic-adjoint fit lynx-hare.csv --time year --equations prey.txt --report fit.html
  $ symplectic-adjoint fit lynx-hare.csv --time year --equations prey.txt --observe "hare_thousands = hare, lynx_thousands = lynx" --estimate "hare(0), lynx(0)"
  $ symplectic-adjoint fit doses.csv --id patient --equations pk.txt --observe "concentration = central / V" --initial "depot=dose, central=0" --log "ka, ke, V" --error proportional
  $ symplectic-adjoint fit doses.csv --id patient --equations pk.txt --individual ke --starts 10 --bounds "ka=0:5, ke=0:1" --profile
  $ symplectic-adjoint fit cohort.csv --id patient --equations pk.txt --servers nats://192.168.1.10:4222

Equations look like this; a # begins a comment:
  param birth = 0.5
  param hunt = 0.03
  hare' = hare * (birth - hunt * lynx)

The status is 0 if the fit converged, and 3 if it did not or if the data do not determine every estimate: then the estimates so far are in
--out, and --resume continues from them.
Ctrl-C stops the fit after the current iteration and does the same (status 130); press it again to stop at once.
With --servers, workers solve the trajectories: start them with symplectic-adjoint worker, on as many machines as you like.`,
  )
  .action(async (data: string, given, command: Command) => {
    const { servers, rest: own } = partedServers(given);
    const { format, rest: dosed } = parted(own);
    const { regimen, doses, rest: plain } = regimenOf({ ...dosed, initial: undefined });
    const rest = { ...plain, ...(dosed.initial !== undefined && { initial: dosed.initial }) };
    const all = rest as unknown as Omit<FitCommandOptions, "solver"> &
      Omit<FitRequest, "options" | "progress"> & { json: boolean; method: FitCommandOptions["solver"] };
    const { json, error, loss, lossScale, noise, starts, seed, level, maxIterations, method, rtol, atol, ...others } =
      all;
    const options: FitCommandOptions = {
      error,
      loss,
      lossScale,
      noise,
      starts,
      seed,
      level,
      maxIterations,
      solver: method,
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
      // Set here: as defaults of the options, they would show in help.
      ...{ arguments: [], initial: [], estimate: [], shared: [], individual: [], log: [], logit: [], fix: [] },
      ...{ start: new Map(), bounds: new Map() },
      ...others,
      ...{ data, format, options, profile: others.profile ?? false, servers, progress: !json },
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

for (const option of [
  ...DOSE_OPTIONS.filter((option) => option.attributeName() !== "initial"),
  ...FORMAT,
  timeUnit(),
  ...SERVER_OPTIONS,
])
  fitCommand.addOption(option);
