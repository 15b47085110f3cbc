// Two texts compared: the words that occur in both, and every token against every token; explorer/views.py once more.

import { cosineTable, packed, hiddenStates, unitRows } from "./values.js";

const LETTER = /[\p{L}\p{N}]/u; // as str.isalnum, to the browser's version of Unicode

// first, second: {text, run, detail}.  The cosines with matched positions follow from addMatched.
export function compareTexts({ model }, first, second) {
  const H = model.hidden,
    units = [first, second].map(({ run, detail }) => run.hidden.map((x) => unitRows(x, detail.tokens, H)));
  const others = wordsOf(second);
  const words = wordsOf(first).flatMap(([word, positions]) =>
    others
      .filter(([name]) => name === word)
      .map(([, there]) => ({
        word,
        first: positions,
        second: there,
        cosines: wordCosines(first.run.hidden, second.run.hidden, positions, there, H),
        matched: null,
      })),
  );
  const shape = [model.layers + 1, first.detail.tokens, second.detail.tokens];
  return { words, tensors: { cosines: packed(shape, ...units[0].map((x, k) => cosineTable(x, units[1][k], H))) } };
}

// The words again, each with its cosines at matched positions: the text in which it comes earlier is run with its
// positions shifted, [CLS] staying at 0.  null beyond the longest words, and where the model has too few positions.
export function* matchedWords(explorer, first, second, words) {
  const { model, limits, config } = explorer,
    byOffset = new Map([[0, [first.run.hidden, second.run.hidden]]]),
    matched = new Map();
  const longest = [...words].sort((a, b) => lettersOf(b.word) - lettersOf(a.word));
  for (const entry of longest) {
    const offset = entry.first[0] - entry.second[0], // text 2 is shifted by it; text 1 if it is negative
      shifted = offset > 0 ? second : first;
    if (!byOffset.has(offset)) {
      if (byOffset.size > limits.matched || shifted.text.length + Math.abs(offset) > config.max_position_embeddings)
        continue;
      const { inputs, length } = shifted.text,
        positions = Array.from({ length }, (_, t) => (t ? t + Math.abs(offset) : 0)),
        states = yield* hiddenStates(explorer, { ...inputs, positions });
      byOffset.set(offset, offset > 0 ? [first.run.hidden, states] : [states, second.run.hidden]);
    }
    const [one, other] = byOffset.get(offset);
    matched.set(entry, wordCosines(one, other, entry.first, entry.second, model.hidden));
  }
  return words.map((entry) => ({ ...entry, matched: matched.get(entry) ?? null }));
}

function lettersOf(word) {
  return Array.from(word).length;
}

// The cosine, in every hidden state, between a word of the first text and one of the second; of pieces, their mean.
function wordCosines(first, second, positions, others, H) {
  return first.map((state, k) => {
    const pair = [unitRows(meanOf(state, positions, H), 1, H), unitRows(meanOf(second[k], others, H), 1, H)];
    return cosineTable(...pair, H)[0];
  });
}

function meanOf(state, positions, H) {
  const mean = new Float32Array(H);
  for (let i = 0; i < H; i++) mean[i] = positions.reduce((sum, t) => sum + state[t * H + i], 0) / positions.length;
  return mean;
}

// The words that contain a letter or digit, [name, positions]; of a word of several pieces also its first (배 of 배를).
function wordsOf({ text, detail }) {
  const { tokens, special } = text.described,
    positions = new Map(),
    named = [];
  for (let t = 0; t < detail.tokens; t++) {
    const word = text.words[t];
    if (word !== null && word !== undefined && !special[t]) positions.set(word, [...(positions.get(word) ?? []), t]);
  }
  for (const pieces of positions.values()) {
    const names = pieces.map((t) => tokens[t].replace(/^##/, ""));
    if (!names.some((name) => LETTER.test(name))) continue;
    named.push([names.join(""), pieces]);
    if (pieces.length > 1) named.push([names[0], [pieces[0]]]);
  }
  return named;
}
