// Peak bytes of a gradient by the symplectic adjoint method with a fixed number of steps, as docs/memory.md derives them.

/**
 * @typedef {{ widths: number[], batch: number, dtype: "float32" | "float64", rows?: number, registerBits?: number, pointer?: number }}
 *   Network an mlp without time and with bias; rows of the register file; the width of the engine's registers and the bytes of a pointer,
 *   those of WebAssembly by default
 */

/** @param {Network} network */
function sizes({ widths, batch, dtype, rows: file = 0, registerBits = 128, pointer = 4 }) {
  const size = dtype === "float32" ? 4 : 8;
  const register = registerBits / 8 / size;
  const pairs = widths.slice(1).map((output, i) => /** @type {[number, number]} */ ([widths[i], output]));
  /** @param {(input: number, output: number) => number} of */
  const sum = (of) => pairs.reduce((total, [input, output]) => total + of(input, output), 0);
  // Blocks of four cache lines, natively of eight where they have few rows or matrices are not small; the last one is as wide as it must be, and one trajectory alone has one lane.
  const whole = (/** @type {number} */ n) => register * Math.ceil(n / register);
  const rows = (/** @type {number} */ n) => (batch === 1 ? whole(n) : n);
  const lanes = batch === 1 ? 1 : whole(batch);
  const isNative = pointer === 8;
  const isWide = isNative && (file <= 256 || pairs.some(([input, output]) => input * output > 2 ** 16));
  const block = Math.min(lanes, (isWide ? 512 : 256) / size);
  // Natively, eight cache lines (of up to 2^18 parameters) are a leaf, and a thread has a sum for each level of their tree.
  const sums = isNative ? 1 + Math.ceil(Math.log2(Math.ceil(lanes / (512 / size)))) : 1;
  return {
    size,
    register,
    lanes,
    sums,
    block,
    parameters: sum((input, output) => output * (input + 1)),
    packed: sum((input, output) => rows(output) * input + rows(input) * output),
    biases: sum((_, output) => output),
    deepest: Math.max(...widths),
  };
}

/**
 * Bytes of `peakBytes.network`: the parameters, both packed forms of each matrix, and a number for each bias and constant.
 *
 * @param {Network} network
 * @param {number} constants one for tanh and silu, the 1 of their derivatives
 */
export function networkBytes(network, constants) {
  const { size, parameters, packed, biases } = sizes(network);
  return size * (parameters + packed + biases + constants);
}

/** Numbers that a sum over lanes and the kernels need beside the register file. @param {Network} network */
function beside(network) {
  const { size, register, block, biases, deepest, sums } = sizes(network);
  if (network.batch === 1) return 0;
  const strip = deepest > 160 ? 4 * register * deepest : 0;
  const columns = (network.registerBits === 512 ? 256 : 64) / size;
  return sums * register * biases + Math.max(columns * block, strip);
}

/**
 * Rows of the register file, from `peakBytes.workspace` of any gradient of the field by this method.
 *
 * @param {Network} network
 * @param {number} workspace
 */
export function registerRows(network, workspace) {
  const { size, lanes, block } = sizes(network);
  return (workspace / size - 3 * lanes * network.widths[0] - beside(network)) / block;
}

/**
 * @param {Network & { constants: number, rows: number }} network `rows` of the register file, which depend neither on the batch nor
 *   on the solve
 * @param {{ steps: number, outputs: number, stages: number }} solve stages: those that the solution depends on
 */
export function symplecticPeak(network, { steps, outputs, stages }) {
  const { size, lanes, block, parameters, sums } = sizes(network);
  const [features] = network.widths;
  const state = size * lanes * features;
  const always =
    networkBytes(network, network.constants) +
    (steps + 2) * state +
    16 * steps +
    (sums - 1) * size * parameters +
    (network.pointer ?? 4) * outputs +
    size * outputs * network.batch * features +
    size * (block * network.rows + beside(network));
  const forward = 5 * state + (stages + 1) * state;
  const backward = 3 * state + 2 * stages * state + outputs * state + 3 * size * parameters;
  return always + Math.max(forward, backward);
}
