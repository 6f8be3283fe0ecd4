// The types, as a project sees them under either resolution.
import { type Gradient, mlp, type SymplecticAdjointError, save, valueAndGrad } from "symplectic-adjoint";
import { init, odeint } from "symplectic-adjoint/slim";
import { bridge } from "symplectic-adjoint/tfjs";

const field = mlp({ widths: [2, 8, 2], dtype: "float64" });
const { value, gradient } = valueAndGrad(field, Float64Array.of(1, 0), [0, 1], (y) => ({ value: 0, cotangent: y }));
export const parameters: Float64Array = gradient.parameters;
export const slope: Gradient<"float64"> = gradient;
export const solution: Float32Array = odeint(mlp({ widths: [2, 2] }), new Float32Array(2), [0, 1]).y;
export const number: number = value;
export const ready = (): Promise<void> => init({ module: new Uint8Array() });
export const codes = (error: SymplecticAdjointError) => error.code === "SHAPE";
export const join = bridge;
export const file: Uint8Array = save(field);

// @ts-expect-error the number type is the field's
odeint(field, new Float32Array(2), [0, 1]);
// @ts-expect-error no such method
odeint(field, new Float64Array(2), [0, 1], { method: "rk5" });
// @ts-expect-error no such code
export const wrong = (error: SymplecticAdjointError) => error.code === "SHAPES";
