"""Files from the hub, with the real client against a hub on this machine: what works, and what fails in a sentence.

The client of this process is pointed at the server and waits no time between its own attempts.  What it reads from
the environment when it is imported is in test_hub_processes.py.
"""

import errno
import hashlib
import os
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.file_download
import pytest
from huggingface_hub import constants

from minibert import hub
from minibert.errors import CheckpointError
from minibert.hub import commit_of, hub_file
from tests.support.hub_server import HubServer

REPO = "owner/name"
WEIGHTS = random.Random(0).randbytes(300_000)
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": WEIGHTS,
    "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
}
TOKEN = "hf_test"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    repositories = {REPO: FILES, "owner/gated": FILES, "owner/private": FILES}
    with HubServer(repositories, gated=("owner/gated",), private=("owner/private",), token=TOKEN) as server:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        point_client_at(server.endpoint, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "harnesses"), raising=False)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        wait_no_longer_than(10.0, monkeypatch)  # a busy machine is slow; only a test of silence has to run into it
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        yield server


def wait_no_longer_than(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", seconds)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", seconds)
    monkeypatch.setattr(huggingface_hub.file_download, "_ETAG_RETRY_TIMEOUT", seconds, raising=False)


def point_client_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


def closed_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def sentence_of(name: str = "config.json", *, repo_id: str = REPO, **settings: object) -> str:
    with pytest.raises(CheckpointError) as caught:
        hub_file(repo_id, name, **settings)  # type: ignore[arg-type]
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def contents(cache: Path) -> list[str]:
    """Names under which a load would find something, and anything half written."""
    found = [path for path in cache.rglob("*") if path.is_file() and "snapshots" in path.parts]
    return sorted(path.name for path in (*found, *cache.rglob("*.incomplete")))


def test_a_file_is_downloaded_once_and_only_the_one_asked_for(server: HubServer, tmp_path: Path) -> None:
    first = hub_file(REPO, "model.safetensors")
    assert first is not None
    assert first.read_bytes() == WEIGHTS
    assert first.is_relative_to(tmp_path / "cache")
    assert hub_file(REPO, "model.safetensors") == first
    assert [request.path for request in server.requests if request.method == "GET" and "resolve" in request.path] == [
        f"/{REPO}/resolve/main/model.safetensors"
    ]


def test_a_file_in_a_folder(server: HubServer) -> None:
    path = hub_file(REPO, "1_Pooling/config.json")
    assert path is not None
    assert path.parts[-2:] == ("1_Pooling", "config.json")
    assert path.read_bytes() == FILES["1_Pooling/config.json"]


def test_another_cache_folder(server: HubServer, tmp_path: Path) -> None:
    path = hub_file(REPO, "config.json", cache_dir=tmp_path / "elsewhere")
    assert path is not None
    assert path.is_relative_to(tmp_path / "elsewhere")
    assert hub_file(REPO, "config.json", cache_dir=tmp_path / "elsewhere", local_files_only=True) == path


def test_a_missing_file_is_none(server: HubServer) -> None:
    assert hub_file(REPO, "pytorch_model.bin") is None


def test_force_download_fetches_again(server: HubServer) -> None:
    hub_file(REPO, "config.json")
    hub_file(REPO, "config.json", force_download=True)
    assert len(server.log_of("config.json")) == 2


def test_a_branch_that_moved_is_followed(server: HubServer) -> None:
    hub_file(REPO, "config.json")
    server.push(REPO, {"config.json": b"{}"})
    path = hub_file(REPO, "config.json")
    assert path is not None
    assert path.read_bytes() == b"{}"


def test_files_pinned_to_one_commit_stay_together(server: HubServer) -> None:
    config = hub_file(REPO, "config.json")
    assert config is not None
    commit = commit_of(config)
    assert commit == server.branches[REPO]["main"]
    server.push(REPO, {"config.json": b"{}", "model.safetensors": b"newer", "pytorch_model.bin": b"newer"})
    weights = hub_file(REPO, "model.safetensors", revision=commit)
    assert weights is not None
    assert weights.read_bytes() == WEIGHTS
    assert hub_file(REPO, "pytorch_model.bin", revision=commit) is None
    pooling = hub_file(REPO, "1_Pooling/config.json", revision=commit)
    assert pooling is not None
    assert commit_of(pooling) == commit
    asked = len(server.requests)
    assert hub_file(REPO, "model.safetensors", revision=commit) == weights
    assert hub_file(REPO, "pytorch_model.bin", revision=commit) is None
    assert len(server.requests) == asked  # a commit never changes, so nothing is asked twice


