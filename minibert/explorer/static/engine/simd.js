// The inner loops of linear.js as WebAssembly: a function of a few hundred bytes, assembled here instruction by
// instruction, because the page is made without a build step.  One instruction multiplies 4 pairs of numbers.
// The instructions and their codes: https://webassembly.github.io/spec/core/appendix/index-instructions.html

const I32 = 0x7f,
  V128 = 0x7b; // 4 numbers of float32
const PARAMETERS = ["x", "weight", "bias", "y", "blocks", "pairs", "width", "stride"];
const ROWS = [0, 1, 2, 3];
const POINTERS = ["row0", "row1", "row2", "row3", "output0", "output1", "block", "next", "target", "end"];
const SUMS = ROWS.flatMap((row) => [`sum${row}0`, `sum${row}1`]);
const VECTORS = [...SUMS, "left0", "left1", "right"];
const LOCALS = [...PARAMETERS, ...POINTERS, ...VECTORS];

// Whole numbers in the format of WebAssembly, LEB128.
function leb(number) {
  return number < 128 ? [number] : [(number & 127) | 128, ...leb(number >>> 7)];
}

const emit = {
  get: (name) => [0x20, LOCALS.indexOf(name)],
  set: (name, value) => [...value, 0x21, LOCALS.indexOf(name)],
  small: (number) => [0x41, number], // a constant from 0 to 63
  plus: (first, second) => [...first, ...second, 0x6a],
  minus: (first, second) => [...first, ...second, 0x6b],
  isBelow: (first, second) => [...first, ...second, 0x49],
  loadVector: (address) => [...address, 0xfd, 0, 0, 0],
  zeroVector: () => [0xfd, 0x0c, ...new Array(16).fill(0)],
  addVectors: (first, second) => [...first, ...second, 0xfd, 0xe4, 1],
  timesVectors: (first, second) => [...first, ...second, 0xfd, 0xe6, 1],
  loadNumber: (address, offset) => [...address, 0x2a, 0, offset],
  lane: (vector, number) => [0x20, LOCALS.indexOf(vector), 0xfd, 0x1f, number],
  addNumbers: (first, second) => [...first, ...second, 0x92],
  storeNumber: (address, value, offset) => [...address, ...value, 0x38, 0, offset],
  repeatWhile: (condition, ...body) => [0x03, 0x40, ...body.flat(), ...condition, 0x0d, 0, 0x0b], // at least once
};

// y[row, output] = Σ x[row, k] · weight[output, k] + bias[output], for `blocks` blocks of 4 rows and `pairs` of
// outputs.  x, weight, bias and y are addresses; width, of a row of x and of weight, and stride, of a row of y, are in
// bytes.
function product() {
  const { get, set, small, plus, minus, isBelow, repeatWhile, storeNumber } = emit,
    { loadVector, zeroVector, addVectors, timesVectors, loadNumber, lane, addNumbers } = emit;
  const advance = (name, by) => set(name, plus(get(name), by)),
    total = (vector) => [0, 1, 2, 3].map((number) => lane(vector, number)).reduce(addNumbers);
  const bothOutputs = (row) => [
    ...set("right", loadVector(get(`row${row}`))),
    ...set(`sum${row}0`, addVectors(get(`sum${row}0`), timesVectors(get("right"), get("left0")))),
    ...set(`sum${row}1`, addVectors(get(`sum${row}1`), timesVectors(get("right"), get("left1")))),
    ...advance(`row${row}`, small(16)),
  ];
  const store = (row) => [
    ...storeNumber(get("target"), addNumbers(total(`sum${row}0`), loadNumber(get("bias"), 0)), 0),
    ...storeNumber(get("target"), addNumbers(total(`sum${row}1`), loadNumber(get("bias"), 4)), 4),
    ...advance("target", get("stride")),
  ];
  return repeatWhile(
    get("pairs"),
    set("next", get("x")),
    set("target", get("y")),
    set("block", get("blocks")),
    repeatWhile(
      get("block"),
      set("row0", get("next")),
      ...[1, 2, 3].map((row) => set(`row${row}`, plus(get(`row${row - 1}`), get("width")))),
      set("next", plus(get("row3"), get("width"))),
      set("output0", get("weight")),
      set("output1", plus(get("weight"), get("width"))),
      set("end", get("output1")),
      ...SUMS.map((name) => set(name, zeroVector())),
      repeatWhile(
        isBelow(get("output0"), get("end")),
        set("left0", loadVector(get("output0"))),
        set("left1", loadVector(get("output1"))),
        ...ROWS.map(bothOutputs),
        advance("output0", small(16)),
        advance("output1", small(16)),
      ),
      ...ROWS.map(store),
      set("block", minus(get("block"), small(1))),
    ),
    set("weight", plus(plus(get("weight"), get("width")), get("width"))),
    advance("bias", small(8)),
    advance("y", small(8)),
    set("pairs", minus(get("pairs"), small(1))),
  );
}

function section(id, ...content) {
  const bytes = content.flat();
  return [id, ...leb(bytes.length), ...bytes];
}

function named(text) {
  return [text.length, ...text].map((letter) => (typeof letter === "string" ? letter.charCodeAt(0) : letter));
}

// The bytes of the module: it imports a memory and exports `product`.
export function simdModule() {
  const declared = [2, POINTERS.length, I32, VECTORS.length, V128];
  const body = [...declared, ...product(), 0x0b];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // "\0asm", version 1
    ...section(1, [1, 0x60, PARAMETERS.length], PARAMETERS.map(() => I32), [0]), // its type: no result
    ...section(2, [1], named("page"), named("memory"), [2, 0, 1]), // a memory of at least one page of 64 kB
    ...section(3, [1, 0]),
    ...section(7, [1], named("product"), [0, 0]),
    ...section(10, [1], leb(body.length), body),
  ]);
}
