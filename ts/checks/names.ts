// Names that are not known, and the known ones that may be meant.
import { describe, type ErrorCode, refused, SymplecticAdjointError } from "./errors.js";

/** So many names are listed. */
const LISTED = 20;

/** Names one after the other; of very many, the first. */
export const listOf = (names: readonly string[]): string =>
  names.length > LISTED + 1
    ? `${names.slice(0, LISTED).join(", ")} and ${names.length - LISTED} more`
    : names.join(", ");

/** Letters of an unknown name that a message has; a longer one is no misspelling. */
const MOST_LETTERS = 60;

/** A name for a message, shortened if it is long. */
export const shortened = (name: string): string =>
  name.length > MOST_LETTERS ? `${name.slice(0, MOST_LETTERS)}…` : name;

/** The error of a name that is not known: it lists those that are, and suggests the nearest. `noun` is what they name. */
export function unknownName(
  where: string,
  name: string,
  known: readonly string[],
  noun: string,
  code: ErrorCode = "OPTION",
  meant: string | undefined = nearest(name, known),
): SymplecticAdjointError {
  const given = shortened(name);
  const expected = known.length > 0 ? listOf(known) : `no ${noun}`;
  const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
  const names = known.length > 0 ? `the names are ${expected}` : "there are none";
  const message = `${where}${given}: there is no ${noun} of that name${hint}${hint ? ` T${names.slice(1)}` : `; ${names}`}`;
  return new SymplecticAdjointError(code, message, { argument: where + given, expected, given });
}

/** Refuses names of which one comes twice. */
export function checkDistinct(where: string, names: readonly string[]): void {
  const seen = new Set<string>();
  for (const [i, name] of names.entries()) {
    if (seen.has(name)) throw refused("OPTION", `${where}[${i}]`, "distinct names", describe(name));
    seen.add(name);
  }
}

/** A name in small letters, without signs: spellings of the same name have it in common. */
export const normalizedName = (name: string): string => name.toLowerCase().replaceAll(/[^a-z0-9]/g, "");

/** The known name that another spelling or an alias stands for; aliases have plain names. */
export function resolveAlias(
  name: string,
  known: readonly string[],
  aliases: Readonly<Record<string, readonly string[]>>,
): string | undefined {
  const plain = normalizedName(name);
  const alias = Object.hasOwn(aliases, plain) ? aliases[plain] : undefined;
  return known.find((one) => normalizedName(one) === plain) ?? alias?.find((one) => known.includes(one));
}

/** The known name that differs least from one that is not, if it differs little. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  if (name.length > MOST_LETTERS) return undefined;
  let least = Math.floor((name.length + 1) / 3) + 1;
  let found: string | undefined;
  for (const candidate of known) {
    if (Math.abs(candidate.length - name.length) >= least) continue;
    const distance = edits(name.toLowerCase(), candidate.toLowerCase());
    if (distance >= least) continue;
    least = distance;
    found = candidate;
  }
  return found;
}

/** How many characters have to be put in, left out, replaced, or swapped with their neighbour, to make one text of another. */
function edits(from: string, to: string): number {
  let [before, last] = [[] as number[], Array.from({ length: to.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = (last[j - 1] as number) + (from[i - 1] === to[j - 1] ? 0 : 1);
      let least = Math.min(replaced, (last[j] as number) + 1, (row[j - 1] as number) + 1);
      const swapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      if (swapped) least = Math.min(least, (before[j - 2] as number) + 1);
      row.push(least);
    }
    [before, last] = [last, row];
  }
  return last[to.length] as number;
}
