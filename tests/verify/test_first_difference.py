"""One thing is changed on purpose; the first point that differs must be the one that computes it."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch

import minibert
from minibert.cli import main
from minibert.verify import verify, verify_models
from minibert.verify.batches import batches_from_config
from minibert.verify.compare import compare_points
from minibert.verify.points import compared_points, record

FOLDER = Path(minibert.__file__).parent / "goldens" / "random-bert"


@pytest.fixture(scope="module")
def model():
    return minibert.BertForPreTraining.from_pretrained(FOLDER, attn_implementation="eager")


def first_difference(model, changed, batches=None):
    report = verify_models(model, changed, batches or batches_from_config(model.config), explain=False)
    return report.first_difference, report


@pytest.mark.parametrize(
    ("parameter", "point"),
    [
        ("bert.embeddings.token_type_embeddings.weight", "embeddings.token_type_embeddings"),
        ("bert.embeddings.LayerNorm.bias", "embeddings"),
        ("bert.encoder.layer.1.attention.self.query.weight", "encoder.layer.1.attention.self.query"),
        ("bert.encoder.layer.0.attention.self.key.bias", "encoder.layer.0.attention.self.key"),
        ("bert.encoder.layer.1.attention.self.value.weight", "encoder.layer.1.attention.self.value"),
        ("bert.encoder.layer.0.attention.output.dense.weight", "encoder.layer.0.attention.output"),
        ("bert.encoder.layer.1.attention.output.LayerNorm.weight", "encoder.layer.1.attention.output"),
        ("bert.encoder.layer.0.intermediate.dense.bias", "encoder.layer.0.intermediate"),
        ("bert.encoder.layer.1.output.dense.weight", "encoder.layer.1.output"),
        ("bert.pooler.dense.bias", "pooler"),
        ("cls.predictions.transform.dense.weight", "prediction_logits"),
        ("cls.predictions.bias", "prediction_logits"),
        ("cls.seq_relationship.weight", "seq_relationship_logits"),
    ],
)
def test_one_number_of_one_parameter(model, parameter: str, point: str) -> None:
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.get_parameter(parameter).view(-1)[0] += 1e-3
    found, report = first_difference(model, changed)
    assert found.point == point
    assert f"The first point that differs is {point}" in report.conclusion()
    assert found.difference > 0
    assert found.ulps >= 1
    assert not report.same


def test_the_place_is_named(model) -> None:
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.bert.encoder.layer[0].intermediate.dense.bias[5] += 1.0
    found, _ = first_difference(model, changed)
    assert found.place[-1] == 5
    assert abs(found.found - found.expected) == pytest.approx(found.difference)


def test_eps(model) -> None:
    changed = copy.deepcopy(model)
    for module in changed.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5
    assert first_difference(model, changed)[0].point == "embeddings"
    only_last = copy.deepcopy(model)
    only_last.bert.encoder.layer[1].output.LayerNorm.eps = 1e-5
    assert first_difference(model, only_last)[0].point == "encoder.layer.1.output"


def test_activation(model) -> None:
    changed = copy.deepcopy(model)
    for layer in changed.bert.encoder.layer:
        layer.intermediate.intermediate_act_fn = minibert.model.ACTIVATIONS["gelu_new"]
    assert first_difference(model, changed)[0].point == "encoder.layer.0.intermediate"


def test_mask_constant(model, monkeypatch) -> None:
    """Google's −10000 against the most negative number: only a row that is all padding can tell."""
    batches = batches_from_config(model.config)
    expected = {name: record(model, batch) for name, batch in batches.items()}
    original = minibert.model.additive_mask
    monkeypatch.setattr(minibert.model, "additive_mask", lambda *given: original(*given).clamp(min=-10000.0))
    results = [
        result
        for name, batch in batches.items()
        for result in compare_points(name, record(model, batch), expected[name], compared_points(2))
    ]
    first = next(result for result in results if result.differs)
    assert (first.batch, first.point) == ("a row of padding", "encoder.layer.0.attention.self.probabilities")


