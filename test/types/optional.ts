// What may be left out may be undefined, as a value of your own that is not there is, even with `exactOptionalPropertyTypes`.
import {
  adam,
  type Batch,
  type LossData,
  leastSquares,
  minibatches,
  mlp,
  type ObservedTrajectory,
  type OdeintOptions,
  odeint,
  save,
  train,
  vectorField,
} from "symplectic-adjoint";

declare const [mask, method, rtol, signal, best]: undefined[];

const field = mlp({ widths: [2, 2], seed: undefined, activation: undefined });
const single: Float32Array = field.parameters;
const options: OdeintOptions = { method, rtol, events: undefined, progress: undefined };
odeint(field, single, [0, 1], options);
const batch: Batch<"float32"> = { y0: single, times: [0, 1], target: single, mask, jumps: undefined };
const data: LossData = { target: undefined, mask, times: undefined };
const trajectory: ObservedTrajectory = {
  times: [0, 1],
  values: [1, 2],
  weights: undefined,
  arguments: undefined,
  y0: undefined,
};
const validation = { data: minibatches({ trajectories: [trajectory], batch: undefined }), patience: undefined, best };
train({ field, optimizer: adam(field, { learningRate: undefined }), data: [batch], steps: 1, signal, validation });
save(field, { optimizer: undefined, metadata: undefined });
const own = vectorField({ state: ["x"], dtype: "float64", arguments: undefined, slope: ({ state }) => state });
leastSquares({ field: own, data: { times: [0], y: [1], y0: [1], weights: undefined }, signal, loss: undefined });

export { data };
