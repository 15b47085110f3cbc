"""Standard input and output in the place of files: tables and JSON lines through pipes.

Readers go through a file more than once, so what a pipe brings is kept in a temporary file.  What goes out is written
whole, or not at all, as in a file.  Messages name the stream, not the temporary file.
"""

import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from minibert.errors import CheckpointError, MinibertError, reason_of

FORMATS = ("txt", "csv", "tsv", "jsonl")


@contextmanager
def standard_input(ending: str) -> Iterator[Path]:
    """All of standard input, in a file whose name has this ending, until the block ends."""
    with TemporaryDirectory(prefix="minibert-") as folder:
        path = Path(folder) / f"input{ending}"
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        except OSError as error:
            raise CheckpointError(
                f"Standard input cannot be kept in a temporary file, {path} ({reason_of(error)}). Make room there, or "
                "set TMPDIR to another folder."
            ) from error
        with called(path, "standard input"):
            yield path


@contextmanager
def standard_output(ending: str) -> Iterator[Path]:
    """A file whose name has this ending; at the end of the block its content goes to standard output."""
    with TemporaryDirectory(prefix="minibert-") as folder:
        path = Path(folder) / f"output{ending}"
        with called(path, "standard output"):
            yield path
        sys.stdout.flush()
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)


@contextmanager
def called(path: Path, name: str) -> Iterator[None]:
    """Within the block errors and warnings say ``name`` in place of ``path``."""

    def rename(record: logging.LogRecord) -> bool:
        record.msg, record.args = record.getMessage().replace(str(path), name), None
        return True

    loggers = [logging.getLogger(f"minibert.{room}") for room in ("data", "finetuning")]
    for logger in loggers:
        logger.addFilter(rename)
    try:
        yield
    except MinibertError as error:
        raise type(error)(str(error).replace(str(path), name)) from error
    finally:
        for logger in loggers:
            logger.removeFilter(rename)
