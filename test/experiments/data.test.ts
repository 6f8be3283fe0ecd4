// The readers and preparations of data files, on small files made here.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { File, ready } from "h5wasm/node";
import { afterAll, expect, test } from "vitest";
import { readCsv } from "../../bench/experiments/data/csv.mjs";
import { readHdf5 } from "../../bench/experiments/data/hdf5.mjs";
import { loadMaf } from "../../bench/experiments/data/maf.mjs";
import { readNpy } from "../../bench/experiments/data/npy.mjs";
import { moments, type Table } from "../../bench/experiments/data/table.mjs";
import { normals, uniforms } from "../../bench/shared/random.mjs";

const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));
afterAll(() => rmSync(folder, { recursive: true }));
const place = (name: string) => {
  const file = join(folder, name);
  mkdirSync(join(file, ".."), { recursive: true });
  return file;
};

/** An .npy file as numpy.save writes it: header padded to 64 bytes. */
function npy(name: string, descr: string, shape: number[], bytes: Buffer, { version = 1, fortran = false } = {}) {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const text = `{'descr': '${descr}', 'fortran_order': ${fortran ? "True" : "False"}, 'shape': ${tuple}, }`;
  const start = version === 1 ? 10 : 12;
  const header = Buffer.from(`${text.padEnd(Math.ceil((start + text.length + 1) / 64) * 64 - start - 1)}\n`);
  const length = Buffer.alloc(version === 1 ? 2 : 4);
  if (version === 1) length.writeUInt16LE(header.length);
  else length.writeUInt32LE(header.length);
  const file = place(name);
  writeFileSync(
    file,
    Buffer.concat([Buffer.from(`\x93NUMPY`, "latin1"), Buffer.of(version, 0), length, header, bytes]),
  );
  return file;
}
const bytesOf = (values: ArrayBufferView) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);
const row = ({ values, columns }: Table, i: number) => [...values.subarray(i * columns, (i + 1) * columns)];

test("npy: types, versions, orders", () => {
  const types = [
    ["<f4", Float32Array.of(1.5, -2, 3, 4, 5, 6)],
    ["<f8", Float64Array.of(1.5, -2, 3, 4, 5, 6)],
    ["|i1", Int8Array.of(1, -2, 3, 4, 5, 6)],
    ["<i2", Int16Array.of(1, -2, 3, 4, 5, 6)],
    ["<u4", Uint32Array.of(1, 4e9, 3, 4, 5, 6)],
    ["<i8", BigInt64Array.of(1n, -2n, 3n, 4n, 5n, 6n)],
  ] as const;
  for (const [i, [descr, values]] of types.entries()) {
    const version = 1 + (i % 3);
    const read = readNpy(npy("a.npy", descr, [2, 3], bytesOf(values), { version }));
    expect(read.shape).toEqual([2, 3]);
    expect([...read.values]).toEqual([...values].map(Number));
  }
  const columns = bytesOf(Float64Array.of(1, 4, 2, 5, 3, 6));
  expect([...readNpy(npy("f.npy", "<f8", [2, 3], columns, { fortran: true })).values]).toEqual([1, 2, 3, 4, 5, 6]);
  expect(readNpy(npy("v.npy", "<f8", [6], columns)).shape).toEqual([6]);
});

test("npy: what is wrong is told", () => {
  const six = bytesOf(Float64Array.of(1, 2, 3, 4, 5, 6));
  expect(() => readNpy(npy("short.npy", "<f8", [2, 4], six))).toThrow(
    "truncated: 64 bytes of numbers expected, 48 there",
  );
  expect(() => readNpy(npy("big.npy", ">f8", [2, 3], six))).toThrow("numbers of type >f8");
  expect(() => readNpy(npy("v4.npy", "<f8", [2, 3], six, { version: 4 }))).toThrow("version 4");
  writeFileSync(place("none.npy"), "not one at all");
  expect(() => readNpy(place("none.npy"))).toThrow("no .npy file");
  writeFileSync(place("cut.npy"), Buffer.from("\x93NUMPY\x01\x00\xff\x00{'descr'", "latin1"));
  expect(() => readNpy(place("cut.npy"))).toThrow("ends within its header");
});

test("csv: plain and zipped, with and without a header", () => {
  writeFileSync(place("a.csv"), "a,b\n1,2\n3, 4e-1\n");
  expect(readCsv(place("a.csv"), { header: true })).toMatchObject({ rows: 2, columns: 2 });
  writeFileSync(place("a.csv.gz"), gzipSync("1,2\n3,4\n"));
  expect([...readCsv(place("a.csv.gz")).values]).toEqual([1, 2, 3, 4]);
  writeFileSync(place("bad.csv"), "1,2\n3,x\n");
  expect(() => readCsv(place("bad.csv"))).toThrow("row 2, column 2 is no number: “x”");
});