def test_only_paths_in_a_snapshot_have_a_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path / "config.json") is None
    assert commit_of(tmp_path / "snapshots" / "mine" / "config.json") is None


def test_branches_and_tags(server: HubServer) -> None:
    server.push(REPO, {"config.json": b"tagged"}, branch="v1.0")
    path = hub_file(REPO, "config.json", revision="v1.0")
    assert path is not None
    assert path.read_bytes() == b"tagged"
    assert hub_file(REPO, "config.json", revision="v1.0", local_files_only=True) == path


def test_wrong_revision(server: HubServer) -> None:
    sentence = sentence_of(revision="v9")
    assert "has no revision 'v9'" in sentence
    assert repr(REPO) in sentence


def test_unknown_repository(server: HubServer) -> None:
    for token in (None, TOKEN):  # without a token the hub answers 401 where with one it answers 404
        sentence = sentence_of(repo_id="owner/nmae", token=token)
        assert "no repository 'owner/nmae'" in sentence
        assert "HF_TOKEN" in sentence


def test_private_and_gated_repositories(server: HubServer) -> None:
    assert "no repository 'owner/private'" in sentence_of(repo_id="owner/private")
    sentence = sentence_of(repo_id="owner/gated")
    assert "accepted its terms" in sentence
    assert "HF_TOKEN" in sentence
    assert hub_file("owner/private", "config.json", token=TOKEN) is not None
    assert hub_file("owner/gated", "config.json", token=TOKEN) is not None


def test_a_rejected_token(server: HubServer) -> None:
    server.fail("config.json", method="HEAD", status=401)
    assert "valid token" in sentence_of(token="hf_expired")


@pytest.mark.parametrize("repo_id", ["a/b/c", "owner/na me", "../up", "owner--name", "-x/y", "", "folder\\file"])
def test_what_cannot_be_a_repository(server: HubServer, repo_id: str) -> None:
    sentence = sentence_of(repo_id=repo_id)
    assert repr(repo_id) in sentence
    assert "neither a folder on this disk nor the name of a hub repository" in sentence
    assert not server.requests


def test_what_cannot_be_a_file_name(server: HubServer) -> None:
    assert "inside the repository" in sentence_of("../../escaped")
    assert not server.requests


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_hub_in_trouble(server: HubServer, status: int) -> None:
    server.fail("config.json", method="HEAD", status=status, times=-1)
    sentence = sentence_of()
    assert f"HTTP status {status}" in sentence
    assert "run again in a while" in sentence


def test_a_hub_in_trouble_only_for_a_moment(server: HubServer) -> None:
    server.fail("config.json", method="HEAD", status=500, times=2)
    assert hub_file(REPO, "config.json") is not None


def test_a_hub_that_refuses_the_content(server: HubServer, tmp_path: Path) -> None:
    server.fail("config.json", status=403)
    sentence = sentence_of()
    assert "HTTP status 403" in sentence
    assert "may read the repository" in sentence
    assert contents(tmp_path / "cache") == []


