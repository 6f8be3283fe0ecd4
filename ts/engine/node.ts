// Modules of the runtime's own, where it is Node or one like it.

interface Process {
  readonly versions?: { readonly node?: string };
  getBuiltinModule?(name: string): unknown;
}

/**
 * A module of Node's own, where the runtime gives it by name: test runners and bundlers take an import for one of theirs.
 * Elsewhere `process` may be a stand-in without versions, as in Next.js's edge runtime.
 */
export function builtinAtOnce<M>(name: string): M | undefined {
  const { process } = globalThis as { process?: Process };
  return process?.versions?.node ? (process.getBuiltinModule?.(name) as M | undefined) : undefined;
}

/** The same, imported where that cannot be had: by Node before 20.16. */
export async function builtin<M>(name: string): Promise<M> {
  return builtinAtOnce<M>(name) ?? (await import(/* webpackIgnore: true */ /* @vite-ignore */ name));
}
