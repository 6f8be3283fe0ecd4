import { readdirSync, readFileSync } from "node:fs";
import * as api from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { runGolden, tolerance } from "../golden.mjs";
import { EXACT } from "./helpers.js";

const folder = new URL("../golden/", import.meta.url);
const cases = readdirSync(folder)
  .filter((file) => file.endsWith(".json"))
  .map((file) => JSON.parse(readFileSync(new URL(file, folder), "utf8")));

describe.each(["float64", "float32"] as const)("golden cases in %s", (dtype) => {
  test.each(EXACT)("by %s", (gradient) => {
    expect(cases).toHaveLength(23);
    for (const golden of cases) {
      const { errors } = runGolden(api, golden, { dtype, gradient });
      for (const [name, error] of Object.entries(errors ?? {})) {
        expect(error, `${golden.name} ${name}`).toBeLessThanOrEqual(tolerance(golden, dtype));
      }
      expect(Object.keys(errors ?? {})).toHaveLength(3);
    }
  });
});

const models = new URL("../golden-models/", import.meta.url);
const equations = readdirSync(models)
  .filter((file) => file.endsWith(".json"))
  .map((file) => JSON.parse(readFileSync(new URL(file, models), "utf8")));

// In float32 the worst is 3.8e-6, the gradient of gravity of the saturated pendulum, which nearly cancels: no case is excepted.
describe.each(["float64", "float32"] as const)("golden cases of equations in %s", (dtype) => {
  test.each(EXACT)("by %s", (gradient) => {
    expect(equations).toHaveLength(21);
    for (const golden of equations) {
      const { errors = {} } = runGolden(api, golden, { dtype, gradient });
      for (const [name, error] of Object.entries(errors)) {
        expect(error, `${golden.name} ${name}`).toBeLessThanOrEqual(tolerance(golden, dtype));
      }
      const { gradParameters, gradArguments, gradTimes, events } = golden;
      const named = [...Object.keys(gradParameters), ...Object.keys(gradArguments)];
      expect(Object.keys(errors)).toHaveLength(2 + named.length + (gradTimes ? 1 : 0) + (events ? 1 : 0));
    }
  });
});
