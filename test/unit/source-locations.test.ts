// Errors of functions that are recorded say where in the user's source: in each kind of function, and by the stacks of each runtime.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import {
  differentiable,
  equations,
  exp,
  formula,
  leastSquares,
  loss,
  nn,
  odeint,
  SymplecticAdjointError,
  type Value,
  vectorField,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { framesOf, userLocation } from "../../ts/trace/source-location.js";
import { onWasm, thrown } from "./helpers.js";

const source = readFileSync(fileURLToPath(import.meta.url), "utf8").split("\n");
const wrong = "1" as never;
const decay = vectorField({
  state: ["x"],
  parameters: { k: 1 },
  slope: ({ state, parameters: { k } }) => state.mul(k),
});
const solve = (options: object) =>
  odeint(decay, Float32Array.of(1), [0, 1], { batching: "independent", ...options } as never);

/** A function of the user's that a traced one calls. */
function rate(x: Value): Value {
  const twice = x.mul(2);
  return twice.add(wrong); // in a function that it calls
}

/** What goes wrong on the line with its name in a comment. */
const faults: Record<string, () => unknown> = {
  "a slope": () =>
    vectorField({
      state: 2,
      slope: ({ state }) => {
        const sum = state.add(1);
        return sum.mul(wrong); // a slope
      },
    }),
  "in a function that it calls": () => vectorField({ state: 1, slope: ({ state }) => rate(state).neg() }),
  "in a list": () =>
    vectorField({
      state: 2,
      slope: ({ state }) =>
        [...state].map((x) => {
          return x.mul(wrong); // in a list
        }),
    }),
  "Math.sin": () =>
    vectorField({
      state: ["x", "y"],
      slope: ({ state: [x, y] }) => [
        y,
        Math.sin(x as never), // Math.sin
      ],
    }),
  "an operation as a function": () =>
    vectorField({
      state: 1,
      slope: () => {
        return exp(wrong); // an operation as a function
      },
    }),
  "a name": () =>
    vectorField({
      state: 1,
      slope: ({ parameters }) => {
        const { speed } = parameters as { speed: Value }; // a name
        return speed;
      },
    }),
  "a network": () =>
    vectorField({
      state: 2,
      parameters: { net: nn.linear(3, 2) },
      slope: ({ state, parameters: { net } }) => {
        return net(state); // a network
      },
    }),
  "a formula": () =>
    vectorField({
      state: 1,
      slope: ({ state }) => {
        return formula`${state} +`; // a formula
      },
    }),
  "the options of a layer": () =>
    vectorField({
      state: 1,
      slope: ({ state }) => {
        nn.linear(0, 1); // the options of a layer
        return state;
      },
    }),
  "a comparison in an if": () =>
    vectorField({
      state: 1,
      slope: ({ state }) => {
        const isNegative = state.less(0); // a comparison in an if
        if (isNegative) return state.neg();
        return state;
      },
    }),
  "a function of arrays": () =>
    differentiable({
      inputs: { x: 2 },
      apply: ({ inputs: { x } }) => {
        return x.matvec(wrong); // a function of arrays
      },
    }),
  "a loss": () =>
    loss(({ y, target }) => {
      const error = y.sub(target);
      return error.dot(wrong); // a loss
    })(Float32Array.of(1), { target: [1] }, [1, 1, 1]),
  "what a jump does": () =>
    solve({
      jumps: [
        {
          times: [0.5],
          set: ({ state }: { state: Value }) => {
            return state.mul(wrong); // what a jump does
          },
        },
      ],
    }),
  "when an event is": () =>
    solve({
      events: [
        {
          when: ({ state }: { state: Value }) => {
            return state.sub(wrong); // when an event is
          },
        },
      ],
    }),
  "a norm": () =>
    solve({
      norm: (errors: Value) => {
        return errors.pow(wrong); // a norm
      },
    }),
  "what is observed": () =>
    leastSquares({
      field: equations("x' = -k * x", { parameters: { k: 1 }, dtype: "float64" }),
      data: { times: [0, 1, 2], y: [1, 2, 3], y0: [1], t0: 0 },
      observe: ({ state: [x] }) => {
        return { x: (x as Value).add(wrong) }; // what is observed
      },
    }),
};

