"""The checkpoint that comes with minibert: taken where none is named, known by its name, run in float32."""

import io
import json
import shutil
from pathlib import Path

import pytest
import torch

import minibert
from minibert import CheckpointError, ConfigError
from minibert.checkpoint import open_weights
from minibert.cli import build_parser, main
from minibert.source import DEMO, demo_folder, is_demo, is_hub_name, local_file, local_folder
from minibert.verify import verify_against_transformers

TEXT = "the [MASK] is by the bank"
# Every verb that takes a checkpoint and needs no named one, with arguments that a 2-layer model can do.
CALLS = {
    "inspect": [],
    "golden": ["-o", "OUT.safetensors"],
    "verify": ["--against", "transformers"],
    "tokenize": [TEXT],
    "fill-mask": [TEXT],
    "embed": [TEXT],
    "similar": ["bank", "the bank", "by the bank"],
    "trace": [TEXT],
    "step": [TEXT],
    "noise": [TEXT, "--samples", "1"],
    "attention": [TEXT],
    "logit-lens": [TEXT],
    "explore": [TEXT, "--samples", "0", "-o", "OUT.html"],
}


def call(verb: str, tmp_path: Path) -> list[str]:
    return [verb, *(argument.replace("OUT", str(tmp_path / "out")) for argument in CALLS[verb])]


@pytest.mark.parametrize("verb", CALLS)
def test_a_verb_takes_it_where_none_is_named(verb: str, own_checkpoint, tmp_path, monkeypatch, capsys) -> None:
    if verb == "verify":
        pytest.importorskip("transformers")
    option = [] if verb in ("inspect", "golden", "verify") else ["--model"]
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    printed, said = [], []
    for named in ([], [*option, DEMO], [*option, str(own_checkpoint)]):
        monkeypatch.setattr("sys.stdin", io.StringIO("continue\n"))
        assert main([*call(verb, tmp_path), *named]) == 0
        found = capsys.readouterr()
        printed.append(found.out)
        said.append(
            found.err.count("minibert: with minibert-demo, the small checkpoint in Korean, English and Chinese")
        )
    assert said == [1, 1, 0]  # at a terminal nobody takes its answers for another's
    assert printed[0]
    assert printed[0] == printed[1]
    if verb not in ("inspect", "golden", "verify"):  # which print what they were called with
        assert printed[0] == printed[2]


