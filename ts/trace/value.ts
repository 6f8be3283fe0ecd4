// Stand-ins for numbers that are not known yet: what a traced function computes with.
import { checkFinite, checkSome } from "../checks/arrays.js";
import { describe, isArray, refused, SymplecticAdjointError } from "../checks/errors.js";
import { argument, callable, inCallback, isObject, number, rule } from "../checks/rules.js";
import { runUserCode } from "../checks/user-code.js";
import { activeGraph, type Graph, type GraphNode } from "./graph.js";
import { type NestedNumbers, nestedNumbers } from "./nested.js";

/** An operand of an operation: a value, or a finite number. */
export type Operand = Value | number;

/** A value with as many rows as a list has elements. You can destructure it: `const [hare, lynx] = state`. */
export type Vector<List extends readonly unknown[]> = Value & { readonly [Row in keyof List]: Value };

/**
 * A number, or a vector of `length` rows, in a traced function: what its numbers are is not known yet. Operations on it are recorded, and
 * give new values. Two operands must have the same number of rows, or one of them a single row, which then counts for all.
 *
 * You can index and destructure a value of several rows: `hunt[0]`, `const [hare, lynx] = state`. Rows from 65,536 on can be read by `at`
 * alone.
 */
export class Value {
  /** The value of one row, as `at` gives it; of the first 65,536 rows. */
  readonly [row: number]: Value;
  readonly #graph: Graph;
  readonly #index: number;
  /** The number of rows: 1 for a single number. */
  readonly length: number;

  /** Values come from the function that is traced. */
  constructor(graph: Graph, index: number) {
    this.#graph = graph;
    this.#index = index;
    this.length = graph.rows[index] as number;
    addArrayMethods(this.length);
  }

  /** this + other, row by row. An operand with one row counts for all rows. Throws `SHAPE` for other numbers of rows. */
  add(other: Operand): Value {
    return binary("add", this, other);
  }

  /** this − other, row by row. An operand with one row counts for all rows. Throws `SHAPE` for other numbers of rows. */
  sub(other: Operand): Value {
    return binary("sub", this, other);
  }

  /** this · other, row by row. An operand with one row counts for all rows. Throws `SHAPE` for other numbers of rows. */
  mul(other: Operand): Value {
    return binary("mul", this, other);
  }

  /** this / other, row by row. An operand with one row counts for all rows. Throws `SHAPE` for other numbers of rows. */
  div(other: Operand): Value {
    return binary("div", this, other);
  }

  /**
   * this to the power of an exponent, row by row; NaN for a negative base and an exponent that is not whole. An operand with one row counts
   * for all rows. Throws `SHAPE` for other numbers of rows.
   */
  pow(exponent: Operand): Value {
    return binary("pow", this, exponent);
  }

  /** The smaller of this and other, row by row. An operand with one row counts for all rows. Throws `SHAPE` for other numbers of rows. */
  min(other: Operand): Value {
    return binary("min", this, other);
  }

  /** The larger of this and other, row by row. An operand with one row counts for all rows. Throws `SHAPE` for other numbers of rows. */
  max(other: Operand): Value {
    return binary("max", this, other);
  }

  /**
   * The angle of the point (x, this), in radians from −π to π, row by row. An operand with one row counts for all rows. Throws `SHAPE` for
   * other numbers of rows.
   */
  atan2(x: Operand): Value {
    return binary("atan2", this, x);
  }

  /** −this. */
  neg(): Value {
    return unary("neg", this);
  }

  /** The absolute value of each row. */
  abs(): Value {
    return unary("abs", this);
  }

  /** −1, 0 or 1, row by row; its derivative is 0. */
  sign(): Value {
    return unary("sign", this);
  }

  /** e to the power of each row. */
  exp(): Value {
    return unary("exp", this);
  }

  /** e^x − 1 of each row x, accurate near 0. */
  expm1(): Value {
    return unary("expm1", this);
  }

  /** The natural logarithm of each row; NaN below 0. */
  log(): Value {
    return unary("log", this);
  }

  /** log(1 + x) of each row x, accurate near 0; NaN below −1. */
  log1p(): Value {
    return unary("log1p", this);
  }

