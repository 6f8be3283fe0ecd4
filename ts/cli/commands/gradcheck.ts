// `symplectic-adjoint gradcheck`.
import { Command } from "commander";
import { count } from "../arguments.js";
import { notesOn } from "../doses.js";
import { Failure } from "../failure.js";
import { gradcheck } from "../gradcheck.js";
import { readSource, readSources } from "../input.js";
import { counted } from "../number.js";
import { print, say } from "../say.js";
import { asJson, FORMAT, json, parted } from "./options.js";

export const gradcheckCommand = new Command("gradcheck")
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

for (const option of FORMAT) gradcheckCommand.addOption(option);
