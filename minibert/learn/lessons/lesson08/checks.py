"""What the answers of lesson 8 are held to: the new head, chance, frozen features and labels of pieces."""

from math import isclose, log, log2
from typing import Any

from minibert.config import BertConfig
from minibert.tokenizer import BertTokenizer

WORDS = ["Scotland", "is", "where", "Anna", "was", "born", "."]
KINDS = [2, 0, 0, 1, 0, 0, 0]


def head(answer: Any) -> str:
    """Weight and bias of the classifier."""
    config = BertConfig.from_pretrained("minibert-demo")
    H = config.hidden_size
    return {2 * H + 2: "right", 2 * H: "bias", H + 1: "one", H + 2: "one", H * H + H: "pooler"}.get(
        int(answer), "other"
    )


def chance(answer: Any) -> str:
    """Five classes."""
    known = {"right": log(5), "two": log(2), "sign": -log(5), "bits": log2(5), "probability": 0.2}
    return next((key for key, value in known.items() if isclose(float(answer), value, rel_tol=0.01)), "other")


def runs(answer: Any) -> str:
    """Each of the 24 texts once, however long the linear layer is trained."""
    return {24: "right", 2400: "epochs", 100: "steps", 1: "batch", 192: "fine-tuning", 40: "test"}.get(
        int(answer), "other"
    )


def tags(answer: Any) -> str:
    """A label at the first piece of each word, -100 elsewhere."""
    tokenizer = BertTokenizer.from_pretrained("minibert-demo")
    word_ids = tokenizer(WORDS, is_split_into_words=True).word_ids()
    found = [int(label) for label in answer]
    pairs = list(zip(word_ids, [None, *word_ids], strict=False))
    spread = [-100 if word is None else KINDS[word] for word, _ in pairs]
    right = [label if word != before else -100 for label, (word, before) in zip(spread, pairs, strict=True)]
    zeros = [0 if word is None else label for label, (word, _) in zip(right, pairs, strict=True)]
    last = [
        -100 if word is None or word == after else KINDS[word]
        for word, after in zip(word_ids, [*word_ids[1:], None], strict=True)
    ]
    known = {"right": right, "every-piece": spread, "special": zeros, "last": last}
    for key, value in known.items():
        padding = 0 if key == "special" else -100
        if len(found) >= len(value) and found == value + [padding] * (len(found) - len(value)):
            return "length" if key == "right" and len(found) == len(value) else key
    return "words" if found == KINDS else "other"
