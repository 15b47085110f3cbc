// What the tests call in the browser: the engine with the weights that stand in the page, and tensors as base64.

import { addNoise, forceAttention, inTurn, zeroHeads } from "../../../minibert/explorer/static/engine/edits.js";
import { erf } from "../../../minibert/explorer/static/engine/functions.js";
import { hasMlm, hasNsp, mlmLogits, nspLogits } from "../../../minibert/explorer/static/engine/heads.js";
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
  return Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0));
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
    return model.tensors.size;
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
