// Equations as text: every row of the grammar's table (test/golden-models/README.md), every message, and the golden cases with
// fixed steps, forwards.
import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { observingText, textWith } from "../../ts/cli/text-model.js";
import { readText } from "../../ts/fields/equations.js";
import { checkCrossing, readAssignments, readCondition } from "../../ts/trace/equations.js";
import { relative, thrown } from "./helpers.js";
import { interpret, UNARY } from "./interpreter.js";

const variables = { a: 1.5, b: -0.75, c: 2.25, d: 0.4, x: 0.3, y: 0.9 };

/** The value of an expression of the variables, which are parameters; at t = 3. */
function value(expression: string): number {
  const { traced } = readText(`z' = ${expression}`, { parameters: variables });
  return interpret(traced.program, { t: 3, state: [0], parameters: traced.initial })[0] as number;
}

const { a, b, c, d, x, y } = variables;

test.each([
  // a choice
  ["a < b ? x : y", y],
  ["b < a ? x : y", x],
  ["a < b ? 1 : b < d ? 2 : 3", 2],
  ["a < b ? 1 : d < b ? 2 : 3", 3],
  ["b < a ? d < b ? 1 : 2 : 3", 2],
  ["(a < b) ? 1 : 2", 2],
  ["a + b < c * 2 ? a + 1 : b - 1", a + 1],
  ["(a < b ? 1 : 2) + 10", 12],
  ["a < b ? 1 : 2 + 10", 12],
  ["-a < b ? -x : -y", -x],
  // comparisons
  ["a < a ? 1 : 0", 0],
  ["a <= a ? 1 : 0", 1],
  ["a > a ? 1 : 0", 0],
  ["a >= a ? 1 : 0", 1],
  ["a > b ? 1 : 0", 1],
  ["b >= a ? 1 : 0", 0],
  // sums and products
  ["a - b - c", a - b - c],
  ["a - (b - c)", a - (b - c)],
  ["a + b * c", a + b * c],
  ["a / b / c", a / b / c],
  ["a / b * c", (a / b) * c],
  ["a * b / c", (a * b) / c],
  ["7/2/2", 1.75],
  ["1 - 2 - 3", -4],
  // signs
  ["-x^2", -(x ** 2)],
  ["(-x)^2", x ** 2],
  ["-a*b", -a * b],
  ["- -x", x],
  ["--x", x],
  ["---x", -x],
  ["a - -b", a + b],
  ["a--b", a + b],
  ["a*-b", a * -b],
  ["a/-b^2", a / -(b ** 2)],
  ["-x^2*a", -(x ** 2) * a],
  ["-(a + b)", -(a + b)],
  ["-sin(x)^2", -(Math.sin(x) ** 2)],
  // powers
  ["2^-x", 2 ** -x],
  ["a^c^d", a ** (c ** d)],
  ["(a^c)^d", (a ** c) ** d],
  ["2^-x^2", 2 ** -(x ** 2)],
  ["a^-c^d", a ** -(c ** d)],
  ["-a^c^d", -(a ** (c ** d))],
  ["2^x^2/4", 2 ** (x ** 2) / 4],
  ["c*(y + 1)^d", c * (y + 1) ** d],
  ["2^-1", 0.5],
  ["b^3", b ** 3],
  ["a^2 + 1", a ** 2 + 1],
  ["a^- -c", a ** c],
  ["y - x^-c", y - x ** -c],
  // numbers, the time, brackets, spaces
  ["2", 2],
  ["0.5", 0.5],
  ["1e-3", 1e-3],
  ["1.25e-1", 0.125],
  ["5E+2", 500],
  ["1e3-1", 999],
  ["0", 0],
  ["-0", 0],
  ["t", 3],
  ["t*t", 9],
  ["((a))", a],
  ["\ta\t+  b ", a + b],
  ["a+b#a comment", a + b],
  // numbers without a digit before the point
  [".5", 0.5],
  ["-.25*a", -0.25 * a],
  ["a*.5e1 - .125", a * 5 - 0.125],
  ["max(.5,a^.5)", Math.sqrt(a)],
  ["a<.5 ? .1 : .2", 0.2],
  // the number π
  ["pi", Math.PI],
  ["sin(2*pi*t)", Math.sin(6 * Math.PI)],
  ["-pi^2/pi", -Math.PI],
  // functions of two
  ["atan2(a, b)", Math.atan2(a, b)],
  ["min(a, b)", b],
  ["max(a,b)", a],
  ["max(min(a, b), c)", c],
  ["min(a < b ? 1 : 2, 3)", 2],
])("%s", (expression, expected) => {
  expect(value(expression)).toBeCloseTo(expected as number, 14);
});

