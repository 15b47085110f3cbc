"""URLs of files: which sources are one, and how one is shown without what is secret in it.

A URL may hold a password (``https://user:password@host``), and the query of a signed one is as good as a password.
Neither may stand in a message, a log or a manifest: :func:`shown_url`, and :func:`without_secrets` for what others say.
"""

import os
import re
from urllib.parse import unquote

from minibert.errors import InputError

URL = re.compile(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.-]+)://(?P<rest>.*)", re.DOTALL)  # C:// is a drive
ONE_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:)/(?!/)")
WEB = ("http", "https")
# Where the name before an @ is a part of the address: abfs://container@account.dfs.core.windows.net/path.
CONTAINERS = ("abfs", "abfss", "adl", "az", "wasb", "wasbs")
USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+://)[^/\s@]*@")
QUERY = re.compile(r"(https?://[^\s?'\")>]*)\?[^\s'\")>]+")


def is_url(source: object) -> bool:
    """Whether ``source`` is text such as ``"s3://bucket/name"``; ``file://`` is one, too."""
    return isinstance(source, str) and URL.match(source) is not None


def protocol_of(url: str) -> str:
    """``"s3"`` of ``"s3://bucket/name"``, in lower case."""
    return url.partition("://")[0].lower()


def local_path(url: str) -> str | None:
    """The path of a ``file://`` URL; None for any other."""
    return unquote(parts_of(url)[2]) if protocol_of(url) in ("file", "local") else None


def check_not_mistyped(source: object) -> None:
    """Raise InputError for a URL that has lost a slash, as in a :class:`Path`: it would be a folder called ``s3:``."""
    text = str(source)
    if (match := ONE_SLASH.match(text)) and not os.path.lexists(match[1]):
        raise InputError(
            f"{text} has one slash after {match[1]}, a URL has two: {match[1]}//…. (A Path drops one; a URL is text.)"
        )


def is_web(url: str) -> bool:
    """Whether it is of http or https."""
    return protocol_of(url) in WEB


def parts_of(url: str) -> tuple[str, str, str, str]:
    """The protocol, what stands before an ``@`` (a user), the path with its host or bucket, and the query.

    Only URLs of http and https have a query: in the name of an object a ``?`` is a letter, in a pattern any letter.
    """
    protocol, rest = url.split("://", 1)
    query = ""
    if is_web(url):
        rest, _, query = rest.partition("#")[0].partition("?")
    host, slash, path = rest.partition("/")
    user, _, host = host.rpartition("@")
    if user and protocol.lower() in CONTAINERS and ":" not in user:
        user, host = "", f"{user}@{host}"
    return protocol, user, host + slash + path, query


def shown_url(url: str) -> str:
    """The URL for a message: without user and password, and with ``?…`` in the place of a query."""
    protocol, _, path, query = parts_of(url)
    return f"{protocol}://{path}{'?…' if query else ''}"


def name_in(url: str) -> str:
    """The last part of the path, which is the name of the file."""
    path = parts_of(url)[2]
    name = path.rpartition("/")[2] if "/" in path else ""
    return unquote(name) if is_web(url) else name


def without_secrets(message: str) -> str:
    """The words of another library, whose URLs are shown as :func:`shown_url` shows them."""
    return QUERY.sub(r"\1?…", USER.sub(r"\1", message))
