"""``--png`` and ``--svg``, for the verbs that draw."""

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from minibert.destination import check_file
from minibert.errors import InputError


def add_pictures(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--png", metavar="FILE", help="write a picture instead (pip install '.[plot]')")
    verb.add_argument("--svg", metavar="FILE", help="the same as a vector graphic")


def picture_files(options: argparse.Namespace) -> list[str]:
    """The files to draw, checked before anything is computed; InputError for a wrong ending."""
    files = []
    for kind in ("png", "svg"):
        file = getattr(options, kind)
        if file is not None:
            if Path(file).suffix.lower() != f".{kind}":
                raise InputError(f"--{kind} {file}: a file of that kind ends in .{kind}.")
            files.append(file)
    if files:
        from minibert.pictures import check_picture, need_matplotlib

        need_matplotlib()
        for file in files:
            check_picture(file)
            check_file(file, f"--{Path(file).suffix[1:].lower()}")
    return files


def write_pictures(files: list[str], draw: Callable[[str], None], options: argparse.Namespace) -> None:
    """Draw each file; warnings about fonts become sentences on stderr."""
    said = set()
    for file in files:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            draw(file)
        said |= {str(entry.message) for entry in caught if "No font" in str(entry.message)}
        if not options.json:
            print(f"written: {file}")
    for sentence in said:
        print(f"minibert: {sentence}", file=sys.stderr)
