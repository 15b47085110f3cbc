// The random generator of noise: a number is a function of seed, stream and index.  minibert/random_normal.py has the
// same in Python and says exactly how it is defined; the two agree to the rounding of log, sin and cos.

// "lowbias32" of Chris Wellons, a bijection of the words of 32 bits.
function mix(word) {
  let x = word;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return x ^ (x >>> 16);
}

function streamKey(start, seed, stream) {
  return mix(mix(mix(start ^ seed) ^ Math.floor(seed / 2 ** 32)) ^ stream);
}

// The first `count` standard normal numbers of a stream.  seed: a safe integer; stream: 0 to 2 ** 32 - 1.
export function standardNormal(seed, stream, count) {
  const first = streamKey(0x9e3779b9, seed, stream),
    second = streamKey(0x85ebca6b, seed, stream);
  const uniform = (index) => ((mix(mix(index ^ first) ^ second) >>> 0) + 0.5) / 2 ** 32;
  const normal = new Float64Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(uniform(i)));
    const angle = 2 * Math.PI * uniform(i + 1);
    normal[i] = radius * Math.cos(angle);
    if (i + 1 < count) normal[i + 1] = radius * Math.sin(angle);
  }
  return normal;
}