const functions =
  "exp log log1p expm1 sqrt abs sin cos tan asin acos atan sinh cosh tanh sigmoid softplus relu sign".split(" ");
test.each(functions)("%s", (name) => {
  expect(value(`${name}(x)`)).toBe(UNARY[name]?.(x));
  expect(value(`${name} (x) + 1`)).toBe((UNARY[name]?.(x) as number) + 1);
});

test("statements may be separated by any line end, and empty, indented or comments", () => {
  const text = "# prey\r\n  flow = 2*u # twice\r\rv' = flow\n\n\tu' = v - flow + k\n";
  const { traced, dtype } = readText(text, { parameters: { k: 10 } });
  expect(dtype).toBe("float32");
  expect(traced.states).toEqual(["v", "u"]);
  expect(interpret(traced.program, { state: [1, 3], parameters: [10] })).toEqual([6, 1 - 6 + 10]);
  const ordered = readText(text, { parameters: { k: 10 }, state: ["u", "v"], dtype: "float64" });
  expect(ordered.dtype).toBe("float64");
  expect(interpret(ordered.traced.program, { state: [3, 1], parameters: [10] })).toEqual([1 - 6 + 10, 6]);
});

test("names are of any letters and digits, and none of JavaScript's is special", () => {
  const names = ["this", "true", "null", "undefined", "constructor", "_", "E1", "hasOwnProperty", "arguments"];
  const parameters = Object.fromEntries(names.map((name, i) => [name, 2 ** i]));
  const { traced } = readText(`__proto__x' = ${names.join(" + ")}`, { parameters });
  expect(interpret(traced.program, { state: [0], parameters: traced.initial })).toEqual([2 ** names.length - 1]);
});

test("pi is the number, unless a parameter, an argument, a state or a line has that name", () => {
  const slope = (text: string, given: object, values: Parameters<typeof interpret>[1]) =>
    interpret(readText(text, given).traced.program, values);
  expect(slope("x' = pi", { parameters: { pi: 3 } }, { state: [0], parameters: [3] })).toEqual([3]);
  expect(slope("param pi = 3\nx' = pi", {}, { state: [0], parameters: [3] })).toEqual([3]);
  expect(slope("x' = pi", { arguments: ["pi"] }, { state: [0], arguments: [4] })).toEqual([4]);
  expect(slope("x' = 2*pi\npi' = x", {}, { state: [1, 5] })).toEqual([10, 1]);
  expect(slope("pi = 6\nx' = pi", {}, { state: [0] })).toEqual([6]);
  // A definition below does not count yet, and the constant would be another one.
  expect(thrown("OPTION", () => readText("x' = pi\npi = 3", {})).message).toContain(
    "pi, which is defined below, on line 2",
  );
  expect(thrown("OPTION", () => readText("x' = 2*Pi", {})).message).toContain("given Pi; did you mean pi?");
});

test("arguments, parameters and entries have their places", () => {
  const given = { parameters: { p: 1, q: 2 }, arguments: ["weight", "dose"] };
  const { traced } = readText("x' = p*weight - q*dose", given);
  expect(traced.entries).toEqual({ p: { offset: 0, shape: [] }, q: { offset: 1, shape: [] } });
  expect(traced.arguments).toEqual({ weight: 1, dose: 1 });
  expect(traced.program).toMatchObject({ version: 1, state: 1, parameters: 2, arguments: 2 });
  expect(interpret(traced.program, { state: [0], parameters: [3, 5], arguments: [7, 11] })).toEqual([21 - 55]);
  const other = readText("x' = p*weight - q*dose", { ...given, arguments: { weight: "scalar", dose: "scalar" } });
  expect(other.traced).toEqual(traced);
});

test("a long sum is read; one that is nested without end is refused", () => {
  const sum = Array.from({ length: 2000 }, (_, i) => String(i)).join(" + ");
  expect(value(sum)).toBe(1999000);
  const deep = `${"(".repeat(200_000)}a${")".repeat(200_000)}`;
  expect(thrown("OPTION", () => value(deep)).message).toMatch(/line 1, column 5: expected a shorter expression/);
  expect(thrown("OPTION", () => value(`${"-".repeat(200_000)}a`)).message).toMatch(/a shorter expression/);
  expect(thrown("OPTION", () => value(`${"a^".repeat(200_000)}a`)).message).toMatch(/a shorter expression/);
});

test("a comment ends with its line, whatever is in it", () => {
  const text = "param k = 2 # a\u2028b = c\nx' = -k*x # d\u2029e";
  expect(readText(text, {}).traced).toEqual(readText("param k = 2\nx' = -k*x", {}).traced);
  expect(textWith(text, { k: 3 })).toBe("param k = 3 # a\u2028b = c\nx' = -k*x # d\u2029e");
  expect(observingText(text, [])).toBe("param k = 2 # a\u2028b = c\nx' = 0");
});

