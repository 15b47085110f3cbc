"""A checkpoint is looked up once: one folder, and of the hub one commit, for config, weights, tokenizer and pooling."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load, save

import minibert
from minibert import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CheckpointError,
    Embedder,
    InputError,
    Predictor,
    open_weights,
)
from minibert.auto import load_architecture
from minibert.checkpoint.weights import SafetensorsWeights
from minibert.cli import main
from minibert.convert import convert
from minibert.source import DEMO, Checkpoint, demo_folder
from minibert.verify import make_golden, verify_against_folder, verify_against_transformers
from tests.checkpoint.test_hub import point_client_at, wait_no_longer_than
from tests.support.hub_server import HubServer
from tests.support.sentence_folders import FOLDER, MEAN, POOLING, TRANSFORMER, plain, write

REPO = "owner/moving"
LAYOUTS = ("", "0_Transformer/")


def version(number: int, inner: str) -> dict[str, bytes]:
    """A sentence-transformers repository whose every file says which version it is."""
    weights = load((FOLDER / "model.safetensors").read_bytes())
    weights["bert.embeddings.LayerNorm.bias"].fill_(number)
    vocab = (FOLDER / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocab[-1] = f"version{number}"
    config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8")) | {"version": number}
    config |= {"architectures": ["BertForPreTraining"]}
    transformer = TRANSFORMER | {"path": inner.removesuffix("/")}
    return {
        "modules.json": json.dumps([transformer, POOLING]).encode(),
        "1_Pooling/config.json": json.dumps(MEAN | {"include_prompt": number % 2 == 0}).encode(),
        "config_sentence_transformers.json": json.dumps({"prompts": {"query": f"{number}: "}}).encode(),
        f"{inner}config.json": json.dumps(config).encode(),
        f"{inner}vocab.txt": "".join(f"{token}\n" for token in vocab).encode(),
        f"{inner}model.safetensors": save(weights),
    }


class MovingHub(HubServer):
    """A hub whose main branch moves on whenever a file was fetched."""

    def __init__(self, inner: str) -> None:
        self.inner, self.number = inner, 0
        super().__init__({REPO: version(0, inner)})
        self.first = self.branches[REPO]["main"]

    def take_fault(self, method: str, name: str) -> None:
        """Called for every file that is sent, after its content was looked up."""
        if method == "GET":
            self.number += 1
            self.push(REPO, version(self.number, self.inner))


@pytest.fixture(params=LAYOUTS)
def hub(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MovingHub]:
    with MovingHub(request.param) as server:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        point_client_at(server.endpoint, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        wait_no_longer_than(10.0, monkeypatch)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        yield server


def test_an_embedder_of_a_branch_that_moves_is_of_one_commit(hub: MovingHub) -> None:
    for _ in range(2):  # the second load begins where the branch is by then
        embedder = Embedder.from_pretrained(REPO)
        number = embedder.model.config.version
        assert set(embedder.model.embeddings.LayerNorm.bias.tolist()) == {number}
        assert f"version{number}" in embedder.tokenizer.get_vocab()
        assert embedder.prompts["query"] == f"{number}: "
        assert embedder.include_prompt is (number % 2 == 0)
    assert hub.number > number > 3


USES: dict[str, Callable[[str, Path], object]] = {
    "embedder": lambda source, _: Embedder.from_pretrained(source),
    "architecture": lambda source, _: load_architecture(source),
    "model": lambda source, _: BertModel.from_pretrained(source),
    "tokenizer": lambda source, _: BertTokenizer.from_pretrained(source),
    "convert": lambda source, folder: convert(source, folder / "converted"),
    "golden": lambda source, folder: make_golden(source, folder / "golden.safetensors", texts=["the bank"]),
    "folder": lambda source, _: verify_against_folder(source, DEMO, texts=["the bank"]),
    "transformers": lambda source, _: verify_against_transformers(source, texts=["the bank"]),
    "fill-mask": lambda source, _: main(["fill-mask", "the [MASK]", "--model", source]),
    "logit-lens": lambda source, _: main(["readout", "the [MASK]", "--model", source]),
}


@pytest.mark.parametrize("use", USES)
def test_what_is_fetched_is_of_one_commit(use: str, hub: MovingHub, tmp_path: Path) -> None:
    if use == "transformers":
        pytest.importorskip("transformers")
    USES[use](REPO, tmp_path)
    fetched = [request.path for request in hub.requests if request.method == "GET" and "/resolve/" in request.path]
    revisions = [match[1] for path in fetched if (match := re.search(r"/resolve/([^/]+)/", path))]
    assert revisions[0] == "main"
    assert set(revisions[1:]) == {hub.first}
    names = [path.partition(f"/{revision}/")[2] for path, revision in zip(fetched, revisions, strict=True)]
    assert sorted(names) == sorted(set(names))  # each once
    assert f"{hub.inner}vocab.txt" in names or use in ("architecture", "model")


def test_one_handle_for_several_loads(hub: MovingHub) -> None:
    checkpoint = Checkpoint.open(REPO)
    model, tokenizer = BertModel.from_pretrained(checkpoint), BertTokenizer.from_pretrained(checkpoint)
    assert (model.config.version, "version0" in tokenizer.get_vocab()) == (0, True)
    assert checkpoint.where == {"revision": hub.first}
    assert (str(checkpoint), os.fspath(checkpoint), model.name_or_path) == (REPO, REPO, REPO)
    assert model.load_report is not None
    assert model.load_report.source == REPO
    later = Checkpoint.open(REPO, revision=hub.branches[REPO]["main"])
    assert BertConfig.from_pretrained(later).version > 0
    assert Checkpoint.open(later) is later
    with pytest.raises(InputError, match="is open already; give revision to Checkpoint.open"):
        BertModel.from_pretrained(later, revision="main")
    assert "secret" not in repr(Checkpoint.open(REPO, token="secret"))


def test_the_bert_is_where_modules_says_on_the_hub_too(hub: MovingHub, tmp_path: Path) -> None:
    """sentence-transformers before 2.0 put a config.json of its own into the root."""
    hub.push(REPO, version(7, hub.inner) | ({"config.json": b'{"__version__": "1.2"}'} if hub.inner else {}))
    config = BertConfig.from_pretrained(REPO)
    assert config.version == 7
    assert not hasattr(config, "__version__")


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often a source was resolved, and weights were opened."""
    counts = {"resolved": 0, "opened": 0}
    resolve, opens = minibert.source.local_folder, SafetensorsWeights.__init__

    def counted(source: str) -> Path | None:
        counts["resolved"] += 1
        return resolve(source)

    def counted_weights(self: SafetensorsWeights, path: Path) -> None:
        counts["opened"] += 1
        opens(self, path)

    monkeypatch.setattr("minibert.source.local_folder", counted)
    monkeypatch.setattr(SafetensorsWeights, "__init__", counted_weights)
    return counts