def test_connection_refused(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = closed_port()
    point_client_at(endpoint, monkeypatch)
    sentence = sentence_of()
    assert f"the hub at {endpoint} cannot be reached" in sentence
    assert "refused" in sentence
    assert "local folder" in sentence
    assert "stay in the cache" in sentence


def test_a_hub_that_never_answers(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_no_longer_than(0.3, monkeypatch)
    server.fail("config.json", method="HEAD", stall=True, times=-1)
    sentence = sentence_of()
    assert "cannot be reached" in sentence
    assert "timed out" in sentence


def test_no_network_but_cached(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = hub_file(REPO, "config.json")
    assert hub_file(REPO, "pytorch_model.bin") is None
    point_client_at(closed_port(), monkeypatch)
    assert hub_file(REPO, "config.json") == cached
    assert hub_file(REPO, "pytorch_model.bin") is None  # the hub once said so
    assert "cannot be reached" in sentence_of("model.safetensors")  # it has never been asked for


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline(server: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str) -> None:
    cached = hub_file(REPO, "config.json")
    assert hub_file(REPO, "pytorch_model.bin") is None
    asked = len(server.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", how == "environment")
    only = how == "argument"
    assert hub_file(REPO, "config.json", local_files_only=only) == cached
    assert hub_file(REPO, "pytorch_model.bin", local_files_only=only) is None
    assert hub_file(REPO, "vocab.txt", local_files_only=only) is None  # something of this revision is cached
    for sentence in (
        sentence_of(repo_id="owner/never", local_files_only=only),
        sentence_of(revision="v9", local_files_only=only),
        sentence_of(cache_dir=tmp_path / "empty", local_files_only=only),
    ):
        assert "told to stay offline" in sentence
        assert "is not in the cache" in sentence
    assert "force_download" in sentence_of(local_files_only=only, force_download=True)
    assert len(server.requests) == asked


def test_a_broken_download_resumes_where_it_stopped(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)  # the client keeps whole chunks: 10 MB otherwise
    server.fail("model.safetensors", break_after=250_000)
    path = hub_file(REPO, "model.safetensors")
    assert path is not None
    assert path.read_bytes() == WEIGHTS
    assert [request.range for request in server.log_of("model.safetensors")] == [None, "bytes=200000-"]


@pytest.mark.parametrize("stall", [False, True])
def test_a_download_that_breaks_off_for_good(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stall: bool
) -> None:
    hub_file(REPO, "config.json")
    server.fail("model.safetensors", break_after=1000, times=6, stall=stall)
    with monkeypatch.context() as impatient:
        wait_no_longer_than(1.0, impatient)
        sentence = sentence_of("model.safetensors")
    assert "model.safetensors" in sentence
    assert "broke off" in sentence
    assert "local folder" in sentence
    assert contents(tmp_path / "cache") == ["config.json"]
    path = hub_file(REPO, "model.safetensors")
    assert path is not None
    assert path.read_bytes() == WEIGHTS
    assert len(server.log_of("config.json")) == 1  # what was complete is not fetched again


def test_another_size_than_announced(server: HubServer, tmp_path: Path) -> None:
    server.fail("model.safetensors", body=WEIGHTS[:-1])
    sentence = sentence_of("model.safetensors")
    assert f"should be of size {len(WEIGHTS)} but has size {len(WEIGHTS) - 1}" in sentence
    assert contents(tmp_path / "cache") == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_other_bytes_than_announced(server: HubServer, tmp_path: Path, name: str) -> None:
    damaged = bytes([FILES[name][0] ^ 1]) + FILES[name][1:]
    server.fail(name, body=damaged)
    sentence = sentence_of(name)
    assert "arrived damaged" in sentence
    assert "run again" in sentence
    assert contents(tmp_path / "cache") == []
    path = hub_file(REPO, name)
    assert path is not None
    assert path.read_bytes() == FILES[name]


@pytest.mark.parametrize("announced", [hashlib.sha1(b"{}").hexdigest(), "a-word-of-a-mirror"])
def test_what_mirrors_announce_is_accepted(tmp_path: Path, announced: str) -> None:
    (tmp_path / announced).write_bytes(b"{}")
    link = tmp_path / "config.json"
    link.symlink_to(announced)
    hub._check_arrived(link, "config.json")
    assert link.read_bytes() == b"{}"


def test_a_blob_that_is_itself_a_link_is_checked_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / ("f" * 64)).write_bytes(WEIGHTS)  # how the client shares content between caches
    blob, link = tmp_path / hashlib.sha256(WEIGHTS).hexdigest(), tmp_path / "model.safetensors"
    blob.symlink_to("f" * 64)
    link.symlink_to(blob.name)
    hub._check_arrived(link, "model.safetensors")
    assert link.read_bytes() == WEIGHTS


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(*args: object, **settings: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(huggingface_hub.file_download, "http_get", full)
    sentence = sentence_of()
    assert "no space left" in sentence
    assert str(tmp_path / "cache") in sentence
    assert contents(tmp_path / "cache") == []


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_cache_that_is_read_only(server: HubServer, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    # Raised here rather than by the disk: whoever runs these tests as root may write everywhere.
    def forbidden(path: object, *args: object, **settings: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(os, "makedirs", forbidden)
    sentence = sentence_of()
    assert "cannot be written to the cache" in sentence
    assert os.strerror(code) in sentence


def test_a_cache_that_is_a_file(server: HubServer, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    assert "cannot be written to the cache" in sentence_of(cache_dir=tmp_path / "taken" / "cache")