// What takes the square of its length takes hours here.
test("long lines are read, or refused, in time that grows with their length", () => {
  const long = (text: string) => text.repeat(1_000_000);
  const names = { states: ["x"], parameters: {}, parameterCount: 0, arguments: [] };
  const crossing = (text: string) => () => checkCrossing("when", text);
  const spaces = long(" ");
  const read = (text: string) => () => readText(text, {});
  expect(readText(`x' = x ${long("#")}\u2028`, {}).traced.states).toEqual(["x"]);
  expect(readText(`x' = x${spaces}`, {}).traced.states).toEqual(["x"]);
  for (const text of [`param x = ${long("1")}z`, `x${spaces}y`, `x'${spaces}y`, `d x${spaces}y`, `x${long("'")}`]) {
    thrown("OPTION", read(text));
  }
  // A short expression and a long blank.
  expect(value(`${"1 + ".repeat(2000)}1${spaces}`)).toBe(2001);
  expect(crossing(`x${spaces}y`)).not.toThrow();
  expect(crossing(`x >${spaces}y=`)).not.toThrow();
  expect(thrown("OPTION", crossing(`x${spaces}>${spaces}1`)).message).toMatch(/crosses zero, x - 1; given >$/);
  expect(readAssignments("set", `x = x ${long("#")}\u2028`, names).state).toBe(1);
  thrown("OPTION", () => readAssignments("set", `x${spaces}y`, names));
  const equations = `x' = -x${long("\n")}`;
  expect(readCondition("when", "x - pi", { ...names, equations }).state).toBe(1);
  expect(observingText(`x${spaces}y`, [])).toBe(`x${spaces}y`);
});

test("definitions below each other are told apart from a circle, however many there are", () => {
  const count = 20_000;
  const chain = (last: string) =>
    `${Array.from({ length: count }, (_, i) => `a${i} = a${i + 1}`).join("\n")}\na${count} = ${last}\nx' = a0`;
  const refused = (text: string) => thrown("OPTION", () => readText(text, {})).message;
  expect(refused(chain("x"))).toMatch(/a name that is defined above; given a1, which is defined below, on line 2$/);
  expect(refused(chain("a0"))).toMatch(/without a cycle: a0 needs a1, which needs a0 \(line 2\); given a1$/);
});

/** An expression as text, with no more parentheses than it needs, and what it means in JavaScript. */
interface Piece {
  text: string;
  meaning: string;
  /** Of its loosest operator: 0 a choice, 1 a sum, 2 a product, 3 a sign, 4 a power, 5 a value. */
  level: number;
}

const { expression } = fc.letrec<{ expression: Piece }>((tie) => {
  const inner = tie("expression");
  const within = ({ text, level }: Piece, least: number) => (level < least ? `(${text})` : text);
  const leaf = fc
    .constantFrom("a", "b", "c", "d", "x", "y", "t", "pi", "2", "0.5", ".25", "1e-1")
    .map((text) => ({ text, meaning: text === "pi" ? "Math.PI" : text, level: 5 }));
  const infix = (operators: string[], level: number, right = false) =>
    fc
      .tuple(inner, fc.constantFrom(...operators), inner, fc.constantFrom("", " "))
      .map(([one, operator, two, space]) => ({
        text: [within(one, right ? level + 1 : level), operator, within(two, right ? level - 1 : level + 1)].join(
          space,
        ),
        meaning:
          operator === "^" ? `Math.pow(${one.meaning}, ${two.meaning})` : `(${one.meaning} ${operator} ${two.meaning})`,
        level,
      }));
  const signed = inner.map((one) => ({ text: `-${within(one, 3)}`, meaning: `(- ${one.meaning})`, level: 3 }));
  const called = fc.tuple(fc.constantFrom("tanh", "abs", "sign"), inner).map(([name, one]) => ({
    text: `${name}(${one.text})`,
    meaning: `Math.${name}(${one.meaning})`,
    level: 5,
  }));
  const compared = fc.constantFrom("<", "<=", ">", ">=");
  const chosen = fc.tuple(inner, compared, inner, inner, inner).map(([left, sign, right, then, otherwise]) => ({
    text: `${within(left, 1)} ${sign} ${within(right, 1)} ? ${then.text} : ${otherwise.text}`,
    meaning: `(${left.meaning} ${sign} ${right.meaning} ? ${then.meaning} : ${otherwise.meaning})`,
    level: 0,
  }));
  const options = { maxDepth: 5, depthIdentifier: "expression" };
  return {
    expression: fc.oneof(
      options,
      leaf,
      infix(["+", "-"], 1),
      infix(["*", "/"], 2),
      infix(["^"], 4, true),
      signed,
      called,
      chosen,
    ),
  };
});

