// Numbers as a reader wants them.

export function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  const [unit, value] = count < 2 ** 20 ? ["KiB", count / 1024] : ["MiB", count / 2 ** 20];
  return `${value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : grouped(Math.round(value))} ${unit}`;
}

export function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : grouped(Math.round(value))} ms`;
}

export function grouped(value: number): string {
  return value.toLocaleString("en-GB");
}

/** An estimate to the second digit of its standard error; more digits where there is none. */
export function estimated(value: number, standardError = Number.NaN): string {
  const decimals = Math.max(0, 1 - Math.floor(Math.log10(standardError)));
  const isKnown = standardError > 0 && Number.isFinite(standardError);
  return isKnown && decimals <= 9 ? value.toFixed(decimals) : String(Number(value.toPrecision(6)));
}

/** Three digits, with a power of ten where that is shorter. */
export function short(value: number): string {
  if (value === 0) return "0";
  return Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5 ? value.toExponential(2) : value.toPrecision(3);
}

/** A text that ends as a sentence does; one that is a question is one already. */
export function sentence(text: string): string {
  return /[.?!]$/.test(text) ? text : `${text}.`;
}