test("hdf5: matrices by name", async () => {
  await ready;
  const written = new File(place("a.hdf5"), "w");
  written.create_dataset({ name: "train", data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [3, 2] });
  written.close();
  const { train } = await readHdf5(place("a.hdf5"), ["train"]);
  expect(train).toMatchObject({ rows: 3, columns: 2 });
  expect([...(train as Table).values]).toEqual([1, 2, 3, 4, 5, 6]);
  await expect(readHdf5(place("a.hdf5"), ["test"])).rejects.toThrow("no data set “test”; there are train");
  await expect(readHdf5(place("b.hdf5"), ["test"])).rejects.toThrow("not there");
});

test("POWER: two columns less, noise within the last digit, standardised", async () => {
  const normal = normals(1);
  const values = Float64Array.from({ length: 1000 * 8 }, () => Math.round(100 * normal()));
  npy("maf/power/data.npy", "<f8", [1000, 8], bytesOf(values));
  const parts = await loadMaf(join(folder, "maf"), "power");
  expect([parts?.train, parts?.validation, parts?.test].map((part) => [part?.rows, part?.columns])).toEqual([
    [810, 6],
    [90, 6],
    [100, 6],
  ]);
  const { mean, deviation } = moments(parts?.train as Table);
  for (let i = 0; i < 6; i++) {
    expect(Math.abs(mean[i] as number)).toBeLessThan(0.05);
    expect(Math.abs((deviation[i] as number) - 1)).toBeLessThan(0.05);
  }
  expect(await loadMaf(join(folder, "maf"), "miniboone")).toBeUndefined();
});

test("GAS: the first of sensors that say the same goes", async () => {
  const normal = normals(2);
  const lines = Array.from({ length: 200 }, (_, i) => {
    const sensors = Array.from({ length: 16 }, normal);
    // The first as the third, the second as the fourth.
    sensors[0] = (sensors[2] as number) + 0.01 * normal();
    sensors[1] = 2 * (sensors[3] as number);
    return [i, 0, 1, ...sensors].join(",");
  });
  const names = ["Time", "Meth", "Eth", ...Array.from({ length: 16 }, (_, i) => `R${i}`)].join(",");
  writeFileSync(place("maf/gas/data.csv"), [names, ...lines].join("\n"));
  const parts = await loadMaf(join(folder, "maf"), "gas");
  expect(parts?.train).toMatchObject({ rows: 162, columns: 14 });
  // The third sensor is the first that is left: its differences stay in proportion.
  const given = [0, 1, 2].map((i) => Number((lines[i] as string).split(",")[5]));
  const kept = [0, 1, 2].map((i) => row(parts?.train as Table, i)[0]);
  const proportion = ([a, b, c]: (number | undefined)[]) => (Number(a) - Number(b)) / (Number(a) - Number(c));
  expect(proportion(kept)).toBeCloseTo(proportion(given), 8);
});

test("HEPMASS: the positive class, continuous features, the test file's last column dropped", async () => {
  const uniform = uniforms(3);
  // Two features, the second of which is discrete.
  const line = (i: number, more = "") => `${i % 2},${uniform()},${Math.floor(3 * uniform())}${more}`;
  const file = (name: string, head: string, rows: number, more = "") =>
    writeFileSync(place(name), [head, ...Array.from({ length: rows }, (_, i) => line(i, more))].join("\n"));
  file("maf/hepmass/1000_train.csv", "# label,f0,f1", 200);
  file("maf/hepmass/1000_test.csv", "# label,f0,f1,mass", 60, ",1000");
  const parts = await loadMaf(join(folder, "maf"), "hepmass");
  expect([parts?.train, parts?.validation, parts?.test].map((part) => [part?.rows, part?.columns])).toEqual([
    [90, 1],
    [10, 1],
    [30, 1],
  ]);
});

test("MINIBOONE: published, and raw with outliers", async () => {
  const normal = normals(4);
  const published = Float64Array.from({ length: 100 * 43 }, normal);
  npy("maf/miniboone/data.npy", "<f8", [100, 43], bytesOf(published));
  expect((await loadMaf(join(folder, "maf"), "miniboone"))?.train).toMatchObject({ rows: 81, columns: 43 });
  // Every tenth row an outlier, and the last seven columns discrete.
  const raw = Float64Array.from({ length: 100 * 50 }, (_, i) => {
    if (i % 500 === 0) return -999;
    return i % 50 >= 43 ? Math.round(normal() > 0 ? 1 : 0) : normal();
  });
  npy("maf/miniboone/data.npy", "<f8", [100, 50], bytesOf(raw));
  expect((await loadMaf(join(folder, "maf"), "miniboone"))?.train).toMatchObject({ rows: 73, columns: 43 });
});

test("BSDS300: as it is", async () => {
  await ready;
  const written = new File(place("maf/BSDS300/BSDS300.hdf5"), "w");
  for (const [i, name] of ["train", "validation", "test"].entries()) {
    written.create_dataset({ name, data: new Float64Array(63 * (4 - i)).fill(i), shape: [4 - i, 63] });
  }
  written.close();
  const parts = await loadMaf(join(folder, "maf"), "bsds300");
  expect(parts?.test).toMatchObject({ rows: 2, columns: 63 });
  expect(parts?.test.values.every((value: number) => value === 2)).toBe(true);
});