test("expressions mean what JavaScript's do", () => {
  const names = [...Object.keys(variables), "t"];
  const property = fc.property(expression, ({ text, meaning }) => {
    const expected = new Function(...names, `return ${meaning}`)(...Object.values(variables), 3);
    expect(value(text), text).toBe(expected);
  });
  fc.assert(property, { numRuns: 2000 });
});

test("a text is read, or refused with its place", () => {
  const token = fc.constantFrom(
    ..."x y' = k w t exp min atan2 ( ) + - * / ^ < <= > >= ? : , 2 0.5 1e3 .5 5. ' '' # [ ] { } ; $1 $ && ! \" \\".split(
      " ",
    ),
    "\n",
    "x' =",
    " ",
  );
  const texts = fc.oneof(
    fc.array(token, { maxLength: 12 }).map((tokens) => tokens.join("")),
    fc.string(),
  );
  const property = fc.property(texts, fc.boolean(), (text, begun) => {
    try {
      readText(begun ? `x' = ${text}` : text, { parameters: { k: 1 }, arguments: ["w"] });
    } catch (error) {
      expect(error, text).toMatchObject({ name: "SymplecticAdjointError", code: "OPTION", argument: "equations" });
    }
  });
  fc.assert(property, { numRuns: 5000 });
});

