// Model files: what they hold, PyTorch's names, Python's safetensors, training that goes on, and hostile files.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import {
  adam,
  type CnfField,
  cnf,
  custom,
  equations,
  type Field,
  hamiltonian,
  load,
  loadStateDict,
  loadTensors,
  memoryUsage,
  mlp,
  nn,
  odeint,
  type ProgramField,
  save,
  saveTensors,
  sgd,
  type Tensor,
  vectorField,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { collectGarbage, numbers, thrown } from "./helpers.js";

const KEY = "symplectic-adjoint";
const fixture = readFileSync(new URL("../files/sequential.safetensors", import.meta.url));

const network = { widths: [2, 5, 3, 2], activation: "silu" as const, dtype: "float64" as const, seed: 3 };
const fields: [string, () => Field][] = [
  ["mlp", () => mlp({ widths: [2, 5, 2], seed: 2 })],
  ["mlp, concat, no bias", () => mlp({ ...network, time: "concat", bias: false })],
  ["mlp, concatsquash", () => mlp({ ...network, time: "concatsquash" })],
  ["cnf", () => cnf({ network, trace: "hutchinson", noiseSeed: 7, kinetic: true })],
  ["hamiltonian", () => hamiltonian({ energy: { ...network, widths: [4, 6, 1] }, structure: "canonical" })],
  ["hamiltonian, J and R", () => hamiltonian({ energy: { widths: [2, 6, 1] }, structure: [0, 1, -1, -0.1] })],
  [
    "hamiltonian on a grid",
    () => hamiltonian({ energy: { widths: [3, 4, 1] }, structure: "dx", points: 8, spacing: 0.3 }),
  ],
];

test.each(fields)("%s: saved and loaded, it is bitwise the same", (_, make) => {
  const field = make();
  const loaded = load(save(field, { metadata: { note: "of mine" }, tensors: { mine: tensor(1, 2) } }));
  expect(loaded.field.parameters).toEqual(field.parameters);
  expect(loaded.metadata).toEqual(new Map([["note", "of mine"]]));
  expect(loaded.tensors).toEqual(new Map([["mine", tensor(1, 2)]]));
  expect(loaded.optimizer).toBeUndefined();
  const y0 = numbers(field.dtype, 3 * field.stateSize);
  expect(odeint(loaded.field, y0, [0, 0.3]).y).toEqual(odeint(field, y0, [0, 0.3]).y);
  expect(loadTensors(save(loaded.field)).tensors).toEqual(loadTensors(save(field)).tensors);
  expect(() => load(save(field), { dtype: field.dtype })).not.toThrow();
  thrown("FILE", () => load(save(field), { dtype: field.dtype === "float32" ? "float64" : "float32" }));
});

