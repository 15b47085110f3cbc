"""Scores, from the libraries that everyone's numbers come from: scikit-learn, scipy, seqeval, torchmetrics.

They are an extra ("train").  All are between 0 and 1, correlations between -1 and 1; the first of each is the one by
which the best weights are kept.
"""

import math
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from minibert.errors import MissingExtraError


def need(name: str, package: str) -> Any:
    """A module of a library; MissingExtraError when it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"{package} is not installed, and the scores of fine-tuning come from it: pip install 'minibert[train]'."
        ) from error


def class_scores(gold: Sequence[int], predicted: Sequence[int]) -> dict[str, float]:
    """Accuracy, and F1 of each class averaged (classes that are in neither do not count)."""
    metrics = need("sklearn.metrics", "scikit-learn")
    return {
        "accuracy": float(metrics.accuracy_score(gold, predicted)),
        "macro_f1": float(metrics.f1_score(gold, predicted, average="macro", zero_division=0)),
    }


def number_scores(gold: Sequence[float], predicted: Sequence[float]) -> dict[str, float]:
    """Correlation of the numbers (Pearson) and of their ranks (Spearman).

    0 where there is none: one row, or a model that says the same of all.
    """
    stats = need("scipy.stats", "scipy")
    if len(gold) < 2:
        return {"pearson": 0.0, "spearman": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a constant has no correlation
        found = {
            "pearson": float(stats.pearsonr(gold, predicted).statistic),
            "spearman": float(stats.spearmanr(gold, predicted).statistic),
        }
    return {name: value if math.isfinite(value) else 0.0 for name, value in found.items()}


def entity_scores(gold: Sequence[list[str]], predicted: Sequence[list[str]]) -> dict[str, float]:
    """F1, precision and recall of whole entities with their kinds: seqeval's strict mode, IOB2.

    An I-X that does not follow B-X or I-X begins no entity, in the data or in what is predicted.
    """
    strict = need("seqeval.metrics.v1", "seqeval")  # what mode="strict" is in seqeval.metrics
    scheme = need("seqeval.scheme", "seqeval").IOB2
    precision, recall, f1, _ = strict.precision_recall_fscore_support(
        gold, predicted, average="micro", scheme=scheme, zero_division=0
    )
    return {"f1": float(f1), "precision": float(precision), "recall": float(recall)}


def answer_scores(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> dict[str, float]:
    """F1 of the words that answer and true answer share, and exact match: SQuAD's, without case, articles, punctuation.

    Of several true answers the best counts; no answer at all is the empty text.
    """
    squad = need("torchmetrics.functional.text", "torchmetrics").squad
    answers = [
        {"id": str(number), "answers": {"text": list(texts) or [""], "answer_start": [0] * max(1, len(texts))}}
        for number, texts in enumerate(gold)
    ]
    found = squad([{"id": str(number), "prediction_text": text} for number, text in enumerate(predicted)], answers)
    return {"f1": float(found["f1"]) / 100, "exact_match": float(found["exact_match"]) / 100}
