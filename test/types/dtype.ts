// Compiled, not run: a field takes arrays of its own number type only.
import { adam, type Field, mlp, type Optimizer, odeint, sgd, valueAndGrad, vjp } from "symplectic-adjoint";

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

// An optimizer of an array has the number type of that.
adam(y32).step(y32);
const ofArray: Optimizer<"float64"> = sgd(y64, { learningRate: 0.1, momentum: 0.5 });
ofArray.step(vjp(double, y64, [0, 1]).pullback(y64).y0);
// @ts-expect-error a Float64Array for an optimizer of a Float32Array
adam(y32).step(y64);
// @ts-expect-error whole numbers have no gradient
adam(new Int32Array(2));

// Rates and decay by the names of parameters, or one for all.
adam(single, { learningRate: { "0": 1e-3, "2.bias": 0.1, "*": 1e-2 }, weightDecay: { "0.weight": 0.1 } });
sgd(single, { learningRate: 0.1, weightDecay: undefined });
// @ts-expect-error rates are numbers
adam(single, { learningRate: { "*": "0.1" } });
const { learningRate }: { learningRate: number } = adam(single);

export { learningRate };
