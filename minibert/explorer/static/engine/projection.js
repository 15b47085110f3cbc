// The first two principal components of the hidden states of a run, in float64: explorer/values.py's Projection.
//
// They are the two longest axes of the cloud of points, found by subspace iteration (Golub & Van Loan, "Matrix
// Computations", section 8.2): a few vectors are multiplied by Xᵀ X and made orthonormal, again and again, until the
// first two turn no more.

const AXES = 8; // more than two: what matters is how much longer the second axis is than the ninth
const ROUNDS = 300;
const REST = 1e-14; // 1 − cosine at which a direction has come to rest

// states: hidden states 0 … L, (T, H) each.  Returns {mean, directions, explained}: (H), two of (H), two shares.
export function principalComponents(states, H) {
  const rows = states.reduce((sum, values) => sum + values.length / H, 0),
    points = new Float64Array(rows * H),
    mean = new Float64Array(H);
  let at = 0;
  for (const values of states) {
    points.set(values, at);
    at += values.length;
  }
  for (let i = 0; i < points.length; i++) mean[i % H] += points[i] / rows;
  let total = 0;
  for (let i = 0; i < points.length; i++) {
    points[i] -= mean[i % H];
    total += points[i] ** 2;
  }
  const size = Math.min(AXES, rows, H);
  let vectors = orthonormal(Array.from({ length: size }, (_, k) => scattered(H, k)));
  let lengths = new Array(size).fill(0);
  for (let round = 0; round < ROUNDS; round++) {
    const before = vectors.slice(0, 2);
    const images = vectors.map((vector) => timesGram(points, vector, H)); // Xᵀ X v
    ({ vectors, lengths } = rotated(vectors, images));
    vectors = orthonormal(vectors);
    if (before.every((vector, k) => 1 - Math.abs(dot(vector, vectors[k])) < REST)) break;
  }
  const explained = [0, 1].map((k) => Math.max(0, lengths[k] ?? 0) / Math.max(total, 1e-300));
  const directions = [0, 1].map((k) => (vectors[k] ? withSign(vectors[k]) : new Float64Array(H)));
  return { mean, directions, explained };
}

// (T, H) → two numbers for each of the first `tokens`.
export function project({ mean, directions }, values, tokens) {
  const H = mean.length,
    placed = new Float32Array(tokens * 2);
  for (const [k, direction] of directions.entries())
    for (let t = 0; t < tokens; t++) {
      let sum = 0;
      for (let i = 0; i < H; i++) sum += (values[t * H + i] - mean[i]) * direction[i];
      placed[t * 2 + k] = sum;
    }
  return placed;
}

// Numbers without a pattern, to begin with; the same in every run.
function scattered(length, k) {
  return Float64Array.from({ length }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * (k + 1)));
}

function dot(first, second) {
  let sum = 0;
  for (let i = 0; i < first.length; i++) sum += first[i] * second[i];
  return sum;
}

// Xᵀ (X v) for the rows of X.
function timesGram(points, vector, H) {
  const image = new Float64Array(H);
  for (let start = 0; start < points.length; start += H) {
    let sum = 0;
    for (let i = 0; i < H; i++) sum += points[start + i] * vector[i];
    for (let i = 0; i < H; i++) image[i] += sum * points[start + i];
  }
  return image;
}

// Gram–Schmidt, twice for the rounding; a vector that depends on those before becomes zeros.
function orthonormal(vectors) {
  const done = [];
  for (const vector of vectors) {
    const rest = Float64Array.from(vector),
      length = Math.sqrt(dot(vector, vector));
    for (let turn = 0; turn < 2; turn++)
      for (const other of done) {
        const share = dot(rest, other);
        for (let i = 0; i < rest.length; i++) rest[i] -= share * other[i];
      }
    const left = Math.sqrt(dot(rest, rest));
    const scale = left > 1e-13 * length ? 1 / left : 0;
    done.push(rest.map((value) => value * scale));
  }
  return done;
}

// The images, combined so that each is as long as an axis, the longest first (Rayleigh–Ritz): the small matrix vᵀ Xᵀ X v
// is made diagonal by Jacobi's rotations.
function rotated(vectors, images) {
  const n = vectors.length,
    small = vectors.map((vector) => images.map((image) => dot(vector, image))),
    turn = small.map((_, row) => small.map((_, column) => (row === column ? 1 : 0)));
  for (let sweep = 0; sweep < 30; sweep++) {
    let outside = 0;
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        outside += small[p][q] ** 2;
        if (Math.abs(small[p][q]) < 1e-300) continue;
        const theta = (small[q][q] - small[p][p]) / (2 * small[p][q]),
          t = (Math.sign(theta) || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1)),
          c = 1 / Math.sqrt(t * t + 1),
          s = t * c;
        for (const matrix of [small, turn])
          for (let k = 0; k < n; k++)
            [matrix[k][p], matrix[k][q]] = [c * matrix[k][p] - s * matrix[k][q], s * matrix[k][p] + c * matrix[k][q]];
        for (let k = 0; k < n; k++)
          [small[p][k], small[q][k]] = [c * small[p][k] - s * small[q][k], s * small[p][k] + c * small[q][k]];
      }
    if (outside <= 1e-30 * small.reduce((sum, row, k) => sum + row[k] ** 2, 0)) break;
  }
  const order = small.map((row, k) => [row[k], k]).sort((a, b) => b[0] - a[0]);
  const combined = order.map(([, k]) => {
    const vector = new Float64Array(images[0].length);
    for (let j = 0; j < n; j++) for (let i = 0; i < vector.length; i++) vector[i] += turn[j][k] * images[j][i];
    return vector;
  });
  return { vectors: combined, lengths: order.map(([length]) => length) };
}

// The sign of a component is arbitrary: its number furthest from 0 is positive.
function withSign(direction) {
  let largest = 0;
  for (const value of direction) if (Math.abs(value) > Math.abs(largest)) largest = value;
  return largest < 0 ? direction.map((value) => -value) : direction;
}
