"""Weights that were not loaded, values that go out wrong, and numbers that are none: what no formula tells."""

import pytest
import torch

from minibert import BertForPreTraining
from minibert.verify.computation import Computation
from minibert.verify.own_rounding import in_single, own_rounding
from minibert.verify.ports import explain_port, reference_of
from tests.support.small_models import small
from tests.verify.naming import explain_case, perturbed, with_few_words
from tests.verify.wrong import Case

QKV = ("attention.self.query", "attention.self.key", "attention.self.value")


class Port(torch.nn.Module):
    """The right model under other names, which returns its values by their places."""

    def __init__(self, model, change=None, returned=None):
        super().__init__()
        self.inner = type(model)(model.config).eval()
        self.inner.load_state_dict(model.state_dict())
        if change is not None:
            with torch.no_grad():
                change(self.inner)
        self.returned = returned or (lambda outputs: (outputs.prediction_logits, outputs.seq_relationship_logits))

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.returned(
            self.inner(input_ids, attention_mask, token_type_ids, output_hidden_states=True, return_dict=True)
        )


@pytest.fixture(scope="module")
def model() -> BertForPreTraining:
    torch.manual_seed(3)
    model = small("BertForPreTraining", hidden_size=32, intermediate_size=40, num_hidden_layers=3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.copy_(torch.randn(parameter.shape) * 0.2 + ("LayerNorm.weight" in name))
            else:
                parameter.mul_(3)
    return model.eval()


def drawn(*names):
    """Matrices as they were before loading."""

    def change(inner):
        torch.manual_seed(11)
        for name in names:
            weight = inner.get_parameter(name)
            weight.copy_(torch.randn_like(weight) * 0.1)

    return change


def told(model, **port):
    explanation = explain_port(model, Port(model, **port))
    return [(finding.mistakes[0].key, tuple(finding.points)) for finding in explanation.findings]


def test_a_right_port_is_told_nothing(model):
    assert told(model) == []


@pytest.mark.parametrize(
    "name",
    ["bert.pooler.dense", "cls.seq_relationship", "bert.encoder.layer.1.intermediate.dense",
     "bert.encoder.layer.0.attention.self.query"],
)  # fmt: skip
def test_a_matrix_that_was_not_loaded_is_named(model, name):
    point = name.removeprefix("bert.")
    assert told(model, change=drawn(f"{name}.weight")) == [("weights.not_loaded", (point,))]


def test_all_three_projections_are_told_from_one_another(model):
    layer = "encoder.layer.1."
    ((key, points),) = told(model, change=drawn(*(f"bert.{layer}{name}.weight" for name in QKV)))
    assert key == "weights.not_loaded" and set(points) == {layer + name for name in QKV}


def test_a_decoder_of_its_own_is_not_tied(model):
    def change(inner):
        decoder = inner.cls.predictions.decoder
        decoder.weight = torch.nn.Parameter(torch.randn(decoder.weight.shape, generator=torch.manual_seed(1)))

    assert told(model, change=change) == [("decoder.not_tied", ("cls.predictions",))]


def test_one_finding_where_nothing_was_loaded(model):
    def change(inner):
        drawn(*(name for name, weight in inner.named_parameters() if weight.dim() == 2))(inner)

    ((key, points),) = told(model, change=change)
    assert key == "weights.none_loaded" and points == ("embeddings.word_embeddings",)


def test_the_weights_of_another_layer(model):
    def change(inner):
        layers = inner.bert.encoder.layer
        layers[2].intermediate = layers[0].intermediate

    assert told(model, change=change) == [("weights.of_layer", ("encoder.layer.2.intermediate.dense",))]


def test_a_weight_that_was_changed(model):
    def change(inner):
        weight = inner.bert.encoder.layer[1].output.dense.weight
        weight[::2] *= 1.5

    assert told(model, change=change) == [("weights.changed", ("encoder.layer.1.output.dense",))]


@pytest.mark.parametrize(
    ("pooled", "points"),
    [
        (None, []),  # it has no pooler, which is no difference
        (lambda pooler, embeddings, h: pooler.activation(pooler.dense(h)), ["pooler.dense"]),  # of every token
        (lambda pooler, embeddings, h: pooler.activation(pooler.dense(h[0])), ["pooler.dense"]),  # of one text
        (lambda pooler, embeddings, h: pooler(embeddings), ["pooler.dense"]),  # before the layers
    ],
)
def test_a_part_whose_weights_are_used_is_not_absent(model, pooled, points):
    """Wherever its value is, and in whatever shape."""
    bert = model.bert

    def port(input_ids, attention_mask, token_type_ids):
        embeddings = bert.embeddings(input_ids, token_type_ids)
        h = bert.encoder(embeddings, (attention_mask[:, None, None] == 0) * -1e9).last_hidden_state
        return h if pooled is None else (h, pooled(bert.pooler, embeddings, h))

    assert [finding.points for finding in explain_port(bert, port).findings] == [points] * bool(points)


@pytest.mark.parametrize(
    ("returned", "key", "point"),
    [
        (lambda o: (o.prediction_logits, o.seq_relationship_logits.flip(-1)), "head.order", "cls.seq_relationship"),
        (lambda o: (o.prediction_logits.softmax(-1), o.seq_relationship_logits), "head.softmax", "cls.predictions"),
        (lambda o: (2 * o.prediction_logits, o.seq_relationship_logits), "outputs.other", "[0]"),
        (lambda o: o.hidden_states[-2], "outputs.other", "result"),
    ],
)
def test_what_is_returned_is_looked_at(model, returned, key, point):
    assert told(model, returned=returned) == [(key, (point,))]


@pytest.mark.parametrize(
    "returned",
    [
        lambda o: o.hidden_states[-1],
        lambda o: (o.hidden_states[-1], o.hidden_states[-1].mean(1)),
        lambda o: (o.seq_relationship_logits, o.prediction_logits),
        lambda o: tuple(o.hidden_states),
    ],
)
def test_what_a_port_may_return(model, returned):
    assert told(model, returned=returned) == []


def test_nan_is_told_where_it_begins(model):
    def change(inner):
        inner.bert.encoder.layer[1].output.dense.bias[3] = torch.nan

    explanation = explain_port(model, Port(model, change=change))
    (finding,) = explanation.findings
    assert finding.mistakes[0].key == "relation.nan" and "layer.1.output.dense" in finding.theirs


def test_rounding_of_large_numbers_is_no_finding():
    demo = with_few_words(BertForPreTraining.from_pretrained("minibert-demo"), 200)
    with torch.no_grad():
        demo.bert.encoder.layer[1].intermediate.dense.bias -= 5  # GELU far below zero, where erf is nearly -1
    explanation = explain_case(perturbed(demo), Case("functional", ("no-embeddings-norm",), ()))
    assert [finding.mistakes[0].key for finding in explanation.findings] == ["norm.missing"]
    far = {point.point for point in explanation.points if (point.ulps or 0) > explanation.units}
    assert far and any(note.split(":")[0].split(" and ")[0] in far for note in explanation.notes)


def test_own_rounding_is_that_of_float32(model):
    ids = torch.arange(12).view(2, 6)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    run = Computation(reference_of(model), batch)
    name = "encoder.layer.0.output.dense"
    everywhere = torch.ones(2, 6, dtype=torch.bool)
    assert 0.01 < own_rounding(run, in_single(run, [name]), name, everywhere) < 8
    run.known["encoder.layer.0.intermediate"] = run["encoder.layer.0.intermediate"] + 1e4
    weight = run.reference.weights["encoder.layer.0.output.dense.weight"]
    weight.sub_(weight.mean(dim=1, keepdim=True))  # so that the 1e4 cancels
    run.known.pop(name)
    assert own_rounding(run, in_single(run, [name]), name, everywhere) > 100
