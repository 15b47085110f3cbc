"""What all verbs share: the parser, common options, JSON output, logging to stderr."""

import argparse
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from minibert.renamed import OlderOption
from minibert.source import DEMO
from minibert.terminal import can_show, visible

if TYPE_CHECKING:
    from minibert.source import Source
    from minibert.tokenizer import BertTokenizer

INTERRUPTED = 130  # the exit code, as of any program that Ctrl-C ends
Command = Callable[[argparse.Namespace], int]
OWN = "the small checkpoint in Korean, English and Chinese that comes with minibert"


# Names of other tools for a verb or a task.
TASKS_ELSEWHERE = {
    "ner": "entities", "token-classification": "entities", "tagging": "entities", "pos": "entities",
    "regression": "score", "similarity": "score", "sts": "score", "rank": "score", "qa": "answers", "squad": "answers",
    "question-answering": "answers", "classification": "classify", "text-classification": "classify",
    "sentiment": "classify", "sequence-classification": "classify", "nli": "classify",
}  # fmt: skip
VERBS_ELSEWHERE = {
    **{name: f"finetune {task}" for name, task in TASKS_ELSEWHERE.items() if name != "similarity"},
    "train": "pretrain", "fine-tune": "finetune", "tune": "finetune", "encode": "embed", "embeddings": "embed",
    "vectors": "embed", "search": "similar", "similarity": "similar", "nearest": "similar", "mask": "fill-mask",
    "unmask": "fill-mask", "guess": "fill-mask", "fill": "fill-mask", "info": "inspect", "show": "inspect",
    "summary": "inspect", "compare": "verify", "check": "verify", "diff": "verify", "parity": "verify",
    "onnx": "export", "save": "convert", "debug": "step", "heads": "attention", "lens": "logit-lens",
    "sensitivity": "noise", "jacobian": "noise", "view": "explore", "visualize": "explore",
    "serve": "explore --serve", "page": "explore", "hooks": "trace", "activations": "trace", "run": "predict",
    "infer": "predict", "inference": "predict", "test": "evaluate", "eval": "evaluate", "metrics": "evaluate",
    "tokens": "tokenize", "tokenise": "tokenize",
    "lesson": "learn", "lessons": "learn", "course": "learn", "tutorial": "learn", "encode-ids": "tokenize",
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """Reports a wrong option in one sentence, with the closest name; takes options between texts.

    In ``predict FOLDER --json TEXT``, Python 3.11's argparse does not accept TEXT.
    """

    is_inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Options first, then positional arguments; argparse calls this method for both."""
        if self.is_inside or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self.is_inside = True
        try:
            namespace, extra = self.parse_known_intermixed_args(args, namespace)
        finally:
            self.is_inside = False
        if extra:
            self.error(f"{extra[0]!r} is unknown here{self.meant(extra[0])}")
        return namespace, extra

    def meant(self, typed: str) -> str:
        """The closest option to an unknown one, as the end of a sentence."""
        name = typed.partition("=")[0]
        actions = self._option_string_actions.items()
        options = [name for name, action in actions if name[:2] == "--" and not isinstance(action, OlderOption)]
        close = get_close_matches(name, options, n=1) if name.startswith("-") else []
        return f"; did you mean {close[0]}?" if close else "."

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Argparse's check of choices, with a suggestion; argparse passes the error to :meth:`error`."""
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        is_verb = isinstance(action, argparse._SubParsersAction)
        elsewhere = VERBS_ELSEWHERE if is_verb else TASKS_ELSEWHERE if action.dest == "task" else {}
        close = elsewhere.get(str(value).lower()) or next(iter(get_close_matches(str(value), choices, n=1)), None)
        what = "command" if is_verb else action.dest if not action.option_strings else action.option_strings[-1]
        hint = f" Did you mean {close}?" if close else ""
        raise argparse.ArgumentError(None, f"{value!r} is no {what}.{hint} There are {', '.join(choices)}.")

    def error(self, message: str) -> NoReturn:
        """Print one sentence and the short usage on stderr; exit with 2."""
        sentence = message if message.endswith((".", "?")) else f"{message}."
        self.exit(2, f"minibert: {visible(sentence)} {self.short_usage()}\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Argparse's own method ignores errors of the stream."""
        print(message, end="", file=file or sys.stderr)

    def short_usage(self) -> str:
        """The required arguments in one line, and how to list the options."""
        if self._subparsers is not None:
            return f"{self.prog} --help lists the commands."
        names = [str(action.metavar or action.dest) for action in self._get_positional_actions()]
        for action in self._get_optional_actions():
            if action.required:
                names += [action.option_strings[-1], str(action.metavar or action.dest)]
        return f"Usage: {' '.join((self.prog, *names))}; {self.prog} --help lists the options."


def add_verb(verbs: Any, name: str, run: Command, description: str) -> argparse.ArgumentParser:
    """Add one verb, with the options that all verbs have."""
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=description, description=description.capitalize() + ".")
    verb.add_argument("--json", action="store_true", help="print JSON, for programs")
    verb.add_argument("--wide", action="store_true", help="do not fit tables into the terminal's width")
    verb.set_defaults(run=run)
    return verb


def add_texts(verb: argparse.ArgumentParser, nargs: str = "+") -> None:
    """Add the texts, and the checkpoint to use on them."""
    verb.add_argument("texts", nargs=nargs, metavar="TEXT", help="one or more texts, each in quotes")
    add_model(verb)


def add_model(verb: argparse.ArgumentParser) -> None:
    """Add the checkpoint to use."""
    verb.add_argument("--model", default=DEMO, metavar="CHECKPOINT", help=f"a folder or a hub name; default: {OWN}")


def add_checkpoint(verb: argparse.ArgumentParser, default: str | None = DEMO) -> None:
    """Add the checkpoint that the verb is about; ``default=None`` if the verb handles its absence."""
    verb.add_argument(
        "checkpoint",
        nargs="?",
        default=default,
        metavar="CHECKPOINT",
        help=f"a folder, a weight file, or a hub name; default: {OWN}",
    )


def add_language(verb: argparse.ArgumentParser, default: str = "en", what: str = "the report") -> None:
    """--language, for what speaks several: the reports of minibert/verify/sentences, the lessons."""
    choices = ("en", "ko", "zh")
    verb.add_argument("--language", "--lang", choices=choices, default=default, help=f"of {what}; default {default}")


def say_own(options: argparse.Namespace) -> None:
    """Say on a terminal that the verb uses minibert's own checkpoint, which is a small model."""
    if DEMO in (getattr(options, "model", None), getattr(options, "checkpoint", None)) and sys.stderr.isatty():
        print(f"minibert: with {DEMO}, {OWN}", file=sys.stderr)


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def share(text: str) -> float:
    """Parse a number between 0 and 1, neither included."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1, such as 0.95")
    return number


def names(text: str) -> tuple[str, ...]:
    """Parse ``O,B-PER,I-PER``."""
    return tuple(part.strip() for part in text.split(","))


def load_tokenizer(source: "Source") -> "BertTokenizer":
    """The tokenizer of a checkpoint."""
    from minibert.tokenizer import BertTokenizer

    return BertTokenizer.from_pretrained(source)


def say_interrupted(folder: object, kept: str) -> int:
    """Say that Ctrl-C ended a run, and what its folder keeps; the exit code."""
    print(f"minibert: interrupted; {folder} keeps {kept}, the same command goes on from there", file=sys.stderr)
    return INTERRUPTED


def print_json(content: object) -> None:
    """Print one JSON document: letters as they are, control characters escaped.

    If the output's encoding lacks a letter, everything outside ASCII is escaped.
    """
    text = json.dumps(content, ensure_ascii=False, indent=2)
    if not can_show(text):
        text = json.dumps(content, indent=2)
    print(re.sub("[\x7f-\x9f]", lambda control: f"\\u{ord(control[0]):04x}", text))


@contextmanager
def log_to_stderr(*rooms: str) -> Iterator[None]:
    """Within the block these loggers write to stderr; of several processes the first alone writes INFO."""
    handler = logging.StreamHandler(sys.stderr)
    loggers = [logging.getLogger(room) for room in rooms]
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.ERROR)
    try:
        yield
    finally:
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
