"""Hunt for a text on which minibert's tokenizer and the ``tokenizers`` library differ: ids, offsets, words, tokens.

    python scripts/tools/fuzz_tokenizer.py --count 200000 --seed 0  adversarial strings over real vocabularies
    python scripts/tools/fuzz_tokenizer.py --code-points            every Unicode code point, alone and between letters
    python scripts/tools/fuzz_tokenizer.py --added --count 200000   random sets of added tokens in such strings
    python scripts/tools/fuzz_tokenizer.py --added --code-points    every code point beside two of the 32 kinds
                                                                    (--seed 0 to 31 give each code point all kinds)
    python scripts/tools/fuzz_tokenizer.py --tables                 print minibert/tokenizer/unicode_tables.py anew

Needs the ``tokenizers`` package (the "test" extra); the real vocabularies are looked for in ../shared/vocab and a small
one stands in when they are absent.  Prints progress to stderr and the number of mismatches; exits 1 unless it is 0.
"""

import argparse
import random
import sys
import textwrap
import time
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

from tokenizers import AddedToken as TheirToken
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from minibert.tokenizer import AddedToken, BertTokenizer  # noqa: E402
from minibert.tokenizer import characters as ch  # noqa: E402
from minibert.tokenizer import unicode_tables as tables  # noqa: E402
from minibert.tokenizer.files import read_vocab  # noqa: E402

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CODE_POINTS = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
RULES = [  # do_lower_case, strip_accents, tokenize_chinese_chars
    (True, None, True),
    (False, None, True),
    (True, False, True),
    (False, True, True),
    (True, True, False),
    (False, False, False),
]
Rules = tuple[bool, bool | None, bool]


def find_vocabularies() -> dict[str, dict[str, int]]:
    """A small vocabulary of single characters and a few words, and the real ones that lie beside the repository."""
    folder = ROOT.parent / "shared" / "vocab"
    found = {path.parent.name: read_vocab(path) for path in sorted(folder.glob("*/vocab.txt"))}
    return {"small": small_vocabulary(), **found}


def small_vocabulary() -> dict[str, int]:
    """Enough to spell many scripts: specials, words, and single characters of the first planes with and without ##."""
    letters = [chr(c) for c in CODE_POINTS[0x21:0x600] if chr(c).isprintable()]
    letters += [chr(c) for c in [*range(0x1100, 0x1200), *range(0x3040, 0x3100), *range(0x4E00, 0x4E80)]]
    words = ["un", "##want", "##ed", "runn", "##ing", "hello", "world", "the", "가", "배", "##를", "ᄇ", "##ᅢ"]
    letters += [chr(c) for name in ("KEPT_MARKS", "INERT", "NONSPACING_MARKS") for c in expand(getattr(tables, name))]
    tokens = [*SPECIALS, *words, *letters, *(f"##{letter}" for letter in letters)]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def letter_vocabulary() -> dict[str, int]:
    """Every character that a rule could change to, alone and as a continuation: no difference hides behind [UNK]."""
    letters = [c for c in map(chr, CODE_POINTS) if unicodedata.category(c) not in ("Cn", "Co") and not ch.is_chinese(c)]
    letters = [c for c in letters if not "가" <= c <= "힣"] + list(map(chr, expand(tables.INERT)))
    letters += [c.lower() for c in letters] + [ch.lowercase(c) for c in letters]
    tokens = [*SPECIALS, *letters, *(f"##{letter}" for letter in letters)]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def oracle_of(vocab: dict[str, int], rules: Rules) -> Tokenizer:
    """The library's BERT pipeline, put together by hand."""
    lower, strip, chinese = rules
    oracle = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    oracle.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=chinese, strip_accents=strip, lowercase=lower
    )
    oracle.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    oracle.decoder = decoders.WordPiece(prefix="##")
    oracle.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, vocab[token]) for token in ("[CLS]", "[SEP]")],
    )
    oracle.add_special_tokens(SPECIALS)
    return oracle


def ours_of(vocab: dict[str, int], rules: Rules) -> BertTokenizer:
    """Our tokenizer with the same rules."""
    lower, strip, chinese = rules
    return BertTokenizer(vocab, do_lower_case=lower, strip_accents=strip, tokenize_chinese_chars=chinese)


