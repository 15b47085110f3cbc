// The values of one run, and their form in an answer: explorer/values.py once more.
//
// A run is kept layer by layer, so that a run with edits shares the layers before the first edit.

import { unchangedState } from "./model.js";

// {inputs, hidden: L + 1 of (T, H), embeddings: {name: (T, H)}, layers: L of {id of a step: values}}
//   base: the run of the same text without edits; its layers before the first edit are not computed again.
export function* runOf(explorer, inputs, { edits = new Map(), base = null } = {}) {
  const { engine, model, limits } = explorer,
    L = model.layers,
    start = base ? unchangedState([...edits.keys()], L) : 0,
    stored = storedSteps(model),
    state = (k) => (k ? `encoder.layer.${k - 1}` : "embeddings");
  const points = [];
  for (let k = start; k <= L; k++) points.push(state(k));
  for (let k = start; k < L; k++) for (const { point } of stored) points.push(`encoder.layer.${k}.${point}`);
  if (!base) points.push(...Object.values(limits.embedding_points));
  const from = base && { layer: start, state: { values: base.hidden[start] } };
  const kept = yield* engine.steps(inputs, { edits, points, from });
  const values = (name) => kept.get(name).values;
  const each = (count, before, computed) => Array.from({ length: count }, (_, k) => (k < start ? before(k) : computed(k)));
  return {
    start, // the first hidden state that differs from the base run's
    hidden: each(L + 1, (k) => base.hidden[k], (k) => values(state(k))),
    embeddings: base
      ? base.embeddings
      : Object.fromEntries(Object.entries(limits.embedding_points).map(([name, point]) => [name, values(point)])),
    layers: each(
      L,
      (k) => base.layers[k],
      (k) => Object.fromEntries(stored.map(({ id, point }) => [id, values(`encoder.layer.${k}.${point}`)])),
    ),
  };
}

// The hidden states 0 … L alone; `options` are those of the engine.
export function* hiddenStates({ engine, model }, inputs, options = {}) {
  const start = options.from?.layer ?? 0,
    names = Array.from({ length: model.layers + 1 }, (_, k) => (k ? `encoder.layer.${k - 1}` : "embeddings"));
  const kept = yield* engine.steps(inputs, { ...options, points: names.slice(start) });
  return names.slice(start).map((name) => kept.get(name).values);
}

// The steps of a layer whose values are kept: {id, kind, point}; of heads, the values before the split.
function storedSteps({ steps }) {
  return steps
    .filter(({ kind }) => !["input", "output"].includes(kind))
    .map(({ id, kind, point }) => ({ id, kind, point: point.replace(/_heads$/, "") }));
}

// A tensor of an answer: parts of equal size, one after the other.
export function packed(shape, ...parts) {
  const first = parts[0] ?? new Float32Array(0),
    values = new first.constructor(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    values.set(part, at);
    at += part.length;
  }
  return { shape, dtype: values instanceof Int32Array ? "int32" : "float32", values };
}

// What `detail` keeps of a run, as an answer; all but its projection.
export function packRun({ model, limits }, run, detail) {
  const { hidden: H, heads: N, layers: L } = model,
    { tokens, numbers } = detail,
    stored = storedSteps(model),
    tensors = {};
  const vectors = (name, parts, lead, { byHead = false, kept = true } = {}) => {
    tensors[`${name}_statistics`] = packed([...lead, tokens, 3], ...parts.map((x) => statistics(x, tokens, H)));
    if (!kept) return;
    const shorten = (x) => (byHead ? firstOfHeads(x, tokens, H, N, numbers) : firstNumbers(x, tokens, H, numbers));
    tensors[name] = packed([...lead, tokens, numbers], ...parts.map(shorten));
  };
  for (const [name, x] of Object.entries(run.embeddings)) vectors(name, [x], []);
  vectors("hidden", run.hidden, [L + 1]);
  for (const { id, kind } of stored) {
    const parts = run.layers.map((layer) => layer[id]);
    if (kind === "scores" || kind === "probabilities") {
      if (kind === "probabilities" || detail.scores)
        tensors[id] = packed([L, N, tokens, tokens], ...parts.map((x) => corners(x, N, tokens)));
    } else if (kind === "neurons") packNeurons(tensors, parts, tokens, model.intermediate, limits.neurons);
    else vectors(id, parts, [L], { byHead: kind === "head", kept: kind !== "sum" });
  }
  tensors.norms = packed([L + 1, tokens], ...run.hidden.map((x) => normsOf(x, tokens, H)));
  const units = run.hidden.map((x) => unitRows(x, tokens, H));
  tensors.cosines = packed([L + 1, tokens, tokens], ...units.map((x) => cosineTable(x, x, H)));
  return { shown: tokens, numbers, dtype: "float32", tensors };
}

