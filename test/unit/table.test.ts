// Tables as they come: what is plain is read, and for the rest a line says which option reads it.
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { delimiter, missing, names, natural, numbers, span, times, timeUnit } from "../../ts/cli/arguments.js";
import { readSource } from "../../ts/cli/input.js";
import { readNumber } from "../../ts/cli/number.js";
import { readable } from "../../ts/cli/say.js";
import { csvOf, type Format, listOf, readTable, type TableColumns } from "../../ts/cli/table.js";
import { readTime, writeTime } from "../../ts/cli/time.js";

const encoded = (text: string) => new TextEncoder().encode(text);
const read = (text: string | Uint8Array, columns: Partial<TableColumns> = {}, format: Format = {}) =>
  readTable(
    { name: "t.csv", bytes: typeof text === "string" ? encoded(text) : text },
    { time: "time", ...columns },
    format,
  );
/** The one trajectory of a table: time and values by rows. */
const rowsOf = (...given: Parameters<typeof read>) => {
  const { series } = read(...given);
  return series[0]?.times.map((time, i) => [time, ...(series[0]?.rows[i] ?? [])]);
};
const refusal = (...given: Parameters<typeof read>): string => {
  try {
    read(...given);
  } catch (error) {
    expect((error as Error).constructor.name).toBe("Failure");
    return (error as Error).message;
  }
  throw new Error("expected a refusal");
};

const two = [
  [0, 1.5],
  [1, 2.25],
];

function utf16(text: string, big: boolean): Uint8Array {
  const bytes = Buffer.from(`\ufeff${text}`, "utf16le");
  return big ? bytes.swap16() : bytes;
}

test.each<[string, string | Uint8Array, Format?]>([
  ["commas", "time,x\n0,1.5\n1,2.25\n"],
  ["Excel's line of the delimiter", "sep=;\ntime;x\n0;1,5\n1;2,25\n"],
  ["Excel's line of a delimiter that nobody would guess", "sep=~\r\ntime~x\r\n0~1.5\r\n1~2.25\r\n"],
  ["Windows' ends of lines, and none after the last", "time,x\r\n0,1.5\r\n1,2.25"],
  ["a byte order mark", "\ufefftime,x\n0,1.5\n1,2.25\n"],
  ["semicolons", "time;x\n0;1.5\n1;2.25\n"],
  ["semicolons and decimal commas", "time;x\n0;1,5\n1;2,25\n"],
  ["semicolons, where names have commas", '"time";x\n0,0;1,5\n1,0;2,25\n'],
  ["tabs", "time\tx\n0\t1.5\n1\t2.25\n"],
  ["tabs and decimal commas", "time\tx\n0\t1,5\n1\t2,25\n"],
  ["decimal commas in quotes", 'time,x\n0,"1,5"\n1,"2,25"\n'],
  ["bars", "time | x\n0 | 1.5\n1 | 2.25\n"],
  ["a space", "time x\n0 1.5\n1 2.25\n"],
  ["aligned columns", "  time     x\n     0  1.50\n     1  2.25  \n"],
  ["UTF-16 of little endians", utf16("time,x\n0,1.5\n1,2.25\n", false)],
  ["UTF-16 of big endians", utf16("time;x\n0;1,5\n1;2,25\n", true)],
  ["another encoding", Buffer.from("time,x\n0,1.5\n1,2.25\n", "utf16le"), { encoding: "utf-16le" }],
  ["comments", "# of mine\n\n# more, with commas, four\ntime,x\n0,1.5\n# between\n1,2.25\n"],
  ["a header that is a comment", "# written by NumPy\n# time,x\n0.0,1.5\n1.0,2.25\n"],
  ["a header that is a comment, and spaces", "# time x\n0.0 1.5\n1.0 2.25\n"],
  ["other comments", "% of mine\ntime,x\n0,1.5\n%\n1,2.25\n", { comment: "%" }],
  ["rows of commas", "time,x\n0,1.5\n,\n1,2.25\n,\n,,,\n\n"],
  ["commas after the last column", "time,x,\n0,1.5,\n1,2.25,\n"],
  ["commas after the last column of rows alone", "time,x\n0,1.5,\n1,2.25,,\n"],
  ["pandas' index", ",time,x\n0,0,1.5\n1,1,2.25\n"],
  ["pandas' index, written twice", "Unnamed: 0,time,x\n7,0,1.5\n2,1,2.25\n"],
  ["numbers as they may be written", "time,x\n0,+15e-1\n1.0,.225E1\n"],
  ["what is said of it", "time;x\n0;1.5\n1;2.25\n", { delimiter: ";", decimal: ".", comment: "", encoding: "utf-8" }],
])("%s", (_, text, format) => {
  expect(rowsOf(text, {}, format)).toEqual(two);
  expect(read(text, {}, format)).toMatchObject({ state: ["x"], clock: "number" });
});

