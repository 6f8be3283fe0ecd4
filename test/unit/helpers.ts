import type { ArrayOf, Dtype, GradientMethod, Method } from "symplectic-adjoint";
import { engine } from "symplectic-adjoint";
import { expect, test } from "vitest";

/** Whether the tests run on the addon. */
export const isNative = engine().kind === "native";
/** A test of what only WebAssembly has: builds, memory that grows and ends, an instance that a fault takes with it. */
export const testWasm = test.skipIf(isNative);
/** The environment of a process that runs on WebAssembly. */
export const onWasm = { ...process.env, SYMPLECTIC_ADJOINT_ENGINE: "wasm" };

export const EXACT: GradientMethod[] = ["symplectic", "backprop", "baseline", "aca", "auto"];
export const METHODS: Method[] = [
  ...(["euler", "midpoint", "heun", "ralston", "rk4", "rk38"] as const),
  ...(["fehlberg2", "adaptive_heun", "bosh3", "dopri5", "tsit5", "dopri8"] as const),
];

/** Numbers in ±1, the same for the same seed. */
export function numbers<D extends Dtype>(dtype: D, length: number, seed = 1): ArrayOf<D> {
  let state = (seed * 2654435761) >>> 0;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  const array = dtype === "float32" ? new Float32Array(length) : new Float64Array(length);
  return array.map(next) as ArrayOf<D>;
}

/** The error that a call throws, checked for its code. */
export function thrown(code: string, body: () => unknown): import("symplectic-adjoint").SymplecticAdjointError {
  try {
    body();
  } catch (error) {
    expect(error).toMatchObject({ name: "SymplecticAdjointError", code });
    return error as import("symplectic-adjoint").SymplecticAdjointError;
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
