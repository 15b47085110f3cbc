"""Which class a checkpoint is for, in every verb; and that convert writes down no guess."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

import minibert
from minibert import BertConfig, InputError, Predictor
from minibert.auto import HEADS, load_architecture
from minibert.checkpoint import write_safetensors
from minibert.cli import main
from minibert.convert import convert
from minibert.errors import CheckpointError
from minibert.finetuning import TASKS
from minibert.verify.checkpoints import load
from tests.checkpoint.test_wrapped import assert_same_state, model_of

GOOGLE = Path(__file__).parent / "checkpoint" / "google"
BIO = {0: "O", 1: "B-PER", 2: "I-PER"}
SENTIMENT = {0: "bad", 1: "good"}
SIZES = {"vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
         "intermediate_size": 40, "max_position_embeddings": 30}  # fmt: skip


def checkpoint(
    path: Path, name: str, architectures: object, id2label: dict[int, str] = SENTIMENT, *, pooler: bool = False
) -> Path:
    """A checkpoint of class ``name`` whose config names ``architectures``."""
    config = BertConfig(**SIZES, id2label=id2label, label2id={label: number for number, label in id2label.items()})
    model = model_of(name, config)
    state = {key: tensor for key, tensor in model.state_dict().items() if "decoder." not in key}
    if pooler:
        state |= {"bert.pooler.dense.weight": torch.zeros(24, 24), "bert.pooler.dense.bias": torch.zeros(24)}
    settings = {**config.to_dict(), "architectures": architectures}
    path.mkdir()
    (path / "config.json").write_text(json.dumps(settings))
    write_safetensors(path / "model.safetensors", state)
    shutil.copy(Path(minibert.__file__).parent / "demo" / "vocab.txt", path)
    return path


SEQUENCES = "BertForSequenceClassification"
CASES = (
    # saved from, named, labels, with a pooler that the class has not; read as, and a word of the warning
    (SEQUENCES, [SEQUENCES], SENTIMENT, False, SEQUENCES, ""),
    (SEQUENCES, None, SENTIMENT, False, SEQUENCES, "may be a"),
    ("BertForTokenClassification", None, SENTIMENT, False, "BertForTokenClassification", ""),
    ("BertForTokenClassification", None, BIO, True, "BertForTokenClassification", ""),
    ("BertForTokenClassification", ["BertForTokenClassification"], SENTIMENT, True, "BertForTokenClassification", ""),
    ("BertForMultipleChoice", ["BertForMultipleChoice"], {0: "x"}, False, "BertForMultipleChoice", ""),
    ("BertForQuestionAnswering", None, SENTIMENT, False, "BertForQuestionAnswering", ""),
    ("BertModel", ["BertForMaskedLM"], SENTIMENT, False, "BertModel", "whose head"),
    ("BertModel", [SEQUENCES], SENTIMENT, False, "BertModel", "whose head"),
    ("BertForPreTraining", ["BertForMaskedLM"], SENTIMENT, False, "BertForMaskedLM", ""),
    ("BertForMaskedLM", ["BertForPreTraining"], SENTIMENT, False, "BertForMaskedLM", "whose head"),
    ("BertForMaskedLM", ["TFBertForMaskedLM"], SENTIMENT, False, "BertForMaskedLM", ""),
    ("BertModel", ["MySentenceEncoder"], SENTIMENT, False, "BertModel", "no class here"),
    ("BertModel", ["BertConfig"], SENTIMENT, False, "BertModel", "no class here"),
)  # fmt: skip


@pytest.mark.parametrize(("saved", "named", "labels", "pooler", "expected", "words"), CASES)
def test_every_verb_takes_the_same_class(
    saved: str, named: object, labels: dict[int, str], pooler: bool, expected: str, words: str, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = checkpoint(tmp_path / "x", saved, named, labels, pooler=pooler)
    with caplog.at_level(logging.WARNING):
        assert type(load_architecture(folder)).__name__ == expected
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == (1 if words else 0)
    assert all(words in warning and f"read as {expected}" in warning for warning in warnings)

    assert main(["inspect", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == expected
    assert type(load(folder, "float32", "eager")).__name__ == expected
    tasks = {task.model_class.__name__ for task in TASKS.values()} - {"BertModel"}
    if expected == "BertForTokenClassification" and labels is SENTIMENT:
        return  # whose labels the task refuses
    if expected in tasks:
        assert type(Predictor.from_pretrained(folder).model).__name__ == expected
    elif expected == "BertModel":  # embeds sentences if a modules.json says how
        with pytest.raises(CheckpointError, match="was fine-tuned for no task: it is a BertModel without"):
            Predictor.from_pretrained(folder)
    else:
        with pytest.raises(InputError, match=f"This checkpoint is a {expected} and was fine-tuned for none"):
            Predictor.from_pretrained(folder)


def test_the_classes_are_those_that_are_here() -> None:
    assert set(HEADS) == {name for name in minibert.__all__ if name == "BertModel" or name.startswith("BertFor")}
    for name, own in HEADS.items():
        assert set(own) <= {*model_of(name).state_dict()}


@pytest.mark.parametrize(
    ("saved", "named", "labels", "pooler"), [case[:4] for case in CASES if "Choice" not in case[0]]
)
def test_convert_keeps_the_class_and_every_tensor(
    saved: str, named: object, labels: dict[int, str], pooler: bool, tmp_path: Path
) -> None:
    source = checkpoint(tmp_path / "x", saved, named, labels, pooler=pooler)
    if saved == "BertForSequenceClassification" and named is None:
        with pytest.raises(InputError, match=r"has a classifier, which .* have, .* --head CLASS"):
            convert(source, tmp_path / "y")
        assert not (tmp_path / "y").exists()
        convert(source, tmp_path / "y", head=saved)
    else:
        report, _ = convert(source, tmp_path / "y")
        assert {record.name for record in report.unused} <= {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    assert json.loads((tmp_path / "y" / "config.json").read_text())["architectures"] == [saved]
    model_class = getattr(minibert, saved)
    assert_same_state(model_class.from_pretrained(tmp_path / "y"), model_class.from_pretrained(source))


def test_convert_copies_the_tokenizers_files_byte_for_byte(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "x", "BertModel", ["BertModel"])
    (source / "tokenizer_config.json").write_text(
        '{"do_lower_case":false,   "tokenizer_class":"BertJapaneseTokenizer"}'
    )
    (source / "special_tokens_map.json").write_text("{}")
    _, written = convert(source, tmp_path / "y")
    names = ["special_tokens_map.json", "tokenizer_config.json", "vocab.txt"]
    assert written == sorted(["config.json", "model.safetensors", *names])
    for name in names:
        assert (tmp_path / "y" / name).read_bytes() == (source / name).read_bytes()


def test_convert_writes_no_guess_about_lower_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "google"
    shutil.copytree(GOOGLE, source)
    (source / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nSeoul\n")
    assert main(["convert", str(source), "-o", str(tmp_path / "a")]) == 0
    assert "Say it: --lower-case or --no-lower-case" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"config.json", "model.safetensors", "vocab.txt"}
    assert main(["convert", str(source), "-o", str(tmp_path / "b"), "--no-lower-case"]) == 0
    assert capsys.readouterr().err == ""
    assert json.loads((tmp_path / "b" / "tokenizer_config.json").read_text()) == {"do_lower_case": False}
    assert minibert.BertTokenizer.from_pretrained(tmp_path / "b").tokenize("Seoul") == ["Seoul"]
    assert main(["convert", str(tmp_path / "b"), "-o", str(tmp_path / "c"), "--lower-case"]) == 2
    assert "says do_lower_case False, and True was asked for" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
    (source / "vocab.txt").unlink()
    with pytest.raises(InputError, match="brings no vocabulary"):
        convert(source, tmp_path / "d", lower_case=True)


def config_of(tmp_path: Path, **changes: object) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({**SIZES, "model_type": "bert", **changes}))
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architectures": ["RobertaModel"]}, "architectures RobertaModel, a class of another family"),
        ({"architectures": ["TFDistilBertModel"]}, "a class of another family"),
        ({"architectures": ["JinaBertForMaskedLM"]}, "a class of another family"),
        ({"architectures": "BertModel"}, 'architectures is "BertModel"; expected a list'),
        ({"architectures": [1]}, "architectures is [1]"),
        ({"tokenizer_class": 3}, "tokenizer_class is 3"),
        ({"model_type": "BERT"}, "model_type 'BERT'"),
        ({"num_labels": 3, "id2label": {"0": "a", "1": "b"}}, "num_labels 3 and names 2 labels"),
        ({"num_labels": "2"}, "num_labels is '2'"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers is '2'; expected a whole number"),
        ({"is_decoder": "false"}, "is_decoder is 'false'; expected true or false"),
        ({"tie_word_embeddings": "true"}, "tie_word_embeddings is 'true'; expected true or false"),
        ({"hidden_dropout_prob": "0.1"}, "hidden_dropout_prob is '0.1'; expected a number"),
        ({"layer_norm_eps": "1e-12"}, "layer_norm_eps is '1e-12'"),
        ({"pad_token_id": "0"}, "pad_token_id is '0'"),
        ({"embedding_size": 12}, "embedding_size 12 beside hidden_size 24: that is ELECTRA or ALBERT"),
        ({"is_encoder_decoder": True}, "an encoder with a decoder"),
        ({"type_vocab_size": 1, "pad_token_id": 1, "max_position_embeddings": 514}, "that is RoBERTa"),
    ],
)
def test_a_config_that_contradicts_itself(changes: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(minibert.ConfigError) as caught:
        BertConfig.from_pretrained(config_of(tmp_path, **changes))
    assert words in str(caught.value)
    assert "config.json" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}},
            "id2label calls 0 'a', label2id numbers it 1",
        ),
        ({"auto_map": {"AutoModel": "mine.py--Model"}}, "code of its own (auto_map), which is never run"),
    ],
)
def test_a_config_that_is_read_past_with_a_warning(
    changes: dict[str, object], words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        BertConfig.from_pretrained(config_of(tmp_path, **changes))
        BertConfig.from_pretrained(config_of(tmp_path, **changes))
    assert [words in record.getMessage() for record in caplog.records] == [True]
