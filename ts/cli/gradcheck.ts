// symplectic-adjoint gradcheck: compares the gradient of a trained model with finite differences, in float64.
import { GRADIENTS } from "../../wasm/constants.js";
import { type Batch, meanSquaredError, minibatches, odeint, valueAndGrad } from "../index.js";
import { uniforms } from "../trace/random.js";
import { readDosed } from "./dosed-table.js";
import { completed, fieldOf, networkOf, trajectoryOf, withDelays } from "./equation.js";
import { Failure } from "./failure.js";
import type { Source } from "./input.js";
import { infusedOf, jumpsOf } from "./jumps.js";
import { checkDoses, layoutOf, readModel } from "./model.js";
import { beginOf, type Format, formatOfModel, partOf, type Series } from "./table.js";

export interface GradcheckRequest {
  readonly model: Source;
  readonly data: Source;
  readonly doses: Source | undefined;
  readonly format: Format;
  readonly steps: number;
  readonly directions: number;
  /** How many trajectories to use, spread over the table: differences take many solves. */
  readonly trajectories: number;
}

/** The accuracy of central differences in float64. */
const TOLERANCE = 1e-6;
/** The largest number of rows of each trajectory. */
const ROWS = 100;
/** All gradients except the continuous adjoint. */
const EXACT = GRADIENTS.filter((gradient) => gradient !== "adjoint");

export function gradcheck({ model, data, doses, format, steps, directions, trajectories: most }: GradcheckRequest) {
  const { network: single, description: told } = readModel(model);
  checkDoses(told, doses, true);
  const { time, id, state, units } = told;
  const columns = { time, id: id ?? undefined, state, trained: true };
  const table = readDosed(data, columns, { ...formatOfModel(told.format), ...format }, told.settings, doses, state);
  const settings = { ...told.settings, infused: infusedOf(table.series, state) };
  const description = { ...told, settings };
  const series = table.series
    .map((own) => withDelays(own, settings.delays, units.lag))
    .filter((own) => beginOf(own) >= 0);
  if (series.length === 0) throw new Failure(`${data.name}: no complete row is followed by another`);
  const network = networkOf(settings, state.length, "float64");
  network.parameters = Float64Array.from(single.parameters);
  const field = fieldOf(network, settings, units);
  const count = Math.min(most, series.length);
  const chosen = Array.from({ length: count }, (_, i) => series[Math.floor((i * series.length) / count)] as Series);
  const parts = chosen.map((own) => {
    const begin = beginOf(own);
    return partOf(own, begin, begin + ROWS);
  });
  const batching = "independent";
  const trajectories = parts.map((part) => trajectoryOf(part, description));
  const batches = {
    trajectories,
    jumps: jumpsOf(parts, description),
    relative: true,
    shuffle: false,
    batching,
  } as const;
  const [batch] = minibatches({ ...batches, dtype: "float64" }).epoch();
  const {
    y0,
    times,
    target,
    mask,
    jumps = [],
  } = completed(batch as Batch<"float64">, layoutOf(settings, state.length));
  // Fixed steps: adaptive ones would change with the parameters, and differences would see that.
  const solver = { method: settings.solver, steps, jumps };
  const loss = (y: Float64Array) => meanSquaredError(y, target, mask);
  const [first = new Float64Array(), ...others] = EXACT.map(
    (gradient) => valueAndGrad(field, y0, times, loss, { ...solver, gradient }).gradient.parameters,
  );
  const bitwise = others.every((gradient) => gradient.every((value, i) => Object.is(value, first[i])));
  const own = field.parameters.slice();
  const at = (direction: Float64Array, size: number) => {
    field.parameters = own.map((value, i) => value + size * (direction[i] as number));
    const { value } = loss(odeint(field, y0, times, solver).y);
    field.parameters = own;
    return value;
  };
  const norm = Math.sqrt(first.reduce((sum, value) => sum + value ** 2, 0));
  const errors = Array.from({ length: directions }, (_, index) => {
    // First along the gradient, then along random signs.
    const direction = index === 0 ? first.map((value) => value / norm) : signs(first.length, index);
    // Fourth-order differences: near a minimum, where the gradient is small, second order is not accurate enough.
    const size = 2e-5;
    const apart = (size: number) => (at(direction, size) - at(direction, -size)) / (2 * size);
    const difference = (4 * apart(size) - apart(2 * size)) / 3;
    const slope = first.reduce((sum, value, i) => sum + value * (direction[i] as number), 0);
    return Math.abs(difference - slope) / norm;
  });
  const error = errors.reduce((most, error) => Math.max(most, error), 0);
  return {
    parameters: first.length,
    trajectories: count,
    gradient: norm,
    directions,
    error,
    tolerance: TOLERANCE,
    bitwise,
    ...table.unmatched,
    passed: bitwise && error < TOLERANCE,
  };
}

/** A unit vector with random signs. */
function signs(length: number, seed: number): Float64Array {
  const uniform = uniforms(seed);
  return Float64Array.from({ length }, () => (uniform() < 0.5 ? -1 : 1) / Math.sqrt(length));
}
