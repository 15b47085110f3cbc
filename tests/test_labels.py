"""Labels as people have them: the loss, or a sentence that says which label, where, and what was expected."""

import pytest
import torch

import minibert
from minibert import ConfigError, InputError
from tests.parity.tolerances import EXACT

SETTINGS = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 20,
    "hidden_dropout_prob": 0.0,
}
IDS = torch.arange(1, 16).view(3, 5)
CHOICES = torch.arange(1, 31).view(3, 2, 5)


def make(name: str, **settings):
    torch.manual_seed(0)
    return getattr(minibert, name)(minibert.BertConfig(**SETTINGS | settings)).eval()


def ids_for(name: str) -> torch.Tensor:
    return CHOICES if name == "BertForMultipleChoice" else IDS


PER_TOKEN = torch.tensor([[0, 1, -100, 1, 0], [1, 1, 1, -100, -100], [0, -100, 1, 0, 0]])
PER_TEXT = torch.tensor([0, 1, 1])
GOOD = {
    "BertForMaskedLM": PER_TOKEN,
    "BertForTokenClassification": PER_TOKEN,
    "BertForSequenceClassification": PER_TEXT,
    "BertForNextSentencePrediction": PER_TEXT,
    "BertForMultipleChoice": PER_TEXT,
}
CLASSES = {"BertForMaskedLM": 50}


@pytest.mark.parametrize("name", GOOD)
def test_the_same_labels_in_other_forms(name: str) -> None:
    model, labels, ids = make(name), GOOD[name], ids_for(name)
    expected = model(ids, labels=labels).loss
    # int8 cannot be widened in place, a column is what datasets often hold, and a view need not be contiguous
    forms = [labels.int(), labels.short(), labels.to(torch.int8), labels[..., None], labels.reshape(-1)]
    forms.append(torch.stack([labels, labels], dim=-1)[..., 0])
    for form in forms:
        assert (model(ids, labels=form).loss - expected).abs() <= EXACT


@pytest.mark.parametrize("name", GOOD)
def test_labels_that_are_no_class(name: str) -> None:
    model, labels, ids = make(name), GOOD[name], ids_for(name)
    C = CLASSES.get(name, 2)
    place = (1,) * labels.dim()
    where = r"\(1\)" if labels.dim() == 0 else str(place).replace("(", r"\(").replace(")", r"\)")
    for label, hint in ((C, "Make the head larger"), (-1, "-1 marked that in the code of 2018"), (-7, "")):
        wrong = labels.clone()
        wrong[place] = label
        with pytest.raises(
            InputError, match=f"labels holds {label} at {where}; this head has classes 0 to {C - 1}"
        ) as e:
            model(ids, labels=wrong)
        assert hint in str(e.value)
        assert "-100 for what does not count" in str(e.value)


@pytest.mark.parametrize("name", GOOD)
def test_labels_of_another_kind(name: str) -> None:
    model, labels, ids = make(name), GOOD[name], ids_for(name)
    shape = str(tuple(labels.shape)).replace("(", r"\(").replace(")", r"\)")
    alone = torch.full_like(labels, -100)
    sentences = [
        (labels.T.repeat(2, 1) if labels.dim() == 2 else labels.repeat(2), rf"labels has shape .*, expected {shape}"),
        (labels.tolist(), "labels is a list, expected a tensor: torch.tensor"),
        (labels.numpy(), "labels is a numpy array, expected a tensor"),
        (3, "labels is a int, expected a tensor"),
        (labels.to("meta"), "labels is on the meta device"),
        (alone, "labels holds -100 alone: the mean over no label is NaN"),
    ]
    if name != "BertForSequenceClassification":  # which takes floats as several classes at once
        sentences.append((labels.float(), r"labels is torch.float32, expected torch.int64.*Use labels.long\(\)"))
        sentences.append((labels > 0, r"labels is torch.bool, expected torch.int64"))
    for wrong, sentence in sentences:
        with pytest.raises(InputError, match=sentence):
            model(ids, labels=wrong)
    assert model(ids, labels=alone, num_items_in_batch=4).loss == 0  # one micro-batch of a step may have none
    with pytest.raises(InputError, match="labels is empty"):
        model(ids[:0], labels=labels[:0])


def test_nan_weights_are_not_blamed_on_the_labels() -> None:
    model = make("BertForSequenceClassification")
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    assert model(IDS, labels=PER_TEXT).loss.isnan()


def test_good_labels_are_not_scanned(monkeypatch) -> None:
    def never(*_arguments: object) -> None:
        raise AssertionError("scanned")

    monkeypatch.setattr("minibert.losses.explain_label", never)
    monkeypatch.setattr("minibert.losses.check_some_count", never)
    for name, labels in GOOD.items():
        make(name)(ids_for(name), labels=labels)


