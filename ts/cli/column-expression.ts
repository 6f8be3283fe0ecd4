// Expressions of columns, such as `dose * weight`, with the grammar of equations.
import { equations, SymplecticAdjointError } from "../index.js";

/** The names in an expression, without functions; `pi` counts only if the table has a column of that name. */
export function columnsIn(expression: string, header: readonly string[]): string[] {
  const names: readonly string[] = expression.match(/(?<![\w.])[A-Za-z_]\w*(?!\w|\s*\()/g) ?? [];
  return [...new Set(names)].filter((name) => name !== "pi" || header.includes(name));
}

/** A field whose slope is the expression; undefined if it is invalid. */
function fieldOf(expression: string, columns: readonly string[]) {
  let name = "value";
  while (columns.includes(name)) name += "_";
  // A line break could begin another statement.
  if (/[#\n\r]/.test(expression)) return undefined;
  try {
    return equations(`${name}' = ${expression}`, { arguments: columns, dtype: "float64" });
  } catch (error) {
    if (error instanceof SymplecticAdjointError && error.code === "OPTION") return undefined;
    throw error;
  }
}

/** Whether a text is an expression of names and numbers. */
export function isExpression(text: string): boolean {
  const field = fieldOf(text, columnsIn(text, []));
  field?.dispose();
  return field !== undefined;
}

/** The value of an expression of a table's columns. */
export function valueOfExpression(
  expression: string,
  header: readonly string[],
  of: (column: string) => number,
): number {
  const columns = columnsIn(expression, header);
  const values = Object.fromEntries(columns.map((column) => [column, Float64Array.of(of(column))]));
  const field = fieldOf(expression, columns);
  try {
    return field?.evaluate(0, Float64Array.of(0), undefined, values)[0] ?? Number.NaN;
  } finally {
    field?.dispose();
  }
}
