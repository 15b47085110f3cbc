"""Questions nobody waits for: dropped before they are begun, bounded in number, and silent on the terminal."""

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from minibert.explorer import server as servers
from minibert.explorer.live import Live
from minibert.explorer.request_queue import UNREAD, WAITING
from tests.explorer.conftest import FIRST

uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed (make test does)")
CHECKPOINT = str(Path(__file__).parents[2] / "minibert" / "goldens" / "random-bert")


class Slow(Live):
    """Its model is busy with ``first`` until ``go`` is set; counts what it computes."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.go, self.computed = threading.Event(), []

    def answer(self, question, given, wanted=lambda: True):
        self.computed.append(given["texts"][0] if "texts" in given else given["text"])
        if self.computed[-1] == "first":
            assert self.go.wait(30)
        return super().answer(question, given, wanted)


@pytest.fixture
def slow(model, tokenizer) -> Iterator[tuple[int, Slow]]:
    """The port of a live page, and what answers there."""
    live = Slow(model, tokenizer, "tiny")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        port = listener.getsockname()[1]
        app = servers.make_app(live, [FIRST], port)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        live.computed.clear()
        yield port, live
        live.go.set()
        server.should_exit = True
        thread.join()


@contextmanager
def asked(port: int, given: dict, path: str = "/runs", whole: bool = True, wait: float = 0) -> Iterator[socket.socket]:
    """A connection on which a question was sent, whole or half, after a while; closed at the end of the block."""
    time.sleep(wait)
    body = json.dumps(given).encode()
    lines = ("POST " + path + " HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json")
    head = "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head + (body if whole else body[: len(body) // 2]))
        yield connection


def answer_on(connection: socket.socket) -> tuple[int, dict]:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, json.loads(answer.read())


def wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_200_abandoned_questions_are_never_begun(slow, capfd) -> None:
    port, live = slow
    with asked(port, {"texts": ["first"]}) as first:
        wait_for(lambda: live.computed == ["first"])
        for number in range(100):  # one after the other
            with asked(port, {"texts": [f"gone {number}"]}):
                time.sleep(0.002)
        crowd = [asked(port, {"texts": [f"gone {number}"]}) for number in range(100, 200)]  # and all at once
        for one in crowd:
            one.__enter__()
        for one in crowd:
            one.__exit__(None, None, None)
        for _ in range(100):  # half a question each
            with asked(port, {"texts": ["half"]}, whole=False):
                pass
        with asked(port, {"texts": ["the bank"]}) as last:
            live.go.set()
            assert answer_on(first)[0] == 200
            assert answer_on(last)[0] == 200
    assert live.computed == ["first", "the bank"]
    assert capfd.readouterr() == ("", "")


def test_a_newer_question_of_the_same_page_replaces_the_older(slow) -> None:
    port, live = slow
    with asked(port, {"texts": ["first"], "page": "one"}) as first:
        wait_for(lambda: live.computed == ["first"])
        with (
            asked(port, {"texts": ["the bank"], "page": "two"}) as two,
            asked(port, {"text": "she", "page": "one"}, "/sensitivity") as maps,
            asked(port, {"texts": ["the bank"], "page": "one", "heads": [[0, 0]]}, "/edits") as edits,
            asked(port, {"texts": ["river"], "page": "one"}, wait=0.3) as newest,
        ):
            for replaced in (maps, edits):
                status, answer = answer_on(replaced)
                assert status == 409 and "newer request" in answer["error"]
            live.go.set()
            assert answer_on(first)[0] == 409  # it was begun already, and nobody waits for it any more
            assert answer_on(two)[0] == answer_on(newest)[0] == 200
    assert live.computed == ["first", "the bank", "river"]


def test_many_pages_at_once_and_a_line_that_is_full(slow) -> None:
    port, live = slow
    with asked(port, {"texts": ["first"]}) as first:
        wait_for(lambda: live.computed == ["first"])
        crowd = [asked(port, {"texts": ["the bank"], "page": f"page {number}"}) for number in range(WAITING + 10)]
        connections = [one.__enter__() for one in crowd]
        time.sleep(0.3)
        live.go.set()
        found = [answer_on(connection) for connection in connections]
        assert answer_on(first)[0] == 200
        for one in crowd:
            one.__exit__(None, None, None)
    statuses = [status for status, _ in found]
    assert (statuses.count(200), statuses.count(503)) == (WAITING - 1, 11)
    assert len(live.computed) == WAITING
    assert {answer["error"] for status, answer in found if status == 503} == {
        f"{WAITING} requests are waiting already; try again in a moment."
    }


def test_sensitivity_ends_early_when_its_asker_has_left(model, tokenizer) -> None:
    from minibert.explorer.request_queue import Dropped

    live, calls = Live(model, tokenizer, "tiny"), []

    def wanted() -> bool:
        calls.append(1)
        return len(calls) < 2

    with pytest.raises(Dropped):
        live.answer("sensitivity", {"text": "the river " * 60}, wanted)
    assert len(calls) == 2


def test_clients_that_are_slow(slow, monkeypatch, capfd) -> None:
    """One that does not send its question gets a sentence; those that do not read their answer stop nobody else."""
    monkeypatch.setattr(servers, "REQUEST_TIMEOUT", 0.3)
    monkeypatch.setattr(servers, "RESPONSE_TIMEOUT", 0.6)
    port, live = slow
    with asked(port, {"texts": ["the bank"]}, whole=False) as half:
        status, answer = answer_on(half)
        assert status == 408 and "did not arrive within 0.3 seconds" in answer["error"]
    monkeypatch.setattr(Live, "answer", lambda *_: {"much": "x" * 8_000_000})
    live.go.set()
    readers = [asked(port, {"texts": ["the bank"]}) for _ in range(UNREAD + 2)]
    for reader in readers:
        reader.__enter__()
    with asked(port, {"texts": ["river"]}) as good:
        assert answer_on(good)[0] == 200
    for reader in readers:
        reader.__exit__(None, None, None)


def test_a_page_name_that_is_none(slow) -> None:
    port, _ = slow
    for page in (5, "", "x" * 65, []):
        with asked(port, {"texts": ["the bank"], "page": page}) as connection:
            assert answer_on(connection) == (400, {"error": "page is a name of 1 to 64 characters."})


def test_runs_are_remembered_within_bounds(model, tokenizer, monkeypatch) -> None:
    from minibert.explorer import live as lives

    live = Live(model, tokenizer, "tiny")
    for text in ("the bank", "the river", "she sat", "the bank"):
        live.runs({"texts": [text]})
    assert list(live._cache) == [(text, ()) for text in ("the river", "she sat", "the bank")]
    size = live._cache["the bank", ()].values.nbytes
    monkeypatch.setattr(lives, "CACHE_BYTES", 2 * size)
    live.runs({"texts": ["the river bank of the river"]})
    assert list(live._cache) == [("the river bank of the river", ())]


def test_port_0_takes_a_free_port_and_prints_it() -> None:
    command = [sys.executable, "-m", "minibert", "explore", "the bank", "--serve", "--port", "0", "--model", CHECKPOINT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"the page is at http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
            assert found is not None and found[1] not in ("0", "8080")
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
            connection.request("GET", "/")
            assert connection.getresponse().status == 200
            connection.close()
        finally:
            process.terminate()
