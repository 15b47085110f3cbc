// The matrix product, where nearly all of the time goes: in WebAssembly, four numbers at a time (simd.js), and where
// a browser or a policy forbids that, in plain loops, about eight times slower.

import { simdModule } from "./simd.js";

const SCRATCH = 2 ** 21; // numbers beside the weights, for what is multiplied with them
let fast = null; // {product, memory: all numbers as float32, scratch: the place of the first that is free}

// Room for `size` numbers: weights that lie in it need not be copied before they are multiplied.  There is one such
// room, of the checkpoint that was opened last.
export function reserve(size) {
  fast = null;
  try {
    const memory = new WebAssembly.Memory({ initial: Math.ceil((4 * (size + SCRATCH)) / 2 ** 16) });
    const module = new WebAssembly.Module(simdModule());
    const { product } = new WebAssembly.Instance(module, { page: { memory } }).exports;
    fast = { product, memory: new Float32Array(memory.buffer), scratch: Math.ceil(size / 4) * 4 };
    return fast.memory.subarray(0, size);
  } catch {
    return new Float32Array(size);
  }
}

export function isFast() {
  return fast !== null;
}

// x @ weightᵀ + bias: (rows, width), (outputs, width), (outputs,) or null → (rows, outputs).
export function linear(x, weight, bias, rows, width, outputs) {
  return (
    (fast && simdLinear(x, weight, bias, rows, width, outputs)) || plainLinear(x, weight, bias, rows, width, outputs)
  );
}

// null if the numbers do not fit into the scratch room.  Vectors have 4 numbers, blocks 4 rows and 2 outputs: each
// width is filled up with zeros, and what the last block computes beyond the last row or output is ignored.
function simdLinear(x, weight, bias, rows, width, outputs) {
  const { product, memory, scratch } = fast,
    padded = Math.ceil(width / 4) * 4,
    columns = Math.ceil(outputs / 2) * 2, // of the result in the scratch room
    isInPlace = weight.buffer === memory.buffer && padded === width,
    weightPlace = scratch + columns,
    left = weightPlace + (isInPlace ? 0 : columns * padded), // where x goes
    rowsAtOnce = Math.floor((memory.length - left) / (padded + columns) / 4) * 4;
  if (rowsAtOnce < 4) return null;
  if (bias) memory.set(bias, scratch);
  else memory.fill(0, scratch, weightPlace);
  if (!isInPlace) copyRows(weight, memory.subarray(weightPlace, left), outputs, width, padded);
  const y = new Float32Array(rows * outputs),
    weightAddress = isInPlace ? weight.byteOffset : 4 * weightPlace;
  for (let row = 0; row < rows; row += rowsAtOnce) {
    const count = Math.min(rowsAtOnce, rows - row),
      blocks = Math.ceil(count / 4),
      right = left + 4 * blocks * padded; // where the result goes
    copyRows(x.subarray(row * width), memory.subarray(left, right), count, width, padded);
    product(4 * left, weightAddress, 4 * scratch, 4 * right, blocks, columns / 2, 4 * padded, 4 * columns);
    copyRows(memory.subarray(right), y.subarray(row * outputs), count, columns, outputs);
  }
  return y;
}

// `count` rows from a place where they are `from` numbers long to one where they are `to` numbers long, filled up with
// zeros or cut.
function copyRows(source, target, count, from, to) {
  if (from === to) return target.set(source.subarray(0, count * from));
  for (let row = 0; row < count; row++) {
    target.set(source.subarray(row * from, row * from + Math.min(from, to)), row * to);
    if (to > from) target.fill(0, row * to + from, (row + 1) * to);
  }
}

// Blocks of 4 rows × 2 outputs: of each 6 numbers read, 8 products are made, and as many sums as registers hold.  At
// an edge the block repeats its last row or output, which writes the same number again.  JavaScript computes in
// float64, so a sum of thousands of products is rounded once, when it is stored as float32.
function plainLinear(x, weight, bias, rows, width, outputs) {
  const y = new Float32Array(rows * outputs);
  const lastRow = rows - 1,
    lastOutput = outputs - 1;
  for (let output = 0; output < outputs; output += 2) {
    const other = Math.min(output + 1, lastOutput),
      w0 = output * width,
      w1 = other * width,
      b0 = bias ? bias[output] : 0,
      b1 = bias ? bias[other] : 0;
    for (let row = 0; row < rows; row += 4) {
      const row1 = Math.min(row + 1, lastRow),
        row2 = Math.min(row + 2, lastRow),
        row3 = Math.min(row + 3, lastRow);
      const x0 = row * width,
        x1 = row1 * width,
        x2 = row2 * width,
        x3 = row3 * width;
      let y00 = 0,
        y01 = 0,
        y10 = 0,
        y11 = 0,
        y20 = 0,
        y21 = 0,
        y30 = 0,
        y31 = 0;
      for (let k = 0; k < width; k++) {
        const a = weight[w0 + k],
          b = weight[w1 + k],
          c0 = x[x0 + k],
          c1 = x[x1 + k],
          c2 = x[x2 + k],
          c3 = x[x3 + k];
        y00 += c0 * a;
        y01 += c0 * b;
        y10 += c1 * a;
        y11 += c1 * b;
        y20 += c2 * a;
        y21 += c2 * b;
        y30 += c3 * a;
        y31 += c3 * b;
      }
      y[row * outputs + output] = y00 + b0;
      y[row * outputs + other] = y01 + b1;
      y[row1 * outputs + output] = y10 + b0;
      y[row1 * outputs + other] = y11 + b1;
      y[row2 * outputs + output] = y20 + b0;
      y[row2 * outputs + other] = y21 + b1;
      y[row3 * outputs + output] = y30 + b0;
      y[row3 * outputs + other] = y31 + b1;
    }
  }
  return y;
}
