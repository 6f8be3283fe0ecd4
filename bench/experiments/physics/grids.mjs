// The equations on grids: energies learned from snapshots, against plain networks, over times much longer than learned.
import { cost } from "./cost.mjs";
import { checkReference, EQUATIONS, energies, simulate } from "./equations.mjs";
import { learn } from "./learn.mjs";
import { local, plain } from "./models.mjs";

const SETTINGS = {
  kdv: { grid: { points: 48, spacing: 0.4 }, interval: 0.1, substeps: 8, steps: 3000 },
  cahnHilliard: { grid: { points: 48, spacing: 1 }, interval: 1, substeps: 10, steps: 1500 },
};
const QUICK = { points: 24, steps: 250, samples: 8 };
const SAMPLES = { learned: 40, tried: 10 };
/** Intervals: of a trajectory that is learned from, and of one that is rolled out. */
const INTERVALS = { learned: 50, tried: 100 };
const HIDDEN = 32;
const ACTIVATION = "softplus";
/** Parameters of the larger plain network, by those of the energy. */
const LARGER = 25;
const TRAINING = { pieces: 1, batch: 16, learningRate: 1e-2 };
const SOLVER = { method: "dopri8", rtol: 1e-4, atol: 1e-4 };
/** In float64, so that what is seen is the model and not the solver. */
const TIGHT = { method: "dopri8", rtol: 1e-7, atol: 1e-7, maxSteps: 20_000 };
/** Columns of a space-time image. */
const COLUMNS = 51;

export async function grids({ api, quick, seed, progress, save }) {
  const equations = {};
  for (const name of Object.keys(SETTINGS)) {
    equations[name] = await compared(api, name, { quick, seed, progress });
    save(equations);
  }
  return equations;
}

async function compared(api, name, { quick, seed, progress }) {
  const equation = EQUATIONS[name];
  const { interval, substeps, ...full } = SETTINGS[name];
  const grid = quick ? { ...full.grid, points: QUICK.points } : full.grid;
  const steps = quick ? QUICK.steps : full.steps;
  const samples = quick ? { learned: QUICK.samples, tried: QUICK.samples } : SAMPLES;
  const seeds = (first, count) => Array.from({ length: count }, (_, i) => 10_000 * (seed + 1) + first + i);
  const solved = { interval, steps: substeps };
  const learned = { ...solved, seeds: seeds(0, samples.learned), intervals: INTERVALS.learned };
  const tried = { ...solved, seeds: seeds(5_000, samples.tried), intervals: INTERVALS.tried };
  const say = progress(equation.name);
  say("reference");
  const data = simulate(api, equation, grid, learned);
  const truth = simulate(api, equation, grid, tried);
  const reference = checkReference(api, equation, grid, tried);

  const models = {};
  const networks = modelsOf(api, equation, grid, seed);
  let costs;
  for (const [kind, make] of Object.entries(networks)) {
    const { field, dispose } = make("float32");
    const settings = { ...TRAINING, data, steps, seed: seed + 1, solver: SOLVER };
    const { loss, seconds } = await learn(api, field, { ...settings, say: (what) => say(`${kind}, ${what}`) });
    say(`${kind}, foretells`);
    const double = make("float64");
    double.field.parameters = Float64Array.from(field.parameters);
    const rolledOut = rollOut(api, double.field, truth);
    const more = double.field.energy ? { own: learnedEnergy(double.field, rolledOut) } : {};
    const { length } = field.parameters;
    models[kind] = { parameters: length, loss, seconds, ...along(equation, grid, truth, rolledOut), ...more };
    if (kind === "energy") costs = cost(api, field, { truth, interval, batch: TRAINING.batch, quick, say });
    double.dispose();
    dispose();
  }
  say.done();
  const { times } = truth;
  const shown = { times, truth: { ...along(equation, grid, truth, truth.y) } };
  return { grid, interval, substeps, steps, samples, reference, ...shown, models, costs };
}