test.each([",", ";", "\t", "|"])("names with spaces and units between %j", (between) => {
  const text = [
    ["time (h)", "conc (mg/L)"],
    ["0", "10"],
    ["1", "8.2"],
  ]
    .map((row) => `${row.join(between)}\n`)
    .join("");
  expect(rowsOf(text, { time: "time (h)" })).toEqual([
    [0, 10],
    [1, 8.2],
  ]);
  expect(rowsOf(text, { state: ["conc (mg/L)"], time: "time (h)" })).toHaveLength(2);
  // So are the default name and one without its unit.
  expect(rowsOf(text, { state: ["Conc"] })).toHaveLength(2);
  // A row that is too short is told as one.
  expect(refusal(`${text}2\n`)).toMatch(/^t\.csv:4: expected 2 cells, as in the header, given 1/);
});

// What takes the square of its length takes hours here.
test("a long cell is no number in time that grows with its length", () => {
  expect(readNumber(`${"1".repeat(1_000_000)}z`)).toBeNaN();
  expect(readNumber(`1.${"1".repeat(1_000_000)}z`)).toBeNaN();
  expect([readNumber("1."), readNumber("12"), readNumber("1.5e3"), readNumber(".5")]).toEqual([1, 12, 1500, 0.5]);
});

test("missing values", () => {
  const missing = ["", " ", ".", "NA", "N/A", "#N/A", "nan", "NaN", "null", "NULL", "None", "none"];
  const text = `time,x\n${missing.map((cell, i) => `${i},${cell}`).join("\n")}\n`;
  expect(rowsOf(text)).toEqual(missing.map((_, i) => [i, Number.NaN]));
  expect(refusal("time,x\n0,1\nNA,2\n")).toMatch(/t\.csv:3: column time: .*given a missing time/);
});

test("further texts of missing values", () => {
  const text = "run,time,x\n-,0,-\n-,1,<LOQ\n-,2,ND\n-,3,-1\n";
  const format = { missing: "-,<LOQ, ND" };
  // A text that is no number stays what it is.
  expect(read(text, { id: "run" }, format).series).toMatchObject([
    { id: "-", rows: [[Number.NaN], [Number.NaN], [Number.NaN], [-1]] },
  ]);
  expect(missing('-,"a, b"')).toBe('-,"a, b"');
  expect(() => missing("-,,ND")).toThrow(/Expected/);
  expect(refusal("time,x\n-,1\n", {}, format)).toMatch(/given a missing time/);
  expect(refusal("time,x\n0,1\n1,<LOQ\n", { state: ["x"] })).toBe(
    't.csv:3: column x: expected a number, given "<LOQ"; --missing "<LOQ" reads it as a missing value',
  );
});

test.each([
  ["31.01.2024", "write it as 2024-01-31"],
  ["01/31/2024", "write it as 2024-01-31"],
  ["2024/1/31 12:30", "write it as 2024-01-31 12:30"],
  ["1-31-2024", "write it as 2024-01-31"],
  ["01/02/2024", "it may be 2024-02-01 or 2024-01-02: write dates in this order"],
  ["01.01.2024", "write it as 2024-01-01"],
  ["01.02.24", "write dates as year-month-day, as in 2024-01-31"],
])("of the date %s, what to write", (given, hint) => {
  expect(refusal(`time,x\n${given},1\n`)).toMatch(new RegExp(`given "${given}"; ${hint}$`));
});

