// Compiled, not run: events, jumps and parameters have the names that a field was made with.
import {
  type AdamOptions,
  adam,
  differentiable,
  type Event,
  type EventInputs,
  equations,
  type Field,
  fit,
  leastSquares,
  minibatches,
  nn,
  odeint,
  type ProgramField,
  parallel,
  sgd,
  solver,
  type Value,
  valueAndGrad,
  vectorField,
  vjp,
} from "symplectic-adjoint";

const ball = vectorField({
  state: ["height", "speed"],
  parameters: {
    g: 9.81,
    restitution: 0.8,
    drag: { linear: 0.1, matrix: [[1, 2]] },
    ev: nn.sequential(nn.linear(2, 1)),
  },
  arguments: { floor: "scalar" },
  dtype: "float64",
  slope: ({ states: { speed }, parameters: { g, drag } }) => [speed, g.neg().sub(drag.linear.mul(speed))],
});
const y0 = Float64Array.of(1, 0);
const floor = { floor: [0] };
const { events } = odeint(ball, y0, [0, 1], {
  arguments: floor,
  events: [
    {
      when: ({ state, states: { height }, parameters: { ev, drag }, arguments: { floor } }) => {
        const rows: Value = drag.matrix;
        const weight: Value = ev[0]?.weight ?? rows;
        return height.sub(floor).add(ev(state).mul(0)).add(weight.sum().mul(0));
      },
      direction: "falling",
      set: ({ states: { speed }, parameters: { restitution } }) => ({ speed: speed.mul(restitution).neg() }),
    },
  ],
  jumps: [{ times: [0.5], set: ({ states }) => [states.height, 0] }],
});
events.t[0]?.toFixed();
odeint(ball, y0, [0, 1], {
  arguments: floor,
  events: [
    {
      // @ts-expect-error there is no such parameter
      when: ({ states: { height }, parameters: { restitutoin } }) => height.mul(restitutoin),
    },
  ],
});
odeint(ball, y0, [0, 1], {
  arguments: floor,
  // @ts-expect-error there is no such state
  events: [{ when: ({ states: { hieght } }) => hieght }],
});
odeint(ball, y0, [0, 1], {
  arguments: floor,
  // @ts-expect-error there is no such state to set
  events: [{ when: ({ states: { height } }) => height, set: () => ({ sped: 0 }) }],
});
const change = { times: [0.5], set: ({ parameters: { g } }: { parameters: { g: Value } }) => [g, g] };
vjp(ball, y0, [0, 1], { arguments: floor, jumps: [change] }).pullback(y0);
valueAndGrad(ball, y0, [0, 1], (y) => ({ value: 0, cotangent: y }), {
  arguments: floor,
  events: [{ when: ({ parameters: { g } }) => g }],
}).gradient.arguments.floor[0]?.toFixed();
solver(ball, y0, 0, { arguments: floor, events: [{ when: ({ states }) => states.height }] }).step(1);
const pool = await parallel();
await pool.vjp(ball, y0, [0, 1], { arguments: floor, events: [{ when: ({ parameters }) => parameters.drag.linear }] });
leastSquares({
  field: ball,
  data: { times: [1], y: [1], y0: [1, 0], arguments: { floor: 0 } },
  observe: ({ state: [height], parameters: { g } }) => ({ height: height?.mul(g) ?? g }),
  events: [{ when: ({ states }) => states.height }],
});

// Options, events and fields whose names are not known go with any others.
const event: Event = { when: ({ states: { height = 0 }, parameters: { g } }) => g.sub(height) };
odeint(ball, y0, [0, 1], { arguments: floor, events: [event] });
const when = ({ parameters: { anything } }: EventInputs) => anything;
odeint(ball, y0, [0, 1], { arguments: floor, events: [{ when }] });
odeint(equations("x' = -k * x", { parameters: { k: 1 } }), new Float32Array(1), [0, 1], {
  events: [{ when: ({ states: { x }, parameters: { k } }) => k.sub(x ?? 0) }],
});
const known: Field<"float64"> = ball;
const program: ProgramField<"float64"> = ball;
odeint(known, y0, [0, 1], { events: [event] });
await fit({
  field: ball,
  optimizer: adam(ball),
  data: minibatches({
    trajectories: [{ times: [0, 1], values: [1, 0, 1, 0], arguments: { floor: 0 } }],
    jumps: [{ times: [0.5], set: ({ state }) => state }],
    dtype: "float64",
  }),
  events: [{ when: ({ states: { height }, parameters: { ev }, state }) => height.add(ev(state)) }],
});
const anonymous = vectorField({ state: 2, slope: ({ state }) => state });
odeint(anonymous, new Float32Array(2), [0, 1], {
  events: [{ when: ({ state: [x] }) => x as Value, set: () => [0, 0] }],
});

// Parameters and entries.
ball.parameters = { g: 1, drag: { linear: 1 }, "drag.linear": 2, ev: { 0: { bias: [1] } }, "ev.0.weight": [[1, 2]] };
ball.parameters = new Float64Array(ball.parameters.length);
program.parameters = { gg: 2 };
ball.entries.g.offset.toFixed();
ball.entries["drag.matrix"].shape.at(0);
ball.entries["ev.0.weight"]?.shape.at(0);
// @ts-expect-error there is no such parameter
ball.parameters = { gg: 2 };
// @ts-expect-error nor such a part of one
ball.parameters = { drag: { quadratic: 2 } };
// @ts-expect-error a number is no list
ball.parameters = { g: [1] };
// @ts-expect-error there is no such array
ball.entries.foo.offset.toFixed();
// @ts-expect-error drag is no array
ball.entries.drag.offset.toFixed();
const encoder = differentiable({
  inputs: { x: 1 },
  parameters: { a: 1 },
  apply: ({ inputs: { x }, parameters: { a } }) => x.mul(a),
});
encoder.parameters = { a: 2 };
encoder.entries.a.offset.toFixed();
// @ts-expect-error there is no such parameter
encoder.parameters = { b: 2 };
// @ts-expect-error there is no such array
encoder.entries.b.offset.toFixed();

// Optimizers: rates, decay and what is fixed, by the names of parameters and their parts.
adam(ball, { learningRate: { g: 0.1, ev: 1e-3, "drag.linear": 0.01, "*": 0 }, fixed: ["drag", "ev.0", "ev.0.bias"] });
sgd(ball, { weightDecay: { "ev.0.weight": 0.1, restitution: 0 } });
adam(encoder.field, { fixed: ["a"] });
const unnamed: AdamOptions = { fixed: ["whatever"], learningRate: { whatever: 1 } };
adam(ball, unnamed);
adam(known, { fixed: ["whatever"] });
adam(equations("x' = -k * x", { parameters: { k: 1 } }), { fixed: ["k"] });
// @ts-expect-error there is no such parameter
adam(ball, { fixed: ["gg"] });
// @ts-expect-error nor a rate for it
sgd(ball, { learningRate: { gg: 1, "*": 0 } });
// @ts-expect-error nor such a part of one
adam(ball, { weightDecay: { "drag.quadratic": 1 } });
// @ts-expect-error nor one of the text
adam(equations("x' = -k * x", { parameters: { k: 1 } }), { fixed: ["kk"] });
// @ts-expect-error nor of the function
adam(encoder.field, { fixed: ["b"] });
