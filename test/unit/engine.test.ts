// The two engines side by side, each in processes of its own; skipped where the addon has not been built.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, test as any, beforeAll, expect } from "vitest";
import { platformOf } from "../../scripts/platforms.mjs";
import { GRADIENTS } from "../../wasm/constants.js";
import { relative } from "./helpers.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const addon = join(root, `native/symplectic-adjoint.${platformOf()}.node`);
const built = existsSync(addon);
if (!built) console.warn("The native addon has not been built, so it is not tested: npm run build:native");
/** A test that needs the addon. */
const test = any.skipIf(!built);

type Kind = "native" | "wasm" | undefined;

/** Runs a module, with the package as `api`, in a process that has an engine forced on it; gives what it says. */
function run(kind: Kind | string, code: string, dist = join(root, "dist")): string {
  const head = `import * as api from ${JSON.stringify(join(dist, "index.js"))};
    const said = (body) => { try { return body(); } catch (error) { return error.code + ": " + error.message; } };`;
  const env = { ...process.env, SYMPLECTIC_ADJOINT_ENGINE: kind ?? "" };
  const args = ["--expose-gc", "--input-type=module", "-e", head + code];
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8", env });
  return (stdout || stderr).trim();
}

/** What both engines say to the same program, as JSON. */
const both = (code: string) =>
  (["native", "wasm"] as const).map((kind) => JSON.parse(run(kind, `${code} console.log(JSON.stringify(result));`)));

/** A copy of the package without an addon, in which other files can lie instead. */
let bare: string;
beforeAll(() => {
  bare = mkdtempSync(join(tmpdir(), "symplectic-adjoint-engine-"));
  mkdirSync(join(bare, "dist"));
  mkdirSync(join(bare, "native"));
  writeFileSync(join(bare, "package.json"), '{ "type": "module" }');
  const index = readFileSync(join(root, "dist/index.js"), "utf8");
  for (const [, name] of index.matchAll(/from "\.\/(chunk-\w+\.js)"/g)) {
    copyFileSync(join(root, "dist", name as string), join(bare, "dist", name as string));
  }
  writeFileSync(join(bare, "dist/index.js"), index);
});
afterAll(() => rmSync(bare, { recursive: true }));
/** Runs in the copy, with that as the addon. */
function withAddon(kind: Kind, addon: string | undefined, code: string): string {
  const place = join(bare, `native/symplectic-adjoint.${platformOf()}.node`);
  rmSync(place, { force: true });
  if (addon !== undefined) writeFileSync(place, addon);
  return run(kind, code, join(bare, "dist"));
}

test("the addon is taken where it is, and tells the width of its registers", () => {
  const told = JSON.parse(run(undefined, "console.log(JSON.stringify([api.engine(), api.simd(), api.memoryUsage()]))"));
  expect(told).toEqual([{ kind: "native", registerBits: expect.any(Number) }, null, { liveBytes: 0, wasmBytes: 0 }]);
  expect([128, 256, 512]).toContain(told[0].registerBits);
  const wasm = JSON.parse(run("wasm", "console.log(JSON.stringify(api.engine()))"));
  expect(wasm).toEqual({ kind: "wasm", simd: expect.stringMatching(/simd128|relaxed/), registerBits: 128 });
});

any(
  "WebAssembly comes from a file of the package if it is the one of this build, and else from inside the entry",
  () => {
    // The builtin that the package asks for is this same object.
    const program = `
    const fs = (await import("node:fs")).default;
    const { readFileSync } = fs;
    let read, isRead = false;
    fs.readFileSync = (...given) => (read = readFileSync(...given));
    WebAssembly.Module = class extends WebAssembly.Module {
      constructor(bytes) { super(bytes); isRead ||= bytes === read; }
    };
    const field = api.mlp({ widths: [2, 8, 2] });
    console.log(isRead, api.simd(), api.odeint(field, Float32Array.of(1, 0), [0, 1]).y.length);`;
    const place = join(bare, "wasm");
    const said = () => run("wasm", program, join(bare, "dist"));
    expect(said()).toMatch(/^false (simd128|relaxed) 4$/);
    mkdirSync(place);
    for (const name of ["simd.wasm", "relaxed.wasm"]) copyFileSync(join(root, "wasm", name), join(place, name));
    expect(said()).toMatch(/^true (simd128|relaxed) 4$/);
    for (const name of ["simd.wasm", "relaxed.wasm"]) {
      const bytes = readFileSync(join(place, name));
      bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
      writeFileSync(join(place, name), bytes);
    }
    expect(said()).toMatch(/^false (simd128|relaxed) 4$/);
    rmSync(place, { recursive: true });
  },
);

