"""The command line: one verb a capability, a thin skin over the rooms; the verbs stand in ``commands/``.

A user's mistake prints one sentence on stderr and exits with 2; nothing here catches anything but our own errors.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from minibert import __version__
from minibert.commands import checkpoints, embed, explore, finetune, lens, noise, readout, similar, texts, training
from minibert.commands.verb import Command, say_own
from minibert.errors import MinibertError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 well, 1 a difference was found, 2 a mistake, 130 interrupted)."""
    options = build_parser().parse_args(arguments)
    run: Command = options.run
    try:
        say_own(options)
        code = run(options)
        sys.stdout.flush()  # here, where a reader that has gone away can be noticed
        return code
    except MinibertError as error:
        print(f"minibert: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minibert: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def build_parser() -> argparse.ArgumentParser:
    """All verbs with their options."""
    parser = argparse.ArgumentParser(
        prog="minibert", description="BERT that a person can read, trust, look inside, and use on real text."
    )
    parser.add_argument("--version", action="version", version=f"minibert {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=VerbParser)
    for subject in (checkpoints, texts, embed, similar, lens, noise, readout, explore, training, finetune):
        subject.add(verbs)
    return parser


class VerbParser(argparse.ArgumentParser):
    """Options may stand between texts: ``predict FOLDER --json TEXT``, where Python 3.11 sees an unknown TEXT."""

    is_inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """First the options, then everything else; argparse calls this method for both."""
        if self.is_inside:
            return super().parse_known_args(args, namespace)
        self.is_inside = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self.is_inside = False