  /** The square root of each row; NaN below 0. */
  sqrt(): Value {
    return unary("sqrt", this);
  }

  /** The square of each row. */
  square(): Value {
    return this.mul(this);
  }

  /** The sine of each row, in radians. */
  sin(): Value {
    return unary("sin", this);
  }

  /** The cosine of each row, in radians. */
  cos(): Value {
    return unary("cos", this);
  }

  /** The tangent of each row, in radians. */
  tan(): Value {
    return unary("tan", this);
  }

  /** The inverse sine of each row, in radians; NaN outside [−1, 1]. */
  asin(): Value {
    return unary("asin", this);
  }

  /** The inverse cosine of each row, in radians; NaN outside [−1, 1]. */
  acos(): Value {
    return unary("acos", this);
  }

  /** The inverse tangent of each row, in radians. */
  atan(): Value {
    return unary("atan", this);
  }

  /** The hyperbolic sine of each row. */
  sinh(): Value {
    return unary("sinh", this);
  }

  /** The hyperbolic cosine of each row. */
  cosh(): Value {
    return unary("cosh", this);
  }

  /** The hyperbolic tangent of each row. */
  tanh(): Value {
    return unary("tanh", this);
  }

  /** 1 / (1 + e^−x) of each row x. */
  sigmoid(): Value {
    return unary("sigmoid", this);
  }

  /** log(1 + e^x) of each row x. */
  softplus(): Value {
    return unary("softplus", this);
  }

  /** max(x, 0) of each row x. */
  relu(): Value {
    return unary("relu", this);
  }

  /** The standard normal distribution function Φ(x) of each row x. */
  normalCdf(): Value {
    return unary("normalCdf", this);
  }

  /** x · sigmoid(x) of each row x. */
  silu(): Value {
    return this.mul(this.sigmoid());
  }

  /** x · Φ(x) of each row x. */
  gelu(): Value {
    return this.mul(this.normalCdf());
  }

  /** x where x is positive, else e^x − 1, of each row x. */
  elu(): Value {
    return where(this.greater(0), this, this.expm1());
  }

  /** Whether this < other, row by row: a condition for `where`. */
  less(other: Operand): Condition {
    return compare("less", this, lift("less", other, this));
  }

  /** Whether this ≤ other, row by row: a condition for `where`. */
  lessEqual(other: Operand): Condition {
    return compare("lessEqual", this, lift("lessEqual", other, this));
  }

  /** Whether this > other, row by row: a condition for `where`. */
  greater(other: Operand): Condition {
    return compare("less", lift("greater", other, this), this);
  }

  /** Whether this ≥ other, row by row: a condition for `where`. */
  greaterEqual(other: Operand): Condition {
    return compare("lessEqual", lift("greaterEqual", other, this), this);
  }

  /** The sum of all rows, one number. */
  sum(): Value {
    if (this.length === 1) return checkGraph("sum", this);
    return addNode("sum", ["sum", indexOf("sum", this), 1, this.length], 1, [this]);
  }

  /** The mean of all rows, one number. */
  mean(): Value {
    return this.sum().div(this.length);
  }

  /** The sum of the products of rows, one number. */
  dot(other: Operand): Value {
    broadcastRows("dot", this, lift("dot", other, this));
    return this.mul(other).sum();
  }

  /** The square root of the sum of squares of all rows, one number; it has no derivative where all rows are 0. */
  norm(): Value {
    return this.square().sum().sqrt();
  }

  /** log Σ e^x over all rows, one number; it does not overflow. */
  logSumExp(): Value {
    const most = largest(this);
    return this.sub(most).exp().sum().log().add(most);
  }

  /** e^x / Σ e^x, row by row: positive numbers whose sum is 1. It does not overflow. */
  softmax(): Value {
    const powers = this.sub(largest(this)).exp();
    return powers.div(powers.sum());
  }

  /** One row, from 0; counted from the end if negative. */
  at(row: number): Value {
    const start = Number.isInteger(row) && row < 0 ? row + this.length : row;
    if (!Number.isInteger(row) || start < 0 || start >= this.length) {
      const expected = `a row from 0 to ${this.length - 1}, or from −${this.length} to −1`;
      throw refused("CALLBACK", "at's argument", expected, describe(row));
    }
    return rows(this, start, 1);
  }

