// Numbers in tables and options: decimal only, without the other forms that JavaScript accepts.

const DECIMAL = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i;

/** The number that a text stands for, or NaN. */
export function readNumber(text: string): number {
  const value = DECIMAL.test(text) ? Number(text) : Number.NaN;
  return Number.isFinite(value) ? value : Number.NaN;
}

/** A count with its noun, such as "2 trials". */
export const counted = (count: number, one: string, several = `${one}s`) => `${count} ${count === 1 ? one : several}`;
