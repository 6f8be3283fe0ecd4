// Peak bytes of a gradient by the symplectic adjoint method with a fixed number of steps, as docs/memory.md derives them.

/**
 * @param {{ widths: number[], batch: number, dtype: "float32" | "float64", keepsDerivative?: boolean }} network
 *   an mlp without time and with bias
 * @param {{ steps: number, outputs: number, stages: number }} solve stages: those that the solution depends on
 */
export function symplecticPeak({ widths, batch, dtype, keepsDerivative = false }, { steps, outputs, stages }) {
  const size = dtype === "float32" ? 4 : 8;
  const full = 64 / size;
  const register = 16 / size;
  // Panels of `full` lanes, the last as wide as it must be.
  const rest = batch % full;
  const last = rest === 0 ? 0 : Math.max(register, 2 ** Math.ceil(Math.log2(rest)));
  const lanes = batch - rest + last;
  const block = Math.min(lanes, 4 * full);
  const even = (n) => 2 * Math.ceil(n / 2);

  const pairs = widths.slice(1).map((output, i) => [widths[i], output]);
  const sum = (of) => pairs.reduce((total, [input, output]) => total + of(input, output), 0);
  const parameters = sum((input, output) => output * (input + 1));
  const packed = sum((input, output) => even(output) * input + even(input) * output + 10 * output);
  const hidden = widths.slice(1, -1).reduce((total, width) => total + width, 0);
  const tape = block * hidden * (keepsDerivative ? 2 : 1);
  const scratch = block * (2 * Math.max(...widths) + full);

  const state = lanes * widths[0];
  const slice = batch * widths[0];
  const always =
    size * (parameters + packed + tape + scratch + (steps + 2) * state + outputs * slice) + 16 * steps + 4 * outputs;
  const forward = size * (5 * state + (stages + 1) * state);
  const backward = size * (3 * state + 2 * stages * state + outputs * state + 3 * parameters);
  return always + Math.max(forward, backward);
}
