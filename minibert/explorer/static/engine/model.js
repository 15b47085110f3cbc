// BERT, from token ids to hidden states, in plain JavaScript: minibert/model.py once more, for one text at a time.
//
// Letters used in every shape comment, as there:
//   T tokens   H hidden size   N heads   D = H / N   I intermediate size   L layers   V vocabulary
//
// A value is a Float32Array, row by row.  Every value has a name, the one that minibert/points.py gives it, and passes
// through `run.point(name, values, ...shape)`, which keeps it and lets an edit replace it.  Replaced values are new
// arrays, never changed in place: several points may share one.
//
// Start with encode() for the whole, or with selfAttention() for the heart.

import { activation, add, layerNorm, softmax } from "./functions.js";
import { checkedInputs } from "./inputs.js";
import { linear } from "./linear.js";

const LOWEST = -3.4028234663852886e38; // of float32: what is added to the score of a token that is padding

// config: the object of config.json.  tensors: Map name in the checkpoint → {shape, values: Float32Array}.
export function openModel(config, tensors) {
  if ((config.position_embedding_type ?? "absolute") !== "absolute")
    throw new Error(`position_embedding_type is ${config.position_embedding_type}; the page has absolute positions.`);
  if (config.hidden_size % config.num_attention_heads)
    throw new Error(`${config.hidden_size} numbers cannot be split into ${config.num_attention_heads} heads.`);
  const model = {
    config,
    tensors,
    prefix: tensors.has("embeddings.word_embeddings.weight") ? "" : "bert.",
    activate: activation(config.hidden_act),
    steps: (inputs, options = {}) => encode(model, inputs, options),
    run: (inputs, options = {}) => finished(encode(model, inputs, options)),
  };
  model.hasPooler = tensors.has(`${model.prefix}pooler.dense.weight`);
  return model;
}

