"""What people hand to ``from_pretrained``: sources that are none, and the arguments of transformers."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import minibert
from minibert import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    CheckpointError,
    ConfigError,
    Embedder,
    InputError,
    MinibertError,
    Predictor,
)
from minibert.auto import load_architecture
from minibert.checkpoint import open_weights
from tests.checkpoint.test_wrapped import TINY, assert_same_state, folder_of, model_of


class Named:
    """A path that is bytes."""

    def __fspath__(self) -> bytes:
        return b"x"


OPENERS: dict[str, Callable[..., object]] = {
    "config": BertConfig.from_pretrained,
    "model": BertModel.from_pretrained,
    "head": BertForMaskedLM.from_pretrained,
    "tokenizer": BertTokenizer.from_pretrained,
    "embedder": Embedder.from_pretrained,
    "predictor": Predictor.from_pretrained,
    "architecture": load_architecture,
    "weights": open_weights,
    "json-file": BertConfig.from_json_file,
}


@pytest.mark.parametrize("opens", OPENERS.values(), ids=OPENERS)
@pytest.mark.parametrize(
    "source", [None, 7, 1.5, True, b"folder", [], ["minibert-demo"], {}, "", object(), Named(), torch.ones(2)]
)  # fmt: skip
def test_a_source_that_is_none_is_a_sentence(opens: Callable[..., object], source: object) -> None:
    with pytest.raises(InputError) as caught:
        opens(source)
    assert "source" in str(caught.value)
    assert "expected the path of a folder or file, or a name on the hub" in str(caught.value)


@pytest.mark.parametrize("saves", [TINY.save_pretrained, model_of("BertModel").save_pretrained])
def test_a_folder_to_save_in_that_is_none(saves: Callable[[object], None]) -> None:
    for folder in (None, 7, b"x", ""):
        with pytest.raises(InputError, match="expected the path of a folder"):
            saves(folder)


@pytest.mark.parametrize("opens", [BertConfig, BertModel, BertTokenizer], ids=["config", "model", "tokenizer"])
@pytest.mark.parametrize(
    "where",
    [
        {"revision": 7}, {"cache_dir": 7}, {"local_files_only": "yes"}, {"token": 3}, {"force_download": None},
        {"use_auth_token": 3},
    ],
)  # fmt: skip
def test_where_of_a_wrong_kind(opens: type[BertModel], where: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"from_pretrained: \w+ is .*; expected"):
        opens.from_pretrained("minibert-demo", **where)


def saved(tmp_path: Path, name: str = "BertForSequenceClassification") -> tuple[Path, minibert.BertPreTrainedModel]:
    model = model_of(name)
    return folder_of(tmp_path / "x", model.state_dict()), model


def test_the_source_by_transformers_own_name(tmp_path: Path) -> None:
    folder, model = saved(tmp_path)
    found = BertForSequenceClassification.from_pretrained(pretrained_model_name_or_path=folder)
    assert_same_state(found, model)
    assert BertConfig.from_pretrained(pretrained_model_name_or_path=folder).hidden_size == 24
    with pytest.raises(ConfigError, match="two sources"):
        BertModel.from_pretrained(folder, pretrained_model_name_or_path=folder)


def test_a_state_dict_with_a_config_or_a_source(tmp_path: Path) -> None:
    folder, model = saved(tmp_path)
    state = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    for source, config in ((None, TINY), (folder, None), (None, folder), (None, str(folder / "config.json"))):
        found = BertForSequenceClassification.from_pretrained(source, config=config, state_dict=state)
        assert all(torch.equal(tensor, state[name]) for name, tensor in found.state_dict().items())
        assert not found.training
    with torch.no_grad():
        found.classifier.weight.zero_()
    assert state["classifier.weight"].abs().max() > 0  # the model has tensors of its own
    assert "the state_dict that was given" in str(found.load_report)
    wrapped = {f"model.{name}": tensor for name, tensor in state.items()}
    again = BertForSequenceClassification.from_pretrained(None, config=TINY, state_dict=wrapped)
    assert torch.equal(again.classifier.weight, state["classifier.weight"])
    assert BertModel.from_pretrained(None, config=TINY, state_dict=state, dtype="auto").dtype == torch.float32


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ([1], "state_dict is a list"),
        ({}, "the state_dict that was given has 0 layers"),
        ({"a": 1}, 'state_dict holds "a" with a int'),
        ({1: torch.ones(1)}, "state_dict holds 1 with a Tensor"),
        ({"a": torch.eye(2).to_sparse()}, "sparse"),
        ({"encoder.layer.0.output.dense.bias": torch.ones(24)}, "has 1 layers"),
        ({"x" * 2000: torch.ones(1)}, "2,000 letters"),
    ],
)
def test_a_state_dict_that_is_none(state: object, words: str) -> None:
    with pytest.raises(MinibertError) as caught:
        BertModel.from_pretrained(None, config=TINY, state_dict=state)
    assert words in str(caught.value)
    for given in ({"state_dict": state}, {"config": TINY}):
        with pytest.raises(InputError, match="got no source"):
            BertModel.from_pretrained(None, **given)


def test_a_config_of_another_kind(tmp_path: Path) -> None:
    folder, _ = saved(tmp_path)
    for config in (7, {"hidden_size": 24}, [TINY]):
        with pytest.raises(ConfigError, match=r"config is a \w+; expected a minibert.BertConfig"):
            BertModel.from_pretrained(folder, config=config)


def test_ignore_mismatched_sizes_is_a_fresh_head_where_it_does_not_fit(tmp_path: Path) -> None:
    folder, model = saved(tmp_path)
    with pytest.raises(CheckpointError, match=r"fresh_head=True \(or ignore_mismatched_sizes=True\)"):
        BertForSequenceClassification.from_pretrained(folder, num_labels=5)
    fresh = BertForSequenceClassification.from_pretrained(folder, num_labels=5, ignore_mismatched_sizes=True)
    assert fresh.load_report.fresh == ("classifier.weight", "classifier.bias")
    assert {record.note for record in fresh.load_report.unused} == {
        "it does not have shape (5, 24), and ignore_mismatched_sizes was given",
        "it does not have shape (5,), and ignore_mismatched_sizes was given",
    }
    assert fresh.classifier.weight.shape == (5, 24)
    assert fresh.classifier.weight.std() > 0
    assert_same_state(fresh.bert, model.bert)
    kept = BertForSequenceClassification.from_pretrained(folder, ignore_mismatched_sizes=True)
    assert_same_state(kept, model)  # a head that fits is kept, as there
    other = BertForMaskedLM.from_pretrained(folder, ignore_mismatched_sizes=True)
    assert "cls.predictions.transform.dense.weight" in other.load_report.fresh
    with pytest.raises(CheckpointError, match="config.json and the weights do not belong together"):
        BertModel.from_pretrained(folder, type_vocab_size=3, ignore_mismatched_sizes=True)


def test_as_in_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder, model = saved(tmp_path)
    state = {name: tensor * 2 for name, tensor in model.state_dict().items()}
    config = transformers.BertConfig.from_pretrained(folder)
    theirs = transformers.BertForSequenceClassification.from_pretrained(None, config=config, state_dict=state)
    assert_same_state(BertForSequenceClassification.from_pretrained(None, config=TINY, state_dict=state), theirs)
    theirs = transformers.BertForSequenceClassification.from_pretrained(folder, ignore_mismatched_sizes=True)
    assert_same_state(BertForSequenceClassification.from_pretrained(folder, ignore_mismatched_sizes=True), theirs)


TAKEN = {
    "low_cpu_mem_usage": True, "trust_remote_code": True, "use_safetensors": True, "from_tf": False, "from_flax": False,
    "weights_only": True, "device_map": "cpu", "attn_implementation": "sdpa", "torch_dtype": "float32",
    "output_loading_info": False, "load_in_8bit": False, "quantization_config": None, "subfolder": "", "variant": None,
    "offload_folder": "x", "max_memory": None, "resume_download": True, "_fast_init": True, "use_auth_token": None,
    "proxies": None, "key_mapping": None,
}  # fmt: skip


def test_arguments_of_transformers_that_are_taken(tmp_path: Path) -> None:
    folder, model = saved(tmp_path)
    assert_same_state(BertForSequenceClassification.from_pretrained(folder, **TAKEN), model)
    for name, value in TAKEN.items():
        assert_same_state(BertForSequenceClassification.from_pretrained(folder, **{name: value}), model)
    assert BertConfig.from_pretrained(folder, trust_remote_code=True).to_dict().keys() == TINY.to_dict().keys()
    eager = BertModel.from_pretrained(folder, attn_implementation="eager")
    assert eager.config.attn_implementation == "eager"
    assert BertModel.from_pretrained(folder, attn_implementation=None).config.attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"output_loading_info": True}, "load_report"),
        ({"load_in_8bit": True}, "float32"),
        ({"load_in_4bit": True}, "float32"),
        ({"quantization_config": {"bits": 4}}, "float32"),
        ({"attn_implementation": "flash_attention_2"}, "choose 'eager' or 'sdpa'"),
        ({"use_flash_attention_2": True}, 'attn_implementation="sdpa"'),
        ({"subfolder": "inner"}, "that folder itself"),
        ({"variant": "fp16"}, "that file itself"),
        ({"gguf_file": "x.gguf"}, "made from"),
        ({"adapter_name": "a"}, "merge_and_unload"),
        ({"key_mapping": {"a": "b"}}, "state_dict=renamed"),
        ({"proxies": {"https": "x"}}, "HTTPS_PROXY"),
        ({"tp_plan": "auto"}, "one device"),
        ({"device_map": {"bert": 0, "classifier": "cpu"}}, "device_map names 2 devices"),
        ({"device_map": "nowhere"}, "There is no device 'nowhere'"),
        ({"device_map": 1.5}, "device_map is 1.5"),
        ({"device_map": True}, "device_map is true"),
        ({"dtype": "int8"}, "not a kind of number"),
        ({"torch_dtype": 7}, "not a kind of number"),
        ({"no_such_argument": 1}, "no_such_argument, which is no argument"),
    ],
)
def test_arguments_of_transformers_that_are_refused(given: dict[str, object], words: str, tmp_path: Path) -> None:
    folder, _ = saved(tmp_path)
    with pytest.raises((ConfigError, InputError)) as caught:
        BertModel.from_pretrained(folder, **given)
    assert words in str(caught.value)


@pytest.mark.parametrize("device_map", [{"": "cpu"}, {"bert": "cpu", "classifier": "cpu"}, torch.device("cpu")])
def test_a_device_map_of_one_device(device_map: object, tmp_path: Path) -> None:
    folder, model = saved(tmp_path)
    assert_same_state(BertForSequenceClassification.from_pretrained(folder, device_map=device_map), model)


def test_use_safetensors_chooses_the_format(tmp_path: Path) -> None:
    folder, model = saved(tmp_path, "BertModel")
    torch.save({name: tensor + 1 for name, tensor in model.state_dict().items()}, folder / "pytorch_model.bin")
    for choice, added in ((None, 0), (True, 0), (False, 1)):
        found = BertModel.from_pretrained(folder, use_safetensors=choice)
        assert torch.equal(found.pooler.dense.bias, model.pooler.dense.bias + added)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"looked for model.safetensors, model.safetensors.index.json\."):
        BertModel.from_pretrained(folder, use_safetensors=True)


@pytest.mark.skipif(os.name == "nt", reason="paths are texts there")
@pytest.mark.parametrize("form", ["safetensors", "bin", "google"])
def test_a_path_that_is_not_utf_8(form: str, tmp_path: Path) -> None:
    import shutil

    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \xff"))
    if form == "google":
        shutil.copytree(Path(__file__).parent / "google", folder)
        assert BertModel.from_pretrained(folder).load_report is not None
        return
    model = model_of("BertModel")
    TINY.save_pretrained(folder)
    if form == "safetensors":
        model.save_pretrained(folder)
    else:
        with (folder / "pytorch_model.bin").open("wb") as file:
            torch.save(model.state_dict(), file)
    assert_same_state(BertModel.from_pretrained(folder), model)
    name = "model.safetensors" if form == "safetensors" else "pytorch_model.bin"
    assert_same_state(BertModel.from_pretrained(folder / name), model)
    (folder / name).write_bytes(b"\x80\x02 broken")
    with pytest.raises(CheckpointError, match=r"caf\\udce9"):
        BertModel.from_pretrained(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_weights_that_are_no_numbers(value: float, kind: torch.dtype, tmp_path: Path) -> None:
    model = model_of("BertModel").to(kind)
    state = model.state_dict()
    for name in ("encoder.layer.1.output.dense.weight", "embeddings.word_embeddings.weight", "pooler.dense.bias"):
        damaged = {key: tensor.clone() for key, tensor in state.items()}
        damaged[name].view(-1)[7] = value
        folder_of(tmp_path / "x", damaged)
        with pytest.raises(CheckpointError, match=rf"{name} holds 1 NaN or infinite numbers, first at \(.*7"):
            BertModel.from_pretrained(tmp_path / "x")
    unused = {**state, "head.weight": torch.full((2,), value, dtype=kind)}
    assert BertModel.from_pretrained(folder_of(tmp_path / "x", unused)).load_report.unused[0].name == "head.weight"


def test_numbers_that_overflow_are_told_from_nan(tmp_path: Path) -> None:
    state = model_of("BertModel").state_dict()
    state["pooler.dense.bias"][3] = 1e6
    folder_of(tmp_path / "x", state)
    with pytest.raises(CheckpointError, match=r"holds 1e\+06 at \(3,\), more than float16 can"):
        BertModel.from_pretrained(tmp_path / "x", dtype=torch.float16)
    large = {**state, "pooler.dense.bias": torch.full((24,), 3e38)}  # whose sum is infinite, and they are not
    assert BertModel.from_pretrained(folder_of(tmp_path / "x", large)).pooler.dense.bias[0] == torch.tensor(3e38)


def test_tied_weights_that_are_no_numbers_are_not_told_to_differ(tmp_path: Path) -> None:
    state = {key: tensor.clone() for key, tensor in model_of("BertForMaskedLM").state_dict().items()}
    for name in ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"):
        state[name][3, 3] = float("nan")
    with pytest.raises(CheckpointError, match=r"holds 1 NaN or infinite numbers, first at \(3, 3\)") as caught:
        BertForMaskedLM.from_pretrained(folder_of(tmp_path / "x", state))
    assert "differ" not in str(caught.value)
