// Modules of the runtime's own, where it is Node or one like it.

interface NodeProcess {
  readonly versions?: { readonly node?: string };
  readonly env?: Readonly<Record<string, string | undefined>>;
  getBuiltinModule?(name: string): unknown;
}

/**
 * A module of Node's own, where the runtime gives it by name: test runners and bundlers take an import for one of theirs.
 * Elsewhere `process` may be a stand-in without versions, as in Next.js's edge runtime.
 */
export function builtinAtOnce<M>(name: string): M | undefined {
  const { process } = globalThis as { process?: NodeProcess };
  return process?.versions?.node ? (process.getBuiltinModule?.(name) as M | undefined) : undefined;
}

/** The same module by `import`, for Node before 20.16, which lacks `getBuiltinModule`. */
export async function builtin<M>(name: string): Promise<M> {
  return builtinAtOnce<M>(name) ?? (await import(/* webpackIgnore: true */ /* @vite-ignore */ name));
}

interface Permissions {
  querySync?(of: { readonly name: string; readonly variable?: string }): { readonly state: string };
}

/** Whether Deno allows something as it was started, so that it does not stop to ask; true elsewhere. */
export function isAllowed(name: string, variable?: string): boolean {
  const { Deno } = globalThis as { Deno?: { permissions?: Permissions } };
  const query = variable === undefined ? { name } : { name, variable };
  return (Deno?.permissions?.querySync?.(query).state ?? "granted") === "granted";
}

/** A variable of the environment, where there is one that may be read. */
export function environment(name: string): string | undefined {
  const { process } = globalThis as { process?: NodeProcess };
  return isAllowed("env", name) ? process?.env?.[name] : undefined;
}
