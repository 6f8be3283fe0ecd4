// How our gradients grow: time and memory against steps, width and batch, one at a time, by rk4.
import { start } from "./shared/child.mjs";
import { EVERY_GRADIENT } from "./shared/gradients.mjs";
import { writeInputs } from "./shared/problems.mjs";
import { median } from "./shared/table.mjs";

const base = { steps: 40, width: 64, batch: 64 };
const axes = {
  steps: [10, 40, 160, 640, 2560],
  width: [16, 64, 256, 512],
  batch: [1, 16, 64, 256, 1024],
};

/** Points `{ axis, value, gradient, ms, bytes }`; gradients that are not there are left out. */
export async function scaling(api, node, effort, say) {
  const children = EVERY_GRADIENT.map((gradient) => ({ gradient, child: start(node), gone: false }));
  const points = [];
  // The first point comes twice, as WebAssembly is compiled again when it has run for a while.
  const first = { axis: "steps", value: axes.steps[0], warm: true };
  const wanted = Object.entries(axes).flatMap(([axis, values]) =>
    values.map((value) => ({ axis, value, warm: false })),
  );
  try {
    for (const { axis, value, warm } of [first, ...wanted]) {
      const { steps, width, batch } = Object.assign({ ...base }, { [axis]: value });
      const times = [0, 1];
      const shape = { widths: [2, width, width, 2], batch, times, steps, rtol: 1e-6, atol: 1e-8 };
      const problem = writeInputs(api, { case: "scaling", method: "rk4", ...shape });
      const files = { ...problem.files, gradient: `${problem.files.y0}.gradient` };
      say(`scaling: ${axis} ${value}`);
      for (const entry of children.filter(({ gone }) => !gone)) {
        const { gradient, child } = entry;
        try {
          const { countedBytes } = await child.ask({ prepare: { ...problem, files, variant: { gradient } } }, 120);
          const { ms } = await child.ask({ run: effort.warmMs }, 120);
          if (!warm) points.push({ axis, value, gradient, ms: median(ms), bytes: countedBytes });
        } catch {
          entry.gone = true;
        }
      }
    }
  } finally {
    for (const { child } of children) await child.stop();
  }
  return points;
}
