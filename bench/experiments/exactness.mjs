// How far each gradient is from that of backpropagation in float64.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/run.mjs";
import { runGolden, tolerance } from "../../test/golden.mjs";
import { EXACT, GRADIENTS } from "../shared/gradients.mjs";
import { exponent, gradientOf, inFloat64, relative } from "./common.mjs";
import { curves } from "./plots.mjs";

const METHODS = { adaptive_heun: 2, bosh3: 3, dopri5: 5, dopri8: 8 };
const WIDTHS = [2, 32, 32, 2];
const BATCH = 16;
const END = 2;
// The second order would take hundreds of thousands of steps.
const finest = (order) => (order === 2 ? 1e-8 : 1e-10);

export function run({ api, quick, seed, progress }) {
  const say = progress("methods, tolerances and types");
  const make = (dtype) => api.mlp({ widths: WIDTHS, dtype, seed });
  const single = make("float32");
  // Larger than they are drawn: a field that is nearly linear needs too few steps to show anything.
  single.parameters = single.parameters.map((value) => 3 * value);
  const double = inFloat64(make, single);
  const y0 = Float32Array.from({ length: BATCH * WIDTHS[0] }, (_, i) => 2 * Math.sin(i + 1));
  const y064 = Float64Array.from(y0);
  const rows = [];
  for (const [method, order] of Object.entries(METHODS)) {
    for (let digits = 2; digits <= 10; digits += quick ? 4 : 1) {
      const rtol = 10 ** -digits;
      if (rtol < finest(order) * 0.99) continue;
      say(`${method}, ${rtol}`);
      const options = { method, rtol, atol: rtol };
      const exact = gradientOf(api, double, y064, [0, END], { ...options, gradient: "backprop" });
      const steps = exact.solution.stats.accepted;
      // In float32 as many equal steps: its own choice would be another grid, and another number to be exact about.
      const equal = { method, steps };
      const exact64 = gradientOf(api, double, y064, [0, END], { ...equal, gradient: "backprop" });
      for (const gradient of GRADIENTS) {
        const adjoint = { rtol, atol: rtol };
        const doubles = gradientOf(api, double, y064, [0, END], { ...options, gradient });
        const backward = gradient === "adjoint" ? { adjoint: { method, ...adjoint } } : {};
        const singles = gradientOf(api, single, y0, [0, END], { ...equal, gradient, ...backward });
        rows.push({
          method,
          order,
          rtol,
          gradient,
          steps,
          float64: relative(doubles.gradient.parameters, exact.gradient.parameters),
          float32: relative(singles.gradient.parameters, exact64.gradient.parameters),
        });
      }
    }
  }
  single.dispose();
  double.dispose();
  say.done();
  return { widths: WIDTHS, batch: BATCH, end: END, rows, golden: golden(api) };
}

/** The greatest errors against the gradients of an independent implementation, by kind of field and by type. */
function golden(api) {
  const folder = join(root, "test/golden");
  const cases = readdirSync(folder)
    .filter((file) => file.endsWith(".json"))
    .map((file) => JSON.parse(readFileSync(join(folder, file), "utf8")));
  const all = cases.flatMap((one) =>
    ["float64", "float32"].flatMap((dtype) =>
      EXACT.map((gradient) => ({
        kind: one.field.kind,
        steps: one.rtol === null ? "fixed" : "adaptive",
        dtype,
        gradient,
        tolerance: tolerance(one, dtype),
        error: Math.max(
          ...Object.values(runGolden(api, one, { dtype, gradient }).errors ?? { unsupported: Number.NaN }),
        ),
      })),
    ),
  );
  const groups = new Map();
  for (const row of all) groups.set(keyOf(row), [...(groups.get(keyOf(row)) ?? []), row]);
  return [...groups.values()].map((rows) => {
    const { kind, steps, dtype } = rows[0];
    const worst = rows.toSorted((a, b) => b.error / b.tolerance - a.error / a.tolerance)[0];
    return { kind, steps, dtype, cases: rows.length / EXACT.length, error: worst.error, tolerance: worst.tolerance };
  });
}

const keyOf = ({ kind, steps, dtype }) => `${kind} ${steps} ${dtype}`;

export function report({ widths, batch, end, rows, golden }) {
  const names = Object.keys(METHODS);
  const shown = ["symplectic", "adjoint"];
  const panels = ["float64", "float32"].flatMap((dtype) =>
    names.map((method) => ({
      title: `${method}, order ${METHODS[method]}, ${dtype}`,
      x: { label: "tolerance →", log: true, format: ".0e", domain: [1e-10, 1e-2], ticks: 4 },
      y: { label: "↑ relative error of ∂L/∂θ", log: true, domain: [1e-17, 1], format: ".0e" },
      // What is equal to the bit stands on the lower edge.
      points: rows
        .filter((row) => row.method === method && shown.includes(row.gradient))
        .map((row) => ({ series: row.gradient, x: row.rtol, y: Math.max(row[dtype], 1e-17) })),
    })),
  );
  const worst = (gradient, dtype) =>
    Math.max(...rows.filter((row) => row.gradient === gradient).map((row) => row[dtype]));
  const head = ["gradient", "float64, greatest error", "float32, greatest error"];
  const summary = GRADIENTS.map((name) => [name, exponent(worst(name, "float64")), exponent(worst(name, "float32"))]);
  const byTolerance = rows
    .filter(({ gradient }) => shown.includes(gradient))
    .map((row) => [
      row.method,
      row.rtol.toExponential(0),
      row.gradient,
      String(row.steps),
      exponent(row.float64),
      exponent(row.float32),
    ]);
  return {
    title: "The gradient is exact",
    lead: `The error of ∂L/∂θ against backpropagation in float64: a network ${widths.join("-")} (tanh), batch ${batch}, L = ½ Σ y(${end})².`,
    sections: [
      {
        title: "By tolerance",
        text: "Both solves of the adjoint method have the tolerance; in float32 all take as many equal steps forward as the tolerance asks for in float64, and the reference takes the same. An error of 0, every bit the same, is drawn at 1e-17.",
        figures: [
          {
            name: "tolerance",
            svg: curves({
              title: "Error of the gradient by tolerance",
              columns: 4,
              panels,
              size: { width: 300, height: 240 },
            }),
            caption:
              "The symplectic adjoint's error does not depend on the tolerance; the continuous adjoint's follows it.",
          },
        ],
        tables: [{ name: "worst", head, rows: summary }],
      },
      {
        title: "Against an independent implementation",
        text: "The golden cases: gradients by PyTorch in float64. The error nearest to its tolerance, of y, ∂L/∂y0 and ∂L/∂θ, over cases and exact gradients.",
        tables: [
          {
            name: "golden",
            head: ["field", "steps", "type", "cases", "error", "tolerance"],
            rows: golden.map((row) => [
              row.kind,
              row.steps,
              row.dtype,
              String(row.cases),
              exponent(row.error),
              exponent(row.tolerance),
            ]),
          },
        ],
      },
      {
        title: "All figures",
        tables: [
          {
            name: "all",
            head: ["method", "tolerance", "gradient", "steps", "error, float64", "error, float32"],
            rows: byTolerance,
          },
        ],
      },
    ],
  };
}