// ‖edited − original‖ / ‖original‖ of every hidden state, (L + 1, tokens).
export function relativeChange(edited, original, tokens, H) {
  const parts = edited.map((values, k) => {
    if (values === original[k]) return new Float32Array(tokens);
    const size = normsOf(original[k], tokens, H);
    return normsOf(values.map((value, i) => value - original[k][i]), tokens, H).map((n, t) => n / Math.max(size[t], 1e-12));
  });
  return packed([edited.length, tokens], ...parts);
}

// (T, H) → norm, mean and standard deviation of each of the first tokens.
function statistics(x, tokens, H) {
  const y = new Float32Array(tokens * 3);
  for (let t = 0; t < tokens; t++) {
    let square = 0,
      sum = 0,
      variance = 0;
    for (let i = t * H; i < (t + 1) * H; i++) {
      square += x[i] * x[i];
      sum += x[i];
    }
    for (let i = t * H; i < (t + 1) * H; i++) variance += (x[i] - sum / H) ** 2;
    y.set([Math.sqrt(square), sum / H, Math.sqrt(variance / H)], t * 3);
  }
  return y;
}

function normsOf(x, tokens, H) {
  const y = new Float32Array(tokens);
  for (let t = 0; t < tokens; t++) {
    let square = 0;
    for (let i = t * H; i < (t + 1) * H; i++) square += x[i] * x[i];
    y[t] = Math.sqrt(square);
  }
  return y;
}

function firstNumbers(x, tokens, H, numbers) {
  const y = new Float32Array(tokens * numbers);
  for (let t = 0; t < tokens; t++) y.set(x.subarray(t * H, t * H + numbers), t * numbers);
  return y;
}

// The first numbers of every head, equally many of each.
function firstOfHeads(x, tokens, H, N, numbers) {
  const width = H / N,
    each = Math.floor(numbers / N),
    y = new Float32Array(tokens * each * N);
  for (let t = 0; t < tokens; t++)
    for (let n = 0; n < N; n++) {
      const start = t * H + n * width;
      y.set(x.subarray(start, start + each), (t * N + n) * each);
    }
  return y;
}

// (N, T, T) → (N, tokens, tokens).
function corners(x, N, tokens) {
  const T = Math.round(Math.sqrt(x.length / N));
  const y = new Float32Array(N * tokens * tokens);
  for (let n = 0; n < N; n++)
    for (let t = 0; t < tokens; t++) {
      const start = (n * T + t) * T;
      y.set(x.subarray(start, start + tokens), (n * tokens + t) * tokens);
    }
  return y;
}

// The neurons furthest from 0 of each token, in descending order, with their numbers; and how many are above 0.
function packNeurons(tensors, layers, tokens, I, most) {
  const count = Math.min(most, I),
    lead = [layers.length, tokens],
    size = layers.length * tokens;
  const values = new Float32Array(size * count),
    numbers = new Int32Array(size * count),
    active = new Float32Array(size);
  layers.forEach((x, layer) => {
    for (let t = 0; t < tokens; t++) {
      const place = layer * tokens + t,
        row = x.subarray(t * I, (t + 1) * I);
      const best = indicesOfLargest(row.map(Math.abs), count);
      numbers.set(best, place * count);
      values.set(best.map((number) => row[number]), place * count);
      let above = 0;
      for (const value of row) if (value > 0) above += 1;
      active[place] = above / I;
    }
  });
  tensors.neuron_values = packed([...lead, count], values);
  tensors.neuron_numbers = packed([...lead, count], numbers);
  tensors.neurons_active = packed(lead, active);
}

// The indices of the `count` largest numbers, in descending order.
export function indicesOfLargest(numbers, count) {
  const best = [];
  for (let i = 0; i < numbers.length; i++) {
    if (best.length === count && numbers[i] <= numbers[best[count - 1]]) continue;
    let place = best.length;
    while (place > 0 && numbers[best[place - 1]] < numbers[i]) place -= 1;
    best.splice(place, 0, i);
    if (best.length > count) best.pop();
  }
  return best;
}

// (T, H) → the first tokens' vectors at length 1.
export function unitRows(x, tokens, H) {
  const y = x.slice(0, tokens * H),
    size = normsOf(x, tokens, H);
  for (let i = 0; i < y.length; i++) y[i] /= Math.max(size[Math.floor(i / H)], 1e-12);
  return y;
}

// (S, H), (T, H) of length 1 → (S, T).
export function cosineTable(first, second, H) {
  const S = first.length / H,
    T = second.length / H,
    y = new Float32Array(S * T);
  for (let s = 0; s < S; s++)
    for (let t = 0; t < T; t++) {
      let sum = 0;
      for (let i = 0; i < H; i++) sum += first[s * H + i] * second[t * H + i];
      y[s * T + t] = sum;
    }
  return y;
}
