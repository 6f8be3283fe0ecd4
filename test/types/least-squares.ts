// Compiled, not run: a mistake in the options of a fit is reported where it is, and results have the names of the parameters.
import {
  type AsyncFieldFitResult,
  equations,
  type FieldFitResult,
  leastSquares,
  odeint,
  type Pool,
  valueAndGrad,
  vectorField,
} from "symplectic-adjoint";

const oral = equations("depot' = -ka * depot\ncentral' = ka * depot - ke * central", {
  parameters: { ka: 1, ke: 0.1 },
  dtype: "float64",
});
const times = [1, 2, 3];
const y0 = { depot: 1, central: 0 };
const parameters = { ka: { transform: "log" } } as const;
leastSquares({
  field: oral,
  // @ts-expect-error measurements are y
  data: { times, values: times, y0 },
  observe: "central",
  parameters: { ka: { transform: "log" } },
});
leastSquares({
  field: oral,
  data: { times, y: times, y0 },
  // @ts-expect-error times are numbers
  jumps: [{ times: ["0"], set: "depot = depot + 1" }],
  parameters: { ka: { transform: "log" } },
});
leastSquares({
  field: oral,
  data: { times, y: times, y0 },
  // @ts-expect-error there is no such transform
  parameters: { ka: { transform: "logarithm" } },
});
// @ts-expect-error there is no such state
leastSquares({ field: oral, data: { times, y: times, y0: { depot: 1, centre: 0 } }, parameters });
const byName: Record<string, number> = Object.fromEntries(oral.states.map((name) => [name, 1]));
leastSquares({ field: oral, data: [{ times, y: times, y0: byName }], observe: "central", parameters });
const known = leastSquares({
  field: oral,
  data: { times, y: times, y0 },
  observe: "central",
  parameters: { ka: { prior: { mean: 1, sd: 0.2 } }, ke: { prior: { median: 0.1, logSd: 0.3 } } },
});
known.parameters.ka?.prior?.contraction.toFixed();
leastSquares({
  field: oral,
  data: { times, y: times, y0 },
  observe: "central",
  // @ts-expect-error a prior has a mean too
  parameters: { ka: { prior: { sd: 1 } } },
});
// @ts-expect-error there is no such option
leastSquares({ field: oral, data: { times, y: times, y0 }, observed: "central", parameters });
// @ts-expect-error a parameter of residuals needs a start
leastSquares({ residuals: ({ a }) => [a], parameters: { a: { transform: "log" } } });
const line = leastSquares({ residuals: ({ a, b }) => [a - 1, a + b], parameters: { a: 1, b: { start: 2 } } });
line.parameters.a.value.toFixed();
// @ts-expect-error there is no such parameter
line.parameters.c;

