// Formulas inside a traced function.
import { SymplecticAdjointError } from "../checks/errors.js";
import { argument, inCallback, rule } from "../checks/rules.js";
import { checkExponential, constantOf, evaluate } from "./expression.js";
import { activeGraph } from "./graph.js";
import { lift, type Operand, type Value } from "./value.js";

const templateRule = inCallback(
  rule<TemplateStringsArray>("a tagged template, formula`…`", (value) => Array.isArray(value) && "raw" in value),
);

/**
 * A formula inside a traced function: formula`${hare} * (${birth} - ${hunt} * ${lynx})`. The values and numbers go into
 * `${…}`; the text between them has numbers, `pi`, + - * / ^, parentheses, choices `a < b ? x : y`, and the functions of `equations`.
 *
 * @returns The value of the formula, row by row.
 * @throws `CALLBACK` for a text that is not a formula, with the place in it, and outside a traced function;
 * `SHAPE` where values of different numbers of rows meet.
 */
export function formula(text: TemplateStringsArray, ...values: Operand[]): Value {
  argument("formula", text, templateRule);
  activeGraph();
  const operands = values.map((value, i) => lift(`formula's value ${i + 1}`, value));
  const pieces = text.raw;
  const formulaText = pieces.map((piece, i) => (i === 0 ? piece : `$${i}${piece}`)).join("");
  const refuse = (at: number, expected: string, given: string) => {
    const message = `formula ${JSON.stringify(formulaText)}, character ${at + 1}: expected ${expected}; given ${given}`;
    return new SymplecticAdjointError("CALLBACK", message, { argument: "formula", expected, given });
  };
  let at = 0;
  for (const [i, piece] of pieces.entries()) {
    const dollar = piece.indexOf("$");
    if (dollar >= 0) throw refuse(at + dollar, "a $ only before a value in braces", "$");
    // Right behind a value, a digit would be one of its number.
    if (i > 0 && /^[\w.]/.test(piece))
      throw refuse(at, `an operator after the value ${i}, such as *`, piece.slice(0, 3).trim());
    at += piece.length + `$${i + 1}`.length;
  }
  return evaluate(
    formulaText,
    (name, at) => {
      const operand = /^\$\d+$/.test(name) ? operands[Number(name.slice(1)) - 1] : undefined;
      const constant = operand ?? constantOf(name);
      if (constant !== undefined) return constant;
      checkExponential(formulaText, at, (expected, given) => refuse(at, expected, given));
      throw refuse(at, `values as \${${name}}`, name);
    },
    refuse,
  );
}
