// The two heads of pre-training: which token stands here (MLM), and does the second sentence follow (NSP).

import { linear } from "./linear.js";
import { openRun, pool } from "./model.js";

export function hasMlm(model) {
  return model.tensors.has("cls.predictions.transform.dense.weight");
}

export function hasNsp(model) {
  return model.tensors.has("cls.seq_relationship.weight");
}

// A score for every piece of the vocabulary: (rows, H) → (rows, V).  Rows are computed one by one, so a caller that
// has to answer between them passes a part of the tokens at a time.
export function mlmLogits(model, state, run = openRun(model, { points: [] })) {
  if (!hasMlm(model)) throw new Error("This checkpoint has no head that predicts tokens.");
  const { hidden_size: H, vocab_size: V } = model.config,
    rows = state.values.length / H,
    name = "cls.predictions.transform";
  const dense = run.dense(`${name}.dense`, state.values, [rows, H], "");
  const activated = run.point(`${name}.transform_act_fn`, model.activate(dense), rows, H);
  const normalised = run.normalise(`${name}.LayerNorm`, activated, [rows, H], "");
  const transformed = run.point(name, normalised, rows, H);
  const scores = linear(transformed, decoder(model), run.weight(biasOf(model)), rows, H, V);
  const decoded = run.point("cls.predictions.decoder", scores, rows, V);
  return { shape: [rows, V], values: run.point("cls.predictions", decoded, rows, V) };
}

// The decoder's weight (V, H) is the word embedding, unless the checkpoint has its own.
function decoder({ config, tensors, prefix }) {
  const own = tensors.get("cls.predictions.decoder.weight");
  const isTied = (config.tie_word_embeddings ?? true) || !own;
  return (isTied ? tensors.get(`${prefix}embeddings.word_embeddings.weight`) : own).values;
}

// The decoder's bias stands in checkpoints under either name, or both.
function biasOf({ tensors }) {
  return tensors.has("cls.predictions.decoder.bias") ? "cls.predictions.decoder.bias" : "cls.predictions.bias";
}

// The probability that the second text of a pair follows the first, from its last hidden state (T, H); null without the
// head.
export function nextSentence(model, hidden) {
  if (!model.hasPooler || !hasNsp(model)) return null;
  const run = openRun(model, { points: [] }),
    [follows, not] = nspLogits(model, { values: pool(run, hidden, model.config.hidden_size) }, run).values;
  return 1 / (1 + Math.exp(not - follows));
}

// Two scores, for "follows" and "does not follow": (H) → (2).
export function nspLogits(model, pooled, run = openRun(model, { points: [] })) {
  if (!hasNsp(model)) throw new Error("This checkpoint has no head that judges the next sentence.");
  return { shape: [2], values: run.dense("cls.seq_relationship", pooled.values, [2], "") };
}
