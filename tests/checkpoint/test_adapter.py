"""Adapters of PEFT: merged into their base without the library, the same numbers; other kinds are refused."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from minibert import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer, CheckpointError
from minibert.cli import main
from minibert.convert import convert
from minibert.source import ADAPTER
from tests.support.toy_tasks import toy_checkpoint

TOLERANCE = 1e-6  # a product of two matrices is added before or after the product with the input
IDS = torch.tensor([[2, 7, 11, 9, 3], [2, 30, 12, 8, 3]])


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return toy_checkpoint(tmp_path_factory.mktemp("base"))


def adapted(base: Path, folder: Path, labels: int = 3, **settings):
    """An adapter that peft saves, with random matrices and a head; and its logits."""
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification.from_pretrained(base, num_labels=labels)
    usual = {"task_type": "SEQ_CLS", "target_modules": ["query", "value"], "r": 2, "init_lora_weights": False}
    model = peft.get_peft_model(model, peft.LoraConfig(**usual | settings)).eval()
    model.save_pretrained(folder)
    with torch.no_grad():
        return model(IDS).logits


@pytest.fixture
def adapter(base, tmp_path) -> Path:
    adapted(base, tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lora_alpha": 3, "use_rslora": True},
        {"alpha_pattern": {"layer.1.attention.self.query": 5}, "rank_pattern": {"value": 4}},
        {"bias": "all", "target_modules": ["key", "dense"]},
    ],
)
def test_logits_are_those_of_peft(base, tmp_path, settings):
    expected = adapted(base, tmp_path / "x", **settings)
    model = BertForSequenceClassification.from_pretrained(tmp_path / "x", num_labels=3)
    plain = BertForSequenceClassification.from_pretrained(base, num_labels=3)
    with torch.no_grad():
        assert (model(IDS).logits - expected).abs().max() < TOLERANCE
        plain.classifier.load_state_dict(model.classifier.state_dict())
        assert (plain(IDS).logits - expected).abs().max() > 1e-4
    assert "weights are W + s · B · A" in str(model.load_report)


def test_peft_is_not_needed(base, tmp_path, monkeypatch):
    expected = adapted(base, tmp_path / "x")
    monkeypatch.setitem(sys.modules, "peft", None)  # an import of it fails
    model = BertForSequenceClassification.from_pretrained(tmp_path / "x", num_labels=3)
    assert (model(IDS).logits - expected).abs().max() < TOLERANCE


def test_config_and_tokenizer_are_those_of_the_base(base, adapter):
    model = BertModel.from_pretrained(adapter)
    assert model.config.hidden_size == 32
    tokenizers = [BertTokenizer.from_pretrained(folder) for folder in (adapter, base)]
    assert tokenizers[0].get_vocab() == tokenizers[1].get_vocab()


def test_every_layer_has_the_adapters_effect(base, adapter):
    """Of the hidden states, only the embeddings are those of the base."""
    ours, plain = (BertModel.from_pretrained(folder, output_hidden_states=True) for folder in (adapter, base))
    pairs = list(zip(ours(IDS).hidden_states, plain(IDS).hidden_states, strict=True))
    assert torch.equal(*pairs[0])
    assert all((one - other).abs().max() > 1e-3 for one, other in pairs[1:])


def test_a_base_in_googles_layout(base, adapter, tmp_path):
    """Whose kernels are transposed: B · A is, too."""
    state = load_file(base / "model.safetensors")
    name = "bert.encoder.layer.0.attention.self.query.weight"
    google = {"bert/encoder/layer_0/attention/self/query/kernel": state.pop(name).T.contiguous()}
    shutil.copytree(base, tmp_path / "google")
    save_file({**state, **google}, tmp_path / "google" / "model.safetensors")
    change(adapter, base_model_name_or_path=str(tmp_path / "google"))
    found = BertModel.from_pretrained(adapter).encoder.layer[0].attention.self.query.weight
    change(adapter, base_model_name_or_path=str(base))
    assert torch.equal(found, BertModel.from_pretrained(adapter).encoder.layer[0].attention.self.query.weight)


def test_converted_to_plain_weights(base, tmp_path):
    expected = adapted(base, tmp_path / "x", labels=2)
    convert(tmp_path / "x", tmp_path / "plain", "BertForSequenceClassification")
    assert not (tmp_path / "plain" / ADAPTER).exists()
    shutil.move(tmp_path / "x", tmp_path / "moved")
    model = BertForSequenceClassification.from_pretrained(tmp_path / "plain")
    assert (model(IDS).logits - expected).abs().max() < TOLERANCE
    assert load_file(tmp_path / "plain" / "model.safetensors").keys() == model.state_dict().keys()


def change(adapter: Path, **settings) -> None:
    """Write other settings into adapter_config.json."""
    content = {**json.loads((adapter / ADAPTER).read_text()), **settings}
    (adapter / ADAPTER).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"peft_type": "IA3"}, r'peft_type is "IA3"; minibert reads adapters of LoRA only'),
        ({"use_dora": True}, r"use_dora is true, which minibert does not have"),
        ({"a_new_kind": {"x": 1}}, r"a_new_kind is .*, which minibert does not have"),
        ({"fan_in_fan_out": True}, r"fan_in_fan_out is true"),
        ({"init_lora_weights": "pissa"}, r"init_lora_weights is \"pissa\"; expected one of"),
        ({"lora_alpha": "8"}, r'lora_alpha is "8"; expected a number'),
        ({"alpha_pattern": {"(": 1}}, r"alpha_pattern has \"\(\", no expression"),
        ({"base_model_name_or_path": None}, r"does not name the checkpoint that the adapter is for\. Say where it is"),
        ({"base_model_name_or_path": "/nowhere/at-all"}, r"of /nowhere/at-all, which is not there\. Say where it is"),
    ],
)
def test_other_settings_are_refused(adapter, settings, words):
    change(adapter, **settings)
    with pytest.raises(CheckpointError, match=words):
        BertForSequenceClassification.from_pretrained(adapter, num_labels=3)


def test_a_base_of_another_shape(adapter, tmp_path):
    small = BertConfig(vocab_size=46, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    BertModel(small).save_pretrained(tmp_path / "small")
    change(adapter, base_model_name_or_path=str(tmp_path / "small"))
    with pytest.raises(
        CheckpointError, match=r"has shape \(2, 32\).* has \(16, 16\)\. The adapter was made for another"
    ):
        BertModel.from_pretrained(adapter)
    small.num_hidden_layers, small.hidden_size = 1, 32
    BertModel(small).save_pretrained(tmp_path / "flat")
    change(adapter, base_model_name_or_path=str(tmp_path / "flat"))
    with pytest.raises(CheckpointError, match=r"changes bert\.encoder\.layer\.1\..*, which .* does not hold"):
        BertModel.from_pretrained(adapter)


def test_an_adapter_of_an_adapter(adapter):
    change(adapter, base_model_name_or_path=str(adapter))
    with pytest.raises(CheckpointError, match=r"which is an adapter itself\. Merge that first: minibert convert"):
        BertModel.from_pretrained(adapter)


def test_no_pickle_is_opened(adapter):
    weights = adapter / "adapter_model.safetensors"
    torch.save(load_file(weights), adapter / "adapter_model.bin")
    weights.unlink()
    with pytest.raises(
        CheckpointError, match=r"without adapter_model\.safetensors; its weights are read from no other"
    ):
        BertModel.from_pretrained(adapter)


@pytest.mark.parametrize(
    ("rename", "words"),
    [
        ((".lora_B.", ".lora_magnitude_vector."), "which is no pair of matrices"),
        (("query.lora_A.weight", "query.lora_embedding_A"), "which is no pair of matrices"),
        (("layer.0.attention.self.query.lora_B", "layer.0.attention.self.key.lora_B"), "without the other matrix"),
        (("lora_", "laura_"), "holds no matrices of LoRA"),
    ],
)
def test_other_tensors_are_refused(adapter, rename, words, capsys):
    path = adapter / "adapter_model.safetensors"
    save_file({name.replace(*rename): tensor for name, tensor in load_file(path).items()}, path)
    assert main(["embed", "a text", "--model", str(adapter)]) == 2
    assert words in capsys.readouterr().err
