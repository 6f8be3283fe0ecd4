// The WebAssembly engine: which build, and how it is compiled and instantiated.
import { createGlue } from "../../wasm/glue.js";
import { type ArrayOf, constructors, type Dtype } from "../checks/arrays.js";
import { classOf, describe, refused, SymplecticAdjointError, textOf } from "../checks/errors.js";
import { isObject } from "../checks/rules.js";
import type { Instance, Simd } from "./engine.js";
import { internalError } from "./fault.js";
import { builtin } from "./node.js";
import { needStack } from "./stack.js";

/**
 * What can be instantiated: a WebAssembly.Module (as bundlers and workers import one), the bytes of one, a Response with them, or a URL
 * to fetch, or to read if it begins with `file:`.
 */
export type WasmSource = object | string;

interface Compiled {
  readonly module: WebAssembly.Module;
  readonly simd: Simd;
}

let embedded: ((simd: Simd) => Uint8Array<ArrayBuffer>) | undefined;
let compiled: Compiled | undefined;

/** Hands over the builds that an entry carries. */
export function setEmbeddedBuilds(bytesOf: (simd: Simd) => Uint8Array<ArrayBuffer>): void {
  embedded = bytesOf;
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

/** Instantiates without holding this thread up: the build wanted, or the one compiled before; from another module if given. */
export async function prepareWasm(
  wanted: Simd | undefined,
  source: WasmSource | Promise<WasmSource> | undefined,
): Promise<PreparedInstance> {
  const simd = wanted ?? compiled?.simd ?? chooseBuild();
  ensureSupport(simd);
  const known = source === undefined && compiled?.simd === simd ? compiled.module : undefined;
  const module = known ?? (await compile(source === undefined ? bytesOfSelected(simd) : await source));
  if (!WebAssembly.Module.exports(module).some(({ name }) => name === "__wbindgen_start")) {
    throw new SymplecticAdjointError("FILE", 'module is neither "symplectic-adjoint/simd.wasm" nor relaxed.wasm');
  }
  const made = { module, simd };
  const instance = await instantiate(made);
  return {
    take: () => {
      compiled = made;
      return instance;
    },
  };
}

/** An instance made ahead of its use. As soon as it is taken, later instances are of its build too. */
export interface PreparedInstance {
  take(): Instance;
}

async function compile(source: unknown): Promise<WebAssembly.Module> {
  if (isModule(source)) return source;
  const bytes = await readBytes(source);
  if (![0, 97, 115, 109].every((byte, i) => bytes[i] === byte)) {
    const name = urlOf(source) ?? "module";
    throw new SymplecticAdjointError(
      "FILE",
      `${name} is not a WebAssembly module: it begins with ${firstBytes(bytes)}`,
    );
  }
  try {
    // Not compileStreaming: a server may not send the MIME type that it insists on.
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    throw wasmError("compiled", cause);
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

/** How a file begins, to say what it is instead: often a page that the server sends for every address, or nothing. */
function firstBytes(bytes: Uint8Array): string {
  return bytes.length === 0 ? "nothing" : JSON.stringify(String.fromCharCode(...bytes.subarray(0, 15)));
}

async function readBytes(source: unknown): Promise<Uint8Array<ArrayBuffer>> {
  const url = urlOf(source);
  if (typeof url === "string") return fetchBytes(url);
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

async function fetchBytes(url: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    if (!url.startsWith("file:")) return await readBytes(await fetch(url));
    const files = await builtin<{ readFile(url: URL): Promise<Uint8Array<ArrayBuffer>> }>("node:fs/promises");
    return await files.readFile(new URL(url));
  } catch (cause) {
    if (cause instanceof SymplecticAdjointError) throw cause;
    throw new SymplecticAdjointError("FILE", `${url} could not be read: ${textOf(cause)}`, {}, { cause });
  }
}

function chooseBuild(): Simd {
  return supports("relaxed") ? "relaxed" : "simd128";
}

/** What the glue needs besides WebAssembly; a simulated page in tests may lack it. */
const NEEDED = ["TextDecoder", "TextEncoder"];

function ensureSupport(simd: Simd): void {
  const missing = NEEDED.find((name) => !(name in globalThis));
  if (missing !== undefined) {
    const message = `this runtime has no ${missing}; if it is Node simulating a page, as with jsdom in Jest, set globalThis.${missing} to the one from node:util before the first use`;
    throw new SymplecticAdjointError("UNSUPPORTED", message);
  }
  if (supports(simd)) return;
  const what = {
    simd128: "WebAssembly with SIMD and reference types, which Chrome 96, Firefox 92, Safari 16.4 and Node 20 have",
    relaxed: "WebAssembly with relaxed SIMD; the build simd128 runs in more runtimes",
  };
  throw new SymplecticAdjointError("UNSUPPORTED", `this runtime has no ${what[simd]}`);
}

function bytesOfSelected(simd: Simd): Uint8Array<ArrayBuffer> {
  const bytes = embedded?.(simd);
  if (bytes) return bytes;
  const message =
    'this entry carries no module: await init({ module }) first, with what "symplectic-adjoint/simd.wasm" resolves to';
  throw new SymplecticAdjointError("UNSUPPORTED", message);
}

/** The error of a module that the runtime does not take, with what can be done about it. */
function wasmError(what: "compiled" | "instantiated", cause: unknown): SymplecticAdjointError {
  if (cause instanceof SymplecticAdjointError) return cause;
  const text = textOf(cause).replace(/\.$/, "");
  if (/out of memory|allocate memory/i.test(text)) {
    return new SymplecticAdjointError("OUT_OF_MEMORY", `no memory for WebAssembly: ${text}`, {}, { cause });
  }
  const hints: [sign: RegExp, hint: string][] = [
    [
      /unsafe-eval|Content Security Policy|CSP|Code generation/i,
      "; a page allows it with 'wasm-unsafe-eval' in the script-src of its Content-Security-Policy; where no bytes are " +
        "compiled at all, as in Cloudflare Workers and other edge runtimes, init of symplectic-adjoint/slim takes an " +
        "imported module",
    ],
    [/main thread/i, "; await init() before the first use, and again after a fault: it works asynchronously"],
  ];
  const [, hint = ""] = hints.find(([sign]) => sign.test(text)) ?? [];
  const message = `WebAssembly could not be ${what}: ${text}${hint}`;
  return new SymplecticAdjointError("UNSUPPORTED", message, {}, { cause });
}

/** An instance at once: of what was compiled before, else of the build that this entry carries. */
export function instantiateWasm(): Instance {
  if (!compiled) {
    const simd = chooseBuild();
    ensureSupport(simd);
    try {
      compiled = { module: new WebAssembly.Module(bytesOfSelected(simd)), simd };
    } catch (cause) {
      throw wasmError("compiled", cause);
    }
  }
  const glue = createGlue();
  try {
    const { exports } = new WebAssembly.Instance(compiled.module, importsOf(compiled.module, glue));
    return createInstance(glue, exports, compiled);
  } catch (cause) {
    throw wasmError("instantiated", cause);
  }
}

async function instantiate(compiled: Compiled): Promise<Instance> {
  const glue = createGlue();
  try {
    const { exports } = await WebAssembly.instantiate(compiled.module, importsOf(compiled.module, glue));
    return createInstance(glue, exports, compiled);
  } catch (cause) {
    throw wasmError("instantiated", cause);
  }
}

type Glue = ReturnType<typeof createGlue>;

function importsOf(module: WebAssembly.Module, glue: Glue): WebAssembly.Imports {
  const names = WebAssembly.Module.imports(module).map(({ module }) => module);
  return Object.fromEntries(names.map((name) => [name, glue as unknown as WebAssembly.ModuleImports]));
}

/** An instance with its glue, ready for calls. */
function createInstance(glue: Glue, exports: WebAssembly.Exports, { module, simd }: Compiled): Instance {
  glue.__wbg_set_wasm(exports);
  (exports.__wbindgen_start as () => void)();
  const memory = exports.memory as WebAssembly.Memory;
  const view = <D extends Dtype>(dtype: D, pointer: number, length: number) =>
    new constructors[dtype](memory.buffer, pointer, length) as ArrayOf<D>;
  return {
    kind: "wasm",
    simd,
    registerBits: 128,
    bindings: glue,
    source: { kind: "wasm", module, simd },
    read: (dtype, pointer, length) => view(dtype, pointer, length).slice() as ArrayOf<typeof dtype>,
    write: (dtype, pointer, numbers) => view(dtype, pointer, numbers.length).set(numbers),
    view: (dtype, _, pointer, length) => view(dtype, pointer, length),
    // A view of WebAssembly memory, such as a field's parameters, does not stay whole.
    steady: (array) => (array.buffer === memory.buffer ? (array.slice() as typeof array) : array),
    needStack,
    get wasmBytes() {
      return memory.buffer.byteLength;
    },
    fault(error) {
      this.lost = true;
      // Cut off, so that no finalizer calls into it.
      glue.__wbg_set_wasm(new Proxy({}, { get: () => () => 0 }));
      return internalError(error, "; its fields are lost, new ones will work");
    },
    lost: false,
    calls: 0,
    callbacks: 0,
    abandoned: [],
    thrown: undefined,
  };
}
