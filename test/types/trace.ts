// Compiled, not run: what a traced function is given has the names that were declared.
import {
  adam,
  differentiable,
  type EquationsOptions,
  equations,
  exp,
  formula,
  huberLoss,
  loss,
  nn,
  odeint,
  type ProgramField,
  type TracedLoss,
  train,
  type Value,
  valueAndGrad,
  vectorField,
  where,
} from "symplectic-adjoint";

const prey: ProgramField<"float32"> = vectorField({
  state: ["hare", "lynx"],
  parameters: { birth: 0.5, death: 0.8, hunt: [0.03, 0.02] },
  slope: ({ t, state: [hare, lynx], parameters: { birth, death, hunt } }) => [
    hare.mul(birth.sub(lynx.mul(hunt[0]))),
    formula`${lynx} * (${hare} * ${hunt[1]} - ${death}) + 0 * ${t}`,
  ],
});
const y: Float32Array = odeint(prey, Float32Array.of(1, 2), [0, 1]).y;
adam(prey).step(y);

const hybrid: ProgramField<"float64"> = vectorField({
  state: 2,
  dtype: "float64",
  parameters: {
    decay: 0.1,
    net: nn.sequential(nn.linear(2, 32), nn.tanh, nn.residual(nn.layerNorm(32)), nn.linear(32, 2)),
    nested: {
      deep: {
        scale: new Float32Array(2),
        matrix: [
          [1, 2],
          [3, 4],
        ],
      },
    },
  },
  arguments: { weight: "scalar", dose: 2 },
  slope: ({ state, parameters: { decay, net, nested }, arguments: { weight, dose } }) => {
    const chosen: Value = where(state.less(0), dose, nested.deep.scale);
    return net(state).sub(state.mul(decay)).add(exp(weight)).add(chosen).add(nested.deep.matrix.matvec(state));
  },
});
const names: readonly string[] = hybrid.argumentNames;
hybrid.entries[names[0] as string]?.shape.length;

// Parameters are set by an array or by name, and read as an array.
prey.parameters = { birth: 0.4, hunt: [0.03, 0.02] };
prey.parameters = new Float32Array(4);
const flat: Float32Array = prey.parameters;
hybrid.parameters = {
  net: { 0: { weight: new Float64Array(64) } },
  nested: {
    deep: {
      matrix: [
        [1, 2],
        [3, 4],
      ],
    },
  },
};
// @ts-expect-error a list of numbers is neither
prey.parameters = [...flat];
// @ts-expect-error an array of the other number type
prey.parameters = new Float64Array(4);
// @ts-expect-error text is no number
prey.parameters = { birth: "0.4" };

vectorField({
  state: ["x"],
  parameters: { rate: 1 },
  // @ts-expect-error there is no parameter of that name
  slope: ({ state, parameters: { speed } }) => state.mul(speed),
});
vectorField({
  state: ["x"],
  arguments: { weight: "scalar" },
  // @ts-expect-error there is no argument of that name
  slope: ({ state, arguments: { mass } }) => state.mul(mass),
});
vectorField({
  state: ["x"],
  // @ts-expect-error there is no second state
  slope: ({ state: [x, v] }) => [x.add(v)],
});
vectorField({
  state: ["x", "v"],
  slope: ({ states: { x, v } }) => ({ x: v, v: x.neg() }),
});
vectorField({
  state: ["x", "v"],
  // @ts-expect-error the slope of v is missing
  slope: ({ states: { x } }) => ({ x }),
});
vectorField({
  state: ["x", "v"],
  // @ts-expect-error there is no state y
  slope: ({ states: { x, y } }) => ({ x, v: y }),
});
vectorField({
  state: 1,
  // @ts-expect-error a value is no number
  slope: ({ state }) => Math.sin(state),
});
vectorField({
  state: 1,
  // @ts-expect-error the slope is missing
  slope: () => {},
});
vectorField({
  state: 1,
  // @ts-expect-error a function that waits
  slope: async ({ state }) => state,
});
// @ts-expect-error a parameter is made of numbers
vectorField({ state: 1, parameters: { rate: "1" }, slope: ({ state }) => state });