def test_both_tasks_of_pretraining_name_their_labels() -> None:
    model = make("BertForPreTraining")
    with pytest.raises(InputError, match=r"next_sentence_label holds 2 at \(2,\); this head has classes 0 to 1"):
        model(IDS, labels=PER_TOKEN, next_sentence_label=torch.tensor([0, 1, 2]))
    with pytest.raises(InputError, match=r"labels holds 50 at \(0, 0\)"):
        model(IDS, labels=PER_TOKEN + 50 * (PER_TOKEN == 0), next_sentence_label=PER_TEXT)
    with pytest.raises(InputError, match="num_items_in_batch=…: this model has no loss to divide by it"):
        model(IDS, labels=PER_TOKEN, next_sentence_label=PER_TEXT, num_items_in_batch=3)


def test_positions_of_answers() -> None:
    model = make("BertForQuestionAnswering")
    start, end = torch.tensor([0, 2, 99]), torch.tensor([1, 4, 3])
    loss = model(IDS, start_positions=start, end_positions=end).loss
    assert model(IDS, start_positions=start.int(), end_positions=end[:, None]).loss == loss
    for wrong, sentence in (
        (start.float(), "start_positions is torch.float32, expected torch.int64"),
        (start[:2], r"start_positions has shape \(2,\), expected \(3,\)"),
        ([0, 2, 9], "start_positions is a list"),
    ):
        with pytest.raises(InputError, match=sentence):
            model(IDS, start_positions=wrong, end_positions=end)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64, torch.int32, torch.bool])
def test_numbers_and_several_classes_in_any_dtype(dtype: torch.dtype) -> None:
    """With problem_type said, zeros and ones of any kind are several classes; and numbers are numbers."""
    many = torch.tensor([[0, 1], [1, 1], [0, 0]])
    model = make("BertForSequenceClassification", problem_type="multi_label_classification")
    expected = model(IDS, labels=many.float()).loss
    loss = model(IDS, labels=many.to(dtype)).loss
    assert loss == expected
    loss.backward()
    scores = make("BertForSequenceClassification", num_labels=1)
    numbers = torch.tensor([0, 1, 1])
    loss = scores(IDS, labels=numbers.to(dtype)).loss
    assert loss.dtype == torch.float32
    assert loss == scores(IDS, labels=numbers.float()).loss
    loss.backward()


def test_a_classifier_that_is_not_told_its_problem() -> None:
    model = make("BertForSequenceClassification", num_labels=3)
    for wrong in (torch.tensor([0.0, 1.0, 2.0]), torch.tensor([True, False, True])):
        with pytest.raises(
            InputError, match=r"Expected int64 class numbers of shape \(3,\) \(labels.long\(\)\), or zeros"
        ):
            model(IDS, labels=wrong)
    with pytest.raises(InputError, match=r"labels has shape \(3, 3\), expected \(3,\)"):
        model(IDS, labels=torch.zeros(3, 3, dtype=torch.long))
    with pytest.raises(InputError, match=r"labels has shape \(3, 2\), expected \(3,\)"):
        make("BertForSequenceClassification", num_labels=1)(IDS, labels=torch.zeros(3, 2))
    with pytest.raises(ConfigError, match="problem_type is 'ranking'"):
        make("BertForSequenceClassification", problem_type="ranking")(IDS, labels=PER_TEXT)


@pytest.mark.parametrize("name", GOOD)
def test_micro_batches_add_up_to_the_whole(name: str) -> None:
    """Texts with different numbers of labels: the sums divided by the step's number are the whole batch's mean."""
    model, labels, ids = make(name), GOOD[name], ids_for(name)
    count = int((labels != -100).sum())
    whole = model(ids, labels=labels).loss
    parts = [model(ids[i : i + 1], labels=labels[i : i + 1], num_items_in_batch=count).loss for i in range(3)]
    assert float(sum(parts)) == pytest.approx(float(whole), rel=1e-6)
    as_tensor = model(ids, labels=labels, num_items_in_batch=torch.tensor([count])).loss
    assert as_tensor.shape == ()
    assert float(as_tensor) == pytest.approx(float(whole), rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ({"num_labels": 1}, torch.tensor([0.5, -1.0, 2.0])),
        ({"num_labels": 2, "problem_type": "regression"}, torch.randn(3, 2)),
        ({"num_labels": 2}, torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])),
    ],
)
def test_sums_of_squares_and_of_questions(settings: dict, labels: torch.Tensor) -> None:
    model = make("BertForSequenceClassification", **settings)
    whole = model(IDS, labels=labels).loss
    divided = model(IDS, labels=labels, num_items_in_batch=labels.numel()).loss
    assert float(divided) == pytest.approx(float(whole), rel=1e-6)


@pytest.mark.parametrize("count", [0, -1, "3", True, float("nan"), float("inf"), torch.tensor([1, 2]), [3]])
def test_counts_that_are_none(count: object) -> None:
    with pytest.raises(InputError, match="num_items_in_batch is .*; expected how many labels the step has"):
        make("BertForMaskedLM")(IDS, labels=PER_TOKEN, num_items_in_batch=count)
