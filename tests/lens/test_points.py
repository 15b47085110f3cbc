"""The list of points is what a run computes: names, order, formulas, shapes."""

import json

import pytest
import torch

import minibert
from minibert import InputError, trace
from minibert.points import LOGITS, select
from minibert.verify.points import compared_points
from tests.support.small_models import ALL, SETTINGS, B, C, T, inputs_for, labels_for, small


@pytest.mark.parametrize("name", ALL)
def test_the_list_is_what_a_run_computes(name: str) -> None:
    model = small(name)
    listed = [point.name for point in model.points()]
    assert len(set(listed)) == len(listed)
    assert list(trace(model, inputs_for(name) | labels_for(name))) == listed
    without_labels = list(trace(model, inputs_for(name)))
    assert without_labels == [point for point in listed if point != "/loss"]
    assert ("/loss" in listed) == (name != "BertModel")


def test_a_model_without_pooler_and_a_run_from_embeddings() -> None:
    model = small()
    model.pooler = None
    listed = [point.name for point in model.points()]
    assert not [name for name in listed if "pooler" in name]
    inputs = inputs_for()
    embeds = model.embeddings.word_embeddings(inputs.pop("input_ids"))
    found = trace(model, inputs | {"inputs_embeds": embeds})
    assert list(found) == listed[1:] and listed[0] == "embeddings.word_embeddings"


@pytest.mark.parametrize("name", ALL)
def test_shapes_in_letters(name: str) -> None:
    model = small(name)
    sizes = {
        "B": B, "T": T, "C": C, "B·C": B * C, "H": 12, "N": 2, "D": 6, "I": 20, "V": 60, "labels": 5, "1": 1, "2": 2,
    }  # fmt: skip
    found = trace(model, inputs_for(name) | labels_for(name))
    for point in model.points():
        letters = [letter for letter in point.shape.strip("()").split(", ") if letter]
        assert tuple(found[point.name].shape) == tuple(sizes[letter] for letter in letters), point


@pytest.mark.parametrize("name", ALL)
def test_a_formula_that_names_another_point_has_its_value(name: str) -> None:
    model = small(name)
    found = trace(model, inputs_for(name))
    checked = 0
    for point in model.points():
        if point.formula.startswith("= ") and point.name in found:
            other = point.formula.removeprefix("= ")
            places = [f"{point.name}.{other}", f"{point.name.rpartition('.')[0]}.{other}", other, f"bert.{other}"]
            values = [found[place] for place in places if place in found]
            assert values, point
            assert any(torch.equal(found[point.name], value) for value in values), point
            checked += 1
    assert checked > 3 * 5


def test_formulas_hold() -> None:
    found = trace(small(), inputs_for())
    layer = {
        name.removeprefix("encoder.layer.1."): value for name, value in found.items() if name.startswith("encoder.lay")
    }
    near = {"atol": 1e-6, "rtol": 1e-5}
    scores = layer["attention.self.query_heads"] @ layer["attention.self.key_heads"].mT / 6**0.5
    torch.testing.assert_close(layer["attention.self.scores"], scores, **near)
    probabilities = layer["attention.self.masked_scores"].softmax(-1)
    torch.testing.assert_close(layer["attention.self.probabilities"], probabilities, **near)
    assert layer["attention.self.masked_scores"][2, :, :, 3:].max() < -1e38
    assert torch.equal(layer["attention.self.masked_scores"][0], layer["attention.self.scores"][0])
    context = layer["attention.self.dropout"] @ layer["attention.self.value_heads"]
    torch.testing.assert_close(layer["attention.self.context_heads"], context, **near)
    before = found["encoder.layer.0"]
    assert torch.equal(layer["attention.output.residual"], layer["attention.output.dropout"] + before)
    assert torch.equal(layer["output.residual"], layer["output.dropout"] + layer["attention"])
    assert torch.equal(layer["intermediate"], torch.nn.functional.gelu(layer["intermediate.dense"]))
    three = [found[f"embeddings.{kind}_embeddings"] for kind in ("word", "token_type", "position")]
    assert torch.equal(found["embeddings.sum"], three[0] + three[1] + three[2])


def test_the_letters_compute_what_the_model_computes() -> None:
    model = small().double()
    layer = model.encoder.layer[1]
    found = trace(model, {"input_ids": inputs_for()["input_ids"]})
    split, merge = layer.attention.self.split_heads, layer.attention.self.merge_heads
    dense = {
        "Q": layer.attention.self.query, "K": layer.attention.self.key, "V": layer.attention.self.value,
        "AO": layer.attention.output.dense, "I": layer.intermediate.dense, "O": layer.output.dense,
    }  # fmt: skip
    norms = {"a": layer.attention.output.LayerNorm, "y": layer.output.LayerNorm}
    known = {"x": found["encoder.layer.0"], "gelu": torch.nn.functional.gelu, "softmax": lambda s: s.softmax(-1)}
    for name, module in dense.items():
        known |= {f"W_{name}": module.weight.T, f"b_{name}": module.bias}
    signs = {" W_": " @ W_", "p v": "p @ v", " · ": " @ ", "ᵀ": ".mT", "√D": "6**0.5", "[c₁ … c_N]": "merge(c)"}
    points = [point for point in model.points() if point.layer == 1 and point.letters]
    for point in points:
        letter, formula = point.letters.split(" = ")
        for sign, code in signs.items():
            formula = formula.replace(sign, code)
        value = eval(formula, {**known, "merge": merge, "LayerNorm": norms.get(letter)})
        known[letter] = split(value) if letter in "qkv" else value
        torch.testing.assert_close(known[letter], found[point.name])
    assert [point.letters[0] for point in points] == list("qkvspcouafgwy")


