// Rounding: the error of float32 gradients against float64 on the same steps, by how many there are.
import { EXACT } from "../shared/gradients.mjs";
import { exponent, gradientOf, inFloat64, relative } from "./common.mjs";
import { curves } from "./plots.mjs";

const WIDTHS = [2, 16, 2];
const BATCH = 32;
const END = 4;
/** How sums over steps are added; all exact gradients round alike, bit by bit. */
const SERIES = {
  "exact, compensated": { gradient: "symplectic", summation: "compensated" },
  "exact, gradient compensated": { gradient: "symplectic", summation: "gradient" },
  "exact, plain": { gradient: "symplectic", summation: "plain" },
  "adjoint, compensated": { gradient: "adjoint", summation: "compensated" },
  "adjoint, plain": { gradient: "adjoint", summation: "plain" },
};

export function run({ api, quick, seed, progress }) {
  const make = (dtype) => api.mlp({ widths: WIDTHS, dtype, seed: seed + 3 });
  const single = make("float32");
  // Larger than they are drawn, for a solve that takes some steps.
  single.parameters = single.parameters.map((value) => 2 * value);
  const double = inFloat64(make, single);
  const y0 = Float32Array.from({ length: BATCH * WIDTHS[0] }, (_, i) => Math.sin(i));
  const errorOf = (options, steps, series) => {
    const settings = { ...options, steps };
    const exact = gradientOf(api, double, Float64Array.from(y0), [0, END], { ...settings, gradient: "backprop" });
    // The adjoint goes back by the same steps: what differs is then its discretisation, and rounding.
    const asked = { ...settings, ...series, ...(series.gradient === "adjoint" && { adjoint: settings }) };
    const reference =
      series.gradient === "adjoint" ? gradientOf(api, double, Float64Array.from(y0), [0, END], asked) : exact;
    const rounded = gradientOf(api, single, y0, [0, END], asked).gradient.parameters;
    return relative(rounded, reference.gradient.parameters);
  };

  const say = progress("steps");
  const bySteps = [];
  for (const steps of quick ? [10, 100, 1_000] : [10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000]) {
    for (const [name, series] of Object.entries(SERIES)) {
      say(`${steps} steps, ${name}`);
      bySteps.push({ series: name, steps, error: errorOf({ method: "rk4" }, steps, series) });
    }
  }
  say.done();

  const tell = progress("tolerances");
  const byTolerance = [];
  for (const method of ["bosh3", "dopri5", "dopri8"]) {
    for (let digits = 2; digits <= 10; digits += quick ? 4 : 1) {
      const rtol = 10 ** -digits;
      tell(`${method}, ${rtol}`);
      const solution = api.odeint(double, Float64Array.from(y0), [0, END], { method, rtol, atol: rtol });
      const steps = solution.stats.accepted;
      for (const [name, series] of Object.entries(SERIES)) {
        byTolerance.push({ method, rtol, steps, series: name, error: errorOf({ method }, steps, series) });
      }
    }
  }
  const bits = EXACT.map(
    (gradient) => gradientOf(api, single, y0, [0, END], { method: "dopri5", steps: 100, gradient }).gradient.parameters,
  );
  const bitwise = bits.every((parameters) => parameters.every((value, i) => Object.is(value, bits[0][i])));
  tell.done();
  single.dispose();
  double.dispose();
  return { widths: WIDTHS, batch: BATCH, end: END, bySteps, byTolerance, bitwise };
}

export function report({ widths, batch, end, bySteps, byTolerance, bitwise }) {
  const error = { label: "↑ relative error of ∂L/∂θ", log: true, format: ".0e", domain: [1e-8, 1e-4] };
  const steps = {
    title: "rk4 with equal steps",
    x: { label: "steps N →", log: true, format: "~s" },
    y: error,
    points: bySteps.map((row) => ({ series: row.series, x: row.steps, y: row.error })),
  };
  const panels = ["bosh3", "dopri5", "dopri8"].map((method) => ({
    title: `${method}, as many steps as the tolerance takes`,
    x: { label: "tolerance →", log: true, format: ".0e", ticks: 4 },
    y: error,
    points: byTolerance
      .filter((row) => row.method === method)
      .map((row) => ({ series: row.series, x: row.rtol, y: row.error })),
  }));
  const names = Object.keys(SERIES);
  const counts = [...new Set(bySteps.map((row) => row.steps))];
  const rows = counts.map((count) => [
    String(count),
    ...names.map((name) => exponent(bySteps.find((row) => row.steps === count && row.series === name).error)),
  ]);
  return {
    title: "Robust to rounding",
    lead: `The error of ∂L/∂θ in float32 against the same steps in float64: a network ${widths.join("-")} (tanh), batch ${batch}, L = ½ Σ y(${end})². For the adjoint the reference is the adjoint in float64, so that only rounding is seen.`,
    sections: [
      {
        title: "By steps and by tolerance",
        text: `The exact gradients (symplectic, aca, baseline, backprop) are one sweep: in float32 too they agree ${bitwise ? "in every bit" : "NOT in every bit"}. What differs is how sums over steps are added: compensated in state, λ and ∂L/∂θ (the default), in λ and ∂L/∂θ alone, or plainly.`,
        figures: [
          {
            name: "rounding",
            svg: curves({
              title: "Rounding error of a float32 gradient",
              columns: 2,
              panels: [steps, ...panels],
              size: { width: 460, height: 280 },
            }),
            caption: "Compensated, the error does not grow with the steps; plainly, it does.",
          },
        ],
        tables: [{ name: "steps", head: ["steps", ...names], rows }],
      },
    ],
  };
}
