"""A file on a web server, read by ranges of bytes (RFC 9110, section 14) with the standard library.

Every request names the bytes that it wants, so nothing else is sent, and a connection that breaks is continued at the
byte where it broke.  Redirects and the system's proxies and certificates are urllib's.  A server that ignores ranges
serves small files only.  Start with :class:`WebFile`.
"""

import base64
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException, InvalidURL
from typing import Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote
from urllib.request import Request, urlopen

from minibert._version import __version__
from minibert.data.patience import Patience
from minibert.errors import InputError
from minibert.urls import parts_of, shown_url, without_secrets

TIMEOUT = 60.0  # seconds without a byte
HEAD = 4096  # bytes of the first request, which also shows how long the file is
LARGEST_WHOLE = 8 << 20  # bytes of a file that a server without ranges may have
READ_AT_ONCE = 1 << 16
BUSY = (408, 425, 429, 500, 502, 503, 504)
CONTENT_RANGE = re.compile(r"bytes (?:(?P<first>\d+)-\d+|\*)/(?P<size>\d+)")


@dataclass(frozen=True)
class Look:
    """What the first request for a file shows."""

    size: int  # bytes
    stamp: str  # changes with the content: the server's ETag, or the time of the last change, or the size
    head: bytes | None = None  # the first bytes, where they came along; all of a file without ranges


class Broken(Exception):
    """A connection that failed in a way that may pass; ``asked``: the seconds that the server asked to wait."""

    def __init__(self, why: str, asked: float = 0.0) -> None:
        super().__init__(why)
        self.asked = asked


