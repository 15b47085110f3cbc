"""Weights inside something: a wrapper's prefix, a training checkpoint, a padded vocabulary; and other families'."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import minibert
from minibert import BertConfig, BertForSequenceClassification, BertModel, CheckpointError
from minibert.auto import load_architecture
from minibert.checkpoint import open_weights, write_safetensors
from minibert.checkpoint.names import read_names
from minibert.cli import main
from tests.checkpoint.test_pickle_scan import lightning

TINY = BertConfig(
    vocab_size=61, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40,
    max_position_embeddings=30,
)  # fmt: skip
PREFIXES = (
    "model.", "base_model.model.", "backbone.", "module.", "_orig_mod.", "encoder.", "bert.", "model.bert_layer.",
    "_orig_mod.module.", "module.model._orig_mod.backbone.", "auto_model.", "0.auto_model.",
    "question_encoder.bert_model.",
)  # fmt: skip
INPUTS = {"input_ids": torch.tensor([[2, 7, 9, 3]]), "token_type_ids": torch.tensor([[0, 0, 1, 1]])}


def model_of(name: str, config: BertConfig = TINY) -> minibert.BertPreTrainedModel:
    torch.manual_seed(3)
    model: minibert.BertPreTrainedModel = getattr(minibert, name)(config)
    return model.eval()


def folder_of(path: Path, state: dict[str, Tensor], config: BertConfig = TINY) -> Path:
    """A folder with these weights."""
    config.save_pretrained(path)
    write_safetensors(path / "model.safetensors", state)
    return path


def assert_same_state(found: torch.nn.Module, expected: torch.nn.Module) -> None:
    theirs = expected.state_dict()
    assert found.state_dict().keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in found.state_dict().items())


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", ["BertModel", "BertForSequenceClassification", "BertForPreTraining"])
def test_a_prefix_before_all_names_is_taken_off(prefix: str, name: str, tmp_path: Path) -> None:
    model = model_of(name)
    state = {f"{prefix}{key}": tensor for key, tensor in model.state_dict().items()}
    found = type(model).from_pretrained(folder_of(tmp_path / "x", state))
    assert_same_state(found, model)
    assert len(found.load_report.renamed) == len(state)
    in_table = prefix.replace("module.", "").replace("_orig_mod.", "") == ""
    own = "" if prefix == "bert." and name == "BertModel" else prefix  # bert. is how a head calls its encoder
    own = own if own.startswith("_orig_mod.") else own.replace("_orig_mod.", "")  # said in the records
    expected = () if in_table or not own else (f"the prefix {own!r} was taken off the names",)
    assert found.load_report.notes == expected
    assert str(load_architecture(tmp_path / "x").load_report).count("was taken off") == len(expected)


def test_what_lies_beside_the_prefix_is_not_the_models(tmp_path: Path) -> None:
    model = model_of("BertModel")
    state = {f"backbone.{key}": tensor for key, tensor in model.state_dict().items()}
    state |= {"head.weight": torch.ones(3, 24), "temperature": torch.ones(1)}
    report = BertModel.from_pretrained(folder_of(tmp_path / "x", state)).load_report
    assert [record.name for record in report.unused] == ["head.weight", "temperature"]


@pytest.mark.parametrize("wrapper", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_wrappers_of_torch_inside_the_tree(wrapper: str, tmp_path: Path) -> None:
    model = model_of("BertModel")
    state = {key.replace("encoder.layer.", f"encoder.{wrapper}.layer.", 1).replace(".1.", f".1.{wrapper}.", 1): tensor
             for key, tensor in model.state_dict().items()}  # fmt: skip
    found = BertModel.from_pretrained(folder_of(tmp_path / "x", state))
    assert_same_state(found, model)
    assert "a wrapper of torch inside" in str(found.load_report)


def test_two_berts_in_one_file_are_told_apart(tmp_path: Path) -> None:
    state = model_of("BertModel").state_dict()
    both = {f"{side}.{key}": tensor for side in ("query", "passage") for key, tensor in state.items()}
    with pytest.raises(CheckpointError, match=r"holds 2 BERTs, whose names begin with passage\., query\."):
        BertModel.from_pretrained(folder_of(tmp_path / "x", both))
    own = state | {f"teacher.{key}": tensor for key, tensor in state.items()}
    found = BertModel.from_pretrained(folder_of(tmp_path / "y", own))
    assert len(found.load_report.unused) == len(state)


def test_unknown_names_are_printed(tmp_path: Path) -> None:
    state = {f"tower.block_{number}.w": torch.ones(2) for number in range(5)}
    with pytest.raises(CheckpointError) as caught:
        BertModel.from_pretrained(folder_of(tmp_path / "x", state))
    expected = "has 0 layers, but config.json says num_hidden_layers 2. Its names are not BERT's: tower.block_0.w, "
    assert expected + "tower.block_1.w, tower.block_2.w, …." in str(caught.value)


def test_names_are_read_once_and_in_order() -> None:
    names = [
        "m.bert.embeddings.word_embeddings.weight",
        "m.bert.encoder.layer.0.attention.self.query.weight",
        "m.x",
        "y",
    ]
    read = read_names(names)
    assert (list(read), read.prefix) == (names, "m.")
    assert [reading.ours for reading in read.values()] == [name.removeprefix("m.") for name in names]
    assert read_names(["module.bert/embeddings/word_embeddings", "scope/bert/embeddings/word_embeddings"]).prefix == ""
    assert read_names(["scope/bert/embeddings/word_embeddings"]).prefix == "scope/"


WRAPS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "lightning": lightning,
    "model-and-optimizer": lambda state: {"model": state, "optimizer": {"state": {0: {}}}, "epoch": 2},
    "model_state_dict": lambda state: {"model_state_dict": state, "loss": 0.2},
}


@pytest.mark.parametrize("file", ["pytorch_model.bin", "epoch=3-step=1000.ckpt", "best.pt", "model.pth.tar"])
@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_training_checkpoints(wrap: Callable[[dict[str, Tensor]], object], file: str, tmp_path: Path) -> None:
    model = model_of("BertForSequenceClassification")
    TINY.save_pretrained(tmp_path)
    state = {f"model.{key}": tensor for key, tensor in model.state_dict().items()}
    torch.save(wrap(state), tmp_path / file)
    source = tmp_path if file == "pytorch_model.bin" else tmp_path / file
    found = BertForSequenceClassification.from_pretrained(source)
    assert_same_state(found, model)
    assert "a training checkpoint: its state dict is what it holds as" in str(found.load_report)
    if source != tmp_path:
        with pytest.raises(CheckpointError, match=r"holds no weights; .* give the path of that file"):
            BertModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("multiple", [8, 64, 128])
@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "BertForPreTraining"])
def test_a_padded_vocabulary_loads_its_own_rows(multiple: int, name: str, tmp_path: Path) -> None:
    model = model_of(name)
    rows = -(-61 // multiple) * multiple
    state = {
        key: torch.cat([tensor, torch.randn(rows - 61, *tensor.shape[1:])]) if tensor.shape[0] == 61 else tensor
        for key, tensor in model.state_dict().items()
    }
    if "cls.predictions.decoder.weight" in state:  # tied in the file, too
        state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"]
        state["cls.predictions.decoder.bias"] = state["cls.predictions.bias"]
    found = type(model).from_pretrained(folder_of(tmp_path / "x", state))
    assert_same_state(found, model)
    assert torch.equal(found(**INPUTS)[0], model(**INPUTS)[0])
    padded = f"word_embeddings.weight is padded to {rows} rows; its first 61 are the vocabulary's"
    assert padded in str(found.load_report)
    found.save_pretrained(tmp_path / "saved")
    assert_same_state(type(model).from_pretrained(tmp_path / "saved"), model)


def test_other_numbers_of_rows_are_no_padding(tmp_path: Path) -> None:
    state = model_of("BertModel").state_dict()
    key = "embeddings.word_embeddings.weight"
    for rows in (60, 62, 63, 72, 256, 61 * 2):
        folder_of(tmp_path / "x", state | {key: torch.zeros(rows, 24)})
        with pytest.raises(CheckpointError, match=rf"has shape \({rows}, 24\), but the config asks for \(61, 24\)"):
            BertModel.from_pretrained(tmp_path / "x")


@pytest.mark.parametrize(
    ("rename", "family"),
    [
        (lambda key: key.replace("encoder.layer", "transformer.layer").replace("self.query", "q_lin"), "DistilBERT"),
        (lambda key: "distilbert." + key, "DistilBERT"),
        (lambda key: "roberta." + key, "RoBERTa"),
        (lambda key: "model.roberta." + key, "RoBERTa"),
        (lambda key: "electra." + key, "ELECTRA"),
        (lambda key: key.replace("encoder.layer.0", "encoder.albert_layer_groups.0.albert_layers.0"), "ALBERT"),
    ],
)
def test_other_families_are_named(rename: Callable[[str], str], family: str, tmp_path: Path) -> None:
    state = {rename(key): tensor for key, tensor in model_of("BertModel").state_dict().items()}
    with pytest.raises(CheckpointError, match=f"has the weights of {family} .*not of BERT"):
        BertModel.from_pretrained(folder_of(tmp_path / "x", state))


def test_the_weights_of_transformers_own_other_families(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    size = {"vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    for prefix, extra in (
        ("DistilBert", {"dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 40}),
        ("Roberta", {"type_vocab_size": 1, "max_position_embeddings": 34}),
        ("Albert", {"embedding_size": 12}),
        ("Electra", {"embedding_size": 12}),
        ("MPNet", {}),
        ("XLMRoberta", {"type_vocab_size": 1, "max_position_embeddings": 34}),
    ):
        config = getattr(transformers, f"{prefix}Config")(**size, **extra)
        for head in ("Model", "ForMaskedLM"):
            model = getattr(transformers, f"{prefix}{head}")(config)
            folder = tmp_path / f"{prefix}{head}"
            model.save_pretrained(folder)
            content = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(content | {"model_type": "bert", "architectures": None}))
            with pytest.raises((CheckpointError, minibert.ConfigError)) as caught:
                load_architecture(folder)
            assert prefix.lower().removeprefix("xlm") in str(caught.value).lower(), str(caught.value)


def test_adapters_that_were_not_merged(tmp_path: Path) -> None:
    state = {
        key.replace("query.", "query.base_layer."): tensor for key, tensor in model_of("BertModel").state_dict().items()
    }
    state["encoder.layer.0.attention.self.query.lora_A.default.weight"] = torch.zeros(2, 24)
    prefixed = {f"base_model.model.{key}": tensor for key, tensor in state.items()}
    with pytest.raises(CheckpointError, match=r"adapter of PEFT beside the weights.*merge_and_unload"):
        BertModel.from_pretrained(folder_of(tmp_path / "x", prefixed))


def test_the_tensors_of_an_adapter_alone(tmp_path: Path) -> None:
    """Of a folder they are merged into their base: test_adapter.py."""
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    base = transformers.BertModel(transformers.BertConfig(**{k: v for k, v in vars(TINY).items() if k in SIZES}))
    peft.get_peft_model(base, peft.LoraConfig(target_modules=["query"])).save_pretrained(tmp_path / "adapter")
    TINY.save_pretrained(tmp_path / "adapter")
    with pytest.raises(CheckpointError, match=r"has the weights of an adapter|adapter of PEFT"):
        BertModel.from_pretrained(tmp_path / "adapter" / "adapter_model.safetensors")


SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("tf_model.h5", "from_tf=True"),
        ("flax_model.msgpack", "from_flax=True"),
        ("model.onnx_data", "numbers of an ONNX graph"),
        ("onnx/model.ort", "graph of onnxruntime"),
        ("onnx/model_int8.onnx", "to read that graph, give the path of the file"),
        ("bert-q4.gguf", "GGUF"),
        ("rust_model.ot", "rust-bert"),
        ("openvino_model.xml", "OpenVINO"),
        ("model.tflite", "a graph"),
        ("model.pt2", "a program of torch.export"),
        ("model.xml", "a graph of OpenVINO"),
    ],
)
@pytest.mark.parametrize("with_config", [True, False])
def test_formats_that_are_not_read(file: str, words: str, with_config: bool, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"\x00" * 100)
    if with_config:
        TINY.save_pretrained(tmp_path)
    is_named = file.endswith((".pt2", "model.xml")) or with_config
    for source in (tmp_path, tmp_path / file) if is_named and "/" not in file else (tmp_path,):
        with pytest.raises(CheckpointError) as caught:
            BertModel.from_pretrained(source)
        assert words in str(caught.value), str(caught.value)
        assert Path(file).name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("pytorch_model.bin", b"\x89HDF\r\n\x1a\n" + bytes(50), "Keras"),
        ("pytorch_model.bin", b"GGUF" + bytes(50), "GGUF"),
        ("model.safetensors", b"<!DOCTYPE html><html>", "a web page"),
        ("pytorch_model.bin", b"<html>", "a web page"),
    ],
)
def test_other_formats_under_our_names(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    TINY.save_pretrained(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        BertModel.from_pretrained(tmp_path)


def test_formats_under_each_others_names(tmp_path: Path) -> None:
    model = model_of("BertModel")
    folder_of(tmp_path / "x", model.state_dict())
    (tmp_path / "x" / "model.safetensors").rename(tmp_path / "x" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"Rename it to model\.safetensors"):
        BertModel.from_pretrained(tmp_path / "x")
    torch.save(model.state_dict(), tmp_path / "x" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"Rename it to pytorch_model\.bin"):
        BertModel.from_pretrained(tmp_path / "x")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 440473133\n"


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "tokenizer_config.json"]
)
def test_git_lfs_pointers_anywhere(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(Path(minibert.__file__).parent / "demo", tmp_path / "x")
    (tmp_path / "x" / file).write_bytes(POINTER)
    assert main(["fill-mask", "a [MASK]", "--model", str(tmp_path / "x")]) == 2
    assert f"{file} is a Git-LFS pointer of {len(POINTER)} bytes" in capsys.readouterr().err


def test_git_lfs_pointers_given_by_their_path(tmp_path: Path) -> None:
    TINY.save_pretrained(tmp_path)
    for name in ("vocab.txt", "model.safetensors", "x.bin", "bert.ckpt.index"):
        (tmp_path / name).write_bytes(POINTER)
        opens = minibert.BertTokenizer if name == "vocab.txt" else open_weights
        with pytest.raises(minibert.MinibertError, match="is a Git-LFS pointer"):
            opens(tmp_path / name)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["config.json", "tf_model.h5"], "It holds tf_model.h5: weights of Keras"),
        (["config.json", "onnx/model_int8.onnx"], "It holds onnx/model_int8.onnx: to read that graph, download it"),
        (["config.json"], ""),
    ],
)
def test_a_hub_repository_without_weights(names: list[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    demo = Path(minibert.__file__).parent / "demo"
    monkeypatch.setattr("minibert.hub.hub_file", lambda _, name, **__: demo / name if name == "config.json" else None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_, **__: names)
    with pytest.raises(CheckpointError, match=r"owner/name holds no weights") as caught:
        BertModel.from_pretrained("owner/name")
    assert words in str(caught.value)
