// Descriptions of options for help: what each takes, and its default as one would type it.
import type { Option } from "commander";

/** The description of an option with its choices and its default. A description may state the default itself. */
export function described({ description, argChoices = [], defaultValue }: Option): string {
  const [, text = description, told] = /^(.*) \(default: (.*)\)$/s.exec(description) ?? [];
  const standard = told ?? typed(defaultValue);
  const facts = [
    ...(argChoices.length > 0 ? [`choices: ${argChoices.map(choice).join(", ")}`] : []),
    ...(standard === "" ? [] : [`default: ${standard}`]),
  ];
  return facts.length > 0 ? `${text} (${facts.join("; ")})` : text;
}

/** A value as typed in a command; empty for flags and without a value. */
function typed(value: unknown): string {
  if (typeof value === "boolean") return "";
  return Array.isArray(value) ? value.join(",") : String(value ?? "");
}

const choice = (text: string) => (/\w/.test(text) ? text : `"${text}"`);
