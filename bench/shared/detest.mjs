// The non-stiff problems of DETEST: T. E. Hull, W. H. Enright, B. M. Fellen and A. E. Sedgwick, Comparing numerical methods for
// ordinary differential equations, SIAM J. Numer. Anal. 9(4), 1972. All go from t = 0 to 20.
//
// `exact` is the solution in closed form. Where there is none, `end` is y(20) as W. H. Enright and J. D. Pryce published it, Two
// FORTRAN packages for assessing initial value methods, ACM TOMS 13(1), 1987.

export const END = 20;
const times = Array.from({ length: END + 1 }, (_, t) => t);

/** States y1, y2 … with a right-hand side for each. */
const system = (...slopes) => slopes.map((slope, i) => `y${i + 1}' = ${slope}`).join("\n");
const range = (length) => Array.from({ length }, (_, i) => i);
const unit = (size) => range(size).map((i) => (i === 0 ? 1 : 0));

/** y_i′ = y_{i−1} − 2 y_i + y_{i+1}, and the sum of its modes. */
function diffusion(size) {
  const mode = (j, k) => Math.sin((j * k * Math.PI) / (size + 1));
  const decay = (k) => 4 * Math.sin((k * Math.PI) / (2 * (size + 1))) ** 2;
  const beside = (i) => [i > 0 && `y${i}`, i + 1 < size && `y${i + 2}`].filter(Boolean).join(" + ");
  return {
    text: system(...range(size).map((i) => `${beside(i)} - 2 * y${i + 1}`)),
    y0: unit(size),
    exact: (t) =>
      range(size).map((i) => {
        const part = (k) => (2 / (size + 1)) * mode(1, k) * mode(i + 1, k) * Math.exp(-decay(k) * t);
        return range(size).reduce((sum, k) => sum + part(k + 1), 0);
      }),
  };
}

/** A chain of decays at these rates, each into the next; the last is stable. */
function decays(rates) {
  const lost = (i) => `${rates[i]} * y${i + 1}`;
  const gains = rates.map((_, i) => [i > 0 && lost(i - 1), `-${lost(i)}`].filter(Boolean).join(" "));
  return { text: system(...gains, lost(rates.length - 1)), y0: unit(rates.length + 1) };
}

/** The orbit of one body around another, with this eccentricity, from the pericentre. */
function orbit(eccentricity) {
  const minor = Math.sqrt(1 - eccentricity ** 2);
  return {
    text: `cubed = (y1^2 + y2^2)^1.5\n${system("y3", "y4", "-y1 / cubed", "-y2 / cubed")}`,
    y0: [1 - eccentricity, 0, 0, Math.sqrt((1 + eccentricity) / (1 - eccentricity))],
    exact(t) {
      // Kepler's equation by Newton's method.
      let anomaly = t;
      for (let i = 0; i < 50; i++) {
        anomaly -= (anomaly - eccentricity * Math.sin(anomaly) - t) / (1 - eccentricity * Math.cos(anomaly));
      }
      const [cos, sin] = [Math.cos(anomaly), Math.sin(anomaly)];
      const rate = 1 / (1 - eccentricity * cos);
      return [cos - eccentricity, minor * sin, -sin * rate, minor * cos * rate];
    },
  };
}