/** Texts that are refused, of parameter k and argument w: where, and with which words. */
const wrong: [text: string, place: [line: number, column: number], expected: string, given: string][] = [
  // what the grammar has not
  ["x' = k ** 2", [1, 8], "^ for a power", '"**"'],
  [
    "x' = k % 2",
    [1, 8],
    "+, -, *, / or ^: for what repeats, sin(2 * pi * t / period), or a state clock' = 1 that an event sets to 0",
    '"%"',
  ],
  [
    "x' = floor(k)",
    [1, 6],
    "a choice a < b ? x : y, or a state that jumps or events set: there are no step functions",
    "floor(",
  ],
  [
    "x' = mod(t, 2)",
    [1, 6],
    "for what repeats, sin(2 * pi * t / period), or a state clock' = 1 that an event sets to 0",
    "mod(",
  ],
  ["x' = -|k|", [1, 7], "abs(x) for an absolute value", '"|k|"'],
  ["x' = k // decay", [1, 8], "# for a comment", '"//"'],
  ["x' = k²", [1, 7], "^ for a power, as in x^2", '"²"'],
  [
    "x' = k * x(t - 1)",
    [1, 10],
    "current values: there are no delays; a chain of states x1' = (x - x1) / tau lags behind x",
    "x(t - …)",
  ],
  [
    "x' = delay(x, 1)",
    [1, 6],
    "current values: there are no delays; a chain of states x1' = (x - x1) / tau lags behind x",
    "delay(",
  ],
  [
    "x' = k * dose(t - 1)",
    [1, 10],
    "a function that there is, or a choice for a step, as in t > 5 ? 1 : 0",
    "dose(t - …)",
  ],
  ["x' = heaviside(t - 1)", [1, 6], "a choice for a step, as in t > 5 ? 1 : 0", "heaviside("],
  ["x' = k * x(t)", [1, 10], "x, without (t)", "x(t)"],
  ["x' = beta(t) * x", [1, 6], "beta, without (t)", "beta(t)"],
  ["x' = k * Math.sin(x)", [1, 10], "sin(…), without Math before it", "Math.sin"],
  ["x' = np.pi * x", [1, 6], "pi, without np before it", "np.pi"],
  // In a statement of several lines, where it is.
  ["x' = (k +\n  2 * z)\ny' = 1", [2, 7], names("z"), "z"],
  ["x' = (k + # a\n\n  sin(k,\n  2))\ny' = 1", [3, 3], "1 argument of sin", "2"],
  ["x' = (k\ny' = 1", [1, 6], "a closing parenthesis for this one", "none"],
  ["x' = k && 2", [1, 8], "nested choices, as in a < b ? (c < d ? x : y) : y", '"&&"'],
  ["x' = k || 2", [1, 8], "nested choices, as in a < b ? (c < d ? x : y) : y", '"||"'],
  ["x' = !k", [1, 6], "nested choices, as in a < b ? (c < d ? x : y) : y", '"!k"'],
  ["x' = k == 2 ? 1 : 0", [1, 8], "<, >, <= or >= to compare with", '"=="'],
  ["x' = k != 2 ? 1 : 0", [1, 8], "<, >, <= or >= to compare with", '"!="'],
  ["x' = k = 2", [1, 8], "one statement per line", '"="'],
  ["x' = k; y' = k", [1, 7], "one statement per line, without semicolons", '";"'],
  ['x\' = "k"', [1, 6], "names and numbers, without quotation marks", '"\\"k\\""'],
  ["x' = [k, 2]", [1, 6], "a name for each number: there are no arrays", '"[k,"'],
  ["x' = k[0]", [1, 7], "a name for each number: there are no arrays", '"[0]"'],
  ["x' = k.rate", [1, 7], "a name without a dot, or a number such as 0.5", '".ra"'],
  ["x' = {k}", [1, 6], "parentheses", '"{k}"'],
  ["x' = $k", [1, 6], "names of letters, digits and _", "$"],
  ["x' = k * $1", [1, 10], "names of letters, digits and _", "$"],
  ["x' = ρ * k", [1, 6], "names of the letters A to Z and a to z, digits and _", '"ρ"'],
  ["x' = kρ", [1, 7], "names of the letters A to Z and a to z, digits and _", '"ρ"'],
  ["x' = k × 2", [1, 8], "* for a product", '"×"'],
  ["x' = k − 2", [1, 8], "- for a minus", '"−"'],
  ["x' = k @ 2", [1, 8], "an operator", '"@"'],
  ["x' = @", [1, 6], "a value", '"@"'],
  ["x' = +k", [1, 6], "a value, without a sign +", "+"],
  ["x' = 2^+k", [1, 8], "a value after ^, without a sign +", "+"],
  ["x' = 2*x'", [1, 9], "no derivatives in an expression: name what is needed twice, and use the name", "x'"],
  // numbers
  ["x' = ..5", [1, 6], "a name without a dot, or a number such as 0.5", '"..5"'],
  ["x' = .5.2", [1, 6], "a number such as 2, 0.5 or 1e-3", ".5.2"],
  ["x' = .5k", [1, 6], "a number such as 2, 0.5 or 1e-3; * for a product, as in 2*x", ".5k"],
  ["x' = k.5", [1, 7], "a name without a dot, or a number such as 0.5", '".5"'],
  ["x' = .", [1, 6], "a name without a dot, or a number such as 0.5", '"."'],
  ["x' = 5.", [1, 6], "a number such as 2, 0.5 or 1e-3", "5."],
  ["x' = 1.2.3", [1, 6], "a number such as 2, 0.5 or 1e-3", "1.2.3"],
  ["x' = 0x10", [1, 6], "a number such as 2, 0.5 or 1e-3", "0x10"],
  ["x' = 007", [1, 6], "a number such as 2, 0.5 or 1e-3", "007"],
  ["x' = 1e", [1, 6], "a number such as 2, 0.5 or 1e-3; * for a product, as in 2*x", "1e"],
  ["x' = 1_000", [1, 6], "a number such as 2, 0.5 or 1e-3; * for a product, as in 2*x", "1_000"],
  ["x' = 2k", [1, 6], "a number such as 2, 0.5 or 1e-3; * for a product, as in 2*x", "2k"],
  ["x' = 1e999", [1, 6], "a finite number", "1e999"],
  // operators and parentheses
  ["x' = k k", [1, 8], "an operator after k, such as *", "k"],
  ["x' = 2 (k)", [1, 8], "an operator after 2, such as *", "("],
  ["x' = (k) (k)", [1, 10], "an operator after ), such as *", "("],
  ["x' = (k) 2", [1, 10], "an operator after ), such as *", "2"],
  ["x' = k *", [1, 9], "a value after *", "the end"],
  ["x' = * k", [1, 6], "a value", "*"],
  ["x' = k * / 2", [1, 10], "a value after *", "/"],
  ["x' = k < > 2", [1, 10], "a value after <", ">"],
  ["x' = -", [1, 7], "a value after -", "the end"],
  ["x' = ()", [1, 7], "a value after (", ")"],
  ["x' = (k", [1, 6], "a closing parenthesis for this one", "none"],
  ["x' = k)", [1, 7], "an opening parenthesis before this one", ")"],
  ["x' = (k, 2)", [1, 8], "a comma between arguments of a function only", ","],
  ["x' = k, 2", [1, 7], "a comma between arguments of a function only", ","],
  ["x' =", [1, 5], "an expression", "the end"],
  ["x' = # k", [1, 5], "an expression", "the end"],
  // choices
  ["x' = k < 2", [1, 6], "a comparison only as the condition of a choice, as in a < b ? x : y", "< elsewhere"],
  ["x' = 1 + (k >= 2)", [1, 10], "a comparison only as the condition of a choice, as in a < b ? x : y", ">= elsewhere"],
  [
    "x' = 1 < k < 2 ? 1 : 0",
    [1, 6],
    "a comparison only as the condition of a choice, as in a < b ? x : y",
    "< elsewhere",
  ],
  ["x' = k ? 1 : 0", [1, 6], "a comparison before ?, as in a < b ? x : y", "none"],
  ["x' = k + 1 ? 1 : 0", [1, 6], "a comparison before ?, as in a < b ? x : y", "none"],
  ["x' = (k < 1 ? 1 : 2) ? 1 : 0", [1, 6], "a comparison before ?, as in a < b ? x : y", "none"],
  ["x' = k < 2 ? 1", [1, 15], "a colon and the other choice", "the end"],
  ["x' = (k < 2 ? 1)", [1, 16], "a colon and the other choice", ")"],
  ["x' = k : 2", [1, 8], "a condition and a question mark before a colon", ":"],
  ["x' = (k < 2 ? 1 : 2 : 3)", [1, 21], "a condition and a question mark before a colon", ":"],
  // functions
  ["x' = exp(k, 2)", [1, 6], "1 argument of exp", "2"],
  ["x' = min(k)", [1, 6], "2 arguments of min", "1"],
  ["x' = max(k, 2, 3)", [1, 6], "2 arguments of max", "3"],
  ["x' = exp()", [1, 10], "a value after (", ")"],
  ["x' = min(k,)", [1, 12], "a value after ,", ")"],
  ["x' = min(,k)", [1, 10], "a value after (", ","],
  ["x' = min(k 2)", [1, 12], "an operator after k, such as *", "2"],
  ["x' = exp", [1, 6], "arguments, as in exp(x)", "exp"],
  ["x' = 2*atan2", [1, 8], "arguments, as in atan2(x, y)", "atan2"],
  [
    "x' = k(1 + 2)",
    [1, 6],
    `a function (${[...functions, "atan2", "min", "max", "grad"].join(", ")}), or an operator before (`,
    "k(",
  ],
  [
    "x' = sine(2)",
    [1, 6],
    `a function (${[...functions, "atan2", "min", "max", "grad"].join(", ")}), or an operator before (`,
    "sine(; did you mean sin?",
  ],
  // Euler's number
  ["x' = e^(-t)", [1, 6], "exp(-t) for a power of Euler's number", "e^(-t)"],
  ["x' = 2 * e ^ -t", [1, 10], "exp(-t) for a power of Euler's number", "e ^ -t"],
  ["x' = 1 - e^k", [1, 10], "exp(k) for a power of Euler's number", "e^k"],
  ["x' = e^(k*(1+t))", [1, 6], "exp(x) for a power of Euler's number", "e^"],
  ["x' = e^x^2", [1, 6], "exp(x) for a power of Euler's number", "e^"],
  ["x' = 1\ny' = 2*e", [2, 8], names("e"), "e"],
  // names
  ["x' = 1\n\ny' = kk", [3, 6], names("kk"), "kk; did you mean k?"],
  ["x' = 1\ny' = 2*speed", [2, 8], names("speed"), "speed"],
  ["x' = flow\nflow = 1", [1, 6], "a name that is defined above", "flow, which is defined below, on line 2"],
  ["x' = 1\nflow = 2*flow", [2, 10], "flow without flow in its own definition", "flow"],
  ["x' = 1\np = q\nq = r\nr = p + 1", [2, 5], "definitions without a cycle: p needs q, which needs p (line 3)", "q"],
  ["x' = 1\nx' = 2", [2, 1], "one equation for x; it has one on line 1", "another"],
  ["x' = 1\nx = 2", [2, 1], "one equation for x; it has one on line 1", "another"],
  ["p = 1\n p = 2\nx' = p", [2, 2], "one equation for p; it has one on line 1", "another"],
  ["x' = 1\nk = 2", [2, 1], "another name: k is a parameter", "an equation for k"],
  ["x' = 1\nk' = 2", [2, 1], "another name: k is a parameter", "an equation for k"],
  ["w' = 2", [1, 1], "another name: w is an argument", "an equation for w"],
  ["t' = 1", [1, 1], "another name: t is the time", "an equation for t"],
  ["exp' = 1", [1, 1], "another name", "exp, which is a function"],
  // statements
  ["x' = 1\nk + 2", [2, 1], "name' = expression, or name = expression", "k + 2"],
  ["  x' == 1", [1, 3], "name' = expression, or name = expression", "x' == 1"],
  // parameters
  ["param 2k = 1\nx' = 1", [1, 7], "a name of letters, digits and _ after param", "2k"],
  ["param p\nx' = p", [1, 7], "param p = 1, with the initial value of p", "p"],
  [" param p + 1 = 3\nx' = p", [1, 8], "param p = 1, with the initial value of p", "p + 1 = 3"],
  ["param p =\nx' = p", [1, 10], "a number such as 2, -0.5 or 1e-3, the initial value of p", "nothing"],
  ["param p = 2*x # twice\nx' = p", [1, 11], "a number such as 2, -0.5 or 1e-3, the initial value of p", "2*x"],
  ["param p = 1e999\nx' = p", [1, 11], "a number such as 2, -0.5 or 1e-3, the initial value of p", "1e999"],
  ["param p = 1\nparam p = 2\nx' = p", [2, 7], "one value for p; it has one on line 1", "another"],
  ["param t = 1\nx' = t", [1, 7], "another name: t is the time", "t"],
  ["param sin = 1\nx' = 1", [1, 7], "another name: sin is a function", "sin"],
  ["param p = 1\nx' = p\np = 2", [3, 1], "another name: p is a parameter", "an equation for p"],
  ["dx/dt = 1", [1, 1], "x' = expression", "dx/dt = 1"],
  ["x’ = 1", [1, 1], "x' with a straight apostrophe", "x’ = 1"],
  ["x'' = 1", [1, 1], "first derivatives: a state for the velocity, as in x' = v and v' = expression", "x''"],
  ["2x' = 1", [1, 1], "a name of letters, digits and _ before =, or name'", "2x'"],
  ["f(x) = 1", [1, 1], "a name of letters, digits and _ before =, or name'", "f(x)"],
];

