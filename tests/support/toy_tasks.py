"""Small data that a tiny model can learn by heart, as files of every format, and the tiny checkpoint to begin with."""

import json
import random
from pathlib import Path

import torch

import minibert
from minibert import BertConfig, BertForPreTraining, BertTokenizer
from minibert.finetuning import TASKS, Finetuned, finetune

TINY = Path(minibert.__file__).parent / "goldens" / "random-bert"
FAST = {"epochs": 12, "learning_rate": 5e-3, "batch_size": 8}  # learns these toys by heart in a few seconds
ROWS = 128
HEADED = tuple(task for task in TASKS if task != "embedding")  # the tasks whose model has a head
WORDS = [
    "the",
    "she",
    "by",
    "of",
    "was",
    "home",
    "went",
    "again",
    "is",
    "in",
    "bloom",
    "hello",
    "so",
    "her",
    "sat",
    "and",
]


def toy_checkpoint(folder: Path) -> Path:
    """A random model of the tiny vocabulary, without dropout, large enough to learn the toys quickly."""
    config = BertConfig.from_pretrained(
        TINY, hidden_size=32, num_attention_heads=4, intermediate_size=64,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    BertForPreTraining(config).save_pretrained(folder)
    BertTokenizer.from_pretrained(TINY).save_pretrained(folder)
    return folder


def sentence(draw: random.Random, *needed: str, longest: int = 20) -> list[str]:
    words = [draw.choice(WORDS) for _ in range(draw.randint(2, longest))]
    for word in needed:
        words.insert(draw.randrange(len(words) + 1), word)
    return words


def class_rows(count: int = ROWS, seed: int = 0) -> list[dict]:
    """About a river or a pear: the text has the word."""
    draw = random.Random(seed)
    kinds = [draw.choice(("river", "pear")) for _ in range(count)]
    return [{"text": " ".join(sentence(draw, kind)), "label": f"about {kind}"} for kind in kinds]


def score_rows(count: int = ROWS, seed: int = 0) -> list[dict]:
    """How many of a pair's two texts name a tree."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        trees = [draw.random() < 0.5, draw.random() < 0.5]
        first, second = (" ".join(sentence(draw, *["tree"][: int(tree)], longest=10)) for tree in trees)
        rows.append({"sentence1": first, "sentence2": second, "score": float(sum(trees))})
    return rows


def tagged(count: int = ROWS, seed: int = 0) -> list[tuple[list[str], list[str]]]:
    """A "river bank" is a place, a "pear" a fruit."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        words = sentence(draw)
        labels = ["O"] * len(words)
        for entity, kinds in ((["river", "bank"], ["B-place", "I-place"]), (["pear"], ["B-fruit"])):
            if draw.random() < 0.7:
                # Not inside another entity: in front of everything, or behind it.
                at = draw.choice((0, len(words)))
                words[at:at], labels[at:at] = entity, kinds
        rows.append((words, labels))
    return rows


def question_rows(count: int = ROWS, seed: int = 0, longest: int = 18) -> list[dict]:
    """What blooms: the "pear tree", wherever it stands."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        parts = sentence(draw, longest=longest)
        parts.insert(draw.randrange(len(parts) + 1), "pear tree")
        context = " ".join(parts)
        rows.append({"question": "is in bloom", "context": context, "answer": "pear tree"})
        rows[-1]["answer_start"] = context.index("pear tree")
    return rows


def choice_rows(count: int = ROWS, seed: int = 0, fewest: int = 3) -> list[dict]:
    """The choice that names a tree; ``fewest`` to three of them."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        choices = draw.randint(fewest, 3)
        right = draw.randrange(choices)
        texts = [" ".join(sentence(draw, *["tree"][: int(n == right)], longest=8)) for n in range(choices)]
        context = " ".join(sentence(draw, longest=10))
        rows.append({"context": context, "question": "is in bloom", "choices": texts, "label": right})
    return rows


def embedding_rows(count: int = ROWS, seed: int = 0) -> list[dict]:
    """Two texts are alike when both name a tree, or neither."""
    rows = []
    for row in score_rows(count, seed):
        trees = ["tree" in row[name] for name in ("sentence1", "sentence2")]
        rows.append({**row, "score": float(trees[0] == trees[1])})
    return rows


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_conll(path: Path, rows: list[tuple[list[str], list[str]]]) -> Path:
    blocks = ["".join(f"{word}\t{label}\n" for word, label in zip(*row, strict=True)) for row in rows]
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def write_toy(task: str, path: Path, count: int = ROWS, seed: int = 0) -> Path:
    """Toy data for a task, as a file beside ``path``."""
    if task == "entities":
        return write_conll(path.with_suffix(".conll"), tagged(count, seed))
    make = {
        "classify": class_rows, "score": score_rows, "answers": question_rows, "choice": choice_rows,
        "embedding": embedding_rows,
    }[task]  # fmt: skip
    return write_jsonl(path.with_suffix(".jsonl"), make(count, seed))


def train_toy(task: str, checkpoint: Path, folder: Path, **arguments) -> Finetuned:
    """A toy model in ``folder / "model"``, with dev data that it has not seen."""
    train, dev = write_toy(task, folder / "train"), write_toy(task, folder / "dev", seed=1)
    return finetune(task, checkpoint, train, folder / "model", dev, **{**FAST, **arguments})