class WebFile:
    """One file of http or https."""

    def __init__(self, url: str) -> None:
        self.address, self.shown = url, shown_url(url)  # the address as it was given, with what may be secret

    def look(self) -> Look:
        """The size and the first bytes; InputError when the file cannot be read."""
        patience = Patience(self.shown)
        while True:
            try:
                return self.first_answer()
            except Broken as error:
                if not patience.wait(str(error), error.asked):
                    self.give_up(error)

    def first_answer(self) -> Look:
        """The same in one attempt; raises Broken for what may pass."""
        content = bytearray()
        with closing(self.ask(0, HEAD)) as answer:
            if answer is EMPTY:
                return Look(0, "empty", b"")
            if answer.status == 206:
                size = self.size_of(answer)
                content.extend(self.bytes_of(answer, min(HEAD, size)))
                if len(content) < min(HEAD, size):
                    raise Broken(f"the connection broke after {len(content):,} bytes")
            else:
                promised = int(answer.headers.get("Content-Length") or 0)
                content.extend(() if promised > LARGEST_WHOLE else self.bytes_of(answer, LARGEST_WHOLE + 1))
                size = max(promised, len(content))
                if size > LARGEST_WHOLE:
                    raise InputError(
                        f"{self.shown} has more than {LARGEST_WHOLE >> 20} MB, and its server does not send a part of "
                        "a file (range requests), which workers need. Download the file, and name that."
                    )
                if len(content) < size:
                    raise Broken(f"the connection broke after {len(content):,} bytes")
            return Look(size, stamp_of(answer) or str(size), bytes(content))

    def fetch(self, start: int, end: int, known: Look) -> bytes:
        """The bytes from ``start`` to before ``end``; what a broken connection has sent is not asked for again."""
        content, patience = bytearray(), Patience(self.shown)
        while len(content) < end - start:
            before = len(content)
            try:
                self.extend(content, start + before, end, known)
                why: Broken = Broken(f"the connection broke after {len(content):,} of {end - start:,} bytes")
            except Broken as error:
                why = error
            if len(content) > before:
                patience.worked()
            if len(content) < end - start and not patience.wait(str(why), why.asked):
                self.give_up(why)
        return bytes(content)

    def extend(self, content: bytearray, start: int, end: int, known: Look) -> None:
        """Append what one request gives of these bytes; raises Broken."""
        with closing(self.ask(start, end)) as answer:
            if answer is EMPTY or answer.status != 206:
                self.changed()
            if self.size_of(answer) != known.size or (stamp_of(answer) or known.stamp) != known.stamp:
                self.changed()
            for block in self.blocks_of(answer, end - start):
                content.extend(block)

    def ask(self, start: int, end: int) -> Any:
        """The answer to a request for these bytes, EMPTY for a file without any; Broken for what may pass."""
        protocol, user, path, query = parts_of(self.address)
        address = f"{protocol}://{quoted(path)}{'?' + quoted(query) if query else ''}"
        headers = {"Range": f"bytes={start}-{end - 1}", "User-Agent": f"minibert/{__version__}"}
        try:
            request = Request(address, headers=headers)
            if user:  # not sent to where a redirect leads
                token = base64.b64encode(unquote(user).encode()).decode()
                request.add_unredirected_header("Authorization", f"Basic {token}")
            return urlopen(request, timeout=TIMEOUT)
        except HTTPError as error:
            with error:
                if error.code == 416 and (match := CONTENT_RANGE.match(error.headers.get("Content-Range") or "")):
                    if int(match["size"]) == 0:
                        return EMPTY
                    self.changed()
                self.refuse(error)
        except (ValueError, InvalidURL) as error:  # a port that is no number, a host with spaces
            raise InputError(f"{self.shown} is no address ({without_secrets(str(error))}).") from error
        except (OSError, HTTPException) as error:  # URLError is an OSError
            self.unreachable(error)

    def refuse(self, error: HTTPError) -> NoReturn:
        """What an answer with an error means."""
        answer = f"HTTP {error.code}{f' {error.reason}' if error.reason else ''}"
        if error.code in BUSY:
            after = error.headers.get("Retry-After") or ""
            raise Broken(f"the server answers {answer}", float(after) if after.isdecimal() else 0.0) from error
        if error.code in (404, 410):
            raise InputError(f"{self.shown} does not exist ({answer}). Check the address.") from None
        if error.code in (401, 403, 407):
            raise InputError(
                f"{self.shown} may not be read ({answer}). It needs other rights, or a signed address whose time has "
                "not run out. A user and a password in an address are not kept: give the address again."
            ) from None
        raise InputError(f"{self.shown} cannot be read: the server answers {answer}. Check the address.") from None

    def unreachable(self, error: Exception) -> NoReturn:
        """What a connection that fails means."""
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise InputError(
                f"{self.shown} cannot be read: the certificate of the server is not trusted here "
                f"({reason.verify_message}). Check the address; SSL_CERT_FILE names further certificates."
            ) from error
        if isinstance(reason, ssl.SSLError) and reason.errno == ssl.SSL_ERROR_SSL:
            raise InputError(
                f"{self.shown} cannot be read: the server does not answer in TLS ({reason.reason}). Check the address; "
                "perhaps it begins with http://."
            ) from error
        if isinstance(reason, TimeoutError):
            raise Broken(f"the server was silent for {TIMEOUT:g} s") from error
        if isinstance(reason, socket.gaierror) and reason.errno != socket.EAI_AGAIN:
            raise InputError(
                f"{self.shown} cannot be read: there is no server of this name. Check the address."
            ) from error
        if isinstance(reason, str):  # urllib's own: no host given
            raise InputError(f"{self.shown} is no address ({reason}).") from error
        words = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise Broken(without_secrets(words)) from error

    def bytes_of(self, answer: Any, most: int) -> bytes:
        """The body of an answer, at most so many bytes of it; fewer where the connection broke."""
        content = bytearray()
        try:
            for block in self.blocks_of(answer, most):
                content.extend(block)
        except Broken as error:
            if not content:
                raise
            raise Broken(f"the connection broke after {len(content):,} bytes ({error})") from error
        return bytes(content)

    def blocks_of(self, answer: Any, most: int) -> Iterator[bytes]:
        """The same in blocks; raises Broken."""
        while most > 0:
            try:
                block = answer.read(min(READ_AT_ONCE, most))
            except (OSError, HTTPException) as error:
                self.unreachable(error)
            if not block:
                return
            most -= len(block)
            yield block

    def size_of(self, answer: Any) -> int:
        """The size of the whole file, of which an answer has a part."""
        match = CONTENT_RANGE.match(answer.headers.get("Content-Range") or "")
        if match is None:
            raise InputError(f"{self.shown}: the server does not say how long the file is. Download it, and name that.")
        return int(match["size"])

    def changed(self) -> NoReturn:
        raise InputError(f"{self.shown} was changed while it was read. Give it back its content, and run again.")

    def give_up(self, error: Broken) -> NoReturn:
        raise InputError(
            f"{self.shown} cannot be read: {error}, several times in a row. Check the address and the network; the "
            "same command goes on from here."
        ) from error.__cause__


class Empty:
    """The answer to a request for the first bytes of a file without any."""

    def close(self) -> None:
        pass


EMPTY = Empty()


def stamp_of(answer: Any) -> str | None:
    """What identifies the content that a server has now."""
    stamp: str | None = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    return stamp


def quoted(part: str) -> str:
    """A part of a URL as a request needs it: letters beyond ASCII and spaces escaped, what is escaped left alone."""
    return quote(part, safe="%/:?#[]@!$&'()*+,;=~")