test("equations that say another thing than the program are refused; the order of its operations does not matter", async () => {
  await collectGarbage();
  const text = `param a = 2
twice = 2 * k
x' = twice * y - a * w # of weight
y' = x < 0 ? -x : sqrt(y + t)`;
  const field = equations(text, { parameters: { k: 1.5 }, arguments: ["w"], state: ["y", "x"], dtype: "float64" });
  const bytes = save(field);
  const { metadata, tensors } = loadTensors(bytes);
  type Options = { program: { nodes: (string | number)[][]; result: number }; equations: string; states: string[] };
  const changed = (change: (options: Options) => void) => {
    const header = JSON.parse(metadata.get(KEY) as string) as { field: { options: Options } };
    change(header.field.options);
    return saveTensors(Object.fromEntries(tensors), { [KEY]: JSON.stringify(header) });
  };
  const loaded = load(changed(() => {}));
  expect((loaded.field as ProgramField).equations).toBe(text);
  loaded.field.dispose();
  // Operations that nobody uses, and others behind them.
  const shifted = changed(({ program }) => {
    program.nodes = [["time"], ["exp", 0], ...program.nodes.map((node) => moved(node, 2))];
    program.result += 2;
  });
  load(shifted).field.dispose();
  const held = memoryUsage();
  const mistakes: ((options: Options) => void)[] = [
    (options) => (options.equations = text.replace("2 * k", "3 * k")),
    (options) => (options.equations = text.replace("x < 0", "x <= 0")),
    (options) => (options.equations = text.replace("param a = 2", "param a = 2\nparam b = 2")),
    (options) => (options.equations = text.replace("a * w", "k * w")),
    (options) => (options.equations = text.replace("sqrt(", "sqrt((")),
    (options) => (options.equations = "nothing of the kind"),
    (options) => options.states.reverse(),
  ];
  for (const mistake of mistakes) {
    expect(thrown("FILE", () => load(changed(mistake))).message).toMatch(/^the file's field: equations/);
  }
  expect(memoryUsage()).toEqual(held);
  field.dispose();
});

/** A node whose operands have moved. */
function moved(node: readonly (string | number)[], by: number): (string | number)[] {
  const [name, ...rest] = node;
  if (["constant", "time", "parameter", "state", "argument"].includes(name as string)) return [...node];
  const own = name === "slice" ? 1 : rest.length;
  return [name as string, ...rest.map((part, i) => (typeof part === "number" && i < own ? part + by : part))];
}

test("noise of one's own goes with a flow", () => {
  const flow = cnf({ network, trace: "hutchinson", noise: "gaussian" });
  flow.setNoise(numbers("float64", 6, 5));
  const loaded = load(save(flow)).field as CnfField<"float64">;
  expect(loaded.features).toBe(2);
  const y0 = numbers("float64", 9);
  expect(odeint(loaded, y0, [0, 1]).y).toEqual(odeint(flow, y0, [0, 1]).y);
});

test("arrays are called as PyTorch calls those of an nn.Sequential", () => {
  const field = mlp({ ...network, time: "concatsquash" });
  const { tensors } = loadTensors(save(field));
  const layer = (index: number) =>
    ["weight", "bias", "gate_weight", "gate_bias", "hyper_bias"].map((name) => `${index}.${name}`);
  expect([...tensors.keys()].sort()).toEqual([...layer(0), ...layer(2), ...layer(4)].sort());
  expect(tensors.get("2.weight")?.shape).toEqual([3, 5]);
  const weight = field.layers[1]?.weight as { offset: number };
  expect(tensors.get("2.weight")?.data).toEqual(field.parameters.slice(weight.offset, weight.offset + 15));
});

test("a state_dict that Python has written is a network", () => {
  const { field, metadata } = load(fixture, { activation: "tanh", dtype: "float32" });
  expect(field.layers.map(({ weight }) => weight.shape)).toEqual([
    [8, 2],
    [2, 8],
  ]);
  expect(metadata.get("format")).toBe("pt");
  const tensors = loadTensors(fixture).tensors;
  expect([...field.evaluate(0, Float32Array.of(1, 0))]).toEqual(expected(tensors));
  const other = mlp({ widths: [2, 8, 2], seed: 8 });
  loadStateDict(other, fixture);
  expect(other.parameters).toEqual(field.parameters);
  thrown("OPTION", () => load(fixture));
  thrown("OPTION", () => load(fixture, { activation: "swish" as never }));
  thrown("FILE", () => load(fixture, { activation: "tanh", time: "concatsquash" }));
  const before = mlp({ widths: [2, 9, 2] });
  const kept = before.parameters.slice();
  thrown("FILE", () => loadStateDict(before, fixture));
  thrown("FILE", () => loadStateDict(mlp({ widths: [2, 8, 2], dtype: "float64" }), fixture));
  thrown("FILE", () => loadStateDict(mlp({ widths: [2, 8, 2], bias: false }), fixture));
  expect(before.parameters).toEqual(kept);
});

/** The network of the fixture at (1, 0). */
function expected(tensors: ReadonlyMap<string, Tensor>): number[] {
  const [w0, b0, w1, b1] = ["0.weight", "0.bias", "2.weight", "2.bias"].map((name) => tensors.get(name)?.data);
  const close = (value: number) => expect.closeTo(value, 5);
  const hidden = Array.from({ length: 8 }, (_, i) => Math.tanh((w0?.[2 * i] as number) + (b0?.[i] as number)));
  const output = [0, 1].map((i) =>
    hidden.reduce((sum, value, j) => sum + (w1?.[8 * i + j] as number) * value, b1?.[i] as number),
  );
  return output.map(close);
}

test("prefixes, gaps in the numbers, and time before the first column", () => {
  const field = mlp({ widths: [2, 4, 2], time: "concat", seed: 6 });
  const named = (rename: (name: string) => string) =>
    Object.fromEntries([...loadTensors(save(field)).tensors].map(([name, data]) => [rename(name), data]));
  const inside = saveTensors(named((name) => `func.net.${name.replace("2.", "3.")}`));
  expect(load(inside, { activation: "tanh", time: "concat" }).field.parameters).toEqual(field.parameters);
  const two = saveTensors({ ...named((name) => `a.${name}`), ...named((name) => `b.${name}`), scale: tensor(1) });
  expect(thrown("FILE", () => load(two, { activation: "tanh" })).argument).toBe("scale");
  const chosen = load(two, { activation: "tanh", time: "concat", prefix: "b." });
  expect(chosen.field.parameters).toEqual(field.parameters);
  expect(chosen.tensors.has("scale")).toBe(true);
  const both = saveTensors({ ...named((name) => `a.${name}`), ...named((name) => `b.${name}`) });
  expect(thrown("OPTION", () => load(both, { activation: "tanh" })).argument).toBe("prefix");
});

/** A file of layers by their names, with biases unless that is left out: weights count up. */
function moduleOf(names: Record<string, [outputs: number, inputs: number]>, others: Record<string, Tensor> = {}) {
  let next = 0;
  const count = (...shape: number[]) => {
    const length = shape.reduce((product, side) => product * side, 1);
    return { shape, data: Float32Array.from({ length }, () => next++ / 64) };
  };
  const tensors = Object.entries(names).flatMap(([name, [outputs, inputs]]) => [
    [`${name}.weight`, count(outputs, inputs)],
    [`${name}.bias`, count(outputs)],
  ]);
  return saveTensors({ ...Object.fromEntries(tensors), ...others });
}

/** The parameters of layers in an order. */
function parametersOf(file: Uint8Array, ...names: string[]) {
  const { tensors } = loadTensors(file);
  const arrays = names.flatMap((name) =>
    ["weight", "bias"].map((suffix) => tensors.get(`${name}.${suffix}`)?.data ?? []),
  );
  return Float32Array.from(arrays.flatMap((data) => Array.from(data)));
}

const tanh = { activation: "tanh" } as const;

test.each([
  ["numbers", ["fc1", "fc2", "fc3"]],
  ["numbers of two digits", ["fc2", "fc10", "fc11"]],
  ["numbers in the middle", ["net.layers.0.linear", "net.layers.1.linear", "net.layers.7.linear"]],
])("a module of Linear layers is in the order of its names' %s", (_, names) => {
  const shapes: [number, number][] = [
    [8, 2],
    [8, 8],
    [2, 8],
  ];
  const file = moduleOf(Object.fromEntries(names.map((name, i) => [name, shapes[i] as [number, number]]).reverse()));
  expect(load(file, tanh).field.parameters).toEqual(parametersOf(file, ...names));
  const field = mlp({ widths: [2, 8, 8, 2], seed: 1 });
  loadStateDict(field, file);
  expect(field.parameters).toEqual(parametersOf(file, ...names));
});

test("without numbers the order is the only one in which shapes fit, or that of a field", () => {
  const energy = moduleOf({ output: [1, 8], input: [8, 2], middle: [8, 8] });
  expect(load(energy, tanh).field.parameters).toEqual(parametersOf(energy, "input", "middle", "output"));
  const list = moduleOf({ last: [1, 8], first: [8, 2], hidden1: [8, 8], hidden2: [8, 8] });
  expect(load(list, tanh).field.parameters).toEqual(parametersOf(list, "first", "hidden1", "hidden2", "last"));
  // 2, 8, 2 as well as 8, 2, 8: only a field knows.
  const around = moduleOf({ decode: [2, 8], encode: [8, 2] });
  expect(thrown("FILE", () => load(around, tanh)).message).toMatch(/encode\.weight \[8, 2\].*|loadStateDict/);
  const field = mlp({ widths: [2, 8, 2] });
  loadStateDict(field, around);
  expect(field.parameters).toEqual(parametersOf(around, "encode", "decode"));
  const kept = field.parameters.slice();
  thrown("FILE", () => loadStateDict(field, moduleOf({ one: [8, 2], other: [2, 7] })));
  thrown("FILE", () => loadStateDict(field, moduleOf({ fc1: [2, 8], fc2: [8, 2] })));
  thrown("FILE", () => loadStateDict(mlp({ widths: [3, 3, 3] }), moduleOf({ one: [3, 3], other: [3, 3] })));
  expect(field.parameters).toEqual(kept);
  // Blocks that would fit one after the other are still several networks.
  const blocks = moduleOf({ "b.0.fc1": [8, 2], "b.0.fc2": [2, 8], "b.1.fc1": [8, 2], "b.1.fc2": [2, 8] });
  expect(thrown("OPTION", () => load(blocks, tanh)).expected).toBe('one of "b.0.", "b.1."');
  thrown("OPTION", () => loadStateDict(field, blocks));
  const second = load(blocks, { ...tanh, prefix: "b.1." });
  expect(second.field.parameters).toEqual(parametersOf(blocks, "b.1.fc1", "b.1.fc2"));
  expect(second.tensors.has("b.0.fc1.weight")).toBe(true);
  const single = saveTensors({ weight: { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) } });
  expect(load(single, tanh).field.parameters).toEqual(Float32Array.of(1, 2, 3, 4));
});