test("a row of units", () => {
  const hint = "if this is a row of units, begin it with #, or write them into the header, as in conc \\[mg/L\\]$";
  expect(refusal("time,x\nh,mg/L\n0,1\n")).toMatch(new RegExp(`^t\\.csv:2: column time: .* given "h"; ${hint}`));
  expect(rowsOf("time,x\n#h,mg/L\n0,1.5\n1,2.25\n")).toEqual(two);
  expect(refusal("time,x\n0,1\nh,mg/L\n")).not.toContain("units");
});

test.each([
  "0x10",
  "0b1",
  "0o7",
  "1_000",
  "Infinity",
  "-Infinity",
  "1e999",
  "1,2,3",
  "1.2.3",
  "1 2",
  "++1",
  "1e",
  "e1",
  "٣",
  "−1",
  "$5",
])("%s is no number, in a table and in an option", (text) => {
  const cell = JSON.stringify(text);
  expect(refusal(`time,x\n0,1\n1,${cell}\n`)).toContain(`t.csv:3: column x: expected a number, given ${cell}`);
  expect(refusal(`time,x\n0,1\n${cell},1\n`)).toContain("t.csv:3: column time: expected a number, or a date");
  expect(() => natural(text)).toThrow(/Expected/);
  if (text.includes(",")) return;
  for (const option of [numbers, times]) expect(() => option(`1,${text}`)).toThrow(/Expected/);
});

test("dates and times of day in ISO 8601, and nothing that may mean two", () => {
  const at = (text: string) => readTime(text);
  const utc = (...parts: Parameters<typeof Date.UTC>) => Date.UTC(...parts) / 1000;
  expect(at("2024-02-29")).toEqual({ clock: "date", value: utc(2024, 1, 29) });
  expect(at("2024-02")).toEqual({ clock: "date", value: utc(2024, 1, 1) });
  expect(at("2024-02-29T12")).toEqual({ clock: "date", value: utc(2024, 1, 29, 12) });
  expect(at("2024-02-29 12:30")).toEqual({ clock: "date", value: utc(2024, 1, 29, 12, 30) });
  expect(at("2024-02-29t12:30:15,25")).toEqual({ clock: "date", value: utc(2024, 1, 29, 12, 30, 15, 250) });
  expect(at("2024-02-29T12:30Z")).toEqual({ clock: "date with offset", value: utc(2024, 1, 29, 12, 30) });
  expect(at("2024-02-29T12:30:00+05:30")).toEqual({ clock: "date with offset", value: utc(2024, 1, 29, 7) });
  expect(at("2024-02-29 12:30:00-0800")).toEqual({ clock: "date with offset", value: utc(2024, 1, 29, 20, 30) });
  expect(at("0099-12-31")?.value).toBe(new Date("0099-12-31").getTime() / 1000);
  expect(at("1969-12-31T23:59:59")?.value).toBe(-1);
  expect(at("9:05")).toEqual({ clock: "time of day", value: 32_700 });
  expect(at("23:59:59.5")).toEqual({ clock: "time of day", value: 86_399.5 });
  const others = [
    "01/02/2024",
    "1.2.2024",
    "2024/01/02",
    "2023-02-29",
    "2024-13-01",
    "2024-00-10",
    "2024-04-31",
    "2024-04-30T24:00",
  ];
  for (const text of [
    ...others,
    "2024-W05",
    "2024-060",
    "12:60",
    "2024-01-01T25:00",
    "2024-01-01T12:00+25:00",
    "noon",
    "12h",
  ]) {
    expect(at(text), text).toBeUndefined();
    expect(refusal(`time,x\n${text},1\n`)).toContain(`expected a number, or a date or time of day such as 2024-01-31`);
  }
  // As they were written they are written again.
  for (const text of ["2024-02-29", "2024-02-29T12:30:15.250", "2024-02-29T12:30:00Z", "12:30:15", "0999-01-01"]) {
    const { value, clock } = at(text) as { value: number; clock: never };
    expect(writeTime(value, clock)).toBe(text);
  }
  // Hours go on after midnight, written and read.
  expect(writeTime(90_061, "time of day")).toBe("25:01:01");
  expect(at("24:00")).toEqual({ clock: "time of day", value: 86_400 });
  expect(at("25:01:01")?.value).toBe(90_061);
  expect(writeTime(0.1, "number")).toBe(0.1);
});