// Run a generator of steps to its end, without a pause.
export function finished(steps) {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

// The hidden state that the edits of these points leave as it is, so that a run can go on from it: 0 is the embeddings,
// L the last; null if an edit changes the embeddings themselves.
export function unchangedState(names, layers) {
  let lowest = layers;
  for (const name of names) {
    const [, number, rest] = /^encoder\.layer\.(\d+)(.*)$/.exec(name) ?? [];
    if (number !== undefined) lowest = Math.min(lowest, Number(number) + (rest ? 0 : 1));
    else if (name === "embeddings") lowest = 0;
    else if (name.startsWith("embeddings.")) return null;
  }
  return lowest;
}

// What dense layers, normalisations and points need in one run.  points: the names to keep, default all.
export function openRun(model, { edits = new Map(), points = null } = {}) {
  const wanted = points && new Set(points),
    kept = new Map(),
    missed = new Set(edits.keys());
  const weight = (name) => {
    const tensor = model.tensors.get(name);
    if (!tensor) throw new Error(`The checkpoint has no ${name}.`);
    return tensor.values;
  };
  const run = {
    kept,
    missed, // the edits of points that were not computed yet
    weight,
    // The value with which the run goes on.
    point(name, values, ...shape) {
      let value = values;
      if (edits.has(name)) {
        value = edits.get(name)(values, shape) ?? values; // an edit that returns nothing keeps the value
        if (!(value instanceof Float32Array) || value.length !== values.length)
          throw new Error(`The edit at ${name} gave no ${values.length} numbers of float32, as the value there has.`);
        missed.delete(name);
      }
      if (!wanted || wanted.has(name)) kept.set(name, { shape, values: value });
      return value;
    },
    // A module nn.Linear: (T, in) → (T, out).  shape: of the result.
    dense(name, x, shape, prefix = model.prefix) {
      const bias = weight(`${prefix}${name}.bias`),
        rows = shape.length > 1 ? shape[0] : 1;
      return run.point(
        name,
        linear(x, weight(`${prefix}${name}.weight`), bias, rows, x.length / rows, bias.length),
        ...shape,
      );
    },
    // A module nn.LayerNorm: (T, H) → (T, H).
    normalise(name, x, shape, prefix = model.prefix) {
      const [scale, shift] = [weight(`${prefix}${name}.weight`), weight(`${prefix}${name}.bias`)];
      return run.point(name, layerNorm(x, scale, shift, model.config.layer_norm_eps ?? 1e-12), ...shape);
    },
  };
  return run;
}

// The whole encoder, in steps: it pauses twice in each layer, so that a worker can look at its messages.  Returns Map
// name of a point → {shape, values}, in the order of computation.
//   inputs: {ids, segments, positions, mask}, each T numbers; all but ids may be missing.
//   options.edits: Map name of a point → function(values, shape) → the values to go on with.
//   options.from: {layer, state}: go on from hidden state number `layer` of an earlier run, {shape, values}; neither the
//     embeddings nor the layers below `layer` are computed.  Edits of that hidden state itself act.
//   options.points: the names to keep.
function* encode(model, inputs, { edits, from, points }) {
  const { config } = model,
    { num_hidden_layers: L, hidden_size: H } = config,
    text = checkedInputs(model, inputs),
    T = text.ids.length,
    run = openRun(model, { edits, points });
  if (from && (!(from.layer >= 0 && from.layer <= L) || from.state.values.length !== T * H))
    throw new Error(`A run goes on from hidden state 0 to ${L}, of ${T} tokens and ${H} numbers each.`);

  let hidden = from ? from.state.values : embeddings(model, run, text, T, H); // (T, H)
  const start = from ? from.layer : 0;
  hidden = run.point(start ? `encoder.layer.${start - 1}` : "embeddings", hidden, T, H);
  for (let number = start; number < L; number++) {
    yield;
    const layer = `encoder.layer.${number}`;
    const attention = attend(model, run, layer, hidden, text.mask); // (T, H)
    yield;
    hidden = run.point(layer, feedForward(model, run, layer, attention), T, H);
  }
  hidden = run.point("encoder/last_hidden_state", hidden, T, H);
  const pooled = model.hasPooler ? pool(run, hidden, H) : null; // (H)
  run.point("/last_hidden_state", hidden, T, H);
  if (pooled) run.point("/pooler_output", pooled, H);
  for (const name of run.missed) throw new Error(`${name} is edited, but it is not computed in this run.`);
  return run.kept;
}

// Word embedding + segment embedding + position embedding, normalised (Devlin et al. 2018, figure 2).
function embeddings({ prefix }, run, { ids, segments, positions }, T, H) {
  const rows = (name, numbers) => {
    const table = run.weight(`${prefix}${name}.weight`), // (V or 2 or the longest text, H)
      values = new Float32Array(T * H);
    numbers.forEach((number, t) => values.set(table.subarray(number * H, (number + 1) * H), t * H));
    return run.point(name, values, T, H);
  };
  const word = rows("embeddings.word_embeddings", ids),
    segment = rows("embeddings.token_type_embeddings", segments),
    position = rows("embeddings.position_embeddings", positions);
  const sum = run.point("embeddings.sum", add(add(word, segment), position), T, H);
  const normalised = run.normalise("embeddings.LayerNorm", sum, [T, H]);
  return run.point("embeddings.dropout", normalised, T, H); // dropout is for training: here it hands on
}

// Every token attends to all tokens, in N heads at once (Vaswani et al. 2017, section 3.2): (T, H) → (T, H).
function selfAttention({ config }, run, name, x, mask) {
  const { hidden_size: H, num_attention_heads: N } = config,
    D = H / N,
    T = x.length / H;
  const heads = (which) =>
    run.point(`${name}.${which}_heads`, splitHeads(run.dense(`${name}.${which}`, x, [T, H]), N, T, D), N, T, D);
  const query = heads("query"),
    key = heads("key"),
    value = heads("value"); // (N, T, D)

  const scores = perHead(N, T * T, (n) => linear(head(query, n, N), head(key, n, N), null, T, D, T)); // (N, T, T)
  const scaled = run.point(`${name}.scores`, scores.map((score) => score * D ** -0.5), N, T, T);
  const masked = mask ? scaled.map((score, i) => score + (mask[i % T] ? 0 : LOWEST)) : scaled;
  const allowed = run.point(`${name}.masked_scores`, masked, N, T, T);
  const softened = run.point(`${name}.probabilities`, softmax(allowed, T), N, T, T); // each row sums to 1
  const probabilities = run.point(`${name}.dropout`, softened, N, T, T);

  const mixed = perHead(N, T * D, (n) =>
    linear(head(probabilities, n, N), transposed(head(value, n, N), T, D), null, T, T, D),
  );
  const context = run.point(`${name}.context_heads`, mixed, N, T, D);
  const merged = run.point(`${name}.context`, mergeHeads(context, N, T, D), T, H);
  return run.point(name, merged, T, H);
}

// Self-attention, mix the heads, add the residual, normalise the sum: (T, H) → (T, H).
function attend(model, run, layer, x, mask) {
  const H = model.config.hidden_size,
    shape = [x.length / H, H],
    name = `${layer}.attention.output`;
  const context = selfAttention(model, run, `${layer}.attention.self`, x, mask);
  const output = residual(run, name, context, x, shape);
  return run.point(`${layer}.attention`, output, ...shape);
}

// H → I, the activation, I → H, the residual, the normalisation, token by token: (T, H) → (T, H).
function feedForward(model, run, layer, x) {
  const { hidden_size: H, intermediate_size: I } = model.config,
    T = x.length / H;
  const dense = run.dense(`${layer}.intermediate.dense`, x, [T, I]);
  const neurons = run.point(`${layer}.intermediate`, model.activate(dense), T, I);
  return residual(run, `${layer}.output`, neurons, x, [T, H]);
}

// LayerNorm(dense(x) + input): the end of both halves of a layer (post-LN, as in the 2017 paper).
function residual(run, name, x, input, shape) {
  const dense = run.dense(`${name}.dense`, x, shape);
  const dropped = run.point(`${name}.dropout`, dense, ...shape);
  const sum = run.point(`${name}.residual`, add(dropped, input), ...shape);
  return run.point(name, run.normalise(`${name}.LayerNorm`, sum, shape), ...shape);
}

// A dense layer on the vector of [CLS]: (T, H) → (H).
export function pool(run, hidden, H) {
  const dense = run.dense("pooler.dense", hidden.subarray(0, H), [H]);
  const activated = run.point("pooler.activation", dense.map(Math.tanh), H);
  return run.point("pooler", activated, H);
}

// The part of a value (N, …) that belongs to head n.
function head(values, n, N) {
  const size = values.length / N;
  return values.subarray(n * size, (n + 1) * size);
}

// N results of `size` numbers, one after the other.
function perHead(N, size, result) {
  const values = new Float32Array(N * size);
  for (let n = 0; n < N; n++) values.set(result(n), n * size);
  return values;
}

// (T, N · D) → (N, T, D).
function splitHeads(x, N, T, D) {
  const y = new Float32Array(x.length);
  for (let t = 0; t < T; t++)
    for (let n = 0; n < N; n++) y.set(x.subarray((t * N + n) * D, (t * N + n + 1) * D), (n * T + t) * D);
  return y;
}

// (N, T, D) → (T, N · D): the same exchange of two dimensions, the other way.
function mergeHeads(x, N, T, D) {
  return splitHeads(x, T, N, D);
}

// (T, D) → (D, T).
function transposed(x, T, D) {
  const y = new Float32Array(x.length);
  for (let t = 0; t < T; t++) for (let d = 0; d < D; d++) y[d * T + t] = x[t * D + d];
  return y;
}
