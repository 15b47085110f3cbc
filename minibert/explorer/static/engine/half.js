// float16 numbers as float32, which holds every one of them exactly.

let halves = null;

// All 65,536 of them, a lookup table.
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

// The numbers whose float16 bits are given as a Uint16Array.
export function floatsOfHalves(bits, values = new Float32Array(bits.length)) {
  const lookup = halfTable();
  for (let i = 0; i < bits.length; i++) values[i] = lookup[bits[i]];
  return values;
}
