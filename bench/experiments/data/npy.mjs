// NumPy's array files (numpy.lib.format, versions 1 to 3): numbers, little-endian.
import { readFileSync } from "node:fs";
import { table } from "./table.mjs";

const READERS = {
  "<f4": [4, (view, at) => view.getFloat32(at, true)],
  "<f8": [8, (view, at) => view.getFloat64(at, true)],
  "|i1": [1, (view, at) => view.getInt8(at)],
  "|u1": [1, (view, at) => view.getUint8(at)],
  "<i2": [2, (view, at) => view.getInt16(at, true)],
  "<u2": [2, (view, at) => view.getUint16(at, true)],
  "<i4": [4, (view, at) => view.getInt32(at, true)],
  "<u4": [4, (view, at) => view.getUint32(at, true)],
  "<i8": [8, (view, at) => Number(view.getBigInt64(at, true))],
  "<u8": [8, (view, at) => Number(view.getBigUint64(at, true))],
};

/** An array in a file: its shape and its numbers, row-major whatever the order in the file. */
export function readNpy(file) {
  const bytes = readFileSync(file);
  const refuse = (why) => {
    throw new Error(`${file}: ${why}`);
  };
  if (bytes.length < 10 || bytes.toString("latin1", 0, 6) !== "\x93NUMPY") refuse("no .npy file");
  const version = bytes[6];
  if (version < 1 || version > 3) refuse(`version ${version} of the format, not 1 to 3`);
  const start = version === 1 ? 10 : 12;
  if (bytes.length < start) refuse("ends within its header");
  const data = start + (version === 1 ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8));
  if (bytes.length < data) refuse("ends within its header");
  const header = bytes.toString(version === 3 ? "utf8" : "latin1", start, data);
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const fortran = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const tuple = /'shape':\s*\(([\d,\sL]*)\)/.exec(header)?.[1];
  if (fortran === undefined || tuple === undefined) return refuse("a header that tells no order or no shape");
  if (!Object.hasOwn(READERS, descr ?? "")) {
    refuse(`numbers of type ${descr ?? "unknown"}, not of ${Object.keys(READERS).join(", ")}`);
  }
  const [size, read] = READERS[descr];
  const shape = (tuple.match(/\d+/g) ?? []).map(Number);
  const count = shape.reduce((product, side) => product * side, 1);
  const there = bytes.length - data;
  if (there < count * size) refuse(`truncated: ${count * size} bytes of numbers expected, ${there} there`);
  const view = new DataView(bytes.buffer, bytes.byteOffset + data, count * size);
  const values = new Float64Array(count);
  for (let i = 0; i < count; i++) values[i] = read(view, i * size);
  return { shape, values: fortran === "True" ? rowMajor(values, shape) : values };
}

/** A matrix, as a table. */
export function readNpyTable(file) {
  const { shape, values } = readNpy(file);
  if (shape.length !== 2) throw new Error(`${file}: an array of ${shape.length} dimensions, not a matrix`);
  return table(values, shape[1]);
}

function rowMajor(values, shape) {
  const result = new Float64Array(values.length);
  const index = new Array(shape.length).fill(0);
  // The first index runs fastest in the file.
  for (const value of values) {
    const place = index.reduce((sum, i, axis) => sum * shape[axis] + i, 0);
    result[place] = value;
    for (let axis = 0; axis < shape.length && ++index[axis] === shape[axis]; axis++) index[axis] = 0;
  }
  return result;
}