def test_loading_a_checkpoint_resolves_it_once(looked_up: dict[str, int], tmp_path: Path) -> None:
    folder = write(tmp_path / "sentences", plain())
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(FOLDER, num_labels=2, architectures=["BertForSequenceClassification"])
    minibert.BertForSequenceClassification(config).save_pretrained(tmp_path / "classes")
    BertTokenizer.from_pretrained(FOLDER).save_pretrained(tmp_path / "classes")
    uses = USES | {"predictor": lambda _, folder: Predictor.from_pretrained(folder / "classes")}
    for use, run in uses.items():
        looked_up.update(resolved=0, opened=0)
        run(str(folder), tmp_path)
        expected = {
            "folder": (2, 2),  # two checkpoints
            "golden": (1, 2),  # two models: their parameters are not to share memory
            "tokenizer": (1, 0),
        }
        assert (use, looked_up["resolved"], looked_up["opened"]) == (use, *expected.get(use, (1, 1)))


def test_two_models_of_one_handle_share_no_memory() -> None:
    checkpoint = Checkpoint.open(DEMO)
    one, other = BertModel.from_pretrained(checkpoint), BertModel.from_pretrained(checkpoint)
    with torch.no_grad():
        one.embeddings.word_embeddings.weight.zero_()
    assert other.embeddings.word_embeddings.weight.abs().max() > 0


def test_a_handle_on_this_disk(tmp_path: Path) -> None:
    own = Checkpoint.open(DEMO)
    assert (str(own), own.folder, own.file) == (DEMO, demo_folder(), None)
    assert own.find("config.json") == own.at("config.json") == demo_folder() / "config.json"
    assert own.find("nothing.json") is None
    inside = write(tmp_path / "old", plain(), "0_Transformer")
    (inside / "modules.json").write_text(json.dumps([TRANSFORMER | {"path": "0_Transformer"}, POOLING]))
    (inside / "config.json").write_text('{"__version__": "1.2"}')
    checkpoint = Checkpoint.open(inside)
    assert checkpoint.find("config.json") == inside / "0_Transformer" / "config.json"
    assert checkpoint.at("config.json") == inside / "config.json"
    assert checkpoint.find("modules.json") == inside / "modules.json"
    single = Checkpoint.open(inside / "0_Transformer" / "vocab.txt")
    assert (single.file, single.folder) == (inside / "0_Transformer" / "vocab.txt", inside / "0_Transformer")
    for source in (tmp_path / "nowhere", "no/such/place", Path(DEMO)):
        with pytest.raises(CheckpointError, match="is neither a folder on this disk nor a name on the hub"):
            Checkpoint.open(source)
    with pytest.raises(InputError, match="is no source"):
        Checkpoint.open(None)  # type: ignore[arg-type]
    assert open_weights(checkpoint).names() == open_weights(FOLDER).names()


@pytest.mark.parametrize(
    "name",
    ["m.onnx", "i/m.onnx", "x.safetensors", "x.bin", "a/x.pt", "x.pth", "x.ckpt", "bert_config.json", "a/b/M.ONNX"],
)
def test_a_file_that_is_not_there_is_not_looked_for_on_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_arguments: object, **_settings: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("minibert.hub.hub_file", asked)
    for source in (name, Path(name)):
        with pytest.raises(CheckpointError, match=f"There is no file {re.escape(name)}"):
            BertModel.from_pretrained(source)
