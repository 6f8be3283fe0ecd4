// What the report of the flows shows.
import { GRADIENTS } from "../../shared/gradients.mjs";
import { mib } from "../common.mjs";
import { curves, images } from "../plots.mjs";
import { tapeBytes, tapeNumbers } from "./tape.mjs";
import { WINDOW } from "./toys.mjs";

const seconds = (ms) => (ms < 100_000 ? (ms / 1000).toPrecision(3) : (ms / 1000).toFixed(0));
const times = (ratio) => (ratio >= 99.5 ? ratio.toFixed(0) : ratio.toPrecision(3));
const power = (value) => Number(value.toPrecision(2)).toExponential();
const signed = (value) => value.toFixed(2).replace("-", "−");

export function reportTabular(shapes, { steps: bySteps, torch }) {
  if (shapes.length === 0) return [];
  const [{ solver }] = shapes;
  const bytes = ({ fits, error, bytes: of }) => (fits && !error ? mib(of) : `does not fit 4 GiB (${mib(of)})`);
  const memory = shapes.map(({ name, widths, blocks, data, cells }) => [
    name,
    `${widths.join("-")}, ${blocks}`,
    data,
    String(cells.symplectic.steps),
    ...GRADIENTS.map((gradient) => bytes(cells[gradient])),
    times(cells.backprop.bytes / cells.symplectic.bytes),
    times(cells.aca.bytes / cells.symplectic.bytes),
  ]);
  const time = shapes.map(({ name, cells }) => [
    name,
    ...GRADIENTS.map((gradient) => (cells[gradient].ms ? seconds(cells[gradient].ms) : "–")),
    ratio(cells.symplectic.ms, cells.backprop.ms),
    ratio(cells.symplectic.ms, cells.adjoint.ms),
  ]);
  const [first] = shapes;
  const { rtol } = first.cells.symplectic;
  /** @type {import("../report.mjs").Section[]} */
  const sections = [
    {
      title: "A gradient in FFJORD's shapes",
      text: `One iteration: batch ${first.batch}, softplus, time by concatsquash, trace by Hutchinson's estimate, ${solver.method} with rtol ${power(solver.rtol)} (which float32 raises to ${power(rtol)}) and atol ${power(solver.atol)}, parameters as they are drawn. One block is measured, in a process of its own, and all of a model are alike: an iteration takes as many times its time, and the memory of the one at work with what the solves of all others hold, since all wait for the way back. Times are the processor's, on one core. Data called synthetic are correlated normal numbers of that shape.`,
      tables: [
        {
          name: "memory",
          head: [
            "memory, MiB",
            "widths, blocks",
            "data",
            "N",
            ...GRADIENTS,
            "backprop / symplectic",
            "aca / symplectic",
          ],
          rows: memory,
        },
        {
          name: "time",
          head: ["time, s", ...GRADIENTS, "symplectic / backprop", "symplectic / adjoint"],
          rows: time,
        },
      ],
    },
  ];
  const large = shapes.find(({ name }) => name === "MINIBOONE") ?? first;
  const { widths, batch, cells } = large;
  const [symplectic, backprop] = [cells.symplectic, cells.backprop];
  const peak = symplectic.block.peak;
  sections.push({
    title: "Where the memory goes",
    text: `A use of the network tapes 2 Σ hidden + 2 D numbers for each sample, value and tangent: ${tapeNumbers(widths)} in ${large.name}'s shape. The symplectic adjoint keeps no tape; ACA keeps those of 6 uses, ${mib(tapeBytes(large, "aca", symplectic.steps))} MiB; backpropagation those of 6 N + 1, ${mib(tapeBytes(large, "backprop", backprop.steps))} MiB. With so few steps as an untrained flow takes, what symplectic needs is mostly what no method can do without: ${mib(peak.network)} MiB of parameters and ${mib(peak.gradient)} MiB of their gradient, of ${mib(peak.total)}. Each further step adds a state of the batch, ${mib(4 * batch * (widths[0] + 1))} MiB, and to backpropagation ${mib(tapeBytes(large, "backprop", 2) - tapeBytes(large, "backprop", 1))} MiB.`,
    figures: bySteps ? [stepsFigure(bySteps)] : [],
  });
  if (torch)
    sections.push(
      reportPeers(
        shapes.filter(({ name }) => torch[name]),
        torch,
      ),
    );
  return sections;
}

