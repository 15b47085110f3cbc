"""What the verbs share: how one is added, and how it prints."""

import argparse
import json
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minibert.source import DEMO

if TYPE_CHECKING:
    from minibert.tokenizer import BertTokenizer

Command = Callable[[argparse.Namespace], int]
OWN = "the small Korean and English checkpoint that comes with minibert"


def add_verb(verbs: Any, name: str, run: Command, description: str) -> argparse.ArgumentParser:
    """One verb with what all of them have."""
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=description, description=description.capitalize() + ".")
    verb.add_argument("--json", action="store_true", help="print JSON, for programs")
    verb.set_defaults(run=run)
    return verb


def add_texts(verb: argparse.ArgumentParser, nargs: str = "+") -> None:
    """Texts and the checkpoint to use on them."""
    verb.add_argument("texts", nargs=nargs, metavar="TEXT", help="one or more texts, each in quotes")
    add_model(verb)


def add_model(verb: argparse.ArgumentParser) -> None:
    """Which checkpoint to use."""
    verb.add_argument("--model", default=DEMO, metavar="CHECKPOINT", help=f"a folder or a hub name; default: {OWN}")


def add_checkpoint(verb: argparse.ArgumentParser, default: str | None = DEMO) -> None:
    """The checkpoint that the verb is about; None for a verb that decides itself what its lack means."""
    verb.add_argument(
        "checkpoint",
        nargs="?",
        default=default,
        metavar="CHECKPOINT",
        help=f"a folder, a weight file, or a hub name; default: {OWN}",
    )


def say_own(options: argparse.Namespace) -> None:
    """Tell somebody at a terminal that the verb works with our own checkpoint, whose answers are a small model's."""
    if DEMO in (getattr(options, "model", None), getattr(options, "checkpoint", None)) and sys.stderr.isatty():
        print(f"minibert: with {DEMO}, {OWN}", file=sys.stderr)


def positive(text: str) -> int:
    """An option's value that must be a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def load_tokenizer(options: argparse.Namespace) -> "BertTokenizer":
    """The tokenizer of ``--model``."""
    from minibert.tokenizer import BertTokenizer

    return BertTokenizer.from_pretrained(options.model)


def print_json(content: object) -> None:
    """One JSON document on stdout: letters as they are, but nothing that would move a terminal's cursor."""
    text = json.dumps(content, ensure_ascii=False, indent=2)
    print(re.sub("[\x7f-\x9f]", lambda control: f"\\u{ord(control[0]):04x}", text))
