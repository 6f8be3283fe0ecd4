// Where in the user's source a traced function went wrong, by the stack of the error.
import { type ErrorDetails, SymplecticAdjointError } from "../checks/errors.js";
import { fix } from "../checks/frozen.js";
import { runUserCode } from "../checks/user-code.js";
import { activeGraph } from "./graph.js";

/** A location in a source file, as the runtime reports it: both numbers from 1. */
type SourceLocation = Required<Pick<ErrorDetails, "file" | "line" | "column">>;

interface StackFrame extends SourceLocation {
  /** The name of the function; empty where it has none. */
  readonly name: string;
}

/** `at name (file:line:column)`, as V8 writes it; code that was evaluated has where that was done before its own place. */
const V8 = /^\s*at (?:(.*?) \((?:eval at .*, )?(.+):(\d+):(\d+)\)|(?:async )?(.+):(\d+):(\d+))$/;
/** `name@file:line:column`, as SpiderMonkey and JavaScriptCore write it. */
const OTHERS = /^(?:([^@:]*)@)?(.+):(\d+):(\d+)$/;
/** Files of the runtime itself. */
const RUNTIME = /^(?:(?:node|ext|deno|bun|internal):|native$)/;

/** The frames of a stack that have a location, the innermost first. */
export function framesOf(stack: unknown): StackFrame[] {
  const lines = typeof stack === "string" ? stack.split("\n") : [];
  // Only V8 has the message before its frames.
  const pattern = lines.some((line) => V8.test(line)) ? V8 : OTHERS;
  return lines.flatMap((text) => {
    const [, name = "", ...parts] = pattern.exec(text) ?? [];
    const [file, line, column] = parts.filter((part) => part !== undefined);
    return file === undefined ? [] : [{ name, file, line: Number(line), column: Number(column) }];
  });
}

/** A file without the query that development servers append. */
const withoutQuery = (file: string) => file.replace(/[?#].*$/, "");

/** A test of whether a file belongs to this package, by one that does: its sources, or the modules in one folder. */
function ownFiles(own: string): (file: string) => boolean {
  const folder = (file: string) => /^.*[\\/]/.exec(withoutQuery(file))?.[0];
  const [, sources] = /^(.*[\\/])trace[\\/]source-location\.ts$/.exec(withoutQuery(own)) ?? [];
  return sources === undefined ? (file) => folder(file) === folder(own) : (file) => file.startsWith(sources);
}

/**
 * The user's frame in a stack, if it can be found: the innermost frame between this package's operations and its call of the traced
 * function. `here` is the stack of that call. In a bundle that also has the user's code, it cannot be found.
 */
export function userLocation(stack: unknown, here: unknown): SourceLocation | undefined {
  const [caller] = framesOf(here);
  if (!caller) return undefined;
  const isOwn = ownFiles(caller.file);
  const frames = framesOf(stack);
  const end = frames.findIndex(({ name, file }) => name === caller.name && file === caller.file);
  const users = frames
    .slice(0, end < 0 ? frames.length : end)
    .filter(({ file }) => !isOwn(file) && !RUNTIME.test(file));
  // Rather in the user's own code than in a library of theirs.
  const found = users.find(({ file }) => !/[\\/]node_modules[\\/]/.test(file)) ?? users[0];
  return found && { file: found.file, line: found.line, column: found.column };
}

/** The last part of a path or an address. */
function baseName(file: string): string {
  if (file.startsWith("data:")) return "data:…";
  return withoutQuery(file).replace(/^.*[\\/](?=.)/, "");
}

/** An error whose message has a location as well, where there is one. */
export function withLocation(
  error: SymplecticAdjointError,
  location: SourceLocation | undefined,
): SymplecticAdjointError {
  if (!location) return error;
  const before = error.message;
  error.message = `${before} (at ${baseName(location.file)}:${location.line}:${location.column})`;
  // V8 has written the message into the stack.
  if (typeof error.stack === "string") error.stack = error.stack.replace(before, () => error.message);
  fix(Object.assign(error, location), ["file", "line", "column"]);
  return error;
}

/** Runs a function that is traced. An error of this package that is thrown in it says where. */
export function traceUserCode<T>(body: () => T): T {
  try {
    const result = runUserCode(body);
    const graph = activeGraph();
    // A function with such a comparison is refused, but where it was called from is known here.
    const [made] = graph.unused.values();
    if (made) graph.unusedAt = userLocation(made.stack, new Error().stack);
    return result;
  } catch (error) {
    if (!(error instanceof SymplecticAdjointError) || error.line !== undefined) throw error;
    throw withLocation(error, userLocation(error.stack, new Error().stack));
  }
}
