"""Texts on which tokenizers part: the hard cases one by one, and random mixtures of them.

Everything follows from a seed.  Start with ``hard_pieces``; each line is one kind of trouble.
"""

import random
import unicodedata
from collections.abc import Iterator, Sequence

from minibert.tokenizer import BertTokenizer

SENTENCES = (
    "나는 배를 타고 여행을 간다.",
    "이 영화 정말 재미있어요ㅋㅋㅋ ㅠㅠ!!",
    "The quick brown fox doesn't jump over the lazy dog's back; it costs $9.99 (20% off).",
    "Ça va, naïve café résumé? Ångström Übermut – señor",
    "中文和English混在一起。日本語のカタカナとひらがな、漢字",
    "Στο ΣΟΦΟΣ ΟΔΟΣ, Straße STRASSE, İstanbul ISPARTA ılık",
    "Привет, мир! Ёлка и йод",
    "हिन्दी किताबें ภาษาไทย עִבְרִית العَرَبِيَّة",
    "http://example.com/a_b-c?d=e&f=g#h name@example.org C++ C# <tag> {x} [y] `z` ~w ^v |u|",
)

KINDS: dict[str, tuple[str, ...]] = {
    "Hangul": ("배", "가", "한국어", "뷁", "힣", "ㅋㅋ", "ㅠ", "ㄱ", "ᄇ", "ᄇ\u1162",
        "\u1112\u1161\u11ab", "ﾡ", "㈀", "Ａ가"),
    "ideographs": ("中", "中文", "漢字", "李", "金", "㐀", "\U00020000", "\U0002a700", "\uf900",
        "\U0002f800", "〇", "々"),
    "kana": ("カ", "かな", "が", "か\u3099", "ｶ", "ー", "・", "ヴ", "ﾊﾞ"),
    "accents": ("é", "É", "e\u0301", "ü", "Å", "ñ", "ç", "naïve", "ệ", "e\u0323\u0302",
        "o\u0302\u0323", "й", "Ё", "ά", "ø", "ł", "đ"),
    "marks": ("\u0301", "a\u0300\u0301", "\u093e", "\u0903", "कि", "का", "\u20dd", "a\u20dd",
        "\u302e", "가\u302e", "\u05b4", "\ufe0f"),
    "compatibility": ("ﬁ", "½", "①", "Ａ", "ａ", "ℌ", "K", "Ω", "µ", "ª", "²", "…", "™", "㎏",
        "ｱ", "\u00a8", "ſ", "ĳ"),
    "controls": ("\x00", "\x01", "a\x02b", "\x1b", "\x7f", "\x85", "\x9f", "\x1c", "a\x1fb",
        "\ufffd", "a\ufffdb", "\x0b", "\x0c", "a\x0cb"),
    "format": ("\u200b", "a\u200bb", "\u200d", "a\u200db", "\u200c", "\u200e", "\u2060",
        "\ufeff", "a\ufeffb", "\u00ad", "a\u00adb", "\u061c"),
    "unassigned": ("\u0378", "a\u0378b", "\ue000", "a\ue000b", "\uffff"),
    "spaces": (" ", "  ", "\t", "a\tb", "\n", "a\nb", "\r\n", "a\rb", "\u00a0", "a\u00a0b",
        "\u1680", "\u2003", "a\u2003b", "\u2009", "\u202f", "\u205f", "\u3000", "a\u3000b",
        "\u2028", "a\u2028b", "\u2029", "a\u2029b"),
    "punctuation": (*"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "a-b", "a_b", "don't", "$5", "a+b",
        "a=b", "^a", "a~b", "`a`", "¿", "«a»", "a–b", "“a”", "…", "、", "。", "a。b", "！", "・",
        "‐", "٪", "؟", "।", "§", "¶", "·"),
    "symbols": ("€", "5€", "£", "¥", "₩", "°", "±", "×", "→", "a→b", "★", "©", "®", "♥", "√",
        "∞", "¬", "¦", "a©b", "´"),
    "emoji": ("😀", "a😀b", "👩‍👩‍👧", "🇰🇷", "👍🏽", "❤️", "1️⃣"),
    "case": ("A", "AB", "Hello", "HELLO", "hELLO", "İ", "I", "ı", "Σ", "ΑΣ", "ΣΑΣ Σ", "ς",
        "ẞ", "ß", "ŉ", "ǰ", "ΐ", "Ⅷ", "Ⓐ", "ǅ", "Ა", "Ꭰ", "ꭰ", "Ω", "K"),
    "digits": ("0", "1", "2024", "3.14", "١٢", "１２", "1,000"),
}  # fmt: skip
LENGTHS = (10, 20, 31, 32, 33, 49, 50, 51, 63, 64, 65, 99, 100, 101, 127, 128, 129, 199, 200, 201, 255, 256, 257, 400)


