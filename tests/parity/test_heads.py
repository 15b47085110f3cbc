"""Every head against transformers': logits, losses and gradients, bit for bit."""

import pytest
import torch

import minibert
from tests.parity.cases import random_inputs, random_settings
from tests.parity.compare import assert_same_gradients, assert_same_outputs, twins
from tests.parity.tolerances import EXACT, FLOAT64

pytestmark = pytest.mark.peers

transformers = pytest.importorskip("transformers")
B, T = 3, 12


def labels_for(name: str, settings: dict) -> dict[str, torch.Tensor]:
    torch.manual_seed(11)
    masked = torch.randint(settings["vocab_size"], (B, T))
    masked[:, ::3] = -100
    return {
        "BertForPreTraining": {"labels": masked, "next_sentence_label": torch.tensor([0, 1, 1])},
        "BertForMaskedLM": {"labels": masked},
        "BertForNextSentencePrediction": {"labels": torch.tensor([0, 1, 1])},
        "BertForTokenClassification": {"labels": torch.randint(5, (B, T)).masked_fill(torch.rand(B, T) < 0.3, -100)},
        "BertForQuestionAnswering": {
            "start_positions": torch.tensor([2, 40, 0]),
            "end_positions": torch.tensor([[5], [41], [3]]),
        },
    }[name]


HEADS = (
    "BertForPreTraining",
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
)


def compare(name: str, settings: dict, labels: dict, attention: str, kind: str = "pairs", dtype=torch.float32) -> None:
    tolerance = EXACT if dtype == torch.float32 else FLOAT64
    ours, reference = twins(name, getattr(transformers, name), settings, attention, dtype)
    inputs, same = random_inputs(settings, kind, attention)
    wanted = {"output_hidden_states": True, "output_attentions": attention == "eager"}
    found, expected = ours(**inputs, **labels, **wanted), reference(**same, **labels, **wanted)
    assert found.loss is not None
    assert_same_outputs(found, expected, tolerance)
    found.loss.backward()
    expected.loss.backward()
    assert assert_same_gradients(ours, reference, tolerance) > 10


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", HEADS)
def test_logits_loss_and_gradients(name: str, attention: str) -> None:
    for number in (0, 3, 5, 8):
        settings = random_settings(number)
        if name == "BertForTokenClassification":
            settings["num_labels"] = 5
        compare(name, settings, labels_for(name, settings), attention)


@pytest.mark.parametrize("name", HEADS)
def test_in_float64(name: str) -> None:
    settings = random_settings(4) | ({"num_labels": 5} if name == "BertForTokenClassification" else {})
    compare(name, settings, labels_for(name, settings), "sdpa", dtype=torch.float64)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(
    ("num_labels", "problem_type", "labels"),
    [
        (1, None, torch.tensor([0.2, 1.5, -3.0])),
        (1, "regression", torch.tensor([[0.2], [1.5], [-3.0]])),
        (3, "regression", torch.randn(3, 3)),
        (4, None, torch.tensor([0, 3, 2])),
        (4, "single_label_classification", torch.tensor([1, 1, 0])),
        (4, None, torch.tensor([[0.0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])),
        (4, "multi_label_classification", torch.tensor([[0.0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])),
    ],
)
def test_sequence_classification(
    num_labels: int, problem_type: str | None, labels: torch.Tensor, attention: str
) -> None:
    settings = random_settings(6) | {"num_labels": num_labels, "problem_type": problem_type, "classifier_dropout": 0.3}
    compare("BertForSequenceClassification", settings, {"labels": labels}, attention)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_multiple_choice(attention: str) -> None:
    settings = random_settings(7)
    ours, reference = twins("BertForMultipleChoice", transformers.BertForMultipleChoice, settings, attention)
    torch.manual_seed(3)
    ids = torch.randint(settings["vocab_size"], (2, 4, 12))
    mask = (torch.rand(2, 4, 12) < 0.8).long()
    mask[..., 0] = 1
    inputs = {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([3, 0])}
    found, expected = ours(**inputs), reference(**inputs)
    assert found.logits.shape == (2, 4)
    assert_same_outputs(found, expected, EXACT)
    found.loss.backward()
    expected.loss.backward()
    assert_same_gradients(ours, reference, EXACT)


def test_training_mode_with_the_same_generator_state() -> None:
    settings = random_settings(5)
    ours, reference = twins("BertForPreTraining", transformers.BertForPreTraining, settings, "sdpa")
    inputs, same = random_inputs(settings, "pairs", "sdpa")
    labels = labels_for("BertForPreTraining", settings)
    torch.manual_seed(1)
    found = ours.train()(**inputs, **labels)
    torch.manual_seed(1)
    expected = reference.train()(**same, **labels)
    assert_same_outputs(found, expected, EXACT)
    found.loss.backward()
    expected.loss.backward()
    assert_same_gradients(ours, reference, EXACT)


def test_the_decoder_is_the_word_embedding() -> None:
    config = minibert.BertConfig(**random_settings(0))
    model = minibert.BertForMaskedLM(config)
    predictions = model.cls.predictions
    assert predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert predictions.decoder.bias is predictions.bias
    untied = minibert.BertForMaskedLM(minibert.BertConfig(**random_settings(0), tie_word_embeddings=False))
    assert untied.cls.predictions.decoder.weight is not untied.bert.embeddings.word_embeddings.weight
    assert untied.num_parameters() > model.num_parameters()