  /** The rows from `start` to before `end`, as `slice` of an array: negative ones count from the end. At least one row. */
  slice(start = 0, end = this.length): Value {
    const areIntegers = Number.isInteger(start) && Number.isInteger(end);
    const place = (row: number) => Math.min(Math.max(row < 0 ? row + this.length : row, 0), this.length);
    const [from, to] = areIntegers ? [place(start), place(end)] : [0, 0];
    if (from >= to) {
      const expected = `integers that select at least one of ${this.length} rows`;
      throw refused("CALLBACK", "slice's arguments", expected, `${describe(start)} and ${describe(end)}`);
    }
    return rows(this, from, to - from);
  }

  /** The rows of this and then those of the others. */
  concat(...others: Operand[]): Value {
    return concat(this, ...others);
  }

  /** The rows, shifted by `shift` places: those that leave at one end come in at the other, as by numpy.roll. */
  roll(shift: number): Value {
    argument("roll's argument", shift, shiftRule);
    const start = (((-shift % this.length) + this.length) % this.length) | 0;
    return start === 0 ? checkGraph("roll", this) : concat(this.slice(start), this.slice(0, start));
  }

  /** The product of this matrix, `[rows, columns]` row-major, and a vector of `columns` rows: a vector of `rows` rows. */
  matvec(vector: Operand): Value {
    const x = lift("matvec", vector, this);
    const outputs = this.length / x.length;
    if (!Number.isInteger(outputs)) {
      const expected = `a vector whose length divides the ${this.length} numbers of the matrix`;
      throw refused("SHAPE", "matvec's argument", expected, rowsText(x));
    }
    const [m, v] = [indexOf("matvec", this), indexOf("matvec", x)];
    // A matrix that is the same for all trajectories is multiplied for all of them at once.
    const node: GraphNode = activeGraph().uniform[m] ? ["dense", m, v, 1] : ["matvec", m, v];
    return addNode("matvec", node, outputs, [this, x]);
  }

  /** The product of this matrix transposed and a vector: the matrix is `[rows, columns]` row-major, the vector has `rows`. */
  matvecTransposed(vector: Operand): Value {
    const x = lift("matvecTransposed", vector, this);
    const outputs = this.length / x.length;
    if (!Number.isInteger(outputs)) {
      const expected = `a vector whose length divides the ${this.length} numbers of the matrix`;
      throw refused("SHAPE", "matvecTransposed's argument", expected, rowsText(x));
    }
    const [m, v] = [indexOf("matvecTransposed", this), indexOf("matvecTransposed", x)];
    return addNode("matvecTransposed", ["matvecTransposed", m, v], outputs, [this, x]);
  }

  /** The product of each row and each row of the other, `[length, other.length]` row-major. */
  outer(other: Operand): Value {
    const b = lift("outer", other, this);
    const node: GraphNode = ["outer", indexOf("outer", this), indexOf("outer", b)];
    return addNode("outer", node, this.length * b.length, [this, b]);
  }

  /** The rows one after the other, for destructuring and spreading. */
  *[Symbol.iterator](): IterableIterator<Value> {
    for (let row = 0; row < this.length; row++) yield this.at(row);
  }

  /** Throws `CALLBACK` where a value would become a number or a text, as in `Math.sin(x)`, `x + 1`, `x < 1` or a template string. */
  [Symbol.toPrimitive](hint: string): never {
    throw unreadable(hint);
  }

  /** Throws `CALLBACK` where a value would become text, as in `JSON.stringify`. */
  toJSON(): never {
    throw unreadable("string");
  }

  /** The index of its node in a graph, undefined where it is a value of another one. */
  static indexIn(graph: Graph, value: Value): number | undefined {
    return value.#graph === graph ? value.#index : undefined;
  }

  /** Whether it is a value, and not an object made from one. */
  static is(value: unknown): value is Value {
    return value !== null && typeof value === "object" && #graph in value;
  }
}

/** A comparison of values, row by row, to pass to `where`: its outcome is not known while a function is traced. */
export class Condition {
  readonly #graph: Graph;
  readonly #node: readonly [string, number, number];
  /** The number of rows of the condition. */
  readonly length: number;

