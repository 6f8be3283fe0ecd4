// Mass and spring, pendulums: energies learned from short noisy trajectories, against plain networks.
import { normals, uniforms } from "../../shared/random.mjs";
import { learn } from "./learn.mjs";
import { plain } from "./models.mjs";

const FRICTION = 0.15;
const damped = { J: [0, 1, -1, 0], R: [0, 0, 0, FRICTION] };
/** Learned under one force, tried under another, weaker one: a strong one may take it to where nothing was learned. */
const FORCES = {
  learned: (t) => [0.6 * Math.sin(1.3 * t) + 0.4 * Math.cos(2.9 * t)],
  tried: (t) => [0.2 * Math.cos(0.4 * t) + 0.2 * Math.sin(1.7 * t)],
};
const spring = { energy: (q, p) => (q * q + p * p) / 2, force: (q) => -q };
const gravity = { energy: (q, p) => (p * p) / 2 + 1 - Math.cos(q), force: (q) => -Math.sin(q) };

export const SYSTEMS = {
  spring: { name: "mass and spring", ...spring, structure: "canonical", friction: 0 },
  pendulum: { name: "pendulum", ...gravity, structure: "canonical", friction: 0 },
  damped: { name: "damped pendulum", ...gravity, structure: damped, friction: FRICTION },
  driven: { name: "driven damped pendulum", ...gravity, structure: damped, friction: FRICTION, forces: FORCES },
};

const INTERVAL = 0.3;
const INTERVALS = 10;
const HORIZON = 10;
const NOISE = 0.03;
const HIDDEN = 32;
const SAMPLES = { learned: 60, tried: 20 };
const TRAINING = { pieces: INTERVALS, batch: 32, learningRate: 5e-3 };
const SOLVER = { method: "dopri5", rtol: 1e-4, atol: 1e-4 };
const TIGHT = { method: "dopri8", rtol: 1e-8, atol: 1e-8 };

export async function oscillators({ api, quick, seed, progress }) {
  const systems = {};
  for (const [name, system] of Object.entries(SYSTEMS)) {
    const say = progress(system.name);
    systems[name] = await compared(api, system, { seed, say, steps: quick ? 200 : 2000 });
    say.done();
  }
  const end = INTERVAL * INTERVALS;
  return { end, horizon: HORIZON, noise: NOISE, friction: FRICTION, samples: SAMPLES, systems };
}

async function compared(api, system, { seed, say, steps }) {
  const { learned, tried } = system.forces ?? {};
  const data = solved(api, system, learned, { intervals: INTERVALS, samples: SAMPLES.learned, seed: seed + 1 });
  const normal = normals(seed + 2);
  data.y = data.y.map((value) => value + NOISE * normal());
  const truth = solved(api, system, tried, { intervals: HORIZON * INTERVALS, samples: SAMPLES.tried, seed: seed + 3 });
  const energy = { widths: [2, HIDDEN, HIDDEN, 1], seed };
  const make = {
    energy: (dtype) => api.hamiltonian({ energy: { ...energy, dtype }, structure: system.structure }),
    plain: (dtype, parameters) => plain(api, { inputs: 2, parameters, dtype, seed }),
  };
  const models = {};
  let parameters;
  for (const [kind, field] of Object.entries(make)) {
    const network = field("float32", parameters);
    parameters ??= network.parameters.length;
    const model = forced(api, network, learned);
    const settings = { ...TRAINING, data, steps, seed: seed + 4, solver: SOLVER };
    const { loss } = await learn(api, model, { ...settings, say: (what) => say(`${kind}, ${what}`) });
    const double = field("float64", parameters);
    double.parameters = Float64Array.from(model.parameters);
    const goesOn = forced(api, double, tried);
    const y = api.odeint(goesOn, truth.y.slice(0, 2 * truth.samples), truth.times, TIGHT).y;
    models[kind] = { parameters: network.parameters.length, loss, ...along(system, truth, y) };
    for (const one of new Set([goesOn, double, model, network])) one.dispose();
  }
  return { times: truth.times, truth: along(system, truth, truth.y), models };
}

function forced(api, field, u) {
  return u ? api.driven(field, { B: [0, 1], u }) : field;
}

/** Solutions `[times, samples, 2]` of the system itself, from the inner two thirds of the energies at which it swings. */
function solved(api, { force, friction }, u, { intervals, samples, seed }) {
  const uniform = uniforms(seed);
  const y0 = Float64Array.from({ length: 2 * samples });
  for (let i = 0; i < y0.length; i += 2) {
    const [radius, angle] = [0.4 + 1.2 * uniform(), 2 * Math.PI * uniform()];
    y0.set([radius * Math.cos(angle), radius * Math.sin(angle)], i);
  }
  const field = api.custom({
    stateSize: 2,
    dtype: "float64",
    evaluate: (_, y) => y.map((value, i) => (i % 2 ? force(y[i - 1]) - friction * value : y[i + 1])),
    vjp() {
      throw new Error("the reference is only solved");
    },
  });
  const times = Array.from({ length: intervals + 1 }, (_, i) => i * INTERVAL);
  const { y } = api.odeint(forced(api, field, u), y0, times, { ...TIGHT, rtol: 1e-11, atol: 1e-11 });
  field.dispose();
  return { times, samples, points: 2, y };
}

/** The first sample's path, mean squared error and energies over time. */
function along({ energy }, { times, samples, y: truth }, y) {
  const path = [];
  /** @type {Record<"error" | "energyError" | "energy", number[]>} */
  const means = { error: [], energyError: [], energy: [] };
  for (let n = 0; n < times.length; n++) {
    let [error, energyError] = [0, 0];
    for (let sample = 0; sample < samples; sample++) {
      const at = 2 * (n * samples + sample);
      const [q, p, q0, p0] = [y[at], y[at + 1], truth[at], truth[at + 1]];
      error += (q - q0) ** 2 + (p - p0) ** 2;
      energyError += Math.abs(energy(q, p) - energy(q0, p0));
    }
    const first = 2 * n * samples;
    path.push([y[first], y[first + 1]]);
    means.energy.push(energy(y[first], y[first + 1]));
    means.error.push(error / (2 * samples));
    means.energyError.push(energyError / samples);
  }
  return { path, ...means };
}