test("a column of dates, and of two kinds of time", () => {
  const dates = "time;x\n2024-01-31;1,5\n2024-02-29;2,5\n";
  expect(read(dates)).toMatchObject({
    clock: "date",
    series: [{ times: [1706659200, 1709164800], rows: [[1.5], [2.5]] }],
  });
  expect(read("time,x\n2024-01-31T00:00Z,1\n2024-01-31T01:30+01:00,2\n").series[0]?.times).toEqual([
    1706659200, 1706661000,
  ]);
  expect(read("time,x\n08:00,1\n17:30:30,2\n")).toMatchObject({
    clock: "time of day",
    series: [{ times: [28800, 63030] }],
  });
  expect(refusal("time,x\n2024-01-31,1\n5,2\n")).toBe(
    "t.csv:3: column time: expected a date, as above, given 5, a number",
  );
  expect(refusal("time,x\n2024-01-31,1\n2024-01-31T12:00Z,2\n")).toMatch(
    /expected a date, as above, given .*, a date with offset/,
  );
  expect(refusal("time,x\n23:00,1\n01:00,2\n")).toBe(
    "t.csv:3: column time: expected increasing times, given 01:00 after 23:00; times of day that pass midnight need dates, such as 2024-01-31T12:00, or hours that go on, as in 24:00",
  );
  expect(refusal("time,x\n09:00,1\n08:00,2\n")).toMatch(/given 08:00 after 09:00; --id/);
  expect(read("time,x\n23:00,1\n24:00,2\n25:30,3\n").series[0]?.times).toEqual([82_800, 86_400, 91_800]);
});