/** Makers of the fields that are compared, with how to dispose of one. */
function modelsOf(api, { structure, stencil }, grid, seed) {
  const { points } = grid;
  const owned = (field, ...others) => ({
    field,
    dispose: () => [field, ...others].forEach((one) => void one.dispose()),
  });
  const energyOf = (dtype) => ({ widths: [stencil, HIDDEN, HIDDEN, 1], activation: ACTIVATION, dtype, seed });
  const energy = (dtype) => owned(api.hamiltonian({ energy: energyOf(dtype), structure, ...grid }));
  const probe = energy("float32");
  const parameters = probe.field.parameters.length;
  probe.dispose();
  const shape = { activation: ACTIVATION, seed };
  const whole = (size) => (dtype) => owned(plain(api, { ...shape, inputs: points, parameters: size, dtype }));
  // What G ∇H at a point depends on: the neighbours that ∇H has, and one more to each side.
  const inputs = 2 * stencil - 1 + 2;
  return {
    energy,
    plain: whole(parameters),
    larger: whole(LARGER * parameters),
    local: (dtype) => {
      const { field, network } = local(api, { ...shape, points, inputs, parameters, dtype });
      return owned(field, network);
    },
  };
}

/** Solutions `[times, samples, points]` from the true beginnings, each for itself: NaN from where one cannot go on. */
function rollOut(api, field, { times, samples, points, y: truth }) {
  const y = new Float64Array(truth.length).fill(Number.NaN);
  for (let sample = 0; sample < samples; sample++) {
    const one = continueFrom(api, field, truth.slice(sample * points, (sample + 1) * points), times);
    for (let n = 0; n * points < one.length; n++) {
      y.set(one.subarray(n * points, (n + 1) * points), (n * samples + sample) * points);
    }
  }
  return y;
}

function continueFrom(api, field, y0, times) {
  try {
    return api.odeint(field, y0, times, { ...TIGHT, partial: true }).y;
  } catch (error) {
    if (error.partial) return error.partial.y;
    throw error;
  }
}

/** Means over the samples, by time; and the first sample in space and time. */
function along(equation, grid, { times, samples, points, y: truth }, y) {
  const [all, exact] = [y, truth].map((states) => energies(equation, grid, states));
  const size = samples * points;
  const error = times.map((_, n) => {
    let sum = 0;
    for (let i = n * size; i < (n + 1) * size; i++) sum += (y[i] - truth[i]) ** 2;
    return sum / size;
  });
  const energyError = times.map((_, n) => {
    let sum = 0;
    for (let i = n * samples; i < (n + 1) * samples; i++) sum += Math.abs(all[i] - exact[i]);
    return sum / samples;
  });
  const energy = times.map((_, n) => all[n * samples]);
  return { error, energyError, energy, image: imageOf(times.length, samples, points, y) };
}

/** The first sample: a row a point of the grid, the last one on top, and a column a time. */
function imageOf(times, samples, points, y) {
  const columns = Math.min(COLUMNS, times);
  const values = [];
  for (let i = points - 1; i >= 0; i--) {
    for (let column = 0; column < columns; column++) {
      const n = Math.round((column * (times - 1)) / (columns - 1));
      const value = y[n * samples * points + i];
      values.push(Math.round(100 * Math.min(9, Math.max(-9, value))) / 100);
    }
  }
  return { values, width: columns, height: points };
}

/** What becomes of a model's own energy on the way: how far it moves on average, and the most that it rises at once. */
function learnedEnergy(field, y) {
  const all = field.energy(y);
  const samples = all.length / (INTERVALS.tried + 1);
  let [drift, rise] = [0, 0];
  for (let i = samples; i < all.length; i++) {
    drift = Math.max(drift, Math.abs(all[i] - all[i % samples]));
    rise = Math.max(rise, all[i] - all[i - samples]);
  }
  return { drift, rise };
}