test("halves become singles; whole numbers are passed over until they are needed", () => {
  const half = raw(
    {
      "fc1.weight": { dtype: "F16", shape: [2, 2], data_offsets: [0, 8] },
      "fc1.bias": { dtype: "BF16", shape: [2], data_offsets: [8, 12] },
      num_batches_tracked: { dtype: "I64", shape: [], data_offsets: [12, 20] },
      flags: { dtype: "BOOL", shape: [4], data_offsets: [20, 24] },
    },
    24,
  );
  // 1, −2, the least subnormal, 65504; π as far as bfloat16 goes, −0.
  const bits = Uint16Array.of(0x3c00, 0xc000, 1, 0x7bff, 0x4049, 0x8000);
  half.set(new Uint8Array(bits.buffer), half.length - 24);
  const { tensors, skipped } = loadTensors(half);
  expect(tensors.get("fc1.weight")?.data).toEqual(Float32Array.of(1, -2, 2 ** -24, 65504));
  expect(tensors.get("fc1.bias")?.data).toEqual(Float32Array.of(3.140625, -0));
  expect([...skipped]).toEqual([
    ["flags", { dtype: "BOOL", shape: [4] }],
    ["num_batches_tracked", { dtype: "I64", shape: [] }],
  ]);
  const { field } = load(half, { ...tanh, dtype: "float32" });
  expect(field.parameters).toEqual(Float32Array.of(1, -2, 2 ** -24, 65504, 3.140625, -0));
  const other = mlp({ widths: [2, 2] });
  loadStateDict(other, half);
  expect(other.parameters).toEqual(field.parameters);
  const whole = raw(
    { "0.bias": array([2], 0, 8), "0.weight": { dtype: "I16", shape: [2, 2], data_offsets: [8, 16] } },
    16,
  );
  for (const body of [() => load(whole, tanh), () => loadStateDict(other, whole)]) {
    expect(thrown("FILE", body)).toMatchObject({ argument: "0.weight", given: "I16" });
  }
  // Of this package's own files too.
  const own = loadTensors(save(other)).metadata.get(KEY) as string;
  const quantized = raw(
    {
      __metadata__: { [KEY]: own },
      "0.weight": { dtype: "I8", shape: [2, 2], data_offsets: [0, 4] },
      "0.bias": { dtype: "F16", shape: [2], data_offsets: [4, 8] },
    },
    8,
  );
  for (const body of [() => load(quantized), () => loadStateDict(other, quantized)]) {
    expect(thrown("FILE", body)).toMatchObject({ argument: "0.weight", given: "I8 [2, 2]" });
  }
});

