// Gradients of FFJORD's objective in the shapes of its tabular data sets: memory and time, by gradient method.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GRADIENTS } from "../../shared/gradients.mjs";
import { normals } from "../../shared/random.mjs";
import { loadMaf } from "../data/maf.mjs";
import { jsonOf } from "./run.mjs";
import { tapeBytes } from "./tape.mjs";
import { torchGradients } from "./torch.mjs";

/** Features, hidden layers and blocks of FFJORD's models (Grathwohl et al. 2019, appendix B). */
export const SHAPES = {
  POWER: { data: "power", features: 6, hidden: [60, 60, 60], blocks: 5 },
  GAS: { data: "gas", features: 8, hidden: [160, 160, 160], blocks: 5 },
  HEPMASS: { data: "hepmass", features: 21, hidden: [420, 420], blocks: 10 },
  MINIBOONE: { data: "miniboone", features: 43, hidden: [860, 860], blocks: 1 },
  BSDS300: { data: "bsds300", features: 63, hidden: [1260, 1260, 1260], blocks: 2 },
};
/** The same in small, to see that it works. */
export const QUICK = { POWER: { data: "power", features: 6, hidden: [16, 16], blocks: 2 } };
const SOLVER = { method: "dopri5", rtol: 1e-6, atol: 1e-8 };
/** Where PyTorch is measured: the others are the same story for many minutes. */
const TORCH = ["POWER", "MINIBOONE"];
/** WebAssembly's. */
const LIMIT = 2 ** 32;

/** The five gradients of an iteration in one of the shapes; `data` is the folder of the real data, if any. */
export function measureShape({ name, quick, seed, data, say }) {
  const batch = quick ? 64 : 1000;
  return inFolder(async (folder) => {
    const shape = shapeOf(name, quick);
    const real = data && (await loadMaf(data, shape.data));
    if (real && real.train.columns !== shape.features) {
      throw new Error(`${name}: ${real.train.columns} features in ${data}, not ${shape.features}`);
    }
    const { file, widths } = prepared(folder, shape, batch, seed, real);
    const cells = {};
    for (const gradient of GRADIENTS) {
      say(gradient);
      const asked = { widths, batch, gradient, solver: SOLVER, file, seconds: quick ? 0 : 4 };
      cells[gradient] = iteration(await child(asked), shape.blocks, { widths, batch }, gradient, cells);
    }
    return { name, ...shape, widths, batch, solver: SOLVER, data: real ? "real" : "synthetic", cells };
  });
}

/** Memory and time by the number of steps, of one block of POWER's shape. */
export function measureSteps({ quick, seed, say }) {
  const batch = quick ? 64 : 1000;
  return inFolder(async (folder) => {
    const { file, widths } = prepared(folder, shapeOf("POWER", quick), batch, seed);
    const rows = [];
    for (const steps of quick ? [2, 4] : [4, 8, 16, 32, 64]) {
      for (const gradient of GRADIENTS) {
        say(`${steps} steps, ${gradient}`);
        const fixed = { method: "dopri5", steps };
        // The adjoint with as many steps backward.
        const solver = gradient === "adjoint" ? { ...fixed, adjoint: fixed } : fixed;
        const { peakBytes, ms } = await child({ widths, batch, gradient, solver, file, seconds: quick ? 0 : 2 });
        rows.push({ steps, gradient, bytes: peakBytes.total, tape: peakBytes.tape, ms });
      }
    }
    return { shape: "POWER", widths, batch, rows };
  });
}

/** PyTorch on one block of some of the shapes. */
export function measureTorch({ api, quick, seed, say }) {
  const batch = quick ? 64 : 1000;
  return inFolder(async (folder) => {
    const results = {};
    for (const name of quick ? ["POWER"] : TORCH) {
      say(name);
      const { file, widths } = prepared(folder, shapeOf(name, quick), batch, seed);
      results[name] = await torchGradients(api, { widths, batch, solver: SOLVER, file });
    }
    return results;
  });
}

const shapeOf = (name, quick) => (quick ? QUICK : SHAPES)[name];

async function inFolder(body) {
  const folder = mkdtempSync(join(tmpdir(), "symplectic-adjoint-"));
  try {
    return await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A batch, in a file for the processes that measure. */
function prepared(folder, shape, batch, seed, real) {
  const file = join(folder, "x.f32");
  const count = batch * shape.features;
  writeFileSync(file, real ? Float32Array.from(real.train.values.subarray(0, count)) : synthetic(shape, batch, seed));
  return { file, widths: [shape.features, ...shape.hidden, shape.features] };
}

/**
 * A whole iteration over blocks that are alike, from one: what the solves of all others hold, with their parameters, stays
 * live while one is at work, and each takes its time.
 */
export function iteration(measured, blocks, shape, gradient, others) {
  const steps = measured.accepted ?? others.symplectic?.accepted;
  const formula = tapeBytes(shape, gradient, steps);
  if (measured.error) return { error: measured.error, steps, bytes: blocks * formula };
  const bytes = measured.peakBytes.total + (blocks - 1) * measured.held;
  return {
    steps,
    rejected: measured.rejected,
    backwardSteps: measured.backwardSteps || undefined,
    rtol: measured.rtol,
    uses: measured.uses * blocks,
    bytes,
    fits: bytes + blocks * measured.field < LIMIT,
    block: { peak: measured.peakBytes, held: measured.held, growth: measured.growth, ms: measured.ms },
    ms: measured.ms * blocks,
    gradients: measured.gradients,
  };
}

/** Normal numbers that correlate, standardised: they have the shape of the data, not their content. */
function synthetic({ features: d }, batch, seed) {
  const normal = normals(seed + 17);
  const mix = Float64Array.from({ length: d * d }, (_, i) => normal() / Math.sqrt(d) + (i % (d + 1) === 0 ? 1 : 0));
  const scale = Float64Array.from({ length: d }, (_, i) => Math.hypot(...mix.subarray(i * d, (i + 1) * d)));
  const x = new Float32Array(batch * d);
  for (let row = 0; row < batch; row++) {
    const z = Float64Array.from({ length: d }, normal);
    for (let i = 0; i < d; i++)
      x[row * d + i] = z.reduce((sum, value, j) => sum + value * mix[i * d + j], 0) / scale[i];
  }
  return x;
}

function child(asked) {
  return jsonOf(process.execPath, [new URL("gradient.mjs", import.meta.url).pathname, JSON.stringify(asked)]);
}
