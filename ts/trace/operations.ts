// The operations on values as functions, to be read as formulas. Each takes numbers as well.
import { type Condition, lift, type Operand, type Value } from "./value.js";

/** −x, row by row. */
export const neg = (x: Operand): Value => lift("neg's argument", x).neg();

/** The absolute value of each row. */
export const abs = (x: Operand): Value => lift("abs's argument", x).abs();

/** −1, 0 or 1, row by row; its derivative is 0. */
export const sign = (x: Operand): Value => lift("sign's argument", x).sign();

/** e to the power of each row. */
export const exp = (x: Operand): Value => lift("exp's argument", x).exp();

/** e^x − 1 of each row, accurate near 0. */
export const expm1 = (x: Operand): Value => lift("expm1's argument", x).expm1();

/** The natural logarithm of each row; NaN below 0. */
export const log = (x: Operand): Value => lift("log's argument", x).log();

/** log(1 + x) of each row x, accurate near 0; NaN below −1. */
export const log1p = (x: Operand): Value => lift("log1p's argument", x).log1p();

/** The square root of each row; NaN below 0. */
export const sqrt = (x: Operand): Value => lift("sqrt's argument", x).sqrt();

/** The square of each row. */
export const square = (x: Operand): Value => lift("square's argument", x).square();

/** The sine of each row, in radians. */
export const sin = (x: Operand): Value => lift("sin's argument", x).sin();

/** The cosine of each row, in radians. */
export const cos = (x: Operand): Value => lift("cos's argument", x).cos();

/** The tangent of each row, in radians. */
export const tan = (x: Operand): Value => lift("tan's argument", x).tan();

/** The inverse sine of each row, in radians; NaN outside [−1, 1]. */
export const asin = (x: Operand): Value => lift("asin's argument", x).asin();

/** The inverse cosine of each row, in radians; NaN outside [−1, 1]. */
export const acos = (x: Operand): Value => lift("acos's argument", x).acos();

/** The inverse tangent of each row, in radians. */
export const atan = (x: Operand): Value => lift("atan's argument", x).atan();

/** The hyperbolic sine of each row. */
export const sinh = (x: Operand): Value => lift("sinh's argument", x).sinh();

/** The hyperbolic cosine of each row. */
export const cosh = (x: Operand): Value => lift("cosh's argument", x).cosh();

/** The hyperbolic tangent of each row. */
export const tanh = (x: Operand): Value => lift("tanh's argument", x).tanh();

/** 1 / (1 + e^−x) of each row. */
export const sigmoid = (x: Operand): Value => lift("sigmoid's argument", x).sigmoid();

/** log(1 + e^x) of each row. */
export const softplus = (x: Operand): Value => lift("softplus's argument", x).softplus();

/** max(x, 0) of each row. */
export const relu = (x: Operand): Value => lift("relu's argument", x).relu();

/** The standard normal distribution function Φ(x) of each row. */
export const normalCdf = (x: Operand): Value => lift("normalCdf's argument", x).normalCdf();

/** x · sigmoid(x) of each row. */
export const silu = (x: Operand): Value => lift("silu's argument", x).silu();

/** x · Φ(x) of each row. */
export const gelu = (x: Operand): Value => lift("gelu's argument", x).gelu();

/** x where it is positive, else e^x − 1, of each row. */
export const elu = (x: Operand): Value => lift("elu's argument", x).elu();

/** The sum of all rows, one number. */
export const sum = (x: Operand): Value => lift("sum's argument", x).sum();

/** The mean of all rows, one number. */
export const mean = (x: Operand): Value => lift("mean's argument", x).mean();

/** The square root of the sum of squares of all rows, one number; it has no derivative where all rows are 0. */
export const norm = (x: Operand): Value => lift("norm's argument", x).norm();

/** log Σ e^x over all rows, one number; it does not overflow. */
export const logSumExp = (x: Operand): Value => lift("logSumExp's argument", x).logSumExp();

/** e^x / Σ e^x, row by row: positive numbers whose sum is 1. It does not overflow. */
export const softmax = (x: Operand): Value => lift("softmax's argument", x).softmax();

/** a + b, row by row; a single row counts for all. */
export const add = (a: Operand, b: Operand): Value => lift("add's first argument", a).add(b);

/** a − b, row by row; a single row counts for all. */
export const sub = (a: Operand, b: Operand): Value => lift("sub's first argument", a).sub(b);

/** a · b, row by row; a single row counts for all. */
export const mul = (a: Operand, b: Operand): Value => lift("mul's first argument", a).mul(b);

/** a / b, row by row; a single row counts for all. */
export const div = (a: Operand, b: Operand): Value => lift("div's first argument", a).div(b);

/** base to the power of exponent, row by row; a negative base needs a whole exponent. */
export const pow = (base: Operand, exponent: Operand): Value => lift("pow's first argument", base).pow(exponent);

/** The smaller of a and b, row by row. */
export const min = (a: Operand, b: Operand): Value => lift("min's first argument", a).min(b);

/** The larger of a and b, row by row. */
export const max = (a: Operand, b: Operand): Value => lift("max's first argument", a).max(b);

/** The angle of the point (x, y), in radians from −π to π, row by row. */
export const atan2 = (y: Operand, x: Operand): Value => lift("atan2's first argument", y).atan2(x);

/** The sum of the products of rows, one number. */
export const dot = (a: Operand, b: Operand): Value => lift("dot's first argument", a).dot(b);

/** The product of a matrix, `[rows, columns]` row-major, and a vector of `columns` rows: a vector of `rows` rows. */
export const matvec = (matrix: Operand, vector: Operand): Value =>
  lift("matvec's first argument", matrix).matvec(vector);

/** The product of the transpose of a matrix, `[rows, columns]` row-major, and a vector of `rows` rows: a vector of `columns` rows. */
export const matvecTransposed = (matrix: Operand, vector: Operand): Value =>
  lift("matvecTransposed's first argument", matrix).matvecTransposed(vector);

/** The product of each row of a and each row of b, `[a.length, b.length]` row-major. */
export const outer = (a: Operand, b: Operand): Value => lift("outer's first argument", a).outer(b);

/** Whether a < b, row by row: a condition for `where`. */
export const less = (a: Operand, b: Operand): Condition => lift("less's first argument", a).less(b);

/** Whether a ≤ b, row by row: a condition for `where`. */
export const lessEqual = (a: Operand, b: Operand): Condition => lift("lessEqual's first argument", a).lessEqual(b);

/** Whether a > b, row by row: a condition for `where`. */
export const greater = (a: Operand, b: Operand): Condition => lift("greater's first argument", a).greater(b);

/** Whether a ≥ b, row by row: a condition for `where`. */
export const greaterEqual = (a: Operand, b: Operand): Condition =>
  lift("greaterEqual's first argument", a).greaterEqual(b);

/** The rows of x, shifted by `shift` places: those that leave at one end come in at the other, as by numpy.roll. */
export const roll = (x: Operand, shift: number): Value => lift("roll's argument", x).roll(shift);
