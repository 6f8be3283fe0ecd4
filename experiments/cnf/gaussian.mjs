// The baseline: a Gaussian of full covariance. Its whitening is the first, fixed layer of the flows, which so begin at its
// likelihood.

/** Rows of numbers. */
export class Matrix {
  constructor(rows, columns, data = new Float64Array(rows * columns)) {
    Object.assign(this, { rows, columns, data });
  }

  row(index) {
    return this.data.subarray(index * this.columns, (index + 1) * this.columns);
  }

  /** Rows by their indices. */
  pick(indices) {
    const picked = new Matrix(indices.length, this.columns);
    for (const [to, from] of indices.entries()) picked.row(to).set(this.row(from));
    return picked;
  }
}

/** The Gaussian fitted to rows, `ridge` times the mean variance being added to each variance. */
export function gaussian(x, ridge) {
  const { rows, columns } = x;
  const mean = new Float64Array(columns);
  for (let i = 0; i < rows; i++) x.row(i).forEach((value, j) => (mean[j] += value / rows));
  const covariance = new Float64Array(columns * columns);
  for (let i = 0; i < rows; i++) {
    const row = x.row(i);
    for (let j = 0; j < columns; j++) {
      for (let k = 0; k <= j; k++) covariance[j * columns + k] += ((row[j] - mean[j]) * (row[k] - mean[k])) / rows;
    }
  }
  let trace = 0;
  for (let j = 0; j < columns; j++) trace += covariance[j * columns + j];
  for (let j = 0; j < columns; j++) covariance[j * columns + j] += (ridge * trace) / columns;
  const factor = cholesky(covariance, columns);
  let logDeterminant = 0;
  for (let j = 0; j < columns; j++) logDeterminant += Math.log(factor[j * columns + j]);
  return { mean, factor, logDeterminant, columns };
}

/** The one whose ridge the validation rows like best. */
export function bestGaussian(train, validation) {
  const fitted = [1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1].map((ridge) => {
    const model = gaussian(train, ridge);
    return { ridge, model, nll: negativeLogLikelihood(model, validation) };
  });
  return fitted.reduce((best, one) => (one.nll < best.nll ? one : best));
}

/** z of rows, standard normal if the model were true: L z = x − mean. */
export function whiten({ mean, factor, columns }, x) {
  const z = new Matrix(x.rows, columns);
  for (let i = 0; i < x.rows; i++) {
    const [from, to] = [x.row(i), z.row(i)];
    for (let j = 0; j < columns; j++) {
      let sum = from[j] - mean[j];
      for (let k = 0; k < j; k++) sum -= factor[j * columns + k] * to[k];
      to[j] = sum / factor[j * columns + j];
    }
  }
  return z;
}

/** The rows of z. */
export function colour({ mean, factor, columns }, z) {
  const x = new Matrix(z.rows, columns);
  for (let i = 0; i < z.rows; i++) {
    const [from, to] = [z.row(i), x.row(i)];
    for (let j = 0; j < columns; j++) {
      to[j] = mean[j];
      for (let k = 0; k <= j; k++) to[j] += factor[j * columns + k] * from[k];
    }
  }
  return x;
}

/** In nats, the mean over the rows. */
export function negativeLogLikelihood(model, x) {
  const z = whiten(model, x);
  let squares = 0;
  for (const value of z.data) squares += value * value;
  return squares / x.rows / 2 + (model.columns / 2) * Math.log(2 * Math.PI) + model.logDeterminant;
}

function cholesky(a, n) {
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j];
      for (let k = 0; k < j; k++) sum -= l[i * n + k] * l[j * n + k];
      if (i === j && sum <= 0) throw new Error("a covariance that is not positive");
      l[i * n + j] = i === j ? Math.sqrt(sum) : sum / l[j * n + j];
    }
  }
  return l;
}