def special_texts(ours: BertTokenizer) -> list[str]:
    """Special tokens inside text, whole, broken and in another case."""
    texts = []
    for token in ours.all_special_tokens:
        texts += [token, f" {token} ", f"a{token}b", f"a {token} b", token.lower(), token.title(), token * 2]
        texts += [token[:-1], token[1:], f"[{token}]", f"{token}.", f"a {token}b"]
    return texts


def long_texts(vocab: Sequence[str]) -> list[str]:
    """Words around the usual limits, of several alphabets, and texts of very many pieces."""
    letters = [c for c in ("a", "e", "1") if c in vocab] or [next((t for t in vocab if len(t) == 1), "a")]
    known = set(vocab)
    wide = [t for t in vocab if len(t) == 1 and not t.isascii() and f"##{t}" in known]  # several bytes in UTF-8
    several = wide[:1] + [t for t in wide if t > "\u0800"][:1]
    texts = [c * length for c in [*letters, *several, "é", "가", "ー", "你"] for length in LENGTHS]
    texts += ["ab" * 50, "ab" * 51, "É" * 100, "가나다" * 34, "x" * 1000, f"{'a' * 100} {'b' * 101} c"]
    alphabet = [t for t in vocab if len(t) == 1 and t.isalnum()][:60] or letters
    for count in (20, 60, 126, 127, 255, 300, 510, 511, 600, 1030):
        texts.append(" ".join(alphabet[i * i % len(alphabet)] for i in range(count)))
    return texts


def hard_pieces(ours: BertTokenizer, texts: Sequence[str] = ()) -> list[str]:
    """The hard cases, each alone: what is known to be treated in different ways, and ``texts``."""
    singles = [piece for pieces in KINDS.values() for piece in pieces]
    forms = [unicodedata.normalize(form, text) for text in (*SENTENCES, *singles) for form in ("NFC", "NFD", "NFKC")]
    beside = [f"a{piece}b" for piece in singles if len(piece) == 1]
    words = [word for text in SENTENCES for word in text.split()]
    known = ["", *texts, *SENTENCES, *singles, *forms, *beside, *words, *special_texts(ours)]
    known += long_texts(list(ours.get_vocab()))
    return list(dict.fromkeys(known))


def of_vocabulary(ours: BertTokenizer, count: int, source: random.Random) -> list[str]:
    """Tokens of the vocabulary, evenly spaced, as they are and joined into words that need several pieces."""
    tokens = [token for token in ours.get_vocab() if token not in ours.all_special_tokens]
    step = max(1, len(tokens) // count)
    texts = [token.removeprefix("##") for token in tokens[source.randrange(step) :: step]]
    texts += [source.choice(texts) + source.choice(texts) for _ in texts[: count // 2]]
    texts += [text.upper() for text in texts[:: max(1, len(texts) // 40)]]
    whole = [token for token in tokens if not token.startswith("##")]
    texts += [" ".join(whole[i : i + 40]) for i in range(0, len(whole), 40)]  # every line that begins a word
    return list(dict.fromkeys(texts))


def mixtures(pieces: Sequence[str], source: random.Random) -> Iterator[str]:
    """Without end: a few of ``pieces`` beside each other, with and without spaces, some in another case."""
    short = [piece for piece in pieces if 0 < len(piece) <= 12]
    while True:
        parts = [source.choice(short) for _ in range(source.randint(1, 6))]
        if source.random() < 0.2:
            parts = [source.choice((part.upper(), part.lower(), part.title())) for part in parts]
        if source.random() < 0.03:
            parts.append(source.choice("aeé가") * source.choice(LENGTHS))
        yield source.choice(("", " ", " ", "")).join(parts)
