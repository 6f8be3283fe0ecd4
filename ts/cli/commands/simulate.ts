// `symplectic-adjoint simulate`.
import { Command, Option } from "commander";
import { ADAPTIVE_METHODS, METHODS } from "../../../wasm/constants.js";
import { positive, time, times } from "../arguments.js";
import { DOSE_OPTIONS, regimenOf } from "../dose-options.js";
import { Failure } from "../failure.js";
import { readEquations, readSource } from "../input.js";
import { checkOutput, writeWhole } from "../output.js";
import { pairs, valuesByName } from "../pairs.js";
import { say } from "../say.js";
import { type SimulateOptions, simulate } from "../simulate.js";
import { asJson, FORMAT, json, parted, timeUnit, tolerance } from "./options.js";

export const simulateCommand = new Command("simulate")
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
      "--method <name>",
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
    const { method, stepSize } = others;
    // As for inputs, - is not a file.
    const out = to === "-" ? undefined : to;
    if (regimen.doses && dosing === undefined) throw new Failure("--dose-amount: expected --doses as well", 2);
    const tolerance = ["rtol", "atol"].find((name) => command.getOptionValueSource(name) === "cli");
    if (stepSize !== undefined && tolerance)
      throw new Failure(`--${tolerance}: cannot be combined with --step-size`, 2);
    if (stepSize === undefined && method && !(ADAPTIVE_METHODS as readonly string[]).includes(method)) {
      throw new Failure(`--method ${method}: expected --step-size as well, because its steps are fixed`, 2);
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

for (const option of [
  ...DOSE_OPTIONS.filter((option) => !["initial", "mdv"].includes(option.attributeName())),
  ...FORMAT,
  timeUnit(),
])
  simulateCommand.addOption(option);
