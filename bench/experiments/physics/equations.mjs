// Two equations u_t = G δH/δu on a periodic grid, and their solutions.
//
// What is to be learned is the equation of the grid, as in the paper: H = Δ Σ h(u_i, u_{i+1}), its functional derivative,
// and for G the difference that the models have too. Its solution is that of the method of lines, in float64.
import { normals, uniforms } from "../../shared/random.mjs";
import { relative } from "../common.mjs";

/** Of a density h = potential(u_i) + ½ stiffness ((u_{i+1} − u_i) / Δ)². */
export const EQUATIONS = {
  kdv: {
    name: "Korteweg–de Vries",
    formula: "u_t = −6 u u_x − u_xxx, H = ∫ (½ u_x² − u³) dx, G = ∂x",
    structure: "dx",
    stencil: 3,
    stiffness: 1,
    potential: (u) => -(u ** 3),
    slope: (u) => -3 * u * u,
    initial: solitons,
  },
  cahnHilliard: {
    name: "Cahn–Hilliard",
    formula: "u_t = ∂xx (u³ − u − u_xx), H = ∫ (¼ (u² − 1)² + ½ u_x²) dx, G = ∂xx",
    structure: "laplacian",
    stencil: 3,
    stiffness: 1,
    potential: (u) => (u * u - 1) ** 2 / 4,
    slope: (u) => u ** 3 - u,
    initial: mixture,
  },
};

/** Two solitons 2κ² sech²(κ (x − d)), of speed 4κ², at random places. */
function solitons({ points, spacing }, seed) {
  const uniform = uniforms(seed);
  const size = points * spacing;
  const u = new Float64Array(points);
  for (let soliton = 0; soliton < 2; soliton++) {
    const [kappa, place] = [0.6 + 0.4 * uniform(), size * uniform()];
    for (let i = 0; i < points; i++) {
      for (const turn of [-1, 0, 1])
        u[i] += 2 * kappa ** 2 * Math.cosh(kappa * (i * spacing - place + turn * size)) ** -2;
    }
  }
  return u;
}

/** A mixture near the middle, where it separates: a smooth random field, of waves no shorter than six points. */
function mixture({ points }, seed) {
  const [normal, uniform] = [normals(seed), uniforms(seed + 1)];
  const u = new Float64Array(points).fill(0.4 * uniform() - 0.2);
  const waves = Math.floor(points / 6);
  for (let wave = 1; wave <= waves; wave++) {
    const [size, phase] = [(0.5 * normal()) / Math.sqrt(waves), 2 * Math.PI * uniform()];
    for (let i = 0; i < points; i++) u[i] += size * Math.cos((2 * Math.PI * wave * i) / points + phase);
  }
  return u;
}

/** H of each sample of `[samples, points]`. */
export function energies({ potential, stiffness }, { points, spacing }, states) {
  return Float64Array.from({ length: states.length / points }, (_, sample) => {
    let sum = 0;
    for (let i = 0; i < points; i++) {
      const u = states[sample * points + i];
      const step = (states[sample * points + ((i + 1) % points)] - u) / spacing;
      sum += potential(u) + (stiffness * step * step) / 2;
    }
    return sum * spacing;
  });
}

/** The equation as a field: G δH/δu. */
function fieldOf(api, { structure, slope, stiffness }, { points, spacing }) {
  const apply = {
    dx: (left, _, right) => (right - left) / (2 * spacing),
    laplacian: (left, middle, right) => (left - 2 * middle + right) / spacing ** 2,
  }[structure];
  const second = (left, middle, right) => (left - 2 * middle + right) / spacing ** 2;
  const each = (values, target, difference) => {
    for (let start = 0; start < values.length; start += points) {
      for (let i = 0; i < points; i++) {
        const [before, after] = [i === 0 ? points - 1 : i - 1, i === points - 1 ? 0 : i + 1];
        target[start + i] = difference(values[start + before], values[start + i], values[start + after]);
      }
    }
    return target;
  };
  return api.custom({
    stateSize: points,
    dtype: "float64",
    evaluate(_, u) {
      const derivative = each(u, new Float64Array(u.length), second);
      for (let i = 0; i < u.length; i++) derivative[i] = slope(u[i]) - stiffness * derivative[i];
      return each(derivative, u, apply);
    },
    vjp() {
      throw new Error("the reference is only solved");
    },
  });
}

/** Solutions `[times, samples, points]` from initial conditions of these seeds, at 0, interval, …, intervals · interval. */
export function simulate(api, equation, grid, { seeds, interval, intervals, steps }) {
  const field = fieldOf(api, equation, grid);
  const y0 = Float64Array.from(seeds.flatMap((seed) => [...equation.initial(grid, seed)]));
  const times = Array.from({ length: intervals + 1 }, (_, i) => i * interval);
  const { y } = api.odeint(field, y0, times, { method: "dopri8", steps });
  field.dispose();
  return { times, samples: seeds.length, points: grid.points, y };
}

/** Whether the reference is one: how far half its step moves it, and what becomes of its energy. */
export function checkReference(api, equation, grid, settings) {
  const [whole, half] = [1, 2].map((finer) =>
    simulate(api, equation, grid, { ...settings, steps: settings.steps * finer }),
  );
  const all = energies(equation, grid, whole.y);
  const { samples } = whole;
  let [drift, rise] = [0, 0];
  for (let i = samples; i < all.length; i++) {
    drift = Math.max(drift, Math.abs(all[i] / all[i % samples] - 1));
    rise = Math.max(rise, all[i] - all[i - samples]);
  }
  return { change: relative(whole.y, half.y), drift, rise };
}