test.each(Object.keys(faults))("%s: the error has the line and column", (name) => {
  let error: SymplecticAdjointError | undefined;
  try {
    faults[name]?.();
  } catch (caught) {
    error = caught as SymplecticAdjointError;
  }
  expect(error).toBeInstanceOf(SymplecticAdjointError);
  const { message, stack, file, line, column } = error as SymplecticAdjointError;
  const own = source.findIndex((text) => text.endsWith(`// ${name}`));
  expect(line).toBe(own + 1);
  expect(file).toMatch(/source-locations\.test\.ts$/);
  expect(message.endsWith(` (at source-locations.test.ts:${line}:${column})`)).toBe(true);
  expect(stack).toContain(message);
  const text = source[own] as string;
  expect(column).toBeGreaterThan(text.search(/\S/));
  expect(column).toBeLessThan(text.indexOf("//"));
  expect(() => Object.assign(error as object, { file: "" })).toThrow(TypeError);
});

test("what is noticed afterwards, or elsewhere, has none", () => {
  const forgotten = thrown("CALLBACK", () => vectorField({ state: 1, slope: (() => {}) as never }));
  const shape = thrown("SHAPE", () => vectorField({ state: 2, slope: ({ state }) => state.sum() }));
  const outside = thrown("CALLBACK", () => exp(1));
  const option = thrown("OPTION", () => vectorField({ state: 0, slope: () => 1 as never }));
  for (const error of [forgotten, shape, outside, option]) {
    expect(error).not.toHaveProperty("file");
    expect(error).not.toHaveProperty("line");
    expect(error.message).not.toMatch(/\(at /);
  }
  expect([forgotten.argument, shape.argument]).toEqual(["slope's result", "slope's result"]);
  // A text inside a function keeps its own place, and an inner function its own.
  const slope = () => {
    equations("x' = -* x");
    return 0;
  };
  const text = thrown("OPTION", () => vectorField({ state: 1, slope: slope as never }));
  expect(text.message).toMatch(/^equations, line 1, column 7: .*[^)]$/);
  expect(text).toMatchObject({ line: 1, column: 7 });
  expect(text).not.toHaveProperty("file");
  const inner = thrown("CALLBACK", () => vectorField({ state: 1, slope: (() => faults["a slope"]?.()) as never }));
  expect(inner.message.match(/\(at /g)).toHaveLength(1);
  // What is not of this package comes through as it is.
  const own = new TypeError("mine");
  const throwing = () => {
    throw own;
  };
  expect(() => vectorField({ state: 1, slope: throwing })).toThrow(own);
  expect(own.message).toBe("mine");
});

/** Where a package and a function of the user's are, by the stack of an error and that of what called the function. */
const caller = (frame: string) => userLocation("", frame) ?? framesOf(frame)[0];

test("stacks of all engines are read", () => {
  const v8 = `SymplecticAdjointError: add's argument: expected a value at 1:2:3
    at refused (file:///p/node_modules/symplectic-adjoint/dist/chunk-1.js:29:10)
    at Value.add (file:///p/node_modules/symplectic-adjoint/dist/chunk-2.js:2863:12)
    at Array.map (<anonymous>)
    at node:internal/util:1:1
    at Object.apply (file:///p/node_modules/library/index.js:8:9)
    at slope (C:\\Program Files (x86)\\my app\\model.mjs:4:79)
    at tracing (file:///p/node_modules/symplectic-adjoint/dist/chunk-1.js:4789:20)
    at file:///p/main.mjs:1:1`;
  const tracing = "    at tracing (file:///p/node_modules/symplectic-adjoint/dist/chunk-1.js:4800:7)";
  const place = { file: "C:\\Program Files (x86)\\my app\\model.mjs", line: 4, column: 79 };
  expect(userLocation(v8, tracing)).toEqual(place);
  const without = (stack: string, part: RegExp) => stack.replace(part, "");
  // A library that has a function of its own traced is better than nothing; what called the package is none of it.
  const library = { file: "file:///p/node_modules/library/index.js", line: 8, column: 9 };
  expect(userLocation(without(v8, / +at slope.*\n/), tracing)).toEqual(library);
  expect(userLocation(without(v8, / +at (?:slope|Object).*\n/g), tracing)).toBeUndefined();
  expect(userLocation(v8.split("\n").slice(0, 4).join("\n"), tracing)).toBeUndefined();
  expect(userLocation(v8, "")).toBeUndefined();
  expect(userLocation(undefined, undefined)).toBeUndefined();
  expect(userLocation([{}], [{}])).toBeUndefined();
  const evaluated = `Error
    at lifted (http://host/vendor/dist/index.js?v=1:1:1)
    at async eval (eval at make (http://host/app/main.js:3:4), <anonymous>:5:6)
    at tracing (http://host/vendor/dist/index.js?v=1:9:9)`;
  expect(userLocation(evaluated, "    at tracing (http://host/vendor/dist/index.js?v=1:8:8)")).toEqual({
    file: "<anonymous>",
    line: 5,
    column: 6,
  });

  const spiderMonkey = `refused@http://host/dist/chunk-1.js:29:10
add@http://host/dist/chunk-2.js:1:2
[Symbol.toPrimitive]@http://host/dist/chunk-1.js:1:3
slope/rates<@http://host/@me/model.js:12:34
map@[native code]
tracing@http://host/dist/chunk-1.js:4:5
@http://host/main.js:1:1
`;
  const found = { file: "http://host/@me/model.js", line: 12, column: 34 };
  expect(userLocation(spiderMonkey, "tracing@http://host/dist/chunk-1.js:5:1\n")).toEqual(found);
  const evaluatedThere = spiderMonkey.replace("@me/model.js:12:34", "model.js line 12 > eval:3:4");
  expect(userLocation(evaluatedThere, "tracing@http://host/dist/chunk-1.js:5:1\n")).toEqual({
    file: "http://host/model.js line 12 > eval",
    line: 3,
    column: 4,
  });

  const javaScriptCore = `SymplecticAdjointError@https://host/dist/chunk-1.js:1:1
lifted@https://host/dist/chunk-1.js:2:2
[native code]
https://host/a@1/model.js:6:7
tracing@https://host/dist/chunk-1.js:3:3
module code@https://host/main.js:9:9`;
  expect(userLocation(javaScriptCore, "tracing@https://host/dist/chunk-1.js:4:4")).toEqual({
    file: "https://host/a@1/model.js",
    line: 6,
    column: 7,
  });
  // In one bundle with the package, and a function that a tail call has taken off the stack.
  const bundle = javaScriptCore.replaceAll(/https:\S+?(?=:\d+:)/g, "https://host/app.js");
  expect(userLocation(bundle, "tracing@https://host/app.js:4:4")).toBeUndefined();
  expect(caller("    at new Foo (a.js:1:2)")).toEqual({ name: "new Foo", file: "a.js", line: 1, column: 2 });
});

test("bundled with the user's code, the place is that of the source, or none", async () => {
  const folder = mkdtempSync(join(tmpdir(), "places-"));
  const [model, whole] = [join(folder, "model.mjs"), join(folder, "bundle.mjs")];
  const entry = fileURLToPath(new URL("../../dist/index.js", import.meta.url));
  writeFileSync(
    model,
    `import { vectorField } from ${JSON.stringify(pathToFileURL(entry).href)};
try {
  vectorField({ state: 2, slope: ({ state }) => [state.mul("1")] });
} catch ({ message, file }) {
  console.log(message, file);
}
`,
  );
  await build({
    entryPoints: [model],
    bundle: true,
    minify: true,
    format: "esm",
    sourcemap: true,
    outfile: whole,
    plugins: [{ name: "package", setup: ({ onResolve }) => onResolve({ filter: /^file:/ }, () => ({ path: entry })) }],
  });
  const said = (...args: string[]) => execFileSync(process.execPath, args, { encoding: "utf8", env: onWasm }).trim();
  const message = 'mul\'s argument: expected a value or a number, given "1"';
  expect(said(model)).toBe(`${message} (at model.mjs:3:56) ${pathToFileURL(model)}`);
  expect(said(whole)).toBe(`${message} undefined`);
  expect(said("--enable-source-maps", whole)).toMatch(/ \(at model\.mjs:3:56\) \S+model\.mjs$/);
  rmSync(folder, { recursive: true });
});
