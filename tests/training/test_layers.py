"""Layers that are not trained, and a learning rate for each layer."""

import pytest
import torch

from minibert import InputError
from minibert.training.loop import train
from minibert.training.optimizer import freeze, make_optimizer
from minibert.training.settings import Settings
from tests.support.toy_training import Toy, ToyObjective, same, toy_model, weights
from tests.training.test_loop import run


def changed(freeze: str, folder, **settings) -> set[str]:
    """The parts of the model with weights that a run of 4 steps changes."""
    model = toy_model()
    before = weights(model)
    chosen = Settings(learning_rate=1e-2, steps=4, freeze=freeze, **settings)
    train(ToyObjective(model), Toy(), chosen, folder)
    assert all(parameter.requires_grad for parameter in model.parameters())
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    return {".".join(name.split(".")[1 : 4 if "layer." in name else 2]) for name in moved}


@pytest.mark.parametrize("checkpointed", [False, True])
def test_frozen_parts_keep_their_bits(tmp_path, checkpointed):
    rest = {"pooler", "predictions", "seq_relationship"}
    layers = {"encoder.layer.0", "encoder.layer.1"}
    more = {"gradient_checkpointing": checkpointed}
    assert changed("embeddings", tmp_path / "a", **more) == layers | rest
    assert changed("1", tmp_path / "b", **more) == {"embeddings", "encoder.layer.1"} | rest
    assert changed("embeddings, 1", tmp_path / "c", **more) == {"encoder.layer.1"} | rest
    assert changed("2,embeddings", tmp_path / "d", **more) == rest


def test_a_frozen_run_resumes_bit_for_bit(tmp_path):
    shared = {"dropout": 0.1, "freeze": "embeddings,1", "layer_decay": 0.8}
    whole, _ = run(tmp_path / "whole", **shared)
    run(tmp_path / "parts", **shared, stop_after=7)
    model, result = run(tmp_path / "parts", **shared)
    assert result.steps == 20
    assert same(weights(model), weights(whole))
    with pytest.raises(InputError, match=r"with settings.freeze 'embeddings,1', and this one has as usual"):
        run(tmp_path / "parts", dropout=0.1, layer_decay=0.8)


def test_what_is_frozen_is_given_to_no_optimizer():
    model = toy_model()
    freeze(model, Settings(freeze="embeddings,2"))
    groups = make_optimizer(model, Settings()).param_groups
    kept = {id(parameter) for group in groups for parameter in group["params"]}
    assert kept == {id(p) for name, p in model.named_parameters() if name.startswith(("bert.pooler", "cls."))}


def test_each_layer_has_its_share_of_the_rate():
    model = toy_model()
    optimizer = make_optimizer(model, Settings(layer_decay=0.5))
    share = {id(p): group["share"] for group in optimizer.param_groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(share) == len(list(model.parameters()))
    expected = {"bert.embeddings": 0.125, "bert.encoder.layer.0": 0.25, "bert.encoder.layer.1": 0.5}
    for name, parameter in model.named_parameters():
        known = [value for prefix, value in expected.items() if name.startswith(prefix)]
        assert share[id(parameter)] == (known or [1.0])[0], name
        assert (decay[id(parameter)] == 0) == (name.endswith("bias") or "LayerNorm" in name)


def test_shares_are_taken_of_each_steps_rate(tmp_path):
    """The first step of Adam moves every weight with a gradient by about its rate, where nothing decays."""
    model = toy_model()
    before = weights(model)
    settings = Settings(learning_rate=1e-3, warmup=0.0, steps=1, layer_decay=0.5, weight_decay=0.0, max_grad_norm=0.0)
    train(ToyObjective(model), Toy(), settings, tmp_path)
    for name, share in (
        ("pooler.dense", 1.0),
        ("encoder.layer.1.output.dense", 0.5),
        ("encoder.layer.0.output.dense", 0.25),
    ):
        moved = (model.get_parameter(f"bert.{name}.weight") - before[f"bert.{name}.weight"]).abs().max()
        assert moved.item() == pytest.approx(1e-3 * share, rel=0.02), name


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"freeze": "pooler"}, r"freeze is 'pooler'; expected 'embeddings', a number of layers such as '3', or both"),
        ({"freeze": "1,2"}, "freeze is '1,2'"),
        ({"freeze": "0"}, "freeze is '0'"),
        ({"freeze": ""}, "freeze is ''"),
        ({"freeze": 3}, "freeze is 3"),
        ({"layer_decay": 1.5}, "layer_decay is 1.5; it must lie between 0 and 1"),
    ],
)
def test_misuse(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        Settings(**wrong)


def test_more_layers_than_there_are(tmp_path):
    with pytest.raises(InputError, match=r"freeze is '3'; this model has 2 layers\."):
        run(tmp_path / "out", freeze="3")
    assert not (tmp_path / "out").exists()
