// How long a model takes to be traced and planned, the first time in this process and after that. The engine is that of
// SYMPLECTIC_ADJOINT_ENGINE; that it starts is not counted.
import { readFileSync } from "node:fs";
import { engineOf } from "../shared/engine.mjs";
import { programs } from "./programs.mjs";

const api = await import("../../dist/index.js");
const [, , name, rounds] = process.argv;
const models = JSON.parse(readFileSync(new URL("../models.json", import.meta.url), "utf8"));
const { nn } = api;
const dtype = "float64";
/** @param {keyof programs} model */
const made = (model) => programs[model](dtype, models[model].parameters);

/** Of each name a title, and how it is made. */
const MODELS = {
  hundred: {
    title: "a hundred operations, as text",
    // 33 products, sines and sums, and one more.
    make: () => {
      const terms = Array.from({ length: 33 }, (_, i) => `sin(${i + 2} * x)`);
      return api.equations(`x' = -(${terms.join(" + ")}) * k`, { dtype, parameters: { k: 1 } });
    },
  },
  "lotka-volterra": { title: "Lotka–Volterra, as text", make: () => made("lotka-volterra") },
  pharmacokinetics: { title: "pharmacokinetics, as text", make: () => made("pharmacokinetics") },
  hybrid: {
    title: "decay and a network 2-64-64-2",
    make: () =>
      api.vectorField({
        state: 2,
        dtype,
        parameters: {
          decay: 0.1,
          net: nn.sequential(nn.linear(2, 64), nn.tanh, nn.linear(64, 64), nn.tanh, nn.linear(64, 2)),
        },
        slope: ({ state, parameters: { decay, net } }) => net(state).sub(state.mul(decay)),
      }),
  },
  "lorenz-96": { title: "Lorenz-96, 40 states as a vector", make: () => made("lorenz-96") },
  "lorenz-96 by rows": {
    title: "Lorenz-96, a row at a time",
    make: () =>
      api.vectorField({
        state: 40,
        dtype,
        parameters: { forcing: 8 },
        slope: ({ state: x, parameters: { forcing } }) =>
          Array.from({ length: 40 }, (_, i) =>
            x
              .at((i + 1) % 40)
              .sub(x.at(i - 2))
              .mul(x.at(i - 1))
              .sub(x.at(i))
              .add(forcing),
          ),
      }),
  },
};

const batch = 256;
/** @type {import("../../dist/index.js").GradientOptions} */
const options = { method: "euler", steps: 1 };
const timed = (body) => {
  const start = performance.now();
  const result = body();
  return [performance.now() - start, result];
};

/** The time of tracing, and those of the first solve and gradient and of the next ones. */
function measure() {
  const [trace, field] = timed(MODELS[name].make);
  const y0 = Float64Array.from({ length: batch * field.stateSize }, (_, i) => 1 + Math.sin(i) / 10);
  const own = field.argumentNames.map((one) => [one, new Float64Array(batch).fill(70)]);
  const settings = own.length > 0 ? { ...options, arguments: Object.fromEntries(own) } : options;
  const loss = (y) => ({ value: 0, cotangent: y });
  const tasks = {
    solve: () => api.odeint(field, y0, [0, 1e-3], settings),
    gradient: () => api.valueAndGrad(field, y0, [0, 1e-3], loss, settings),
  };
  const [solve, gradient] = [tasks.solve, tasks.gradient].map((task) => {
    const [first] = timed(task);
    return { first, again: Math.min(...[task, task].map((own) => timed(own)[0])) };
  });
  const operations = operationsOf(field);
  field.dispose();
  return { trace, solve, gradient, operations };
}

/** How many operations the program has, what is given not counted: by its model file, which holds it as JSON. */
function operationsOf(field) {
  const bytes = api.save(field);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const program = findProgram(Object.values(header.__metadata__).map((text) => parsed(text)));
  const given = ["constant", "time", "parameter", "state", "argument", "slice", "concat"];
  return program.nodes.filter(([operation]) => !given.includes(operation)).length;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The first object within others that has nodes. */
function findProgram(within) {
  for (const part of Object.values(within)) {
    if (part === null || typeof part !== "object") continue;
    const found = Array.isArray(part.nodes) ? part : findProgram(part);
    if (found) return found;
  }
  return undefined;
}

// The engine starts, and what is not of tracing is compiled.
const warm = api.mlp({ widths: [2, 2], dtype });
api.valueAndGrad(warm, Float64Array.of(1, 1), [0, 1], (y) => ({ value: 0, cotangent: y }), options);
const { operations, ...first } = measure();
const times = Array.from({ length: Number(rounds) }, () => {
  const { operations: _, ...own } = measure();
  return own;
});
console.log(JSON.stringify({ title: MODELS[name].title, operations, engine: engineOf(api), first, times }));
