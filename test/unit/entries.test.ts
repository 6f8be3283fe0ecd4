// Each in a process of its own: which module an entry takes is settled on first use. Those of WebAssembly.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { onWasm } from "./helpers.js";

const folder = fileURLToPath(new URL("..", import.meta.url));

function node(code: string, flags: string[] = []): string {
  const gradient = `const gradient = (api) => api.vjp(api.mlp({ widths: [2, 4, 2] }), Float32Array.of(1, 0), [0, 1])
    .pullback(Float32Array.of(0, 0, 1, 1)).y0.length;
    const code = (body) => { try { return body(); } catch (error) { return error.code + ": " + error.message; } };`;
  return execFileSync(process.execPath, [...flags, "--input-type=module", "-e", gradient + code], {
    cwd: folder,
    encoding: "utf8",
    env: onWasm,
  }).trim();
}

test("the default entry needs nothing", () => {
  expect(node(`import * as api from "symplectic-adjoint"; console.log(gradient(api));`)).toBe("2");
});

test("the slim entry takes its module from outside", () => {
  const read = `const url = new URL(import.meta.resolve("symplectic-adjoint/simd.wasm"));
    const bytes = (await import("node:fs")).readFileSync(url);`;
  const slim = `import * as api from "symplectic-adjoint/slim";`;
  expect(node(`${slim} console.log(code(() => gradient(api)));`)).toMatch(/^UNSUPPORTED: .*init\(\{ module \}\)/);
  const options = [
    "url",
    "url.href",
    "bytes",
    "await WebAssembly.compile(bytes)",
    "Promise.resolve(bytes)",
    "new Response(bytes)",
  ];
  for (const module of options) {
    const init = `await api.init({ module: ${module}, simd: "simd128" });`;
    expect(node(`${slim} ${read} ${init} console.log(gradient(api), api.simd());`)).toBe("2 simd128");
  }
  const wrong = `await api.init({ module: {} }).catch((error) => console.log(error.code));`;
  expect(node(`${slim} ${wrong}`)).toBe("OPTION");
  const failures = {
    'new Response("no", { status: 404 })': /^FILE: .*answered 404/,
    'new Response("<!doctype html>", { headers: { "content-type": "text/html" } })': /^FILE: .*"<!doctype html>"/,
    "Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)": /^FILE: .*module is neither/,
    "new Uint8Array()": /^FILE: .*nothing/,
    'new URL("missing.wasm", url)': /^FILE: .*missing.wasm could not be read/,
    "bytes.subarray(0, 5000)": /^UNSUPPORTED: .*could not be compiled/,
  };
  for (const [module, message] of Object.entries(failures)) {
    const failing = `await api.init({ module: ${module} }).catch(({ code, message }) => console.log(code + ": " + message));`;
    expect(node(`${slim} ${read} ${failing}`), module).toMatch(message);
  }
});

test("a runtime without SIMD is told so", () => {
  const without = "WebAssembly.validate = () => false;";
  const tried = `import * as api from "symplectic-adjoint"; ${without} console.log(code(() => gradient(api)));`;
  expect(node(tried)).toMatch(/^UNSUPPORTED: .*SIMD/);
});

test("where WebAssembly may not be compiled, the error names the directive", () => {
  const blocked = `WebAssembly.Module = class { constructor() {
    throw new WebAssembly.CompileError("Refused to compile: 'unsafe-eval' is not an allowed source of script"); } };`;
  const tried = `import * as api from "symplectic-adjoint"; ${blocked} console.log(code(() => gradient(api)));`;
  expect(node(tried)).toMatch(/^UNSUPPORTED: .*wasm-unsafe-eval/);
});

test("both builds come out whole, by the runtime's own decoder or the package's", () => {
  for (const [simd, file] of [
    ["simd128", "simd"],
    ["relaxed", "relaxed"],
  ]) {
    for (const without of ["", "process.getBuiltinModule = undefined;"]) {
      const compile = `const compile = WebAssembly.compile; const given = [];
        WebAssembly.compile = (bytes) => { given.push(Buffer.from(bytes)); return compile(bytes); };`;
      const read = `const url = import.meta.resolve("symplectic-adjoint/${file}.wasm");
        const whole = (await import("node:fs")).readFileSync(new URL(url));`;
      const tried = `${without} const api = await import("symplectic-adjoint"); WebAssembly.validate = () => true; ${compile} ${read}
        await api.init({ simd: "${simd}" }).catch(() => {}); console.log(given.some((bytes) => bytes.equals(whole)));`;
      expect(node(tried)).toBe("true");
    }
  }
});

