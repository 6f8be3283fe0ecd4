import {
  adam,
  cnf,
  custom,
  type Field,
  hamiltonian,
  load,
  meanSquaredError,
  memoryUsage,
  mlp,
  odeint,
  save,
  valueAndGrad,
  vjp,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { collectGarbage, isNative, thrown } from "./helpers.js";

const y0 = Float32Array.of(1, 0);
const loss = (y: Float32Array) => ({ value: 0, cotangent: y });

/** As deep as it goes, and on the first so many levels on the way back up, every `stride` of them, `body`. */
function atTheEnd(body: () => void, levels: number, stride: number): void {
  let back = 0;
  const descend = (): void => {
    try {
      descend();
    } catch (error) {
      expect(error).toBeInstanceOf(RangeError);
    }
    // One call more each time: what is left of the stack grows by less than a frame.
    if (back++ < levels && back % stride === 0) body();
  };
  descend();
}

test("whatever is called at the end of the stack, nothing is lost", () => {
  const field = mlp({ widths: [2, 8, 2] });
  const optimizer = adam(field, { learningRate: 0 });
  const flow = cnf({ network: { widths: [2, 4, 2] }, kinetic: true, jacobian: true });
  const energetic = hamiltonian({ energy: { widths: [2, 4, 1] }, structure: "canonical" });
  const own = custom({ stateSize: 2, evaluate: (_t, y) => y.map((v) => -v), vjp: (_t, _y, w) => ({ y: w }) });
  const recorded = vjp(field, y0, [0, 1]);
  const gradient = () => valueAndGrad(field, y0, [0, 1], loss).gradient.parameters;
  const file = save(field, { optimizer });
  const known = gradient();
  const calls: (() => unknown)[] = [
    () => field.evaluate(0, y0),
    () => field.vjp(0, y0, y0),
    () => field.parameters,
    () => own.evaluate(0, y0),
    () => energetic.energy(y0),
    () => odeint(field, y0, [0, 1]),
    () => odeint(own, y0, [0, 1], { method: "dopri8" }),
    () => valueAndGrad(flow, Float32Array.of(1, 0, 0, 0, 0), [0, 1], loss),
    () => valueAndGrad(energetic, y0, [0, 1], loss, { gradient: "adjoint" }),
    () => valueAndGrad(own, y0, [0, 1], loss, { memoryBudget: 8000, method: "rk4", steps: 20 }),
    () => recorded.pullback(Float32Array.of(0, 0, 1, 1)),
    () => mlp({ widths: [2, 8, 2] }).dispose(),
    () => optimizer.step(known),
    () => optimizer.learningRate,
    () => vjp(field, y0, [0, 1]).dispose(),
    () => meanSquaredError(y0, y0),
    () => {
      const model = load(file);
      model.optimizer?.dispose();
      model.field.dispose();
    },
    () => memoryUsage(),
  ];
  // The addon asks for more of the stack.
  const [levels, stride] = isNative ? [6000, 7] : [1500, 1];
  for (const call of calls) {
    let [done, ended] = [0, 0];
    atTheEnd(
      () => {
        try {
          call();
          done++;
        } catch (error) {
          // In a few levels there is too little left even for an error of one's own.
          if (!(error instanceof RangeError)) throw error;
          ended++;
        }
      },
      levels,
      stride,
    );
    expect(done, `${call}`).toBeGreaterThan(0);
    expect(ended, `${call}`).toBeGreaterThan(0);
    expect(gradient(), `${call}`).toEqual(known);
  }
  // A field's own functions are called from the addon, where the stack must not end.
  let left = 400;
  atTheEnd(
    () => {
      try {
        if (left-- > 0) odeint(own, y0, [0, 1]);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    },
    levels,
    1,
  );
  expect(recorded.pullback(Float32Array.of(0, 0, 1, 1)).y0).toHaveLength(2);
});

test("what calls itself without end is stopped, and loses nothing", async () => {
  await collectGarbage();
  const field = mlp({ widths: [2, 8, 2] });
  const { liveBytes } = memoryUsage();
  const inLoss = (): ReturnType<typeof loss> => {
    valueAndGrad(field, y0, [0, 1], inLoss);
    return loss(y0);
  };
  thrown("REENTRANT", () => valueAndGrad(field, y0, [0, 1], inLoss));
  const options = Object.defineProperty({}, "rtol", { enumerable: true, get: () => solve() });
  const solve = (): unknown => odeint(field, y0, [0, 1], options);
  thrown("REENTRANT", solve);
  const keys: object = new Proxy({}, { ownKeys: () => Object.keys(vjp(field, y0, [0, 1], keys)) });
  thrown("REENTRANT", () => vjp(field, y0, [0, 1], keys));
  const times: number[] = new Proxy([0, 1], { get: () => odeint(field, y0, times) });
  thrown("REENTRANT", () => odeint(field, y0, times));
  const mask: number[] = new Proxy([1, 1], { get: () => meanSquaredError(y0, y0, mask) });
  thrown("REENTRANT", () => meanSquaredError(y0, y0, mask));
  const inside: Field<"float32"> = custom({
    stateSize: 2,
    evaluate: (t, y) => inside.evaluate(t, y),
    vjp: (t, y, w) => inside.vjp(t, y, w),
  });
  thrown("REENTRANT", () => odeint(inside, y0, [0, 1]));
  thrown("REENTRANT", () => inside.vjp(0, y0, y0));
  inside.dispose();
  expect(memoryUsage().liveBytes).toBe(liveBytes);
  expect(odeint(field, y0, [0, 1]).y).toHaveLength(4);
});

test("a loss may solve, and one in it again", () => {
  const field = mlp({ widths: [2, 8, 2] });
  const nested = (depth: number): number =>
    valueAndGrad(field, y0, [0, 1], (y) => ({ value: depth === 0 ? 1 : nested(depth - 1), cotangent: y })).value;
  expect(nested(30)).toBe(1);
});
