// Options as help describes them: what each takes, and its default as one would type it.
import type { Option } from "commander";

/** What an option is for, its choices, and its default where that says something. A description may have told the default itself. */
export function described({ description, argChoices = [], defaultValue }: Option): string {
  const [, text = description, told] = /^(.*) \(default: (.*)\)$/s.exec(description) ?? [];
  const standard = told ?? typed(defaultValue);
  const facts = [
    ...(argChoices.length > 0 ? [`choices: ${argChoices.map(choice).join(", ")}`] : []),
    ...(standard === "" ? [] : [`default: ${standard}`]),
  ];
  return facts.length > 0 ? `${text} (${facts.join("; ")})` : text;
}

/** A value as it stands in a command; empty for flags, and where there is none. */
function typed(value: unknown): string {
  if (typeof value === "boolean") return "";
  return Array.isArray(value) ? value.join(",") : String(value ?? "");
}

const choice = (text: string) => (/\w/.test(text) ? text : `"${text}"`);
