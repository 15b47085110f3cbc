// BERT's tokenizer: text to ids, tokens, offsets and words, the same as minibert/tokenizer/ gives.
//
// Added tokens such as [MASK] are found first (added_tokens.py); the text between them is cleaned and cut into words
// (basic.py), the words into pieces of the vocabulary (wordpiece.py), and the pieces are laid out as the row
// [CLS] A [SEP] B [SEP] (windows.py).  Start with `encode` at the end.
//
// A text is a list of characters {code, start, end}: a code point, and the span of the original text that it comes
// from, counted in code points and not in JavaScript's UTF-16 units.  Each rule maps such a list to another.

import { openUnicode } from "./unicode.js";

const SPACE = 0x20;
const CONTINUATION = "##";

// Half of a character, left by a broken decoding; no tokenizer reads it.  `position` counts code points.
export class LoneSurrogate extends Error {
  constructor(code, position, length) {
    const name = `U+${code.toString(16).toUpperCase()}`;
    super(`The text holds the lone surrogate ${name} at position ${position} of ${length}: half of a character.`);
    Object.assign(this, { code, position, length });
  }
}

function charactersOf(text) {
  return Array.from(text, (character, index) => ({ code: character.codePointAt(0), start: index, end: index + 1 }));
}

function textOf(characters) {
  return characters.map(({ code }) => String.fromCodePoint(code)).join("");
}

function refuseSurrogates(characters) {
  const position = characters.findIndex(({ code }) => code >= 0xd800 && code <= 0xdfff);
  if (position >= 0) throw new LoneSurrogate(characters[position].code, position, characters.length);
}

// The cleaning rules of one tokenizer, as a function from characters to characters.
function normalizerOf(settings, unicode) {
  const clean = (characters) =>
    characters
      .filter(({ code }) => !unicode.isRemoved(code))
      .map((character) => (unicode.isWhitespace(character.code) ? { ...character, code: SPACE } : character));

  // Chinese is written without spaces.
  const spaceOutChinese = (characters) =>
    characters.flatMap((character) => {
      const space = { ...character, code: SPACE };
      return unicode.isChinese(character.code) ? [space, character, space] : [character];
    });

  // NFD.  Sorting the marks moves characters but not spans: the k-th character that starts a decomposition takes the
  // k-th span.
  const decompose = (characters) => {
    const parts = characters.flatMap(({ code }) =>
      unicode.decompose(code).map((part, k) => ({ code: part, order: unicode.combiningClass(part), starts: k === 0 })),
    );
    let begin = 0;
    for (let i = 0; i <= parts.length; i++) {
      if (i < parts.length && parts[i].order !== 0) continue;
      if (i - begin > 1) {
        const marks = parts.slice(begin, i).sort((first, second) => first.order - second.order);
        marks.forEach((mark, k) => (parts[begin + k] = mark));
      }
      begin = i + 1;
    }
    let taken = 0;
    return parts.map(({ code, starts }) => {
      taken += starts;
      return { ...characters.at(taken - 1), code };
    });
  };

  const dropAccents = (characters) => characters.filter(({ code }) => !unicode.isNonspacingMark(code));

  const lower = (characters) =>
    characters.flatMap((character) => unicode.lowercase(character.code).map((code) => ({ ...character, code })));

  return (characters) => {
    let normalized = clean(characters);
    if (settings.tokenize_chinese_chars) normalized = spaceOutChinese(normalized);
    if (settings.strip_accents) normalized = dropAccents(decompose(normalized));
    if (settings.do_lower_case) normalized = lower(normalized);
    return normalized;
  };
}

// The words of a normalized text, split at spaces; every punctuation character is a word of its own.
function splitWords(characters, unicode) {
  const words = [];
  let begin = 0;
  for (let i = 0; i <= characters.length; i++) {
    const code = i < characters.length ? characters[i].code : SPACE;
    const isPunctuation = unicode.isPunctuation(code);
    if (code !== SPACE && !isPunctuation) continue;
    if (begin < i) words.push(characters.slice(begin, i));
    if (isPunctuation) words.push([characters[i]]);
    begin = i + 1;
  }
  return words;
}

