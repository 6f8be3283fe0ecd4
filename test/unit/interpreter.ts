// Programs in float64, for one trajectory: the meaning of each operation, and nothing else.
import type { GraphNode, Program } from "../../ts/trace/graph.js";

/** Φ(x), by the continued fraction of erfc for large |x|, and its series elsewhere. */
export function normalCdf(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  let tail: number;
  if (z > 3) {
    let fraction = 0;
    for (let k = 60; k > 0; k--) fraction = k / 2 / (z + fraction);
    tail = Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction);
  } else {
    let [term, sum] = [z, z];
    for (let n = 1; n < 100; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    tail = 1 - (2 / Math.sqrt(Math.PI)) * sum;
  }
  return x > 0 ? 1 - tail / 2 : tail / 2;
}

export const UNARY: Record<string, (x: number) => number> = {
  neg: (x) => -x,
  abs: Math.abs,
  sign: Math.sign,
  exp: Math.exp,
  expm1: Math.expm1,
  log: Math.log,
  log1p: Math.log1p,
  sqrt: Math.sqrt,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  relu: (x) => Math.max(x, 0),
  normalCdf,
};

export const BINARY: Record<string, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow: (a, b) => a ** b,
  atan2: Math.atan2,
  min: Math.min,
  max: Math.max,
};

/** What a program is evaluated at. */
export interface Point {
  t?: number;
  state?: ArrayLike<number>;
  parameters?: ArrayLike<number>;
  arguments?: ArrayLike<number>;
}

/** The result's rows. */
export function interpret(program: Program, point: Point = {}): number[] {
  // As it travels: JSON.
  const { nodes, result, ...sizes } = JSON.parse(JSON.stringify(program)) as Program;
  for (const name of ["state", "parameters", "arguments"] as const) {
    if ((point[name]?.length ?? 0) !== sizes[name])
      throw new Error(`${name}: ${point[name]?.length} of ${sizes[name]}`);
  }
  const values: number[][] = [];
  const uniform: boolean[] = [];
  for (const node of nodes) {
    const operands = operandsOf(node);
    for (const operand of operands)
      if (!(operand < values.length)) throw new Error(`${node} comes before its operands`);
    const at = (place: number) => values[node[place] as number] as number[];
    uniform.push(!["state", "argument"].includes(node[0] as string) && operands.every((operand) => uniform[operand]));
    if (node[0] === "dense" && !uniform[node[1] as number]) throw new Error("the matrix depends on the state");
    const value = rowsOf(node, at, point);
    if (value.length === 0 || value.includes(undefined as never)) throw new Error(`${node} is out of range`);
    values.push(value);
  }
  return values[result] as number[];
}

/** The operands of a node: which of its elements are indices of others. */
function operandsOf(node: GraphNode): number[] {
  const [name] = node as [string];
  if (["constant", "time", "parameter", "state", "argument"].includes(name)) return [];
  const count = ["slice", "spread", "sum"].includes(name) ? 1 : name === "dense" ? 2 : node.length;
  return node.slice(name === "select" ? 2 : 1, count === node.length ? count : count + 1) as number[];
}

function rowsOf(node: GraphNode, at: (place: number) => number[], point: Point): number[] {
  const [name, first, second, third] = node as [string, number, number, number];
  const list = (values: ArrayLike<number> = []) => Array.from(values);
  const together = (values: number[][], of: (...row: number[]) => number) => {
    const length = Math.max(...values.map((value) => value.length));
    for (const value of values) if (value.length !== length && value.length !== 1) throw new Error(`rows of ${node}`);
    const row = (i: number) => values.map((value) => value[value.length === 1 ? 0 : i] as number);
    return Array.from({ length }, (_, i) => of(...row(i)));
  };
  if (UNARY[name]) return at(1).map(UNARY[name]);
  if (BINARY[name]) return together([at(1), at(2)], BINARY[name]);
  switch (name) {
    case "constant":
      return [first];
    case "time":
      return [point.t ?? 0];
    case "parameter":
      return list(point.parameters).slice(first, first + second);
    case "state":
      return list(point.state).slice(first, first + second);
    case "argument":
      return list(point.arguments).slice(first, first + second);
    case "select": {
      const holds = { less: (a: number, b: number) => a < b, lessEqual: (a: number, b: number) => a <= b };
      const compare = holds[node[1] as "less" | "lessEqual"];
      return together([at(2), at(3), at(4), at(5)], (a, b, then, otherwise) =>
        compare(a as number, b as number) ? (then as number) : (otherwise as number),
      );
    }
    case "slice":
      return at(1).slice(second, second + third);
    case "concat":
      return node.slice(1).flatMap((_, i) => at(i + 1));
    case "sum": {
      const n = at(1).length / (second * third);
      const sums = Array<number>(n).fill(0);
      for (const [i, x] of at(1).entries()) (sums[Math.floor(i / third) % n] as number) += x;
      return sums;
    }
    case "dense": {
      const [w, x] = [at(1), at(2)];
      const columns = x.length / third;
      const rows = w.length / columns;
      return Array.from({ length: rows * third }, (_, i) => {
        const [row, place] = [Math.floor(i / third), i % third];
        let sum = 0;
        for (let j = 0; j < columns; j++) sum += (w[row * columns + j] as number) * (x[j * third + place] as number);
        return sum;
      });
    }
    case "matvec": {
      const [m, v] = [at(1), at(2)];
      return Array.from({ length: m.length / v.length }, (_, row) =>
        v.reduce((sum, x, j) => sum + (m[row * v.length + j] as number) * x, 0),
      );
    }
    case "matvecTransposed": {
      const [m, v] = [at(1), at(2)];
      const columns = m.length / v.length;
      return Array.from({ length: columns }, (_, j) =>
        v.reduce((sum, x, row) => sum + (m[row * columns + j] as number) * x, 0),
      );
    }
    case "outer":
      return at(1).flatMap((a) => at(2).map((b) => a * b));
  }
  throw new Error(`no operation ${name}`);
}