@pytest.mark.parametrize("verb", CALLS)
def test_without_one_each_verb_says_so(verb: str, no_own_checkpoint, tmp_path, monkeypatch, capsys) -> None:
    if verb == "verify":
        pytest.importorskip("transformers")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(call(verb, tmp_path)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("minibert: This installation of minibert carries no checkpoint of its own. Name the")
    assert printed.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_every_verb_says_its_default() -> None:
    verbs = build_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    for name in CALLS:
        (named,) = (action for action in verbs[name]._actions if action.dest in ("model", "checkpoint"))
        assert "default: the small checkpoint in Korean, English and Chinese that comes with minibert" in named.help
        assert not named.required


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["verify", "--against", "FOLDER"], "Name the checkpoint to verify: minibert verify CHECKPOINT"),
        (["verify", "--against", "FOLDER/model.safetensors"], "Name the checkpoint to verify"),
        (["verify", "--published"], "Name the checkpoint to verify"),
    ],
)
def test_two_checkpoints_are_compared_only_when_both_are_named(
    arguments: list[str], sentence: str, own_checkpoint, capsys
) -> None:
    assert main([argument.replace("FOLDER", str(own_checkpoint)) for argument in arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert main(["verify", DEMO, "--against", str(own_checkpoint)]) == 0


def test_a_golden_of_it_is_verified_against_it(own_checkpoint, tmp_path, capsys) -> None:
    golden = tmp_path / "golden.safetensors"
    assert main(["golden", "-o", str(golden)]) == 0
    assert f"minibert verify {DEMO} --against {golden}" in capsys.readouterr().out
    assert main(["verify", "--against", str(golden), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same"] is True


def test_convert_wants_a_name_and_takes_this_one(own_checkpoint, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["convert", "-o", str(tmp_path / "copy")])
    assert main(["convert", DEMO, "-o", str(tmp_path / "copy")]) == 0
    assert json.loads((tmp_path / "copy" / "config.json").read_text())["dtype"] == "float32"
    assert (tmp_path / "copy" / "vocab.txt").read_bytes() == (own_checkpoint / "vocab.txt").read_bytes()


def test_python_knows_it_by_name(own_checkpoint) -> None:
    model = minibert.BertForMaskedLM.from_pretrained(DEMO)
    assert model.load_report.source == DEMO
    assert model.load_report.files == (str(own_checkpoint / "model.safetensors"),)
    assert minibert.BertConfig.from_pretrained(DEMO).hidden_size == 16
    assert minibert.BertTokenizer.from_pretrained(DEMO).tokenize("the bank") == ["the", "bank"]
    vector = minibert.Embedder.from_pretrained(DEMO).encode("the bank")
    expected = minibert.Embedder.from_pretrained(own_checkpoint).encode("the bank")
    assert torch.equal(vector, expected)


def test_the_name_is_never_a_folder_that_happens_to_lie_there(own_checkpoint, tmp_path, monkeypatch) -> None:
    """And a folder of that name can be meant, as a path."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(own_checkpoint, tmp_path / DEMO)
    assert local_folder(DEMO) == demo_folder() == own_checkpoint
    assert local_file(DEMO) is None
    for mine in (Path(DEMO), f"./{DEMO}", f"{DEMO}/"):
        assert not is_demo(mine)
        assert local_folder(mine).resolve() == tmp_path / DEMO


def test_the_hub_is_never_asked_for_it(no_own_checkpoint, monkeypatch) -> None:
    def asked(*_arguments: object, **_settings: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("minibert.hub.hub_file", asked)
    assert not is_hub_name(DEMO)
    for read in (minibert.BertModel, minibert.BertTokenizer, minibert.BertConfig, minibert.Embedder):
        with pytest.raises(CheckpointError, match="carries no checkpoint of its own"):
            read.from_pretrained(DEMO)


def test_a_corpus_is_searched_with_it_from_anywhere(own_checkpoint, tmp_path, monkeypatch, capsys) -> None:
    """The manifest has the name, not a place that another machine lacks."""
    (tmp_path / "texts.txt").write_text("the bank\nshe sat\n", encoding="utf-8")
    arguments = ["--input", str(tmp_path / "texts.txt"), "--output", str(tmp_path / "vectors")]
    assert main(["embed", *arguments]) == 0
    model = json.loads((tmp_path / "vectors" / "manifest.json").read_text(encoding="utf-8"))["model"]
    assert (model["source"], model["revision"], model["dtype"]) == (DEMO, None, "float32")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    capsys.readouterr()
    assert main(["similar", "she sat", "--in", str(tmp_path / "vectors"), "-k", "1", "--json"]) == 0
    (hit,) = json.loads(capsys.readouterr().out)["hits"]
    assert hit["row"] == 2
    assert hit["score"] == pytest.approx(1.0, abs=1e-6)


# ── kept as float16, run in float32 ──────────────────────────────────────────────────────────────────────────────────


def test_float16_in_the_file_is_float32_in_memory_here_and_in_transformers(own_checkpoint) -> None:
    """Whatever the caller says about the kind of number, both libraries make the same of it."""
    transformers = pytest.importorskip("transformers")
    weights = open_weights(own_checkpoint)
    assert {weights.describe(name)[1] for name in weights.names()} == {"float16"}
    assert json.loads((own_checkpoint / "config.json").read_text())["dtype"] == "float32"
    ids = torch.tensor([[2, 5, 9, 4, 3]])
    for asked, kind in (({}, torch.float32), ({"dtype": "auto"}, torch.float32), ({"dtype": torch.float16},) * 2):
        expected_kind = torch.float16 if asked.get("dtype") is torch.float16 else kind
        ours = minibert.BertForPreTraining.from_pretrained(DEMO, **asked)
        theirs = transformers.BertForPreTraining.from_pretrained(own_checkpoint, **asked).eval()
        assert ours.dtype == theirs.dtype == expected_kind
        state = theirs.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in ours.state_dict().items())
        if expected_kind == torch.float32:
            with torch.no_grad():
                assert torch.equal(ours(ids).prediction_logits, theirs(ids).prediction_logits)


def test_verified_against_transformers_it_is_the_same_to_the_bit(own_checkpoint) -> None:
    pytest.importorskip("transformers")
    for attention in ("eager", "sdpa"):
        report = verify_against_transformers(DEMO, attention=attention)
        assert report.same
        assert len(report.results) > 50
        assert {result.difference for result in report.results} <= {0.0, None}  # None: a fused map is not compared


@pytest.mark.parametrize(("key", "value"), [("dtype", "float16"), ("torch_dtype", "float64"), ("dtype", None)])
def test_auto_is_what_the_config_says_and_else_what_the_file_has(key: str, value: str | None, own_checkpoint) -> None:
    transformers = pytest.importorskip("transformers")
    path = own_checkpoint / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    del settings["dtype"]
    path.write_text(json.dumps(settings | {key: value}), encoding="utf-8")
    ours = minibert.BertModel.from_pretrained(DEMO, dtype="auto")
    assert ours.dtype == getattr(torch, value or "float16")
    assert transformers.BertModel.from_pretrained(own_checkpoint, dtype="auto").dtype == ours.dtype
    assert minibert.BertModel.from_pretrained(DEMO).dtype == torch.float32


@pytest.mark.parametrize("value", ["float99", "int64", 5, ["float32"]])
def test_a_config_that_says_nonsense_is_a_sentence(value: object, own_checkpoint) -> None:
    path = own_checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": value}), encoding="utf-8")
    with pytest.raises(ConfigError, match="dtype is not a kind of number"):
        minibert.BertModel.from_pretrained(DEMO, dtype="auto")


def test_what_is_carried_is_small_and_complete() -> None:
    """The real one, where it lies in the package."""
    try:
        folder = demo_folder()
    except CheckpointError:
        pytest.skip("minibert/demo is not there yet")
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json", "README.md"}
    assert (folder / "model.safetensors").stat().st_size <= 15_000_000
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float32"
    weights = open_weights(DEMO)
    assert {weights.describe(name)[1] for name in weights.names()} == {"float16"}
    assert minibert.BertForMaskedLM.from_pretrained(DEMO).dtype == torch.float32
