// Compiled, not run: fields know the names of their arguments, and what takes or gives arguments takes and gives those.
import {
  adam,
  type Batch,
  equations,
  type Field,
  fit,
  type Gradient,
  jvp,
  leastSquares,
  minibatches,
  mlp,
  odeint,
  type ProgramField,
  parallel,
  sensitivities,
  solver,
  train,
  type Value,
  valueAndGrad,
  vectorField,
  vjp,
} from "symplectic-adjoint";

const field: ProgramField<"float32", "weight" | "dose"> = vectorField({
  state: ["x"],
  arguments: { weight: "scalar", dose: 2 },
  slope: ({ state, arguments: { weight, dose } }) => state.mul(weight).add(dose.sum()),
});
const text: ProgramField<"float32", "weight"> = equations("x' = -weight * x", { arguments: ["weight"] });
const same: ProgramField<"float32", "weight"> = equations("x' = -weight * x", { arguments: { weight: "scalar" } });
const names: readonly ("weight" | "dose")[] = field.argumentNames;
const y = Float32Array.of(1);
const given = { weight: [1], dose: [1, 2] };
const loss = (own: Float32Array) => ({ value: 0, cotangent: own });
names.includes("dose");
same.dispose();

// Solves and gradients.
odeint(field, y, [0, 1], { arguments: given });
odeint(field, y, [[0, 1]], { arguments: given });
// @ts-expect-error there is no argument of that name
odeint(field, y, [0, 1], { arguments: { ...given, wieght: [1] } });
// @ts-expect-error an argument is missing
odeint(field, y, [0, 1], { arguments: { weight: [1] } });
// @ts-expect-error there is no argument of that name
odeint(text, y, [0, 1], { arguments: { mass: [1] } });
// @ts-expect-error the same where trajectories take their own steps
odeint(text, y, [0, 1], { batching: "independent", arguments: { mass: [1] } });
const { gradient } = valueAndGrad(field, y, [0, 1], loss, { arguments: given });
const derivative: Float32Array = gradient.arguments.weight;
// @ts-expect-error there is no argument of that name
gradient.arguments.mass;
// @ts-expect-error there is no argument of that name
valueAndGrad(text, y, [0, 1], loss, { arguments: { mass: [1] } });
// @ts-expect-error there is no argument of that name
vjp(text, y, [0, 1], { arguments: { mass: [1] } });
const { pullback } = vjp(text, y, [[0, 1]], { arguments: { weight: [1] }, batching: "independent" });
// @ts-expect-error there is no argument of that name
pullback(derivative).arguments.mass.length;
pullback(derivative).arguments.weight.length;
field.vjp(0, y, y, undefined, given).arguments.dose.length;
// @ts-expect-error there is no argument of that name
text.evaluate(0, y, undefined, { mass: [1] });
// @ts-expect-error nor along a direction
text.jvp(0, y, { arguments: { mass: [1] } }, undefined, { weight: [1] });
// @ts-expect-error there is no argument of that name
jvp(text, y, [0, 1], { arguments: { mass: [1] } }, { arguments: { weight: [1] } });
sensitivities(text, y, [0, 1], { arguments: { weight: [1] } }).arguments.weight.length;
// @ts-expect-error there is no argument of that name
solver(text, y, 0, { arguments: { weight: [1] } }).setArguments({ mass: [1] });

// Pools.
const pool = await parallel();
(await pool.valueAndGrad(text, y, [0, 1], loss, { arguments: { weight: [1] } })).gradient.arguments.weight.length;
// @ts-expect-error there is no argument of that name
await pool.odeint(text, y, [0, 1], { arguments: { mass: [1] } });

// Jumps and events.
odeint(text, y, [0, 1], {
  arguments: { weight: [1] },
  batching: "independent",
  jumps: [{ times: [0.5], set: ({ state, arguments: { weight } }) => state.add(weight) }],
  // @ts-expect-error there is no argument of that name
  events: [{ when: ({ state, arguments: { mass } }) => state.sub(mass) }],
});

// Training.
const batch = { y0: y, times: [0, 1], target: Float32Array.of(1, 2) };
const optimizer = adam(text);
for await (const step of train({ field: text, optimizer, data: [{ ...batch, arguments: { weight: [1] } }] })) {
  step.gradient.arguments.weight.length;
}
// @ts-expect-error there is no argument of that name
train({ field: text, optimizer, data: [{ ...batch, arguments: { mass: [1] } }] });
await fit({ field: text, optimizer, data: [batch], arguments: { weight: [1] }, steps: 2 });
// @ts-expect-error there is no argument of that name
await fit({ field: text, optimizer, data: [batch], arguments: { mass: [1] }, steps: 2 });
const trajectories = [{ times: [0, 1], values: [1, 2], arguments: { weight: 1 } }];
train({ field: text, optimizer, data: minibatches({ trajectories }), steps: 2 });

// Fields whose names are not known take any.
const unknown: Field<"float32"> = field;
odeint(unknown, y, [0, 1], { arguments: { anything: [1] } });
const all: Readonly<Record<string, Float32Array>> = vjp(unknown, y, [0, 1]).pullback(y).arguments;
const read: string[] = ["weight"];
odeint(equations("x' = x", { arguments: read }), y, [0, 1], { arguments: { weight: [1] } });
const general: Gradient<"float32"> = gradient;
const loose: Batch<"float32"> = { ...batch, arguments: { weight: [1] } };
train({ field: text, optimizer, data: [loose] });
function solveAll(fields: readonly Field<"float32">[]) {
  for (const one of fields) odeint(one, y, [0, 1], { arguments: all });
}
solveAll([field, text, unknown]);
general.arguments.weight?.length;
// Of a field without arguments, which is like one that was loaded, too.
let without: Field<"float32"> = vectorField({ state: 1, slope: ({ state }) => state });
odeint(without, y, [0, 1], { arguments: all });
without = mlp({ widths: [1, 8, 1] });
for (const one of [without, vectorField({ state: 1, slope: ({ state }) => state }), text]) {
  const { arguments: own }: { arguments: Readonly<Record<string, Float32Array>> } = vjp(one, y, [0, 1]).pullback(y);
  odeint(one, y, [0, 1], { arguments: own });
}

// Estimation.
const precise = equations("x' = -k * weight * x", { dtype: "float64", parameters: { k: 1 }, arguments: ["weight"] });
const measured = { times: [0, 1, 2], y: [1, 2, 3], y0: [1], t0: 0, arguments: { weight: 1 } };
leastSquares({
  field: precise,
  data: [measured],
  observe: ({ state: [x], arguments: { weight } }) => ({ x: (x as Value).mul(weight) }),
});
// @ts-expect-error there is no argument of that name
leastSquares({ field: precise, data: { ...measured, arguments: { mass: 1 } } });
// @ts-expect-error nor one to be estimated
leastSquares({ field: precise, data: measured, individual: { mass: 1 } });
