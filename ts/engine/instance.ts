// Which engine computes: chosen once, and instantiated anew after a fault.
import { refused, SymplecticAdjointError } from "../checks/errors.js";
import { anything, argument, oneOf, options as readOptions } from "../checks/rules.js";
import type { Engine, EngineKind, EngineSource, Instance, Simd } from "./engine.js";
import { type AddonResult, openAddon } from "./native.js";
import { environment } from "./node.js";
import { instantiateWasm, type PreparedInstance, prepareWasm, type WasmSource } from "./wasm.js";

/** Which engine to use, and for WebAssembly which build and module. */
export interface InitOptions {
  /**
   * The engine; default: the native addon if it is installed and the runtime accepts it, else WebAssembly. The environment
   * variable `SYMPLECTIC_ADJOINT_ENGINE` does the same if nothing is given here.
   */
  engine?: EngineKind | undefined;
  /** The module of the WebAssembly build, if the runtime should not use the one inlined in the package. */
  module?: WasmSource | Promise<WasmSource> | undefined;
  /** Which WebAssembly build to use; default: relaxed SIMD if the runtime has it. With `module`, which build that is. */
  simd?: Simd | undefined;
}

const kindRule = oneOf(["native", "wasm"]);
const rules = { engine: kindRule, module: anything<unknown>(), simd: oneOf(["simd128", "relaxed"]) };

/** The engine chosen; after that, faults do not change it. */
let kind: EngineKind | undefined;
/** What `init` has instantiated for the first use that follows. */
let prepared: PreparedInstance | undefined;
let current: Instance | undefined;
/** Why the addon cannot be loaded, if so; the message of an entry without a loader. */
let loadOnce: () => AddonResult = () => ({ causes: ["symplectic-adjoint/slim loads WebAssembly only"] });

/** Hands over the loader of addons that an entry has. */
export function setNativeLoader(load: () => AddonResult): void {
  let tried: AddonResult | undefined;
  loadOnce = () => {
    tried ??= load();
    return tried;
  };
}

/**
 * Prepares the package before its first use: chooses the engine, compiles and instantiates WebAssembly asynchronously, takes a module of
 * your own, or forces a build. Optional: without it, the default entry takes the native addon if it is installed, or else instantiates its
 * inlined module on first use, which Chrome before 115 allows in workers only. The `slim` entry has no module and needs `init`. `module`
 * and `simd` imply WebAssembly.
 *
 * @throws `OPTION` after the first use with another engine or build; `FILE` if `module` cannot be read or is not a module of this package;
 *   `UNSUPPORTED` if the runtime cannot run it, or a Content-Security-Policy forbids it.
 */
export async function init(options: InitOptions = {}): Promise<void> {
  const { engine, simd, module } = readOptions(options, rules);
  const isWasm = simd !== undefined || module !== undefined;
  if (isWasm && engine === "native") {
    throw refused("OPTION", "engine", "wasm or no value, since simd and module are for WebAssembly", "native");
  }
  const wanted = isWasm ? "wasm" : engine;
  /** Whether there is nothing to be done; another engine or build than the one in use is refused. */
  const isDone = () => {
    if (!current || current.lost) return false;
    const isOther = (wanted ?? current.kind) !== current.kind || (simd ?? current.simd) !== current.simd;
    if (module === undefined && !isOther) return true;
    const inUse = current.kind === "native" ? "the native engine is in use" : `the ${current.simd} build is in use`;
    throw refused("OPTION", "init", "to be called before the first use", inUse);
  };
  if (isDone()) return;
  const chosen = chooseAddon(wanted);
  const made = chosen ? { take: () => chosen } : await prepareWasm(simd, module as InitOptions["module"]);
  // The first use may have come meanwhile.
  if (isDone()) return;
  kind = chosen ? "native" : "wasm";
  prepared = made;
}

/** The addon, if it is wanted and can be loaded; undefined for WebAssembly. */
function chooseAddon(given: EngineKind | undefined): Instance | undefined {
  const wanted = given ?? kind ?? fromEnvironment();
  if (wanted === "wasm") return undefined;
  const { instance, causes } = loadOnce();
  if (instance || wanted === undefined) return instance;
  throw new SymplecticAdjointError("UNSUPPORTED", `the native engine could not be loaded: ${causes.join("; ")}`);
}

const VARIABLE = "SYMPLECTIC_ADJOINT_ENGINE";

function fromEnvironment(): EngineKind | undefined {
  return argument<EngineKind | undefined>(VARIABLE, environment(VARIABLE) || undefined, kindRule);
}

/** The engine, made by `init` or on first use, and anew after a fault. */
export function instance(): Instance {
  if (current && !current.lost) return current;
  current = prepared?.take() ?? chooseAddon(undefined) ?? instantiateWasm();
  prepared = undefined;
  kind = current.kind;
  return current;
}

/** The source from which a worker makes the same engine, without blocking this thread. */
export async function sourceInUse(): Promise<EngineSource> {
  if ((!current || current.lost) && !prepared) await init();
  return instance().source;
}

/** Takes the engine of another thread. */
export async function adoptEngine(source: EngineSource): Promise<void> {
  if (source.kind === "wasm") return init({ module: source.module, simd: source.simd });
  setNativeLoader(() => openAddon(source.path));
  await init({ engine: "native" });
}

/** The engine in use: the native addon or WebAssembly, and the width of its registers. The first call chooses it, as `init` says. */
export function engine(): Engine {
  const { kind, simd, registerBits } = instance();
  return { kind, simd, registerBits };
}

/** The WebAssembly build in use; undefined with the native engine: see `engine`. */
export function simd(): Simd | undefined {
  return instance().simd;
}
