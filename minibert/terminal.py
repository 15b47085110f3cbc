"""The terminal as it is: how wide, which letters it can show, and what happens when it takes no more output.

``main`` wraps each command in :func:`safe_streams`.  Under it a letter that the output's encoding lacks (Korean on an
ASCII pipe, a box-drawing line on cp949) is written as a stand-in or an escape, and a stream that was closed before the
start swallows what it is given.  :func:`text_width` says how many columns a table may take.
"""

import codecs
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

# Ours, for the eye only: where a terminal lacks them, these read better than an escape does.
STAND_INS = {
    "─": "-", "│": "|", "–": "-", "—": "-", "…": "...", "«": "<", "»": ">", "·": ".", "×": "x", "√": "sqrt",
    "Δ": "diff", "ᵀ": "'", "±": "+-", "█": "#", "▉": "#", "▊": "#", "▋": "#", "▌": "=", "▍": "=", "▎": "-", "▏": "-",
    "░": ".", "▒": ":", "▓": "+",
}  # fmt: skip
HANDLER = "minibert.stand-ins"
NO_MORE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EAGAIN}

_wide: ContextVar[bool] = ContextVar("minibert_wide", default=False)


def stand_in(error: UnicodeError) -> tuple[str, int]:
    """The error handler: each letter that cannot be encoded as its stand-in, or as Python's escape for it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    escaped = (STAND_INS.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in letters)
    return "".join(escaped), error.end


codecs.register_error(HANDLER, stand_in)


@contextmanager
def safe_streams() -> Iterator[None]:
    """Standard streams that raise for no letter, and that are there even where the caller closed them."""
    with ExitStack() as undo:
        for name in ("stdin", "stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:  # closed before Python began: print would be lost in silence, isatty would not be there
                empty = undo.enter_context(open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: PTH123
                setattr(sys, name, empty)
                undo.callback(setattr, sys, name, None)
            elif hasattr(stream, "reconfigure"):
                undo.callback(restore, stream, stream.errors)
                # What is no text comes in as lone surrogates, which the tokenizer refuses in a sentence.
                stream.reconfigure(errors="surrogateescape" if name == "stdin" else HANDLER)
        yield


def restore(stream: Any, errors: str) -> None:
    """Give ``stream`` its own error handler back; one that takes no more output keeps ours."""
    with suppress(OSError, ValueError):  # reconfigure flushes
        stream.reconfigure(errors=errors)


def discard(stream: Any) -> None:
    """Let ``stream``'s file be the null device: what is still buffered must not raise again when Python ends."""
    with suppress(OSError):  # it has no file: somebody else's object, put in its place
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def can_show(text: str) -> bool:
    """Whether standard output's encoding has every letter of ``text``."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def wide_tables(wide: bool = True) -> Iterator[None]:
    """Within the block tables are as wide as their content (``--wide``)."""
    token = _wide.set(wide)
    try:
        yield
    finally:
        _wide.reset(token)


def text_width() -> int | None:
    """The columns that a table may take: the terminal's, or ``COLUMNS``; None (no limit) in a pipe or a file."""
    if _wide.get() or not (os.environ.get("COLUMNS", "").isdecimal() or sys.stdout.isatty()):
        return None
    return shutil.get_terminal_size().columns
