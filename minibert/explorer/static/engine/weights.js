// The tensors of a checkpoint, read from one buffer in which they lie one after the other, little-endian, row by row.

import { floatsOfHalves } from "./half.js";

// Map name → {shape, values: Float32Array}.  table: [{name, shape, dtype, offset, scales}], in which dtype is
// "float16", "float32" or "int8", and offset is a multiple of 4, in bytes.  An int8 number times the scale of its row
// is the weight; the scales, float32, one for each of shape[0] rows, lie at the offset `scales`.
export function readWeights(table, buffer) {
  const tensors = new Map();
  for (const entry of table) tensors.set(entry.name, { shape: entry.shape, values: readTensor(entry, buffer) });
  return tensors;
}

function readTensor({ name, shape, dtype, offset, scales }, buffer) {
  const size = shape.reduce((product, length) => product * length, 1);
  if (dtype === "float16") return floatsOfHalves(new Uint16Array(buffer, offset, size));
  if (dtype === "float32") return new Float32Array(buffer, offset, size);
  if (dtype !== "int8") throw new Error(`${name} has dtype ${dtype}; expected float16, float32 or int8.`);
  const whole = new Int8Array(buffer, offset, size),
    scaleOf = new Float32Array(buffer, scales, shape[0]),
    width = size / shape[0],
    values = new Float32Array(size);
  for (let row = 0, i = 0; row < shape[0]; row++)
    for (let column = 0; column < width; column++, i++) values[i] = whole[i] * scaleOf[row];
  return values;
}
