// Options that say where doses and initial states are read from.
import { Option } from "commander";
import type { InitialStates, Regimen } from "./dosed-table.js";
import { Failure } from "./failure.js";
import { readNumber } from "./number.js";
import { type Pair, pairs } from "./pairs.js";

/** Options of the commands that read doses. */
export const DOSE_OPTIONS = [
  new Option("--dose-amount <column>", 'column of amounts: rows with one are doses (in --doses, "amount" by default)'),
  new Option(
    "--dose-state <name>",
    'state that doses go into, or a column that names it (in --doses, "state" by default)',
  ),
  new Option(
    "--dose-factor <list>",
    "what a dose of 1 adds to a state, in terms of parameters: depot=F, concentration=1/V (default: 1)",
  ).argParser((text: string, before: readonly Pair[] | undefined) => pairs(text, before)),
  new Option("--dose-duration <column>", "column of the durations of infusions"),
  new Option("--dose-rate <column>", "column of the rates of infusions, instead of their durations"),
  new Option("--dose-repeats <column>", "column of the number of further doses"),
  new Option("--dose-interval <column>", "column of the time between these"),
  new Option("--doses <file>", "a table of doses, if they are not among the rows of the data"),
  new Option("--mdv <column>", "column that is not 0 in rows without measurements, like MDV and EVID in NONMEM"),
  new Option("--initial <list>", "first states: depot=0, central=column (default: the first row)").argParser(
    (text: string, before: readonly Pair[] | undefined) => pairs(text, before),
  ),
];

/** The values of these options, as commander parses them. */
interface DoseOptions {
  readonly doses?: string;
  readonly doseAmount?: string;
  readonly doseState?: string;
  readonly doseFactor?: readonly Pair[];
  readonly doseDuration?: string;
  readonly doseRate?: string;
  readonly doseRepeats?: string;
  readonly doseInterval?: string;
  readonly mdv?: string;
  readonly initial?: readonly Pair[];
}

/** Splits off the options for doses. `told` has the settings that were given explicitly, to compare with those of a resumed training. */
export function regimenOf(options: Record<string, unknown>) {
  const names = DOSE_OPTIONS.map((option) => option.attributeName());
  const rest = Object.fromEntries(Object.entries(options).filter(([name]) => !names.includes(name)));
  const given = options as DoseOptions;
  const regimen: Regimen = { doses: columnsOf(given), mdv: given.mdv ?? null, initial: initialOf(given.initial) };
  const isColumned = names.some((name) => name.startsWith("dose") && name !== "doses" && options[name] !== undefined);
  const told = {
    ...(isColumned && { doses: regimen.doses }),
    ...(given.mdv !== undefined && { mdv: given.mdv }),
    ...(given.initial && { initial: regimen.initial }),
  };
  return { regimen, told, doses: given.doses, rest };
}

function columnsOf(given: DoseOptions): Regimen["doses"] {
  const { doses, doseState, doseFactor, doseDuration, doseRate, doseRepeats, doseInterval } = given;
  const amount = given.doseAmount ?? (doses === undefined ? undefined : "amount");
  const further = { doseState, doseFactor, doseDuration, doseRate, doseRepeats, doseInterval };
  if (amount === undefined) {
    const [name] = Object.entries(further).find(([, column]) => column !== undefined) ?? [];
    if (name === undefined) return null;
    const option = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new Failure(`--${option}: expected --dose-amount or --doses as well`, 2);
  }
  if (doseDuration !== undefined && doseRate !== undefined) {
    throw new Failure("--dose-rate: cannot be combined with --dose-duration", 2);
  }
  if ((doseRepeats === undefined) !== (doseInterval === undefined)) {
    throw new Failure("expected both of --dose-repeats and --dose-interval, or neither", 2);
  }
  return {
    ...{ apart: doses !== undefined, amount, state: doseState ?? null },
    ...{ duration: doseDuration ?? null, rate: doseRate ?? null },
    ...{ repeats: doseRepeats ?? null, interval: doseInterval ?? null },
    factors: factorsOf(doseFactor),
  };
}

function factorsOf(list: readonly Pair[] = []): Record<string, string> {
  const entries = list.map(({ name, value }) => {
    if (value !== undefined) return [name, value] as const;
    throw new Failure(`--dose-factor ${name}: expected an expression as well, such as "${name} = 1/V"`, 2);
  });
  return Object.fromEntries(entries);
}

function initialOf(list: readonly Pair[] = []): InitialStates {
  const entries = list.map(({ name, value }) => {
    if (value === undefined) {
      throw new Failure(`--initial ${name}: expected a number or a column, such as --initial "${name}=0"`, 2);
    }
    const number = readNumber(value);
    return [name, Number.isNaN(number) ? { column: value } : { number }] as const;
  });
  return Object.fromEntries(entries);
}