/** With the one first that the others are compared with. */
const ORDER = ["symplectic", ...GRADIENTS.filter((gradient) => gradient !== "symplectic")];

test("both engines give the same within rounding, and the addon's exact gradients are bitwise equal", () => {
  const program = `
    const result = [];
    for (const dtype of ["float64", "float32"]) {
      const network = { widths: [2, 16, 2], seed: 3, dtype };
      const fields = [api.mlp(network), api.cnf({ network, trace: "hutchinson" }),
        api.hamiltonian({ energy: { widths: [2, 8, 1], dtype }, structure: "canonical" }),
        api.equations("x' = -k * y\\ny' = x", { parameters: { k: 2 }, dtype }),
        api.custom({ stateSize: 2, dtype, parameters: api.mlp(network).parameters.slice(0, 1),
          evaluate: (t, y, p) => y.map((v) => p[0] * v * t),
          vjp: (t, y, w, p) => ({ y: w.map((v) => p[0] * v * t),
            parameters: p.map(() => w.reduce((sum, v, i) => sum + v * y[i] * t, 0)),
            t: w.reduce((sum, v, i) => sum + v * y[i] * p[0], 0) }) })];
      for (const field of fields) {
        const y0 = field.evaluate(0, new field.parameters.constructor(5 * field.stateSize)).map((_, i) => Math.sin(i));
        for (const gradient of ${JSON.stringify(ORDER)}) {
          const { solution, pullback } = api.vjp(field, y0, [0, 0.5, 1], { gradient, timeGradients: true });
          const { parameters, y0: start, times } = pullback(solution.y);
          result.push([dtype, gradient, [solution.y, parameters, start, times ?? []].map((array) => [...array])]);
        }
      }
    }`;
  const [native, wasm] = both(program) as [string, string, number[][]][][];
  expect(native).toHaveLength(10 * ORDER.length);
  for (const [i, [dtype, gradient, arrays]] of (native ?? []).entries()) {
    for (const [j, array] of arrays.entries()) {
      const other = wasm?.[i]?.[2][j] as number[];
      expect(array).toHaveLength(other.length);
      if (array.length > 0)
        expect(relative(array, other), `${i} ${dtype} ${gradient}`).toBeLessThan(dtype === "float32" ? 1e-4 : 1e-6);
    }
    if (gradient !== "symplectic" && gradient !== "adjoint") {
      const exact = native?.[i - (i % ORDER.length)] as [string, string, number[][]];
      expect(arrays, `${i} ${dtype} ${gradient}`).toEqual(exact[2]);
    }
  }
});

test("any number of threads gives the same bits", () => {
  const program = `
    const result = [1, 2, 3].map((threads) => {
      const field = api.mlp({ widths: [2, 24, 2], seed: 3 });
      const y0 = Float32Array.from({ length: 2 * 300 }, (_, i) => Math.sin(i));
      const { solution, pullback } = api.vjp(field, y0, [0, 0.5, 1], { threads });
      const gradient = pullback(solution.y);
      const target = solution.y.map((number) => number / 2);
      const optimizer = api.adam(field, { learningRate: 0.01 });
      api.valueAndGrad(field, y0, [0, 0.5, 1], (y) => api.meanSquaredError(y, target), { threads });
      optimizer.step(gradient.parameters);
      return [solution.y, gradient.parameters, gradient.times, field.parameters].map((array) => [...array]);
    });`;
  const [native, wasm] = both(program);
  for (const result of [native, wasm]) {
    expect(result[1]).toEqual(result[0]);
    expect(result[2]).toEqual(result[0]);
  }
});