def test_verify_compares_what_every_implementation_has() -> None:
    assert compared_points(1) == [
        "embeddings.word_embeddings", "embeddings.token_type_embeddings", "embeddings.position_embeddings",
        "embeddings", "encoder.layer.0.attention.self.query", "encoder.layer.0.attention.self.key",
        "encoder.layer.0.attention.self.value", "encoder.layer.0.attention.self.probabilities",
        "encoder.layer.0.attention.self.context", "encoder.layer.0.attention.output", "encoder.layer.0.intermediate",
        "encoder.layer.0.output", "pooler", "prediction_logits", "seq_relationship_logits", "logits", "start_logits",
        "end_logits",
    ]  # fmt: skip


def test_verify_and_the_lens_call_a_value_by_one_name() -> None:
    listed = {point.name for point in small().points()}
    assert set(compared_points(SETTINGS["num_hidden_layers"])) - listed == set(LOGITS)
    outputs = {name for head in ALL for name in (point.name for point in small(head).points())}
    assert {f"/{field}" for field in LOGITS} <= outputs


def test_prints_as_a_table() -> None:
    text = str(small("BertForMaskedLM").points())
    assert text.splitlines()[0].split() == ["step", "point", "formula", "shape"]
    assert "bert.encoder.layer.2.attention.self.scores         query_heads @ key_headsᵀ / √D " in text
    assert "(B, N, T, T)" in text
    assert repr(small().points()) == str(small().points())
    traced = str(trace(small(), inputs_for()))
    assert "3×2×9×9" in traced and traced.splitlines()[0].split()[-3:] == ["norm", "mean", "std"]


def test_layers_know_their_number() -> None:
    layers = [point.layer for point in small("BertForMaskedLM").points()]
    assert sorted(set(layers) - {None}) == [0, 1, 2] and layers.count(0) == layers.count(2) == 27


@pytest.mark.parametrize(
    ("wanted", "count"),
    [("encoder.layer.*.output", 3), ("**.output", 6), ("encoder.layer.?", 0), ("/*", 2), ("**", 94), ("pooler", 1)],
)
def test_stars(wanted: str, count: int) -> None:
    model = small()
    if count:
        found = select(model, wanted)
        assert len(found) == count
        assert [point.name for point in model.points() if point.name in found] == found
    else:
        with pytest.raises(InputError, match="There is no point 'encoder.layer.\\?' in BertModel"):
            select(model, wanted)


def test_an_unknown_name_gets_those_that_come_near() -> None:
    with pytest.raises(
        InputError, match=r"no point 'encoder.layer.1.attention.self.score'.*layer.1.attention.self.scor"
    ):
        select(small(), "encoder.layer.1.attention.self.score")
    with pytest.raises(InputError, match=r"Near it: bert\.pooler\.dense"):
        select(small("BertForSequenceClassification"), "pooler.dense")
    with pytest.raises(InputError, match="lists all 94"):
        select(small(), "")


def test_a_module_that_somebody_put_in_is_a_point() -> None:
    model = small()
    model.encoder.layer[1].output.dense = torch.nn.Sequential(model.encoder.layer[1].output.dense, torch.nn.ReLU())
    found = trace(model, inputs_for())
    assert torch.equal(found["encoder.layer.1.output.dense.0"].relu(), found["encoder.layer.1.output.dense"])
    listed = [point.name for point in model.points()]
    assert set(listed) == set(found)
    assert trace(model, inputs_for(), points="encoder.layer.1.output.dense.1").keys() == {
        "encoder.layer.1.output.dense.1"
    }


def test_shows_the_published_rows_and_shapes_for_13_tokens(shared) -> None:
    published = json.loads((shared / "reference" / "published_values.json").read_text(encoding="utf-8"))
    rows = published["module_tree"]["hook_output_shapes_of_bert-base-uncased_for_13_tokens"]
    with torch.device("meta"):  # shapes alone: tensors without memory
        model = minibert.BertModel(minibert.BertConfig.from_pretrained("bert-base-uncased")).eval()
    found = trace(model, {"input_ids": torch.arange(13)[None]})
    assert len(rows) == 60
    for name, shape in rows:
        assert list(found[name.removesuffix("/0")].shape) == shape, name
    order = [name.removesuffix("/0") for name, _ in rows]
    assert [name for name in found if name in order] == order