const decay = vectorField({
  state: ["y"],
  parameters: { k: 1, drag: { linear: 0.1, matrix: [[1, 2]] } },
  arguments: { dose: "scalar" },
  dtype: "float64",
  slope: ({ state, parameters: { k, drag } }) => [state.mul(k).mul(drag.linear).neg()],
});
const fit = leastSquares({
  field: decay,
  data: { times, y: times, y0: [1], arguments: { dose: 1 } },
  initial: { y: true },
});
fit.parameters.k.value.toFixed();
fit.parameters["drag.linear"].interval[0].toFixed();
// What depends on other options may be missing.
fit.parameters["y(0)"]?.value.toFixed();
fit.parameters["error.b"]?.value.toFixed();
fit.parameters["drag.matrix[1]"]?.value.toFixed();
fit.parameters["dose[1]"]?.value.toFixed();
fit.profile("k").values.at(0)?.toFixed();
// @ts-expect-error there is no such parameter
fit.parameters.kk;
// @ts-expect-error there is no such parameter
fit.profile("kk");
for (const { value } of Object.values(fit.parameters)) value.toFixed();
for (const { name } of Object.values(fit.parameters)) fit.profile(name);
for (const name of Object.keys(fit.parameters)) fit.profile(name);
// Equations have the names of their text and of the parameters beside it.
const doses = leastSquares({
  field: oral,
  data: { times, y: times, y0 },
  parameters: { ka: 1, ke: { lower: 0 } },
  initial: { depot: true, "central(0)": 1 },
});
doses.parameters.ka.value.toFixed();
// @ts-expect-error there is no such parameter
doses.parameters.kel;
// @ts-expect-error there is no such parameter
leastSquares({ field: oral, data: { times, y: times, y0 }, parameters: { kel: 1 } });
// @ts-expect-error there is no such state
leastSquares({ field: oral, data: { times, y: times, y0 }, initial: { gut: true } });
// @ts-expect-error there is no such parameter
leastSquares({ field: decay, data: { times, y: times, y0: [1] }, parameters: { kk: 1 } });
leastSquares({
  field: decay,
  data: { times, y: times, y0: { y: 1 } },
  parameters: { "drag.matrix[1]": 1, drag: { fixed: true } },
});
// Names that are read from elsewhere are any.
const text: string = "x' = -k * x";
const given: Record<string, number> = { k: 1 };
const read = equations(text, { parameters: given, dtype: "float64" });
leastSquares({ field: read, data: { times, y: times, y0 }, initial: { x: 1 } }).parameters.k?.value.toFixed();
const half = equations("x' = -k * x", { parameters: given, dtype: "float64" });
leastSquares({
  field: half,
  data: { times, y: times, y0: { x: 1 } },
  parameters: { k: 1 },
}).parameters.k?.value.toFixed();
// Of several fields, each may have names of its own.
const models = [oral, equations("x' = -k * x", { parameters: { k: 1 }, dtype: "float64" })];
for (const field of models) {
  const fitted = leastSquares({ field, data: { times, y: times, y0: [1] }, initial: { x: 1 } });
  fitted.profile("ke").values.at(0)?.toFixed();
  odeint(field, Float64Array.of(1), [0, 1]).y.at(0)?.toFixed();
  valueAndGrad(field, Float64Array.of(1), [0, 1], (y) => ({ value: 0, cotangent: y })).value.toFixed();
  // @ts-expect-error none of them has such a state
  leastSquares({ field, data: { times, y: times, y0: [1] }, initial: { gut: 1 } });
}
let best: FieldFitResult = fit;
best = doses;
best.parameters.ka?.value.toFixed();

// With a pool, and with residuals that are promised, a fit is a promise, and so are its profiles.
declare const pool: Pool;
declare const maybe: Pool | undefined;
const shared = leastSquares({ field: decay, data: { times, y: times, y0: [1] }, pool });
shared.then(async ({ parameters: { k }, profile, curves, covariance }) => {
  const { interval } = await profile("k");
  const ends: readonly [number | undefined, number | undefined] = interval;
  // @ts-expect-error There is no parameter of that name.
  profile("q");
  return [k.value, curves().length, covariance.length, ends];
});
// @ts-expect-error It has to be awaited.
shared.parameters;
const either: FieldFitResult | Promise<AsyncFieldFitResult> = leastSquares({
  field: decay,
  data: { times, y: times, y0: [1] },
  pool: maybe,
});
leastSquares({ field: decay, data: { times, y: times, y0: [1] }, pool: undefined }).parameters.k.value.toFixed();
// @ts-expect-error It is no pool.
leastSquares({ field: decay, data: { times, y: times, y0: [1] }, pool: {} });

const promised = leastSquares({ residuals: async ({ a, b }) => [a - 1, a + b], parameters: { a: 1, b: { start: 2 } } });
promised.then(async ({ parameters, profile }) => [parameters.a.value, (await profile("b")).interval]);
// @ts-expect-error It has to be awaited.
promised.parameters;
const derived = leastSquares({
  residuals: async ({ a }) => ({ residuals: [a], jacobian: async () => [1] }),
  parameters: { a: 1 },
});
derived.then(({ values }) => values.length);
// What is any returns at once, as before; and so do explicit names.
leastSquares({ residuals: () => JSON.parse("[1]"), parameters: { a: 1 } }).values.length;
leastSquares<"a">({ residuals: ({ a }) => [a], parameters: { a: 1 } }).values.length;

export { either };
