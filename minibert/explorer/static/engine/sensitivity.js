// Sensitivity of output j to noise at input i, √(mean of ‖Δ_j‖² / ‖ε_i‖²): minibert/lens/noise.py once more, in its two
// modes.  "single": noise at the embeddings, every later layer is measured.  "per_layer": noise at the input of each
// layer, and only the output of that layer is measured.

import { editsInLayer } from "./interventions.js";
import { standardNormal } from "./random.js";
import { packed, hiddenStates } from "./values.js";

const SEED = 0;

// Yields {done, total}, in runs of the model.
export function* sensitivityMaps(explorer, inputs, shown, edits) {
  const { engine, model, limits } = explorer,
    { layers: L, hidden: H } = model,
    { samples, std } = limits,
    clean = yield* hiddenStates(explorer, inputs, { edits }),
    total = 2 * shown * samples;
  const tensors = {};
  let done = 0;
  for (const mode of ["single", "per_layer"]) {
    const sums = Array.from({ length: L }, () => new Float64Array(shown * shown));
    for (let position = 0; position < shown; position++)
      for (let sample = 0; sample < samples; sample++) {
        const drawn = standardNormal(SEED, position * samples + sample, (mode === "single" ? 1 : L) * H);
        const noise = Float32Array.from(drawn, (value) => Math.fround(value) * Math.fround(std));
        for (let layer = 0; layer < L; layer++) {
          if (mode === "single" && layer) break;
          const own = noise.subarray(layer * H, (layer + 1) * H),
            state = { values: withNoise(clean[layer], own, position) },
            size = squares(own);
          const outputs =
            mode === "single"
              ? (yield* hiddenStates(explorer, inputs, { edits, from: { layer: 0, state } })).slice(1)
              : [yield* outputOf(engine, inputs, edits, layer, state)];
          outputs.forEach((output, k) => {
            const of = mode === "single" ? k : layer;
            for (let t = 0; t < shown; t++)
              sums[of][position * shown + t] += squaredChange(output, clean[of + 1], t * H, (t + 1) * H) / size;
          });
        }
        yield { done: ++done, total };
      }
    tensors[mode] = packed([L, shown, shown], ...sums.map((x) => Float32Array.from(x, (sum) => Math.sqrt(sum / samples))));
  }
  return { std, samples, seed: SEED, tensors };
}

// The output of one layer alone: the run is left as soon as it is there.
function* outputOf(engine, inputs, edits, layer, state) {
  let output = null;
  const watch = new Map([[`encoder.layer.${layer}`, (values) => void (output = values)]]);
  const steps = engine.steps(inputs, {
    edits: new Map([...editsInLayer(edits, layer), ...watch]),
    from: { layer, state },
    points: [],
  });
  while (!output && !steps.next().done) yield;
  steps.return();
  return output;
}

function withNoise(state, noise, position) {
  const values = state.slice(),
    H = noise.length;
  for (let i = 0; i < H; i++) values[position * H + i] += noise[i];
  return values;
}

function squares(x) {
  let sum = 0;
  for (const value of x) sum += value * value;
  return sum;
}

function squaredChange(x, y, from, to) {
  let sum = 0;
  for (let i = from; i < to; i++) sum += (x[i] - y[i]) ** 2;
  return sum;
}
