// Expressions as text: checked token by token against the grammar, taken apart by jsep, and built of values.
import jsep from "jsep";
import { isError, type SymplecticAdjointError } from "../checks/errors.js";
import { nearest } from "../checks/names.js";
import { gradientOf, problemOf } from "./grad.js";
import {
  abs,
  acos,
  add,
  asin,
  atan,
  atan2,
  cos,
  cosh,
  div,
  exp,
  expm1,
  greater,
  greaterEqual,
  less,
  lessEqual,
  log,
  log1p,
  max,
  min,
  mul,
  neg,
  pow,
  relu,
  sigmoid,
  sign,
  sin,
  sinh,
  softplus,
  sqrt,
  sub,
  tan,
  tanh,
} from "./operations.js";
import { type Condition, lift, type Operand, type Value, where } from "./value.js";

/** The error of a text: what is expected at a place in it, an offset from its beginning, and what is there. */
export type Refuse = (at: number, expected: string, given: string) => SymplecticAdjointError;

/** The value of a name in an expression. */
export type Lookup = (name: string, at: number) => Operand;

type Unary = (x: Operand) => Value;
type Binary = (a: Operand, b: Operand) => Value;

const UNARY: Readonly<Record<string, Unary>> = {
  exp,
  log,
  log1p,
  expm1,
  sqrt,
  abs,
  sin,
  cos,
  tan,
  asin,
  acos,
  atan,
  sinh,
  cosh,
  tanh,
  sigmoid,
  softplus,
  relu,
  sign,
};
const BINARY: Readonly<Record<string, Binary>> = {
  atan2,
  min,
  max,
  // Checked before, where its place in the text is known.
  grad: (a, b) => gradientOf(lift("grad", a), lift("grad", b)),
};

/** Names that stand for numbers where nothing else has them. */
const CONSTANTS: Readonly<Record<string, number>> = { pi: Math.PI };

/** The constant with this name, which any other meaning of the name hides. */
export const constantOf = (name: string) => (Object.hasOwn(CONSTANTS, name) ? CONSTANTS[name] : undefined);