const text: ProgramField<"float32"> = equations("x' = k * w", { parameters: { k: 1 }, arguments: ["w"] });
const double: ProgramField<"float64"> = equations("x' = 1", { dtype: "float64", arguments: { w: "scalar" } });
const source: string | undefined = text.equations ?? double.equations;
source?.length;
// Names of states and parameters come from the text, those of parameters from beside it too.
const named = equations(
  `param death = 0.8 # it's the lynx's
  hare' = hare * (birth - hunt * lynx)
  meals = hunt * hare # it's = x' = 1
  lynx'= lynx * (feed * meals - death)`,
  { parameters: { birth: 0.5, hunt: 0.25, feed: 1 }, state: ["lynx", "hare"] },
);
named.parameters = { death: 1, birth: 2 };
named.entries.death.offset.toFixed();
named["~names"]?.states satisfies "hare" | "lynx" | undefined;
// @ts-expect-error meals is no parameter
named.parameters = { meals: 1 };
// @ts-expect-error nothing is nested
named.parameters = { "birth.x": 1 };
interface Rates {
  birth: number;
}
const rates: Rates = { birth: 1 };
named.parameters = rates;
// Of texts that are put together, not all names are known, and any will do.
const part: string = "x' = -k * x";
const joined = equations(`${part}\n y' = -y`, { parameters: { k: 1 }, state: ["y", "x"] });
joined.parameters = { q: 2 };
joined["~names"]?.states satisfies string | undefined;
const whole = equations(`${"x' = -k * x"}\nparam\tq = 1`, { parameters: { k: 1 } });
whole.parameters = { q: 2 };
const settings: EquationsOptions<"float64"> = { dtype: "float64", parameters: { k: 1 } };
equations("x' = -k * x", settings).parameters = { k: 3 };
const order: string[] = ["x"];
equations("x' = -x", { state: order });
const explicit = equations<"float64", "w">("x' = -k * w", { dtype: "float64", parameters: { k: 1 }, arguments: ["w"] });
explicit.parameters = { k: 2 };
const onlyText = equations("param k = 1\nx' = -k * x");
onlyText.parameters = { k: 2 };
// @ts-expect-error parameters of equations are numbers
equations("x' = k", { parameters: { k: [1] } });

const encoder = differentiable({
  inputs: { x: [20, 2], mask: 20 },
  parameters: { net: nn.linear(40, 4) },
  apply: ({ inputs: { x, mask }, parameters: { net } }) => net(x).mul(mask.mean()),
});
const latent: Float32Array = encoder.evaluate({ x: new Float32Array(40), mask: new Float32Array(20) });
const pulled: Float32Array = encoder.vjp({ x: new Float32Array(40), mask: new Float32Array(20) }, latent).inputs.x;
adam(encoder.field).step(pulled);
// @ts-expect-error an input is missing
encoder.evaluate({ x: new Float32Array(40) });

const robust: TracedLoss = loss(({ y, target, noise }) => y.sub(target).abs().min(1).square().mean().div(noise), {
  inputs: { noise: "scalar" },
});
valueAndGrad(prey, Float32Array.of(1, 2), [0, 1], robust.of({ target: [1, 2, 3, 4] })).gradient.parameters.set(y);
train({ field: hybrid, optimizer: adam(hybrid), data: [], loss: robust });
train({ field: prey, optimizer: adam(prey), data: [], loss: huberLoss({ delta: 0.1 }) });
const { cotangent }: { cotangent: Float32Array } = robust(y, { target: y }, [1, 1, 2]);
robust(cotangent, { target: y, mask: [1], times: [0] }, [1, 1, 2]);
// @ts-expect-error there is no input of that name
loss(({ y, weight }) => y.mul(weight).sum());
// @ts-expect-error a loss returns a value
loss(() => {});

const scalar = differentiable({ inputs: { x: 2, z: "scalar" }, apply: ({ inputs: { x, z } }) => x.dot(x).mul(z) });
const { tangent }: { tangent: Float32Array } = scalar.jvp({ x: y, z: y }, { x: y });
const second: Float32Array = scalar.hessianProduct({ x: y, z: y }, { z: tangent }).inputs.x;
// @ts-expect-error there is no input of that name
scalar.jvp({ x: second, z: y }, { w: y });
hybrid.jvp(0, new Float64Array(2), { t: 1, arguments: { weight: [1], dose: [1, 2] } }).value.length;
