"""Scores on dev data, from the libraries that published figures come from: scikit-learn, scipy, seqeval, torchmetrics.

They are an extra ("train").  All are between 0 and 1, correlations between -1 and 1; the first of each is the one by
which the best weights are kept.

How much of an answer is right depends on the language.  SQuAD's F1 counts the words that an answer and the true one
share.  A Korean word carries its particles ("서울에서", in Seoul), and Chinese, Japanese and Thai put no spaces between
words: there "서울" for "서울에서" would count as all wrong.  For these languages :func:`overlap` follows the evaluation
scripts of KorQuAD 1.0 (every character counts) and MLQA (characters of such scripts one by one, other words whole).
Both lower-case, and drop punctuation and white space.
"""

import math
import re
import string
import unicodedata
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from minibert.embedding.retrieval import semantic_search
from minibert.embedding.similarity_functions import Score
from minibert.errors import MissingExtraError

HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff\uffa0-\uffdc"
# Han, kana, Thai, Lao, Burmese, Khmer: scripts whose words have no spaces between them.
UNSPACED = (
    "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
RECALLED = (1, 5, 10)
LETTER = re.compile(r"[^\W\d_]")
OF_HANGUL, OF_UNSPACED = re.compile(f"[{HANGUL}]"), re.compile(f"[{UNSPACED}]")
UNIT_OF_UNSPACED = re.compile(f"[{UNSPACED}]|[^{UNSPACED}\\s]+")


def need(name: str, package: str) -> Any:
    """A module of a library; MissingExtraError when it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError.of(
            f"{package} is not installed, and the scores of fine-tuning come from it", "train"
        ) from error


def class_scores(gold: Sequence[int], predicted: Sequence[int]) -> dict[str, float]:
    """Accuracy, and macro F1: the mean over the classes that are in either list."""
    metrics = need("sklearn.metrics", "scikit-learn")
    return {
        "accuracy": float(metrics.accuracy_score(gold, predicted)),
        "macro_f1": float(metrics.f1_score(gold, predicted, average="macro", zero_division=0)),
    }


def label_scores(gold: Tensor, predicted: Tensor) -> dict[str, float]:
    """F1 over all labels, the mean F1 of the labels that occur, and the share of texts whose labels are all right.

    ``gold`` and ``predicted``: (texts, labels), 0 or 1.
    """
    metrics = need("sklearn.metrics", "scikit-learn")
    occurring = [int(number) for number in (gold + predicted).sum(dim=0).nonzero()]
    pair = gold.numpy(), predicted.numpy()
    micro = metrics.f1_score(*pair, average="micro", zero_division=0)
    macro = metrics.f1_score(*pair, average="macro", zero_division=0, labels=occurring) if occurring else 0.0
    exact = (gold == predicted).all(dim=1).double().mean()
    return {"micro_f1": float(micro), "macro_f1": float(macro), "exact_match": float(exact)}


def number_scores(gold: Sequence[float], predicted: Sequence[float]) -> dict[str, float]:
    """The correlation of the numbers (Pearson) and of their ranks (Spearman).

    Both are 0 where they are undefined: for one row, or when all predictions are equal.
    """
    stats = need("scipy.stats", "scipy")
    if len(gold) < 2:
        return {"pearson": 0.0, "spearman": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant has no correlation
        correlations = {
            "pearson": float(stats.pearsonr(gold, predicted).statistic),
            "spearman": float(stats.spearmanr(gold, predicted).statistic),
        }
    return {name: value if math.isfinite(value) else 0.0 for name, value in correlations.items()}


def entity_scores(gold: Sequence[list[str]], predicted: Sequence[list[str]]) -> dict[str, float]:
    """F1, precision and recall of whole entities with their kinds: seqeval's strict mode, IOB2.

    An I-X that follows neither B-X nor I-X begins no entity, in gold or predicted labels.
    """
    strict = need("seqeval.metrics.v1", "seqeval")  # what mode="strict" is in seqeval.metrics
    scheme = need("seqeval.scheme", "seqeval").IOB2
    precision, recall, f1, _ = strict.precision_recall_fscore_support(
        gold, predicted, average="micro", scheme=scheme, zero_division=0
    )
    return {"f1": float(f1), "precision": float(precision), "recall": float(recall)}


def answer_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[str], contexts: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """F1 of the overlap of predicted and true answers, and exact match, without case and punctuation.

    Each (questions,) float64; the score of a data set is the mean.

    Words are compared as in SQuAD (without articles), or characters where the language requires it.  The context shows
    the language; without ``contexts``, the letters of the answers do.  Of several true answers the closest counts; the
    empty text means that there is no answer.
    """
    if contexts is None:
        units = [unit_of(" ".join([*texts, answer]), share=0) for texts, answer in zip(gold, predicted, strict=True)]
    else:
        units = [unit_of(context) for context in contexts]
    pairs = [
        squad_scores(texts, answer) if unit == "word" else overlap(texts, answer, unit)
        for texts, answer, unit in zip(gold, predicted, units, strict=True)
    ]
    f1, exact = torch.tensor(pairs, dtype=torch.float64).view(-1, 2).T
    return {"f1": f1, "exact_match": exact}


def retrieval_scores(
    queries: Tensor, corpus: Tensor, relevant: Sequence[Collection[int]], score_function: Score
) -> dict[str, Tensor]:
    """How well vectors find the texts that belong to them: recall@1, @5 and @10, and the reciprocal rank.

    ``queries`` (n, W), ``corpus`` (m, W); ``relevant``: for each query the numbers of its texts in the corpus.
    ``recall@k`` is the share of these among the k most similar of all; ``mrr@10`` is 1 / the place of the first of
    them, 0 where it is not among ten.  Each (n,) float64; their means are those of sentence-transformers'
    InformationRetrievalEvaluator.
    """
    found = semantic_search(queries, corpus, top_k=max(RECALLED), score_function=score_function)
    is_right = [[hit["corpus_id"] in own for hit in hits] for hits, own in zip(found, relevant, strict=True)]
    scores = {
        f"recall@{k}": [sum(row[:k]) / len(own) for row, own in zip(is_right, relevant, strict=True)] for k in RECALLED
    }
    scores["mrr@10"] = [1 / (row.index(True) + 1) if any(row) else 0.0 for row in is_right]
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in scores.items()}


def squad_scores(gold: Sequence[str], predicted: str) -> tuple[float, float]:
    """SQuAD's F1 and exact match of an answer with the closest true one."""
    squad = need("torchmetrics.functional.text", "torchmetrics").squad
    answers = {"text": list(gold) or [""], "answer_start": [0] * max(1, len(gold))}
    scores = squad([{"id": "0", "prediction_text": predicted}], [{"id": "0", "answers": answers}])
    return float(scores["f1"]) / 100, float(scores["exact_match"]) / 100


def answer_metric(contexts: Sequence[str]) -> str:
    """What the F1 of questions about these texts counts: "f1 by word", "f1 by character", or both."""
    by_character = sum(unit_of(context) != "word" for context in contexts)
    if by_character in (0, len(contexts)):
        return f"f1 by {'character' if by_character else 'word'}"
    return f"f1 by character in {by_character:,} of {len(contexts):,} questions, else by word,"


def unit_of(text: str, share: float = 0.5) -> str:
    """The unit in which answers in this text are compared: "character", "mixed" (MLQA's) or "word".

    It depends on the script of the letters: more than this ``share`` of them must be Hangul or of an unspaced script.
    """
    enough = len(LETTER.findall(text)) * share
    hangul, unspaced = len(OF_HANGUL.findall(text)), len(OF_UNSPACED.findall(text))
    if hangul + unspaced <= enough:
        return "word"
    return "character" if hangul >= unspaced else "mixed"


def units(text: str, unit: str) -> list[str]:
    """The parts of an answer that are counted, in lower case and without punctuation."""
    return list("".join(words(text))) if unit == "character" else UNIT_OF_UNSPACED.findall(" ".join(words(text)))


def words(text: str) -> list[str]:
    """The words of a text, in lower case and without punctuation (Unicode's and ASCII's)."""
    plain = unicodedata.normalize("NFC", text).lower()
    kept = (x for x in plain if x not in string.punctuation and not unicodedata.category(x).startswith("P"))
    return "".join(kept).split()


def overlap(gold: Sequence[str], predicted: str, unit: str) -> tuple[float, float]:
    """F1 and exact match of an answer with the closest true one; the empty text means that there is no answer."""
    parts = units(predicted, unit)
    scores = []
    for text in gold or [""]:
        right = units(text, unit)
        common = sum((Counter(right) & Counter(parts)).values())
        f1 = 2 * common / (len(right) + len(parts)) if right and parts else float(right == parts)
        same = words(text) == words(predicted) if unit == "character" else right == parts  # KorQuAD: also spaces
        scores.append((f1, float(same)))
    return max(f1 for f1, _ in scores), max(exact for _, exact in scores)