/** Five outer planets around the sun; positions in astronomical units, time in hundreds of days. */
function planets() {
  const [gravity, sun] = [2.95912208286, 1.00000597682];
  const masses = [0.000954786104043, 0.000285583733151, 0.0000437273164546, 0.0000517759138449, 0.00000277777777778];
  const name = (planet, axis) => `y${3 * planet + axis + 1}`;
  const squares = (terms) => terms.map((term) => `(${term})^2`).join(" + ");
  const axes = range(3);
  const others = (planet) => range(5).filter((other) => other !== planet);
  const pairs = range(5).flatMap((j) => range(j).map((k) => [k, j]));
  const lines = [
    ...range(5).map((j) => `r${j} = (${squares(axes.map((axis) => name(j, axis)))})^1.5`),
    ...pairs.map(([k, j]) => `d${k}${j} = (${squares(axes.map((axis) => `${name(k, axis)} - ${name(j, axis)}`))})^1.5`),
  ];
  const distance = (j, k) => `d${Math.min(j, k)}${Math.max(j, k)}`;
  const pull = (j, k, axis) =>
    `${masses[k]} * ((${name(k, axis)} - ${name(j, axis)}) / ${distance(j, k)} - ${name(k, axis)} / r${k})`;
  const force = (j, axis) => {
    const all = others(j).map((k) => pull(j, k, axis));
    return `${gravity} * (-${sun + masses[j]} * ${name(j, axis)} / r${j} + ${all.join(" + ")})`;
  };
  const slopes = [
    ...range(15).map((i) => `y${i + 16}`),
    ...range(5).flatMap((planet) => axes.map((axis) => force(planet, axis))),
  ];
  return {
    text: `${lines.join("\n")}\n${system(...slopes)}`,
    y0: [
      [3.42947415189, 3.35386959711, 1.35494901715],
      [6.6414554255, 5.97156957878, 2.18231499728],
      [11.2630437207, 14.6952576794, 6.27960525067],
      [-30.1552268759, 1.65699966404, 1.43785752721],
      [-21.123835338, 28.4465098142, 15.3882659679],
      [-0.557160570446, 0.505696783289, 0.230578543901],
      [-0.415570776342, 0.365682722812, 0.169143213293],
      [-0.325325669158, 0.189706021964, 0.087726532278],
      [-0.024047625417, -0.287659532608, -0.117219543175],
      [-0.176860753121, -0.216393453025, -0.014864789309],
    ].flat(),
    end: [
      [-4.792730224323733, -2.420550725448973, -0.921250930601489],
      [-4.217310404035213, 7.35620294749897, 3.223785985421212],
      [4.03555944326227, 17.19865528670555, 7.478910794233703],
      [-29.98759326324844, -4.107310937550929, -0.9277008321754407],
      [-24.42125302518482, 23.81459045746554, 14.92096306951359],
      [0.3499208963063806, -0.5748487687912825, -0.2551694020879149],
      [-0.5237040978903326, -0.2493000463579661, -0.08045341642044464],
      [-0.387528923733411, 0.05648603288767891, 0.03023606472143342],
      [0.04133856546712445, -0.2862393029841379, -0.1183032405136207],
      [-0.1511986457359206, -0.2460068894318766, -0.03189687411323877],
    ].flat(),
  };
}

const falling = Math.sqrt(0.4 * 0.032);

