// The steps inside one layer, in the order of computation: their names and explanations.  Their points, formulas and
// shapes are part of the page's data (explorer/steps.py).

import { page } from "./state.js";

export function steps() {
  return page().model.steps.map((step) => ({ ...step, ...WORDS[step.id] }));
}

const WORDS = {
  input: {
    name: "Input",
    text: "What layer k reads: hidden state k, one vector for each token; for layer 0 these are the embeddings.",
  },
  query: {
    name: "Query",
    text: "What this token looks for. The H numbers are N heads of D, and each head looks for something different.",
  },
  key: {
    name: "Key",
    text: "What each token is matched by. A query and a key that point in the same direction give a high score.",
  },
  value: {
    name: "Value",
    text: "What each token contributes to the tokens that attend to it.",
  },
  scores: {
    name: "Scores",
    text: "The dot product of this token's query with the key of every token, divided by √D so that scores do not grow with the head size.",
  },
  probabilities: {
    name: "Probabilities",
    text: "The softmax of the scores: the attention weights. Each row sums to 1.",
  },
  context: {
    name: "Context",
    text: "The values of all tokens, averaged with the probabilities as weights: what this head gathers for the token.",
  },
  attention_dense: {
    name: "Attention output: dense",
    text: "The contexts of all heads, concatenated and multiplied by one matrix, W_AO of attention.output.dense. From here on there are no heads.",
  },
  attention_residual: {
    name: "Attention output: residual",
    text: "The output of the attention is added to the layer's input: the first residual connection.",
  },
  attention_output: {
    name: "Attention output: LayerNorm",
    text: "Normalised to mean 0 and standard deviation 1 over the H numbers, then scaled and shifted by two learned vectors.",
  },
  neurons: {
    name: "Intermediate",
    text: "The first half of the feed-forward network: each token by itself, from H numbers to I neurons. The strongest are shown.",
  },
  output_dense: {
    name: "Output: dense",
    text: "The second half of the feed-forward network: from I neurons back to H numbers, by W_O of output.dense.",
  },
  output_residual: {
    name: "Output: residual",
    text: "The output of the feed-forward network is added to its input: the second residual connection.",
  },
  output: {
    name: "Output: LayerNorm",
    text: "Normalised once more: the layer's output, which the next layer reads.",
  },
};