test.each<[RegExp, string | Uint8Array, Partial<TableColumns>?, Format?]>([
  [
    /t\.csv:1: no column time; there are Times, x; --time names the column of the time, such as --time Times$/,
    "Times,x\n0,1\n",
  ],
  [/such as --time "t \(s\)"$/, "t (s),x\n0,1\n"],
  [/no column time; there are a, "b, c"; --time names/, 'a,"b, c"\n0,1\n'],
  [/no column run; there are time, x; --id names the column of the trajectory$/, "time,x\n0,1\n", { id: "run" }],
  [/no column y; there are time, "x, mm"; .*--state '"a, b",c'$/, 'time,"x, mm"\n0,1\n', { state: ["y"] }],
  [/no column time; there are time~x; --delimiter/, "time~x\n0~1\n"],
  [/no column time; .*the model was trained on a table that has it/, "Zeit,x\n0,1\n", { trained: true }],
  [/no column y; there are time, "Y \(m\)", "Y \(ft\)"/, "time,Y (m),Y (ft)\n0,1,2\n", { state: ["y"] }],
  [/no column X; there are time; /, "time,x\n0,1\n", { state: ["x", "X"] }],
  [/expected columns other than those of the time .*, given T/, "t (s),x\n0,1\n", { time: "t", state: ["T"] }],
  [/t\.csv:1: a column without a name; --state names/, ",time,x\nb,0,1\na,1,2\n"],
  [/t\.csv:1: a column without a name; --state names/, "time,,x\n0,1,2\n"],
  [/t\.csv:1: there are two columns x/, "time,x,x\n0,1,2\n"],
  [/t\.csv:1: expected a header .*, given numbers alone/, "0,1\n1,2\n"],
  [/t\.csv:3: column x: expected a number, given "a"; --state names the columns of the state/, "time,x\n0,1\n1,a\n"],
  [/t\.csv:3: column x: expected a number, given "a"$/, "time,x\n0,1\n1,a\n", { state: ["x"] }],
  [/t\.csv:3: column y: expected a number, given "1,5"; --decimal "," reads/, 'time,x,y\n0,1.5,2\n1,2,"1,5"\n'],
  [
    /t\.csv:2: column x: 1,234: may have a decimal comma or a thousands separator; --decimal/,
    "time;x\n0;1,234\n1;2,500\n",
  ],
  [/t\.csv:3: expected 2 cells, as in the header, given 1$/, "time,x\n0,1\n1\n"],
  [
    /^t\.csv:3: expected 1 cell, as in the header, given 3; the header is line 1: "Results of 2024"; if that is no header, lines above it may begin with #$/,
    "Results of 2024\n\ntime,x,y\n0,1,2\n1,2,3\n",
  ],
  [/^t\.csv:3: expected 1 cell, .* line 1: "Results"; if that is no header/, "Results\ntime;x\n0;1,5\n1;2,5\n"],
  [
    /^t\.csv:2: expected 3 cells, .* given 2; .*; if that is no header, delete .*/,
    "a,b,c\ntime,x\n0,1\n",
    {},
    { comment: "" },
  ],
  [/t\.csv:3: expected 2 cells, as in the header, given 3/, "time,x\n0,1\n1,2,3\n"],
  [
    /t\.csv:3: #a,1,2: may be a row or a comment; --comment "" reads it as a row/,
    "run,time,x\nb,0,1\n#a,1,2\n",
    { id: "run" },
  ],
  [/is not text in utf-8; --encoding/, Buffer.from("time,Größe\n0,1\n", "latin1")],
  [/contains zero bytes.*--encoding utf-16le/, Buffer.from("time,x\n0,1\n", "utf16le")],
  [/is compressed; gunzip/, Uint8Array.of(0x1f, 0x8b, 8, 0)],
  [/^t\.csv:3: column x: /, "sep=;\ntime;x\n0;a\n"],
  [/is empty; expected a header/, ""],
  [/is empty; expected a header/, "# only this\n,,,\n"],
  [/no rows below the header/, "time,x\n"],
  [/t\.csv:\d: Quote Not Closed/, 'time,x\n0,"1\n'],
])("%s", (message, text, columns, format) => {
  expect(refusal(text, columns, format)).toMatch(message);
});

test("times that are not in order are refused, with what to do about it", () => {
  const sort = "sort the rows by time; --id names the column of the trajectory, if there are several";
  expect(refusal("time,x\n1,1\n3,2\n2,3\n")).toBe(
    `t.csv:4: column time: expected increasing times, given 2 after 3; ${sort}`,
  );
  // From the beginning again, it is more probably another trajectory.
  expect(refusal("time,x\n1,1\n3,2\n1,3\n")).toMatch(
    /; --id names .* several; if there is one, sort the rows by time$/,
  );
  expect(refusal("time,x,run\n1,1,a\n3,2,a\n2,3,a\n", { id: "run" })).toMatch(
    /; sort the rows of each trajectory by time$/,
  );
  expect(refusal("time,x\n1,1\n3,2\n2,3\n", { trained: true, state: ["x"] })).toMatch(/; sort the rows by time$/);
});

test("a row that is there twice is read once; of two that differ at the same time, none is chosen", () => {
  expect(rowsOf("time,x\n0,1.5\n0,1.5\n1,2.25\n1,2.25\n1,2.25\n")).toEqual(two);
  // What is not read does not matter.
  expect(rowsOf("time,x,by\n0,1.5,me\n0,1.5,you\n1,2.25,me\n", { state: ["x"] })).toEqual(two);
  const differ = "time,x\n0,1\n1,2\n1,3\n";
  expect(refusal(differ)).toBe(
    "t.csv:4: column time: expected each time in only one row, given 1 again after line 3, with other values; keep one of the two, or their mean; if they belong to several trajectories, --id names the column that tells which",
  );
  expect(refusal(differ, { trained: true, state: ["x"] })).toMatch(/or their mean$/);
  expect(rowsOf(differ, { repeated: true })).toHaveLength(3);
});

