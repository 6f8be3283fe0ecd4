// Each in a process of its own: which module an entry takes is settled on first use.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const folder = fileURLToPath(new URL("..", import.meta.url));

function node(code: string, flags: string[] = []): string {
  const gradient = `const gradient = (api) => api.vjp(api.mlp({ widths: [2, 4, 2] }), Float32Array.of(1, 0), [0, 1])
    .pullback(Float32Array.of(0, 0, 1, 1)).y0.length;
    const code = (body) => { try { return body(); } catch (error) { return error.code + ": " + error.message; } };`;
  return execFileSync(process.execPath, [...flags, "--input-type=module", "-e", gradient + code], {
    cwd: folder,
    encoding: "utf8",
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
    "Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)": /^FILE: .*another module/,
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

test("a pool of the slim entry finds its worker", () => {
  const pool = `import * as api from "symplectic-adjoint/slim";
    await api.init({ module: import.meta.resolve("symplectic-adjoint/simd.wasm"), simd: "simd128" });
    const pool = await api.parallel({ workers: 2 });
    const { shape } = await pool.odeint(api.mlp({ widths: [2, 4, 2] }), new Float32Array(128), [0, 1]);
    console.log(shape.join()); pool.close();`;
  expect(node(pool)).toBe("2,64,2");
});
