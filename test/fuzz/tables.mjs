// Hostile CSV files: each is read as what it says, or refused by one line that names the file. Not a stack, not a hang, and no
// number that does not stand there.
import assert from "node:assert/strict";
import * as api from "../../dist/index.js";
import { commandModules } from "./bundle.mjs";
import { fuzz } from "./common.mjs";

const { readTable, Failure } = await commandModules("table", "failure");

/** A value, and a text that means it. */
function cellFor(random, decimal) {
  const kind = random.below(10);
  if (kind === 0) return { text: random.pick(["", ".", "NA", "n/a", "NaN", "null", "None"]), value: Number.NaN };
  const value = Number(((random.uniform() - 0.5) * 10 ** random.below(7)).toPrecision(1 + random.below(12)));
  const text = kind === 1 ? value.toExponential() : String(value);
  return { text: text.replace(".", decimal), value };
}

/** How the same table may be written. */
function dialectFor(random) {
  const delimiter = random.pick([",", ";", "\t", "|"]);
  return {
    delimiter,
    decimal: delimiter !== "," && random.chance(0.4) ? "," : ".",
    end: random.pick(["\n", "\r\n"]),
    last: random.chance(0.5),
    encoding: random.pick(["utf-8", "utf-8 with mark", "utf-16le", "utf-16be"]),
    comments: random.chance(0.3),
    gaps: random.chance(0.3),
    index: random.chance(0.2),
    trailing: random.chance(0.2),
    clock: random.pick(["number", "number", "date", "time of day"]),
  };
}

const NAMES = ["x", "y", "speed, m/s", 'the "q"', "Größe", "温度", "__proto__", " a  b ", "constructor", "#"];

