// The WebAssembly instance: which build, instantiated once, and again after a fault.
import { type Bindings, createGlue } from "../../wasm/glue.js";
import { classOf, describe, refused, SymplecticAdjointError, textOf } from "../checks/errors.js";
import { anything, isObject, oneOf, options as readOptions } from "../checks/rules.js";
import { builtin } from "./node.js";

/** The two builds: SIMD of 128 bits, and the same with relaxed SIMD (fused multiply–add). */
export type Simd = "simd128" | "relaxed";

/**
 * What can be instantiated: a WebAssembly.Module (as bundlers and workers import one), the bytes of one, a Response with
 * them, or a URL to fetch or, where it begins with `file:`, to read.
 */
export type WasmSource = object | string;

/** Which build, and from where. */
export interface InitOptions {
  /** The module of the build, where the runtime should not use the one inlined in the package. */
  module?: WasmSource | Promise<WasmSource>;
  /** Which build to use; else relaxed SIMD where the runtime has it. With `module`, which build that is. */
  simd?: Simd;
}

/** An instance with its glue. */
export interface Instance {
  readonly bindings: Bindings;
  readonly memory: WebAssembly.Memory;
  readonly simd: Simd;
  /** Set by a fault: nothing in it can be trusted any more. */
  lost: boolean;
  /** Cuts the glue off a lost instance, so that no finalizer calls into it. */
  readonly cut: () => void;
  /** How deep calls into WebAssembly, and of those into custom vector fields, are nested. */
  calls: number;
  callbacks: number;
  /** Objects given up while a call was under way, to be freed after it. */
  readonly abandoned: { free(): void }[];
  /** What a custom vector field has thrown, on its way through the solver. */
  thrown: { value: unknown } | undefined;
}

interface Compiled {
  readonly module: WebAssembly.Module;
  readonly simd: Simd;
}

let embedded: Partial<Record<Simd, () => Uint8Array<ArrayBuffer>>> = {};
let compiled: Compiled | undefined;
/** What `init` has instantiated for the first use that follows. */
let prepared: Instance | undefined;
let current: Instance | undefined;

/** Hands over the builds that an entry carries. */
export function embed(builds: Record<Simd, () => Uint8Array<ArrayBuffer>>): void {
  embedded = builds;
}

// A function of one instruction each: i8x16.splat, which takes a reference as well, and f32x4.relaxed_madd.
const head = [0, 97, 115, 109, 1, 0, 0, 0];
const probes: Record<Simd, number[]> = {
  simd128: [1, 6, 1, 96, 1, 111, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11],
  relaxed: [1, 8, 1, 96, 3, 123, 123, 123, 1, 123, 3, 2, 1, 0, 10, 13, 1, 11, 0, 32, 0, 32, 1, 32, 2, 253, 133, 2, 11],
};

/** Whether this runtime runs a build. */
function supports(simd: Simd): boolean {
  return typeof WebAssembly === "object" && WebAssembly.validate(new Uint8Array([...head, ...probes[simd]]));
}

const rules = { module: anything<unknown>(), simd: oneOf(["simd128", "relaxed"]) };

/**
 * Compiles and instantiates asynchronously, brings a module of your own, or forces a build. Optional: without it the default
 * entry instantiates its inlined module on first use, which Chrome before 115 allows in workers only. The `slim` entry has
 * none and needs it.
 *
 * @throws `OPTION` after the first use with another build; `FILE` where `module` cannot be read or is something else;
 * `UNSUPPORTED` where the runtime cannot run it, or a Content-Security-Policy forbids it.
 */
