"""A web server on 127.0.0.1 that sends ranges of files, counts the bytes, and misbehaves when it is told to.

::

    with RangeServer({"texts.txt": b"…"}) as server:
        server.drop_after(1000, times=2)        # the next two answers break after 1,000 bytes
        ...                                     # server.url("texts.txt")
        assert server.sent["texts.txt"] == 1000
"""

import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit


class RangeServer:
    """Files by name, served until the ``with`` block ends."""

    def __init__(self, files: Mapping[str, bytes], *, ranges: bool = True, password: str | None = None) -> None:
        """``ranges``: whether it knows them; ``password``: ``"user:password"`` in base64, which it asks for."""
        self.files, self.ranges, self.password = dict(files), ranges, password
        self.sent: Counter[str] = Counter()  # bytes of bodies, by file
        self.requests: list[tuple[str, str | None]] = []  # the file and the range of each
        self.faults: list[tuple[int | None, int | None, float]] = []  # status, bytes before the end, seconds to wait
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"files_of": self}))
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def url(self, name: str, user: str = "", query: str = "") -> str:
        """The address of a file."""
        return f"http://{user and user + '@'}127.0.0.1:{self.port}/{name}{query and '?' + query}"

    def refuse(self, status: int, times: int = 1) -> None:
        """Answer the next requests with this status."""
        self.faults += [(status, None, 0.0)] * times

    def drop_after(self, count: int, times: int = 1) -> None:
        """Break the connection of the next answers after so many bytes of the body."""
        self.faults += [(None, count, 0.0)] * times

    def delay(self, seconds: float, times: int = 1) -> None:
        """Answer the next requests late."""
        self.faults += [(None, None, seconds)] * times

    def forget(self) -> None:
        """Count from 0."""
        self.sent.clear()
        self.requests.clear()


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    files_of: RangeServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server, name = self.files_of, unquote(urlsplit(self.path).path).removeprefix("/")
        wanted = self.headers.get("Range")
        with server.lock:
            server.requests.append((name, wanted))
            status, broken, wait = server.faults.pop(0) if server.faults else (None, None, 0.0)
        time.sleep(wait)
        content = server.files.get(name)
        if status is not None:
            self.send(status, name, b"")
        elif server.password is not None and self.headers.get("Authorization") != f"Basic {server.password}":
            self.send(401, name, b"")
        elif name.startswith("moved/"):
            self.send(302, name, b"", {"Location": server.url(name.removeprefix("moved/"))})
        elif content is None:
            self.send(404, name, b"no such file")
        elif wanted is None or not server.ranges:
            self.send(200, name, content, broken=broken)
        else:
            first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", wanted).groups())  # type: ignore[union-attr]
            last, tag = min(last, len(content) - 1), f'"{hash(content)}"'
            if first > last:
                self.send(416, name, b"", {"Content-Range": f"bytes */{len(content)}"})
            else:
                place = {"Content-Range": f"bytes {first}-{last}/{len(content)}", "ETag": tag}
                self.send(206, name, content[first : last + 1], place, broken)

    def send(
        self,
        status: int,
        name: str,
        content: bytes,
        headers: Mapping[str, str] | None = None,
        broken: int | None = None,
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with self.files_of.lock:  # before they are sent: the client may look at once
            self.files_of.sent[name] += len(content[:broken])
        try:
            self.wfile.write(content[:broken])
        except OSError:
            return  # the client left first
        if broken is not None and broken < len(content):
            self.connection.shutdown(socket.SHUT_RDWR)
