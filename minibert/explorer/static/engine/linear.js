// The matrix product, where nearly all of the time goes.

// x @ weightᵀ + bias: (rows, width), (outputs, width), (outputs,) or null → (rows, outputs).
//
// Blocks of 4 rows × 2 outputs: of each 6 numbers read, 8 products are made, and as many sums as registers hold.  At
// an edge the block repeats its last row or output, which writes the same number again.  JavaScript computes in
// float64, so a sum of thousands of products is rounded once, when it is stored as float32.
export function linear(x, weight, bias, rows, width, outputs) {
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