/** Refuses a power of Euler's number, which has no name, where a text has one at a place: what to write for it. */
export function checkExponential(text: string, at: number, refuse: (expected: string, given: string) => Error): void {
  const rest = text.slice(at);
  if (!/^e\s*\^/.test(rest)) return;
  const [power = "e^", inner, name] = /^e\s*\^\s*(?:\(([^()]*)\)|(-?[\w.]+))(?!\s*[\w.^(])/.exec(rest) ?? [];
  throw refuse(`exp(${inner ?? name ?? "x"}) for a power of Euler's number`, power);
}

/** How many arguments a function has that an expression may call; 0 for any other name. */
export const arity = (name: string) => (Object.hasOwn(UNARY, name) ? 1 : Object.hasOwn(BINARY, name) ? 2 : 0);

const OPERATORS: Readonly<Record<string, Binary>> = { "+": add, "-": sub, "*": mul, "/": div, "^": pow };
const COMPARISONS: Readonly<Record<string, (a: Operand, b: Operand) => Condition>> = {
  "<": less,
  "<=": lessEqual,
  ">": greater,
  ">=": greaterEqual,
};

/** An expression of at most this many characters is not nested too deeply. */
const SHORT = 1000;

/** The value of an expression; `lookup` has those of its names. A text that is not of the grammar is refused where it leaves it. */
export function evaluate(text: string, lookup: Lookup, refuse: Refuse): Value {
  const plain = text.replace(/\s/g, " ").trimEnd();
  scan(plain, refuse);
  try {
    return lift("the expression", evaluateNode(parse(plain), lookup, refuse));
  } catch (error) {
    // Nested too deeply for the stack; one that is short was given where the stack was nearly used up.
    const deep = isError(error) && ["RangeError", "InternalError"].includes(error.name);
    if (deep && text.length > SHORT) {
      throw refuse(0, "a shorter expression: give names to its parts", `one of ${text.length} characters`);
    }
    throw error;
  }
}

/** A number, a name or a sign of the grammar. `$` begins the names that `formula` gives to its values. */
const TOKEN = / *(?:((?:\d|\.\d)(?:[eE][+-]?\d|[\w.])*)|([$A-Za-z_]\w*)|(<=|>=|[-+*/^<>?:(),]))/y;
const NUMBER = /^(?:(?:0|[1-9]\d*)(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?$/;

/** What other languages write before the names of their functions. */
const LIBRARIES = /^(?:[Mm]ath|np|numpy|jnp|torch|tf)$/;

/** What other languages write, and what is written here instead. */
const FOREIGN_SYNTAX: readonly [pattern: RegExp, expected: string][] = [
  [/^\*\*/, "^ for a power"],
  [/^[⁰¹²³⁴-⁹]/, "^ for a power, as in x^2"],
  [/^\/[/*]/, "# for a comment"],
  [/^\|(?!\|)/, "abs(x) for an absolute value"],
  [/^(?:&&|\|\||!(?!=)|&)/, "nested choices, as in a < b ? (c < d ? x : y) : y"],
  [/^[=!]==?/, "<, >, <= or >= to compare with"],
  [/^=/, "one statement per line"],
  [/^%/, "+, -, *, / or ^: for what repeats, sin(2 * pi * t / period), or a state clock' = 1 that an event sets to 0"],
  [/^["'`]/, "names and numbers, without quotation marks"],
  [/^\[/, "a name for each number: there are no arrays"],
  [/^\./, "a name without a dot, or a number such as 0.5"],
  [/^;/, "one statement per line, without semicolons"],
  [/^[{}]/, "parentheses"],
  [/^\p{L}/u, "names of the letters A to Z and a to z, digits and _"],
  [/^[×·⋅]/, "* for a product"],
  [/^[−–]/, "- for a minus"],
];

/** A function in steps has no derivative where it jumps, and steps of a solver pass over it. */
const STEPS = "a choice a < b ? x : y, or a state that jumps or events set: there are no step functions";

const STEP = "a choice for a step, as in t > 5 ? 1 : 0";

const DELAYS = "current values: there are no delays; a chain of states x1' = (x - x1) / tau lags behind x";

/** What other languages call otherwise. */
const DERIVATIVE = "grad(a, b) for the derivative of a with respect to b";

/** Functions of other languages, and what is written here instead. */
const FOREIGN_FUNCTIONS: Readonly<Record<string, string>> = {
  ln: "log(x) for the natural logarithm",
  log2: "log(x) / log(2)",
  log10: "log(x) / log(10)",
  pow: "a ^ b for a power",
  power: "a ^ b for a power",
  square: "x^2",
  sqr: "x^2",
  cbrt: "x^(1/3)",
  if: "a < b ? x : y for a choice",
  ifelse: "a < b ? x : y for a choice",
  where: "a < b ? x : y for a choice",
  piecewise: "a < b ? x : y for a choice",
  fabs: "abs(x)",
  floor: STEPS,
  ceil: STEPS,
  heaviside: STEP,
  step: STEP,
  round: STEPS,
  trunc: STEPS,
  mod: "for what repeats, sin(2 * pi * t / period), or a state clock' = 1 that an event sets to 0",
  arcsin: "asin(x)",
  arccos: "acos(x)",
  arctan: "atan(x)",
  arctan2: "atan2(y, x)",
  delay: DELAYS,
  gradient: DERIVATIVE,
  derivative: DERIVATIVE,
  diff: DERIVATIVE,
};

/** Refuses a text that does not follow the grammar. It does not check names. */
function scan(text: string, refuse: Refuse): void {
  /** The open brackets: a parenthesis, a call, or a choice that waits for its colon. */
  const open: { sign: "(" | "call" | "?"; at: number }[] = [];
  /** Whether a value comes next, and not an operator. */
  let value = true;
  let before = "";
  let at = 0;
  while (at < text.length) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    const start = match
      ? TOKEN.lastIndex - match[0].trimStart().length
      : text.length - text.slice(at).trimStart().length;
    const token = match ? match[0].trimStart() : "";
    const rest = text.slice(start);
    if (!value && rest.startsWith("'")) {
      throw refuse(start, "no derivatives in an expression: name what is needed twice, and use the name", `${before}'`);
    }
    const [, member = ""] = (LIBRARIES.test(before) && /^\.([A-Za-z]\w*)/.exec(rest)) || [];
    if (member !== "") {
      const own = member.toLowerCase() + (arity(member) > 0 ? "(…)" : "");
      throw refuse(start - before.length, `${own}, without ${before} before it`, `${before}.${member}`);
    }
    const isNumber = value && /^\.\d/.test(rest);
    const instead = isNumber ? undefined : FOREIGN_SYNTAX.find(([pattern]) => pattern.test(rest));
    if (instead && !/^[A-Za-z]/.test(rest)) {
      throw refuse(start, instead[1], quoted(rest));
    }
    if (!match) throw refuse(start, value ? "a value" : "an operator", quoted(rest));
    const [, number, name] = match;
    at = TOKEN.lastIndex;
    if (number !== undefined || name !== undefined) {
      if (!value) throw refuse(start, `an operator after ${before}, such as *`, token);
      if (number !== undefined) checkNumber(number, start, refuse);
      value = false;
    } else if (token === "(") {
      const call = /[\w$]$/.test(before) && !/^[\d.]/.test(before);
      if (!value && !call) throw refuse(start, `an operator after ${before}, such as *`, "(");
      open.push({ sign: call && !value ? "call" : "(", at: start });
      value = true;
    } else if (token === "-") {
      value = true;
    } else if (value) {
      const expected = before === "" ? "a value" : `a value after ${before}`;
      throw refuse(start, token === "+" ? `${expected}, without a sign +` : expected, token);
    } else if (token === ")" || token === ",") {
      const last = open.at(-1);
      if (last?.sign === "?") throw refuse(start, "a colon and the other choice", token);
      if (token === "," && last?.sign !== "call")
        throw refuse(start, "a comma between arguments of a function only", token);
      if (!last) throw refuse(start, "an opening parenthesis before this one", token);
      if (token === ")") open.pop();
      else value = true;
    } else if (token === ":") {
      if (open.pop()?.sign !== "?") throw refuse(start, "a condition and a question mark before a colon", token);
      value = true;
    } else {
      if (token === "?") open.push({ sign: "?", at: start });
      value = true;
    }
    before = token;
  }
  const end = text.length;
  if (value) throw refuse(end, before === "" ? "an expression" : `a value after ${before}`, "the end");
  const last = open.at(-1);
  if (last?.sign === "?") throw refuse(end, "a colon and the other choice", "the end");
  if (last) throw refuse(last.at, "a closing parenthesis for this one", "none");
}

function checkNumber(number: string, at: number, refuse: Refuse): void {
  const product = /^[\d.]+[A-Za-z_]/.test(number) && !/^0[xob]/i.test(number) ? "; * for a product, as in 2*x" : "";
  if (!NUMBER.test(number)) throw refuse(at, `a number such as 2, 0.5 or 1e-3${product}`, number);
  if (!Number.isFinite(Number(number))) throw refuse(at, "a finite number", number);
}

/** The beginning of a text, for a message. */
const quoted = (text: string) => JSON.stringify(text.match(/^(?:[\p{L}\w]+|\S{1,3})/u)?.[0] ?? text.slice(0, 3));

/** A call in an expression. */
type CallExpression = Expression & { readonly type: "CallExpression" };

/** A part of an expression, with the offset at which it begins. */
type Expression = { readonly at: number } & (
  | { readonly type: "Literal"; readonly value: number }
  | { readonly type: "Identifier"; readonly name: string }
  | { readonly type: "UnaryExpression"; readonly argument: Expression }
  | {
      readonly type: "BinaryExpression";
      readonly operator: string;
      readonly left: Expression;
      readonly right: Expression;
    }
  | { readonly type: "CallExpression"; readonly callee: Expression; readonly arguments: readonly Expression[] }
  | {
      readonly type: "ConditionalExpression";
      readonly test: Expression;
      readonly consequent: Expression;
      readonly alternate: Expression;
    }
);

type Parser = Omit<jsep.HookScope, "gobbleToken"> & {
  /** Where the tokens begin that are being read. */
  starts?: number[];
  gobbleToken(): jsep.Expression;
  parse(): jsep.Expression;
};

let ConfiguredParser: (new (text: string) => Parser) | undefined;

function parse(text: string): Expression {
  ConfiguredParser ??= configureParser();
  return new ConfiguredParser(text).parse() as unknown as Expression;
}

/** jsep with the operators of the grammar, of which it knows only those of JavaScript, and with the offsets of all parts. */
function configureParser(): new (text: string) => Parser {
  const { Jsep } = jsep as unknown as { Jsep: typeof jsep & (new (text: string) => Parser) };
  Jsep.removeAllUnaryOps();
  Jsep.removeAllBinaryOps();
  Jsep.removeAllLiterals();
  Jsep.this_str = "";
  for (const [precedence, operators] of ["< <= > >=", "+ -", "* /", "^"].entries()) {
    for (const operator of operators.split(" ")) Jsep.addBinaryOp(operator, precedence + 1, operator === "^");
  }
  /** A token, and the powers to which it is raised: what a sign - before it takes. */
  const gobblePower = (parser: Parser): jsep.Expression => {
    const left = parser.gobbleToken();
    parser.gobbleSpaces();
    if (parser.char !== "^") return left;
    parser.index++;
    return { type: "BinaryExpression", operator: "^", left, right: gobblePower(parser), at: left.at };
  };
  Jsep.hooks.add("gobble-token", function (this, env) {
    const parser = this as unknown as Parser;
    parser.starts ??= [];
    parser.starts.push(parser.index);
    if (parser.char === "-") {
      parser.index++;
      env.node = { type: "UnaryExpression", operator: "-", argument: gobblePower(parser) };
    } else if (/[\d.]/.test(parser.char)) {
      // jsep runs no hook after numbers.
      env.node = parser.gobbleNumericLiteral() as jsep.Expression;
    }
  });
  Jsep.hooks.add("after-token", function (this, { node }) {
    const at = (this as unknown as Parser).starts?.pop();
    if (node && node.at === undefined) node.at = at;
  });
  return Jsep;
}

/** The offset of a part: that of its first token. */
function offsetOf(part: Expression): number {
  let first = part;
  while (first.at === undefined) {
    if (first.type === "BinaryExpression") first = first.left;
    else if (first.type === "ConditionalExpression") first = first.test;
    else break;
  }
  return first.at ?? 0;
}

/** The value of a part of an expression. */
function evaluateNode(part: Expression, lookup: Lookup, refuse: Refuse): Operand {
  const value = (inner: Expression) => evaluateNode(inner, lookup, refuse);
  switch (part.type) {
    case "Literal":
      return part.value;
    case "Identifier":
      if (arity(part.name) > 0) {
        throw refuse(part.at, `arguments, as in ${part.name}(${arity(part.name) === 1 ? "x" : "x, y"})`, part.name);
      }
      return lookup(part.name, part.at);
    case "UnaryExpression": {
      const operand = value(part.argument);
      return typeof operand === "number" ? -operand : neg(operand);
    }
    case "BinaryExpression": {
      const operator = OPERATORS[part.operator];
      if (!operator) {
        const expected = "a comparison only as the condition of a choice, as in a < b ? x : y";
        throw refuse(offsetOf(part), expected, `${part.operator} elsewhere`);
      }
      return operator(value(part.left), value(part.right));
    }
    case "ConditionalExpression": {
      const { test } = part;
      const comparison = test.type === "BinaryExpression" ? COMPARISONS[test.operator] : undefined;
      if (!comparison || test.type !== "BinaryExpression") {
        throw refuse(offsetOf(test), "a comparison before ?, as in a < b ? x : y", "none");
      }
      const condition = comparison(value(test.left), value(test.right));
      return where(condition, value(part.consequent), value(part.alternate));
    }
    case "CallExpression":
      // Before its arguments, which may be of the other language too.
      if (part.callee.type === "Identifier" && Object.hasOwn(FOREIGN_FUNCTIONS, part.callee.name)) {
        throw refuse(part.at, FOREIGN_FUNCTIONS[part.callee.name] as string, `${part.callee.name}(`);
      }
      if (part.callee.type === "Identifier") checkTimes(part.callee.name, part, lookup, refuse);
      return callFunction(part.callee, part.at, part.arguments.map(value), refuse);
  }
}

/** Refuses what looks like the value of something at a time, this one or another. */
function checkTimes(
  name: string,
  { at, arguments: [time, ...rest] }: CallExpression,
  lookup: Lookup,
  refuse: Refuse,
): void {
  const isTime = (part: Expression | undefined) => part?.type === "Identifier" && part.name === "t";
  if (arity(name) > 0 || rest.length > 0) return;
  if (isTime(time)) throw refuse(at, `${name}, without (t)`, `${name}(t)`);
  if (time?.type !== "BinaryExpression" || time.operator !== "-" || !isTime(time.left)) return;
  throw refuse(at, isName(name, at, lookup) ? DELAYS : `a function that there is, or ${STEP}`, `${name}(t - …)`);
}

/** Whether a name stands for something. */
function isName(name: string, at: number, lookup: Lookup): boolean {
  try {
    lookup(name, at);
    return true;
  } catch {
    return false;
  }
}

function callFunction(callee: Expression, at: number, operands: Operand[], refuse: Refuse): Value {
  if (callee.type !== "Identifier") throw refuse(at, "an operator before (, such as *", "none");
  const { name } = callee;
  const wanted = arity(name);
  if (wanted === 0) {
    const known = [...Object.keys(UNARY), ...Object.keys(BINARY)];
    const meant = nearest(name, known);
    const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
    throw refuse(at, `a function (${known.join(", ")}), or an operator before (`, `${name}(${hint}`);
  }
  if (operands.length !== wanted) {
    throw refuse(at, `${wanted} argument${wanted === 1 ? "" : "s"} of ${name}`, String(operands.length));
  }
  const [a, b] = operands as [Operand, Operand];
  if (name === "grad") {
    const problem = problemOf(lift("grad", a), lift("grad", b));
    if (problem) throw refuse(at, `${problem.argument} to be ${problem.expected}`, problem.given);
  }
  return wanted === 1 ? (UNARY[name] as Unary)(a) : (BINARY[name] as Binary)(a, b);
}
