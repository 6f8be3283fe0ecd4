// Test functions of Moré, Garbow and Hillstrom (ACM TOMS 7, 1981), with the sums of squares at their minima.
import { type Dual, polynomial, type Variables } from "./dual.js";

export interface TestFunction {
  name: string;
  start: number[];
  residuals: (x: Variables) => Dual[];
  /** Sums of squares at local minima; the last may be approached only. */
  minima: number[];
  /** Where the least of them is, unless it is not unique. */
  at?: number[];
}

const one = (like: Dual) => like.of(1, 0);
const range = (count: number, of: (i: number) => Dual) => Array.from({ length: count }, (_, i) => of(i + 1));

const BARD = [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.1, 4.39];
const KOWALIK = [0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246];
const DOSES = [4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625];
const MEYER = [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872];

export const FUNCTIONS: TestFunction[] = [
  {
    name: "Rosenbrock",
    start: [-1.2, 1],
    residuals: ([x, y]) => [y.sub(x.square()).mul(10), x.neg().add(1)],
    minima: [0],
    at: [1, 1],
  },
  {
    name: "Freudenstein and Roth",
    start: [0.5, -2],
    residuals: ([x, y]) => [
      x.sub(13).add(y.mul(y.mul(y.neg().add(5)).sub(2))),
      x.sub(29).add(y.mul(y.mul(y.add(1)).sub(14))),
    ],
    minima: [0, 48.98425367924],
  },
  {
    name: "Powell badly scaled",
    start: [0, 1],
    residuals: ([x, y]) => [x.mul(y).mul(1e4).sub(1), x.neg().exp().add(y.neg().exp()).sub(1.0001)],
    minima: [0],
    at: [1.09815933e-5, 9.10614674],
  },
  {
    name: "Brown badly scaled",
    start: [1, 1],
    residuals: ([x, y]) => [x.sub(1e6), y.sub(2e-6), x.mul(y).sub(2)],
    minima: [0],
    at: [1e6, 2e-6],
  },
  {
    name: "Beale",
    start: [1, 1],
    residuals: ([x, y]) =>
      range(3, (i) =>
        x
          .mul(one(y).sub(i === 1 ? y : i === 2 ? y.square() : y.square().mul(y)))
          .neg()
          .add([1.5, 2.25, 2.625][i - 1] as number),
      ),
    minima: [0],
    at: [3, 0.5],
  },
  {
    name: "Jennrich and Sampson",
    start: [0.3, 0.4],
    residuals: ([x, y]) =>
      range(10, (i) =>
        x
          .mul(i)
          .exp()
          .add(y.mul(i).exp())
          .neg()
          .add(2 + 2 * i),
      ),
    minima: [124.36218235561],
    at: [0.2578252, 0.2578252],
  },
  {
    name: "Helical valley",
    start: [-1, 0, 0],
    residuals: ([x, y, z]) => {
      const turn = y
        .div(x)
        .atan()
        .mul(1 / (2 * Math.PI))
        .add(x.value < 0 ? 0.5 : 0);
      return [z.sub(turn.mul(10)).mul(10), x.square().add(y.square()).sqrt().sub(1).mul(10), z];
    },
    minima: [0],
    at: [1, 0, 0],
  },
  {
    name: "Bard",
    start: [1, 1, 1],
    residuals: ([x, y, z]) =>
      range(15, (i) =>
        y
          .mul(16 - i)
          .add(z.mul(Math.min(i, 16 - i)))
          .pow(-1)
          .mul(i)
          .add(x)
          .neg()
          .add(BARD[i - 1] as number),
      ),
    minima: [0.0082148773065789, 17.4286933],
    at: [0.08241056, 1.1330360919, 2.3436951786],
  },
  {
    name: "Meyer",
    start: [0.02, 4000, 250],
    residuals: ([x, y, z]) => range(16, (i) => x.mul(y.div(z.add(45 + 5 * i)).exp()).sub(MEYER[i - 1] as number)),
    minima: [87.945855170395],
  },
  {
    name: "Powell singular",
    start: [3, -1, 0, 1],
    residuals: ([a, b, c, d]) => [
      b.mul(10).add(a),
      c.sub(d).mul(Math.sqrt(5)),
      b.sub(c.mul(2)).square(),
      a.sub(d).square().mul(Math.sqrt(10)),
    ],
    minima: [0],
  },
  {
    name: "Wood",
    start: [-3, -1, -3, -1],
    residuals: ([a, b, c, d]) => [
      b.sub(a.square()).mul(10),
      a.neg().add(1),
      d.sub(c.square()).mul(Math.sqrt(90)),
      c.neg().add(1),
      b.add(d).sub(2).mul(Math.sqrt(10)),
      b.sub(d).mul(Math.sqrt(0.1)),
    ],
    minima: [0],
    at: [1, 1, 1, 1],
  },
  {
    name: "Kowalik and Osborne",
    start: [0.25, 0.39, 0.415, 0.39],
    residuals: ([a, b, c, d]) =>
      range(11, (i) => {
        const u = DOSES[i - 1] as number;
        return a
          .mul(polynomial(u, [0, b, 1]))
          .div(polynomial(u, [d, c, 1]))
          .neg()
          .add(KOWALIK[i - 1] as number);
      }),
    minima: [3.0750560384924e-4, 0.00102734],
  },
  {
    name: "Brown and Dennis",
    start: [25, 5, -5, -1],
    residuals: ([a, b, c, d]) =>
      range(20, (i) => {
        const t = i / 5;
        return a
          .add(b.mul(t))
          .sub(Math.exp(t))
          .square()
          .add(
            c
              .add(d.mul(Math.sin(t)))
              .sub(Math.cos(t))
              .square(),
          );
      }),
    minima: [85822.201626356],
    at: [-11.594439904762, 13.203630051207, -0.4034394881769, 0.2367787744557],
  },
];
