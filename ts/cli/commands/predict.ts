// `symplectic-adjoint predict`.
import { Command } from "commander";
import { times } from "../arguments.js";
import { notesOn } from "../doses.js";
import { readSource, readSources } from "../input.js";
import { checkOutput, writeWhole } from "../output.js";
import { at } from "../pairs.js";
import { predict } from "../predict.js";
import { say } from "../say.js";
import { asJson, FORMAT, json, parted } from "./options.js";

export const predictCommand = new Command("predict")
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
    // As for inputs, - is not a file.
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

for (const option of FORMAT) predictCommand.addOption(option);