export async function init(options: InitOptions = {}): Promise<void> {
  const { simd: wanted, module: source } = readOptions(options, rules);
  const simd = wanted ?? compiled?.simd ?? choose();
  /** Whether there is nothing to be done; another build than the one in use is refused. */
  const isDone = () => {
    if (!current || current.lost) return false;
    if (source === undefined && (wanted === undefined || wanted === current.simd)) return true;
    throw refused("OPTION", "init", "to be called before the first use", `the ${current.simd} build is in use`);
  };
  if (isDone()) return;
  ensureSupport(simd);
  const known = source === undefined && compiled?.simd === simd ? compiled.module : undefined;
  const module =
    known ?? (await compile(source === undefined ? bytesOf(simd) : await (source as InitOptions["module"])));
  if (!WebAssembly.Module.exports(module).some(({ name }) => name === "__wbindgen_start")) {
    throw new SymplecticAdjointError(
      "FILE",
      'module is another module than "symplectic-adjoint/simd.wasm" or relaxed.wasm',
    );
  }
  const made = await instantiate({ module, simd });
  // The first use may have come meanwhile.
  if (isDone()) return;
  compiled = { module, simd };
  prepared = made;
}

/** The module in use, or to be used, compiled without holding this thread up. */
export async function moduleInUse(): Promise<Compiled> {
  if (!compiled) await init();
  return compiled as Compiled;
}

async function compile(source: unknown): Promise<WebAssembly.Module> {
  if (isModule(source)) return source;
  const bytes = await read(source);
  if (![0, 97, 115, 109].every((byte, i) => bytes[i] === byte)) {
    const name = urlOf(source) ?? "module";
    throw new SymplecticAdjointError("FILE", `${name} is no WebAssembly module: it begins with ${start(bytes)}`);
  }
  try {
    // Not compileStreaming: a server may not send the MIME type that it insists on.
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    throw failure("compiled", cause);
  }
}

// A source may be of another realm: a frame's, or that of the runner of a test.

function isModule(source: unknown): source is WebAssembly.Module {
  try {
    WebAssembly.Module.exports(source as WebAssembly.Module);
    return true;
  } catch {
    return false;
  }
}

const isBuffer = (source: unknown): source is ArrayBuffer => classOf(source) === "ArrayBuffer";
const isResponse = (source: object): source is Response => "ok" in source && "arrayBuffer" in source;

/** An address as a text. */
function urlOf(source: unknown): string | undefined {
  return typeof source === "string" ? source : isObject(source) ? (source as { href?: string }).href : undefined;
}

/** How a file begins, to tell what it is instead: a page for all addresses, as servers of applications send it, or nothing. */
function start(bytes: Uint8Array): string {
  return bytes.length === 0 ? "nothing" : JSON.stringify(String.fromCharCode(...bytes.subarray(0, 15)));
}

async function read(source: unknown): Promise<Uint8Array<ArrayBuffer>> {
  const url = urlOf(source);
  if (typeof url === "string") return fetched(url);
  if (isBuffer(source)) return new Uint8Array(source);
  if (ArrayBuffer.isView(source)) {
    return new Uint8Array(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength);
  }
  if (!isObject(source) || !isResponse(source)) {
    throw refused("OPTION", "module", "a WebAssembly.Module, bytes, a Response or a URL", describe(source));
  }
  if (!source.ok) {
    const message = `${source.url || "the Response"} answered ${source.status} ${source.statusText}`.trim();
    throw new SymplecticAdjointError("FILE", `${message}, and not a WebAssembly module`);
  }
  return new Uint8Array(await source.arrayBuffer());
}

async function fetched(url: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    if (!url.startsWith("file:")) return await read(await fetch(url));
    const files = await builtin<{ readFile(url: URL): Promise<Uint8Array<ArrayBuffer>> }>("node:fs/promises");
    return await files.readFile(new URL(url));
  } catch (cause) {
    if (cause instanceof SymplecticAdjointError) throw cause;
    throw new SymplecticAdjointError("FILE", `${url} could not be read: ${textOf(cause)}`, {}, { cause });
  }
}

function choose(): Simd {
  return supports("relaxed") ? "relaxed" : "simd128";
}

/** What the glue needs beside WebAssembly; a page simulated for tests may lack it. */
const NEEDED = ["TextDecoder", "TextEncoder"];

