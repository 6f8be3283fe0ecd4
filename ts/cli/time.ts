// Times in tables: numbers, or dates and times of day in ISO 8601, which become seconds.
import { readNumber } from "./number.js";

/** The format of a column of times. Dates without an offset are taken as UTC. */
export type Clock = "number" | "date" | "date with offset" | "time of day";
export const CLOCKS: readonly Clock[] = ["number", "date", "date with offset", "time of day"];

export interface Time {
  readonly clock: Clock;
  /** Plain numbers as they are; otherwise seconds since 1970, or since midnight. */
  readonly value: number;
}

const TIME = String.raw`(\d{2})(?::(\d{2})(?::(\d{2})(?:[.,](\d+))?)?)?`;
const DATE = new RegExp(String.raw`^(\d{4})-(\d{2})(?:-(\d{2})(?:[T ]${TIME}(Z|[+-]\d{2}(?::?\d{2})?)?)?)?$`, "i");
/** Hours may continue after midnight, as in 24:00. */
const DAYTIME = /^(\d{1,4}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?$/;

/** The accepted times, for messages. */
export const TIMES = "a number, or a date or time of day such as 2024-01-31, 2024-01-31T12:00:00 or 12:00";

/** Units of time in seconds, with their other names. */
const UNITS = { s: 1, min: 60, h: 3600, d: 86_400 } as const;
export type TimeUnit = keyof typeof UNITS;
const NAMES: Readonly<Record<TimeUnit, RegExp>> = {
  s: /^(?:s|secs?|seconds?)$/i,
  min: /^(?:min|minutes?)$/i,
  h: /^(?:h|hours?)$/i,
  d: /^(?:d|days?)$/i,
};

/** The unit of time that a text names, if any. */
export const readUnit = (text: string): TimeUnit | undefined =>
  (Object.keys(NAMES) as TimeUnit[]).find((unit) => NAMES[unit].test(text));

/** The seconds that a text such as `6h` stands for; undefined without a unit. */
export function readSeconds(text: string): number | undefined {
  const [, number = "", name = ""] = /^([\d.+e-]*\d\.?)\s*([a-z]+)$/i.exec(text) ?? [];
  const unit = readUnit(name);
  const seconds = unit === undefined ? Number.NaN : readNumber(number) * UNITS[unit];
  return Number.isNaN(seconds) ? undefined : seconds;
}

/** The seconds in a unit of time; default: 1. */
export const secondsIn = (unit: string | undefined): number => UNITS[(unit ?? "s") as TimeUnit];

/** A note on the unit of t if times are dates and no option sets it. */
export const notesOnDates = (clock: Clock, { timeUnit }: { readonly timeUnit?: string | undefined }): string[] =>
  clock === "number" || timeUnit !== undefined
    ? []
    : [
        `times are ${clock === "time of day" ? "times of day" : "dates"}: t is in seconds, and rates are per second; --time-unit d makes that days`,
      ];

/** The time that a text stands for; undefined if it is none or ambiguous, such as 01/02/2024. */
export function readTime(text: string): Time | undefined {
  const number = readNumber(text);
  if (!Number.isNaN(number)) return { clock: "number", value: number };
  const daytime = DAYTIME.exec(text);
  if (daytime) {
    const value = secondsOf(daytime[1], daytime[2], daytime[3], daytime[4], 9999);
    return value === undefined ? undefined : { clock: "time of day", value };
  }
  const [whole, year, month, day = "01", hours, minutes, seconds, fraction, zone] = DATE.exec(text) ?? [];
  if (whole === undefined) return undefined;
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  // Date would move a day that does not exist to the next month.
  if (date.getUTCMonth() !== Number(month) - 1 || date.getUTCDate() !== Number(day)) return undefined;
  const [within, offset] = [secondsOf(hours, minutes, seconds, fraction), offsetOf(zone)];
  if (within === undefined || offset === undefined) return undefined;
  const value = date.getTime() / 1000 + within - offset;
  return { clock: zone === undefined ? "date" : "date with offset", value };
}

function secondsOf(hours = "0", minutes = "0", seconds = "0", fraction = "0", most = 23): number | undefined {
  if (Number(hours) > most || Number(minutes) > 59 || Number(seconds) > 59) return undefined;
  return 3600 * Number(hours) + 60 * Number(minutes) + Number(`${seconds}.${fraction}`);
}

/** How many seconds a clock is ahead of UTC. */
function offsetOf(zone = "Z"): number | undefined {
  if (zone.toUpperCase() === "Z") return 0;
  const seconds = secondsOf(zone.slice(1, 3), zone.slice(3).replace(":", "") || "0");
  return seconds === undefined ? undefined : zone.startsWith("-") ? -seconds : seconds;
}

/** A time in the format of its column, to the millisecond; at midnight, the date alone. */
export function writeTime(value: number, clock: Clock): number | string {
  if (clock === "number") return value;
  const milliseconds = Math.round(1000 * value);
  if (clock === "time of day") {
    const [hours, rest] = [Math.floor(milliseconds / 3_600_000), new Date(milliseconds).toISOString().slice(13, -1)];
    return value < 0 ? value : short(`${String(hours).padStart(2, "0")}${rest}`);
  }
  const date = new Date(milliseconds);
  // Outside the range of dates.
  if (Number.isNaN(date.getTime())) return value;
  const text = date.toISOString().slice(0, -1);
  if (clock === "date with offset") return `${short(text)}Z`;
  return text.endsWith("T00:00:00.000") ? text.slice(0, -13) : short(text);
}

/** Without a fraction of zero. */
const short = (text: string) => text.replace(/\.000$/, "");