test("registers of any width give the same within rounding", () => {
  const program = `
    const field = api.mlp({ widths: [2, 24, 24, 2], seed: 3, dtype: "float64" });
    const result = [1, 3, 100].flatMap((batch) => {
      const y0 = Float64Array.from({ length: 2 * batch }, (_, i) => Math.sin(i));
      const { solution, pullback } = api.vjp(field, y0, [0, 1], { method: "rk4", steps: 10 });
      return [...solution.y, ...pullback(solution.y).parameters];
    });
    console.log(JSON.stringify([api.engine().registerBits, result]));`;
  const all = [128, 256, 512, 100, 1000].map((bits) => {
    process.env.SYMPLECTIC_ADJOINT_REGISTERS = String(bits);
    const [registerBits, numbers] = JSON.parse(run("native", program));
    expect(registerBits).toBeLessThanOrEqual(Math.max(bits, 128));
    return numbers as number[];
  });
  delete process.env.SYMPLECTIC_ADJOINT_REGISTERS;
  for (const numbers of all) expect(relative(numbers, all[0] as number[])).toBeLessThan(1e-13);
});

test("both throw the same errors", () => {
  const program = `
    const field = api.mlp({ widths: [2, 8, 2] });
    const y0 = Float32Array.of(1, 0);
    const mine = new TypeError("mine");
    const own = (evaluate) => api.custom({ stateSize: 2, evaluate, vjp: (_, y) => ({ y }) });
    const calls = [
      () => api.mlp({ widths: [0, 2] }),
      () => api.equations("x' = "),
      () => api.odeint(field, Float32Array.of(Number.NaN, 0), [0, 1]),
      () => api.odeint(field, y0, [0, 1], { maxSteps: 1, firstStep: 1e-3 }),
      () => api.odeint(own((_, y) => y.map((v) => v * v)), y0, [0, 2]),
      () => api.vjp(field, y0, [0, 1], { memoryBudget: 1 }),
      () => api.odeint(own(() => 1), y0, [0, 1]),
      () => api.odeint(own(() => { throw mine; }), y0, [0, 1]),
      () => api.loadTensors(new Uint8Array(9)),
      () => { const gone = api.mlp({ widths: [1, 1] }); gone.dispose(); gone.parameters; },
      () => api.odeint(own((_, y) => api.odeint(field, y, [0, 1]).y), y0, [0, 1]),
    ];
    const result = calls.map((call) => {
      try {
        call();
        return "nothing";
      } catch (error) {
        if (error === mine) return "mine";
        const { code, message, argument, expected, given, steps } = error;
        // Pointers and rounding differ.
        const text = (what) => what?.replaceAll(/\\d[\\d.e-]{3,}/g, "#");
        return { code, message: text(message), argument, expected: text(expected), given, steps };
      }
    });`;
  const [native, wasm] = both(program);
  expect(native).toEqual(wasm);
  expect(native.map((error: { code?: string }) => error.code ?? error)).toEqual([
    "OPTION",
    "OPTION",
    "NON_FINITE",
    "MAX_STEPS",
    expect.any(String),
    "OPTION",
    "CALLBACK",
    "mine",
    "FILE",
    "DISPOSED",
    "REENTRANT",
  ]);
});

test("parameters are live, and their memory stays for as long as a view of it does", () => {
  const program = `
    const collect = async (until) => { while (!until()) { gc(); await new Promise((resolve) => setTimeout(resolve)); } };
    let field = api.mlp({ widths: [2, 300, 2], seed: 1 });
    const before = field.evaluate(0, Float32Array.of(1, 2));
    let view = field.parameters;
    const same = view === field.parameters;
    view.fill(0);
    const zero = field.evaluate(0, Float32Array.of(1, 2));
    field.parameters = new Float32Array(view.length).fill(0.5);
    const last = view[view.length - 1];
    const optimizer = api.sgd(field, { learningRate: 1, momentum: 0.5 });
    optimizer.step(new Float32Array(view.length).fill(1));
    const stepped = [view[0], optimizer.state[0]];
    optimizer.dispose();
    field.dispose();
    field = undefined;
    // What was given up with the field has been finalized.
    let swept = false;
    const registry = new FinalizationRegistry(() => { swept = true; });
    registry.register({});
    await collect(() => swept);
    const others = Array.from({ length: 20 }, (_, seed) => api.mlp({ widths: [2, 300, 2], seed }));
    const kept = view.every((value) => value === -0.5);
    for (const other of others) other.dispose();
    let moved = true;
    try { structuredClone(view, { transfer: [view.buffer] }); moved = view.length === 0; } catch { moved = false; }
    view = undefined;
    await collect(() => api.memoryUsage().liveBytes === 0);
    console.log(JSON.stringify([same, before[0] !== 0, [...zero], last, stepped, kept, moved]));`;
  expect(JSON.parse(run("native", program))).toEqual([true, true, [0, 0], 0.5, [-0.5, 1], true, false]);
});

