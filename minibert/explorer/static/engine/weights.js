// The tensors of a checkpoint, read from one buffer in which they lie one after the other, little-endian, row by row.

import { floatsOfHalves } from "./half.js";
import { reserve } from "./linear.js";

// Map name → {shape, values: Float32Array}.  table: [{name, shape, dtype, offset, scales}], in which dtype is
// "float16", "float32" or "int8", and offset is a multiple of 4, in bytes.  An int8 number times the scale of its row
// is the weight; the scales, float32, one for each of shape[0] rows, lie at the offset `scales`.
export function readWeights(table, buffer) {
  const sizes = table.map(({ shape }) => shape.reduce((product, length) => product * length, 1)),
    rounded = sizes.map((size) => Math.ceil(size / 4) * 4),
    room = reserve(rounded.reduce((sum, size) => sum + size, 0)),
    tensors = new Map();
  let start = 0;
  table.forEach((entry, i) => {
    const values = room.subarray(start, start + sizes[i]);
    readTensor(entry, buffer, values);
    tensors.set(entry.name, { shape: entry.shape, values });
    start += rounded[i];
  });
  return tensors;
}

function readTensor({ name, shape, dtype, offset, scales }, buffer, values) {
  const size = values.length;
  if (dtype === "float16") floatsOfHalves(new Uint16Array(buffer, offset, size), values);
  else if (dtype === "float32") values.set(new Float32Array(buffer, offset, size));
  else if (dtype === "int8") {
    const whole = new Int8Array(buffer, offset, size),
      scaleOf = new Float32Array(buffer, scales, shape[0]),
      width = size / shape[0];
    for (let i = 0; i < size; i++) values[i] = whole[i] * scaleOf[Math.floor(i / width)];
  } else throw new Error(`${name} has dtype ${dtype}; expected float16, float32 or int8.`);
}