const ratio = (a, b) => (a && b ? (a / b).toPrecision(3) : "–");

function stepsFigure({ shape, widths, batch, rows }) {
  const axis = { label: "steps N →", log: true, format: "d" };
  const points = (of) => rows.map((row) => ({ series: row.gradient, x: row.steps, y: of(row) }));
  const panels = [
    { title: "memory of one block", y: "↑ MiB", of: ({ bytes }) => bytes / 2 ** 20 },
    { title: "time of one block", y: "↑ s", of: ({ ms }) => ms / 1000 },
  ].map(({ title, y, of }) => ({ title, x: axis, y: { label: y, log: true }, points: points(of) }));
  return {
    name: "steps",
    svg: curves({ title: `By the number of steps: ${widths.join("-")}, batch ${batch}`, panels }),
    caption: `${shape}'s shape, dopri5 with fixed steps, the adjoint with as many backward. baseline lies under backprop.`,
  };
}

function reportPeers(shapes, torch) {
  const rows = shapes.flatMap(({ name, blocks, cells }) => {
    const theirs = ["backprop"].map((gradient) => {
      const cell = torch[name][gradient];
      if (!cell || cell.failed) return [name, `torchdiffeq, ${gradient}`, cell?.failed ?? torch[name].missing, "", ""];
      return [name, `torchdiffeq, ${gradient}`, mib(cell.bytes), seconds(cell.ms), String(cell.steps)];
    });
    const ours = ["symplectic", "backprop", "adjoint"]
      .filter((gradient) => cells[gradient].block)
      .map((gradient) => {
        const { block, steps } = cells[gradient];
        return [name, gradient, mib(block.peak.total), seconds(block.ms), String(steps)];
      });
    return [...ours, ...theirs].map(([first, ...rest]) => [`${first}, one of ${blocks}`, ...rest]);
  });
  const { versions } = Object.values(torch)
    .map(({ backprop }) => backprop ?? {})
    .find((cell) => cell.versions) ?? {
    versions: {},
  };
  return {
    title: "Beside PyTorch",
    text: `The same block, parameters and data, noise for the trace drawn by each, one thread${versions.torch ? `, torch ${versions.torch}, torchdiffeq ${versions.torchdiffeq}` : ""}; memory by the profiler of its allocator, parameters not included; time of the processor, for a second gradient.`,
    tables: [{ name: "peers", head: ["block", "gradient", "memory, MiB", "time, s", "N"], rows }],
  };
}