  /** Conditions come from `less`, `lessEqual`, `greater` and `greaterEqual`. */
  constructor(graph: Graph, node: readonly [string, number, number], length: number) {
    this.#graph = graph;
    this.#node = node;
    this.length = length;
  }

  /** Throws `CALLBACK` where a condition would become a number or a text. */
  [Symbol.toPrimitive](): never {
    const expected = "where(condition, a, b), which chooses row by row";
    throw refused("CALLBACK", "a condition", expected, "an attempt to read it while the function is traced");
  }

  /** The comparison and its operands; undefined for a condition of another graph. */
  static nodeIn(graph: Graph, condition: Condition): readonly [string, number, number] | undefined {
    return condition.#graph === graph ? condition.#node : undefined;
  }

  /** Whether it is a condition. */
  static is(value: unknown): value is Condition {
    return value !== null && typeof value === "object" && #graph in value;
  }
}

/** Why a value cannot be read, and what to write instead. */
function unreadable(hint: string): SymplecticAdjointError {
  const instead: Record<string, [given: string, expected: string]> = {
    number: [
      "its use as a number, as in Math.sin(x), x * 2, or an if (x < 1)",
      "operations that can be recorded: write x.sin() or sin(x), x.mul(2), and where(x.less(1), a, b) for a choice",
    ],
    string: [
      "its use as text, in a template string or as a key",
      `operations that can be recorded: write formula\`\${x} * 2\` for a formula`,
    ],
    default: [
      "its use in x + 1 or x == 1",
      "operations that can be recorded: write x.add(1) or add(x, 1), and where(…) for a choice",
    ],
  };
  const [given, expected] = instead[hint] ?? (instead.default as [string, string]);
  const details = { argument: "a traced value", expected, given };
  const message = `a traced value has no number yet: the function runs once, to record what it computes. Expected ${expected}; given ${given}`;
  return new SymplecticAdjointError("CALLBACK", message, details);
}

/** Rows up to this one can be read by their index. */
let indexed = 0;
/** Indexing more rows would take too much time and memory; `at` reads them. */
const MOST_INDEXED = 2 ** 16;
const MARGIN = 64;

/** What operations are called elsewhere, and here. */
const NAMES_ELSEWHERE: Readonly<Record<string, string>> = {
  plus: "add",
  minus: "sub",
  subtract: "sub",
  times: "mul",
  multiply: "mul",
  divide: "div",
  power: "pow",
  matmul: "matvec",
  lt: "less",
  gt: "greater",
};

/** The methods of arrays that call a function with the rows. */
const CALLBACK_METHODS =
  "every filter find findIndex findLast findLastIndex flatMap forEach map reduce reduceRight some".split(" ");
/** Those that give the rows. The others would change a value, or need its numbers. */
const LISTING_METHODS = ["entries", "flat", "keys", "toReversed", "values"];

const callback = inCallback(callable());

/**
 * Lets rows up to `length` be read by their index, and values be used as the arrays that their types say they are: in both
 * ways a value is a list of its rows.
 */
function addArrayMethods(length: number): void {
  const prototype = Value.prototype as object;
  if (indexed === 0) {
    for (const name of Object.getOwnPropertyNames(Array.prototype)) {
      const method = Array.prototype[name as "map"];
      if (name in prototype || typeof method !== "function") continue;
      const value = function (this: Value, ...given: unknown[]) {
        if (CALLBACK_METHODS.includes(name)) argument(`value.${name}'s argument`, given[0], callback);
        else if (!LISTING_METHODS.includes(name)) {
          const expected = "operations that can be recorded, or a list of its rows, [...value]";
          throw refused("CALLBACK", `value.${name}`, expected, name);
        }
        return method.apply([...this], (CALLBACK_METHODS.includes(name) ? given : []) as Parameters<typeof method>);
      };
      Object.defineProperty(prototype, name, { value, configurable: true });
    }
    for (const [name, own] of Object.entries(NAMES_ELSEWHERE)) {
      const value = () => {
        throw refused("CALLBACK", `value.${name}`, `${own}, as it is called here`, name);
      };
      Object.defineProperty(prototype, name, { value, configurable: true });
    }
  }
  // Those that are a little too far are refused, and not undefined.
  for (const end = Math.min(length + MARGIN, MOST_INDEXED); indexed < end; indexed++) {
    const row = indexed;
    const get = function (this: Value) {
      if (row < this.length) return this.at(row);
      const expected = `a row from 0 to ${this.length - 1}, as the value has ${rowsText(this)}`;
      throw refused("CALLBACK", `value[${row}]`, expected, String(row));
    };
    const set = () => {
      throw refused("CALLBACK", `value[${row}]`, "a new value, since values cannot be changed", "an assignment");
    };
    Object.defineProperty(prototype, row, { get, set, configurable: true });
  }
}

