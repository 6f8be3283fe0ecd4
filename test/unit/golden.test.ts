import { readdirSync, readFileSync } from "node:fs";
import * as api from "symplectic-adjoint";
import { describe, expect, test } from "vitest";
import { runGolden, tolerance } from "../golden.mjs";

const folder = new URL("../golden/", import.meta.url);
const cases = readdirSync(folder)
  .filter((file) => file.endsWith(".json"))
  .map((file) => JSON.parse(readFileSync(new URL(file, folder), "utf8")));

describe.each(["float64", "float32"] as const)("golden cases in %s", (dtype) => {
  test.each(["symplectic", "backprop", "baseline", "aca", "auto"] as const)("by %s", (gradient) => {
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