test("what is garbage is freed, whether or not it was looked into", () => {
  const program = `
    const make = () => {
      for (let i = 0; i < 20; i++) {
        const field = api.mlp({ widths: [2, 50, 2] });
        field.parameters[0] = 1;
        api.adam(field).state[0] = 1;
        api.vjp(field, Float32Array.of(1, 0), [0, 1]);
      }
      const field = api.mlp({ widths: [2, 50, 2] });
      field.parameters;
      field.dispose();
    };
    make();
    const held = api.memoryUsage().liveBytes;
    while (api.memoryUsage().liveBytes > 0) { gc(); await new Promise((resolve) => setTimeout(resolve)); }
    console.log(held > 0);`;
  expect(run("native", program)).toBe("true");
});

test("a panic is an error, and nothing is lost", () => {
  // Whatever the entry: this one is given what the facade never gives.
  const program = `
    const { createRequire } = await import("node:module");
    const addon = createRequire(import.meta.url)(${JSON.stringify(addon)});
    const kept = api.mlp({ widths: [2, 4, 2] });
    const y0 = Float32Array.of(1, 0);
    const before = api.odeint(kept, y0, [0, 1]).y.join();
    const { odeint } = addon.Field.prototype;
    addon.Field.prototype.odeint = () => addon.read(0, {});
    console.log(said(() => api.odeint(kept, y0, [0, 1])));
    addon.Field.prototype.odeint = odeint;
    console.log(api.odeint(kept, y0, [0, 1]).y.join() === before, kept.parameters.length);`;
  const [fault, rest] = run("native", program).split("\n");
  expect(fault).toMatch(/^INTERNAL: a fault inside the package: .*expected a typed array$/);
  expect(rest).toBe("true 22");
});

test("a recursion without end in a custom field ends in the runtime's own error, or ours", () => {
  const program = `
    const field = api.custom({ stateSize: 1, evaluate: () => { const f = () => f() + 1; return f(); }, vjp: () => ({}) });
    try { api.odeint(field, Float32Array.of(1), [0, 1]); } catch (error) { console.log(error.name); }
    console.log(api.mlp({ widths: [1, 1] }).evaluate(0, Float32Array.of(1)).length);`;
  expect(run("native", program)).toBe("RangeError\n1");
});

test("any number of threads load the addon, and end in the middle of its use", () => {
  const program = `
    import { Worker } from "node:worker_threads";
    const solve = () => [...api.valueAndGrad(api.mlp({ widths: [2, 64, 2], seed: 1 }), Float32Array.of(1, 0), [0, 1],
      (y) => ({ value: 0, cotangent: y })).gradient.parameters];
    const code = 'const { parentPort } = require("node:worker_threads"); import(' + JSON.stringify(${JSON.stringify(
      join(root, "dist/index.js"),
    )}) + ').then((api) => { const solve = ' + solve + '; const field = api.mlp({ widths: [2, 8, 2] }); field.parameters;' +
      'api.vjp(field, Float32Array.of(1, 0), [0, 1]); parentPort.postMessage([api.engine().kind, solve()]); });';
    const workers = Array.from({ length: 4 }, () => new Worker(code, { eval: true, execArgv: [] }));
    const answers = await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("message", resolve))));
    await Promise.all(workers.map((worker) => worker.terminate()));
    const own = solve().join();
    console.log(answers.every(([kind, numbers]) => kind === "native" && numbers.join() === own));`;
  expect(run("native", program)).toBe("true");
});

