// Compiled, not run: a field takes arrays of its own number type only.
import { adam, type Field, mlp, odeint, valueAndGrad, vjp } from "symplectic-adjoint";

const single: Field<"float32"> = mlp({ widths: [2, 8, 2] });
const double: Field<"float64"> = mlp({ widths: [2, 8, 2], dtype: "float64" });

const y32: Float32Array = odeint(single, new Float32Array(2), [0, 1]).y;
const y64: Float64Array = odeint(double, new Float64Array(2), [0, 1]).y;

// @ts-expect-error a float64 field does not accept Float32Array
odeint(double, new Float32Array(2), [0, 1]);
// @ts-expect-error a float32 field does not accept Float64Array
vjp(single, new Float64Array(2), [0, 1]);
// @ts-expect-error nor does its pullback
vjp(single, y32, [0, 1]).pullback(y64);
// @ts-expect-error nor its parameters
double.parameters = y32;
// @ts-expect-error nor the cotangent that a loss returns
valueAndGrad(double, y64, [0, 1], () => ({ value: 0, cotangent: y32 }));
// @ts-expect-error nor an optimizer's step
adam(double).step(y32);
// @ts-expect-error an unknown method
odeint(single, y32, [0, 1], { method: "rk5" });
// @ts-expect-error an unknown option
odeint(single, y32, [0, 1], { tolerance: 1e-6 });
