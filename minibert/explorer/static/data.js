// The numbers in the page's JSON, unpacked when a view first asks for them.

let halves = null;

// All 65,536 float16 numbers as float32, so that unpacking is looking up.
function halfTable() {
  if (halves) return halves;
  halves = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1,
      exponent = (bits >> 10) & 31,
      fraction = bits & 1023;
    if (exponent === 31) halves[bits] = fraction ? NaN : sign * Infinity;
    else if (exponent) halves[bits] = sign * 2 ** (exponent - 15) * (1 + fraction / 1024);
    else halves[bits] = sign * 2 ** -14 * (fraction / 1024);
  }
  return halves;
}

const unpacked = new WeakMap();

// {shape, values}: values in one row after the other, float32 (or int32).
export function unpack(packed) {
  if (!packed) return null;
  if (!unpacked.has(packed)) {
    const letters = atob(packed.data);
    const bytes = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
    unpacked.set(packed, { shape: packed.shape, values: asNumbers(bytes.buffer, packed.kind) });
  }
  return unpacked.get(packed);
}

function asNumbers(buffer, kind) {
  if (kind === "float32") return new Float32Array(buffer);
  if (kind === "int32") return new Int32Array(buffer);
  const bits = new Uint16Array(buffer),
    lookup = halfTable();
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = lookup[bits[i]];
  return values;
}

const differences = new WeakMap();

function difference(edited, whole) {
  if (!differences.has(edited)) {
    const values = edited.values.map((value, i) => value - whole.values[i]);
    differences.set(edited, { shape: edited.shape, values });
  }
  return differences.get(edited);
}

// A tensor of a walk as it is to be shown: of the run as it is, of the edited one, or the change between the two.
export function tensor(walk, name, show = "whole") {
  const whole = unpack(walk.tensors[name]);
  if (show === "whole" || !walk.edited) return whole;
  const edited = unpack(walk.edited.tensors[name]);
  return show === "change" && whole && edited ? difference(edited, whole) : edited;
}

// The numbers at [index, index, …] of a tensor, a view into it.
export function slice(found, ...indices) {
  let size = found.values.length,
    start = 0;
  indices.forEach((index, dimension) => {
    size /= found.shape[dimension];
    start += index * size;
  });
  return found.values.subarray(start, start + size);
}

// What of a vector of all heads belongs to one of them.
export function ofHead(vector, head, heads) {
  const width = vector.length / heads;
  return vector.subarray(head * width, (head + 1) * width);
}

export function sumOf(first, second) {
  return first.map((value, i) => value + second[i]);
}
