import { adam, cnf, flow, mlp, parallel } from "symplectic-adjoint";
import { expect, test } from "vitest";
import { numbers, relative, thrown } from "./helpers.js";

const network = (features: number, seed = 0) =>
  ({ widths: [features, 12, features], time: "concat", dtype: "float64", seed }) as const;
const tight = { rtol: 1e-8, atol: 1e-8 };

test("a density is one: its integral over a line", () => {
  const density = flow({ blocks: [cnf({ network: network(1, 1) }), cnf({ network: network(1, 2) })], time: 0.7 });
  const [from, to, points] = [-12, 12, 2400];
  const x = Float64Array.from({ length: points }, (_, i) => from + ((i + 0.5) * (to - from)) / points);
  const mass = density.logDensity(x, tight).reduce((sum, log) => sum + Math.exp(log) * ((to - from) / points), 0);
  expect(Math.abs(mass - 1)).toBeLessThan(1e-5);
});

test("samples are those of the density", () => {
  const density = flow({ blocks: [cnf({ network: network(1, 3) }), cnf({ network: network(1, 4) })] });
  const samples = density.sample(4000, 7, { rtol: 1e-5 });
  expect(density.sample(4000, 7, { rtol: 1e-5 })).toEqual(samples);
  expect(density.sample(4000, 8, { rtol: 1e-5 })).not.toEqual(samples);
  expect(density.sample(4000, { seed: 7, rtol: 1e-5 })).toEqual(samples);
  // The distribution function below 0.3, by samples and by the density.
  const below = samples.filter((x) => x < 0.3).length / samples.length;
  const width = 0.01;
  const x = Float64Array.from({ length: 1200 }, (_, i) => 0.3 - (i + 0.5) * width);
  const mass = density.logDensity(x, tight).reduce((sum, log) => sum + Math.exp(log) * width, 0);
  expect(Math.abs(below - mass)).toBeLessThan(0.03);
});

test("the objective's gradient is that of its differences, regularisers included", () => {
  const blocks = [1, 2].map((seed) => cnf({ network: network(2, seed), kinetic: true, jacobian: true }));
  const density = flow({ blocks });
  const x = numbers("float64", 2 * 20) as Float64Array<ArrayBuffer>;
  const options = { method: "rk4", steps: 8, kineticWeight: 0.3, jacobianWeight: 0.2 } as const;
  const { value, negativeLogDensity, gradients } = density.valueAndGrad(x, options);
  expect(value).toBeGreaterThan(negativeLogDensity);
  const mean = density.logDensity(x, { method: "rk4", steps: 8 }).reduce((sum, log) => sum + log / 20, 0);
  expect(Math.abs(mean + negativeLogDensity)).toBeLessThan(1e-12);
  for (const [index, block] of blocks.entries()) {
    for (const i of [0, 5, 17]) {
      const at = (step: number) => {
        const before = block.parameters[i] as number;
        block.parameters[i] = before + step;
        const { value } = density.valueAndGrad(x, options);
        block.parameters[i] = before;
        return value;
      };
      const difference = (at(1e-5) - at(-1e-5)) / 2e-5;
      expect(Math.abs((gradients[index]?.parameters[i] ?? 9) - difference)).toBeLessThan(1e-8);
    }
  }
  const one = flow({ blocks: [cnf({ network: network(2), jacobian: true })] });
  const plain = one.valueAndGrad(x, { ...options, kineticWeight: 0 });
  expect(plain.value).toBeGreaterThan(plain.negativeLogDensity);
  expect(one.valueAndGrad(x, { method: "rk4", steps: 8 }).value).toBe(plain.negativeLogDensity);
  // A term that the blocks do not integrate.
  expect(thrown("OPTION", () => one.valueAndGrad(x, options)).message).toMatch(/^kineticWeight: expected 0.*given 0.3/);
});

test("it learns two clusters, on one core and on two alike", async () => {
  const pool = await parallel({ workers: 2 });
  const learn = async (shared: boolean) => {
    const block = cnf({ network: network(2, 5), trace: "hutchinson" });
    const density = flow({ blocks: [block] });
    const optimizer = adam(block, { learningRate: 0.03 });
    const x = (numbers("float64", 2 * 64) as Float64Array<ArrayBuffer>).map((v, i) => 0.3 * v + (i % 4 < 2 ? 2 : -2));
    const values = [];
    for (let step = 0; step < 30; step++) {
      block.seedNoise(step);
      const options = { rtol: 1e-4, atol: 1e-4 };
      const { value, gradients } = shared
        ? await density.valueAndGradIn(pool, x, options)
        : density.valueAndGrad(x, options);
      optimizer.step(gradients[0] as (typeof gradients)[0]);
      values.push(value);
    }
    return values;
  };
  const [one, two] = [await learn(false), await learn(true)];
  pool.close();
  expect(one.at(-1)).toBeLessThan((one[0] as number) - 1);
  expect(relative(two, one)).toBeLessThan(1e-6);
});

test("without a seed, samples are drawn on from call to call", () => {
  const density = flow({ blocks: [cnf({ network: network(2) })] });
  const options = { method: "rk4", steps: 2 } as const;
  const draw = (count: number) => [...density.sample(count, options)];
  const drawn = [...draw(3), ...draw(2), ...density.sample(1, undefined, options)];
  expect(drawn).toEqual([...density.sample(6, 0, options)]);
  expect(density.sample(6, { ...options, seed: 0 })).toEqual(Float64Array.from(drawn));
  thrown("OPTION", () => density.sample(3, { seed: -1 }));
  thrown("OPTION", () => density.sample(3, { sed: 1 } as object));
  thrown("OPTION", () => density.sample(3, 1, { seed: 1 } as object));
});

test("what is no flow is refused", () => {
  const block = cnf({ network: network(2) });
  thrown("OPTION", () => flow({ blocks: [] }));
  thrown("OPTION", () => flow({ blocks: [block, cnf({ network: network(3) })] }));
  thrown("OPTION", () => flow({ blocks: [mlp({ widths: [2, 2], dtype: "float64" }) as unknown as typeof block] }));
  thrown("OPTION", () => flow({ blocks: [block], time: 0 }));
  const [kinetic, jacobian] = (["kinetic", "jacobian"] as const).map((name) =>
    cnf({ network: network(2), [name]: true }),
  );
  const mixed = thrown("OPTION", () => flow({ blocks: [kinetic as typeof block, jacobian as typeof block] }));
  expect(mixed.message).toMatch(/^blocks\[1\]: expected the regularisers of the first, kinetic, given jacobian/);
  const density = flow({ blocks: [block] });
  thrown("SHAPE", () => density.logDensity(new Float64Array(3)));
  thrown("DTYPE", () => density.logDensity(new Float32Array(2) as never));
  thrown("OPTION", () => density.sample(0));
  thrown("OPTION", () => density.valueAndGrad(new Float64Array(2), { kineticWeight: -1 }));
  thrown("OPTION", () => density.valueAndGrad(new Float64Array(2), { kinetic: 1 } as object));
});
