// The steps inside one layer, in the order of computation.  Which points they are, their formulas and shapes come with
// the page's data (explorer/steps.py); what the page calls each and says about it stands here.

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
    text: "What this token asks for. The H numbers are N heads of D, and each head asks something of its own.",
  },
  key: {
    name: "Key",
    text: "What each token can be found by. A query and a key that point the same way give a high score.",
  },
  value: {
    name: "Value",
    text: "What each token hands over to those who attend to it.",
  },
  scores: {
    name: "Scores",
    text: "How well the query of this token fits the key of every token. Divided by √D, so that the scores do not grow with the size of a head.",
  },
  probabilities: {
    name: "Probabilities",
    text: "The scores as shares of one whole: this is the attention. Each row sums to 1.",
  },
  context: {
    name: "Context",
    text: "The values of all tokens, mixed by the probabilities: what this head has gathered for the token.",
  },
  attention_dense: {
    name: "Attention output: dense",
    text: "The contexts of all heads side by side, mixed by one matrix, W_AO of attention.output.dense. From here on there are no heads.",
  },
  attention_residual: {
    name: "Attention output: residual",
    text: "The output of the attention is added to the layer's input: the first residual connection.",
  },
  attention_output: {
    name: "Attention output: LayerNorm",
    text: "Mean 0 and spread 1 over the H numbers, then stretched and moved by two learned vectors.",
  },
  neurons: {
    name: "Intermediate",
    text: "The first half of the feed-forward network: each token by itself, from H numbers to I neurons. Shown are those that fire strongest.",
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