// WordPiece: the longest entries of the vocabulary that match, from left to right; pieces inside a word begin with
// "##".  If one cannot be found, the whole word is unknown.
function wordPieceOf(settings, vocabulary) {
  const ids = new Map();
  let longest = 0;
  vocabulary.forEach((token, id) => {
    if (token === null) return;
    ids.set(token, id);
    longest = Math.max(longest, token.length);
  });
  // [{id, start, end}], start and end being those of characters in the word
  return (word) => {
    const unknown = [{ id: settings.unk_id, start: 0, end: word.length }];
    if (word.length > settings.max_characters_per_word) return unknown;
    const letters = word.map(({ code }) => String.fromCodePoint(code));
    const pieces = [];
    let start = 0;
    while (start < word.length) {
      const prefix = start ? CONTINUATION : "";
      let end = Math.min(word.length, start + longest),
        id;
      for (; end > start; end--) {
        id = ids.get(prefix + letters.slice(start, end).join(""));
        if (id !== undefined) break;
      }
      if (id === undefined) return unknown;
      pieces.push({ id, start, end });
      start = end;
    }
    return pieces;
  };
}

// Finds added tokens in a text: the left-most match, the longest if several begin there.  `formOf` gives the characters
// that are searched for.  The result maps characters to [{token, part}], in order and no part empty; the token is null
// for text between added tokens.
function finderOf(tokens, formOf, splitSpecial, unicode) {
  const byForm = new Map();
  for (const token of tokens) {
    const form = formOf(token);
    if (form.length) byForm.set(textOf(form), { token, codes: form.map(({ code }) => code) });
  }
  // The longest first, so that the first that matches is the longest.
  const forms = [...byForm.values()].sort((first, second) => second.codes.length - first.codes.length);
  const byFirst = new Map();
  for (const form of forms) byFirst.set(form.codes[0], [...(byFirst.get(form.codes[0]) ?? []), form]);

  const matchAt = (characters, at) =>
    byFirst.get(characters[at].code)?.find(({ codes }) => codes.every((code, k) => characters[at + k]?.code === code));
  const isWordAt = (characters, at) => at in characters && unicode.isWordCharacter(characters[at].code);
  const isSpaceAt = (characters, at) => at in characters && unicode.isWhiteSpace(characters[at].code);

  return (characters) => {
    const parts = [];
    let position = 0,
      at = 0;
    while (at < characters.length) {
      const match = matchAt(characters, at);
      if (!match) {
        at += 1;
        continue;
      }
      const token = match.token;
      let start = at,
        end = at + match.codes.length;
      at = end;
      if (token.special && splitSpecial) continue;
      const insideWord = isWordAt(characters, start - 1) || isWordAt(characters, end);
      if (token.single_word && insideWord) continue;
      if (token.lstrip) {
        while (start > position && isSpaceAt(characters, start - 1)) start -= 1;
        start = Math.max(start, position); // the previous token may have included these spaces
      }
      if (token.rstrip) while (isSpaceAt(characters, end)) end += 1;
      if (position < start) parts.push({ token: null, part: characters.slice(position, start) });
      if (start < end) parts.push({ token, part: characters.slice(start, end) });
      position = end;
    }
    if (position < characters.length) parts.push({ token: null, part: characters.slice(position) });
    return parts;
  };
}

// How many tokens of each text stay if `room` of all fit: the longer text is cut to the length of the shorter, then
// both; an odd token goes to the longer.
function longestFirst(first, second, room) {
  let short = Math.min(first, second),
    long = short > room ? short : Math.max(short, room - short);
  if (short + long > room) {
    short = Math.floor(room / 2);
    long = short + (room % 2);
  }
  return first > second ? [long, short] : [short, long];
}