/** A table by its values, and the bytes of it in a dialect. */
function written(random) {
  const dialect = dialectFor(random);
  const { delimiter, decimal, end } = dialect;
  const columns = [...new Set(Array.from({ length: 1 + random.below(4) }, () => random.pick(NAMES)))];
  const ids = random.chance(0.5) ? ["a", 'b"', "c,d"].slice(0, 1 + random.below(3)) : undefined;
  const quoted = (text) =>
    /[",;\t|#\n]/.test(text) || text !== text.trim() || random.chance(0.1) ? `"${text.replaceAll('"', '""')}"` : text;
  const times = { number: (i) => [i * 0.5, String(i * 0.5).replace(".", decimal)], date: day, "time of day": minute };
  const header = [...(ids ? ["run"] : []), "time", ...columns];
  const lines = [(dialect.index ? ["", ...header] : header).map(quoted)];
  const series = (ids ?? [""]).map((id) => {
    const rows = Array.from({ length: 1 + random.below(6) }, (_, i) => {
      const cells = columns.map(() => cellFor(random, decimal));
      const [time, text] = times[dialect.clock](i);
      const row = [...(ids ? [id] : []), text, ...cells.map(({ text }) => text)].map(quoted);
      lines.push(dialect.index ? [String(lines.length - 1), ...row] : row);
      return { time, values: cells.map(({ value }) => value) };
    });
    return { id, times: rows.map(({ time }) => time), rows: rows.map(({ values }) => values) };
  });
  const texts = lines.map((cells) => cells.join(delimiter) + (dialect.trailing ? delimiter : ""));
  if (dialect.gaps) texts.splice(1 + random.below(texts.length), 0, delimiter.repeat(lines[0].length - 1), "");
  if (dialect.comments) texts.splice(random.below(texts.length), 0, '# of, mine; "and" more');
  const text = texts.join(end) + (dialect.last ? end : "");
  return { dialect, columns, ids, series, bytes: encodedAs(text, dialect.encoding) };
}

const day = (i) => [Date.UTC(2024, 1, 27 + i) / 1000, new Date(Date.UTC(2024, 1, 27 + i)).toISOString().slice(0, 10)];
const minute = (i) => [
  60 * (59 + i),
  `${String(Math.floor((59 + i) / 60)).padStart(2, "0")}:${String((59 + i) % 60).padStart(2, "0")}`,
];

function encodedAs(text, encoding) {
  if (encoding === "utf-8") return new TextEncoder().encode(text);
  if (encoding === "utf-8 with mark") return new TextEncoder().encode(`\ufeff${text}`);
  const bytes = Buffer.from(`\ufeff${text}`, "utf16le");
  return new Uint8Array(encoding === "utf-16be" ? bytes.swap16() : bytes);
}

/** The bytes with some of them changed, taken out, put in or moved. */
function damaged(random, bytes) {
  let given = Uint8Array.from(bytes);
  for (let edits = random.below(4); edits > 0; edits--) {
    const at = random.below(given.length + 1);
    const to = Math.min(given.length, at + random.below(6));
    const piece = given.subarray(at, to);
    const odd = new TextEncoder().encode(random.pick(ODDITIES));
    const parts = random.pick([
      [given.subarray(0, at), given.subarray(to)],
      [given.subarray(0, at), piece, piece, given.subarray(to)],
      [given.subarray(0, at), odd, given.subarray(at)],
      [given.subarray(0, at), odd, given.subarray(to)],
      [given.subarray(0, at), Uint8Array.of(random.below(256)), given.subarray(at + 1)],
      [given.subarray(0, at)],
    ]);
    given = new Uint8Array(Buffer.concat(parts));
  }
  return given;
}

const ODDITIES = [
  ...[
    '"',
    '""',
    ",",
    ";;",
    "\t",
    "\r",
    "\n\n",
    "#",
    "\0",
    "\ufeff",
    "\ud800",
    "\u2028",
    "\\",
    "'",
    " ",
    "   ",
    "-",
    ".",
  ],
  ...[
    "0x10",
    "1_0",
    "Infinity",
    "1e999",
    "1,234",
    "1.234,5",
    "NaN",
    "null",
    "undefined",
    "__proto__",
    "time",
    "٣",
    "−1",
  ],
  ...[
    "2024-02-30",
    "24:00",
    "01/02/2024",
    "2024-01-01T00:00:00+99:00",
    "a,".repeat(300),
    '"\n'.repeat(50),
    "9".repeat(400),
  ],
];

/** What any table that is read has to be. */
function check({ state, clock, series }) {
  assert.ok(state.length > 0 && new Set(state).size === state.length);
  assert.ok(["number", "date", "date with offset", "time of day"].includes(clock));
  assert.ok(series.length > 0);
  for (const { times, rows, lines } of series) {
    assert.ok(times.length > 0 && times.length === rows.length && lines.length === rows.length);
    assert.ok(lines.every((line) => Number.isInteger(line) && line >= 1));
    assert.ok(times.every((time, i) => Number.isFinite(time) && (i === 0 || time > times[i - 1])));
    assert.ok(
      rows.every((row) => row.length === state.length && row.every((x) => !(Math.abs(x) === Number.POSITIVE_INFINITY))),
    );
  }
}

const counts = { read: 0, refused: 0, right: 0 };
const { count, seconds } = await fuzz(api, "tables", { count: 20_000 }, (random) => {
  const { dialect, columns, ids, series, bytes } = written(random);
  const names = { time: "time", ...(ids && { id: "run" }) };
  const source = { name: "table.csv", bytes };
  // As it was written it is read; where only the option can tell, by the option.
  const format = random.chance(0.5) ? {} : { delimiter: dialect.delimiter, decimal: dialect.decimal };
  const own = attempt(() => readTable(source, { ...names, state: columns }, format));
  if (own) {
    const read = own.series.map(({ lines: _, ...rest }) => rest);
    assert.deepEqual(read, series);
    assert.equal(own.clock, dialect.clock);
    counts.right++;
  }
  const table = attempt(() =>
    readTable({ ...source, bytes: damaged(random, bytes) }, names, random.chance(0.8) ? {} : format),
  );
  if (table) check(table);
  counts[table ? "read" : "refused"]++;
});

function attempt(body) {
  try {
    return body();
  } catch (error) {
    assert.ok(error instanceof Failure, error.stack);
    assert.match(error.message, /^(table\.csv(:[\d?]+)?: \S|--state: )/);
    assert.ok(error.message.length < 20_000 && !/\n\s+at /.test(error.message));
    return undefined;
  }
}

assert.ok(counts.right > 0.99 * count, `${counts.right} of ${count} tables were read as they were written`);
assert.ok(count < 1000 || (counts.read > count / 20 && counts.refused > count / 20));
console.log(`${count} tables in ${seconds.toFixed(0)} s: ${JSON.stringify(counts)}`);
