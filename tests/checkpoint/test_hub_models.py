"""Whole checkpoints from the hub, through the command line and the real client: the same result as from a folder."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load, save

import minibert
from tests.support import command
from tests.support.hub_server import HubServer

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "minibert" / "goldens" / "random-bert"
FILES = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.name != "golden.safetensors"}
MODULES = [{"idx": 0, "name": "0", "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]


def in_shards() -> dict[str, bytes]:
    """The same checkpoint with its weights in two files and an index."""
    weights = load(FILES["model.safetensors"])
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    shards = {file: save({name: weights[name] for name in part}) for file, part in parts.items()}
    others = {name: content for name, content in FILES.items() if name != "model.safetensors"}
    return {**others, **shards, "model.safetensors.index.json": json.dumps(index).encode()}


REPOSITORIES = {
    "owner/shards": in_shards(),
    "owner/bert": {**FILES, "pytorch_model.bin": b"never to be fetched", "README.md": b"nor this"},
    "owner/sentences": {
        "modules.json": json.dumps(MODULES).encode(),
        **{f"0_Transformer/{name}": content for name, content in FILES.items()},
    },
    "owner/empty": {"config.json": FILES["config.json"]},
}


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer(REPOSITORIES) as server:
        yield server


def run(server: HubServer, home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    ours = {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    return command.run(*arguments, env=clean | ours | environment)


def expected_vector() -> list[float]:
    model = minibert.BertModel.from_pretrained(FOLDER)
    tokenizer = minibert.BertTokenizer.from_pretrained(FOLDER)
    return minibert.embed_texts(model, tokenizer, ["the bank"])[0].tolist()


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name", [*(pytest.param(f"owner/{kind}", marks=SLOW) for kind in ("bert", "sentences")), "owner/shards"]
)
def test_a_name_is_as_good_as_a_folder_and_works_offline_afterwards(server, tmp_path, name: str) -> None:
    embed = ("embed", "the bank", "--model", name, "--json")
    done = run(server, tmp_path, *embed)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["vector"] == pytest.approx(expected_vector(), abs=1e-7)
    fetched = {request.path.rpartition("/")[2] for request in server.requests if request.method == "GET"}
    shards = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"}
    assert {"config.json", "vocab.txt"} | (shards if name == "owner/shards" else {"model.safetensors"}) <= fetched
    assert not fetched & {"pytorch_model.bin", "README.md"}
    server.requests.clear()
    again = run(server, tmp_path, *embed, HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert server.requests == []


def test_sentences_for_what_is_not_there(server, tmp_path) -> None:
    for name, sentence in (
        ("owner/nothing", "owner/nothing"),
        ("owner/empty", "holds no weights"),
    ):
        done = run(server, tmp_path, "inspect", name)
        assert done.returncode == 2
        assert done.stderr.startswith("minibert: ")
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    nothing_cached = run(server, tmp_path / "other", "inspect", "owner/bert", HF_HUB_OFFLINE="1")
    no_weights_cached = run(server, tmp_path, "inspect", "owner/empty", HF_HUB_OFFLINE="1")
    for done in (nothing_cached, no_weights_cached):
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
    assert "Only the cache on this disk was looked at" in no_weights_cached.stderr


def test_a_revision_is_one_commit_for_all_files(server, tmp_path) -> None:
    first = server.branches["owner/bert"]["main"]
    config = json.loads(FILES["config.json"]) | {"note": "second"}
    second = server.push("owner/bert", {**FILES, "config.json": json.dumps(config).encode()})
    assert second != first
    code = (
        "import minibert, sys\n"
        "model = minibert.BertModel.from_pretrained('owner/bert', revision=sys.argv[1])\n"
        "commits = {file.split('snapshots')[1][:41] for file in model.load_report.files}\n"
        "print(getattr(model.config, 'note', None), len(commits))\n"
        "minibert.BertTokenizer.from_pretrained('owner/bert', revision=sys.argv[1])\n"
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment = clean | {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    for revision, note in (("main", "second"), (second, "second"), (first, "None")):
        done = subprocess.run(
            [sys.executable, "-c", code, revision],
            env=environment,
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
        assert done.stdout.split() == [note, "1"]