def test_position_ids(model) -> None:
    batches = batches_from_config(model.config)
    shifted = {name: {**b, "position_ids": torch.arange(1, 17)[None]} for name, b in batches.items()}
    name = "padded pairs"
    results = compare_points(name, record(model, shifted[name]), record(model, batches[name]), compared_points(2))
    assert next(result for result in results if result.differs).point == "embeddings.position_embeddings"


def test_one_token_id(model) -> None:
    batch = batches_from_config(model.config)["padded pairs"]
    other = {**batch, "input_ids": batch["input_ids"].clone()}
    other["input_ids"][1, 4] = (other["input_ids"][1, 4] + 1) % model.config.vocab_size
    results = compare_points("x", record(model, other), record(model, batch), compared_points(2))
    first = next(result for result in results if result.differs)
    assert first.point == "embeddings.word_embeddings"
    assert first.place[:2] == (1, 4)


def test_shapes_and_nan(model) -> None:
    values = torch.tensor([1.0, float("nan")])
    same, nan, shape, absent = (
        compare_points("b", {"p": found}, expected, ["p"])[0]
        for found, expected in (
            (values, {"p": values.clone()}),
            (values, {"p": torch.tensor([1.0, 2.0])}),
            (values, {"p": torch.tensor([1.0])}),
            (values, {}),
        )
    )
    assert same.verdict == "same"
    assert nan.differs
    assert nan.difference == float("inf")
    assert shape.differs
    assert absent.verdict == "absent (the reference)"


def test_hooks_are_gone_after_an_exception(model) -> None:
    with pytest.raises(minibert.InputError):
        record(model, {"input_ids": torch.tensor([[99999]])})
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_transformers(dtype: str, attention: str) -> None:
    pytest.importorskip("transformers")
    report = verify(FOLDER, "transformers", dtype=dtype, attention=attention)
    assert report.same
    assert max(result.difference for result in report.results if result.difference is not None) == 0.0
    maps = [result for result in report.results if result.point.endswith("probabilities")]
    assert len(maps) == 6
    assert {result.verdict for result in maps} == {"same" if attention == "eager" else "absent (fused)"}
    assert report.attention == attention


def test_on_the_real_checkpoint(minilm) -> None:
    pytest.importorskip("transformers")
    report = verify(minilm, "transformers")
    assert report.same
    assert len(report.results) == 3 * (4 + 6 * 8 + 1)
    text = report.to_text(every_point=False)
    assert "No point differs: all 159 are identical, max |Δ| = 0.0." in text
    assert "135 inner points are not shown" in text


def test_a_sentence_transformers_folder_and_a_file_of_another_name(tmp_path) -> None:
    pytest.importorskip("transformers")
    shutil.copytree(FOLDER, tmp_path / "0_Transformer")
    modules = [{"idx": 0, "name": "0", "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    assert verify(tmp_path, "transformers").same
    shutil.copy(FOLDER / "model.safetensors", tmp_path / "0_Transformer" / "mine.safetensors")
    with pytest.raises(minibert.CheckpointError, match="reads only files called model.safetensors"):
        verify(tmp_path / "0_Transformer" / "mine.safetensors", "transformers")


def test_two_folders_on_the_command_line(model, tmp_path, capsys) -> None:
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.bert.encoder.layer[1].attention.self.key.weight[2, 3] += 0.01
    changed.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_bytes((FOLDER / "vocab.txt").read_bytes())
    assert main(["verify", str(tmp_path), "--against", str(FOLDER)]) == 1
    printed = capsys.readouterr().out
    assert (
        "The first point that differs is encoder.layer.1.attention.self.key (batch “one sentence”) at (0, " in printed
    )
    assert main(["verify", str(FOLDER), "--against", str(FOLDER), "--text", "the pear", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["same"] is True
    assert {result["batch"] for result in content["results"]} == {"texts"}
