// What the tests call in the browser: the engine with the weights that stand in the page, and tensors as base64.

import { addNoise, forceAttention, inTurn, zeroHeads } from "../../../minibert/explorer/static/engine/edits.js";
import { erf } from "../../../minibert/explorer/static/engine/functions.js";
import { floatsOfHalves } from "../../../minibert/explorer/static/engine/half.js";
import { hasMlm, hasNsp, mlmLogits, nspLogits } from "../../../minibert/explorer/static/engine/heads.js";
import { isFast, linear } from "../../../minibert/explorer/static/engine/linear.js";
import { openModel, openRun, unchangedState } from "../../../minibert/explorer/static/engine/model.js";
import { standardNormal } from "../../../minibert/explorer/static/engine/random.js";
import { readWeights } from "../../../minibert/explorer/static/engine/weights.js";

const EDITS = { addNoise, forceAttention, zeroHeads };

function toBase64(values) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
    parts = [];
  for (let i = 0; i < bytes.length; i += 0x8000) parts.push(String.fromCharCode(...bytes.subarray(i, i + 0x8000)));
  return btoa(parts.join(""));
}

function toBytes(letters) {
  const decoded = atob(letters),
    bytes = new Uint8Array(decoded.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = decoded.charCodeAt(i);
  return bytes;
}

// Map name → {shape, values} as lists: an array that several points share is sent once.
function packed(kept) {
  const arrays = [...new Set([...kept.values()].map(({ values }) => values))],
    number = new Map(arrays.map((values, i) => [values, i]));
  return {
    arrays: arrays.map(toBase64),
    points: [...kept].map(([name, { shape, values }]) => [name, shape, number.get(values)]),
  };
}

let model = null,
  before = null; // what an earlier run kept

window.driver = {
  open() {
    const { config, table } = JSON.parse(document.querySelector("#model").textContent);
    model = openModel(config, readWeights(table, toBytes(document.querySelector("#weights").textContent).buffer));
    return isFast();
  },
  weights: () => packed(model.tensors),
  // edits: [[point, [[kind, …arguments], …]], …].  from: whether to go on from the last run without it.
  run({ inputs, edits = [], from = false, points = null }) {
    const changes = new Map(
      edits.map(([name, list]) => [name, inTurn(...list.map(([kind, ...rest]) => EDITS[kind](...rest)))]),
    );
    const { num_hidden_layers: L } = model.config;
    let start;
    if (from) {
      const layer = unchangedState(changes.keys(), L);
      start = { layer, state: before.get(layer ? `encoder.layer.${layer - 1}` : "embeddings") };
    }
    const kept = model.run(inputs, { edits: changes, from: start, points });
    if (!from) before = kept;
    const heads = openRun(model);
    if (hasMlm(model) && !points) mlmLogits(model, kept.get("/last_hidden_state"), heads);
    if (hasNsp(model) && !points) nspLogits(model, kept.get("/pooler_output"), heads);
    return packed(new Map([...kept, ...heads.kept]));
  },
  // Milliseconds of each repetition of a run, of a run from hidden state `layer` with noise there, and of the logits of
  // one hidden state.
  times(inputs, layer, repetitions) {
    const point = layer ? `encoder.layer.${layer - 1}` : "embeddings",
      measured = { run: [], edited: [], logits: [] };
    const measure = (what, work) => {
      const start = performance.now();
      work();
      measured[what].push(performance.now() - start);
    };
    for (let i = 0; i < repetitions; i++) {
      let kept;
      measure("run", () => (kept = model.run(inputs)));
      const options = { edits: new Map([[point, addNoise(0.1 * i, 1, 0)]]), from: { layer, state: kept.get(point) } };
      measure("edited", () => model.run(inputs, options));
      if (hasMlm(model)) measure("logits", () => mlmLogits(model, kept.get("/last_hidden_state")));
    }
    return measured;
  },
  // x @ weightᵀ + bias, of as many rows and outputs, for numbers that follow a rule.
  product(rows, width, outputs, weight) {
    const numbers = (size, rule) => Float32Array.from({ length: size }, (_, i) => Math.sin(rule * i));
    const values = weight ? model.tensors.get(weight).values : numbers(outputs * width, 0.7);
    const y = linear(numbers(rows * width, 0.3), values, numbers(outputs, 1), rows, width, outputs);
    return packed(new Map([["y", { shape: [rows, outputs], values: y }]]));
  },
  // How often a caller gets a turn in one run.
  pauses(inputs) {
    let pauses = 0;
    for (const steps = model.steps(inputs); !steps.next().done; ) pauses++;
    return pauses;
  },
  // All float16 numbers, in the order of their bits.
  halves: () => toBase64(floatsOfHalves(Uint16Array.from({ length: 65536 }, (_, bits) => bits))),
  normal: (seed, stream, count) => Array.from(standardNormal(seed, stream, count)),
  erf: (numbers) => numbers.map(erf),
  // The sentence of an error, or null.
  fails(options) {
    try {
      this.run(options);
      return null;
    } catch (error) {
      return error.message;
    }
  },
};
