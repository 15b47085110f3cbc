"""How fast is the tokenizer?  Texts to ids, one thread, against transformers' BertTokenizerFast on the same lists.

    python scripts/bench/bench_tokenizer.py                                  three corpora found in ../shared
    python scripts/bench/bench_tokenizer.py --text corpus.txt --vocab vocab.txt [--cased]

Ours is timed cold: reading the vocabulary, an empty word cache, then ``tokenizer(texts)``.  Theirs is timed warm:
loaded beforehand, only ``tokenizer(texts)``, with TOKENIZERS_PARALLELISM=false.  They take turns; the ratio is
taken within each round (theirs / ours, so above 1 we are faster), and its median, lowest and highest are printed.
"""

import argparse
import os
import sys
from pathlib import Path
from statistics import median

import material
import rounds

Corpus = tuple[str, list[str], Path, bool]


def shared_corpora(limit: int) -> list[Corpus]:
    """English paragraphs and sentences, Korean reviews; at most ``limit`` characters each."""
    corpora, vocabularies = material.shared_corpora(), material.SHARED / "vocab"
    if corpora is None or not vocabularies.exists():
        sys.exit("There are no corpora in ../shared; name your own with --text corpus.txt --vocab vocab.txt.")
    english, korean = "".join(corpora[0])[:limit], corpora[1][:limit].split("\n")
    uncased = vocabularies / "bert-base-uncased"
    return [
        ("English paragraphs, bert-base-uncased", material.paragraphs(english), uncased, True),
        ("English sentences, bert-base-uncased", material.sentences(english), uncased, True),
        ("Korean, multilingual-uncased", korean, vocabularies / "bert-base-multilingual-uncased", True),
        ("Korean, kcbert (cased)", korean, vocabularies / "kcbert-base", False),
    ]


def compare(corpus: Corpus, count: int) -> None:
    """One line: both speeds, the ratio and its range; and that the ids are equal."""
    from transformers import BertTokenizerFast

    from minibert.tokenizer import BertTokenizer

    name, texts, vocab, lower = corpus
    vocab_file = vocab / "vocab.txt" if vocab.is_dir() else vocab
    theirs = BertTokenizerFast(str(vocab_file), do_lower_case=lower)
    warm = BertTokenizer(vocab_file, do_lower_case=lower)
    equal = warm(texts)["input_ids"] == theirs(texts)["input_ids"]
    runs = {
        "transformers": lambda: theirs(texts),
        "cold, vocabulary load included": lambda: BertTokenizer(vocab_file, do_lower_case=lower)(texts),
        "warm": lambda: warm(texts),
    }
    times = rounds.take_turns({name: lambda work=work: rounds.seconds(work) for name, work in runs.items()}, count)
    size = sum(len(text.encode()) for text in texts) / 1e6
    their_speed, cold_speed, warm_speed = (size / median(taken) for taken in times.values())
    print(f"{name}: {len(texts)} texts, {size:.2f} MB, ids {'equal' if equal else 'DIFFER'}")
    print(f"  MB/s: transformers {their_speed:.2f}, ours cold {cold_speed:.2f}, warm {warm_speed:.2f}")
    for label in list(runs)[1:]:
        ratio = rounds.Ratio.of(times["transformers"], times[label])
        print(f"  ratio {ratio.median:5.2f}  {ratio.range}  {label}; interval of the median {ratio.interval}")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="a UTF-8 file, one text a line")
    parser.add_argument("--vocab", type=Path, help="a vocab.txt or a folder that holds one")
    parser.add_argument("--cased", action="store_true", help="do not lower-case")
    parser.add_argument("--rounds", type=material.positive, default=7)
    parser.add_argument("--limit", type=int, default=1_000_000, help="characters of each corpus of ../shared")
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if not rounds.versions("transformers"):
        sys.exit("This compares with transformers: pip install '.[test]'.")
    print(f"{rounds.versions('transformers', 'tokenizers')}, {arguments.rounds} rounds, {rounds.machine()}, one thread")
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
