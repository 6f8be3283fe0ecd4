// Numbers with their derivatives by some variables: exact Jacobians for tests.

type Operand = Dual | number;

/** Typed as many as any test has, so that each may take those that it knows of. */
export type Variables = readonly [Dual, Dual, Dual, Dual, Dual, Dual, Dual, Dual, Dual];

export class Dual {
  constructor(
    readonly value: number,
    readonly slopes: Float64Array,
  ) {}

  /** Variables at these values. */
  static variables(values: ArrayLike<number>): Variables {
    const slopes = (i: number) => new Float64Array(values.length).fill(1, i, i + 1);
    return Array.from(values, (value, i) => new Dual(value, slopes(i))) as unknown as Variables;
  }

  of(value: number, slope: number): Dual {
    return new Dual(
      value,
      this.slopes.map((s) => slope * s),
    );
  }

  add(other: Operand): Dual {
    if (typeof other === "number") return new Dual(this.value + other, this.slopes);
    return new Dual(
      this.value + other.value,
      this.slopes.map((s, i) => s + (other.slopes[i] as number)),
    );
  }

  mul(other: Operand): Dual {
    if (typeof other === "number") return this.of(this.value * other, other);
    return new Dual(
      this.value * other.value,
      this.slopes.map((s, i) => s * other.value + this.value * (other.slopes[i] as number)),
    );
  }

  neg = () => this.of(-this.value, -1);
  sub = (other: Operand): Dual => this.add(typeof other === "number" ? -other : other.neg());
  div = (other: Operand): Dual => this.mul(typeof other === "number" ? 1 / other : other.pow(-1));
  pow = (power: number) => this.of(this.value ** power, power * this.value ** (power - 1));
  square = () => this.of(this.value ** 2, 2 * this.value);
  sqrt = () => this.of(Math.sqrt(this.value), 0.5 / Math.sqrt(this.value));
  exp = () => this.of(Math.exp(this.value), Math.exp(this.value));
  log = () => this.of(Math.log(this.value), 1 / this.value);
  sin = () => this.of(Math.sin(this.value), Math.cos(this.value));
  cos = () => this.of(Math.cos(this.value), -Math.sin(this.value));
  atan = () => this.of(Math.atan(this.value), 1 / (1 + this.value ** 2));
}

/** A polynomial, lowest power first. */
export function polynomial(x: number, coefficients: Operand[]): Dual {
  return coefficients.reduceRight((sum: Operand, c) =>
    typeof sum === "number" ? (c as Dual).add(sum * x) : sum.mul(x).add(c),
  ) as Dual;
}

/** Values and row-major Jacobian of functions of some variables. */
export function differentiated(functions: Dual[]): { values: Float64Array; jacobian: Float64Array } {
  return {
    values: Float64Array.from(functions, ({ value }) => value),
    jacobian: Float64Array.from(functions.flatMap(({ slopes }) => [...slopes])),
  };
}
