"""A model hub on 127.0.0.1, small enough to read, that the real client cannot tell from the real one.

It speaks what a download needs: HEAD and GET of ``/{repository}/resolve/{revision}/{file}`` with the headers by which
the client names, checks and resumes a file, the error codes by which it tells one 404 from another,
``/api/models/{repository}``, and the listings by which HfFileSystem finds files.  Repositories of data sets have names
that begin with ``datasets/``.  Every request is kept in ``requests``; ``fail`` makes one misbehave.  Start there::

    with HubServer({"owner/name": {"config.json": b"{}"}}) as server:
        server.fail("config.json", break_after=1)   # once; the next request is served whole
        ...                                         # HF_ENDPOINT=server.endpoint
        assert server.requests[-1].range is None
"""

import hashlib
import json
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin")  # the hub announces these by SHA-256, everything else by git's SHA-1


@dataclass(frozen=True)
class Request:
    """One line of the server's log."""

    method: str
    path: str
    range: str | None = None
    token: str | None = None


@dataclass
class Fault:
    """How one file misbehaves: see :meth:`HubServer.fail`."""

    method: str
    times: int
    status: int | None
    code: str | None
    break_after: int | None
    stall: bool
    body: bytes | None


class HubServer:
    """Repositories by name, each a mapping of file names to bytes, served until the ``with`` block ends.

    ``gated`` repositories answer 403 and ``private`` ones 401 to a request without ``token``.
    """

    def __init__(
        self,
        repositories: Mapping[str, Mapping[str, bytes]],
        *,
        gated: tuple[str, ...] = (),
        private: tuple[str, ...] = (),
        token: str = "hf_test",
    ) -> None:
        self.gated, self.private, self.token = gated, private, token
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}  # repository -> commit -> file -> bytes
        self.branches: dict[str, dict[str, str]] = {}  # repository -> branch or tag -> commit
        self.requests: list[Request] = []
        self.faults: dict[str, list[Fault]] = {}
        self.lock = threading.Lock()
        self.closing = threading.Event()  # ends stalls
        for repository, files in repositories.items():
            self.push(repository, files)

    def __enter__(self) -> Self:
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"server_hub": self}))
        self.http.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def push(self, repository: str, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Make ``files`` the new content of ``branch``; earlier commits stay.  Returns the commit."""
        digest = hashlib.sha1(repository.encode())
        for name, content in sorted(files.items()):
            digest.update(name.encode() + b"\0" + hashlib.sha1(content).digest())
        commit = digest.hexdigest()
        self.commits.setdefault(repository, {})[commit] = dict(files)
        self.branches.setdefault(repository, {})[branch] = commit
        return commit

    def fail(
        self,
        name: str,
        *,
        method: str = "GET",
        times: int = 1,
        status: int | None = None,
        code: str | None = None,
        break_after: int | None = None,
        stall: bool = False,
        body: bytes | None = None,
    ) -> None:
        """Let the next ``times`` requests of ``method`` for the file ``name`` go wrong (-1: all of them).

        ``status`` answers with that status and ``code`` as X-Error-Code; ``break_after`` promises the whole body and
        drops the connection after so many bytes; ``stall`` never answers (with ``break_after``: falls silent after so
        many bytes); ``body`` sends other bytes than announced.
        """
        self.faults.setdefault(name, []).append(Fault(method, times, status, code, break_after, stall, body))

    def take_fault(self, method: str, name: str) -> Fault | None:
        """The fault that this request meets, counted down."""
        with self.lock:
            for fault in self.faults.get(name, []):
                if fault.method == method and fault.times != 0:
                    fault.times -= 1
                    return fault
        return None

    def log_of(self, name: str, method: str = "GET") -> list[Request]:
        """The requests of ``method`` for the file ``name``, oldest first."""
        return [request for request in self.requests if request.method == method and request.path.endswith("/" + name)]


def entries(files: Mapping[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    """What the hub lists of a folder."""
    start = f"{folder}/" if folder else ""
    inside = {name.removeprefix(start): content for name, content in files.items() if name.startswith(start)}
    folders = {name.split("/")[0] for name in inside if "/" in name}
    found: list[dict[str, Any]] = [
        {"type": "directory", "path": start + name, "oid": "0" * 40} for name in sorted(folders)
    ]
    for name, content in inside.items():
        if recursive or "/" not in name:
            oid = hashlib.sha1(b"blob %d" % len(content) + bytes(1) + content).hexdigest()
            found.append({"type": "file", "path": start + name, "size": len(content), "oid": oid})
    return found


class Handler(BaseHTTPRequestHandler):
    """One connection of the client."""

    server_hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass  # the log is HubServer.requests

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        """``paths-info``: a file by its path in the repository."""
        content = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.paths = parse_qs(content).get("paths", [])
        self.answer()

    def answer(self) -> None:
        hub, path = self.server_hub, unquote(urlsplit(self.path).path)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        with hub.lock:
            hub.requests.append(Request(self.command, path, self.headers.get("Range"), token))
        path = path.replace("/api/datasets/", "/api/models/datasets/")
        listing = re.fullmatch(
            r"/api/models/(?P<repository>.+?)/(?P<how>tree|paths-info)/(?P<revision>[^/]+)/?(?P<folder>.*)", path
        )
        api = listing or re.fullmatch(r"/api/models/(?P<repository>.+?)(?:/revision/(?P<revision>[^/]+))?", path)
        asked = api or re.fullmatch(r"/(?P<repository>.+?)/resolve/(?P<revision>[^/]+)/(?P<name>.+)", path)
        if asked is None:
            self.refuse(404, None)
            return
        repository, name = asked["repository"], None if api else asked["name"]
        commits, branches = hub.commits.get(repository), hub.branches.get(repository, {})
        commit = branches.get(asked["revision"] or "main", asked["revision"])
        if commits is None or (repository in hub.private and token != hub.token):
            # Nobody who is not logged in may learn which private names exist, so both get the same answer.
            self.refuse(404 if token == hub.token else 401, "RepoNotFound")
        elif name is not None and repository in hub.gated and token != hub.token:
            self.refuse(403, "GatedRepo")
        elif commit not in commits:
            self.refuse(404, "RevisionNotFound")
        elif listing is not None:
            found = entries(commits[commit], listing["folder"], "recursive=true" in self.path.lower())
            if listing["how"] == "paths-info":
                found = [
                    one for path in self.paths for one in entries(commits[commit], "", True) if one["path"] == path
                ]
            self.send(json.dumps(found).encode(), {"Content-Type": "application/json"})
        elif name is None:
            listing = {"id": repository, "sha": commit, "siblings": [{"rfilename": file} for file in commits[commit]]}
            self.send(json.dumps(listing).encode(), {"Content-Type": "application/json"})
        elif name not in commits[commit]:
            self.refuse(404, "EntryNotFound", commit)
        else:
            self.send_file(name, commits[commit][name], commit)

    def send_file(self, name: str, content: bytes, commit: str) -> None:
        fault = self.server_hub.take_fault(self.command, name)
        if fault is not None and fault.status is not None:
            self.refuse(fault.status, fault.code, commit)
            return
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if name.endswith(LARGE):
            headers |= {"ETag": '"of-the-storage"', "X-Linked-Size": str(len(content))}
            headers["X-Linked-ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        else:
            headers["ETag"] = f'"{hashlib.sha1(b"blob %d" % len(content) + bytes(1) + content).hexdigest()}"'
        if fault is not None and fault.body is not None:
            content = fault.body
        status, total = 200, len(content)
        if resume := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, last = int(resume[1]), min(int(resume[2] or total), total - 1)
            if start >= total:
                self.refuse(416, None, commit)
                return
            status, content = 206, content[start : last + 1]
            headers["Content-Range"] = f"bytes {start}-{last}/{total}"
        if fault is not None and fault.stall and fault.break_after is None:
            self.server_hub.closing.wait()
        self.send(content, headers, status, fault)

    def send(self, content: bytes, headers: Mapping[str, str], status: int = 200, fault: Fault | None = None) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        end = fault.break_after if fault is not None else None
        try:
            self.wfile.write(content[:end])
            if fault is not None and end is not None:
                if fault.stall:
                    self.server_hub.closing.wait()
                self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            end = 0  # the client left first
        self.close_connection = end is not None

    def refuse(self, status: int, code: str | None, commit: str | None = None) -> None:
        headers = {"X-Error-Code": code} if code else {}
        if commit is not None:
            headers["X-Repo-Commit"] = commit
        self.send(b"{}", headers, status)