test("a pool computes with the engine of its maker, to the same bits", () => {
  const program = `
    const field = api.mlp({ widths: [2, 32, 2], seed: 1 });
    const y0 = Float32Array.from({ length: 200 }, (_, i) => Math.cos(i));
    const pool = await api.parallel({ workers: 2 });
    const [one, two] = [api.odeint(field, y0, [0, 1]), await pool.odeint(field, y0, [0, 1])];
    console.log(api.engine().kind, one.y.join() === two.y.join(), two.stats.workers);
    pool.close();`;
  expect(run("native", program)).toBe("native true 2");
  expect(run("wasm", program)).toBe("wasm true 2");
  // Whatever the variable says to the workers.
  expect(run("wasm", `await api.init({ engine: "native" }); ${program}`)).toBe("native true 2");
});

test("init chooses, before the first use", () => {
  const code = (options: string) =>
    `console.log(await api.init(${options}).then(() => api.engine().kind, ({ message }) => message));`;
  expect(run(undefined, code('{ engine: "wasm" }'))).toBe("wasm");
  expect(run("wasm", code('{ engine: "native" }'))).toBe("native");
  expect(run("native", code('{ simd: "simd128" }'))).toBe("wasm");
  expect(run("native", code('{ module: new URL("wasm/simd.wasm", "file:///" + process.cwd() + "/") }'))).toBe("wasm");
  expect(run(undefined, code('{ engine: "native", simd: "simd128" }'))).toMatch(/^engine: expected wasm/);
  expect(run(undefined, code('{ engine: "gpu" }'))).toMatch(/^engine: expected native or wasm, given "gpu"/);
  const used = (options: string) => `api.engine(); ${code(options)}`;
  expect(run("native", used('{ engine: "wasm" }'))).toMatch(/the native engine is in use/);
  expect(run("wasm", used('{ engine: "native" }'))).toMatch(/the \w+ build is in use/);
  expect(run("native", `${used("{}")} ${code('{ engine: "native" }')}`)).toBe("native\nnative");
});

any("an engine that nobody knows is refused by the name of the variable", () => {
  expect(run("fast", "console.log(said(api.engine));")).toBe(
    'OPTION: SYMPLECTIC_ADJOINT_ENGINE: expected native or wasm, given "fast"',
  );
});

any("without an addon WebAssembly computes; an addon that was asked for says all that was tried", () => {
  expect(withAddon(undefined, undefined, "console.log(api.engine().kind);")).toBe("wasm");
  const message = withAddon("native", undefined, "console.log(said(api.engine));");
  expect(message).toMatch(/^UNSUPPORTED: the native engine could not be loaded: @symplectic-adjoint\/\S+: Cannot find/);
  expect(message).toMatch(/; \.\.\/native\/symplectic-adjoint\.\S+\.node: Cannot find/);
  expect(withAddon(undefined, "no addon", "console.log(api.engine().kind);")).toBe("wasm");
});

test("an addon of another version is not taken", () => {
  // A package by that name comes first.
  const folder = join(bare, "node_modules/@symplectic-adjoint", platformOf());
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "index.js"), 'exports.version = () => "0.0.1";');
  writeFileSync(join(folder, "package.json"), '{ "main": "index.js" }');
  expect(withAddon(undefined, undefined, "console.log(api.engine().kind);")).toBe("wasm");
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const said = withAddon("native", undefined, "console.log(said(api.engine));");
  expect(said).toContain(`${platformOf()}: its version is 0.0.1, but that of the package is ${version}; ../native`);
  // As a package brings it.
  copyFileSync(addon, join(folder, "addon.node"));
  writeFileSync(join(folder, "package.json"), '{ "main": "addon.node" }');
  expect(withAddon(undefined, undefined, "console.log(api.engine().kind);")).toBe("native");
  rmSync(join(bare, "node_modules"), { recursive: true });
});

test("the slim entry is WebAssembly's", () => {
  const slim = `const slim = await import(${JSON.stringify(join(root, "dist/slim.js"))});
    await slim.init({ engine: "native" }).catch(({ code, message }) => console.log(code, message));`;
  const script = spawnSync(process.execPath, ["--input-type=module", "-e", slim], {
    encoding: "utf8",
    env: { PATH: "" },
  });
  expect(script.stdout).toMatch(/^UNSUPPORTED .*slim loads WebAssembly only/);
});