def differences(ours: BertTokenizer, oracle: Tokenizer, texts: list[str]) -> Iterator[str]:
    """A line for each text that comes out differently, on the readable path or on the fast one."""
    batch = ours(texts, return_offsets_mapping=True)
    for i, (text, theirs) in enumerate(zip(texts, oracle.encode_batch(texts), strict=True)):
        row = batch[i]
        pairs = {
            "fast ids": (batch["input_ids"][i], theirs.ids),
            "readable ids": ([ours.cls_token_id, *row._sequences[0].tokenized.ids, ours.sep_token_id], theirs.ids),
            "offsets": (batch["offset_mapping"][i], theirs.offsets),
            "words": (row.word_ids, theirs.word_ids),
            "tokens": (row.tokens, theirs.tokens),
            "segments": (row.type_ids, theirs.type_ids),
            "specials": (row.special_tokens_mask, theirs.special_tokens_mask),
        }
        wrong = [f"{name}: ours {mine} theirs {other}" for name, (mine, other) in pairs.items() if mine != other]
        if wrong:
            yield f"{text!r} ({text!a}): {'; '.join(wrong)}"


def expand(ranges: str) -> list[int]:
    """The code points of a table's "300-36f 483" notation."""
    codes: list[int] = []
    for entry in ranges.split():
        first, _, last = entry.partition("-")
        codes += range(int(first, 16), int(last or first, 16) + 1)
    return codes


class Strings:
    """Adversarial strings: each is a handful of pieces drawn from pools that are known to cause trouble."""

    def __init__(self, vocab: dict[str, int], seed: int) -> None:
        self.random = random.Random(seed)
        self.tokens = [token.removeprefix("##") for token in vocab]
        self.assigned = [code for code in CODE_POINTS if unicodedata.category(chr(code)) not in ("Cn", "Co")]
        small = {"REMOVED": expand(tables.REMOVED.replace("f0000-ffffd", "").replace("100000-10fffd", ""))}
        names = ("WHITESPACE", "NONSPACING_MARKS", "PUNCTUATION", "INERT", "KEPT_MARKS")
        self.pools = [*small.values(), *(expand(getattr(tables, name)) for name in names)]
        self.marks = expand(tables.NONSPACING_MARKS)
        self.pools += [
            list(range(0x20, 0x7F)),
            list(range(0xA0, 0x250)),
            list(range(0x370, 0x530)),
            list(range(0x1E00, 0x2000)),
            list(range(0x1100, 0x1200)),
            list(range(0x3000, 0x3100)),
            [int(entry.split(">")[0].split("-")[0], 16) for entry in tables.NEWER_LOWERCASE.split()],
            [0x130, 0x131, 0x3A3, 0x3C2, 0x1E9E, 0xDF, 0x149, 0x1F0, 0x390, 0xFB01, 0x212A, 0x2126, 0x37E, 0x1FEF],
        ]

        self.kinds = [self._token] * 3 + [self._from_pool] * 3
        self.kinds += [
            self._assigned,
            self._any,
            self._hangul,
            self._chinese,
            self._trap,
            self._accented,
            self._reordered,
        ]

    def _token(self) -> str:
        token = self.random.choice(self.tokens)
        return self.random.choice([token, token.upper(), token.title(), unicodedata.normalize("NFD", token)])

    def _from_pool(self) -> str:
        pool = self.random.choice(self.pools)
        return "".join(chr(self.random.choice(pool)) for _ in range(self.random.randint(1, 4)))

    def _assigned(self) -> str:
        return "".join(chr(self.random.choice(self.assigned)) for _ in range(self.random.randint(1, 3)))

    def _any(self) -> str:
        return chr(self.random.choice(CODE_POINTS))

    def _hangul(self) -> str:
        return "".join(chr(self.random.randint(0xAC00, 0xD7A3)) for _ in range(self.random.randint(1, 4)))

    def _chinese(self) -> str:
        return chr(self.random.randint(0x3400, 0x9FFF))

    def _trap(self) -> str:
        traps = ["[mask]", "[MASK", "[[SEP]]", "##ing", "##", "x" * 100, "y" * 101, "don't"]
        return self.random.choice([*SPECIALS, *traps])

    def _reordered(self) -> str:
        """A letter under marks that NFD puts in order, drops, or must leave alone."""
        pools = [self.marks, expand(tables.KEPT_MARKS), expand(tables.INERT)]
        marks = [chr(self.random.choice(self.random.choice(pools))) for _ in range(self.random.randint(2, 5))]
        return self.random.choice("aé가") + "".join(marks)

    def _accented(self) -> str:
        return self.random.choice(["a", "b", "e", "o", "Σ", "İ"]) + chr(self.random.choice(self.marks))

    def one(self) -> str:
        """One string of up to twelve pieces, with or without spaces between."""
        pieces = [self.random.choice(self.kinds)() for _ in range(self.random.randint(0, 12))]
        return self.random.choice(["", " ", "", "\n"]).join(pieces)