test("the same model is the same bytes", () => {
  const bytes = (keys: string[]) => {
    const field = mlp({ widths: [2, 5, 2], seed: 2 });
    const optimizer = adam(field);
    const metadata = Object.fromEntries(keys.map((key) => [key, `"${key}" – ä`]));
    const tensors = Object.fromEntries(keys.map((key) => [`of ${key}`, tensor(1, 2)]));
    return save(field, { optimizer, metadata, tensors });
  };
  const keys = ["one", "two", "three", "four", "five", "six", "seven"];
  const first = bytes(keys);
  for (let round = 0; round < 20; round++) expect(bytes(keys)).toEqual(first);
  expect(bytes([...keys].reverse())).toEqual(first);
  expect([...loadTensors(first).tensors.keys()]).toEqual([...loadTensors(first).tensors.keys()].sort());
  expect(load(first).metadata.get("six")).toBe('"six" – ä');
});

test.each(["float32", "float64"] as const)("what load would refuse is not saved: %s", (dtype) => {
  const poison = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of poison) {
    const field = mlp({ widths: [2, 4, 2], dtype, seed: 2 });
    const optimizer = adam(field);
    const size = field.parameters.length;
    for (const [index, argument] of [
      [9, "0.bias"],
      [size - 1, "2.bias"],
    ] as const) {
      const kept = field.parameters[index] as number;
      field.parameters[index] = value;
      expect(thrown("NON_FINITE", () => save(field, { optimizer })).argument).toBe(argument);
      expect(thrown("NON_FINITE", () => save(field)).given).toBe(`${value} at index 1`);
      field.parameters[index] = kept;
    }
    for (const [index, argument] of [
      [3, "optimizer.first_moment"],
      [size + 3, "optimizer.second_moment"],
    ] as const) {
      optimizer.state[index] = value;
      expect(thrown("NON_FINITE", () => save(field, { optimizer })).argument).toBe(argument);
      optimizer.state[index] = 0;
    }
    optimizer.state[size] = -1;
    expect(thrown("OPTION", () => save(field, { optimizer })).argument).toBe("optimizer.second_moment");
    const rolling = sgd(field, { momentum: 0.5 });
    rolling.state[0] = value;
    expect(thrown("NON_FINITE", () => save(field, { optimizer: rolling })).argument).toBe("optimizer.velocity");
  }
  // Of a flow whose noise is drawn, an array of this name would be taken for the noise.
  const flow = cnf({ network: { widths: [2, 3, 2] }, trace: "hutchinson" });
  thrown("OPTION", () => save(flow, { tensors: { noise: tensor(1, 2) } }));
  expect(() => load(save(mlp({ widths: [2, 2] }), { tensors: { noise: tensor(Number.NaN) } }))).not.toThrow();
});