/** @type {Record<string, { text: string, y0: number[], exact?: (t: number) => number[], end?: number[] }>} */
export const problems = {
  A1: { text: "y1' = -y1", y0: [1], exact: (t) => [Math.exp(-t)] },
  A2: { text: "y1' = -y1^3 / 2", y0: [1], exact: (t) => [1 / Math.sqrt(1 + t)] },
  A3: { text: "y1' = y1 * cos(t)", y0: [1], exact: (t) => [Math.exp(Math.sin(t))] },
  A4: { text: "y1' = y1 / 4 * (1 - y1 / 20)", y0: [1], exact: (t) => [20 / (1 + 19 * Math.exp(-t / 4))] },
  A5: { text: "y1' = (y1 - t) / (y1 + t)", y0: [4], end: [-0.7887826688964196] },
  B1: {
    text: system("2 * (y1 - y1 * y2)", "-(y2 - y1 * y2)"),
    y0: [1, 3],
    end: [0.6761876008576667, 0.1860816099640036],
  },
  B2: {
    text: system("-y1 + y2", "y1 - 2 * y2 + y3", "y2 - y3"),
    y0: [2, 0, 1],
    exact: (t) => {
      const [slow, fast] = [Math.exp(-t) / 2, Math.exp(-3 * t) / 2];
      return [1 + slow + fast, 1 - 2 * fast, 1 - slow + fast];
    },
  },
  B3: {
    text: system("-y1", "y1 - y2^2", "y2^2"),
    y0: [1, 0, 0],
    end: [2.061153488557776e-9, 0.05257228022048349, 0.947427717718363],
  },
  B4: {
    text: `r = sqrt(y1^2 + y2^2)\n${system("-y2 - y1 * y3 / r", "y1 - y2 * y3 / r", "y1 / r")}`,
    y0: [3, 0, 0],
    exact: (t) => [(2 + Math.cos(t)) * Math.cos(t), (2 + Math.cos(t)) * Math.sin(t), Math.sin(t)],
  },
  B5: {
    text: system("y2 * y3", "-y1 * y3", "-0.51 * y1 * y2"),
    y0: [0, 1, 1],
    end: [-0.9396570798729192, -0.3421177754000779, 0.7414126596199957],
  },
  C1: {
    ...decays(range(9).map(() => 1)),
    exact(t) {
      const parts = [Math.exp(-t)];
      for (let i = 1; i < 9; i++) parts.push((parts[i - 1] * t) / i);
      return [...parts, 1 - parts.reduce((sum, part) => sum + part, 0)];
    },
  },
  C2: {
    ...decays(range(9).map((i) => i + 1)),
    exact: (t) => [...range(9).map((i) => Math.exp(-t) * (-Math.expm1(-t)) ** i), (-Math.expm1(-t)) ** 9],
  },
  C3: diffusion(10),
  C4: diffusion(51),
  C5: planets(),
  D1: orbit(0.1),
  D2: orbit(0.3),
  D3: orbit(0.5),
  D4: orbit(0.7),
  D5: orbit(0.9),
  E1: {
    // Bessel's equation of order ½.
    text: system("y2", "-(y2 / (t + 1) + (1 - 0.25 / (t + 1)^2) * y1)"),
    y0: [Math.sqrt(2 / Math.PI) * Math.sin(1), Math.sqrt(2 / Math.PI) * (Math.cos(1) - Math.sin(1) / 2)],
    exact(t) {
      const [s, scale] = [t + 1, Math.sqrt(2 / (Math.PI * (t + 1)))];
      return [scale * Math.sin(s), scale * (Math.cos(s) - Math.sin(s) / (2 * s))];
    },
  },
  E2: {
    text: system("y2", "(1 - y1^2) * y2 - y1"),
    y0: [2, 0],
    end: [2.008149762174948, -0.04250887527320057],
  },
  E3: {
    text: system("y2", "y1^3 / 6 - y1 + 2 * sin(2.78535 * t)"),
    y0: [0, 0],
    end: [-0.1004178858647128, 0.2411400132095954],
  },
  E4: {
    text: system("y2", "0.032 - 0.4 * y2^2"),
    y0: [30, 0],
    exact: (t) => [30 + Math.log(Math.cosh(falling * t)) / 0.4, Math.sqrt(0.08) * Math.tanh(falling * t)],
  },
  E5: {
    text: system("y2", "sqrt(1 + y2^2) / (25 - t)"),
    y0: [0, 0],
    exact(t) {
      const s = 1 - t / 25;
      return [25 * (-Math.log(s) / 2 - (1 - s ** 2) / 4), (1 / s - s) / 2];
    },
  },
};

/** The solution at a tolerance that is smaller than any that is worth measuring. */
export function precisely(api, field, start, at) {
  return api.odeint(field, start, at, { method: "dopri8", rtol: 1e-14, atol: 1e-14, maxSteps: 1_000_000 }).y;
}

/** The largest error of states of some size: the root mean square of |y − exact| / (1 + |exact|). */
export function distance(y, exact, size) {
  let largest = 0;
  for (let at = 0; at < y.length; at += size) {
    let sum = 0;
    for (let i = at; i < at + size; i++) sum += ((y[i] - exact[i]) / (1 + Math.abs(exact[i]))) ** 2;
    largest = Math.max(largest, Math.sqrt(sum / size));
  }
  return largest;
}

/** How far a precise solution of a problem, by its field, is from what is known in closed form, or has been published. */
export function offBy(api, field, problem) {
  const { y0, exact, end } = problems[problem];
  const y = precisely(api, field, Float64Array.from(y0), times);
  const size = y0.length;
  return exact ? distance(y, times.flatMap(exact), size) : distance(y.slice(-size), end, size);
}