def code_point_stretches() -> Iterator[str]:
    """Every code point alone and between letters; those with a character also among accents that NFD reorders."""
    for code in CODE_POINTS:
        c = chr(code)
        yield c
        yield f"a{c}b"
        if unicodedata.category(c) not in ("Cn", "Co", "Lo"):
            yield f"é{c}\u0323\u302e{c}A"


def code_point_texts() -> Iterator[str]:
    """The stretches a few at a time, spaces between, since a call has its own cost."""
    stretches = code_point_stretches()
    while group := list(islice(stretches, 50)):
        yield " ".join(group)


def fuzz(count: int, seed: int, code_points: bool, show: int = 10) -> int:
    """Run; returns the number of texts that differ."""
    vocabularies = {"every letter": letter_vocabulary()} if code_points else find_vocabularies()
    pairs = [(name, rules) for name in vocabularies for rules in (RULES[:3] if code_points else RULES)]
    mismatches = done = 0
    started = time.perf_counter()
    for number, (name, rules) in enumerate(pairs):
        vocab = vocabularies[name]
        ours, oracle = ours_of(vocab, rules), oracle_of(vocab, rules)
        strings = Strings(vocab, seed * 1000 + number)
        share = count // len(pairs) + (number < count % len(pairs))
        source = code_point_texts() if code_points else (strings.one() for _ in range(share))
        batch: list[str] = []
        for text in _with_end(source):
            if text is not None:
                batch.append(text)
            if len(batch) == 2000 or (text is None and batch):
                for line in differences(ours, oracle, batch):
                    mismatches += 1
                    if mismatches <= show:
                        print(f"{name} {rules}: {line}")
                done += len(batch)
                batch = []
        seconds = time.perf_counter() - started
        print(f"{done} strings, {mismatches} mismatches, {seconds:.0f} s: {name} {rules}", file=sys.stderr)
    return mismatches


def _with_end(items: Iterable[str]) -> Iterator[str | None]:
    yield from items
    yield None


FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
KINDS = [dict(zip(FLAGS, values, strict=True)) for values in product((False, True), repeat=len(FLAGS))]


def with_added_kinds(vocab: dict[str, int], rules: Rules) -> tuple[BertTokenizer, Tokenizer, list[str]]:
    """Both tokenizers with one added token of each of the 32 kinds, and the contents of these tokens."""
    ours, oracle = ours_of(vocab, rules), oracle_of(vocab, rules)
    contents = [f"<K{number:x}>" for number in range(len(KINDS))]
    ours.add_tokens([AddedToken(c, **kind) for c, kind in zip(contents, KINDS, strict=True)])
    oracle.add_tokens([TheirToken(c, **kind) for c, kind in zip(contents, KINDS, strict=True)])
    return ours, oracle, contents


