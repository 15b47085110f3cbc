// The functions between the matrix products: activations, normalisation, softmax.  All take and return Float32Arrays.

// hidden_act → a function of one number, as minibert/model.py has them.
const ACTIVATIONS = {
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)), // x · Φ(x)
  gelu_new: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  relu: (x) => Math.max(x, 0),
  silu: (x) => x / (1 + Math.exp(-x)),
  swish: (x) => x / (1 + Math.exp(-x)),
  tanh: Math.tanh,
};

// GELU's tanh approximation (Hendrycks & Gimpel 2016, section 2).
function geluTanh(x) {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

export function activation(name) {
  if (!Object.hasOwn(ACTIVATIONS, name))
    throw new Error(`hidden_act is ${name}; the page has ${Object.keys(ACTIVATIONS).join(", ")}.`);
  return (values) => values.map(ACTIVATIONS[name]);
}

// The error function by W. J. Cody's rational approximations (1969, "Rational Chebyshev approximations for the error
// function"; the coefficients are those of CALERF on netlib.org): near 0 erf(x) = x · R(x²), beyond it
// 1 − erf(x) = exp(−x²) · R(x).  Beyond 6 it is 1 in float64.  The largest error is 3e-16.
export function erf(x) {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  return size <= 0.46875 ? erfNear(x) : Math.sign(x) * (1 - erfcFar(size));
}

function erfNear(x) {
  const square = x * x;
  let top = 1.85777706184603153e-1 * square + 3.1611237438705656;
  top = top * square + 1.13864154151050156e2;
  top = top * square + 3.77485237685302021e2;
  top = top * square + 3.20937758913846947e3;
  let bottom = square + 2.36012909523441209e1;
  bottom = bottom * square + 2.44024637934444173e2;
  bottom = bottom * square + 1.28261652607737228e3;
  bottom = bottom * square + 2.84423683343917062e3;
  return (x * top) / bottom;
}

function erfcFar(x) {
  let top = 2.15311535474403846e-8 * x + 5.64188496988670089e-1;
  top = top * x + 8.88314979438837594;
  top = top * x + 6.61191906371416295e1;
  top = top * x + 2.98635138197400131e2;
  top = top * x + 8.8195222124176909e2;
  top = top * x + 1.71204761263407058e3;
  top = top * x + 2.05107837782607147e3;
  top = top * x + 1.23033935479799725e3;
  let bottom = x + 1.57449261107098347e1;
  bottom = bottom * x + 1.17693950891312499e2;
  bottom = bottom * x + 5.37181101862009858e2;
  bottom = bottom * x + 1.62138957456669019e3;
  bottom = bottom * x + 3.29079923573345963e3;
  bottom = bottom * x + 4.36261909014324716e3;
  bottom = bottom * x + 3.43936767414372164e3;
  bottom = bottom * x + 1.23033935480374942e3;
  return (Math.exp(-x * x) * top) / bottom;
}

// Each row of H numbers to mean 0 and variance 1, then scaled and shifted: (rows, H) → (rows, H).
export function layerNorm(x, scale, shift, eps) {
  const H = scale.length,
    y = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += H) {
    let mean = 0,
      variance = 0;
    for (let k = 0; k < H; k++) mean += x[start + k];
    mean /= H;
    for (let k = 0; k < H; k++) variance += (x[start + k] - mean) ** 2;
    const factor = 1 / Math.sqrt(variance / H + eps);
    for (let k = 0; k < H; k++) y[start + k] = (x[start + k] - mean) * factor * scale[k] + shift[k];
  }
  return y;
}

// Of each row of `width` numbers: (rows, width) → (rows, width), and each row sums to 1.
export function softmax(x, width) {
  const y = new Float32Array(x.length),
    powers = new Float64Array(width);
  for (let start = 0; start < x.length; start += width) {
    let largest = -Infinity,
      sum = 0;
    for (let k = 0; k < width; k++) largest = Math.max(largest, x[start + k]);
    for (let k = 0; k < width; k++) sum += powers[k] = Math.exp(x[start + k] - largest);
    for (let k = 0; k < width; k++) y[start + k] = powers[k] / sum;
  }
  return y;
}

export function add(first, second) {
  return first.map((value, i) => value + second[i]);
}
