// Compiled, not run: what is known of fields that come from files, and of solvers.
import { adam, type CnfField, equations, load, odeint, type ProgramField, solver } from "symplectic-adjoint";

const { field } = load<"float64">(new Uint8Array());
odeint(field, Float64Array.of(1), [0, 1]);
adam(field).step(field.parameters);
if ("entries" in field) {
  const own: ProgramField<"float64"> = field;
  field.parameters = { k: 2 };
  own.entries.k?.offset.toFixed();
  field.states.join();
}
if ("energy" in field) field.energy(Float64Array.of(1, 2))[0]?.toFixed();
if ("features" in field) {
  const flow: CnfField<"float64"> = field;
  flow.seedNoise(field.features);
}

// The states and times of a solver are copies.
const own = solver(equations("x' = -x"), Float32Array.of(1), 0);
const states: Float32Array = own.y;
const [first] = own.y;
first?.toFixed();
// @ts-expect-error a number of a copy moves nothing
own.y[0] = 100;
// @ts-expect-error as a time does
own.t[0] = 1;
own.y = states;
own.y = own.y.map((x) => 2 * x);
