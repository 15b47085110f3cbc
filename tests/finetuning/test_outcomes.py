"""Scores of resamples are those of scikit-learn, scipy and seqeval for the same examples, drawn out one by one."""

import warnings

import pytest
import torch

from minibert.finetuning.bootstrap import draws, weights_of
from minibert.finetuning.outcomes import (
    ClassOutcome,
    EntityOutcome,
    LabelsOutcome,
    MeanOutcome,
    NumberOutcome,
    Outcome,
    once,
)

metrics = pytest.importorskip("sklearn.metrics")
scipy_stats = pytest.importorskip("scipy.stats")
seqeval = pytest.importorskip("seqeval.metrics.v1")
seqeval_scheme = pytest.importorskip("seqeval.scheme").IOB2

NAMES = ["a", "b", "c", "d"]
BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
(DRAWN,) = draws(25, 20, seed=3)  # resamples of 25 examples, small enough that some lack a label


def random_classes() -> tuple[list[int], list[int]]:
    """Of 25 texts; the last label is rare, and some resamples do not have it at all."""
    draw = torch.Generator().manual_seed(0)
    gold = torch.tensor([0] * 14 + [1] * 6 + [2] * 4 + [3])
    predicted = torch.where(torch.rand(25, generator=draw) < 0.6, gold, torch.randint(3, (25,), generator=draw))
    return gold.tolist(), predicted.tolist()


def random_sentences(seed: int) -> list[list[str]]:
    """25 sentences of 1 to 8 words with any labels, strays included."""
    draw = torch.Generator().manual_seed(seed)
    lengths = [1 + number % 8 for number in range(25)]
    return [[BIO[int(n)] for n in torch.randint(5, (length,), generator=draw)] for length in lengths]


def check(outcome: Outcome, each: list[dict[str, float]]) -> None:
    """The resampled scores are ``each``, one dictionary for each resample; all examples once give ``scores()``."""
    found = outcome.resampled(weights_of(DRAWN))
    assert list(found) == list(outcome.scores())
    for name, values in found.items():
        assert values.tolist() == pytest.approx([scores[name] for scores in each], abs=1e-9), name
    for name, value in outcome.resampled(once(outcome)).items():
        assert float(value) == pytest.approx(outcome.scores()[name], abs=1e-7), name


def taken(values: list, numbers: list[int]) -> list:
    return [values[number] for number in numbers]


def test_classes() -> None:
    gold, predicted = random_classes()
    each = []
    for numbers in DRAWN.tolist():
        pair = taken(gold, numbers), taken(predicted, numbers)
        macro = metrics.f1_score(*pair, average="macro", zero_division=0)
        each.append({"accuracy": metrics.accuracy_score(*pair), "macro_f1": macro})
    outcome = ClassOutcome(gold, predicted, NAMES)
    check(outcome, each)
    assert {len({*taken(gold, n), *taken(predicted, n)}) for n in DRAWN.tolist()} >= {3, 4}  # the mean is of so many
    counts = outcome.counts(once(outcome))
    table = metrics.precision_recall_fscore_support(gold, predicted, labels=range(4), zero_division=0)
    for mine, theirs in zip((counts.precision, counts.recall, counts.f1, counts.gold), table, strict=True):
        assert mine[:, 0].tolist() == pytest.approx(theirs.tolist())
    expected = metrics.confusion_matrix(gold, predicted, labels=range(4)).tolist()
    assert [list(row) for row in outcome.confusion().counts] == expected
    assert outcome.confusion().rows == outcome.confusion().columns == tuple(NAMES)


def test_several_labels() -> None:
    draw = torch.Generator().manual_seed(1)
    gold = (torch.rand(25, 4, generator=draw) < torch.tensor([0.5, 0.3, 0.2, 0.03])).long()
    predicted = torch.where(torch.rand(25, 4, generator=draw) < 0.8, gold, 1 - gold)
    each = []
    for numbers in DRAWN:
        pair = gold[numbers], predicted[numbers]
        occurring = (pair[0] + pair[1]).sum(0).nonzero().flatten().tolist()
        arrays = [one.numpy() for one in pair]
        each.append({
            "micro_f1": metrics.f1_score(*arrays, average="micro", zero_division=0),
            "macro_f1": metrics.f1_score(*arrays, average="macro", labels=occurring, zero_division=0),
            "exact_match": metrics.accuracy_score(*arrays),
        })  # fmt: skip
    outcome = LabelsOutcome(gold, predicted, NAMES)
    check(outcome, each)
    table = metrics.multilabel_confusion_matrix(gold.numpy(), predicted.numpy())
    expected = tuple((int(one[1, 1]), int(one[1, 0]), int(one[0, 1])) for one in table)
    assert outcome.confusion().columns == ("found", "missed", "wrong")
    assert outcome.confusion().counts == expected
    assert outcome.problem() is None
    assert "no text has a label" in str(LabelsOutcome(0 * gold, predicted, NAMES).problem())


