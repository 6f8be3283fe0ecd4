// Compiled, not run: options that ask for trajectories of their own give their solutions and gradients, whatever the loss.
import {
  type Event,
  equations,
  type GradientOptions,
  huberLoss,
  type IndependentGradient,
  type IndependentSolution,
  type Jump,
  loss,
  meanSquaredError,
  odeint,
  parallel,
  valueAndGrad,
} from "symplectic-adjoint";

const field = equations("x' = v \n v' = -k * x", { parameters: { k: 1 }, dtype: "float64" });
const y0 = Float64Array.of(1, 0);
const jumps: Jump[] = [{ times: [0.5], set: "x = x + d", amounts: { d: [1] } }];
const events: Event[] = [{ when: "x", direction: "rising" }];

interface Both {
  gradient: IndependentGradient<"float64">;
  solution: IndependentSolution<"float64">;
}
const mse = (y: Float64Array) => meanSquaredError(y, y0);
const squares = loss(({ y }) => y.square().sum());
export const all: Both[] = [
  valueAndGrad(field, y0, [0, 1], (y) => meanSquaredError(y, y0), { jumps, events }),
  valueAndGrad(field, y0, [0, 1], (y) => ({ value: 1, cotangent: y }), { jumps }),
  valueAndGrad(field, y0, [0, 1], mse, { events }),
  valueAndGrad(
    field,
    y0,
    [0, 1],
    (y, _, { mask, events }) => ({ value: events.t.length + (mask?.[0] ?? 0), cotangent: y }),
    {
      events,
    },
  ),
  valueAndGrad(field, y0, [0, 1], (y) => ({ value: 1, cotangent: y, events: { times: [1] } }), { events }),
  valueAndGrad(field, y0, [0, 1], huberLoss().of({ target: y0 }), { jumps }),
  valueAndGrad(field, y0, [0, 1], squares.of(), { dense: true }),
  valueAndGrad(field, y0, [[0, 1]], (y) => meanSquaredError(y, y0)),
  valueAndGrad(field, y0, [[0, 1]], huberLoss().of({ target: y0 })),
  valueAndGrad(field, y0, [0, 1], mse, { onFailure: "mask" }),
  valueAndGrad(field, y0, [0, 1], mse, { norm: "max" }),
];

const pool = await parallel({ workers: 1 });
export const inPool: Both[] = [
  await pool.valueAndGrad(field, y0, [0, 1], (y) => meanSquaredError(y, y0), { jumps, events }),
  await pool.valueAndGrad(field, y0, [0, 1], async (y) => ({ value: 1, cotangent: y }), { jumps }),
  await pool.valueAndGrad(field, y0, [[0, 1]], huberLoss().of({ target: y0 })),
];

export const solutions: IndependentSolution<"float64">[] = [
  odeint(field, y0, [0, 1], { norm: "max" }),
  odeint(field, y0, [0, 1], { norm: "max(abs(x), abs(v))" }),
  odeint(field, y0, [0, 1], { norm: ([x, v]) => (x as typeof x & {}).abs().max(v as typeof v & {}) }),
  odeint(field, y0, [0, 1], { onFailure: "mask" }),
];
// @ts-expect-error trajectories that are solved together have no statistics of their own
odeint(field, y0, [0, 1], { norm: "rms" }).trajectories;
const together: GradientOptions = { rtol: 1e-3 };
// @ts-expect-error nor gradients by jumps
valueAndGrad(field, y0, [0, 1], mse, together).gradient.jumps;
// @ts-expect-error a loss gives its cotangent
valueAndGrad(field, y0, [0, 1], () => ({ value: 1 }), { jumps });
// @ts-expect-error a loss that needs data is handed over with them
valueAndGrad(field, y0, [0, 1], squares, { jumps });
