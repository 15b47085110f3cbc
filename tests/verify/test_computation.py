"""The formulas of verify are BERT: every value of every model, and what follows from a value that is set."""

import pytest
import torch

import minibert
from minibert.verify.computation import FORMULAS, Computation, sources, split
from minibert.verify.ports import batches_for_ports, reference_of, with_defaults

CLASSES = [
    "BertForPreTraining",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
]


def small(name: str, **changes):
    settings = {"vocab_size": 60, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    config = minibert.BertConfig(**settings, intermediate_size=40, max_position_embeddings=32, **changes)
    torch.manual_seed(5)
    model = getattr(minibert, name)(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and LayerNorms that are not 0 and 1
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_every_formula_is_the_models(name: str, activation: str) -> None:
    model = small(name, hidden_act=activation)
    reference = reference_of(model)
    prefix = "bert."
    heads = {"cls.predictions", "cls.seq_relationship", "classifier", "qa_outputs"}
    for batch in batches_for_ports(model.config).values():
        trace = minibert.trace(model, batch)
        computation = Computation(reference, with_defaults(batch))
        for point in reference.names:
            is_head = point in heads or point.startswith("cls.")
            expected = trace[point if is_head else prefix + point]
            assert float((computation[point] - expected).abs().max()) < 1e-12, point
    assert {split(point)[1] for point in reference.names} <= set(FORMULAS)


def test_what_follows_from_a_value_that_is_set() -> None:
    """As an edit at that point of the model."""
    model = small("BertForPreTraining")
    batch = with_defaults(next(iter(batches_for_ports(model.config).values())))
    point = "encoder.layer.0.intermediate"
    right = Computation(reference_of(model), batch)[point]
    computation = Computation(reference_of(model), batch, {point: right * 1.5})
    with minibert.edit(model, f"bert.{point}", lambda value: value * 1.5):
        expected = model(**batch)
    assert float((computation["cls.predictions"] - expected.prediction_logits).abs().max()) < 1e-12
    assert float((computation["pooler"] - right.mean()).abs().max()) > 0


def test_layers_with_the_weights_of_others() -> None:
    model = small("BertForPreTraining")
    batch = with_defaults(next(iter(batches_for_ports(model.config).values())))
    exchanged = Computation(reference_of(model), batch, weights_of={0: 1, 1: 0})
    layers = model.bert.encoder.layer
    layers[0], layers[1] = layers[1], layers[0]
    expected = model(**batch).seq_relationship_logits
    assert float((exchanged["cls.seq_relationship"] - expected).abs().max()) < 1e-12


def test_sources() -> None:
    model = small("BertForPreTraining")
    table = sources(reference_of(model))
    assert "encoder.layer.0.attention.self.value" not in table["encoder.layer.0.attention.self.probabilities"]
    assert "encoder.layer.0.attention.self.key" in table["encoder.layer.0.attention.self.probabilities"]
    assert "embeddings.sum" in table["pooler"]
    assert "pooler" not in table["cls.predictions"]