def test_entities() -> None:
    gold, predicted = random_sentences(0), random_sentences(1)
    predicted = [one if number % 3 else two for number, (one, two) in enumerate(zip(predicted, gold, strict=True))]
    each = []
    for numbers in DRAWN.tolist():
        pair = taken(gold, numbers), taken(predicted, numbers)
        precision, recall, f1, _ = seqeval.precision_recall_fscore_support(
            *pair, average="micro", scheme=seqeval_scheme, zero_division=0
        )
        each.append({"f1": f1, "precision": precision, "recall": recall})
    outcome = EntityOutcome(gold, predicted, ["LOC", "PER"])
    check(outcome, each)
    counts = outcome.counts(once(outcome))
    table = seqeval.precision_recall_fscore_support(
        gold, predicted, average=None, scheme=seqeval_scheme, zero_division=0
    )
    for mine, theirs in zip((counts.precision, counts.recall, counts.f1, counts.gold), table, strict=True):
        assert mine[:, 0].tolist() == pytest.approx(theirs.tolist())


def test_confusion_of_entities() -> None:
    """An entity counts at its place: found, taken for another kind, or not there on one side."""
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "O"]]
    predicted = [["B-PER", "I-PER", "B-PER", "B-PER"], ["O", "O"]]
    confusion = EntityOutcome(gold, predicted, ["LOC", "PER"]).confusion()
    assert confusion.rows == confusion.columns == ("LOC", "PER", "none")
    assert confusion.counts == ((0, 1, 1), (0, 1, 0), (0, 1, 0))
    lines = str(confusion).splitlines()
    assert lines[0].split() == ["right", "\\", "predicted", "LOC", "PER", "none"]
    assert lines[2].split() == ["LOC", "0", "1", "1"]
    nothing = EntityOutcome([["O"]], [["O"]], ["LOC"])
    assert "no entity to find" in str(nothing.problem())


def test_numbers_with_ties() -> None:
    """Correlations of resamples, whose ranks are others than those of all examples."""
    draw = torch.Generator().manual_seed(2)
    gold = torch.randint(4, (25,), generator=draw).double()  # many are equal
    predicted = gold + 1000 + torch.randn(25, generator=draw, dtype=torch.float64).round(decimals=1)
    each = []
    for numbers in DRAWN:
        pair = gold[numbers].numpy(), predicted[numbers].numpy()
        each.append({
            "pearson": scipy_stats.pearsonr(*pair).statistic, "spearman": scipy_stats.spearmanr(*pair).statistic,
        })  # fmt: skip
    check(NumberOutcome(gold.tolist(), predicted.tolist()), each)
    found = NumberOutcome([1.0, 2.0], [1.0, 2.0], ("spearman", "pearson"), "pairs").scores()
    assert next(iter(found)) == "spearman"


def test_a_correlation_that_is_undefined_is_0() -> None:
    """As in the scores of all examples: where a resample, or all predictions, are equal."""
    outcome = NumberOutcome([0.1, 0.2, 0.7], [0.3, 0.3, 0.3])
    assert outcome.scores() == {"pearson": 0, "spearman": 0}
    found = NumberOutcome([0.1, 0.2, 0.7], [0.1, 0.2, 0.4]).resampled(torch.tensor([[3.0, 0], [0, 1], [0, 2]]).double())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = scipy_stats.pearsonr([0.2, 0.7, 0.7], [0.2, 0.4, 0.4]).statistic
    assert found["pearson"].tolist() == pytest.approx([0, expected], abs=1e-12)
    assert found["spearman"].tolist() == pytest.approx([0, 1], abs=1e-12)
    assert outcome.problem() is None
    assert NumberOutcome([2, 2], [1, 3]).problem() == "all 2 texts have the number 2, and a correlation needs several"


def test_means() -> None:
    values = torch.rand(25, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    check(MeanOutcome({"f1": values}, "questions"), [{"f1": float(values[numbers].mean())} for numbers in DRAWN])
