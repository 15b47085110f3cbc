// The page's tokenizer where a test can call it.

import { LoneSurrogate, openTokenizer } from "../../../minibert/explorer/static/engine/tokenizer.js";

let tokenizer = null;

globalThis.open = (data) => {
  const { settings, vocabulary, tables } = JSON.parse(data);
  tokenizer = openTokenizer(settings, vocabulary, tables);
};

function encode([text, second], maxLength) {
  try {
    return tokenizer.encode(text, second, { maxLength: maxLength ?? Infinity });
  } catch (error) {
    if (!(error instanceof LoneSurrogate)) throw error;
    return { error: error.message };
  }
}

globalThis.encodeAll = (data) => {
  const { examples, maxLength } = JSON.parse(data);
  return JSON.stringify(examples.map((example) => encode(example, maxLength)));
};

globalThis.tokensOf = (ids) => ids.map((id) => tokenizer.tokenOf(id));