export function reportReal(name, dataset, result) {
  const { rows, shape, training, gaussians, flow, curve, samples, space, seconds: took, steps, workers } = result;
  const [best] = gaussians;
  const series = [
    ...curve.map(({ step, validation }) => ({ series: "flow, validation", x: step, y: validation })),
    ...curve
      .filter(({ training: value }) => value !== undefined)
      .map(({ step, training: value }) => ({ series: "flow, training", x: step, y: value })),
    ...[0, curve.at(-1).step].map((x) => ({ series: "Gaussian, validation", x, y: best.validation })),
  ];
  const figures = [
    {
      name: `${name}-curve`,
      svg: curves({
        title: `${dataset.title}: learning`,
        columns: 1,
        size: { width: 640, height: 300 },
        panels: [
          {
            title: "",
            x: { label: "iteration →" },
            y: { label: "↑ −log p, nats" },
            points: series,
            dots: false,
            dashed: ["Gaussian, validation"],
          },
        ],
      }),
      caption: `Training: means since the point before, with the trace estimated${dataset.noise ? " and noise added to the data" : ""}; validation: exact trace, averaged parameters.`,
    },
  ];
  if (name === "digits") figures.unshift(digitsFigure(samples));
  const gain = `${signed(flow.gain)} ± ${flow.gainError.toFixed(2)}`;
  const noise = dataset.noise ? `noise of ${dataset.noise} on the white data, ` : "";
  return {
    title: `${dataset.title}: a density of ${dataset.features} features`,
    text: `${rows.training} samples to learn from, ${rows.validation} to choose by, ${rows.test} to test. The Gaussian has full covariance; ridge and space (${space}) are the best on the validation part, and all densities are those of the same data, the change of variables included. The flow, ${shape.widths.join("-")}, ${shape.activation}, ${shape.blocks} block, starts as the identity of the data which that Gaussian has made white, and so at its density. ${steps} iterations of ${training.batch} samples in ${seconds(took * 1000)} s on ${workers} worker${workers > 1 ? "s" : ""}; Adam at ${training.learningRate}, weight decay ${training.weightDecay}, kinetic weight ${training.kineticWeight}, ${noise}${training.solver.steps} steps of ${training.solver.method}. On the test part the flow is better by ${gain} nats (standard error over samples), evaluated with the exact trace.`,
    figures,
    tables: [
      {
        name,
        head: ["−log p, nats", "ridge", "validation", "test"],
        rows: [
          ["flow", "", signed(flow.validation), signed(flow.test)],
          ...gaussians.map((gaussian) => [
            `Gaussian, ${gaussian.space}`,
            String(gaussian.ridge),
            signed(gaussian.validation),
            signed(gaussian.test),
          ]),
        ],
      },
    ],
  };
}

/** Images of 8 × 8 in rows of eight, a pixel apart. */
function digitsFigure({ data, flow, gaussian }) {
  const [across, down, side] = [8, 5, 8];
  const size = { width: across * (side + 1) + 1, height: down * (side + 1) + 1 };
  const picture = (title, values) => {
    const pixels = new Float64Array(size.width * size.height);
    for (let image = 0; image < across * down; image++) {
      const [left, top] = [1 + (image % across) * (side + 1), 1 + Math.floor(image / across) * (side + 1)];
      for (let i = 0; i < side * side; i++) {
        pixels[(top + Math.floor(i / side)) * size.width + left + (i % side)] = values[image * side * side + i];
      }
    }
    return { title, values: pixels, ...size, range: [0, 1], scale: /** @type {const} */ ("grey") };
  };
  const panels = [picture("data", data), picture("flow", flow), picture("Gaussian", gaussian)];
  return {
    name: "digits-samples",
    svg: images({ title: "Digits and samples", columns: 3, side: 325, panels }),
    caption: "Digits of the test part; samples of the flow and of the Gaussian that it starts from, none chosen.",
  };
}

export function reportToys(toys) {
  const names = Object.keys(toys);
  const { shape, training } = toys[names[0]];
  const panels = ["data", "density", "samples"].flatMap((what) =>
    names.map((name) => {
      const { side, density } = toys[name];
      const range = [0, Math.max(...density)];
      return { title: what === "data" ? name : what, values: toys[name][what], width: side, height: side, range };
    }),
  );
  const rows = names.map((name) => {
    const { before, after, mass, seconds: took } = toys[name];
    return [name, before.toFixed(3), after.toFixed(3), mass.toFixed(3), took.toFixed(0)];
  });
  return {
    title: "Densities in the plane",
    text: `Networks ${shape.widths.join("-")}, ${shape.activation}, exact trace; ${training.iterations} iterations of ${training.batch} new samples, ${training.solver.method} at a tolerance of ${training.solver.rtol}.`,
    figures: [
      {
        name: "toys",
        svg: images({ title: "Data, density and samples", columns: names.length, side: 190, panels }),
        caption: `In ±${WINDOW}: histograms of data, exp log p of the flow, histograms of its samples, on one scale in each column.`,
      },
    ],
    tables: [{ name: "toys", head: ["−log p, nats", "at first", "learnt", "mass in the window", "time, s"], rows }],
  };
}