function ensureSupport(simd: Simd): void {
  const missing = NEEDED.find((name) => !(name in globalThis));
  if (missing !== undefined) {
    const message = `this runtime has no ${missing}; where it is Node with a page simulated, as by jsdom in Jest, set globalThis.${missing} to that of node:util before the first use`;
    throw new SymplecticAdjointError("UNSUPPORTED", message);
  }
  if (supports(simd)) return;
  const what = {
    simd128: "WebAssembly with SIMD and reference types, as Chrome 96, Firefox 92, Safari 16.4 and Node 20 have it",
    relaxed: "WebAssembly with relaxed SIMD; the build simd128 runs in more of them",
  };
  throw new SymplecticAdjointError("UNSUPPORTED", `this runtime has no ${what[simd]}`);
}

function bytesOf(simd: Simd): Uint8Array<ArrayBuffer> {
  const bytes = embedded[simd]?.();
  if (bytes) return bytes;
  const message =
    'this entry carries no module: await init({ module }) first, with what "symplectic-adjoint/simd.wasm" resolves to';
  throw new SymplecticAdjointError("UNSUPPORTED", message);
}

/** The error of a module that the runtime does not take, with what can be done about it. */
function failure(what: "compiled" | "instantiated", cause: unknown): SymplecticAdjointError {
  if (cause instanceof SymplecticAdjointError) return cause;
  const text = textOf(cause).replace(/\.$/, "");
  if (/out of memory|allocate memory/i.test(text)) {
    return new SymplecticAdjointError("OUT_OF_MEMORY", `no memory for WebAssembly: ${text}`, {}, { cause });
  }
  const hints: [sign: RegExp, hint: string][] = [
    [
      /unsafe-eval|Content Security Policy|CSP|Code generation/i,
      "; a page allows it by 'wasm-unsafe-eval' in script-src of its Content-Security-Policy, and where no bytes are " +
        "compiled at all, as in Cloudflare Workers and other edge runtimes, init of symplectic-adjoint/slim takes an " +
        "imported module",
    ],
    [/main thread/i, "; await init() before the first use, and again after a fault: it works asynchronously"],
  ];
  const [, hint = ""] = hints.find(([sign]) => sign.test(text)) ?? [];
  const message = `WebAssembly could not be ${what}: ${text}${hint}`;
  return new SymplecticAdjointError("UNSUPPORTED", message, {}, { cause });
}

/** The instance, made by `init` or on first use, and anew after a fault. */
export function instance(): Instance {
  if (current && !current.lost) return current;
  current = prepared ?? instantiateNow();
  prepared = undefined;
  return current;
}

function instantiateNow(): Instance {
  if (!compiled) {
    const simd = choose();
    ensureSupport(simd);
    try {
      compiled = { module: new WebAssembly.Module(bytesOf(simd)), simd };
    } catch (cause) {
      throw failure("compiled", cause);
    }
  }
  const glue = createGlue();
  try {
    return started(glue, new WebAssembly.Instance(compiled.module, importsOf(compiled.module, glue)), compiled.simd);
  } catch (cause) {
    throw failure("instantiated", cause);
  }
}

async function instantiate({ module, simd }: Compiled): Promise<Instance> {
  const glue = createGlue();
  try {
    return started(glue, await WebAssembly.instantiate(module, importsOf(module, glue)), simd);
  } catch (cause) {
    throw failure("instantiated", cause);
  }
}

type Glue = ReturnType<typeof createGlue>;

function importsOf(module: WebAssembly.Module, glue: Glue): WebAssembly.Imports {
  const names = WebAssembly.Module.imports(module).map(({ module }) => module);
  return Object.fromEntries(names.map((name) => [name, glue as unknown as WebAssembly.ModuleImports]));
}

/** An instance with its glue, ready for calls. */
function started(glue: Glue, { exports }: WebAssembly.Instance, simd: Simd): Instance {
  glue.__wbg_set_wasm(exports);
  (exports.__wbindgen_start as () => void)();
  return {
    bindings: glue,
    memory: exports.memory as WebAssembly.Memory,
    simd,
    lost: false,
    cut: () => glue.__wbg_set_wasm(new Proxy({}, { get: () => () => 0 })),
    calls: 0,
    callbacks: 0,
    abandoned: [],
    thrown: undefined,
  };
}

/** The build in use. */
export function simd(): Simd {
  return instance().simd;
}
