// Numbers as people write them in tables and options: decimal, and nothing else that JavaScript would take for a number.

const DECIMAL = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i;

/** The number that a text is, or NaN. */
export function readNumber(text: string): number {
  const value = DECIMAL.test(text) ? Number(text) : Number.NaN;
  return Number.isFinite(value) ? value : Number.NaN;
}

/** A count of things, in words. */
export const counted = (count: number, one: string, several = `${one}s`) => `${count} ${count === 1 ? one : several}`;
