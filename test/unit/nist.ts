// The nonlinear regressions of NIST's Statistical Reference Datasets (https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml),
// data of the United States' government: data/nist.json has them as their files do.
// They were read from the copies of its files in the repository lmfit/lmfit-py, folder NIST_STRD.
import { readFileSync } from "node:fs";
import { type Dual, polynomial, type Variables } from "./dual.js";

export interface Regression {
  name: string;
  /** A number, or two for Nelson, of each observation. */
  x: (number | [number, number])[];
  /** Observations, of which Nelson's logarithm is modelled. */
  y: number[];
  starts: [number[], number[]];
  estimates: number[];
  standardErrors: number[];
  residualSumOfSquares: number;
  /** The prediction of an observation. */
  model: (b: Variables, x: number, second: number) => Dual;
}

const one = (like: Dual) => like.of(1, 0);
const saturating = ([b1, b2]: Variables, x: number) => one(b1).sub(b2.mul(-x).exp()).mul(b1);
const chwirut = ([b1, b2, b3]: Variables, x: number) =>
  b1
    .mul(-x)
    .exp()
    .div(b2.add(b3.mul(x)));
const bell = (x: number, centre: Dual, width: Dual) => centre.sub(x).div(width).square().neg().exp();
const gauss = ([b1, b2, b3, b4, b5, b6, b7, b8]: Variables, x: number) =>
  b1
    .mul(b2.mul(-x).exp())
    .add(b3.mul(bell(x, b4, b5)))
    .add(b6.mul(bell(x, b7, b8)));
const lanczos = ([b1, b2, b3, b4, b5, b6]: Variables, x: number) =>
  b1
    .mul(b2.mul(-x).exp())
    .add(b3.mul(b4.mul(-x).exp()))
    .add(b5.mul(b6.mul(-x).exp()));
const cubics = ([b1, b2, b3, b4, b5, b6, b7]: Variables, x: number) =>
  polynomial(x, [b1, b2, b3, b4]).div(polynomial(x, [1, b5, b6, b7]));
const cycle = (x: number, a: Dual, b: Dual, period: Dual) => {
  const angle = period.pow(-1).mul(2 * Math.PI * x);
  return a.mul(angle.cos()).add(b.mul(angle.sin()));
};

const MODELS: Record<string, Regression["model"]> = {
  Bennett5: ([b1, b2, b3], x) => b2.add(x).log().div(b3).neg().exp().mul(b1),
  BoxBOD: saturating,
  Chwirut1: chwirut,
  Chwirut2: chwirut,
  DanWood: ([b1, b2], x) => b1.mul(b2.mul(Math.log(x)).exp()),
  ENSO: ([b1, b2, b3, b4, b5, b6, b7, b8, b9], x) =>
    b1
      .add(cycle(x, b2, b3, one(b1).mul(12)))
      .add(cycle(x, b5, b6, b4))
      .add(cycle(x, b8, b9, b7)),
  Eckerle4: ([b1, b2, b3], x) => b1.div(b2).mul(b3.sub(x).div(b2).square().mul(-0.5).exp()),
  Gauss1: gauss,
  Gauss2: gauss,
  Gauss3: gauss,
  Hahn1: cubics,
  Kirby2: ([b1, b2, b3, b4, b5], x) => polynomial(x, [b1, b2, b3]).div(polynomial(x, [1, b4, b5])),
  Lanczos1: lanczos,
  Lanczos2: lanczos,
  Lanczos3: lanczos,
  MGH09: ([b1, b2, b3, b4], x) =>
    b1.mul(b2.mul(x).add(x * x)).div(
      b3
        .mul(x)
        .add(x * x)
        .add(b4),
    ),
  MGH10: ([b1, b2, b3], x) => b1.mul(b2.div(b3.add(x)).exp()),
  MGH17: ([b1, b2, b3, b4, b5], x) => b1.add(b2.mul(b4.mul(-x).exp())).add(b3.mul(b5.mul(-x).exp())),
  Misra1a: saturating,
  Misra1b: ([b1, b2], x) =>
    one(b1)
      .sub(
        b2
          .mul(x / 2)
          .add(1)
          .pow(-2),
      )
      .mul(b1),
  Misra1c: ([b1, b2], x) =>
    one(b1)
      .sub(
        b2
          .mul(2 * x)
          .add(1)
          .pow(-0.5),
      )
      .mul(b1),
  Misra1d: ([b1, b2], x) => b1.mul(b2).mul(x).div(b2.mul(x).add(1)),
  Nelson: ([b1, b2, b3], x1, x2) => b1.sub(b2.mul(x1).mul(b3.mul(-x2).exp())),
  Rat42: ([b1, b2, b3], x) => b1.div(b2.sub(b3.mul(x)).exp().add(1)),
  Rat43: ([b1, b2, b3, b4], x) => b1.mul(b2.sub(b3.mul(x)).exp().add(1).log().div(b4).neg().exp()),
  Roszman1: ([b1, b2, b3, b4], x) =>
    b1.sub(b2.mul(x)).sub(
      b3
        .div(b4.neg().add(x))
        .atan()
        .mul(1 / Math.PI),
    ),
  Thurber: cubics,
};

const data = JSON.parse(readFileSync(new URL("../data/nist.json", import.meta.url), "utf8"));

export const REGRESSIONS: Regression[] = Object.entries(MODELS).map(([name, model]) => ({
  name,
  model,
  ...data[name],
}));

/** Differences from the data at some parameters, with their derivatives. */
export function differences({ name, x, y, model }: Regression, b: Variables): Dual[] {
  return x.map((at, i) => {
    const [first, second] = Array.isArray(at) ? at : [at, 0];
    const observed = name === "Nelson" ? Math.log(y[i] as number) : (y[i] as number);
    return model(b, first, second).sub(observed);
  });
}