/** What is expected instead of an unknown name, of state x and what has been defined. */
function names(name: string): string {
  return `one of t, x, y, k, w, or a line param ${name} = 1 (or parameters.${name}) with its initial value, or a line ${name} = expression above`;
}

test.each(wrong)("%s is refused", (text, [line, column], expected, given) => {
  const { message, ...error } = thrown("OPTION", () => readText(text, { parameters: { k: 1 }, arguments: ["w"] }));
  expect({ ...error, message }).toMatchObject({
    argument: "equations",
    line,
    column,
    expected,
    given,
    message: `equations, line ${line}, column ${column}: expected ${expected}; given ${given}`,
  });
});

test("parameters have their values in the text, or beside it", () => {
  const text = "param b = -2.5e-1 # first\n  param\ta=3\nx' = a * x + b*c\nparam = 2\n";
  const { traced } = readText(text, { parameters: { c: 5, a: 4 } });
  expect(traced.entries).toEqual({
    b: { offset: 0, shape: [] },
    a: { offset: 1, shape: [] },
    c: { offset: 2, shape: [] },
  });
  expect([...traced.initial]).toEqual([-0.25, 4, 5]);
  expect(interpret(traced.program, { state: [2], parameters: traced.initial })).toEqual([4 * 2 - 0.25 * 5]);
  expect(readText("param' = -param", {}).traced.states).toEqual(["param"]);
  expect(thrown("OPTION", () => readText(text, { parameters: { c: 1 }, arguments: ["a"] })).message).toBe(
    "arguments.a: expected another name: a is a parameter, given a",
  );
});

