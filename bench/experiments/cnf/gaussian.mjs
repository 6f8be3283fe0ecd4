// The Gaussian with full covariance: what a density model has to be better than, and what takes data to be white.

/**
 * The Gaussian fitted to samples `{ values, rows, columns }`, with a ridge added to each variance, as a part of it. Its Cholesky factor L makes x = μ + L z of white z.
 */
export function fitGaussian({ values, rows, columns: d }, ridge) {
  const mean = new Float64Array(d);
  for (let i = 0; i < values.length; i++) mean[i % d] += values[i] / rows;
  const covariance = new Float64Array(d * d);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < d; i++) {
      const part = (values[row * d + i] - mean[i]) / rows;
      for (let j = 0; j <= i; j++) covariance[i * d + j] += part * (values[row * d + j] - mean[j]);
    }
  }
  for (let i = 0; i < d; i++) covariance[i * d + i] *= 1 + ridge;
  const factor = cholesky(covariance, d);
  let logDeterminant = 0;
  for (let i = 0; i < d; i++) logDeterminant += Math.log(factor[i * d + i]);
  return { mean, factor, logDeterminant, features: d };
}

/** L with L Lᵀ = A, from the lower triangle of A. */
function cholesky(a, d) {
  const l = new Float64Array(d * d);
  for (let i = 0; i < d; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * d + j];
      for (let k = 0; k < j; k++) sum -= l[i * d + k] * l[j * d + k];
      if (i === j && !(sum > 0)) throw new Error("the covariance is singular: a greater ridge is needed");
      l[i * d + j] = i === j ? Math.sqrt(sum) : sum / l[j * d + j];
    }
  }
  return l;
}

/** z = L⁻¹ (x − μ) of each sample. */
export function whiten({ mean, factor, features: d }, x) {
  const z = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += d) {
    for (let i = 0; i < d; i++) {
      let sum = x[start + i] - mean[i];
      for (let k = 0; k < i; k++) sum -= factor[i * d + k] * z[start + k];
      z[start + i] = sum / factor[i * d + i];
    }
  }
  return z;
}

/** x = μ + L z of each sample. */
export function colour({ mean, factor, features: d }, z) {
  const x = new Float64Array(z.length);
  for (let start = 0; start < z.length; start += d) {
    for (let i = 0; i < d; i++) {
      let sum = mean[i];
      for (let k = 0; k <= i; k++) sum += factor[i * d + k] * z[start + k];
      x[start + i] = sum;
    }
  }
  return x;
}

/** −log p(x) of each sample, in nats. */
export function negativeLogs(gaussian, x) {
  const { features: d, logDeterminant } = gaussian;
  const z = whiten(gaussian, x);
  return Float64Array.from({ length: x.length / d }, (_, row) => {
    let squares = 0;
    for (let i = row * d; i < (row + 1) * d; i++) squares += z[i] ** 2;
    return 0.5 * (squares + d * Math.log(2 * Math.PI)) + logDeterminant;
  });
}
