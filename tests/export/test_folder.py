"""The folder for loaders: what is in it, that its settings are the checkpoint's, and that it is whole or not there."""

import json
import stat
from pathlib import Path

import pytest
import torch

from minibert import BertTokenizer, Checkpoint, Embedder
from minibert.cli import main
from minibert.embedding.sentence_transformers import read_sentence_settings
from minibert.errors import CheckpointError, InputError, ProofError
from minibert.export import export_model
from minibert.graphs import HiddenStates
from minibert.tokenizer import AddedToken
from tests.support.command import mistake
from tests.support.sentence_folders import FOLDER, plain, with_dense, write
from tests.support.small_models import small

pytest.importorskip("onnx", reason="onnx is not installed (make test does)")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (make test does)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (make test does)")
library = pytest.importorskip("tokenizers", reason="tokenizers is not installed (make test does)")

TEXTS = ["She sat by the bank of the river.", "배를 타고 여행을 간다!", "", "HELLO Bank", "the bank was closed, " * 20]
FILES = [
    "README.md", "config.json", "onnx/model.onnx", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
    "vocab.txt",
]  # fmt: skip
POOLED = ["1_Pooling/config.json", "config_sentence_transformers.json", "modules.json", "sentence_bert_config.json"]


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def content(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def hidden_states(folder: Path, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """What onnxruntime makes of the ids of the tokenizers library: (B, T, H), and the mask (B, T)."""
    settings = content(folder / "tokenizer_config.json")
    tokenizer = library.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(settings["model_max_length"])
    tokenizer.enable_padding(pad_token=settings["pad_token"], pad_id=tokenizer.token_to_id(settings["pad_token"]))
    rows = tokenizer.encode_batch(texts)
    columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    inputs = {name: torch.tensor([getattr(row, column) for row in rows]) for name, column in columns.items()}
    session = onnxruntime.InferenceSession(str(folder / "onnx/model.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(["last_hidden_state"], {name: value.numpy() for name, value in inputs.items()})
    return torch.from_numpy(found), inputs["attention_mask"]


def test_a_plain_checkpoint(tmp_path) -> None:
    """Its files, its settings, and the vectors that onnxruntime and the tokenizers library make with them."""
    folder = tmp_path / "deep" / "exported"
    report = export_model(FOLDER, f"{folder}/")
    assert names(folder) == sorted([*FILES, *POOLED])
    assert [path.relative_to(folder).as_posix() for path in report.files] == sorted([*FILES, *POOLED])
    assert report.same
    assert report.destination == folder
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode)
    assert [path.name for path in folder.parent.iterdir()] == ["exported"]  # nothing is left beside it

    embedder = Embedder.from_pretrained(FOLDER)
    states, mask = hidden_states(folder, TEXTS)
    vectors = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    assert float((vectors - embedder.encode(TEXTS)).abs().max()) < 1e-6
    config = content(folder / "config.json")
    assert config["architectures"] == ["BertModel"]
    assert config["transformers.js_config"] == {"dtype": "fp32"}
    assert content(folder / "tokenizer_config.json")["model_max_length"] == embedder.max_length
    assert content(folder / "special_tokens_map.json")["mask_token"]["content"] == "[MASK]"
    assert 'InferenceSession("onnx/model.onnx"' in (folder / "README.md").read_text(encoding="utf-8")


def test_the_settings_of_a_sentence_folder(tmp_path) -> None:
    """Pooling, Dense with its weights, unit length, prompts, the longest text: as they were read from the source."""
    prompts = {"query": "the bank: ", "document": "", "x": "여행을 "}
    source = write(
        tmp_path / "source",
        with_dense() | {"config_sentence_transformers.json": {"prompts": prompts, "default_prompt_name": "x"}},
    )
    folder = tmp_path / "exported"
    export_model(source, folder)
    before, after = (read_sentence_settings(Checkpoint.open(path)) for path in (source, folder))
    steps = [settings.pop("steps") for settings in (before, after)]
    assert after == before
    assert after["max_length"] == 16
    assert after["normalize"] is True
    assert content(folder / "tokenizer_config.json")["model_max_length"] == 16
    right = Embedder.from_pretrained(source)
    states, _ = hidden_states(folder, ["여행을 " + text for text in TEXTS])
    for written in steps:  # of the source, and of the folder
        vectors = torch.nn.functional.normalize(torch.nn.Sequential(*written)(states[:, 0]), dim=-1)
        assert float((vectors.detach() - right.encode(TEXTS)).abs().max()) < 1e-6


def test_lower_casing_before_the_tokenizer_is_in_the_tokenizer(tmp_path) -> None:
    """sentence_bert_config.json may say do_lower_case where the tokenizer is cased: the one written does it."""
    settings = {"sentence_bert_config.json": {"max_seq_length": 12, "do_lower_case": True}}
    source = write(tmp_path / "source", plain() | settings)
    tokenizer = BertTokenizer.from_pretrained(FOLDER, do_lower_case=False)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (source / name).unlink(missing_ok=True)
    tokenizer.save_pretrained(source)
    export_model(source, tmp_path / "exported")
    states, mask = hidden_states(tmp_path / "exported", TEXTS)
    vectors = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    assert float((vectors - Embedder.from_pretrained(source).encode(TEXTS)).abs().max()) < 1e-6


def test_other_settings_and_added_tokens(tmp_path) -> None:
    """Those given to export count, and tokens that were added stay whole with their flags."""
    embedder = Embedder.from_pretrained(FOLDER, pooling=["cls", "mean"], normalize=True, truncate_dim=20, max_length=7)
    embedder.tokenizer.add_tokens([AddedToken("bank", lstrip=True)])
    export_model(embedder, tmp_path / "exported")
    again = read_sentence_settings(Checkpoint.open(tmp_path / "exported"))
    assert (again["pooling"], again["normalize"], again["truncate_dim"]) == (["cls", "mean"], True, 20)
    states, mask = hidden_states(tmp_path / "exported", TEXTS)
    assert mask.shape[1] == 7
    mean = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    vectors = torch.nn.functional.normalize(torch.cat([states[:, 0], mean], dim=1), dim=-1)[:, :20]
    assert float((vectors - embedder.encode(TEXTS)).abs().max()) < 1e-6


def test_a_heads_logits(tmp_path) -> None:
    source = tmp_path / "source"
    model = small("BertForSequenceClassification", vocab_size=len(BertTokenizer.from_pretrained(FOLDER)))
    model.save_pretrained(source)
    BertTokenizer.from_pretrained(FOLDER).save_pretrained(source)
    export_model(source, tmp_path / "exported", output="logits")
    assert names(tmp_path / "exported") == FILES
    config = content(tmp_path / "exported" / "config.json")
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {str(number): name for number, name in model.config.id2label.items()}


def test_openvino(tmp_path) -> None:
    openvino = pytest.importorskip("openvino", reason="openvino is not installed (make test does)")
    folder = tmp_path / "exported"
    export_model(FOLDER, folder, format="openvino")
    assert {"openvino/openvino_model.xml", "openvino/openvino_model.bin"} < {*names(folder)}
    assert "transformers.js_config" not in content(folder / "config.json")
    compiled = openvino.Core().compile_model(str(folder / "openvino" / "openvino_model.xml"), "CPU")
    assert compiled.outputs[0].get_any_name() == "last_hidden_state"


def test_nothing_is_left_of_a_refused_one(tmp_path, monkeypatch) -> None:
    """Neither beside it nor in it; the folder that was there, empty, still is."""
    forward = HiddenStates.forward

    def without_mask(self, input_ids, attention_mask, token_type_ids):
        return forward(self, input_ids, attention_mask * 0 + 1, token_type_ids)

    monkeypatch.setattr(HiddenStates, "forward", without_mask)
    (tmp_path / "exported").mkdir()
    with pytest.raises(ProofError, match="exported was not written"):
        export_model(FOLDER, tmp_path / "exported")
    assert names(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["exported"]


def test_a_full_disk(tmp_path, monkeypatch) -> None:
    def full(*arguments) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minibert.export.folder.os.fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        export_model(FOLDER, tmp_path / "exported")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("destination", "settings", "sentence"),
    [
        ("full", {}, "is not empty, and loaders would mix its files with the export's. Give a new folder."),
        ("new/", {"format": "torch"}, "No loader takes a folder of the format 'torch'"),
        ("new/", {"output": "all-points"}, "A folder is for loaders, which know hidden states and a head's logits"),
        ("new/", {"pooling": "pooler"}, "pooling is 'pooler'; the loaders of a folder pool the last hidden state"),
        ("new/", {"output": "logits", "pooling": "cls"}, r"pooling \(--pooling\) makes the vector of a sentence"),
    ],
)
def test_refusals(tmp_path, destination, settings, sentence) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    with pytest.raises((InputError, CheckpointError), match=sentence):
        export_model(FOLDER, f"{tmp_path}/{destination}", **settings)
    assert names(tmp_path) == ["full/a.txt"]


def test_a_model_without_a_tokenizer(tmp_path) -> None:
    with pytest.raises(InputError, match="A folder for loaders holds a tokenizer, too"):
        export_model(small(), tmp_path / "new")
    small("BertForSequenceClassification").save_pretrained(tmp_path / "source")
    with pytest.raises(InputError, match="brings no vocabulary, which a folder for loaders holds"):
        export_model(tmp_path / "source", tmp_path / "new", output="logits")


def test_the_command(tmp_path, capsys) -> None:
    assert main(["export", str(FOLDER), "-o", f"{tmp_path}/exported/", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["same"] is True
    assert len(report["files"]) == len(FILES) + len(POOLED)
    assert "is not empty" in mistake(capsys, ["export", str(FOLDER), "-o", f"{tmp_path}/exported/"])


def test_a_tokenizer_that_is_not_wordpiece(tmp_path) -> None:
    """Its tokenizer.json is the pipeline itself; there is no vocab.txt."""
    source = tmp_path / "source"
    pipeline = library.Tokenizer(library.models.Unigram([("<unk>", 0.0), ("<pad>", 0.0), ("▁", -1.0), ("b", -2.0)], 0))
    pipeline.pre_tokenizer = library.pre_tokenizers.Metaspace()
    pipeline.add_special_tokens(["<unk>", "<pad>"])
    small(vocab_size=pipeline.get_vocab_size()).save_pretrained(source)
    pipeline.save(str(source / "tokenizer.json"))
    settings = {"pad_token": "<pad>", "unk_token": "<unk>", "model_max_length": 9}
    (source / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    export_model(source, tmp_path / "exported")
    assert "vocab.txt" not in names(tmp_path / "exported")
    texts = ["b b", "bb", "b " * 20]
    states, mask = hidden_states(tmp_path / "exported", texts)
    vectors = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    assert float((vectors - Embedder.from_pretrained(source).encode(texts)).abs().max()) < 1e-6