// A tokenizer from what minibert/tokenizer/portable.py gives; vocabulary: at each id its token, or null.
export function openTokenizer(settings, vocabulary, tables) {
  const unicode = openUnicode(tables);
  const normalize = normalizerOf(settings, unicode),
    pieces = wordPieceOf(settings, vocabulary);
  const finder = (tokens, formOf) => finderOf(tokens, formOf, settings.split_special_tokens, unicode);
  const asWritten = (token) => charactersOf(token.content),
    asNormalized = (token) => normalize(asWritten(token));
  const findWritten = finder(settings.added.filter((token) => !token.normalized), asWritten);
  const findNormalized = finder(settings.added.filter((token) => token.normalized), asNormalized);
  const addedTexts = new Map(
    settings.added.map((token) => [token.id, token.normalized ? textOf(asNormalized(token)) : token.content]),
  );

  // The tokens of one text, [{id, token, span, word}], without [CLS] and [SEP].
  function tokensOf(text) {
    const characters = charactersOf(text);
    refuseSurrogates(characters);
    const tokens = [];
    let word = 0;
    const addWord = (...parts) => {
      for (const { id, token, part } of parts)
        tokens.push({ id, token, span: [part[0].start, part.at(-1).end], word });
      word += 1;
    };
    const addWhole = ({ id }, part) => addWord({ id, token: textOf(part), part });
    const addPieces = (letters) =>
      addWord(
        ...pieces(letters).map(({ id, start, end }) => ({
          id,
          token: vocabulary[id],
          part: letters.slice(start, end),
        })),
      );
    for (const { token, part } of findWritten(characters)) {
      if (token) addWhole(token, part);
      else
        for (const inner of findNormalized(normalize(part))) {
          if (inner.token) addWhole(inner.token, inner.part);
          else splitWords(inner.part, unicode).forEach(addPieces);
        }
    }
    return tokens;
  }

  // What of the texts fits into `room` tokens, cut at the tokenizer's truncation_side.
  function truncate(texts, room) {
    const total = texts.reduce((sum, tokens) => sum + tokens.length, 0);
    if (room < 0 || total <= room) return texts;
    const kept = texts.length > 1 ? longestFirst(texts[0].length, texts[1].length, room) : [room];
    return texts.map((tokens, k) => {
      if (kept[k] >= tokens.length) return tokens;
      const first = settings.truncation_side === "left" ? tokens.length - kept[k] : 0;
      return kept[k] ? tokens.slice(first, first + kept[k]) : [];
    });
  }

  return {
    maxLength: settings.max_length ?? Infinity, // of a row, as the tokenizer's files say
    mask: settings.mask, // {id, token}, or null
    unknownId: settings.unk_id, // of words that the vocabulary cannot spell

    // The token with that id, or null.
    tokenOf: (id) => addedTexts.get(id) ?? vocabulary[id] ?? null,

    // The row [CLS] text [SEP], or [CLS] text [SEP] second [SEP], of T tokens, at most `maxLength`.  Each list has T
    // entries; special: whether the token is a [CLS] or [SEP] of the layout; words: the index of the word in its text,
    // null for those; offsets: [start, end] in code points of its text; fullLength: T before the row was cut.
    encode(text, second = null, { maxLength = Infinity } = {}) {
      const whole = (second === null ? [text] : [text, second]).map(tokensOf);
      const specialCount = whole.length + 1;
      const texts = truncate(whole, maxLength - specialCount);
      const special = ({ id, token }) => ({ id, token, span: [0, 0], word: null, special: true });
      const row = [{ ...special(settings.cls), segment: 0 }];
      texts.forEach((tokens, segment) => {
        for (const token of tokens) row.push({ ...token, special: false, segment });
        row.push({ ...special(settings.sep), segment });
      });
      return {
        ids: row.map((token) => token.id), // (T)
        segments: row.map((token) => token.segment), // (T)
        tokens: row.map((token) => token.token), // (T)
        special: row.map((token) => token.special), // (T)
        words: row.map((token) => token.word), // (T)
        offsets: row.map((token) => token.span), // (T, 2)
        fullLength: whole.reduce((sum, tokens) => sum + tokens.length, specialCount),
      };
    },
  };
}