test("what is given beside the text is checked", () => {
  const message = (text: unknown, given: unknown) => thrown("OPTION", () => readText(text, given)).message;
  expect(message(undefined, {})).toBe("equations: expected a string, given undefined");
  expect(message(["x' = 1"], {})).toBe("equations: expected a string, given Array of length 1");
  expect(message("", {})).toBe("equations: expected at least one line name' = expression, given none");
  expect(message("# nothing", {})).toBe("equations: expected at least one line name' = expression, given none");
  expect(message("x = 1", {})).toBe(
    "equations: expected at least one line name' = expression, given only names of expressions",
  );
  expect(message("x' = 1", { state: ["x", "y"] })).toBe(
    "equations: expected an equation for each state: a line y' = expression, given none for y",
  );
  expect(message("x' = 1\ny' = 2", { state: ["x"] })).toBe("state: expected all states: x, y, given x");
  expect(message("x' = 1", { state: ["x", "x"] })).toBe('state[1]: expected distinct names, given "x"');
  expect(message("x' = 1", { parameters: { k: Number.NaN } })).toBe(
    "parameters.k: expected a finite number, given NaN",
  );
  expect(message("x' = 1", { parameters: { k: [1, 2] } })).toBe(
    "parameters.k: expected a finite number, given Array of length 2",
  );
  expect(message("x' = 1", { parameters: [1] })).toBe("parameters: expected a plain object, given Array of length 1");
  expect(message("x' = 1", { parameters: { "a-b": 1 } })).toBe(
    "parameters.a-b: expected a name of the letters A to Z and a to z, digits and _, beginning with a letter or _, given a-b",
  );
  expect(message("x' = 1", { parameters: { t: 1 } })).toBe(
    "parameters.t: expected another name: t is the time, given t",
  );
  expect(message("x' = 1", { parameters: { sin: 1 } })).toBe(
    "parameters.sin: expected another name: sin is a function, given sin",
  );
  expect(message("x' = 1", { parameters: { k: 1 }, arguments: ["k"] })).toBe(
    "arguments.k: expected another name: k is a parameter, given k",
  );
  expect(message("x' = 1", { arguments: "w" })).toBe(
    'arguments: expected names, as in ["weight"] or { weight: "scalar" }, given "w"',
  );
  expect(message("x' = 1", { arguments: { w: 3 } })).toBe(
    'arguments.w: expected "scalar", for one number per trajectory, given 3',
  );
  expect(message("x' = 1", { arguments: [3] })).toBe("arguments[0]: expected a string, given 3");
  expect(message("x' = 1", { params: {} })).toMatch(/^params: there is no option of that name/);
});