/** A Python with safetensors and numpy: the one there is, or one made beside the tests; undefined where that cannot be. */
function python(): string | undefined {
  const own = fileURLToPath(new URL("../.python", import.meta.url));
  const has = (command: string) => spawnSync(command, ["-c", "import safetensors.numpy"]).status === 0;
  const made = [join(own, "bin/python"), join(own, "Scripts/python.exe")];
  const found = ["python3", ...made.filter(existsSync)].find(has);
  if (found) return found;
  if (spawnSync("python3", ["-m", "venv", own]).status !== 0) return undefined;
  const command = made.find(existsSync);
  if (!command) return undefined;
  spawnSync(command, ["-m", "pip", "install", "--quiet", "safetensors", "numpy"]);
  return has(command) ? command : undefined;
}

test("Python's safetensors reads what is saved, and what it writes is read", (context) => {
  const command = python();
  if (!command) {
    if (process.env.CI) throw new Error("Python with safetensors and numpy could not be had");
    context.skip("no Python with safetensors and numpy");
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));
  const script = (name: string) => fileURLToPath(new URL(`../files/${name}.py`, import.meta.url));
  try {
    const file = join(folder, "model.safetensors");
    const field = mlp({ widths: [2, 6, 2], seed: 4 });
    writeFileSync(file, save(field, { optimizer: adam(field), metadata: { author: "naïve – 数" } }));
    const read = JSON.parse(execFileSync(command, [script("evaluate"), file], { encoding: "utf8" }));
    const own = [...field.evaluate(0, Float32Array.of(1, 0))];
    expect(read.value).toEqual(own.map((value) => expect.closeTo(value, 5)));
    expect(read.shapes["0.weight"]).toEqual([6, 2]);
    expect(read.metadata.author).toBe("naïve – 数");
    execFileSync(command, [script("sequential"), file]);
    expect(new Uint8Array(readFileSync(file))).toEqual(new Uint8Array(fixture));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.each(["adam", "sgd", "momentum"] as const)("%s goes on from a file bitwise", (kind) => {
  const optimizerOf = (field: Field<"float32">) => {
    if (kind === "adam") return adam(field, { learningRate: 0.05, beta1: 0.8, weightDecay: 0.01 });
    return sgd(field, { learningRate: 0.05, weightDecay: 0.01, momentum: kind === "sgd" ? 0 : 0.7 });
  };
  const run = (stop: boolean) => {
    let field = mlp({ widths: [2, 4, 2], seed: 4 });
    let optimizer = optimizerOf(field);
    for (let step = 0; step < 20; step++) {
      if (step === 5) optimizer.learningRate = 0.0123;
      if (stop && step === 10) {
        const loaded = load(save(field, { optimizer }), { dtype: "float32" });
        field = loaded.field;
        optimizer = loaded.optimizer as typeof optimizer;
        expect([optimizer.steps, optimizer.learningRate]).toEqual([10, 0.0123]);
      }
      optimizer.step(numbers("float32", field.parameters.length, step));
    }
    return [field.parameters.slice(), optimizer.state.slice(), optimizer.steps];
  };
  expect(run(true)).toEqual(run(false));
});

test("what cannot be saved is refused", () => {
  const field = mlp({ widths: [2, 4, 2] });
  const own = custom({ stateSize: 1, evaluate: (_, y) => y, vjp: (_, y) => ({ y }) });
  expect(thrown("OPTION", () => save(own)).message).toMatch(/custom/);
  thrown("OPTION", () => loadStateDict(own, fixture));
  thrown("OPTION", () => save(field, { optimizer: adam(mlp({ widths: [2, 4, 2] })) }));
  thrown("OPTION", () => save(field, { optimizer: {} as never }));
  thrown("OPTION", () => save(field, { metadata: { [KEY]: "{}" } }));
  thrown("OPTION", () => save(field, { tensors: { "0.weight": tensor(1) } }));
  thrown("OPTION", () => save(field, { meta: {} } as never));
  thrown("OPTION", () => load(save(field), { activation: "tanh" }));
  thrown("DTYPE", () => load("model" as never));
});

/** A model file with its words or arrays changed. */
function changed(
  words: (header: Record<string, unknown> & { field: never; optimizer: never }) => unknown,
  arrays: (tensors: Record<string, Tensor>) => void = () => {},
): Uint8Array {
  const field = mlp({ widths: [2, 4, 2] });
  const file = loadTensors(save(field, { optimizer: adam(field) }));
  field.dispose();
  const tensors = Object.fromEntries(file.tensors);
  const header = JSON.parse(file.metadata.get(KEY) as string);
  const given = words(header) ?? header;
  arrays(tensors);
  return saveTensors(tensors, { [KEY]: typeof given === "string" ? given : JSON.stringify(given) });
}

/** A model file of another field, with its words changed. */
function altered(field: Field, path: string, value: unknown): Uint8Array {
  const file = loadTensors(save(field));
  field.dispose();
  const header = JSON.parse(file.metadata.get(KEY) as string);
  assign(path, value)(header);
  return saveTensors(Object.fromEntries(file.tensors), { [KEY]: JSON.stringify(header) });
}
const aFlow = () => cnf({ network: { widths: [2, 3, 2] } });
const aSystem = () => hamiltonian({ energy: { widths: [2, 3, 1] }, structure: [0, 1, -1, 0] });

const tensor = (...values: number[]) => ({ shape: [values.length], data: Float32Array.from(values) });
const same = () => undefined;
const assign = (path: string, value: unknown) => (header: object) => {
  const keys = path.split(".");
  const last = keys.pop() as string;
  const inner = keys.reduce((object, key) => (object as Record<string, object>)[key] as object, header);
  Object.defineProperty(inner, last, { value, enumerable: true });
};

const hostile: [string, Uint8Array][] = [
  ["an unknown version", changed(assign("format", 2))],
  ["no version", changed(() => ({ field: {} }))],
  ["no JSON", changed(() => "{")],
  ["null", changed(() => "null")],
  ["deep JSON", changed(() => "[".repeat(1e6))],
  [
    "deep JSON inside",
    changed(() => `{"format":1,"field":{"kind":"mlp","options":${'{"widths":'.repeat(9e4)}1${"}".repeat(9e4)}}}`),
  ],
  ["an unknown kind", changed(assign("field.kind", "__proto__"))],
  ["a custom kind", changed(assign("field.kind", "custom"))],
  ["no options", changed(assign("field.options", null))],
  ["absurd widths", changed(assign("field.options.widths", [2, 2 ** 30, 2]))],
  ["more absurd widths", changed(assign("field.options.widths", [1e300, 1e300]))],
  ["many widths", changed(assign("field.options.widths", Array(1e6).fill(1)))],
  ["widths that are none", changed(assign("field.options.widths", "2,4,2"))],
  ["one width", changed(assign("field.options.widths", [2]))],
  ["an unknown activation", changed(assign("field.options.activation", "constructor"))],
  ["an unknown dtype", changed(assign("field.options.dtype", "float16"))],
  ["another dtype", changed(assign("field.options.dtype", "float64"))],
  ["an unknown option", changed(assign("field.options.depth", 3))],
  ["an option called __proto__", changed(assign("field.options.__proto__", { widths: [1, 1] }))],
  ["another time", changed(assign("field.options.time", "concat"))],
  // Beside the network that is checked against the arrays: of any size, or of the same with another activation.
  ["a second network", altered(aFlow(), "field.options.network", { widths: [2, 9000, 9000, 2] })],
  ["a second activation", altered(aFlow(), "field.options.network", { widths: [2, 3, 2], activation: "relu" })],
  ["a matrix that only says its length", altered(aSystem(), "field.options.matrix", { length: 1e9 })],
  ["a structure that only says its length", altered(aSystem(), "field.options.structure", { length: 1e9 })],
  ["an unknown optimizer", changed(assign("optimizer.kind", "toString"))],
  ["no optimizer's options", changed(assign("optimizer.options", 3))],
  ["a rate out of range", changed(assign("optimizer.options.learningRate", -1))],
  ["steps that are none", changed(assign("optimizer.steps", 1.5))],
  ["no steps", changed(assign("optimizer.steps", undefined))],
  ["NaN weights", changed(same, (t) => t["0.weight"]?.data.fill(Number.NaN))],
  ["an infinite moment", changed(same, (t) => t["optimizer.first_moment"]?.data.fill(Number.POSITIVE_INFINITY))],
  ["a negative square", changed(same, (t) => t["optimizer.second_moment"]?.data.fill(-1))],
  ["no moments", changed(same, (t) => delete t["optimizer.first_moment"])],
  ["a missing array", changed(same, (t) => delete t["2.bias"])],
  [
    "a wrong shape",
    changed(same, (t) => Object.assign(t, { "0.weight": { shape: [2, 4], data: new Float32Array(8) } })),
  ],
  ["a wrong dtype", changed(same, (t) => Object.assign(t, { "0.bias": { shape: [4], data: new Float64Array(4) } }))],
  ["an empty file", new Uint8Array()],
  ["a header too long", Uint8Array.from([255, 255, 255, 255, 255, 255, 255, 127, 123])],
  ["overlapping arrays", raw({ a: array([2], 0, 8), b: array([2], 4, 12) }, 12)],
  ["a shape that overflows", raw({ a: array([2 ** 32, 2 ** 32, 4], 0, 8) }, 8)],
  ["offsets beyond the end", raw({ a: array([4], 0, 16) }, 8)],
  ["bytes left over", raw({ a: array([1], 0, 4) }, 8)],
  ["quarter precision", raw({ "0.weight": { ...array([2, 4], 0, 8), dtype: "F8_E4M3" } }, 8)],
  ["whole numbers", raw({ "0.weight": { ...array([1, 1], 0, 8), dtype: "I64" } }, 8)],
  ["a vector for a weight", raw({ "0.weight": array([2], 0, 8) }, 8)],
  [
    "layers that do not fit",
    raw({ "0.weight": array([1, 2], 0, 8), "2.weight": array([2, 1], 8, 16), "3.bias": array([1], 16, 20) }, 20),
  ],
  [
    "layers in too many orders to try",
    moduleOf(
      Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`${"abcdefghij"[i % 10]}`.repeat(i + 1), [i && 2, 2]])),
    ),
  ],
  ["a tensor called __proto__", raw(JSON.parse('{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'), 4)],
];

