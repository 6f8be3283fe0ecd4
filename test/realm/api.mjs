// Arrays of another realm in, results of this one out: on one core, and from workers, whose messages are of another as well.
import * as api from "symplectic-adjoint";

const wrong = [];
const check = (right, what) => right || wrong.push(what);

/** Whether a value, and all that it consists of, is of this realm. */
function own(value, path) {
  if (value === null || typeof value !== "object") return;
  check(value instanceof Object, path);
  if (ArrayBuffer.isView(value)) return;
  for (const [key, part] of Object.entries(value)) own(part, `${path}.${key}`);
}

check(!(new outer.Float32Array(1) instanceof Float32Array), "there is one realm only");
const pool = await api.parallel({ workers: 2 });
for (const dtype of /** @type {const} */ (["float32", "float64"])) {
  const foreign = /** @type {Float32ArrayConstructor} */ (
    dtype === "float32" ? outer.Float32Array : outer.Float64Array
  );
  const field = api.mlp({ widths: [2, 8, 2], dtype });
  const y0 = foreign.from({ length: 128 }, (_, i) => Math.sin(i));
  for (const options of /** @type {api.GradientOptions[]} */ ([{ method: "dopri5" }, { method: "rk4", steps: 5 }])) {
    const what = `${dtype} ${options.method}`;
    const [one, two] = [api.vjp(field, y0, [0, 1], options), await pool.vjp(field, y0, [0, 1], options)];
    own([one, two], what);
    check(one.solution.y.join() === two.solution.y.join(), `${what}: another solution`);
    const w = foreign.from(one.solution.y);
    const [here, there] = [one.pullback(w), await two.pullback(w)];
    own([here, there], `${what} gradient`);
    check(here.y0.join() === there.y0.join(), `${what}: another gradient`);
  }
  const block = () => api.cnf({ network: { widths: [2, 4, 2], dtype } });
  const density = api.flow({ blocks: [block(), block()] });
  own([density.valueAndGrad(y0), await density.valueAndGradIn(pool, y0)], `${dtype} flow`);
  own(api.load(outer.Uint8Array.from(api.save(field))).field.parameters, `${dtype} file`);
}

/** What a body throws. */
const refusal = async (body) => {
  try {
    await body();
  } catch (error) {
    return error;
  }
};
const field = api.mlp({ widths: [1, 1], activation: "identity" });
const blown = await refusal(() => pool.odeint(field, new Float32Array(40).fill(3e38), [0, 100], { method: "euler" }));
check(blown instanceof api.SymplecticAdjointError && blown.code === "NON_FINITE", `blown up: ${blown}`);
pool.close();
const workerUrl = new outer.URL("file:///nowhere.mjs");
const missing = await refusal(() => api.parallel({ workers: 1, workerUrl }));
check(missing?.code === "WORKER" && missing.message.includes("nowhere"), `no worker: ${missing}`);
const { subarray } = Float32Array.prototype;
Float32Array.prototype.subarray = () => {
  throw new outer.Error("of the other realm");
};
const fault = await refusal(() => api.odeint(field, new Float32Array(1), [0, 1]));
Float32Array.prototype.subarray = subarray;
check(fault?.code === "INTERNAL" && fault.message.includes("of the other realm"), `a fault: ${fault}`);
console.log(wrong.join("\n") || "right");
