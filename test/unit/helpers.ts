import {
  type ArrayOf,
  type Dtype,
  type Estimate,
  engine,
  type FitResult,
  memoryUsage,
  mlp,
  odeint,
  type SymplecticAdjointError,
} from "symplectic-adjoint";
import { expect, test } from "vitest";
import { uniforms } from "../../ts/trace/random.js";
import { GRADIENTS, METHODS } from "../../wasm/constants.js";

/** Whether the tests run on the addon. */
export const isNative = engine().kind === "native";
/** A test of what only WebAssembly has: builds, memory that grows and ends, an instance that a fault takes with it. */
export const testWasm = test.skipIf(isNative);
/** The environment of a process that runs on WebAssembly. */
export const onWasm = { ...process.env, SYMPLECTIC_ADJOINT_ENGINE: "wasm" };

/** The estimate of a name that is known only when it runs. */
export const estimateOf = ({ parameters }: FitResult, name: string): Estimate | undefined => parameters[name];

/** Collects garbage: finalizers run when the event loop has its turn. */
export const collect = (globalThis as unknown as { gc(): void }).gc;
/** Has the event loop take its turn, and finalizers with it. */
export const turn = () => new Promise((resolve) => setImmediate(resolve));

/**
 * Frees what earlier tests left undisposed. Natively the collector does so at any moment, even within a call: without this,
 * a difference of `liveBytes` may count theirs.
 */
export async function collectGarbage(): Promise<void> {
  let before: number;
  do {
    before = memoryUsage().liveBytes;
    for (let round = 0; round < 3; round++) {
      collect();
      await turn();
    }
  } while (memoryUsage().liveBytes !== before);
}

/** The gradients that agree bitwise: all but the continuous adjoint. */
export const EXACT = GRADIENTS.filter((gradient) => gradient !== "adjoint");
/**
 * The methods that treat all features of a state alike, as Runge–Kutta methods do. Those that divide them into positions and
 * velocities, such as leapfrog, take an even number of features, end steps on all outputs, and do not serve the continuous adjoint.
 */
export const RUNGE_KUTTA = METHODS.filter((method) => {
  const single = mlp({ widths: [1, 1] });
  try {
    odeint(single, Float32Array.of(1), [0, 1], { method });
    return true;
  } catch (error) {
    if ((error as SymplecticAdjointError).code !== "SHAPE") throw error;
    return false;
  } finally {
    single.dispose();
  }
});

/** Numbers in ±1, the same for the same seed. */
export function numbers<D extends Dtype>(dtype: D, length: number, seed = 1): ArrayOf<D> {
  const uniform = uniforms(seed);
  const array = dtype === "float32" ? new Float32Array(length) : new Float64Array(length);
  return array.map(() => 2 * uniform() - 1) as ArrayOf<D>;
}

/** The error that a call throws, checked for its code. */
export function thrown(code: string, body: () => unknown): SymplecticAdjointError {
  try {
    body();
  } catch (error) {
    expect(error).toMatchObject({ name: "SymplecticAdjointError", code });
    return error as SymplecticAdjointError;
  }
  throw new Error(`expected ${code} to be thrown`);
}

/** ‖a − b‖ / ‖b‖. */
export function relative(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, size] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += ((a[i] as number) - (b[i] as number)) ** 2;
    size += (b[i] as number) ** 2;
  }
  return Math.sqrt(difference / size);
}

/** The error that a call throws. */
export function refusal(body: () => unknown) {
  try {
    body();
  } catch (error) {
    return error as { code: string; argument?: string; message: string; trajectory?: number };
  }
  throw new Error("nothing was refused");
}
