// `symplectic-adjoint sweeps`.

import { Command } from "commander";
import { Failure } from "../failure.js";
import { alignedLines } from "../fit-advice.js";
import { counted } from "../number.js";
import { checkApart, checkOutput, writeWhole } from "../output.js";
import { print } from "../say.js";
import { SERVER_OPTIONS, serversOption } from "../server-options.js";
import { csvOfTrials, ranked, rowsOf, sweepReport } from "../sweep-report.js";
import { rowsOfSweeps, sweepsOn } from "../sweeps.js";
import { asJson, json } from "./options.js";

export const sweepsCommand = new Command("sweeps")
  .summary("list, show or remove the sweeps on the servers")
  .description(
    "Lists the sweeps that the servers keep, with how far each is; shows the trials of one; or removes one. Nothing of a sweep that runs is changed by a look at it.",
  )
  .argument("[name]", "the sweep whose trials are shown")
  .addOption(serversOption("NATS_URL, else nats://127.0.0.1:4222"))
  .option("--out <file>", "the best model so far")
  .option("--table <file>", "all trials, as CSV")
  .option("--report <file>", "a report with plots: a single self-contained HTML page")
  .option("--remove <name>", "delete the sweep of that name, with its results and models")
  .option("--force", "even if trials wait or run", false)
  .addOption(json())
  .addHelpText(
    "after",
    `
Examples:
  $ symplectic-adjoint sweeps --servers nats://192.168.1.10:4222
  $ symplectic-adjoint sweeps pendulum --table trials.csv --out best.safetensors
  $ symplectic-adjoint sweeps --remove pendulum

Servers keep a sweep for 30 days.`,
  )
  .action(async (name: string | undefined, options) => {
    const { out, table, report, remove, force } = options;
    const outputs = { "--out": out, "--table": table, "--report": report };
    for (const [option, file] of Object.entries(outputs)) {
      if (file === undefined) continue;
      if (name === undefined) throw new Failure(`${option}: expected the name of a sweep`, 2);
      checkOutput(file, [], option);
    }
    checkApart(outputs);
    if (name !== undefined && remove !== undefined) {
      throw new Failure("--remove: cannot be combined with the name of a sweep to show", 2);
    }
    if (force && remove === undefined) throw new Failure("--force: expected --remove as well", 2);
    const sweeps = await sweepsOn(options);
    if (remove !== undefined) {
      const removed = await sweeps.remove(remove, force);
      if (options.json) asJson({ name: remove, ...removed });
      else print(`removed ${remove}: ${counted(removed.results, "result")}, ${counted(removed.states, "model")}`);
    } else if (name !== undefined) {
      const result = await sweeps.read(name);
      const { best, trials, budgets } = result;
      if (table !== undefined) writeWhole(table, csvOfTrials(result));
      if (report !== undefined) writeWhole(report, sweepReport(`${name}: ${counted(trials.length, "trial")}`, result));
      if (out !== undefined) {
        if (!best?.state) throw new Failure(`${name} has no model yet`);
        writeWhole(out, best.state);
      }
      if (options.json) asJson({ ...result, best: best && { ...best, state: undefined } });
      else for (const line of alignedLines(rowsOf(ranked(trials), budgets))) print(line);
    } else {
      const all = await sweeps.list();
      if (options.json) return asJson(all);
      if (all.length > 0) for (const line of alignedLines(rowsOfSweeps(all))) print(line);
      const kept = ["", "; it is kept for 30 days", "; each is kept for 30 days"][Math.min(2, all.length)];
      print(`${counted(all.length, "sweep")}${kept}`);
    }
  });

for (const option of SERVER_OPTIONS) sweepsCommand.addOption(option);
