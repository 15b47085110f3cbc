"""How fast is the tokenizer?  Texts to ids, one thread, against transformers' BertTokenizerFast on the same lists.

    python scripts/bench_tokenizer.py                                  three corpora found in ../shared
    python scripts/bench_tokenizer.py --text corpus.txt --vocab vocab.txt [--cased]

Ours is timed cold: reading the vocabulary, an empty memory of words, then ``tokenizer(texts)``.  Theirs is timed warm:
loaded beforehand, only ``tokenizer(texts)``, with TOKENIZERS_PARALLELISM=false.  The two alternate; the ratio is
taken within each round (theirs / ours, so above 1 we are faster), and its median, lowest and highest are printed.
"""

import argparse
import gc
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SHARED = ROOT.parent / "shared"

from minibert.tokenizer import BertTokenizer  # noqa: E402

Corpus = tuple[str, list[str], Path, bool]


def paragraphs(text: str) -> list[str]:
    """Stretches between empty lines."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


def sentences(text: str) -> list[str]:
    """Stretches that end in a full stop, roughly."""
    return [s for part in paragraphs(text) for s in re.split(r"(?<=[.!?])\s+", part)]


def shared_corpora(limit: int) -> list[Corpus]:
    """English paragraphs and sentences, Korean reviews; at most ``limit`` characters each."""
    books = sorted((SHARED / "data" / "gutenberg").glob("*.txt"))
    reviews = SHARED / "data" / "ko-reviews" / "ko_movie_reviews.txt"
    vocabularies = SHARED / "vocab"
    if not books or not reviews.exists() or not vocabularies.exists():
        sys.exit("There are no corpora in ../shared; name your own with --text corpus.txt --vocab vocab.txt.")
    english = "".join(book.read_text(encoding="utf-8", errors="replace") for book in books)[:limit]
    korean = reviews.read_text(encoding="utf-8")[:limit].split("\n")
    uncased = vocabularies / "bert-base-uncased"
    return [
        ("English paragraphs, bert-base-uncased", paragraphs(english), uncased, True),
        ("English sentences, bert-base-uncased", sentences(english), uncased, True),
        ("Korean, multilingual-uncased", korean, vocabularies / "bert-base-multilingual-uncased", True),
        ("Korean, kcbert (cased)", korean, vocabularies / "kcbert-base", False),
    ]


def seconds(work: Callable[[], Any]) -> float:
    """Wall-clock time of one run, garbage collected before."""
    gc.collect()
    started = time.perf_counter()
    result = work()
    elapsed = time.perf_counter() - started
    del result
    return elapsed


def compare(corpus: Corpus, rounds: int) -> None:
    """One line: both speeds, the ratio and its range; and that the ids are equal."""
    from transformers import BertTokenizerFast

    name, texts, vocab, lower = corpus
    vocab_file = vocab / "vocab.txt" if vocab.is_dir() else vocab
    theirs = BertTokenizerFast(str(vocab_file), do_lower_case=lower)
    warm = BertTokenizer(vocab_file, do_lower_case=lower)
    equal = warm(texts)["input_ids"] == theirs(texts)["input_ids"]
    columns: list[list[float]] = [[], [], []]
    for _ in range(rounds):
        columns[0].append(seconds(lambda: theirs(texts)))
        columns[1].append(seconds(lambda: BertTokenizer(vocab_file, do_lower_case=lower)(texts)))
        columns[2].append(seconds(lambda: warm(texts)))
    size = sum(len(text.encode()) for text in texts) / 1e6
    their_time, cold_time, warm_time = map(statistics.median, columns)
    print(f"{name}: {len(texts)} texts, {size:.2f} MB, ids {'equal' if equal else 'DIFFER'}")
    print(
        f"  MB/s: transformers {size / their_time:.2f}, ours cold {size / cold_time:.2f}, warm {size / warm_time:.2f}"
    )
    for label, column in (("cold, vocabulary load included", columns[1]), ("warm", columns[2])):
        ratios = [a / b for a, b in zip(columns[0], column, strict=True)]
        print(f"  ratio {statistics.median(ratios):5.2f}  [{min(ratios):.2f}–{max(ratios):.2f}]  {label}")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="a UTF-8 file, one text a line")
    parser.add_argument("--vocab", type=Path, help="a vocab.txt or a folder that holds one")
    parser.add_argument("--cased", action="store_true", help="do not lower-case")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=int, default=1_000_000, help="characters of each corpus of ../shared")
    arguments = parser.parse_args()
    try:
        import tokenizers
        import transformers
    except ImportError:
        sys.exit("This compares with transformers: pip install 'minibert[test]'.")
    versions = f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    print(
        f"Python {platform.python_version()}, {versions}, {arguments.rounds} rounds, {os.cpu_count()} cores, one thread"
    )
    if arguments.text:
        if not arguments.vocab:
            sys.exit("--text needs --vocab, the vocabulary to tokenize with.")
        texts = arguments.text.read_text(encoding="utf-8").splitlines()
        corpora = [(str(arguments.text), texts, arguments.vocab, not arguments.cased)]
    else:
        corpora = shared_corpora(arguments.limit)
    for corpus in corpora:
        compare(corpus, arguments.rounds)


if __name__ == "__main__":
    main()