/** The largest row, one number. */
function largest(value: Value): Value {
  if (value.length === 1) return value;
  const half = Math.ceil(value.length / 2);
  return largest(value.slice(0, half).max(value.slice(value.length - half)));
}

const rowsText = ({ length }: { readonly length: number }) => `${length} row${length === 1 ? "" : "s"}`;

/** A new value, of operands that are known to belong here. */
function addNode(name: string, node: GraphNode, length: number, operands: readonly Value[]): Value {
  const graph = activeGraph();
  const uniform = operands.every((operand) => graph.uniform[indexOf(name, operand)]);
  return new Value(graph, graph.add(node, length, uniform));
}

/** The index of a value's node in the graph of the function that is being traced. */
export function indexOf(name: string, value: Value): number {
  const index = Value.indexIn(activeGraph(), value);
  if (index !== undefined) return index;
  const expected = "values that this function was given, or computed from them";
  throw refused("CALLBACK", name, expected, "a value of another traced function, or of an earlier run");
}

/** A value that belongs here. */
function checkGraph(name: string, value: Value): Value {
  indexOf(name, value);
  return value;
}

/** The value of an operand, which is one, or a constant for a number. */
export function lift(name: string, operand: unknown, self?: Value): Value {
  if (self !== undefined) indexOf(name, self);
  if (Value.is(operand)) return checkGraph(name, operand);
  const argument = self === undefined ? name : `${name}'s argument`;
  if (typeof operand !== "number") throw refused("CALLBACK", argument, "a value or a number", describeOperand(operand));
  if (!Number.isFinite(operand)) throw refused("NON_FINITE", argument, "a value or a finite number", String(operand));
  const graph = activeGraph();
  return new Value(graph, graph.constant(operand));
}

/**
 * A constant vector or matrix in a traced function. It is not a parameter, so it has no gradient. The function runs once, so the constant
 * keeps the numbers that it has then.
 *
 * @param numbers - Finite numbers: a flat array, or rows of a matrix, `[[1, 2], [3, 4]]`, whose value has its numbers row by row, as
 *   `matvec` takes them.
 * @returns A value with as many rows as there are numbers.
 * @throws `CALLBACK` outside a traced function; `SHAPE`, `DTYPE` and `NON_FINITE` for other numbers.
 */
export function constant(numbers: ArrayLike<number> | NestedNumbers): Value {
  const graph = activeGraph();
  const where = "constant's argument";
  if (!isArray(numbers) && !ArrayBuffer.isView(numbers)) {
    throw refused("DTYPE", where, "an array of numbers, or of rows of them", describeOperand(numbers));
  }
  const { flat } = nestedNumbers(where, numbers, 0);
  checkFinite(where, flat);
  // JSON knows no −0.
  return new Value(graph, graph.add(["constants", ...Array.from(flat, (number) => number + 0)], flat.length, true));
}

/** What records of values are called in messages. Whatever is read of one but its names throws. */
export const recordNames = /* @__PURE__ */ new WeakMap<object, string>();

/** A description of what was given instead of a value, with a hint at what may be meant. */
export function describeOperand(operand: unknown): string {
  const record = recordNames.get(operand as object);
  if (record !== undefined) return record;
  if (Condition.is(operand)) return "a condition; write where(condition, 1, 0) to get a number";
  if (isPromise(operand)) return "a Promise; a traced function cannot wait";
  // An index past the end of a vector does so, and destructuring.
  const { stateRows } = activeGraph();
  if (operand === undefined && stateRows !== undefined) {
    return `undefined, as past the end of a list: the state has ${stateRows} row${stateRows === 1 ? "" : "s"}`;
  }
  if (typeof operand === "function") return "a function; did you mean to call it?";
  if (isArray(operand)) return `${describe(operand)}; write concat(...list) for a vector of its values`;
  return describe(operand);
}

