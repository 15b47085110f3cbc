// The tensors in the page's JSON, unpacked when they are first needed.

import { floatsOfHalves } from "./engine/half.js";

const unpacked = new WeakMap();

// {shape, values}: the values row by row, float32 or int32.  What the engine answers is unpacked already.
export function unpack(packed) {
  if (!packed) return null;
  if (packed.values) return packed;
  if (!unpacked.has(packed)) {
    const letters = atob(packed.data);
    const bytes = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
    unpacked.set(packed, { shape: packed.shape, values: asNumbers(bytes.buffer, packed.dtype) });
  }
  return unpacked.get(packed);
}

function asNumbers(buffer, dtype) {
  if (dtype === "float32") return new Float32Array(buffer);
  if (dtype === "int32") return new Int32Array(buffer);
  return floatsOfHalves(new Uint16Array(buffer));
}

const differences = new WeakMap();

function difference(edited, original) {
  if (!differences.has(edited)) {
    const values = edited.values.map((value, i) => value - original.values[i]);
    differences.set(edited, { shape: edited.shape, values });
  }
  return differences.get(edited);
}

// A tensor of a run, of its edited version, or the difference between the two.
export function tensor(run, name, show = "original") {
  const original = unpack(run.tensors[name]);
  if (show === "original" || !run.edited) return original;
  const edited = unpack(run.edited.tensors[name]);
  return show === "change" && original && edited ? difference(edited, original) : edited;
}

// The numbers at [index, index, …] of a tensor, a view into it.
export function slice(tensor, ...indices) {
  let size = tensor.values.length,
    start = 0;
  indices.forEach((index, dimension) => {
    size /= tensor.shape[dimension];
    start += index * size;
  });
  return tensor.values.subarray(start, start + size);
}

// The part of a vector that belongs to one head.
export function ofHead(vector, head, heads) {
  const width = vector.length / heads;
  return vector.subarray(head * width, (head + 1) * width);
}

export function sumOf(first, second) {
  return first.map((value, i) => value + second[i]);
}
