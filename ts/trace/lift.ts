// Programs whose parameters are arguments: so each trajectory has its own, and a gradient tells them apart.
import type { Node, Program } from "./graph.js";

/**
 * The same program with its parameters as arguments, behind the first `own` of those that it has. Undefined where the layers of a network
 * use parameters, as those are the same for all trajectories.
 */
export function lifted(program: Program, own: number): Program | undefined {
  if (program.nodes.some(([name]) => name === "dense")) return undefined;
  const { parameters } = program;
  const nodes = program.nodes.map((node): Node => {
    const [name, row, rows] = node as readonly [string, number, number];
    if (name === "parameter") return ["argument", own + row, rows];
    return name === "argument" && row >= own ? ["argument", row + parameters, rows] : node;
  });
  return { ...program, parameters: 0, arguments: program.arguments + parameters, nodes };
}