def added_texts(codes: Iterable[int], contents: list[str], beside: int, seed: int = 0) -> Iterator[str]:
    """Each code point before, after and between ``beside`` added tokens; the kinds take turns, from ``seed`` on."""
    number = seed
    remaining = iter(codes)
    while group := list(islice(remaining, max(1, 64 // beside))):
        stretches = []
        for c in map(chr, group):
            for _ in range(beside):
                first, second = contents[number % len(contents)], contents[number * 7 % len(contents)]
                stretches.append(f"{c}{first}{c}{second} {c}")
                number += 1
        yield " b".join(stretches)


def sweep_added(codes: Iterable[int], beside: int, rules: Iterable[Rules], seed: int = 0, show: int = 10) -> int:
    """Every code point of ``codes`` beside added tokens; returns the number of texts that differ."""
    codes, mismatches = list(codes), 0
    for number, rule in enumerate(rules):
        ours, oracle, contents = with_added_kinds(small_vocabulary(), rule)
        oracle.encode_special_tokens = ours.split_special_tokens = number % 2 == 1
        texts = added_texts(codes, contents, beside, seed)
        while batch := list(islice(texts, 1000)):
            for line in differences(ours, oracle, batch):
                mismatches += 1
                if mismatches <= show:
                    print(f"{rule}: {line}")
        print(f"{len(codes)} code points, {mismatches} mismatches: {rule}", file=sys.stderr)
    return mismatches


class AddedTokens:
    """Random sets of added tokens, added in several steps, the same content under other flags too."""

    CONTENTS = ("<x>", "x", "X", "é", "a", "ab", "[MASK]", "hello", "Hello world", " <s>", "<s> ", " ", "##a", "가")
    CONTENTS += ("ß", "İ", ".", "..", "中", "<x> <x>", "\u0301", "a\u0301", "किताब", "\n", "<y>", "x<", "[X]", "\u200d")
    BETWEEN = (" ", "  ", "\t", "\x85", "\x1c", "\u3000", "_", "\u0903", "१", "b", "É", " <x>", "<X>", "बें", "\x00")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def flags(self) -> dict[str, bool]:
        """One of the 32 kinds, each flag set in a third of them so that plain ones are met, too."""
        return {flag: self.random.random() < 0.35 for flag in FLAGS}

    def add(self, ours: BertTokenizer, oracle: Tokenizer) -> list[Any]:
        """Add the same tokens to both; returns what was added.

        Left out is what the library gives no steady answer to: a token that is normalized to nothing, which it finds
        between the bytes of characters, and two that are normalized to the same, of which its hashing picks one.
        """
        history, forms = [], dict[str, str]()
        for _ in range(self.random.randint(1, 4)):
            tokens = [(self.random.choice(self.CONTENTS), self.flags()) for _ in range(self.random.randint(1, 3))]
            tokens = [(content, flags) for content, flags in tokens if self._steady(ours, content, flags, forms)]
            mine, theirs = [AddedToken(c, **f) for c, f in tokens], [TheirToken(c, **f) for c, f in tokens]
            special = self.random.random() < 0.3
            counts = (
                ours.add_tokens(mine, special),
                (oracle.add_special_tokens if special else oracle.add_tokens)(theirs),
            )
            assert counts[0] == counts[1], (counts, tokens)
            history.append((tokens, special))
        assert ours.vocab == oracle.get_vocab(with_added_tokens=True)
        return history

    @staticmethod
    def _steady(ours: BertTokenizer, content: str, flags: dict[str, bool], forms: dict[str, str]) -> bool:
        form = ours._encoder._normalize(content)
        return not flags["normalized"] or bool(form and forms.setdefault(form, content) == content)

    def text(self) -> str:
        """Up to nine of the contents and of what may stand between."""
        return "".join(self.random.choice(self.CONTENTS + self.BETWEEN) for _ in range(self.random.randint(0, 9)))


def fuzz_added(count: int, seed: int, show: int = 10) -> int:
    """Random sets of added tokens, 30 texts each; returns the number of texts that differ."""
    mismatches, vocab, source = 0, small_vocabulary(), AddedTokens(seed)
    for _ in range(max(1, count // 30)):
        rules = source.random.choice(RULES)
        ours, oracle = ours_of(vocab, rules), oracle_of(vocab, rules)
        history = source.add(ours, oracle)
        oracle.encode_special_tokens = ours.split_special_tokens = source.random.random() < 0.3
        texts = [text for text in (source.text() for _ in range(30)) if not panics(oracle, text)]
        for line in differences(ours, oracle, texts):
            mismatches += 1
            if mismatches <= show:
                print(f"{rules} {history}: {line}")
    return mismatches


def panics(oracle: Tokenizer, text: str) -> bool:
    """Whether the library fails on ``text``: it does where an added token that is a space was already taken."""
    try:
        oracle.encode(text)
    except BaseException as error:  # its panics are not Exceptions
        if type(error).__name__ != "PanicException":
            raise
        return True
    return False


def single_word_table() -> set[int]:
    """The word characters beside an added token with single_word, asked one code point at a time."""
    oracle = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    oracle.add_tokens([TheirToken("<x>", single_word=True, normalized=False)])
    encodings = oracle.encode_batch([f"<x>{chr(code)}" for code in CODE_POINTS])
    return {code for code, encoding in zip(CODE_POINTS, encodings, strict=True) if 1 not in encoding.ids}


def white_space_table() -> set[int]:
    """What an added token with rstrip takes along."""
    oracle = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    oracle.add_tokens([TheirToken("<x>", rstrip=True, normalized=False)])
    encodings = oracle.encode_batch([f"<x>{chr(code)}" for code in CODE_POINTS])
    return {code for code, encoding in zip(CODE_POINTS, encodings, strict=True) if encoding.offsets[0] == (0, 4)}


def measured_tables() -> dict[str, Any]:
    """What the library does to each code point, as sets and mappings."""

    def bert(**switches: bool) -> Any:
        off = dict.fromkeys(("clean_text", "handle_chinese_chars", "strip_accents", "lowercase"), False)
        return normalizers.BertNormalizer(**{**off, **switches}).normalize_str

    clean, chinese = bert(clean_text=True), bert(handle_chinese_chars=True)
    strip, lower = bert(strip_accents=True), bert(lowercase=True)
    nfd, split = normalizers.NFD().normalize_str, pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    table: dict[str, Any] = {name: set() for name in ("removed", "space", "chinese", "mark", "punctuation", "inert")}
    table |= {"lower": {}, "kept": set()}
    for code in CODE_POINTS:
        c = chr(code)
        table["removed"] |= {code} if not clean(c) else set()
        table["space"] |= {code} if clean(c) == " " else set()
        table["chinese"] |= {code} if chinese(c) != c else set()
        table["mark"] |= {code} if not strip(c) else set()
        table["punctuation"] |= {code} if len(split(f"a{c}b")) == 3 else set()
        if lower(c) != c.lower():
            table["lower"][code] = ord(lower(c))
        for data in unicode_data():
            combining = data.combining(c)
            # A mark of class 1 moves before any other, and U+0345 (class 240) behind it.
            moves = f"{c}\u0334" if combining > 1 else f"\u0345{c}"
            if data.normalize("NFD", c) != nfd(c) or (combining and nfd(c) == c and nfd(moves) == moves):
                table["inert"].add(code)
            elif combining and code not in table["mark"]:
                table["kept"].add(code)
    table["kept"] -= table["inert"]
    return table


def unicode_data() -> list[Any]:
    """Python's own data, and the newest there is when the ``unicodedata2`` package is installed."""
    try:
        import unicodedata2
    except ImportError:
        return [unicodedata]
    return [unicodedata, unicodedata2]


def print_tables() -> None:
    """unicode_tables.py with the same headings and freshly measured bodies."""
    table = measured_tables()
    bodies = {
        "REMOVED": ranges(table["removed"]),
        "WHITESPACE": ranges(table["space"] | {0x20}),
        "CHINESE": ranges(table["chinese"]),
        "NONSPACING_MARKS": ranges(table["mark"]),
        "PUNCTUATION": ranges(table["punctuation"]),
        "INERT": ranges(table["inert"]),
        "KEPT_MARKS": ranges(table["kept"]),
        "NEWER_LOWERCASE": steps(table["lower"]),
        "WHITE_SPACE": ranges(white_space_table()),
        "WORD": ranges(single_word_table()),
    }
    present = Path(tables.__file__).read_text(encoding="utf-8")
    for name, body in bodies.items():
        head, _, rest = present.partition(f'{name} = """\n')
        wrapped = "\n".join(textwrap.wrap(body, 112, break_on_hyphens=False))
        present = f'{head}{name} = """\n{wrapped}\n"""{rest.partition(chr(34) * 3)[2]}'
    print(present, end="")


def ranges(codes: Iterable[int]) -> str:
    """``{0x300, 0x301, 0x483}`` → ``"300-301 483"``."""
    runs: list[list[int]] = []
    for code in sorted(codes):
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return " ".join(f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in runs)


def steps(mapping: dict[int, int]) -> str:
    """Runs of a mapping whose sources and targets advance together: ``"10d50-10d65>10d70"``."""
    runs: list[tuple[int, int, int]] = []
    for code, target in sorted(mapping.items()):
        if runs and runs[-1][1] == code - 1 and runs[-1][2] + code - runs[-1][0] == target:
            runs[-1] = (runs[-1][0], code, runs[-1][2])
        else:
            runs.append((code, code, target))
    return " ".join((f"{a:x}" if a == b else f"{a:x}-{b:x}") + f">{t:x}" for a, b, t in runs)


def main() -> int:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="how many strings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--code-points", action="store_true", help="every code point instead of random strings")
    parser.add_argument("--added", action="store_true", help="with added tokens of every kind")
    parser.add_argument("--tables", action="store_true", help="print unicode_tables.py as measured now")
    arguments = parser.parse_args()
    if arguments.tables:
        print_tables()
        return 0
    if not arguments.added:
        mismatches = fuzz(arguments.count, arguments.seed, arguments.code_points)
    elif arguments.code_points:
        mismatches = sweep_added(CODE_POINTS, 1, RULES[:2], arguments.seed)
    else:
        mismatches = fuzz_added(arguments.count, arguments.seed)
    version = f"Python {sys.version.split()[0]}, Unicode {unicodedata.unidata_version}"
    print(f"{mismatches} mismatches ({version})")
    return 1 if mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
