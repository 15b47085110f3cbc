// A text, or a pair [A, B], as the model reads it: tokens, ids, segments, and which tokens form one word; explorer/text.py once more.

// An error that the page says in its own language: a key of its words, and the values of the places.
export class Refused extends Error {
  constructor(key, places = {}) {
    super(key);
    this.sentence = { key, places };
  }
}

const VISIBLE = /[^\s\x1c-\x1f\x85]|\ufeff/; // all but what Python's str.strip removes
const SCRIPTS = [
  // tried in this order: Japanese also uses Chinese characters
  ["ko", /[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]/],
  ["ja", /[\u3040-\u30ff]/],
  ["zh", /[\u3400-\u9fff]/],
  ["ar", /[\u0600-\u06ff]/],
  ["he", /[\u0590-\u05ff]/],
];

// Tokenize `text`, cut to what the model reads, with the mask token at the positions `masked`, in ascending order.
export function readText({ tokenizer, config, limits }, text, masked = []) {
  const parts = [text].flat(); // of a pair, two
  for (const part of parts) {
    const characters = Array.from(part).length;
    if (characters > limits.characters)
      throw new Refused("error.too_long", { length: characters, limit: limits.characters });
    if (!VISIBLE.test(part)) throw new Refused("error.empty");
  }
  const maxLength = Math.min(tokenizer.maxLength, config.max_position_embeddings),
    row = tokenizer.encode(parts[0], parts[1] ?? null, { maxLength }),
    ids = [...row.ids],
    tokens = [...row.tokens],
    mask = tokenizer.mask;
  for (const position of masked) {
    if (!(position in ids) || row.special[position]) throw new Refused("error.no_piece", { position });
    if (!mask) throw new Refused("error.no_mask");
    ids[position] = mask.id;
    tokens[position] = mask.token;
  }
  return {
    text,
    inputs: { ids, segments: row.segments },
    length: ids.length,
    words: row.words.map((word, t) => (row.ids[t] === tokenizer.unknownId ? null : word)), // null for unknown ones, too
    described: {
      text,
      language: SCRIPTS.find(([, letters]) => letters.test(parts.join(" ")))?.[0] ?? "",
      tokens,
      ids,
      segments: row.segments,
      positions: ids.map((_, position) => position),
      special: row.special,
      original_tokens: row.tokens,
      masked,
      mask_positions: ids.flatMap((id, position) => (mask && id === mask.id ? [position] : [])),
      full_length: row.fullLength,
    },
  };
}
