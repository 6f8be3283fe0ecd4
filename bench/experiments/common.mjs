// What the experiments share.

export const EXACT = ["symplectic", "aca", "baseline", "backprop"];
export const GRADIENTS = [...EXACT, "adjoint"];

/** One gradient of ½ Σ y² at the end, or of another loss. */
export function gradientOf(api, field, y0, times, options, loss = halfSquares) {
  return api.valueAndGrad(field, y0, times, loss, options);
}

/** ½ Σ y² over the last time. */
export function halfSquares(y, [times]) {
  const cotangent = y.slice().fill(0, 0, (y.length / times) * (times - 1));
  return { value: cotangent.reduce((sum, value) => sum + value * value, 0) / 2, cotangent };
}

/** ‖a − b‖ / ‖b‖. */
export function relative(a, b) {
  let [difference, size] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    size += b[i] ** 2;
  }
  return Math.sqrt(difference / size);
}

/** The same field in float64. */
export function inFloat64(make, single) {
  const double = make("float64");
  double.parameters = Float64Array.from(single.parameters);
  return double;
}

/** A deterministic stream of numbers in [0, 1): splitmix32. */
export function uniforms(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** Standard normal numbers. */
export function normals(seed) {
  return normalsOf(uniforms(seed));
}

/** Standard normal numbers (Box and Muller) from a stream of uniform ones. */
export function normalsOf(uniform) {
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

export const exponent = (value) => (value === 0 ? "0" : value.toExponential(1));
export const mib = (bytes) => {
  const value = bytes / 2 ** 20;
  return value >= 99.5 ? value.toFixed(0) : value.toPrecision(3);
};
