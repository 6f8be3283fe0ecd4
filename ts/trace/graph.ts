// Programs, and the graph that one is written into while a function is traced.
import { SymplecticAdjointError } from "../checks/errors.js";

/** An operation and its operands: indices of earlier nodes, or numbers that belong to it. */
export type Node = readonly (string | number)[];

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
  readonly nodes: readonly Node[];
  /** The index of the node that is the result. */
  readonly result: number;
}

/** The operations of a program in the making. The same operation of the same operands is one node. */
export class Graph {
  readonly nodes: Node[] = [];
  /** How many rows each node has. */
  readonly rows: number[] = [];
  /** Whether a node is the same for all trajectories: made of parameters, constants and the time alone. */
  readonly uniform: boolean[] = [];
  readonly #known = new Map<string, number>();

  /** The index of a node, which is added if it is new. */
  add(node: Node, rows: number, uniform: boolean): number {
    const key = node.join();
    const known = this.#known.get(key);
    if (known !== undefined) return known;
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
    "operations on values work only while a function is traced: inside slope of vectorField, or apply of differentiable";
  throw new SymplecticAdjointError("CALLBACK", message);
}
