// What the bridge gives has the types of the TensorFlow.js that it was given.
import * as tf from "@tensorflow/tfjs";
import { equations, mlp } from "symplectic-adjoint";
import { bridge } from "symplectic-adjoint/tfjs";

const { odeint, neuralODE } = bridge(tf);
const field = mlp({ widths: [2, 4, 2] });
export const y: tf.Tensor = odeint(field, tf.zeros([3, 2]), tf.tensor1d(field.parameters), [0, 1], { method: "rk4" });
const layer: tf.layers.Layer = neuralODE({ widths: [2, 4, 2], times: [0, 1], inputShape: [2] });
export const model = tf.sequential({ layers: [layer] });

const dosed = equations("x' = -k * x + dose", { parameters: { k: 0.5 }, arguments: ["dose"] });
odeint(dosed, tf.zeros([3, 1]), tf.tensor1d([1]), [0, 1], { arguments: { dose: tf.tensor1d([1, 2, 3]) } });
odeint(dosed, tf.zeros([3, 1]), tf.tensor1d([1]), [0, 1], { arguments: { dose: [1, 2, 3] } });

// @ts-expect-error a number is no tensor
odeint(field, 1, tf.tensor1d(field.parameters), [0, 1]);
// @ts-expect-error the number type is that of tensors
odeint(mlp({ widths: [2, 2], dtype: "float64" }), tf.zeros([3, 2]), tf.zeros([6]), [0, 1]);
// @ts-expect-error no option of that name
neuralODE({ widths: [2, 2], times: [0, 1], units: 3 });
