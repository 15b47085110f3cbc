// Character classes, decomposition and lower case, as minibert/tokenizer/characters.py defines them.
//
// A browser has tables of its own (\p{…}, normalize, toLowerCase), of whatever version of Unicode it was built with.
// A vocabulary does not change with the browser, so the tables come with the page; minibert/tokenizer/portable.py
// writes them and explains their notation.

// Hangul syllables are decomposed by arithmetic (Unicode standard, section 3.12): 19 initial consonants, 21 vowels,
// and 27 final consonants or none.
const FIRST_SYLLABLE = 0xac00,
  LAST_SYLLABLE = 0xd7a3,
  FIRST_INITIAL = 0x1100,
  FIRST_VOWEL = 0x1161,
  BEFORE_FINALS = 0x11a7,
  VOWELS = 21,
  FINALS = 28;

function decomposeHangul(code) {
  const index = code - FIRST_SYLLABLE;
  const final = index % FINALS,
    vowel = Math.floor(index / FINALS) % VOWELS,
    initial = Math.floor(index / FINALS / VOWELS);
  const jamo = [FIRST_INITIAL + initial, FIRST_VOWEL + vowel];
  return final ? [...jamo, BEFORE_FINALS + final] : jamo;
}

// "300-36f 483" → [[0x300, 0x36f, 1], [0x483, 0x483, 1]]; "100-12e/2" takes every second code point.
function rangesOf(text) {
  return text.split(" ").map((entry) => {
    const [range, step = "1"] = entry.split("/");
    const [first, last = first] = range.split("-");
    return [parseInt(first, 16), parseInt(last, 16), parseInt(step, 10)];
  });
}

// "41-5a>61 c0>41+300" → a Map from each code point to the list of those that it becomes.
function mappingOf(text) {
  const mapping = new Map();
  for (const entry of text.split(" ")) {
    const [source, target] = entry.split(">");
    const [[first, last, step]] = rangesOf(source);
    const becomes = target.split("+").map((code) => parseInt(code, 16));
    for (let code = first; code <= last; code += step)
      mapping.set(code, becomes.length > 1 ? becomes : [becomes[0] + code - first]);
  }
  return mapping;
}

// The functions that the tokenizer asks; every one takes a code point.
export function openUnicode(tables) {
  const names = Object.keys(tables.classes);
  const classes = new Uint8Array(0x110000); // one bit for each class that a code point belongs to
  names.forEach((name, bit) => {
    for (const [first, last] of rangesOf(tables.classes[name]))
      for (let code = first; code <= last; code++) classes[code] |= 1 << bit;
  });
  const isIn = (name) => {
    const mask = 1 << names.indexOf(name);
    return (code) => (classes[code] & mask) !== 0;
  };
  const combining = new Map();
  for (const [number, ranges] of Object.entries(tables.combining))
    for (const [first, last] of rangesOf(ranges))
      for (let code = first; code <= last; code++) combining.set(code, Number(number));
  const decompositions = mappingOf(tables.decompositions),
    lowercase = mappingOf(tables.lowercase);
  return {
    isRemoved: isIn("removed"), // controls, format characters, private use, NUL, U+FFFD: cleaning drops them
    isWhitespace: isIn("whitespace"), // becomes a plain space
    isChinese: isIn("chinese"), // ideographs, each a word of its own
    isNonspacingMark: isIn("nonspacing_mark"), // accents
    isPunctuation: isIn("punctuation"), // each a word of its own
    isWhiteSpace: isIn("white_space"), // what added tokens with lstrip or rstrip take; has U+000B and U+0085, too
    isWordCharacter: isIn("word"), // what may not stand beside an added token with single_word
    // Canonical decomposition (NFD): "é" → "e" + U+0301, "배" → "ᄇ" + "ᅢ".
    decompose(code) {
      if (code >= FIRST_SYLLABLE && code <= LAST_SYLLABLE) return decomposeHangul(code);
      return decompositions.get(code) ?? [code];
    },
    // 0 for a starter; NFD sorts the marks after a starter by their class.
    combiningClass: (code) => combining.get(code) ?? 0,
    // Without context: "Σ" is always "σ"; "İ" becomes "i" + U+0307.
    lowercase: (code) => lowercase.get(code) ?? [code],
  };
}
