"""Do sentence vectors rank pairs as people do?  A model's, without training for it, beside two that know nothing.

    python scripts/studies/sentence_vectors.py [MODEL …] [--data ../shared/data]

Prints Spearman's correlation, times 100, with the human scores of the dev and test sets of STS-B (English) and KorSTS:
of the cosine of the means of each MODEL's last layer (default: minibert-demo); of the same shape with random weights,
the mean of three; and of the share of pieces that the two sentences have in common.  Needs pip install '.[train]'.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

import torch
from inputs import DATA
from stsb import read_pairs

from minibert import BertModel, BertTokenizer, embed_texts
from minibert.errors import MinibertError
from minibert.terminal import table

FILES = {"STS-B": Path("stsb", "sts-dev.csv"), "KorSTS": Path("korsts", "sts-dev.tsv")}
TESTS = {"STS-B test": Path("stsb", "sts-test.csv"), "KorSTS test": Path("korsts", "sts-test.tsv")}
SEEDS = 3  # of random weights
Pairs = list[tuple[str, str, float]]
Scores = dict[str, float]  # the data to Spearman's correlation times 100


def read_all(data: Path, files: Mapping[str, Path] = FILES) -> dict[str, Pairs]:
    """The pairs of each set that is there, by default of the dev sets."""
    return {name: read_pairs(data / path) for name, path in files.items() if (data / path).is_file()}


def spearman(values: Sequence[float], pairs: Pairs) -> float:
    """Between ``values`` and the human scores, times 100."""
    from scipy.stats import spearmanr

    return 100 * float(spearmanr(values, [score for _, _, score in pairs]).statistic)


def of_model(model: BertModel, tokenizer: BertTokenizer, data: dict[str, Pairs]) -> Scores:
    """By the cosine of the means of the last layer."""
    found = {}
    for name, pairs in data.items():
        first, second = (embed_texts(model, tokenizer, [pair[side] for pair in pairs]) for side in (0, 1))
        found[name] = spearman((first * second).sum(dim=-1).tolist(), pairs)
    return found


def of_random_weights(model: BertModel, tokenizer: BertTokenizer, data: dict[str, Pairs]) -> Scores:
    """By the same architecture before any training, the mean of SEEDS draws."""
    draws = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        draws.append(of_model(BertModel(model.config).eval(), tokenizer, data))
    return {name: mean(draw[name] for draw in draws) for name in data}


def of_overlap(tokenizer: BertTokenizer, data: dict[str, Pairs]) -> Scores:
    """By the number of pieces that both sentences have, over the number that one of them has."""
    found = {}
    for name, pairs in data.items():
        sets = [[set(tokenizer.tokenize(text)) for text in pair[:2]] for pair in pairs]
        found[name] = spearman([len(a & b) / max(len(a | b), 1) for a, b in sets], pairs)
    return found


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="folders or names; default minibert-demo")
    parser.add_argument("--data", type=Path, default=DATA, help="holds stsb/sts-dev.csv, korsts/sts-dev.tsv, …")
    options = parser.parse_args()
    data = read_all(options.data, FILES | TESTS)
    if not data:
        sys.exit(f"{options.data} has neither {' nor '.join(map(str, FILES.values()))}; name their folder with --data.")
    rows = []
    try:
        for name in options.models or ["minibert-demo"]:
            model, tokenizer = BertModel.from_pretrained(name), BertTokenizer.from_pretrained(name)
            rows.append((name, of_model(model, tokenizer, data)))
            rows.append(("  random weights", of_random_weights(model, tokenizer, data)))
            rows.append(("  pieces in common", of_overlap(tokenizer, data)))
    except (MinibertError, ImportError) as error:
        sys.exit(str(error))
    print(table(("Spearman × 100", *data), [(name, *(f"{found[one]:.1f}" for one in data)) for name, found in rows],
                right=tuple(data)))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
