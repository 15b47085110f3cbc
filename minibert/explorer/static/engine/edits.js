// The usual edits, for the `edits` of a run: functions of a value and its shape that return a changed copy.  They do
// what minibert/lens/editing.py and minibert/explorer/interventions.py do.

import { standardNormal } from "./random.js";

// Zeros for these heads of a value (N, T, …), such as context_heads.
export function zeroHeads(...heads) {
  return (values, [N]) => {
    const size = values.length / N,
      changed = values.slice();
    for (const n of heads) changed.fill(0, n * size, (n + 1) * size);
    return changed;
  };
}

// Gaussian noise on the vector of one token of a value (T, H): `std` times the numbers of stream 0 of a seed.
export function addNoise(std, position, seed) {
  return (values, [, H]) => {
    const changed = values.slice(),
      scale = Math.fround(std),
      sample = Float32Array.from(standardNormal(seed, 0, H));
    for (let k = 0; k < H; k++) changed[position * H + k] += Math.fround(scale * sample[k]);
    return changed;
  };
}

// What one token attends to in one head: row `token` of head `head` of attention.self.probabilities (N, T, T) becomes
// `row`, T numbers that sum to 1.
export function forceAttention(head, token, row) {
  return (values, [, T]) => {
    const changed = values.slice();
    changed.set(row, (head * T + token) * T);
    return changed;
  };
}

// One edit after the other, as a single one.
export function inTurn(...edits) {
  return (values, shape) => edits.reduce((value, edit) => edit(value, shape) ?? value, values);
}
