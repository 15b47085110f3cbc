"""Files from the hub in processes of their own: the environment, the terminal, two loads at once, a killed one.

Nothing of the client is replaced here; it runs as it does for a user.
"""

import hashlib
import os
import pty
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkpoint.test_hub import FILES, REPO, TOKEN, WEIGHTS, contents
from tests.support.hub_server import HubServer

PROGRAM = """
import hashlib, sys
from minibert.errors import CheckpointError
from minibert.hub import hub_file
try:
    for name in sys.argv[2:]:
        path = hub_file(sys.argv[1], name)
        print(name, path and hashlib.sha256(path.read_bytes()).hexdigest())
except CheckpointError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""
GOOD = f"model.safetensors {hashlib.sha256(WEIGHTS).hexdigest()}\n"


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer({REPO: FILES, "owner/private": FILES}, private=("owner/private",), token=TOKEN) as server:
        yield server


def start(
    server: HubServer, home: Path, *arguments: str, stderr: int = subprocess.PIPE, **environment: str
) -> subprocess.Popen[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING", "TQDM"))}
    ours = {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=clean | ours | environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err or ""


def test_the_client_is_not_imported_before_it_is_needed() -> None:
    program = "import sys, minibert.hub; sys.exit('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_environment(server: HubServer, tmp_path: Path) -> None:
    online = start(server, tmp_path / "home", "owner/private", "model.safetensors", HF_TOKEN=TOKEN)
    assert finish(online) == (0, GOOD, "")  # nothing on a stderr that is no terminal
    assert server.log_of("model.safetensors")[0].token == TOKEN
    assert contents(tmp_path / "home" / "hub") == ["model.safetensors"]

    asked = len(server.requests)
    offline = start(server, tmp_path / "home", "owner/private", "model.safetensors", "no.txt", HF_HUB_OFFLINE="1")
    empty = str(tmp_path / "none")
    nowhere = start(server, tmp_path / "home", REPO, "model.safetensors", HF_HUB_CACHE=empty, HF_HUB_OFFLINE="1")
    assert finish(offline) == (0, GOOD + "no.txt None\n", "")
    code, out, err = finish(nowhere)
    assert (code, out) == (2, "")
    assert "told to stay offline" in err
    assert empty in err
    assert "Traceback" not in err
    assert len(server.requests) == asked


def test_progress_on_a_terminal(server: HubServer, tmp_path: Path) -> None:
    reader, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    process = start(server, tmp_path, REPO, "model.safetensors", stderr=terminal)
    os.close(terminal)
    shown = b""
    try:
        while block := os.read(reader, 4096):
            shown += block
    except OSError:
        pass  # how a terminal ends once the process has left it
    finally:
        os.close(reader)
    assert finish(process) == (0, GOOD, "")
    assert b"model.safetensors: 100%" in shown


def test_a_broken_download_resumes_where_it_stopped(server: HubServer, tmp_path: Path) -> None:
    # The client writes, and so resumes, in steps of 10 MB.
    large = WEIGHTS * 40
    server.push(REPO, {"model.safetensors": large})
    server.fail("model.safetensors", break_after=11_000_000)
    code, out, err = finish(start(server, tmp_path, REPO, "model.safetensors"))
    assert (code, out) == (0, f"model.safetensors {hashlib.sha256(large).hexdigest()}\n")
    assert "Trying to resume" in err
    assert [request.range for request in server.log_of("model.safetensors")] == [None, f"bytes={10 << 20}-"]


def test_two_processes_at_once(server: HubServer, tmp_path: Path) -> None:
    both = [start(server, tmp_path, REPO, "model.safetensors") for _ in range(2)]
    assert [finish(process) for process in both] == [(0, GOOD, "")] * 2
    assert contents(tmp_path / "hub") == ["model.safetensors"]


def test_a_killed_download(server: HubServer, tmp_path: Path) -> None:
    server.fail("model.safetensors", break_after=200_000, stall=True)
    process = start(server, tmp_path, REPO, "model.safetensors")
    deadline = time.monotonic() + 30
    while not (server.log_of("model.safetensors") and any(tmp_path.rglob("*.incomplete"))):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    assert finish(process)[1] == ""
    assert "model.safetensors" not in contents(tmp_path / "hub")
    assert finish(start(server, tmp_path, REPO, "model.safetensors")) == (0, GOOD, "")
