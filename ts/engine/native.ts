// The native engine: an addon of this platform, from the package that brings it or from a build in a clone.
import type { Bindings } from "../../wasm/glue.js";
import { type ArrayOf, constructors, zeros } from "../checks/arrays.js";
import { textOf } from "../checks/errors.js";
import type { Instance } from "./engine.js";
import { internalError } from "./fault.js";
import { builtinAtOnce, isAllowed } from "./node.js";
import { isOverflow, NATIVE, needStack } from "./stack.js";

// The version of the package, put in when it is built.
declare const VERSION: string;

/** The result of loading an addon: an engine, or the reasons why it could not be loaded. */
export interface AddonResult {
  readonly instance?: Instance;
  readonly causes: readonly string[];
}

/** The functions that the addon has besides the bindings of WebAssembly. */
interface Addon extends Omit<Bindings, "ensureReserve"> {
  version(): string;
  registerBits(): number;
  /** Throws where the runtime has no views of an addon's memory. */
  ensureViews(): void;
  read(pointer: number, target: ArrayBufferView): void;
  write(pointer: number, numbers: ArrayBufferView): void;
}

type Require = ((name: string) => unknown) & { resolve(name: string): string };
type Modules = { createRequire(from: string): Require };

/** Loads the addon for this platform, as seen from a module of the package. */
export function loadNative(from: string): AddonResult {
  const causes: string[] = [];
  try {
    const require = requireFrom(from);
    const platform = platformOf();
    for (const name of [`@symplectic-adjoint/${platform}`, `../native/symplectic-adjoint.${platform}.node`]) {
      try {
        return { instance: createInstance(require(name), require.resolve(name)), causes };
      } catch (cause) {
        causes.push(`${name}: ${firstLine(cause)}`);
      }
    }
  } catch (cause) {
    causes.push(firstLine(cause));
  }
  return { causes };
}

/** Loads the addon of a file. */
export function openAddon(path: string): AddonResult {
  try {
    return { instance: createInstance(requireFrom(path)(path), path), causes: [] };
  } catch (cause) {
    return { causes: [`${path}: ${firstLine(cause)}`] };
  }
}

// What Node says of a module that is not there goes on with who required it.
const firstLine = (cause: unknown) => textOf(cause).split("\n", 1)[0] as string;

function requireFrom(path: string): Require {
  if (!isAllowed("ffi") || !isAllowed("read")) throw new Error("Deno runs addons with --allow-ffi and --allow-read");
  const modules = builtinAtOnce<Modules>("node:module");
  if (!modules)
    throw new Error(
      "this runtime runs no addons, or has no process.getBuiltinModule, as Node 20.16, Deno 2 and Bun have it",
    );
  return modules.createRequire(path);
}

interface PlatformProcess {
  readonly platform: string;
  readonly arch: string;
  readonly report?: { excludeNetwork: boolean | undefined; getReport(): { header?: { glibcVersionRuntime?: string } } };
}

/** The name of this platform, as the packages of addons have it. */
function platformOf(): string {
  const { process } = globalThis as unknown as { process: PlatformProcess };
  const { platform, arch } = process;
  if (platform === "linux") return `linux-${arch}-${isMusl(process) ? "musl" : "gnu"}`;
  return platform === "win32" ? `win32-${arch}-msvc` : `${platform}-${arch}`;
}

function isMusl(process: PlatformProcess): boolean {
  try {
    const files = builtinAtOnce<{ readFileSync(path: string, encoding: string): string }>("node:fs");
    if (files) return files.readFileSync("/usr/bin/ldd", "latin1").includes("musl");
  } catch {
    // A system without it.
  }
  const { report } = process;
  if (!report) return false;
  const { excludeNetwork } = report;
  // Else it looks up the name of each connection.
  report.excludeNetwork = true;
  try {
    return report.getReport().header?.glibcVersionRuntime === undefined;
  } finally {
    report.excludeNetwork = excludeNetwork;
  }
}

interface WorkerThreads {
  markAsUntransferable(value: object): void;
}

/** An addon, ready for calls. */
function createInstance(exports: unknown, path: string): Instance {
  const addon = exports as Addon;
  // Its objects belong to the realm in which it was loaded; in another one, such as a test runner's, they would not match.
  if (!(addon instanceof Object)) throw new Error("this realm is not the one in which addons are loaded");
  const version = addon.version?.();
  if (version !== VERSION) throw new Error(`its version is ${version}, but that of the package is ${VERSION}`);
  addon.ensureViews();
  // Node and Bun never move an addon's memory to another thread; Deno must be asked not to. (Node 24 would crash on exit if asked.)
  const threads = "Deno" in globalThis ? builtinAtOnce<WorkerThreads>("node:worker_threads") : undefined;
  const views = new WeakMap<object, Float32Array | Float64Array>();
  return {
    kind: "native",
    simd: undefined,
    registerBits: addon.registerBits(),
    // Memory needs no reserve here, as every call asks.
    bindings: { ...addon, ensureReserve: () => true },
    source: { kind: "native", path },
    read(dtype, pointer, length) {
      const numbers = zeros(dtype, length);
      if (length > 0) addon.read(pointer, numbers);
      return numbers;
    },
    write(_, pointer, numbers) {
      if (numbers.length > 0) addon.write(pointer, numbers);
    },
    view(dtype, owner, _, length) {
      const known = views.get(owner);
      if (known) return known as ArrayOf<typeof dtype>;
      if (length === 0) return zeros(dtype, 0);
      const buffer = (owner as { memory(): ArrayBuffer }).memory();
      threads?.markAsUntransferable(buffer);
      const view = new constructors[dtype](buffer) as ArrayOf<typeof dtype>;
      views.set(owner, view);
      return view;
    },
    steady: (array) => array,
    // Where JavaScript's own functions are called with no stack left, N-API ends the process.
    needStack: () => needStack(NATIVE),
    wasmBytes: 0,
    // Nothing is lost: a panic is caught, and unwinds.
    fault: (error) => (isOverflow(error) ? error : internalError(error)),
    lost: false,
    calls: 0,
    callbacks: 0,
    abandoned: [],
    thrown: undefined,
  };
}