// As Chrome before 115 refuses what is larger than 4 KB on the main thread, and a fault in the glue.
const refusing = `
  const small = new WeakSet();
  const refuse = (name) => {
    throw new RangeError("WebAssembly." + name + " is disallowed on the main thread, if the buffer size is larger than 4KB.");
  };
  WebAssembly.Module = class extends WebAssembly.Module {
    constructor(bytes) { super(bytes.byteLength > 4096 ? refuse("Module") : bytes); small.add(this); }
  };
  WebAssembly.Instance = class extends WebAssembly.Instance {
    constructor(module, imports) { super(small.has(module) ? module : refuse("Instance"), imports); }
  };
  const trap = (api) => {
    const { subarray } = Float32Array.prototype;
    Float32Array.prototype.subarray = () => { throw new WebAssembly.RuntimeError("unreachable"); };
    const said = code(() => gradient(api));
    Float32Array.prototype.subarray = subarray;
    return said.slice(0, 8);
  };`;

test("where the main thread may not compile, init does it, and again after a fault", () => {
  const tried = `import * as api from "symplectic-adjoint"; ${refusing}
    console.log(code(() => gradient(api))); await api.init();
    console.log(gradient(api), trap(api)); console.log(code(() => gradient(api))); await api.init(); console.log(gradient(api));
    const pool = await api.parallel({ workers: 1 });
    console.log((await pool.odeint(api.mlp({ widths: [2, 2] }), new Float32Array(2), [0, 1])).y.length); pool.close();`;
  const advice = /^UNSUPPORTED: .*main thread.*; await init\(\) before the first use, and again after a fault/;
  const [first, second, third, ...rest] = node(tried).split("\n");
  expect(first).toMatch(advice);
  expect(second).toBe("2 INTERNAL");
  expect(third).toMatch(advice);
  expect(rest).toEqual(["2", "4"]);
  const slim = `import * as api from "symplectic-adjoint/slim"; const url = import.meta.resolve("symplectic-adjoint/simd.wasm");
    ${refusing} await api.init({ module: url, simd: "simd128" }); console.log(trap(api)); await api.init(); console.log(gradient(api));`;
  expect(node(slim)).toBe("INTERNAL\n2");
});

test("a first use while init is under way keeps its build", () => {
  const race = `import * as api from "symplectic-adjoint"; const url = import.meta.resolve("symplectic-adjoint/simd.wasm");
    const [same, other] = [api.init(), api.init({ module: url, simd: "simd128" }).catch((error) => error.code)];
    console.log(gradient(api)); await same; console.log(await other); console.log(gradient(api));`;
  expect(node(race)).toBe("2\nOPTION\n2");
});

test("a runtime without what the glue needs is told so", () => {
  for (const name of ["TextDecoder", "TextEncoder"]) {
    const tried = `import * as api from "symplectic-adjoint"; const { ${name} } = globalThis; delete globalThis.${name};
      console.log(code(() => gradient(api))); await api.init().catch(({ code }) => console.log(code));
      globalThis.${name} = ${name}; console.log(gradient(api));`;
    expect(node(tried)).toMatch(new RegExp(`^UNSUPPORTED: .* no ${name};.*node:util.*\nUNSUPPORTED\n2$`));
  }
});

test("a pool in a runtime without workers says so, and blames no policy", () => {
  // A stand-in for process, as in Next.js's edge runtime.
  const stand = `Object.defineProperty(process, "versions", { value: {} });
    process.getBuiltinModule = () => { throw new Error("not supported in the Edge Runtime"); };`;
  const pool = `${stand} const api = await import("symplectic-adjoint");
    await api.parallel({ workers: 2 }).catch(({ code, message }) => console.log(code + ": " + message));`;
  expect(node(pool)).toMatch(/^UNSUPPORTED: this runtime has no Worker(?!.*Policy)/);
});

test("a pool of the slim entry finds its worker", () => {
  const pool = `import * as api from "symplectic-adjoint/slim";
    await api.init({ module: import.meta.resolve("symplectic-adjoint/simd.wasm"), simd: "simd128" });
    const pool = await api.parallel({ workers: 2 });
    const { shape } = await pool.odeint(api.mlp({ widths: [2, 4, 2] }), new Float32Array(128), [0, 1]);
    console.log(shape.join()); pool.close();`;
  expect(node(pool)).toBe("2,64,2");
});