/** Whether it is a promise, or like one. */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return (
    !recordNames.has(value as object) &&
    isObject(value) &&
    runUserCode(() => typeof (value as PromiseLike<unknown>).then) === "function"
  );
}

/** The common number of rows, where each has that or one. */
function broadcastRows(name: string, ...values: { readonly length: number }[]): number {
  const most = Math.max(...values.map(({ length }) => length));
  const other = values.find(({ length }) => length !== most && length !== 1);
  if (!other) return most;
  const expected = `the same number of rows, or one row that counts for all`;
  const isProduct = ["mul", "dot"].includes(name) && most % other.length === 0;
  const hint = isProduct ? "; A.matvec(x) multiplies a matrix by a vector" : "";
  throw refused("SHAPE", `${name}'s operands`, expected, values.map(rowsText).join(" and "), hint);
}

/** An operation on each row. */
function unary(name: string, a: Value): Value {
  return addNode(name, [name, indexOf(name, a)], a.length, [a]);
}

/** An operation on each row of two values. */
function binary(name: string, a: Value, other: Operand): Value {
  const b = lift(name, other, a);
  return addNode(name, [name, indexOf(name, a), indexOf(name, b)], broadcastRows(name, a, b), [a, b]);
}

function compare(name: string, a: Value, b: Value): Condition {
  const graph = activeGraph();
  const condition = new Condition(graph, [name, indexOf(name, a), indexOf(name, b)], broadcastRows(name, a, b));
  graph.unused.set(condition, new Error());
  return condition;
}

function rows(value: Value, start: number, length: number): Value {
  if (length === value.length) return checkGraph("slice", value);
  const index = indexOf("slice", value);
  const [name, first, ...rest] = activeGraph().nodes[index] as [string, number, number];
  // Rows of what is given are given too.
  const isInput = ["state", "argument", "parameter"].includes(name);
  const isSlice = name === "slice";
  if (isInput) return addNode("slice", [name, first + start, length], length, [value]);
  const from = isSlice ? (rest[0] as number) : 0;
  return addNode("slice", ["slice", isSlice ? first : index, from + start, length], length, [value]);
}

const shiftRule = inCallback(number("an integer", Number.isInteger));
const conditionRule = inCallback(rule<Condition>("a comparison, such as x.less(1)", (value) => Condition.is(value)));

/** The rows of the values, one value after the other: at least one. */
export function concat(...operands: Operand[]): Value {
  checkSome("concat", operands, "value", "CALLBACK");
  const values = operands.map((operand) => lift("concat", operand));
  if (values.length === 1) return values[0] as Value;
  const length = values.reduce((sum, value) => sum + value.length, 0);
  return addNode("concat", ["concat", ...values.map((value) => indexOf("concat", value))], length, values);
}

/**
 * `then` where the condition holds, else `otherwise`, row by row. Both are computed; the one not chosen has no effect on the result or
 * its derivatives.
 *
 * @throws `CALLBACK` for anything but a comparison, such as `x < 1`; `SHAPE` for different numbers of rows.
 */
export function where(condition: Condition, then: Operand, otherwise: Operand): Value {
  argument("where's condition", condition, conditionRule);
  const graph = activeGraph();
  const node = Condition.nodeIn(graph, condition);
  if (!node) {
    throw refused("CALLBACK", "where's condition", "one of this function", "a condition of another traced function");
  }
  graph.unused.delete(condition);
  const [a, b] = [lift("where's second argument", then), lift("where's third argument", otherwise)];
  const length = broadcastRows("where", condition, a, b);
  const [name, left, right] = node;
  const uniform = [left, right].every((index) => graph.uniform[index]);
  const choice: GraphNode = ["select", name, left, right, indexOf("where", a), indexOf("where", b)];
  const both = [a, b].every((value) => graph.uniform[indexOf("where", value)]);
  return new Value(graph, graph.add(choice, length, uniform && both));
}