function array(shape: number[], start: number, end: number) {
  return { dtype: "F32", shape, data_offsets: [start, end] };
}

function raw(header: object, length: number): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

test.each(hostile)("%s is refused, and nothing is left of it", async (_, bytes) => {
  await collectGarbage();
  const { liveBytes } = memoryUsage();
  const options = loads(bytes) ? {} : { activation: "tanh" as const };
  thrown("FILE", () => load(bytes, options));
  expect(memoryUsage().liveBytes).toBe(liveBytes);
});

/** Whether the bytes are a tensor file with an architecture. */
function loads(bytes: Uint8Array): boolean {
  try {
    return loadTensors(bytes).metadata.has(KEY);
  } catch {
    return false;
  }
}

test("a changed file gives a field that works, or a typed error", async () => {
  const flow = cnf({ network: { widths: [2, 3, 2] }, trace: "hutchinson" });
  const energy = hamiltonian({ energy: { widths: [3, 3, 1] }, structure: "laplacian", points: 5 });
  const plain = mlp({ widths: [2, 4, 2], time: "concatsquash" });
  const optimizer = adam(plain);
  const files = [save(plain, { optimizer }), save(flow), save(energy), new Uint8Array(fixture)];
  for (const saved of [optimizer, flow, energy, plain]) saved.dispose();
  await collectGarbage();
  const part = { min: 0, max: 1, noNaN: true };
  const edit = fc.record({ inHeader: fc.boolean(), at: fc.double(part), value: fc.nat(255) });
  const change = fc.record({
    file: fc.nat(files.length - 1),
    edits: fc.array(edit, { minLength: 1, maxLength: 3 }),
    cut: fc.option(fc.double(part), { freq: 5 }),
  });
  let usable = 0;
  fc.assert(
    fc.property(change, ({ file, edits, cut }) => {
      const whole = (files[file] as Uint8Array).slice();
      const head = 8 + Number(new DataView(whole.buffer).getBigUint64(0, true));
      for (const { inHeader, at, value } of edits) {
        whole[inHeader ? Math.floor(at * (head - 1)) : head + Math.floor(at * (whole.length - head - 1))] = value;
      }
      const bytes = cut === null ? whole : whole.subarray(0, Math.ceil(cut * whole.length));
      const { liveBytes } = memoryUsage();
      for (const options of [{}, { activation: "tanh" as const }]) {
        try {
          const { field, optimizer } = load(bytes, options);
          try {
            const { length } = field.vjp(
              0,
              numbers(field.dtype, field.stateSize),
              numbers(field.dtype, field.outputSize),
            ).parameters;
            optimizer?.step(numbers(field.dtype, length));
            usable++;
          } finally {
            optimizer?.dispose();
            field.dispose();
          }
        } catch (error) {
          expect((error as Error).name).toBe("SymplecticAdjointError");
          // NaN and infinity may come of weights that are finite.
          expect(["FILE", "OPTION", "NON_FINITE"]).toContain((error as { code: string }).code);
        }
      }
      expect(memoryUsage().liveBytes).toBe(liveBytes);
    }),
    { numRuns: 1500, seed: 1 },
  );
  expect(usable).toBeGreaterThan(20);
});

test("names and buffers in place of bytes have a hint", () => {
  for (const read of [load, loadTensors]) {
    const { message } = thrown("DTYPE", () => read("model.safetensors" as never));
    expect(message).toMatch(/^bytes: expected a Uint8Array, given "model.safetensors"; read the file/);
    expect(thrown("DTYPE", () => read(new ArrayBuffer(8) as never)).message).toMatch(/write new Uint8Array\(buffer\)$/);
  }
});

test("a part of a saved model is loaded by its prefix", () => {
  const parameters = { a: 1, net: nn.sequential(nn.linear(2, 5), nn.tanh, nn.linear(5, 2)) };
  using model = vectorField({
    state: 2,
    dtype: "float64",
    parameters,
    slope: ({ state, parameters: { a, net } }) => net(state).mul(a),
  });
  using network = mlp({ widths: [2, 5, 2], dtype: "float64" });
  const y = Float64Array.of(1, 2);
  loadStateDict(network, save(model), { prefix: "net." });
  expect(network.evaluate(0, y)).toEqual(model.evaluate(0, y));
});
