// What a task is, where it is done.
import { refused } from "../checks/errors.js";
import { decode } from "./codec.js";

/** The name of the solve that a task is about, where it leaves one or needs one. */
export function solveOf(body: Uint8Array, session: string): string | undefined {
  const { solve } = decode(body) ?? {};
  return typeof solve === "string" ? `${session} ${solve}` : undefined;
}

/** Does tasks, with what earlier ones have left. */
export class Work {
  constructor(readonly memory: number) {}

  do(body: Uint8Array, _values: readonly Uint8Array[], _session: string): Uint8Array {
    const { kind } = decode(body) ?? {};
    throw refused("OPTION", "task", "a known kind of task", String(kind));
  }

  forget(): void {}
}
