"""The command line.  Each verb is a file of ``commands/`` that parses its options, calls a room, and prints.

A user's mistake prints one sentence on stderr and exits with 2.  Only minibert's own errors and a closed or full output
are caught here.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress

from minibert._version import __version__
from minibert.commands import (
    attention,
    convert,
    embed,
    evaluate,
    explore,
    export,
    fill_mask,
    finetune,
    golden,
    index,
    inspect,
    learn,
    logit_lens,
    noise,
    predict,
    pretrain,
    similar,
    step,
    tokenize,
    trace,
    verify,
    verify_tokenizer,
    verify_training,
)
from minibert.commands.verb import Command, Parser, say_own
from minibert.errors import MinibertError, StoppedElsewhereError
from minibert.renamed import OPTIONS, VALUES, VERBS, add_older_options, add_older_values, say
from minibert.terminal import NO_MORE, discard, safe_streams, wide_tables

# One per verb, in the order of --help.
MODULES = (
    inspect, verify, verify_tokenizer, verify_training, golden, convert, export, tokenize, fill_mask, embed, index,
    similar,
    trace, step, noise, attention, logit_lens,
    explore, learn, pretrain, finetune, evaluate, predict,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 success, 1 a difference was found, 2 a mistake, 130 interrupted.

    ``--help`` and wrong options raise SystemExit, as argparse does.
    """
    with safe_streams():
        try:
            try:
                return run(arguments)
            finally:
                sys.stdout.flush()  # here, so that a full disk or a closed pipe is noticed
        except StoppedElsewhereError:  # the main process reports it
            return 2
        except MinibertError as error:
            complain(str(error))
            return 2
        except KeyboardInterrupt:
            complain("interrupted")
            return 130
        except BrokenPipeError:  # head or less has closed our output
            discard(sys.stdout)
            return 0
        except OSError as error:  # a standard stream; the rooms handle those of files
            if error.errno not in NO_MORE or error.filename is not None:
                raise
            discard(sys.stdout)
            complain(f"the output cannot be written ({error.strerror}).")
            return 2


def run(arguments: Sequence[str] | None) -> int:
    """Parse and run one command."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in VERBS:
        say(f"minibert {words[0]}", f"minibert {VERBS[words[0]]}")
        words[0] = VERBS[words[0]]
    options = build_parser().parse_args(words)
    command: Command = options.run
    say_own(options)
    with wide_tables(options.wide):
        return command(options)


def complain(sentence: str) -> None:
    """Print one sentence on stderr; where stderr is closed, the exit code has to do."""
    with suppress(OSError):
        print(f"minibert: {sentence}", file=sys.stderr, flush=True)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    parser = Parser(
        prog="minibert", description="BERT that a person can read, trust, look inside, and use on real text."
    )
    parser.add_argument("--version", action="version", version=f"minibert {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for module in MODULES:
        module.add(verbs)
    for verb, values in VALUES.items():
        add_older_values(verbs.choices[verb], values)
    for verb, names in OPTIONS.items():
        add_older_options(verbs.choices[verb], names)
    return parser
