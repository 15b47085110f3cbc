// What the masked-language-modelling head predicts from every hidden state (logit lens): explorer/views.py.

import { hasMlm, mlmLogits } from "./heads.js";
import { indicesOfLargest, packed } from "./values.js";

const TOKENS_AT_ONCE = 8; // between two looks at the messages

// For the first `shown` tokens; [] where there is no head.  Returns L + 1 of {pieces, probabilities}, (shown, k) each.
//   base: those of the run without edits, which has the same hidden states before `start`.
export function* predictionsOf(explorer, { hidden, start }, shown, base = null) {
  const { engine, model, limits, tokenizer } = explorer,
    H = model.hidden,
    k = Math.min(limits.top_k, engine.config.vocab_size),
    found = [];
  if (!hasMlm(engine)) return found;
  for (const [depth, state] of hidden.entries()) {
    if (base && depth < start) {
      found.push(base[depth]);
      continue;
    }
    const pieces = [],
      probabilities = new Float32Array(shown * k);
    for (let from = 0; from < shown; from += TOKENS_AT_ONCE) {
      const to = Math.min(from + TOKENS_AT_ONCE, shown);
      const { values, shape } = mlmLogits(engine, { values: state.subarray(from * H, to * H) });
      for (let t = from; t < to; t++) {
        const logits = values.subarray((t - from) * shape[1], (t - from + 1) * shape[1]),
          best = indicesOfLargest(logits, k),
          most = logits[best[0]];
        let sum = 0;
        for (const logit of logits) sum += Math.exp(logit - most);
        best.forEach((id, place) => (probabilities[t * k + place] = Math.exp(logits[id] - most) / sum));
        pieces.push(best.map((id) => tokenizer.tokenOf(id)));
      }
      yield;
    }
    found.push({ pieces, probabilities });
  }
  return found;
}

// As an answer; without a head the reason why there are none.
export function packPredictions({ engine, model }, predicted, shown) {
  if (!hasMlm(engine)) return { reason: { key: "reason.no_head", places: { model: model.architecture } } };
  const parts = predicted.map(({ probabilities }) => probabilities);
  return {
    pieces: predicted.map(({ pieces }) => pieces),
    tensors: { probabilities: packed([parts.length, shown, parts[0].length / shown], ...parts) },
  };
}
