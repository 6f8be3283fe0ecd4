// `symplectic-adjoint info`.
import { Command } from "commander";
import { shown } from "../fit-advice.js";
import { info } from "../info.js";
import { readSource } from "../input.js";
import { counted } from "../number.js";
import { print } from "../say.js";
import { asJson, json } from "./options.js";

export const infoCommand = new Command("info")
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
    // Equations already show everything.
    if (field && !field.equations) print(`architecture: ${JSON.stringify(field.network ?? field.options)}`);
    if (result.optimizer) print(`an optimizer after ${counted(result.optimizer.steps, "step")}`);
    for (const [name, value] of Object.entries(result.training ?? {})) {
      // The equations were printed above.
      const { equations: _, ...shown } = (name === "settings" ? value : {}) as { equations?: string };
      print(`${name}: ${JSON.stringify(name === "settings" ? shown : value)}`);
    }
  });
