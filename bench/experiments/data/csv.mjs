// Tables of numbers from CSV files, plain or gzipped.
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { parse } from "csv-parse/sync";
import { table } from "./table.mjs";

/**
 * The rows of a CSV file; `header` tells whether its first line are names, which are passed over, and `width` how many of the
 * columns are read.
 *
 * @param {string} file
 * @param {{ header?: boolean, width?: number }} options
 */
export function readCsv(file, { header = false, width } = {}) {
  const bytes = readFileSync(file);
  const zipped = bytes[0] === 0x1f && bytes[1] === 0x8b;
  const text = zipped ? gunzipSync(bytes) : bytes;
  const lines = parse(text, { from_line: header ? 2 : 1, skip_empty_lines: true, trim: true });
  if (lines.length === 0) throw new Error(`${file}: no rows`);
  const columns = width ?? lines[0].length;
  const values = new Float64Array(lines.length * columns);
  for (const [i, line] of lines.entries()) {
    if (line.length < columns) throw new Error(`${file}: row ${i + 1} has ${line.length} columns, not ${columns}`);
    for (let j = 0; j < columns; j++) {
      const value = line[j] === "" ? Number.NaN : Number(line[j]);
      if (Number.isNaN(value)) throw new Error(`${file}: row ${i + 1}, column ${j + 1} is no number: “${line[j]}”`);
      values[i * columns + j] = value;
    }
  }
  return table(values, columns);
}
