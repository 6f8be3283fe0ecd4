// What the experiments share.

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

export const exponent = (value) => (value === 0 ? "0" : value.toExponential(1));
export const mib = (bytes) => {
  const value = bytes / 2 ** 20;
  return value >= 99.5 ? value.toFixed(0) : value.toPrecision(3);
};