interface Case {
  name: string;
  equations: string;
  states: string[];
  parameters: Record<string, number>;
  arguments: Record<string, number[]>;
  method: string;
  steps: number;
  t: number[];
  y: number[][][];
  tolerance: number;
}

/** c, the rows of a, and b. */
const METHODS: Record<string, [c: number[], a: number[][], b: number[]]> = {
  midpoint: [
    [0, 1 / 2],
    [[], [1 / 2]],
    [0, 1],
  ],
  heun: [
    [0, 1],
    [[], [1]],
    [1 / 2, 1 / 2],
  ],
  rk4: [
    [0, 1 / 2, 1 / 2, 1],
    [[], [1 / 2], [0, 1 / 2], [0, 0, 1]],
    [1 / 6, 1 / 3, 1 / 3, 1 / 6],
  ],
  dopri5: [
    [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1],
    [
      [],
      [1 / 5],
      [3 / 40, 9 / 40],
      [44 / 45, -56 / 15, 32 / 9],
      [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
      [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
    ],
    [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
  ],
};

const folder = new URL("../golden-models/", import.meta.url);
const cases = readdirSync(folder)
  .filter((file) => file.endsWith(".json"))
  .map((file) => JSON.parse(readFileSync(new URL(file, folder), "utf8")) as Case)
  .filter(({ name, method }) => name.startsWith("fixed-") && METHODS[method]);

test.each(cases.map((one) => [one.name, one] as const))("golden, forwards: %s", (_, one) => {
  const given = { parameters: one.parameters, arguments: Object.keys(one.arguments), dtype: "float64" };
  const { traced } = readText(one.equations, given);
  expect(traced.states).toEqual(one.states);
  const [c, a, b] = METHODS[one.method] as (typeof METHODS)[string];
  const solution = one.y.map((row) => row.map(() => [] as number[]));
  for (const [trajectory, first] of (one.y[0] as number[][]).entries()) {
    const own = Object.values(one.arguments).map((values) => values[trajectory] as number);
    const slope = (t: number, state: number[]) =>
      interpret(traced.program, { t, state, parameters: traced.initial, arguments: own });
    let state = first;
    for (const [j, end] of one.t.entries()) {
      const start = one.t[Math.max(j - 1, 0)] as number;
      const h = (end - start) / one.steps;
      for (let i = 0; j > 0 && i < one.steps; i++) {
        const k: number[][] = [];
        const moved = (weights: number[]) =>
          state.map(
            (value, row) => value + h * weights.reduce((sum, weight, s) => sum + weight * (k[s]?.[row] ?? 0), 0),
          );
        for (const [s, weights] of a.entries()) k.push(slope(start + (i + (c[s] as number)) * h, moved(weights)));
        state = moved(b);
      }
      (solution[j] as number[][])[trajectory] = state;
    }
  }
  expect(relative(solution.flat(2), one.y.flat(2))).toBeLessThan(one.tolerance);
});

test("there are golden cases", () => {
  expect(cases.length).toBeGreaterThanOrEqual(7);
});

test("a statement goes on where a parenthesis is open", () => {
  const inLines = readText("x' = (k +  # a rate\n\n    sin(\n t)\n  ) * 2\ny' = -y\n", { parameters: { k: 1 } });
  const inOne = readText("x' = (k + sin(t)) * 2\ny' = -y", { parameters: { k: 1 } });
  expect(inLines.traced.program).toEqual(inOne.traced.program);
  const names = { states: ["x", "y"], parameters: {}, parameterCount: 0, arguments: [] };
  expect(readAssignments("set", "x = (x\n + 1)\ny = 2", names)).toEqual(
    readAssignments("set", "x = (x + 1)\ny = 2", names),
  );
});
