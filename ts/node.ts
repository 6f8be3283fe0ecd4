// Modules of the runtime's own, where it is Node or one like it.

const { process } = globalThis as {
  process?: { getBuiltinModule?(name: string): unknown };
};

/**
 * A module of Node's own. Asked for by name and not imported where the runtime can do so, as test runners and bundlers take
 * an import for one of theirs; the import is for Node before 20.16.
 */
export async function builtin<M>(name: string): Promise<M> {
  return (process?.getBuiltinModule?.(name) ?? (await import(/* webpackIgnore: true */ /* @vite-ignore */ name))) as M;
}
