"""The terminal: output in any encoding, its width, and tables that fit it.

``main`` runs each command in :func:`safe_streams`.  Within it a character that the output's encoding lacks (Korean on
an ASCII pipe, a box-drawing line on cp949) is written as a stand-in or an escape, and a stream that was closed before
the start discards its output.

:func:`table` lines up its columns for Korean and Chinese, too, whose characters are two cells wide.  A table that is
wider than the terminal wraps its text columns; if that is not enough, the last columns are left out, and a line names
them.  In a pipe nothing is wrapped.
"""

import codecs
import errno
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NoReturn

# For characters that minibert prints itself: easier to read than an escape.
STAND_INS = {
    "─": "-", "│": "|", "–": "-", "—": "-", "…": "...", "«": "<", "»": ">", "·": ".", "×": "x", "√": "sqrt",
    "Δ": "diff", "ᵀ": "'", "±": "+-", "█": "#", "▉": "#", "▊": "#", "▋": "#", "▌": "=", "▍": "=", "▎": "-", "▏": "-",
    "░": ".", "▒": ":", "▓": "+",
}  # fmt: skip
HANDLER = "minibert.stand-ins"
NO_MORE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EAGAIN}

GAP = 2  # cells between two columns
BAR = 8  # cells of a bar for 1
EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
NARROWEST = 8  # the least width of a wrapped column, in cells
# Where a line may break: after a space, and after a separator within a name or a path.
PARTS = re.compile(r"[^\s./,_|]*[\s./,_|]?")

_wide: ContextVar[bool] = ContextVar("minibert_wide", default=False)


def stand_in(error: UnicodeError) -> tuple[str, int]:
    """The error handler: a character that cannot be encoded becomes its stand-in, or Python's escape for it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    escaped = (STAND_INS.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in letters)
    return "".join(escaped), error.end


codecs.register_error(HANDLER, stand_in)


@contextmanager
def safe_streams() -> Iterator[None]:
    """Standard streams that never raise UnicodeEncodeError, and that exist even if the caller closed them."""
    with ExitStack() as undo:
        for name in ("stdin", "stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:  # closed before Python started: print would do nothing, and isatty would be missing
                empty = undo.enter_context(open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: PTH123
                setattr(sys, name, empty)
                undo.callback(setattr, sys, name, None)
            elif hasattr(stream, "reconfigure"):
                undo.callback(restore, stream, stream.errors)
                # Bytes that are no text become lone surrogates, which the tokenizer refuses with a message.
                stream.reconfigure(errors="surrogateescape" if name == "stdin" else HANDLER)
        yield


def restore(stream: Any, errors: str) -> None:
    """Restore the error handler of ``stream``, unless it accepts no more output."""
    with suppress(OSError, ValueError):  # reconfigure flushes
        stream.reconfigure(errors=errors)


def discard(stream: Any) -> None:
    """Replace ``stream``'s file by the null device, so that buffered output does not raise again when Python exits."""
    with suppress(OSError):  # an object in its place, without a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def can_show(text: str) -> bool:
    """Whether standard output's encoding has every character of ``text``."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def wide_tables(wide: bool = True) -> Iterator[None]:
    """Within the block, tables are as wide as their content (``--wide``)."""
    token = _wide.set(wide)
    try:
        yield
    finally:
        _wide.reset(token)


def text_width() -> int | None:
    """The width of a table in cells: the terminal's, or ``COLUMNS``; None (no limit) in a pipe or a file."""
    if _wide.get() or not (os.environ.get("COLUMNS", "").isdecimal() or sys.stdout.isatty()):
        return None
    return shutil.get_terminal_size().columns


def drawing_width() -> int:
    """The columns that a drawing may take: the terminal's, or ``COLUMNS``; 100 in a pipe or a file."""
    return shutil.get_terminal_size((100, 24)).columns


def wants_colours() -> bool:
    """Whether standard output is a terminal that shows colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


# ── tables ───────────────────────────────────────────────────────────────────────────────────────


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> str:
    """Rows under headers; the columns whose headers are in ``right`` are aligned to the right and never wrapped."""
    cells = [list(headers), *([visible(str(value)) for value in row] for row in rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(headers))]
    room, left_out = text_width(), 0
    if room is not None and total(widths) > room:
        fixed = [header in right for header in headers]
        while left_out < len(headers) - 1 and total(narrowest(widths, fixed)) > room:
            widths, left_out = widths[:-1], left_out + 1
        widths = fit(widths, fixed, room)
    lines = []
    for row in cells:
        wrapped = [wrap(text, wide) for text, wide in zip(row, widths, strict=False)]
        for number in range(max(map(len, wrapped))):
            parts = []
            for header, pieces, wide in zip(headers, wrapped, widths, strict=False):
                text = pieces[number] if number < len(pieces) else ""
                space = " " * (wide - width(text))
                parts.append(space + text if header in right else text + space)
            lines.append((" " * GAP).join(parts).rstrip())
        if row is cells[0]:
            lines.append((" " * GAP).join("─" * wide for wide in widths))
    if left_out:
        names = ", ".join(header.strip() or "(unnamed)" for header in headers[-left_out:])
        lines.append(f"left out for lack of space: {names}; --wide, or a wider terminal, shows all columns")
    return "\n".join(lines)


def total(widths: Sequence[int]) -> int:
    """The width of a table with such columns."""
    return sum(widths) + GAP * (len(widths) - 1)


def narrowest(widths: Sequence[int], fixed: Sequence[bool]) -> list[int]:
    """The least widths of the columns; those that are ``fixed`` are never wrapped."""
    return [wide if fix else min(wide, NARROWEST) for wide, fix in zip(widths, fixed, strict=False)]


def fit(widths: Sequence[int], fixed: Sequence[bool], room: int) -> list[int]:
    """Widths that fit into ``room``: the widest column that may be wrapped shrinks first."""
    result = list(widths)
    while total(result) > room:
        column = max(range(len(result)), key=lambda number: -1 if fixed[number] else result[number])
        if fixed[column] or result[column] <= NARROWEST:
            break  # not even one column fits
        result[column] -= 1
    return result


def wrap(text: str, cells: int) -> list[str]:
    """``text`` in lines of at most ``cells`` cells, broken between words or parts of a name if possible."""
    if width(text) <= cells:
        return [text]
    lines, line = [], ""
    for part in PARTS.findall(text):
        rest = part
        while width(line + rest.rstrip()) > cells:
            if line:
                lines.append(line.rstrip())
                line = ""
                continue
            end = 1
            while width(rest[: end + 1]) <= cells:
                end += 1
            lines.append(rest[:end])
            rest = rest[end:]
        line += rest
    return [*lines, line.rstrip()] if line.strip() else lines


def width(text: str) -> int:
    """The width of ``text`` in terminal cells."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def visible(text: str) -> str:
    """``text`` with control characters, which could move the cursor or hide the rest, as escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def leave(code: int) -> NoReturn:
    """End this process with an exit code; one of several under torchrun ends without Python's clean-up.

    DistributedDataParallel keeps gloo's threads alive after the process group is destroyed.  A thread that still has a
    tensor to free while the interpreter is taken down aborts the process ("terminate called without an active
    exception"), after all work is done.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def with_bar(value: float) -> str:
    """A number from -1 to 1, with a bar for what is above 0."""
    full, eighths = divmod(round(max(0.0, min(1.0, value)) * BAR * 8), 8)
    return f"{value:7.4f} {'█' * full}{EIGHTHS[eighths]}"
