// The names in a text of equations, worked out by the compiler: no code comes of this file.

/** The names of a text's states: what stands before the apostrophe of a line; any, unless all of the text is known. */
export type StatesIn<T extends string> = IsKnown<T> extends true ? EachLine<T, "state"> : string;

/** The names of the parameters that a text of equations declares by lines `param name = 1`; any, unless all of the text is known. */
export type ParametersIn<T extends string> = IsKnown<T> extends true ? EachLine<T, "parameter"> : string;

/** The parameters of a field of equations, where they are all known: those of its text, and `P`, which it was given besides. */
// biome-ignore lint/suspicious/noExplicitAny: any names.
export type NumbersOf<P extends string> = string extends P ? any : { readonly [Name in P]: number };

// Of a template with substitutions, a record has an index signature, and none of its keys is needed.
type IsKnown<T extends string> = Record<never, 1> extends Record<T, 1> ? false : true;

// Recursion on the last place of a type goes on for a thousand lines, anywhere else for fifty.
type EachLine<
  T extends string,
  What extends "state" | "parameter",
  Found = never,
> = T extends `${infer Line}\n${infer Rest}`
  ? EachLine<Rest, What, Found | NameIn<Line>[What]>
  : Found | NameIn<T>[What];

interface NameIn<Line extends string> {
  state: WithoutComment<Line> extends `${infer Name}'${infer After}`
    ? Trimmed<After> extends `=${string}`
      ? Trimmed<Name>
      : never
    : never;
  parameter: Trimmed<WithoutComment<Line>> extends `param${Space}${infer Name}=${string}` ? Trimmed<Name> : never;
}

type WithoutComment<Line extends string> = Line extends `${infer Code}#${string}` ? Code : Line;

type Space = " " | "\t" | "\r";
type Trimmed<S extends string> = S extends `${Space}${infer Rest}` | `${infer Rest}${Space}` ? Trimmed<Rest> : S;
