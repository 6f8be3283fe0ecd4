// The operations on values as functions, to be read as formulas. Each takes numbers as well.
import { type Condition, lifted, type Operand, type Value } from "./value.js";

/** −x, row by row. */
export const neg = (x: Operand): Value => lifted("neg's argument", x).neg();

/** The absolute value of each row. */
export const abs = (x: Operand): Value => lifted("abs's argument", x).abs();

/** −1, 0 or 1, row by row; its derivative is 0. */
export const sign = (x: Operand): Value => lifted("sign's argument", x).sign();

/** e to the power of each row. */
export const exp = (x: Operand): Value => lifted("exp's argument", x).exp();

/** e^x − 1 of each row, accurate near 0. */
export const expm1 = (x: Operand): Value => lifted("expm1's argument", x).expm1();

/** The natural logarithm of each row; NaN below 0. */
export const log = (x: Operand): Value => lifted("log's argument", x).log();

/** log(1 + x) of each row x, accurate near 0; NaN below −1. */
export const log1p = (x: Operand): Value => lifted("log1p's argument", x).log1p();

/** The square root of each row; NaN below 0. */
export const sqrt = (x: Operand): Value => lifted("sqrt's argument", x).sqrt();

/** The square of each row. */
export const square = (x: Operand): Value => lifted("square's argument", x).square();

/** The sine of each row, in radians. */
export const sin = (x: Operand): Value => lifted("sin's argument", x).sin();

/** The cosine of each row, in radians. */
export const cos = (x: Operand): Value => lifted("cos's argument", x).cos();

/** The tangent of each row, in radians. */
export const tan = (x: Operand): Value => lifted("tan's argument", x).tan();

/** The inverse sine of each row, in radians; NaN outside [−1, 1]. */
export const asin = (x: Operand): Value => lifted("asin's argument", x).asin();

/** The inverse cosine of each row, in radians; NaN outside [−1, 1]. */
export const acos = (x: Operand): Value => lifted("acos's argument", x).acos();

/** The inverse tangent of each row, in radians. */
export const atan = (x: Operand): Value => lifted("atan's argument", x).atan();

/** The hyperbolic sine of each row. */
export const sinh = (x: Operand): Value => lifted("sinh's argument", x).sinh();

/** The hyperbolic cosine of each row. */
export const cosh = (x: Operand): Value => lifted("cosh's argument", x).cosh();

/** The hyperbolic tangent of each row. */
export const tanh = (x: Operand): Value => lifted("tanh's argument", x).tanh();

/** 1 / (1 + e^−x) of each row. */
export const sigmoid = (x: Operand): Value => lifted("sigmoid's argument", x).sigmoid();

/** log(1 + e^x) of each row. */
export const softplus = (x: Operand): Value => lifted("softplus's argument", x).softplus();

/** max(x, 0) of each row. */
export const relu = (x: Operand): Value => lifted("relu's argument", x).relu();

/** The standard normal distribution function Φ(x) of each row. */
export const normalCdf = (x: Operand): Value => lifted("normalCdf's argument", x).normalCdf();

/** x · sigmoid(x) of each row. */
export const silu = (x: Operand): Value => lifted("silu's argument", x).silu();

/** x · Φ(x) of each row. */
export const gelu = (x: Operand): Value => lifted("gelu's argument", x).gelu();

/** x where it is positive, else e^x − 1, of each row. */
export const elu = (x: Operand): Value => lifted("elu's argument", x).elu();

/** The sum of all rows, one number. */
export const sum = (x: Operand): Value => lifted("sum's argument", x).sum();

/** The mean of all rows, one number. */
export const mean = (x: Operand): Value => lifted("mean's argument", x).mean();

/** The square root of the sum of squares of all rows, one number; it has no derivative where all rows are 0. */
export const norm = (x: Operand): Value => lifted("norm's argument", x).norm();

/** log Σ e^x over all rows, one number; it does not overflow. */
export const logSumExp = (x: Operand): Value => lifted("logSumExp's argument", x).logSumExp();

/** e^x / Σ e^x, row by row: positive numbers whose sum is 1. It does not overflow. */
export const softmax = (x: Operand): Value => lifted("softmax's argument", x).softmax();

/** a + b, row by row; a single row counts for all. */
export const add = (a: Operand, b: Operand): Value => lifted("add's first argument", a).add(b);

/** a − b, row by row; a single row counts for all. */
export const sub = (a: Operand, b: Operand): Value => lifted("sub's first argument", a).sub(b);

/** a · b, row by row; a single row counts for all. */
export const mul = (a: Operand, b: Operand): Value => lifted("mul's first argument", a).mul(b);

/** a / b, row by row; a single row counts for all. */
export const div = (a: Operand, b: Operand): Value => lifted("div's first argument", a).div(b);

/** base to the power of exponent, row by row; a negative base needs a whole exponent. */
export const pow = (base: Operand, exponent: Operand): Value => lifted("pow's first argument", base).pow(exponent);

/** The smaller of a and b, row by row. */
export const min = (a: Operand, b: Operand): Value => lifted("min's first argument", a).min(b);

/** The larger of a and b, row by row. */
export const max = (a: Operand, b: Operand): Value => lifted("max's first argument", a).max(b);

/** The angle of the point (x, y), in radians from −π to π, row by row. */
export const atan2 = (y: Operand, x: Operand): Value => lifted("atan2's first argument", y).atan2(x);

/** The sum of the products of rows, one number. */
export const dot = (a: Operand, b: Operand): Value => lifted("dot's first argument", a).dot(b);

/** The product of a matrix, `[rows, columns]` row-major, and a vector of `columns` rows: a vector of `rows` rows. */
export const matvec = (matrix: Operand, vector: Operand): Value =>
  lifted("matvec's first argument", matrix).matvec(vector);

/** The product of the transpose of a matrix, `[rows, columns]` row-major, and a vector of `rows` rows: a vector of `columns` rows. */
export const matvecTransposed = (matrix: Operand, vector: Operand): Value =>
  lifted("matvecTransposed's first argument", matrix).matvecTransposed(vector);

/** The product of each row of a and each row of b, `[a.length, b.length]` row-major. */
export const outer = (a: Operand, b: Operand): Value => lifted("outer's first argument", a).outer(b);

/** Whether a < b, row by row: a condition for `where`. */
export const less = (a: Operand, b: Operand): Condition => lifted("less's first argument", a).less(b);

/** Whether a ≤ b, row by row: a condition for `where`. */
export const lessEqual = (a: Operand, b: Operand): Condition => lifted("lessEqual's first argument", a).lessEqual(b);

/** Whether a > b, row by row: a condition for `where`. */
export const greater = (a: Operand, b: Operand): Condition => lifted("greater's first argument", a).greater(b);

/** Whether a ≥ b, row by row: a condition for `where`. */
export const greaterEqual = (a: Operand, b: Operand): Condition =>
  lifted("greaterEqual's first argument", a).greaterEqual(b);

/** The same rows, each `shift` places further on; those that leave at one end come in at the other. */
export const roll = (x: Operand, shift: number): Value => lifted("roll's argument", x).roll(shift);
