// Programs, and the graph that one is written into while a function is traced.
import { MAX_NODES } from "../../wasm/constants.js";
import { type ErrorDetails, refused, SymplecticAdjointError } from "../checks/errors.js";

/** An operation and its operands: indices of earlier nodes, or numbers that belong to it. */
export type GraphNode = readonly (string | number)[];

/** A program: what a field computes for one trajectory, as plain data. */
export interface Program {
  /** The version of this form. */
  readonly version: 1;
  /** The number of features of the state. */
  readonly state: number;
  /** The number of parameters, flat. */
  readonly parameters: number;
  /** The number of arguments that a trajectory has. */
  readonly arguments: number;
  /** The operations, each after those that it uses. */
  readonly nodes: readonly GraphNode[];
  /** The index of the node that is the result. */
  readonly result: number;
}

/** The most operations that are recorded. It exceeds the crate's limit, since a result may need only some of them. */
const MAX_RECORDED = 16 * MAX_NODES;

/** The operations of a program in the making. The same operation of the same operands is one node. */
export class Graph {
  /** Comparisons by which nothing was chosen so far, each with an error made there. */
  readonly unused = new Map<object, Error>();
  /** The location of the first comparison that is still unused at the end, if it is known. */
  unusedAt: Required<Pick<ErrorDetails, "file" | "line" | "column">> | undefined;
  /** How many rows the state has that the function was given, for messages. */
  stateRows: number | undefined;
  readonly nodes: GraphNode[] = [];
  /** How many rows each node has. */
  readonly rows: number[] = [];
  /** Whether a node is the same for all trajectories: made of parameters, constants and the time alone. */
  readonly uniform: boolean[] = [];
  readonly #known = new Map<string, number>();

  /** The index of a node, which is added if it is new. */
  add(node: GraphNode, rows: number, uniform: boolean): number {
    const key = node.join();
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.nodes.length === MAX_RECORDED) {
      const expected = `at most ${MAX_RECORDED} operations while a function is recorded; write loops over numbers as vectors`;
      throw refused("OPTION", "program.nodes", expected, "more");
    }
    this.#known.set(key, this.nodes.length);
    this.rows.push(rows);
    this.uniform.push(uniform);
    return this.nodes.push(node) - 1;
  }

  /** The index of a constant. JSON knows no −0. */
  constant(value: number): number {
    if (Object.is(value, -0)) return this.add(["neg", this.constant(0)], 1, true);
    return this.add(["constant", value], 1, true);
  }
}

/** Where the operands of a node begin and end among its elements. */
function operandPlaces([name, ...rest]: GraphNode): readonly [first: number, end: number] {
  switch (name) {
    case "constant":
    case "constants":
    case "time":
    case "parameter":
    case "state":
    case "argument":
      return [1, 1];
    case "slice":
    case "sum":
      return [1, 2];
    case "dense":
      return [1, 3];
    case "select":
      return [2, 6];
    default:
      return [1, 1 + rest.length];
  }
}

/** Whether a node was computed from another one. */
export function isComputedFrom(nodes: readonly GraphNode[], result: number, other: number): boolean {
  const seen = new Set([result]);
  // A set goes on to what is added on the way.
  for (const index of seen) {
    if (index === other) return true;
    const node = nodes[index] as GraphNode;
    for (const operand of node.slice(...operandPlaces(node)) as number[]) if (operand >= other) seen.add(operand);
  }
  return false;
}

/** The nodes that a result needs, each after its operands, without other nodes that were recorded. */
export function reachableNodes(nodes: readonly GraphNode[], result: number): GraphNode[] {
  const places = new Map<number, number>();
  const kept: GraphNode[] = [];
  const open = [result];
  while (open.length > 0) {
    const index = open.at(-1) as number;
    const node = nodes[index] as GraphNode;
    const [first, end] = operandPlaces(node);
    const operands = node.slice(first, end) as number[];
    const missing = operands.filter((operand) => !places.has(operand));
    if (missing.length > 0) {
      // The first one comes first.
      for (const operand of missing.reverse()) open.push(operand);
      continue;
    }
    open.pop();
    if (places.has(index)) continue;
    const moved = operands.map((operand) => places.get(operand) as number);
    places.set(index, kept.length);
    kept.push([...node.slice(0, first), ...moved, ...node.slice(end)]);
  }
  return kept;
}

/** Whether programs compute the same by the same operations, which may be written in any order. */
export function areSamePrograms(a: Program, b: Program): boolean {
  const sizes = ({ state, parameters, arguments: own }: Program) => [state, parameters, own].join();
  if (sizes(a) !== sizes(b)) return false;
  // By their operations and those of their operands, nodes have the same number in both.
  const known = new Map<string, number>();
  const numberOf = ({ nodes, result }: Program) => {
    const numbers: number[] = [];
    for (const node of nodes) {
      const [first, end] = operandPlaces(node);
      const operands = node.slice(first, end).map((operand) => numbers[operand as number]);
      const key = [...node.slice(0, first), ...operands, ...node.slice(end)].join();
      const number = known.get(key) ?? known.size;
      known.set(key, number);
      numbers.push(number);
    }
    return numbers[result];
  };
  return numberOf(a) === numberOf(b);
}

let active: Graph | undefined;

/** Runs a function that writes into a new graph; it may trace another one meanwhile. */
export function withGraph<T>(body: (graph: Graph) => T): T {
  const outer = active;
  const graph = new Graph();
  active = graph;
  try {
    return body(graph);
  } finally {
    active = outer;
  }
}

/** The graph of the function that is being traced. */
export function activeGraph(): Graph {
  if (active) return active;
  const message =
    "operations on values work only while a function is traced: inside slope of vectorField, apply of differentiable, or a loss";
  throw new SymplecticAdjointError("CALLBACK", message);
}
