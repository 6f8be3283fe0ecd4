// Runs golden cases through the public API. The runtime hands the package over, so that this file works in all of them.

/**
 * The package, as a runtime has it, and a case: see golden/README.md.
 *
 * @typedef {any} Api
 * @typedef {{ [name: string]: any }[]} Layers
 * @typedef {{ name: string, method: string, rtol: number | null, atol: number | null, t: number[], y0: number[][], y: number[][][],
 *   cotangent: number[][][], gradY0: number[][], layers: Layers, gradLayers: Layers, field: any, kind?: string, [key: string]: any }} Golden
 */

/** Kinds of field that the package has. */
const KINDS = ["mlp", "cnf", "hnn"];
/** Names of methods in cases of equations that the package does not have. */
const METHODS = ["kvaerno5"];

/**
 * Expected agreement, from the README beside the cases.
 *
 * @param {{ rtol: number | null, tolerance?: number }} golden
 * @param {string} dtype `float32` or `float64`
 */
export function tolerance(golden, dtype) {
  if (dtype === "float64" && golden.tolerance) return golden.tolerance;
  if (dtype === "float64") return golden.rtol === null ? 1e-12 : 1e-8;
  return golden.rtol === null ? 2e-5 : Math.max(2e-5, 100 * golden.rtol);
}

/**
 * Relative l2 errors of y, gradY0 and all layer gradients, and the accepted steps; or `{ unsupported }`.
 *
 * @param {Api} api
 * @param {Golden} golden
 * @param {{ dtype?: string, gradient?: string }} options
 * @returns {{ errors?: Record<string, number>, steps?: number, unsupported?: string }}
 */
export function runGolden(api, golden, { dtype = "float64", gradient = "symplectic" } = {}) {
  if (golden.kind === "equations") return runEquations(api, golden, { dtype, gradient });
  if (!KINDS.includes(golden.field.kind)) return { unsupported: `kind ${golden.field.kind}` };
  /** @param {any[]} values */
  const array = (values) => (dtype === "float64" ? Float64Array : Float32Array).from(values.flat(2));
  const { dims: widths, activation, time } = golden.field;
  const field = fieldOf(api, golden.field, { widths, activation, time, dtype }, array);
  field.parameters = array(flatten(field, golden.layers));
  const adaptive = golden.rtol !== null;
  const options = { method: golden.method, gradient, ...(adaptive && { rtol: golden.rtol, atol: golden.atol }) };
  const solve = api.vjp(field, array(golden.y0), golden.t, { ...options, output: "land", controller: "torchdiffeq" });
  const { y0, parameters } = solve.pullback(array(golden.cotangent));
  const { y, shape } = solve.solution;
  if (shape.join() !== [golden.t.length, golden.y0.length, golden.y0[0].length].join())
    throw new Error(`shape ${shape}`);
  const result = {
    errors: {
      y: relativeError(y, golden.y.flat(2)),
      gradY0: relativeError(y0, golden.gradY0.flat(2)),
      gradLayers: relativeError(parameters, flatten(field, golden.gradLayers)),
    },
    steps: solve.solution.stats.accepted,
  };
  solve.dispose();
  field.dispose();
  return result;
}

/**
 * The same for a case of equations: see golden-models/README.md.
 *
 * @param {Api} api
 * @param {Golden} golden
 * @param {{ dtype: string, gradient: string }} options
 * @returns {{ errors?: Record<string, number>, steps?: number, unsupported?: string }}
 */