test("a table is written as another one is", () => {
  const again = (text: string, format: Format = {}) => {
    const { dialect, series, state } = read(text, {}, format);
    const rows = series.flatMap(({ times, rows }) => times.map((time, i) => [time, ...(rows[i] ?? [])]));
    return csvOf(["time", ...state], rows, dialect);
  };
  for (const text of [
    "time,x\n0,1.5\n",
    "time;x\n0;1,5\n",
    "time;x\n0;1.5\n",
    "time\tx\n0\t1,5\n",
    "time|x\n0|1.5\n",
  ]) {
    expect(again(text)).toBe(text);
  }
  // Spaces may be in names, and a comma cannot stand for two things.
  expect(again("time x\n0 1.5\n")).toBe("time,x\n0,1.5\n");
  expect(again('time,x\n0,"1,5"\n')).toBe("time;x\n0;1,5\n");
  expect(again('time;"x; mm"\n0;1,5\n')).toBe('time;"x; mm"\n0;1,5\n');
  expect(csvOf(["a, b"], [["c.d"], [1.5]], { delimiter: ";", decimal: "," })).toBe("a, b\nc.d\n1,5\n");
});

test("what an option says is heeded", () => {
  expect(rowsOf("time;x\n0;1,234\n1;2,500\n", {}, { decimal: "," })).toEqual([
    [0, 1.234],
    [1, 2.5],
  ]);
  expect(rowsOf("time~x\n0~1.5\n1~2.25\n", {}, { delimiter: "~" })).toEqual(two);
  // A missing value as Excel writes it is no comment, wherever it stands.
  expect(rowsOf("x,time,y\n1,0,5\n#N/A,1,6\n#n/a,2,7\n", { state: ["y"] })).toEqual([
    [0, 5],
    [1, 6],
    [2, 7],
  ]);
  expect(refusal("run,time,x\n1,0,1\n#7,1,2\n")).toMatch(/^t\.csv:3: #7,1,2: may be a row or a comment/);
  expect(read("run,time,x\n#a,0,1\n#a,1,2\n", { id: "run" }, { comment: "" }).series[0]?.id).toBe("#a");
  expect(read("run,time,x\nb,0,1\n#a,0,1\n", { id: "run" }, { comment: "#" }).series.map(({ id }) => id)).toEqual([
    "b",
  ]);
  expect(read(Buffer.from("time,Größe\n0,1\n", "latin1"), {}, { encoding: "windows-1252" }).state).toEqual(["Größe"]);
  expect(delimiter("tab")).toBe("\t");
  expect(delimiter(";")).toBe(";");
});

test("names with commas stand in quotes", () => {
  expect(names('a,"b, c", d')).toEqual(["a", "b, c", "d"]);
  expect(names("t (s)")).toEqual(["t (s)"]);
  for (const text of ["", "a,,b", "a,a", '"a', "a\nb"]) expect(() => names(text)).toThrow(/Expected/);
  expect(listOf(["a", "b, c", 'd "e"'])).toBe('a, "b, c", "d ""e"""');
  expect(read('time,"x, mm",y\n0,1,2\n', { state: names('"x, mm"') }).series[0]?.rows).toEqual([[1]]);
});

test("times of predictions: ranges and lists, of numbers, dates and times of day", () => {
  expect(times("0:1:0.25")).toEqual({ clock: "number", values: [0, 0.25, 0.5, 0.75, 1] });
  expect(times("0.5,2")).toEqual({ clock: "number", values: [0.5, 2] });
  expect(times("2024-01-31,2024-02-01").values).toEqual([1706659200, 1706745600]);
  expect(times("2024-01-31:2024-02-01:43200").values).toEqual([1706659200, 1706702400, 1706745600]);
  expect(times("2024-01-31T00:00:2024-01-31T01:00:1800").values).toEqual([1706659200, 1706661000, 1706662800]);
  expect(times("08:00:09:00:1800")).toEqual({ clock: "time of day", values: [28800, 30600, 32400] });
  for (const text of ["1,0", "0:1", "1:0:0.5", "0:1e9:1", "2024-01-31,5", "a", "0:1:0x1"]) {
    expect(() => times(text), text).toThrow(/Expected/);
  }
});

test("steps between dates may have a unit, and so may other spans of time", () => {
  expect(times("2024-01-31:2024-02-03:1d").values).toEqual([0, 1, 2, 3].map((day) => 1706659200 + 86_400 * day));
  expect(times("2024-01-31:2024-02-01:6h").values).toHaveLength(5);
  expect(times("2024-01-31T00:00:2024-01-31T01:00:30min").values).toEqual([1706659200, 1706661000, 1706662800]);
  expect(times("08:00:08:01:10s").values).toEqual([0, 1, 2, 3, 4, 5, 6].map((i) => 28800 + 10 * i));
  expect(() => times("0:10:1d")).toThrow("Expected a number as the step between numbers, given 1d.");
  expect(() => times("2024-01-01:2025-01-01:1")).toThrow(/such as 2024-01-31:2024-02-20:6h .* at most a million times/);
  expect(() => times("2024-01-01:2025-01-01:1m")).toThrow(/Expected/);
  for (const text of ["1.5h", "90min", "5400 s", "5400seconds", ".0625day"])
    expect(span(text)).toEqual({ seconds: 5400 });
  expect([span("12.42"), span("1e-3")]).toEqual([12.42, 1e-3]);
  for (const text of ["0", "0d", "-1d", "d", "1 month", "1dd"]) expect(() => span(text), text).toThrow(/Expected/);
  expect(["s", "minute", "Hours", "day"].map(timeUnit)).toEqual(["s", "min", "h", "d"]);
  expect(() => timeUnit("m")).toThrow("Expected s, min, h or d.");
});

test("a unit of time belongs to dates", () => {
  expect(read("time,x\n2024-01-31,1\n2024-02-29,2\n", {}, { timeUnit: "d" }).unit).toBe(86_400);
  expect([read("time,x\n2024-01-31,1\n").unit, read("time,x\n0,1\n").unit]).toEqual([1, 1]);
  expect(refusal("time,x\n0,1\n", {}, { timeUnit: "d" })).toBe(
    "--time-unit: expected dates or times of day in the column time, given numbers, which have their own unit",
  );
});

test("what has no end, or is larger than what can be loaded, is not read", async () => {
  const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));
  try {
    const file = join(folder, "t.csv");
    writeFileSync(file, "time,x\n");
    expect((await readSource(file)).bytes).toEqual(Buffer.from("time,x\n"));
    // It takes no room: nothing was written there.
    truncateSync(file, 2 ** 31);
    await expect(readSource(file)).rejects.toThrow(`${file}: expected at most 2147483647 bytes, given more`);
    await expect(readSource(folder)).rejects.toThrow(`${folder}: is a folder`);
    await expect(readSource(join(folder, "u.csv"))).rejects.toThrow("u.csv: no such file");
  } finally {
    rmSync(folder, { recursive: true });
  }
  if (!existsSync("/dev/zero")) return;
  await expect(readSource("/dev/zero")).rejects.toThrow("/dev/zero: expected a file or a pipe, given a device");
});

test("control characters of names are shown, and steer no terminal", () => {
  expect(readable("a\u001b[31mb\u0000\u0007\u007f\u009bc\rd")).toBe("a\\x1b[31mb\\x00\\x07\\x7f\\x9bc\\x0dd");
  expect(readable("température\t°C\r\n温度\n")).toBe("température\t°C\r\n温度\n");
});