function runEquations(api, golden, { dtype, gradient }) {
  if (METHODS.includes(golden.method)) return { unsupported: golden.method };
  /** @param {any} values */
  const array = (values) => (dtype === "float64" ? Float64Array : Float32Array).from(values.flat(2));
  const { equations: text, states: state, parameters, arguments: given } = golden;
  const field = api.equations(text, { state, parameters, arguments: Object.keys(given), dtype });
  const adaptive = golden.steps === null;
  const steps = adaptive ? { rtol: golden.rtol, atol: golden.atol, output: "land" } : { steps: golden.steps };
  const options = { method: golden.method, gradient, ...steps };
  const args = Object.keys(given).length > 0 ? { arguments: given } : {};
  const { jumps, events, times } = golden;
  // Adaptive steps are each trajectory's own.
  const own = {
    ...((adaptive || times) && { batching: "independent" }),
    ...(jumps && { jumps: [{ times: jumps.times, set: jumps.set }] }),
    ...(events && { events: [eventOf(events)] }),
  };
  const solve = api.vjp(field, array(golden.y0), times ?? golden.t, { ...options, ...args, ...own });
  const { y, shape } = solve.solution;
  const w = times ? padded(golden.cotangent, shape, array) : array(golden.cotangent);
  const eventTimes = events && { times: events.eventCotangent.flat() };
  const pulled = solve.pullback(w, eventTimes);
  const rows = times ? ragged(y, shape, times) : y;
  /** @type {Record<string, number>} */
  const errors = {
    y: relativeError(rows, golden.y.flat(2)),
    gradY0: relativeError(pulled.y0, golden.gradY0.flat(2)),
  };
  if (events) errors.events = relativeError(solve.solution.events.t, events.expected.flat());
  for (const [name, value] of Object.entries(golden.gradParameters)) {
    errors[`d${name}`] = relativeError([pulled.parameters[field.entries[name].offset]], [value]);
  }
  for (const [name, values] of Object.entries(golden.gradArguments)) {
    errors[`d${name}`] = relativeError(pulled.arguments[name], values);
  }
  if (golden.gradTimes) errors.gradTimes = relativeError(pulled.times, golden.gradTimes);
  const accepted = solve.solution.stats.accepted;
  solve.dispose();
  field.dispose();
  return { errors, steps: accepted };
}

/**
 * An event as the package takes it.
 *
 * @param {{ when: string, direction: string, terminal: boolean, set?: string }} event
 */
function eventOf({ when, direction, terminal, set }) {
  return { when, direction, terminal, ...(set !== undefined && { set }) };
}

/**
 * Rows of each trajectory, as many as it has times, as `[times, batch, state]` with zeros behind.
 *
 * @param {number[][][]} lists
 * @param {number[]} shape
 * @param {(values: any) => any} array
 */
function padded(lists, [times, batch, state], array) {
  const all = array(new Array(times * batch * state).fill(0));
  for (const [i, list] of lists.entries()) {
    for (const [k, row] of list.entries()) all.set(row, (k * batch + i) * state);
  }
  return all;
}

/**
 * The same the other way.
 *
 * @param {ArrayLike<number> & { subarray(from: number, to: number): Iterable<number> }} y
 * @param {number[]} shape
 * @param {number[][]} times
 */
function ragged(y, [, batch, state], times) {
  return times.flatMap((list, i) =>
    list.flatMap((_, k) => [...y.subarray((k * batch + i) * state, (k * batch + i + 1) * state)]),
  );
}

/**
 * The vector field of a case, but for its parameters.
 *
 * @param {Api} api
 * @param {{ kind: string, trace: string, noise: number[][], structure: any }} described
 * @param {object} network
 * @param {(values: any[]) => ArrayLike<number>} array
 */
function fieldOf(api, { kind, trace, noise, structure }, network, array) {
  if (kind === "mlp") return api.mlp(network);
  if (kind === "hnn") return api.hamiltonian({ energy: network, structure });
  const field = api.cnf({ network, trace });
  if (noise) field.setNoise(array(noise));
  return field;
}

/**
 * Arrays layer by layer, laid out as the field's parameters.
 *
 * @param {any} field
 * @param {Layers} layers
 */
function flatten(field, layers) {
  const flat = new Array(field.parameters.length).fill(Number.NaN);
  /** @type {[number, Record<string, { offset: number, shape: number[] }>][]} */
  const entries = [...field.layers.entries()];
  for (const [index, places] of entries) {
    for (const [name, { offset, shape }] of Object.entries(places)) {
      const values = layers[index][name].flat();
      if (values.length !== shape.reduce((product, side) => product * side))
        throw new Error(`${name}: ${values.length}`);
      for (const [i, value] of values.entries()) flat[offset + i] = value;
    }
  }
  return flat;
}

/**
 * ‖ours − theirs‖ / ‖theirs‖, absolute where theirs is zero.
 *
 * @param {ArrayLike<number>} ours
 * @param {ArrayLike<number>} theirs
 */
export function relativeError(ours, theirs) {
  if (ours.length !== theirs.length) throw new Error(`${ours.length} numbers for ${theirs.length}`);
  let [difference, size] = [0, 0];
  for (let i = 0; i < theirs.length; i++) {
    difference += (ours[i] - theirs[i]) ** 2;
    size += theirs[i] ** 2;
  }
  return Math.sqrt(size > 0 ? difference / size : difference);
}
